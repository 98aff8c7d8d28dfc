"""Parts and results of every format by a Dask scheduler: the bytes of a run without one, and the
same rows and parts are left out and named."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

import onnxwalk
from onnxwalk.interpreter.cli import main
from onnxwalk.interpreter.text import TEXT_KEY

distributed = pytest.importorskip("distributed", reason="Dask isn't installed")
onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper

ROOT = Path(onnxwalk.__file__).resolve().parents[1]
ROWS = 40


@pytest.fixture(scope="module")
def scheduler():
    """The address of two workers."""
    nanny = {"env": {"PYTHONPATH": str(ROOT)}}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", **nanny
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("parts").mkdir()


def save(nodes, inputs, outputs, texts=None) -> None:
    infos = [[helper.make_tensor_value_info(*v) for v in side] for side in (inputs, outputs)]
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "g", *infos)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    if texts is not None:
        helper.set_model_props(model, {TEXT_KEY: json.dumps(texts)})
    onnx.save(model, "m.onnx")


def save_numbers() -> None:
    """y = √x of three numbers in a row, and their sum."""
    save(
        [("Sqrt", ["x"], ["y"]), ("ReduceSum", ["x"], ["s"])],
        [("x", TensorProto.FLOAT, ["n", 3])],
        [("y", TensorProto.FLOAT, ["n", 3])],
    )


def numbers(part: int) -> np.ndarray:
    return np.random.default_rng(part).random((ROWS + part, 3), np.float32)


def results(out: str) -> tuple[dict[str, bytes], dict[str, object]]:
    """The bytes of all results, and what is recorded of the parts: what identifies them but for
    the time of results."""
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in Path(out).rglob("*")
        if path.is_file() and ".onnxwalk" not in path.parts
    }
    records = {}
    for path in Path(out, ".onnxwalk", "parts").rglob("*.json"):
        record = json.loads(path.read_text())
        record["output"] = record["output"].split(",")[0]
        records[path.name] = record
    return files, records


def check(capfd, scheduler: str, *arguments: str, status: int = 0) -> dict[str, bytes]:
    """Run the command without a scheduler and with it; what is the same for both is returned."""
    found, said = [], []
    for name, options in {"alone": [], "dask": ["--scheduler", scheduler]}.items():
        assert main(["run", "m.onnx", *arguments, "--output", f"{name}/", *options]) == status
        found.append(results(name))
        said.append(sorted(capfd.readouterr().err.replace(str(Path.cwd()) + "/", "").splitlines()))
    assert found[0] == found[1] and found[0][0]
    assert said[0] == said[1]
    return found[0][0]


def write_npy(path, rows):
    np.save(f"{path}.npy", rows)


def write_npz(path, rows):
    np.savez(f"{path}.npz", x=rows)


def write_csv(path, rows):
    np.savetxt(f"{path}.csv", rows, delimiter=",", header="p,q,r", comments="")


def write_csv_gz(path, rows):
    with gzip.open(f"{path}.csv.gz", "wt") as file:
        np.savetxt(file, rows, delimiter=",", header="p,q,r", comments="")


def write_tsv(path, rows):
    np.savetxt(f"{path}.tsv", rows, delimiter="\t", header="p\tq\tr", comments="")


def write_jsonl(path, rows):
    lines = [json.dumps({"x": row}) + "\n" for row in rows.tolist()]
    Path(f"{path}.jsonl").write_text("".join(lines))


def write_parquet(path, rows):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.table({"x": rows.tolist()}), f"{path}.parquet", row_group_size=16)


def write_zarr(path, rows):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(f"{path}.zarr", data=rows, chunks=(16, 3))


KINDS = {
    "npy": write_npy,
    "npz": write_npz,
    "csv": write_csv,
    "csv.gz": write_csv_gz,
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "zarr": write_zarr,
}


@pytest.mark.parametrize("kind", KINDS)
def test_parts(capfd, scheduler, kind):
    save_numbers()
    for part in range(3):
        KINDS[kind](f"parts/{part}", numbers(part))
    files = check(capfd, scheduler, "--input", f"parts/*.{kind}", "--batch", "16")
    assert len(files) == 3


@pytest.mark.parametrize("format", ["npy", "npz", "csv", "tsv", "jsonl", "parquet"])
def test_results(capfd, scheduler, format):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    save_numbers()
    for part in range(3):
        write_csv(f"parts/{part}", numbers(part))
    files = check(capfd, scheduler, "--input", "parts/*.csv", "--format", format)
    assert sorted(files) == [f"{part}.{format}" for part in range(3)]


def save_pictures(image) -> None:
    shape = ["n", 2, 2, 1]
    save(
        [("Flatten", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, shape)],
        [("y", TensorProto.FLOAT, ["n", 4])],
    )
    for part in range(2):
        Path(f"parts/{part}").mkdir()
        for number in range(5):
            array = np.full((2, 2), 25 * (number + part), np.uint8)
            image.fromarray(array).save(f"parts/{part}/{number}.png")


@pytest.mark.parametrize("kind", ["", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_pictures(capfd, scheduler, kind):
    """A damaged one is left out by both."""
    save_pictures(pytest.importorskip("PIL.Image"))
    Path("parts/1/3.png").write_bytes(b"not a picture")
    if kind:
        for part in range(2):
            mode = f"w:{kind.rpartition('.')[2]}" if kind != ".tar" else "w"
            with tarfile.open(f"parts/{part}{kind}", mode) as archive:
                archive.add(f"parts/{part}", f"{part}")
    inputs = [word for part in range(2) for word in ("--input", f"parts/{part}{kind or '/'}")]
    files = check(capfd, scheduler, *inputs, "--on-error", "skip", status=1)
    assert sorted(files) == ["0.csv", "1.csv"]
    assert b"1.png" in files["1.csv"] and b"3.png" not in files["1.csv"]


@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_texts(capfd, scheduler, kind):
    shape = ["n", 3]
    settings = {"standardize": "lower", "split": "whitespace", "ngrams": None, "length": 3}
    settings |= {"ragged": False, "vocabulary": ["", "[UNK]", "good", "day"]}
    save(
        [("Identity", ["i"], ["y"])],
        [("i", TensorProto.INT64, shape)],
        [("y", TensorProto.INT64, shape)],
        {"i": settings},
    )
    head = "text\n" if kind == "csv" else ""
    for part in range(3):
        Path(f"parts/{part}.{kind}").write_text(head + "good day\na good day\nday\n" * (part + 1))
    files = check(capfd, scheduler, "--text-file", f"parts/*.{kind}", "--format", "jsonl")
    assert b"[1, 2, 3]" in files["0.jsonl"]


@pytest.mark.parametrize("format", ["csv", "npz"])
def test_what_is_damaged_is_left_out_and_named(capfd, scheduler, format):
    save_numbers()
    for part in range(3):
        write_csv(f"parts/{part}", numbers(part))
    lines = Path("parts/1.csv").read_text().splitlines()
    lines[3], lines[7] = "1,2", "1,oh,3"
    Path("parts/1.csv").write_text("\n".join(lines) + "\n")
    Path("parts/3.csv").write_bytes(b"p,q,r\n\x00\xff\n")
    Path("parts/4.csv").write_text("p,q,r\n1\n2\n")
    command = ["--input", "parts/*.csv", "--format", format]
    files = check(capfd, scheduler, *command, "--on-error", "skip", status=1)
    assert sorted(files) == [f"{part}.{format}" for part in range(3)]
    _, records = results("dask")
    assert [*records[f"1.{format}.json"]["damaged"]] == ["row 2", "row 6"]
    for name, options in {"a": [], "b": ["--scheduler", scheduler]}.items():
        assert main(["run", "m.onnx", *command, "--output", f"{name}/", *options]) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert "parts/" in line and "csv" in line
        assert (Path(name) / ".onnxwalk").is_dir()
