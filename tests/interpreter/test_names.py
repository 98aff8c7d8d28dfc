"""What a value may be called: by its name, node, operator, Keras layer, or a pattern of these."""

import json

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk.interpreter.names import LAYERS_KEY, find_value, find_values
from tests.interpreter.cli.conftest import save

F = T.FLOAT


@pytest.fixture
def session(tmp_path):
    """x -> model/first/Relu (a) -> model/block/second/{Neg (b), Abs (c)} -> Exp (y)"""

    def build(record=None):
        nodes = [
            helper.make_node("Relu", ["x"], ["a"], name="model/first/Relu"),
            helper.make_node("Neg", ["a"], ["b"], name="model/block/second/Neg"),
            helper.make_node("Abs", ["b"], ["c"], name="model/block/second/Abs"),
            helper.make_node("Exp", ["c"], ["y"], name="end"),
        ]
        path = tmp_path / "m.onnx"
        save(path, nodes, [("x", F, [2])], [("y", F, [2])])
        if record is not None:
            import onnx

            proto = onnx.load(path)
            helper.set_model_props(proto, {LAYERS_KEY: json.dumps(record)})
            onnx.save(proto, path)
        return onnxwalk.load(path)

    return build


RECORD = {"first": ["a"], "block/second": ["b", "c"]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("first", ["a"]),
        ("block/second", ["c"]),
        ("second", ["c"]),
        ("end", ["y"]),
        ("Neg", ["b"]),
        ("block/*", ["b", "c"]),
        ("sec*", ["b", "c"]),
        ("*", ["a", "b", "c", "y"]),
        ("model/*/Abs", ["c"]),
    ],
)
@pytest.mark.parametrize("record", [RECORD, None])
def test_names_and_patterns(session, record, text, names):
    found = session(record)
    if record is None and text in ("first", "second", "block/second", "block/*"):
        text = f"model/{text}" if "/" in text else text  # folders of the nodes' names
    assert find_values(found.model, found.graph, text, "--tensor") == names


def test_a_layer_stands_for_its_output_in_every_run(session):
    found = session(RECORD)
    x = np.array([-1, 2], np.float32)
    first, second, same = found.run(["first", "second", "c"], {"x": x})
    assert first.tolist() == [0, 2] and second.tolist() == same.tolist() == [0, 2]
    (slope,) = found.gradients("second", ["first"], {"x": x}, seed=np.ones(2, np.float32))
    assert slope.tolist() == [0, 1]
    with pytest.raises(onnxwalk.InvalidInputError, match=r"no value is named 'secon'.*'second'"):
        found.run("secon", {"x": x})


def test_a_value_comes_before_a_layer_of_its_name(session):
    found = session({"a": ["b"], "first": ["a"]})
    assert found.run("a", {"x": np.array([-1, 2], np.float32)})[0].tolist() == [0, 2]


def test_one_value_is_asked_for(session):
    found = session(RECORD)
    with pytest.raises(onnxwalk.InvalidInputError, match=r"--of \*: 4 values match: a, b, c, y"):
        find_value(found.model, found.graph, "*", "--of")
    with pytest.raises(onnxwalk.InvalidInputError, match="did you mean 'second'"):
        find_value(found.model, found.graph, "secnd", "--of")
