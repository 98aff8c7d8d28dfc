"""``compare``: what its sides may be given, what they are, and what only one of them has."""

from pathlib import Path

import onnx
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from tests.interpreter.cli.test_compare import report

F = T.FLOAT
DIGITS = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo" / "digits.onnx"


def test_sequences_of_tensors_of_different_shapes(cli, make):
    nodes = [helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_sequence_value_info("s", F, ["n", 3])],
        [helper.make_tensor_value_info("y", F, [None, 3])],
    )
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), "s.onnx")
    Path("s.json").write_text("[[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]]")
    for extra in ([], ["--batch", 1]):
        assert report(cli, "s.onnx", "onnxwalk", "--input", "s=s.json", *extra)["equal"]


def test_an_engine_is_meant_where_a_folder_has_its_name(cli, classifier):
    Path("onnxwalk").mkdir()
    assert report(cli, classifier, "onnxwalk", "--samples", 1)["equal"]


def test_what_an_engine_does_not_compute_is_named(cli):
    found = report(cli, DIGITS, "onnxwalk", "--samples", 1)
    names = {row["value"] for row in found["not_compared"] if row["side"] == "a"}
    assert names and names.isdisjoint(row["value"] for row in found["compared"])
    assert "not compared: " in cli("compare", DIGITS, "onnxwalk", "--samples", 1).out
