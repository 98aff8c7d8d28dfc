"""Every kind of file becomes the array that it should, or one line that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

FLOAT, DOUBLE, HALF = T.FLOAT, T.DOUBLE, T.FLOAT16


def refused(cli, model, *argv) -> str:
    """The error of a run that must not leave a file behind."""
    Path("out.npz").unlink(missing_ok=True)
    message = cli("run", model, *argv, "-o", "out.npz").error
    assert not Path("out.npz").exists()
    return message


# --- npy


def test_npy_is_converted_and_gets_its_batch_dimension(cli, feed, identity):
    model = identity(["n", 3])
    np.save("x.npy", np.array([1.5, 2.5, 3.5]))
    outputs, text = feed(model, "--input", "x.npy")
    assert outputs["y"].dtype == np.float32
    np.testing.assert_array_equal(outputs["y"], np.array([[1.5, 2.5, 3.5]], np.float32))
    assert "batch dimension added" in text and "converted from float64" in text


def test_a_fixed_first_dimension_other_than_one_gets_no_batch(cli, identity):
    np.save("x.npy", np.zeros(3, np.float32))
    assert "expected 2 dimensions for float32[2, 3], got 1: (3,)" in refused(
        cli, identity([2, 3]), "-i", "x=x.npy"
    )


@pytest.mark.parametrize(
    ("element", "values", "expected"),
    [
        (FLOAT, np.array([1, -2], np.int64), np.array([1, -2], np.float32)),
        (FLOAT, np.array([True, False]), np.array([1, 0], np.float32)),
        (FLOAT, np.array([1.5], ">f8"), np.array([1.5], np.float32)),
        (FLOAT, np.array([np.nan, np.inf]), np.array([np.nan, np.inf], np.float32)),
        (HALF, np.array([0.1], np.float64), np.array([0.1], np.float16)),
        (DOUBLE, np.array([0.5], np.float32), np.array([0.5], np.float64)),
        (T.INT64, np.array([3.0, -4.0]), np.array([3, -4], np.int64)),
        (T.UINT8, np.array([255, 0], np.int64), np.array([255, 0], np.uint8)),
        (T.BOOL, np.array([0, 1]), np.array([False, True])),
        (T.COMPLEX64, np.array([1.5]), np.array([1.5 + 0j], np.complex64)),
        (T.STRING, np.array(["a", "bc"]), np.array(["a", "bc"])),
        (T.STRING, np.array([b"a", "ü".encode()]), np.array(["a", "ü"])),
    ],
)
def test_numbers_keep_their_kind(feed, identity, element, values, expected):
    np.save("x.npy", values)
    outputs, _ = feed(identity(["n"], element), "-i", "x.npy")
    assert outputs["y"].dtype == expected.dtype
    np.testing.assert_array_equal(outputs["y"], expected)


@pytest.mark.parametrize(
    ("element", "values", "message"),
    [
        (T.INT64, np.array([1.0, 0.5]), "0.5 can't be converted to int64"),
        (T.INT64, np.array([np.nan]), "nan can't be converted to int64"),
        (T.INT64, np.array([2.0**63]), "can't be converted to int64"),
        (T.UINT8, np.array([1, 300]), "300 can't be converted to uint8"),
        (T.UINT64, np.array([-1]), "-1 can't be converted to uint64"),
        (T.INT64, np.array([2**63], np.uint64), "9223372036854775808 can't be converted to int64"),
        (T.BOOL, np.array([2]), "2 can't be converted to bool"),
        (FLOAT, np.array([1e300]), "1e+300 can't be converted to float32"),
        (FLOAT, np.array([1j]), "expected float32, got complex numbers"),
        (FLOAT, np.array(["1"]), "expected float32, got strings"),
        (FLOAT, np.array(["2020-01-01"], "M8[D]"), "expected float32, got datetime64[D]"),
        (FLOAT, np.zeros(2, [("a", "f4")]), "expected float32, got [('a', '<f4')]"),
        (T.STRING, np.array([1]), "expected strings, got int64"),
    ],
)
def test_numbers_that_would_lose_their_kind_are_refused(cli, identity, element, values, message):
    model = identity(["n"], element)
    np.save("x.npy", values)
    error = refused(cli, model, "-i", "x.npy")
    assert message in error and "x.npy" in error and "'x'" in error


def test_pickles_are_refused_unread(cli, identity):
    model = identity(["n"])

    class Bomb:
        def __reduce__(self):
            return Path.touch, (Path("exploded"),)

    np.save("x.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    assert "pickle" in refused(cli, model, "-i", "x.npy")
    np.savez("x.npz", x=np.array([Bomb()], dtype=object))
    message = refused(cli, model, "-i", "x.npz")
    assert "pickle" in message and "array 'x'" in message
    assert not Path("exploded").exists()


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.json", "x.csv", "x.png"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04nonsense", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_damaged_files_take_one_line(cli, identity, name, content):
    model = identity(["n", 4, 4, 3])
    Path(name).write_bytes(content)
    assert refused(cli, model, "-i", name).startswith(name)


def test_a_cut_off_npy_is_refused(cli, identity):
    model = identity(["n"])
    np.save("x.npy", np.zeros(1000, np.float32))
    Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:-400])
    assert "damaged" in refused(cli, model, "-i", "x.npy")


# --- npz


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz_gives_inputs_by_their_names(feed, cli, adder, write):
    write("both.npz", b=np.ones((3, 2)), a=np.full((3, 2), 5.0))
    outputs, _ = feed(adder, "-i", "both.npz")
    assert (outputs["d"] == 4).all() and (outputs["s"] == 6).all()


def test_npz_with_one_array_needs_no_matching_name(feed, identity):
    np.savez("x.npz", np.array([1.0, 2.0]))  # arr_0
    outputs, _ = feed(identity(["n"]), "-i", "x.npz")
    np.testing.assert_array_equal(outputs["y"], [1, 2])


def test_one_array_of_an_npz_can_be_chosen_by_name(feed, cli, adder):
    np.savez("more.npz", a=np.full((1, 2), 5.0), unused=np.zeros(7))
    np.save("b.npy", np.ones((1, 2)))
    outputs, _ = feed(adder, "-i", "a=more.npz", "-i", "b=b.npy")
    assert (outputs["d"] == 4).all()
    assert "'unused' is not an input" in refused(cli, adder, "-i", "more.npz")
    assert "'b' not found; it contains a, unused" in refused(cli, adder, "-i", "b=more.npz")


def test_fortran_order_is_read_the_same(feed, identity):
    x = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    np.savez("x.npz", x=x)
    np.save("x.npy", x)
    model = identity(["n", 3])
    for name in ("x.npz", "x.npy"):
        for batch in ((), ("--batch", 3)):
            outputs, _ = feed(model, "-i", name, *batch)
            np.testing.assert_array_equal(outputs["y"], x)


# --- csv


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("1,2.5\n3,-4e1\n", False),
        ("\ufeff1,2.5\n3,-4e1\n", False),
        ("width,height\n1,2.5\n3,-4e1\n", True),
        ('\ufeff"width","height"\r\n\r\n1,"2.5"\r\n 3 ,-4e1', True),
    ],
)
def test_csv_has_a_row_per_sample_and_perhaps_a_header(feed, identity, text, header):
    Path("x.csv").write_text(text, encoding="utf-8")
    outputs, shown = feed(identity(["n", 2]), "-i", "x.csv")
    np.testing.assert_array_equal(outputs["y"], np.array([[1, 2.5], [3, -40]], np.float32))
    assert ("header" in shown) == header


def test_csv_rows_take_the_shape_of_a_sample(feed, cli, identity):
    Path("x.csv").write_text("1,2,3,4\n5,6,7,8\n")
    outputs, _ = feed(identity(["n", 2, 2]), "-i", "x.csv")
    np.testing.assert_array_equal(outputs["y"], np.arange(1, 9).reshape(2, 2, 2))
    Path("x.csv").write_text("1\n2\n3\n")
    outputs, _ = feed(identity(["n"]), "-i", "x.csv")
    np.testing.assert_array_equal(outputs["y"], [1, 2, 3])


def test_csv_keeps_large_integers(feed, identity):
    Path("x.csv").write_text(f"{2**53 + 1}\n-3.0\n")
    outputs, _ = feed(identity(["n", 1], T.INT64), "-i", "x.csv")
    assert outputs["y"].dtype == np.int64
    assert outputs["y"].tolist() == [[2**53 + 1], [-3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n", "line 2: expected 2 columns, got 1"),
        ("a,b\n1,2,3\n", "line 2: expected 2 columns, got 3"),
        ("1,2\n3,x\n", "line 2, column 2, for input 'x': 'x' is not a number"),
        ("1,x\n3,4\n", "line 1, column 2, for input 'x': 'x' is not a number"),
        ("a,b\nc,d\n", "line 2, column 'a', for input 'x': 'c' is not a number"),
        ("a,b\n", "x.csv: the file contains no rows below the header"),
        ("", "x.csv: the file contains no rows"),
    ],
)
def test_csv_that_is_no_table_of_numbers(cli, identity, text, message):
    model = identity(["n", 2])
    Path("x.csv").write_text(text)
    assert message in refused(cli, model, "-i", "x.csv")


# --- json


def test_json_lists_and_objects(feed, identity, adder):
    Path("x.json").write_text('[[1, 2], [3, "-Infinity"]]')
    outputs, _ = feed(identity(["n", 2]), "-i", "x=x.json")
    np.testing.assert_array_equal(outputs["y"], [[1, 2], [3, -np.inf]])
    Path("x.json").write_text('{"b": [[1, 1]], "a": [5, 5]}')
    outputs, _ = feed(adder, "-i", "x.json")
    np.testing.assert_array_equal(outputs["d"], [[4, 4]])


def test_json_strings(feed, cli, identity):
    model = identity(["n"], T.STRING)
    Path("x.json").write_text('["ü", "NaN", ""]', encoding="utf-8")
    outputs, _ = feed(model, "-i", "x.json")
    assert outputs["y"].tolist() == ["ü", "NaN", ""]
    Path("x.json").write_text('["a", 1]')
    assert "contain more than numbers or strings" in refused(cli, model, "-i", "x.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[1, 2], [3]]", "differ in length"),
        ("[null]", "contain more than numbers"),
        ('["one"]', "expected float32, got strings"),
        ('{"z": [1], "w": [1]}', "'z' is not an input"),
        ("{}", "the file is empty"),
        ("[1, ", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
    ],
)
def test_json_that_fits_no_input(cli, identity, text, message):
    model = identity(["n"])
    Path("x.json").write_text(text)
    assert message in refused(cli, model, "-i", "x.json")


def test_what_json_output_wrote_can_be_read_back(cli, identity):
    model = identity(["n"])
    np.save("x.npy", np.array([1, np.nan, np.inf], np.float32))
    assert cli("run", model, "-i", "x.npy", "-o", "y.json").status == 0
    values = json.loads(Path("y.json").read_text())
    assert values == {"y": [1.0, "NaN", "Infinity"]}
    Path("x.json").write_text(json.dumps({"x": values["y"]}))
    assert cli("run", model, "-i", "x.json", "-o", "z.npy").status == 0
    np.testing.assert_array_equal(np.load("z.npy"), np.array([1, np.nan, np.inf], np.float32))


# --- names and files


def test_files_and_names_that_are_not_there(cli, identity, adder):
    model = identity(["n"])
    np.save("x.npy", np.zeros(3, np.float32))
    Path("x.txt").write_text("1")
    assert refused(cli, model, "-i", "no.npy") == "no.npy: no such file"
    assert "no input named 'z'; inputs of the model: x: float32[n]" in refused(
        cli, model, "-i", "z=x.npy"
    )
    assert "unknown file type; use .npy, .npz, .json, .csv" in refused(cli, model, "-i", "x.txt")
    assert "can't tell which input it is for; pass --input NAME=x.npy" in refused(
        cli, adder, "-i", "x.npy"
    )
    assert "was given twice" in refused(cli, model, "-i", "x.npy", "-i", "x=x.npy")
    assert "pass --input a=FILE, or --random" in refused(cli, adder)
    assert refused(cli, "no.onnx", "-i", "x.npy") == "no.onnx: no such file"


def test_names_of_inputs_and_files_may_hold_an_equals_sign(feed, make):
    node = helper.make_node("Identity", ["a=b"], ["y"])
    model = make("m.onnx", [node], [("a=b", FLOAT, ["n"])], [("y", FLOAT, None)])
    np.save("c=d.npy", np.array([1.0, 2.0]))
    for text in ("c=d.npy", "a=b=c=d.npy"):
        outputs, _ = feed(model, "-i", text)
        np.testing.assert_array_equal(outputs["y"], [1, 2])


def test_the_longest_name_that_fits_is_meant(feed, make):
    node = helper.make_node("Sub", ["a", "a=b"], ["y"])
    inputs = [("a", FLOAT, ["n"]), ("a=b", FLOAT, ["n"])]
    model = make("m.onnx", [node], inputs, [("y", FLOAT, None)])
    np.save("x.npy", np.array([5.0]))
    np.save("z.npy", np.array([3.0]))
    assert feed(model, "-i", "a=x.npy", "-i", "a=b=z.npy")[0]["y"].tolist() == [2]


def test_an_initializer_that_is_an_input_can_be_passed(feed, make):
    node = helper.make_node("Add", ["x", "w"], ["y"])
    inputs = [("x", FLOAT, ["n"]), ("w", FLOAT, [1])]
    initial = {"w": np.array([10], np.float32)}
    model = make("m.onnx", [node], inputs, [("y", FLOAT, ["n"])], initial)
    np.save("x.npy", np.array([1.0, 2.0]))
    np.save("w.npy", np.array([5.0]))
    assert feed(model, "-i", "x.npy")[0]["y"].tolist() == [11, 12]
    assert feed(model, "-i", "x.npy", "-i", "w=w.npy")[0]["y"].tolist() == [6, 7]


def test_a_sequence_comes_from_json(cli, tmp_path):
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, ["n"]))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_value_info("x", kind)],
        [helper.make_value_info("y", kind)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    Path("x.json").write_text('{"x": [[1, 2], ["NaN"]]}')
    result = cli("run", "m.onnx", "-i", "x.json", "--json", "-o", "y.json")
    assert json.loads(result.out)["outputs"][0]["values"] == [[1, 2], ["NaN"]]
    assert json.loads(Path("y.json").read_text()) == {"y": [[1, 2], ["NaN"]]}
    assert "sequence  (2)" in cli("run", "m.onnx", "-i", "x.json").out
    assert "is not a tensor; use .json" in refused(cli, "m.onnx", "-i", "x.json")
    np.save("x.npy", np.zeros(3))
    assert "is not a tensor, so it can't be read" in cli("run", "m.onnx", "-i", "x.npy").error
    assert "no random values for input" in cli("run", "m.onnx", "--random").error
    assert "no input can be split" in cli("run", "m.onnx", "-i", "x.json", "--batch", 2).error


def test_a_model_without_inputs(cli, feed, make):
    node = helper.make_node("Identity", ["w"], ["y"])
    model = make("m.onnx", [node], [], [("y", FLOAT, [2])], {"w": np.ones(2, np.float32)})
    assert feed(model)[0]["y"].tolist() == [1, 1]
    np.save("x.npy", np.zeros(3))
    assert (
        refused(cli, model, "-i", "x.npy")
        == "x.npy: can't tell which input it is for; the model has no inputs"
    )
    assert "no input can be split" in refused(cli, model, "--batch", 2)
