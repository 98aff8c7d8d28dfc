"""``compare`` with a quantized file as one side: values, weights, steps, statistics, tolerances."""

import logging
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

import onnxwalk
from tests.interpreter.cli.test_compare import refusal, report


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Conv, Relu, Flatten, MatMul, Add in float32, and what ONNX Runtime makes of it."""
    quantization = pytest.importorskip("onnxruntime.quantization", reason="quantizes the file")
    folder = tmp_path_factory.mktemp("quantized")
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(8, 3, 3, 3)) * 0.2,
        "b": rng.normal(size=8) * 0.1,
        "v": rng.normal(size=(288, 10)) * 0.1,
        "vb": rng.normal(size=10),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "v"], ["m"], name="dense"),
        helper.make_node("Add", ["m", "vb"], ["y"], name="add"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", T.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", T.FLOAT, ["n", 10])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()],
    )
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), folder / "float.onnx")
    sample = {"x": rng.random((8, 3, 8, 8)).astype(np.float32)}

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.samples = iter([sample])

        def get_next(self):
            return next(self.samples, None)

    logging.disable(logging.WARNING)
    for name, layout, by_channel in (("qdq", "QDQ", True), ("integers", "QOperator", False)):
        quantization.quantize_static(
            folder / "float.onnx",
            folder / f"{name}.onnx",
            Reader(),
            quant_format=quantization.QuantFormat[layout],
            per_channel=by_channel,
        )
    logging.disable(logging.NOTSET)
    return folder


def values(found):
    return {row["value"]: (row["a"], row["b"]) for row in found["compared"]}


def test_values_are_matched_through_quantizing_and_dequantizing(cli, files):
    found = report(cli, files / "qdq.onnx", files / "float.onnx", "--samples", 1)
    pairs = set(values(found).values())
    # The quantizer left out the Relu, so its r is another value than that of the file before.
    assert pairs == {
        ("r_DequantizeLinear_Output", "r"),
        ("f_DequantizeLinear_Output", "f"),
        ("m_DequantizeLinear_Output", "m"),
        ("y", "y"),
    }
    assert all(row["relative"] < 0.05 for row in found["compared"])
    found = report(cli, files / "float.onnx", files / "qdq.onnx", "--samples", 1)
    assert set(values(found).values()) == {(b, a) for a, b in pairs}


def test_integers_are_compared_as_what_they_stand_for(cli, files):
    found = report(cli, files / "integers.onnx", files / "float.onnx", "--samples", 1)
    assert {"c_quantized": ("c_quantized", "r"), "y": ("y", "y")}.items() <= values(found).items()
    for row in found["compared"]:
        assert row["relative"] < 0.05 and row["sqnr"] > 30 and row["cosine"] > 0.999
        assert 0 <= row["median"] <= row["p95"] <= row["p99"] <= row["absolute"]
        assert row["mean"] < row["absolute"] and 0 <= row["share"] < 1
        assert (row["share"] > 0) is (not row["equal"])
    assert {"side": "b", "value": "c"}.items() <= found["not_compared"][-1].items()


@pytest.mark.parametrize("name", ["qdq", "integers"])
def test_weights_are_compared_with_weights(cli, files, name):
    found = report(cli, files / f"{name}.onnx", files / "float.onnx", "--samples", 1)
    weights = {(row["a"], row["b"]): row for row in found["weights"]}
    assert {("v_quantized", "v"), ("w_quantized", "w")} <= weights.keys()
    for row in weights.values():
        assert 0.4 < row["absolute"] / row["step"] < 0.51  # rounded to the next number of the grid
        assert row["sqnr"] > 40
    text = cli("compare", files / f"{name}.onnx", files / "float.onnx", "--samples", 1).out
    assert "the weights that differ most" in text and "v_quantized / v" in text


@pytest.mark.parametrize("by_channel", [False, True])
def test_weights_of_a_file_that_is_quantized_as_it_runs(cli, files, by_channel):
    """Their scale stands in a Mul after the node that reads them."""
    quantization = pytest.importorskip("onnxruntime.quantization", reason="quantizes the file")
    logging.disable(logging.WARNING)
    quantization.quantize_dynamic(
        files / "float.onnx",
        "dynamic.onnx",
        per_channel=by_channel,
        op_types_to_quantize=["MatMul"],
    )
    logging.disable(logging.NOTSET)
    assert "MatMulInteger" in {node.op_type for node in onnx.load("dynamic.onnx").graph.node}
    found = report(cli, "dynamic.onnx", files / "float.onnx", "--samples", 1)
    (row,) = found["weights"]
    assert (row["a"], row["b"]) == ("v_quantized", "v")
    assert 0.4 < row["absolute"] / row["step"] < 0.51 and row["sqnr"] > 40


def test_a_step_of_the_scale_is_allowed(cli, files):
    """An 8-bit value that is rounded the other way is equal by default, and only then."""
    path = files / "integers.onnx"
    model = onnx.load(path)
    (bias,) = (t for t in model.graph.initializer if t.name == "b_quantized")
    changed = numpy_helper.to_array(bias).copy()
    changed += 20  # moves a few results over the edge between two numbers
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    onnx.save(model, "nudged.onnx")
    found = report(cli, path, "nudged.onnx", "--samples", 2)
    rows = {row["value"]: row for row in found["compared"]}
    assert rows["c_quantized"]["absolute"] == 1 and rows["c_quantized"]["equal"]
    found = report(cli, path, "nudged.onnx", "--samples", 2, "--steps", 0)
    rows = {row["value"]: row for row in found["compared"]}
    assert not rows["c_quantized"]["equal"] and found["first"]["value"] == "c_quantized"


def test_tolerances_by_name_operator_and_type(cli, files):
    sides = (files / "integers.onnx", files / "float.onnx", "--samples", 1)
    assert not report(cli, *sides)["equal"]
    for rules in (["*=1"], ["float32=0,0.05"], ["QLinear*=1", "Flatten=1", "y=0,0.05"]):
        options = [option for rule in rules for option in ("--tolerance", rule)]
        assert report(cli, *sides, *options)["equal"], rules
    found = report(cli, *sides, "--tolerance", "*=1", "--tolerance", "y=1e-9")
    assert [row["value"] for row in found["compared"] if not row["equal"]] == ["y"]
    for bad in ("y", "y=", "y=-1", "=1", "y=1,2,3"):
        assert "expected NAME=ATOL" in refusal(cli, *sides, "--tolerance", bad)


def test_a_plot(cli, files):
    pytest.importorskip("matplotlib", reason="draws")
    argv = (files / "integers.onnx", files / "float.onnx", "--samples", 1, "--plot", "errors.svg")
    assert "written to errors.svg" in cli("compare", *argv).out
    with open("errors.svg", encoding="utf-8") as file:
        text = file.read()
    assert "c_quantized" in text and "99th percentile" in text


def test_the_page_shows_what_is_printed(cli, files):
    """But for the figures, which depend on the quantizer's version."""
    shutil.copy(files / "qdq.onnx", "quantized.onnx")
    shutil.copy(files / "float.onnx", "float.onnx")
    page = (Path(onnxwalk.__file__).parents[1] / "docs" / "INSIDE.md").read_text("utf-8")
    command = "compare quantized.onnx float.onnx --samples 1 --top 4"
    shown = page.split(f"$ onnxwalk {command}\n", 1)[1].split("```", 1)[0]
    printed = cli(*command.split()).out
    assert [masked(line) for line in printed.splitlines()] == [
        masked(line) for line in shown.splitlines()
    ]


def masked(line):
    """The words of a line without figures."""
    return [word for word in line.split() if not re.fullmatch(r"-?[\d.,]+(e[+-]\d+)?%?,?", word)]
