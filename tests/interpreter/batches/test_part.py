"""``run_part``: what comes out, what is left out, what is refused, what is done again."""

from __future__ import annotations

import csv
import json
import os
import pickle
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk.batches import Done, run_part
from onnxwalk.interpreter.batches.steps import default_batch
from onnxwalk.interpreter.text import TEXT_KEY


def save(path: Path, nodes, inputs, outputs) -> str:
    values = [[helper.make_tensor_value_info(*v) for v in side] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *values)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return str(path)


@pytest.fixture
def double(tmp_path, monkeypatch) -> str:
    """y = 2 x of three numbers in a row."""
    monkeypatch.chdir(tmp_path)
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    return save(tmp_path / "m.onnx", nodes, [("x", T.FLOAT, ["n", 3])], [("y", T.FLOAT, ["n", 3])])


@pytest.fixture
def looked_up(tmp_path, monkeypatch) -> str:
    """y = the square of an id below 4; another id is rejected by the model."""
    monkeypatch.chdir(tmp_path)
    table = onnx.numpy_helper.from_array(np.float32([0, 1, 4, 9]), "t")
    nodes = [
        helper.make_node("Constant", [], ["t"], value=table),
        helper.make_node("Gather", ["t", "i"], ["y"]),
    ]
    return save(tmp_path / "g.onnx", nodes, [("i", T.INT64, ["n"])], [("y", T.FLOAT, ["n"])])


def numbers(rows: int = 10) -> np.ndarray:
    return np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)


def read(path: str | None) -> list[list[float]]:
    """The rows of a .csv file, without its header."""
    assert path is not None
    with open(path, newline="") as file:
        return [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]


def test_one_row_for_each(double):
    np.save("a.npy", numbers())
    done = run_part(double, "a.npy", "out", batch=4)
    assert done == Done("a.npy", "out/a.npy", 10, {}, done.seconds) and done.seconds > 0
    np.testing.assert_array_equal(np.load("out/a.npy"), 2 * numbers())


@pytest.mark.parametrize("format", ["npz", "csv", "tsv", "jsonl"])
def test_the_formats(double, format):
    np.savetxt("a.csv", numbers(), delimiter=",", header="p,q,r", comments="")
    done = run_part(double, "a.csv", "out", format=format, batch=3)
    assert done.output == f"out/a.{format}" and done.rows == 10
    if format == "npz":
        assert np.load(done.output).files == ["y"]
    elif format == "jsonl":
        lines = [json.loads(line) for line in Path(done.output).read_text().splitlines()]
        assert [line["row"] for line in lines] == [*range(10)] and lines[9]["y"] == [54, 56, 58]
    else:
        assert Path(done.output).read_text().splitlines()[10].split()[-1].endswith("58.0")


def test_a_part_of_parquet(double):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"id": [*range(10)], "x": numbers().tolist()}
    parquet.write_table(arrow.table(columns), "a.parquet", row_group_size=4)
    done = run_part(double, "a.parquet", "out", batch=3)  # the column with the input's name
    assert done.output == "out/a.parquet"
    assert parquet.read_table(done.output)["y_2"].to_pylist() == (2 * numbers()[:, 2]).tolist()


def test_a_part_of_zarr(double):
    zarr = pytest.importorskip("zarr")
    zarr.create_array("a.zarr", data=numbers(), chunks=(4, 3))
    group = zarr.open_group("g.zarr", mode="w")
    group.create_array("x", data=numbers(), chunks=(3, 3))
    for name in ("a", "g"):
        done = run_part(double, f"{name}.zarr", "out", batch=5)
        assert done.output == f"out/{name}.npz"
        np.testing.assert_array_equal(np.load(done.output)["y"], 2 * numbers())


def test_pictures_in_folders_and_archives(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    shape = ["n", 2, 2, 1]
    nodes = [helper.make_node("Flatten", ["x"], ["y"])]
    model = save(tmp_path / "f.onnx", nodes, [("x", T.FLOAT, shape)], [("y", T.FLOAT, ["n", 4])])
    Path("photos/more").mkdir(parents=True)
    for number in range(5):
        image.fromarray(np.full((2, 2), 51 * number, np.uint8)).save(f"photos/{number}.png")
    Path("photos/2.png").write_bytes(b"not a picture")
    Path("photos/.hidden.png").write_bytes(b"no")
    for name in ("photos.tar", "photos.tgz"):
        with tarfile.open(name, "w:gz" if name.endswith("gz") else "w") as archive:
            archive.add("photos")
    for number, part in enumerate(["photos", "photos.tar", "photos.tgz"]):
        done = run_part(model, part, f"out{number}", on_error="skip", batch=2)
        assert done.damaged == {f"{part}{'/photos' if number else ''}/2.png": "not a supported "
                                "image, or damaged"}  # fmt: skip
        with open(f"out{number}/photos.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        last = {Path(row["file"]).name: float(row["y_3"]) for row in rows}
        assert sorted(last) == ["0.png", "1.png", "3.png", "4.png"]
        assert last["3.png"] == pytest.approx(0.6)
        with pytest.raises(onnxwalk.InvalidInputError, match=r"2\.png: not a supported image"):
            run_part(model, part, f"stop{number}")


def test_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nodes = [helper.make_node("Identity", ["i"], ["y"])]
    shape = ["n", 3]
    path = save(tmp_path / "t.onnx", nodes, [("i", T.INT64, shape)], [("y", T.INT64, shape)])
    settings = {"standardize": "lower", "split": "whitespace", "ngrams": None, "length": 3}
    settings |= {"ragged": False, "vocabulary": ["", "[UNK]", "good", "day"]}
    model = onnx.load(path)
    helper.set_model_props(model, {TEXT_KEY: json.dumps({"i": settings})})
    onnx.save(model, path)
    Path("a.txt").write_text("good day\nday\n\n")
    Path("a.csv").write_text("id,text\n7,good day\n8,a day\n")
    ids = np.load(run_part(path, "a.txt", "out", text=True, format="npz").output or "")["y"]
    assert ids.tolist() == [[2, 3, 0], [3, 0, 0], [0, 0, 0]]
    assert read(run_part(path, "a.csv", "out2", text=True).output) == [[0, 2, 3, 0], [1, 1, 3, 0]]


# --- what is left out


def test_damaged_rows_are_named_and_left_out(double):
    lines = ["p,q,r", "0,1,2", "3,4", "6,oh,8", "9,10,11"]
    Path("a.csv").write_text("\n".join(lines) + "\n")
    done = run_part(double, "a.csv", "out", on_error="skip", batch=3)
    assert read(done.output) == [[0, 0, 2, 4], [3, 18, 20, 22]] and done.rows == 2
    assert done.damaged["row 1"] == "a.csv, line 3: expected 3 columns, got 2"
    assert "line 4, column 'q'" in done.damaged["row 2"]
    again = run_part(double, "a.csv", "out", on_error="skip")
    assert again.was_done and (again.rows, again.damaged) == (2, done.damaged)
    with pytest.raises(onnxwalk.InvalidInputError, match="line 3: expected 3 columns"):
        run_part(double, "a.csv", "stop")


def test_damaged_records_are_named_and_left_out(double):
    lines = ['{"x": [0, 1, 2]}', '{"x": [3', "[1, 2, 3]", '{"x": [6, 7]}', '{"x": [9, 10, 11]}']
    Path("a.jsonl").write_text("\n".join(lines) + "\n")
    done = run_part(double, "a.jsonl", "out", format="npz", on_error="skip")
    assert np.load(done.output)["row"].tolist() == [0, 4]  # which rows these are
    assert np.load(done.output)["y"].tolist() == [[0, 2, 4], [18, 20, 22]]
    assert [*done.damaged] == ["row 1", "row 2", "row 3"]
    assert "not JSON" in done.damaged["row 1"] and "shape (2,)" in done.damaged["row 3"]


def test_rows_that_the_model_rejects_are_left_out(looked_up):
    ids = np.arange(100) % 4
    ids[[3, 64]] = 7
    np.save("a.npy", ids)
    done = run_part(looked_up, "a.npy", "out", format="csv", on_error="skip", batch=32)
    rows = read(done.output)
    assert [row for row, _ in rows] == [n for n in range(100) if n not in (3, 64)]
    assert all(y == (row % 4) ** 2 for row, y in rows)
    assert [*done.damaged] == ["row 3", "row 64"] and "Gather" in done.damaged["row 3"]


def test_numbers_that_the_input_has_no_room_for(looked_up):
    np.save("a.npy", np.array([1, 2.5, 3]))
    done = run_part(looked_up, "a.npy", "out", format="npz", on_error="skip")
    assert np.load(done.output)["row"].tolist() == [0, 2] and "2.5" in done.damaged["row 1"]


def test_damaged_parts(double):
    Path("a.npy").write_bytes(b"haha")
    done = run_part(double, "a.npy", "out", format="csv", on_error="skip")
    assert done.output is None and "a.npy: not an .npy file" in done.damaged[""]
    assert not Path("out/a.csv").exists()
    np.save("a.npy", numbers())  # once it is mended it is done
    assert run_part(double, "a.npy", "out", format="csv", on_error="skip").rows == 10
    Path("b.csv").write_text("p,q,r\n1,2\n1\n")
    done = run_part(double, "b.csv", "out", on_error="skip")
    assert done.output is None and "all 2 rows" in done.damaged[""]


def test_tables_without_rows(double):
    Path("a.csv").write_text("p,q,r\n")
    done = run_part(double, "a.csv", "out", format="npz")
    assert done.rows == 0 and np.load(done.output)["y"].shape == (0, 3)
    np.save("b.npy", numbers(0))
    assert run_part(double, "b.npy", "out", format="npz").rows == 0


# --- what is done


def test_what_is_done_isnt_done_again(double):
    np.save("a.npy", numbers())
    run_part(double, "a.npy", "out")
    time = os.stat("out/a.npy").st_mtime_ns
    assert run_part(double, "a.npy", "out", batch=2).was_done  # the same results
    assert os.stat("out/a.npy").st_mtime_ns == time
    assert not run_part(double, "a.npy", "out", resume=False).was_done
    np.save("a.npy", numbers(4))
    assert run_part(double, "a.npy", "out").rows == 4
    Path("out/a.npy").write_bytes(b"cut off")
    assert not run_part(double, "a.npy", "out").was_done
    Path("out/a.npy").unlink()
    assert not run_part(double, "a.npy", "out").was_done
    assert [p.name for p in Path("out").iterdir() if p.name != ".onnxwalk"] == ["a.npy"]
    assert not [*Path("out/.onnxwalk/work").iterdir()]


def test_a_part_that_changes_meanwhile(double):
    np.save("a.npy", numbers())

    def change(done, total):
        np.save("a.npy", numbers(11))

    with pytest.raises(onnxwalk.InvalidInputError, match=r"a\.npy: changed while it was read"):
        run_part(double, "a.npy", "out", tell=change)
    assert not Path("out/a.npy").exists()


def test_a_dry_run_writes_nothing(double):
    np.save("a.npy", numbers())
    assert run_part(double, "a.npy", "out", dry_run=True, batch=4) == Done("a.npy", None, 4)
    assert [p.name for p in Path("out").iterdir()] == [".onnxwalk"]


def test_it_is_told_how_far_it_is(double):
    np.save("a.npy", numbers())
    told = []
    run_part(double, "a.npy", "out", batch=4, tell=lambda done, total: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_workers_can_be_sent_it(double):
    np.save("a.npy", numbers())
    work = pickle.loads(pickle.dumps(partial(run_part, double, out="out", batch=4)))
    done = pickle.loads(pickle.dumps(work("a.npy")))
    assert done.rows == 10
    with open(double, "rb") as file:
        assert run_part(file.read(), "a.npy", "out").was_done  # the same model
    assert run_part(onnxwalk.load(double), "a.npy", "out").was_done


def test_default_batch(double, looked_up, tmp_path):
    assert default_batch(onnxwalk.load(double)) == 256
    big = save(
        tmp_path / "b.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        [("x", T.FLOAT, ["n", 3, 224, 224])],
        [("y", T.FLOAT, ["n", 3, 224, 224])],
    )
    assert default_batch(onnxwalk.load(big)) == 1
    fixed = save(
        tmp_path / "f.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        [("x", T.FLOAT, [5, 3])],
        [("y", T.FLOAT, [5, 3])],
    )
    assert default_batch(onnxwalk.load(fixed)) == 5


# --- what is refused, in one line


def test_refused(double, looked_up, tmp_path, monkeypatch):
    np.save("a.npy", numbers())
    run_part(double, "a.npy", "out")
    summed = save(
        tmp_path / "s.onnx",
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)],
        [("x", T.FLOAT, ["n", 3])],
        [("y", T.FLOAT, None)],
    )
    for match, arguments, options in [
        ("no.onnx: the model can't be read by this process", ("no.onnx", "a.npy", "o"), {}),
        (r"no.npy: No such file", (double, "no.npy", "o"), {}),
        (r"out: .* made with another model", (looked_up, "a.npy", "out"), {"format": "npy"}),
        (r'format "npy" \(now "csv"\)', (double, "a.npy", "out"), {"format": "csv"}),
        ("doesn't have one row for each row", (summed, "a.npy", "o2"), {"on_error": "skip",
                                                                       "format": "csv"}),
        ("can't say which rows were left out", (double, "a.npy", "o"), {"on_error": "skip"}),
        ("on_error must be", (double, "a.npy", "o"), {"on_error": "ignore"}),
        ("format must be one of", (double, "a.npy", "o"), {"format": "json"}),
        ("would replace the part", (double, "a.npy", "."), {}),
        ("no output named 'z'", (double, "a.npy", "o"), {"outputs": ["z"]}),
        ("no input named 'z'", (double, "a.npy", "o3"), {"input": "z"}),
    ]:  # fmt: skip
        with pytest.raises(onnxwalk.InvalidInputError, match=match) as caught:
            run_part(*arguments, **options)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(onnxwalk, "__version__", "9.9")
    with pytest.raises(onnxwalk.InvalidInputError, match=r"onnxwalk .* \(now 9\.9\)"):
        run_part(double, "a.npy", "out")


def test_a_full_disk_is_no_damaged_part(double, monkeypatch):
    np.save("a.npy", numbers())

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onnxwalk.interpreter.rows.outputs.np.lib.format.write_array", full)
    with pytest.raises(onnxwalk.InvalidInputError, match=r"can't be written: No space left"):
        run_part(double, "a.npy", "out", format="npz", on_error="skip")
    assert not Path("out/a.npz").exists() and not [*Path("out/.onnxwalk/work").iterdir()]
