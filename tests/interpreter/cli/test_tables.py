"""``run`` on tables: columns to inputs, files joined, values on the command line, rows written."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk

ROOT = Path(__file__).parents[3]
FLOAT = T.FLOAT


@pytest.fixture
def people(make):
    """age and pay (n, 1) float, city (n, 1) string, k (n,) int64: each is returned as NAME_."""
    inputs = [
        ("age", FLOAT, ["n", 1]),
        ("pay", FLOAT, ["n", 1]),
        ("city", T.STRING, ["n", 1]),
        ("k", T.INT64, ["n"]),
    ]
    nodes = [helper.make_node("Identity", [name], [f"{name}_"]) for name, _, _ in inputs]
    outputs = [(f"{name}_", kind, shape) for name, kind, shape in inputs]
    return make("people.onnx", nodes, inputs, outputs)


ROWS = 'id;k;city;age;pay\n1;7;Rome;30,5;1000\n2;8;"Oslo; N";40;\n3;9;NA;50;3000\n'


def rows_of(text, delimiter=","):
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


# --- columns to inputs


@pytest.mark.parametrize("batch", [(), ("--batch", 2)])
def test_columns_go_to_the_inputs_of_their_names(feed, people, batch):
    Path("t.csv").write_text(ROWS)
    outputs, text = feed(people, "-i", "t.csv", *batch)
    np.testing.assert_array_equal(outputs["age_"], [[30.5], [40], [50]])
    np.testing.assert_array_equal(outputs["pay_"], [[1000], [np.nan], [3000]])
    assert outputs["city_"].tolist() == [["Rome"], ["Oslo; N"], ["NA"]]
    assert outputs["k_"].tolist() == [7, 8, 9]
    for note in ("delimiter: semicolon", "decimal commas", "not fed: id", "first line is a header"):
        assert note in text
    assert "1 missing in pay, fed as NaN" in text


def test_columns_by_name_and_by_number(feed, cli, people, identity):
    Path("t.csv").write_text(ROWS)
    outputs, _ = feed(people, "-i", "age=t.csv:5", "-i", "pay=t.csv:age", "-i", "t.csv:k,city")
    np.testing.assert_array_equal(outputs["age_"], [[1000], [np.nan], [3000]])
    np.testing.assert_array_equal(outputs["pay_"], [[30.5], [40], [50]])
    assert outputs["k_"].tolist() == [7, 8, 9]
    model = identity(["n", 2])
    outputs, text = feed(model, "-i", "t.csv:k,age")
    np.testing.assert_array_equal(outputs["y"], [[7, 30.5], [8, 40], [9, 50]])
    assert "not fed" not in text
    error = cli("run", model, "-i", "t.csv").error
    assert "takes 2 columns, but there are 5: id, k, city, age, pay" in error
    assert error.endswith("say which: --input x=t.csv:id,k")
    assert (
        "no column is named 'agee'; did you mean 'age'?"
        in cli("run", model, "-i", "t.csv:agee,k").error
    )
    error = cli("run", people, "-i", "t.csv:id").error
    assert "can't tell which input column 'id' is for" in error


def test_a_name_with_a_comma_and_an_index_without_a_name(feed, cli, identity):
    Path("t.csv").write_text(',"a, b",c\n0,1,2\n1,3,4\n')
    model = identity(["n", 2])
    outputs, text = feed(model, "-i", "t.csv")
    np.testing.assert_array_equal(outputs["y"], [[1, 2], [3, 4]])
    assert "not fed: the one without a name" in text
    outputs, _ = feed(model, "-i", 'x=t.csv:c,"a, b"')
    np.testing.assert_array_equal(outputs["y"], [[2, 1], [4, 3]])
    assert feed(identity(["n", 3]), "-i", "t.csv")[0]["y"][1].tolist() == [1, 3, 4]


def test_a_file_with_a_colon_in_its_name(feed, identity):
    Path("a:b.csv").write_text("c:d,e\n1,2\n")
    assert feed(identity(["n", 1]), "-i", "a:b.csv:c:d")[0]["y"].tolist() == [[1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS.replace("8;", ";"), "t.csv, line 3, column 'k', for input 'k': the value is missing"),
        (ROWS.replace("8;", "8,5;"), "line 3, column 'k', for input 'k': 8.5 can't be converted"),
        (ROWS.replace("40;", "forty;"), "line 3, column 'age', for input 'age': 'forty' is not a"),
        (ROWS.replace("age", "AG"), "no value for input age: float32[n, 1]"),
        (ROWS.replace("id", "age"), "several columns are named 'age', as input age"),
    ],
)
def test_a_cell_that_does_not_fit_is_named(cli, people, text, message):
    Path("t.csv").write_text(text)
    assert message in cli("run", people, "-i", "t.csv").error
    assert message in cli("run", people, "-i", "t.csv", "--batch", 1).error


def test_records(feed, cli, people, identity):
    records = [
        {"age": 1, "pay": None, "city": "x", "k": 2, "id": 0},
        {"age": "NaN", "pay": 2.5, "k": 3},
    ]
    Path("t.json").write_text(json.dumps(records))
    Path("t.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n\n")
    for name in ("t.json", "t.jsonl"):
        for batch in ((), ("--batch", 1)):
            outputs, text = feed(people, "-i", name, *batch)
            np.testing.assert_array_equal(outputs["age_"], [[1], [np.nan]])
            np.testing.assert_array_equal(outputs["pay_"], [[np.nan], [2.5]])
            assert outputs["city_"].tolist() == [["x"], [""]] and outputs["k_"].tolist() == [2, 3]
            assert "1 missing in city, fed as empty strings" in text
    Path("t.jsonl").write_text('{"v": [[1, 2], [3, 4]]}\n{"v": [[5, 6], [7, 8]]}\n')
    outputs, _ = feed(identity(["n", 2, 2]), "-i", "t.jsonl")
    np.testing.assert_array_equal(outputs["y"], np.arange(1, 9).reshape(2, 2, 2))
    Path("t.jsonl").write_text("[1, 2]\n[3, 4]\n")
    assert feed(identity(["n", 2]), "-i", "t.jsonl")[0]["y"].tolist() == [[1, 2], [3, 4]]
    model = identity(["n", 1])
    for text, message in (
        ('{"a": 1}\n{"a": }\n', "t.jsonl, line 2: not JSON"),
        ('{"a": 1}\n{"a": [1]}\n', "row 1 (the first is 0), column 'a', for input 'x': [1] is not"),
        ('{"a": 1}\n[1]\n', "row 1 (the first is 0): not an object"),
        ("[1]\n[1, 2]\n", "expected 1 values, got 2"),
        ('{"a": 1}\n{"b": 2}\n', "takes 1 column, but there are 2: a, b"),
    ):
        Path("t.jsonl").write_text(text)
        assert message in cli("run", model, "-i", "t.jsonl").error


def test_parquet(feed, cli, people):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow isn't installed")
    from pyarrow import parquet

    table = arrow.table(
        {
            "age": np.arange(10.0),
            "pay": arrow.array([None, *range(1, 10)]),
            "city": arrow.array([None, *"abcdefghi"]).dictionary_encode(),
            "k": np.arange(10),
            "id": np.arange(10),
        }
    )
    parquet.write_table(table, "t.parquet", row_group_size=3)
    for batch in ((), ("--batch", 4)):
        outputs, text = feed(people, "-i", "t.parquet", *batch)
        np.testing.assert_array_equal(outputs["age_"][:, 0], np.arange(10))
        np.testing.assert_array_equal(outputs["pay_"][:, 0], [np.nan, *range(1, 10)])
        assert outputs["city_"][:, 0].tolist() == ["", *"abcdefghi"]
        assert "not fed: id" in text
    assert cli("run", people, "-i", "t.parquet", "-o", "y.parquet").status == 0
    assert parquet.read_table("y.parquet").column_names == ["row", "age_", "pay_", "city_", "k_"]
    assert parquet.read_table("y.parquet")["city_"].to_pylist() == ["", *"abcdefghi"]
    Path("t.parquet").write_bytes(b"PAR1 nothing")
    assert cli("run", people, "-i", "t.parquet").error.startswith("t.parquet: not a Parquet file")


def test_parquet_without_pyarrow(cli, people, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    Path("t.parquet").write_bytes(b"PAR1")
    message = 'pyarrow is required for Parquet files: pip install "onnxwalk[parquet]"'
    assert cli("run", people, "-i", "t.parquet").error == message
    assert cli("run", people, "--random", "-o", "y.parquet").error == message


# --- patterns, several files, standard input, values


def test_several_files_are_joined_in_their_order(feed, cli, identity):
    model = identity(["n", 2])
    for i in range(3):
        Path(f"part{i}.csv").write_text(f"a,b\n{i},1\n{i},2\n")
    np.save("more.npy", np.full((3, 2), 9.0))
    expected = [[i, j] for i in range(3) for j in (1, 2)]
    for batch in ((), ("--batch", 4)):
        outputs, text = feed(model, "-i", "part*.csv", *batch)
        assert outputs["y"].tolist() == expected
        outputs, _ = feed(model, "-i", "part?.csv", "-i", "x=more.npy", *batch)
        assert outputs["y"].tolist() == [*expected, *[[9, 9]] * 3]
    assert "part0.csv, part1.csv, part2.csv" in text
    assert cli("run", model, "-i", "no*.csv").error == "no*.csv: no file matches"
    error = cli("run", model, "-i", "part0.csv", "-i", "x=part0.csv").error
    assert error == "input 'x' was given twice: part0.csv"
    Path("part3.csv").write_text("a,b,c\n1,2,3\n")
    assert "part3.csv: input x" in cli("run", model, "-i", "part*.csv").error
    np.save("wide.npy", np.zeros((1, 3)))
    error = cli("run", identity(["n", None]), "-i", "more.npy", "-i", "wide.npy").error
    assert error == "wide.npy: rows of shape (3,), but more.npy has (2,)"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "npy", "npz", "gz"])
def test_standard_input(cli, identity, monkeypatch, kind):
    model = identity(["n", 2])
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, np.array([[1.0, 2], [3, 4]]))
    elif kind == "npz":
        np.savez(buffer, x=np.array([[1.0, 2], [3, 4]]))
    elif kind == "gz":
        import gzip

        buffer.write(gzip.compress(b"a,b\n1,2\n3,4\n"))
    else:
        text = {
            "csv": "a,b\n1,2\n3,4\n",
            "jsonl": "[1, 2]\n[3, 4]\n",
            "json": "[\n[1, 2],\n[3, 4]]\n",
        }
        buffer.write(text[kind].encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    assert cli("run", model, "-i", "-", "-o", "y.npy").status == 0
    assert np.load("y.npy").tolist() == [[1, 2], [3, 4]]


def test_columns_of_standard_input_and_nothing_there(cli, people, monkeypatch):
    text = "a,b\n1,2\n3,4\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    inputs = ("-i", "age=-:b", "-i", "pay=-:1", "-i", "k=5", "-i", 'city="x"')
    assert cli("run", people, *inputs, "-o", "y.csv").status == 0
    assert rows_of(Path("y.csv").read_text())[1:] == [
        ["0", "2.0", "1.0", "x", "5"],
        ["1", "4.0", "3.0", "x", "5"],
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert cli("run", people, "-i", "-").error == "-: standard input is empty"


def test_values_on_the_command_line(feed, cli, make):
    nodes = [helper.make_node("Identity", [name], [f"{name}_"]) for name in ("x", "sr", "w", "s")]
    inputs = [("x", FLOAT, ["n", 2]), ("sr", T.INT64, []), ("w", FLOAT, [2]), ("s", T.STRING, [1])]
    outputs = [(f"{name}_", kind, None) for name, kind, _ in inputs]
    model = make("m.onnx", nodes, inputs, outputs)
    np.save("x.npy", np.zeros((3, 2)))
    values = ("-i", "sr=16000", "-i", "w=[1, 2.5]", "-i", 's="a=b"')
    found, text = feed(model, "-i", "x=x.npy", *values)
    assert found["sr_"] == 16000 and found["w_"].tolist() == [1, 2.5]
    assert found["s_"].tolist() == ["a=b"] and "the command line" in text
    error = cli("run", model, "-i", "x=x.npy", "-i", "sr=fast").error
    assert error == """sr=fast: no such file, and no value such as 3, [1, 2] or '"text"'"""
    assert "0.5 can't be converted to int64" in cli("run", model, "-i", "sr=0.5").error
    assert "was given twice" in cli("run", model, "-i", "sr=1", "-i", "sr=2").error


# --- rows out


@pytest.mark.parametrize("name", ["y.csv", "y.tsv", "y.csv.gz"])
def test_rows_are_written_as_text(cli, people, name):
    Path("t.csv").write_text(ROWS)
    assert cli("run", people, "-i", "t.csv", "-o", name).status == 0
    data = Path(name).read_bytes()
    if name.endswith(".gz"):
        import gzip

        data = gzip.decompress(data)
    assert rows_of(data.decode(), "\t" if name.endswith("tsv") else ",") == [
        ["row", "age_", "pay_", "city_", "k_"],
        ["0", "30.5", "1000.0", "Rome", "7"],
        ["1", "40.0", "", "Oslo; N", "8"],
        ["2", "50.0", "3000.0", "NA", "9"],
    ]


def test_what_was_written_can_be_read_back(feed, cli, identity):
    x = np.array([[0.1, np.nan], [np.inf, -1e-30], [16777217, 3]], np.float32)
    np.save("x.npy", x)
    model = identity(["n", 2])
    for name in ("y.csv", "y.jsonl", "y.tsv"):
        assert cli("run", model, "-i", "x.npy", "-o", name).status == 0
        columns = "y" if name == "y.jsonl" else "y_0,y_1"
        outputs, _ = feed(model, "-i", f"{name}:{columns}")
        np.testing.assert_array_equal(outputs["y"], x)
    lines = [json.loads(line) for line in Path("y.jsonl").read_text().splitlines()]
    assert lines[0] == {"row": 0, "y": [0.1, None]} and lines[1]["y"] == ["Infinity", -1e-30]


def test_class_names_and_the_best_classes(cli, classifier):
    np.save("x.npy", np.random.default_rng(0).normal(size=(40, 4)))
    y = onnxwalk.load(classifier)(np.load("x.npy").astype(np.float32))
    Path("names.txt").write_text("cat\ndog\nowl\n")
    run = ("run", classifier, "-i", "x.npy", "-o", "y.csv", "--batch", 16)
    assert cli(*run, "--labels", "names.txt").status == 0
    header, *rows = rows_of(Path("y.csv").read_text())
    assert header == ["row", "y_cat", "y_dog", "y_owl"]
    np.testing.assert_allclose(np.array(rows, float)[:, 1:], y, rtol=1e-6)
    assert cli(*run, "--labels", "names.txt", "--top", 2).status == 0
    header, *rows = rows_of(Path("y.csv").read_text())
    assert header == ["row", "y_class_1", "y_score_1", "y_class_2", "y_score_2"]
    order = np.argsort(-y, axis=1)
    names = np.array(["cat", "dog", "owl"])
    assert [row[1] for row in rows] == names[order[:, 0]].tolist()
    assert [row[3] for row in rows] == names[order[:, 1]].tolist()
    np.testing.assert_allclose([float(row[2]) for row in rows], y.max(axis=1), rtol=1e-6)
    assert cli(*run, "--top", 1).status == 0
    assert rows_of(Path("y.csv").read_text())[1][:2] == ["0", str(order[0, 0])]
    Path("y.jsonl").touch()
    assert cli(*run[:4], "-o", "y.jsonl", "--labels", "names.txt").status == 0
    assert set(json.loads(Path("y.jsonl").read_text().splitlines()[0])["y"]) == set(names)
    error = cli("run", classifier, "-i", "x.npy", "--labels", "names.txt").error
    assert error == "--labels requires --top, or a table such as .csv as --output"


def test_standard_output_has_the_rows_and_nothing_else(cli, classifier):
    np.save("x.npy", np.zeros((2, 4)))
    result = cli("run", classifier, "-i", "x.npy", "-o", "-")
    assert result.out == "row,y_0,y_1,y_2\n" + "".join(
        f"{i},0.33333334,0.33333334,0.33333334\n" for i in range(2)
    )
    result = cli("run", classifier, "-i", "x.npy", "-o", "-", "--format", "jsonl", "--top", 1)
    assert json.loads(result.out.splitlines()[1]) == {
        "row": 1,
        "y_class": 0,
        "y_score": 0.33333334,
    }
    run = ("run", classifier, "-i", "x.npy")
    assert "both write to standard output" in cli(*run, "-o", "-", "--json").error
    assert "--format is for --output -" in cli(*run, "-o", "y.csv", "--format", "tsv").error
    assert "--format requires --output" in cli(*run, "--format", "tsv").error


@pytest.mark.parametrize("format", ["json", "npy", "npz"])
def test_other_formats_on_standard_output(classifier, format, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 4)))
    command = [sys.executable, "-m", "onnxwalk", "run", classifier, "-i", "x.npy"]
    out = subprocess.run(
        [*command, "-o", "-", "--format", format],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout
    if format == "json":
        value = json.loads(out)["y"]
    else:
        value = np.load(io.BytesIO(out))
        value = value["y"] if format == "npz" else value
    np.testing.assert_allclose(value, np.full((2, 3), 1 / 3), rtol=1e-6)


def test_outputs_are_chosen(cli, feed, adder):
    np.savez("x.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    assert list(feed(adder, "-i", "x.npz", "--outputs", "d")[0]) == ["d"]
    assert list(feed(adder, "-i", "x.npz", "--outputs", "d,s")[0]) == ["d", "s"]
    assert list(feed(adder, "-i", "x.npz", "--outputs", "d", "--outputs", "a")[0]) == ["d", "a"]
    assert list(feed(adder, "-i", "x.npz", "--outputs", "[a-s]")[0]) == ["s", "d"]
    assert list(feed(adder, "-i", "x.npz", "--outputs", "Sub")[0]) == ["d"]
    assert "--outputs z*: no value" in cli("run", adder, "-i", "x.npz", "--outputs", "s,z*").error
    assert cli("run", adder, "-i", "x.npz", "-o", "y.npy", "--outputs", "s").status == 0
    assert "did you mean" in cli("run", adder, "-i", "x.npz", "--outputs", "dd").error
    assert "choose one by --outputs" in cli("run", adder, "-i", "x.npz", "-o", "z.npy").error


def test_outputs_without_a_row_for_each_sample(cli, make):
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Neg", ["x"], ["row"]),
    ]
    outputs = [("total", FLOAT, []), ("row", FLOAT, ["n", 2])]
    model = make("m.onnx", nodes, [("x", FLOAT, ["n", 2])], outputs)
    np.save("x.npy", np.ones((3, 2)))
    error = cli("run", model, "-i", "x.npy", "-o", "y.csv").error
    assert "output 'total' has shape (), which isn't one row for each of the 3 rows" in error
    assert not Path("y.csv").exists()
    assert cli("run", model, "-i", "x.npy", "-o", "y.jsonl", "--outputs", "row").status == 0
    assert json.loads(Path("y.jsonl").read_text().splitlines()[2]) == {"row_": 2, "row": [-1, -1]}


def test_too_many_columns(cli, identity):
    np.save("x.npy", np.zeros((1, 101, 100)))
    error = cli("run", identity(["n", 101, 100]), "-i", "x.npy", "-o", "y.csv").error
    assert "10,100 values in each row, too many for columns; write it to .npy" in error


# --- maps of classifiers


@pytest.fixture
def zipmap(make):
    """What classifiers of scikit-learn are exported to by default: labels, a map for each row."""

    def write(**keys):
        nodes = [
            helper.make_node("Softmax", ["x"], ["p"], axis=-1),
            helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
            helper.make_node("ZipMap", ["p"], ["probability"], domain="ai.onnx.ml", **keys),
        ]
        path = make(
            "zipmap.onnx", nodes, [("x", FLOAT, ["n", 3])], [("label", T.INT64, ["n"])], opset=13
        )
        import onnx

        model = onnx.load(path)
        key = T.STRING if "classlabels_strings" in keys else T.INT64
        value = helper.make_tensor_type_proto(FLOAT, [])
        kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
        model.graph.output.append(helper.make_value_info("probability", kind))
        onnx.save(model, path)
        return path

    return write


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"classlabels_strings": ["cat", "dog", "owl"]}, ["cat", "dog", "owl"]),
        ({"classlabels_int64s": [3, 5, 8]}, ["3", "5", "8"]),
    ],
)
def test_maps_of_classifiers_are_columns(cli, feed, zipmap, keys, names):
    model = zipmap(**keys)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.save("x.npy", x)
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    for batch in ((), ("--batch", 7)):
        outputs, text = feed(model, "-i", "x.npy", *batch)
        np.testing.assert_allclose(outputs["probability"], p, rtol=1e-5)
        best = names[int(p[0].argmax())]
        assert f"sample 0  {best}: " in text and "(20, 3)" in text
        assert cli("run", model, "-i", "x.npy", *batch, "-o", "y.csv").status == 0
        header, *rows = rows_of(Path("y.csv").read_text())
        assert header == ["row", "label", *(f"probability_{name}" for name in names)]
        np.testing.assert_allclose(np.array(rows, float)[:, 2:], p, rtol=1e-5)
        report = json.loads(cli("run", model, "-i", "x.npy", *batch, "--json", "--top", 1).out)
        assert report["outputs"][1]["classes"] == names
        assert report["outputs"][1]["top"][0][0]["label"] == best
    assert cli("run", model, "-i", "x.npy", "-o", "y.json").status == 0
    assert list(json.loads(Path("y.json").read_text())["probability"][0]) == names


# --- much of it


def test_a_large_table_takes_no_more_memory_than_a_small_one(cli, classifier):
    def peak(rows):
        with open("x.csv", "w") as file:
            for start in range(0, rows, 1000):
                file.write("".join(f"{i},2.5,3,4\n" for i in range(start, start + 1000)))
        tracemalloc.start()
        try:
            result = cli("run", classifier, "-i", "x.csv", "--batch", 500, "-o", "y.csv")
            return result.status, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1000)
    (first, small), (second, large) = peak(20_000), peak(60_000)
    assert first == second == 0
    with open("y.csv") as file:
        assert sum(1 for _ in file) == 60_001
    # The outputs, which lie in a temporary file from 8 MiB on, and the row numbers take 28 bytes a
    # row. A row of the file, as text and as numbers, would take hundreds.
    assert large < small + 40_000 * 32, (small, large)
