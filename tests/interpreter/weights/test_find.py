"""Which initializers are weights, in files without a record, and records that don't fit."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.weights.record import WEIGHTS_KEY

RNG = np.random.default_rng(0)


def array(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def session(nodes, arrays, outputs=("y",), inputs=("x",), record=None):
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in inputs]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    tensors = [numpy_helper.from_array(a, name) for name, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", values, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if record is not None:
        helper.set_model_props(model, {WEIGHTS_KEY: record})
    return onnxwalk.load(model)


def names(found):
    return [weight.name for weight in onnxwalk.trainable_weights(found)]


node = helper.make_node


def test_weights_of_operators_and_no_constants():
    nodes = [
        node("Mul", ["x", "scale"], ["scaled"]),
        node("Conv", ["scaled", "w", "b"], ["a"]),
        node("BatchNormalization", ["a", "gamma", "beta", "mean", "variance"], ["c"]),
        node("Reshape", ["c", "shape"], ["d"]),
        node("MatMul", ["d", "kernel"], ["e"]),
        node("Add", ["bias", "e"], ["f"]),
        node("Add", ["f", "epsilon"], ["y"]),
    ]
    arrays = {
        "scale": array(1), "w": array(2, 3, 1, 1), "b": array(2), "gamma": array(2),
        "beta": array(2), "mean": array(2), "variance": array(2) ** 2,
        "shape": np.array([0, -1]), "kernel": array(8, 4), "bias": array(4), "epsilon": array(1),
    }  # fmt: skip
    assert names(session(nodes, arrays)) == ["w", "b", "gamma", "beta", "kernel", "bias"]


def test_through_what_only_moves_them():
    nodes = [
        node("Transpose", ["kernel"], ["moved"], perm=[1, 0]),
        node("Cast", ["moved"], ["cast"], to=TensorProto.FLOAT),
        node("MatMul", ["x", "cast"], ["a"]),
        node("Reshape", ["a", "shape"], ["b"]),
        node("Add", ["b", "bias"], ["y"]),
    ]
    arrays = {"kernel": array(4, 3), "shape": np.array([1, -1, 4]), "bias": array(4)}
    assert names(session(nodes, arrays)) == ["kernel", "bias"]


def test_a_table_of_ids_is_no_weight():
    nodes = [node("Gather", ["table", "ids"], ["y"]), node("Gather", ["ids", "zero"], ["first"])]
    arrays = {"table": array(9, 4), "ids": np.array([1, 2]), "zero": np.array(0)}
    assert names(session(nodes, arrays, ["y"], [])) == ["table"]


def test_in_subgraphs():
    def branch(kernel):
        value = helper.make_tensor_value_info(f"{kernel}_y", TensorProto.FLOAT, None)
        return helper.make_graph([node("MatMul", ["x", kernel], [f"{kernel}_y"])], kernel, [],
                                 [value])  # fmt: skip

    nodes = [node("If", ["yes"], ["y"], then_branch=branch("p"), else_branch=branch("q"))]
    arrays = {"yes": np.array(True), "p": array(3, 3), "q": array(3, 3)}
    assert names(session(nodes, arrays)) == ["p", "q"]


@pytest.mark.parametrize(
    "kind, attributes, filled, part",
    [
        ("LSTM", {}, [0], (0, 8)),
        ("LSTM", {}, [1], (8, 16)),
        ("LSTM", {}, [], (0, 8)),
        ("LSTM", {}, [0, 1], None),
        ("RNN", {}, [0], (0, 2)),
        ("GRU", {}, [0], (0, 6)),
        ("GRU", {"linear_before_reset": 1}, [0], None),
    ],
)
def test_one_bias_in_two_halves(kind, attributes, filled, part):
    rows = {"RNN": 2, "GRU": 6, "LSTM": 8}[kind]
    b = np.zeros((1, 2 * rows), np.float32)
    for half in filled:
        b[:, half * rows : (half + 1) * rows] = 1
    nodes = [node(kind, ["x", "w", "r", "b"], ["y"], hidden_size=2, **attributes)]
    found = session(nodes, {"w": array(1, rows, 3), "r": array(1, rows, 2), "b": b})
    weight = onnxwalk.trainable_weights(found)[2]
    assert weight.part == (() if part is None else (slice(0, 1), slice(*part)))
    assert weight.read(b).shape == weight.shape


def entry(**changes):
    plain = {"name": "dense/kernel", "shape": [3, 4], "initializer": "w", "trainable": True}
    return {**plain, **changes}


def recorded(*entries, text=None):
    record = json.dumps({"weights": entries}) if text is None else text
    return session([node("MatMul", ["x", "w"], ["y"])], {"w": array(3, 4)}, record=record)


def test_the_record_says_it():
    frozen = entry(name="frozen", trainable=False)
    unread = entry(name="unread", initializer=None)
    assert names(recorded(entry(), frozen, unread)) == ["dense/kernel"]


@pytest.mark.parametrize(
    "found, message",
    [
        (entry(initializer="v"), "weight 'dense/kernel' of the record: the file has no initial"),
        (entry(shape=[4, 3]), r"initializer 'w' has shape \(3, 4\), of which \(3, 4\) is the"),
        (entry(part=[[0, 2], [0, 4]]), r"of which \(2, 4\) is the weight's, not \(3, 4\)"),
        (entry(part=[[0, 3], [0, 4], [0, 1]]), "of which None is the weight's"),
        (entry(layout=[["transpose", [1]]]), r"\('transpose', \(1,\)\) is no step from the shape"),
        (entry(layout=[[]]), "can't be read: ValueError"),
        (entry(shape=7), "can't be read: TypeError"),
        ({"name": "w"}, "can't be read: KeyError"),
    ],
)
def test_a_record_that_does_not_fit(found, message):
    with pytest.raises(onnxwalk.InvalidModelError, match=message) as caught:
        onnxwalk.trainable_weights(recorded(found))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weights": 3}', '{"weights": [3]}'])
def test_what_is_no_record(text):
    with pytest.raises(onnxwalk.InvalidModelError, match="the record of weights"):
        onnxwalk.trainable_weights(recorded(text=text))


def test_a_model_is_enough():
    found = recorded(entry())
    assert onnxwalk.trainable_weights(found.model) == onnxwalk.trainable_weights(found)
