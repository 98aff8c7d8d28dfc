"""Steps of training run as bound plans. A walk, which takes over where one fails, is right, too:
only its time tells, so that a mistake in a kernel would pass unseen."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.runtime import resident

RNG = np.random.default_rng(2)


def recurrent(operator: str, gates: int, directions: int, **attributes) -> bytes:
    """x (n, 6, 4) -> y (n, 3): the last state of one layer of 5 units, and a product."""
    shapes = {
        "w": (directions, gates * 5, 4),
        "r": (directions, gates * 5, 5),
        "b": (directions, gates * 10),
        "kernel": (5 * directions, 3),
    }
    tensors = [
        numpy_helper.from_array(RNG.normal(size=shape).astype(np.float32) / 4, name)
        for name, shape in shapes.items()
    ]
    tensors.append(numpy_helper.from_array(np.array([0, 5 * directions]), "flat"))
    direction = "bidirectional" if directions == 2 else "forward"
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(
            operator,
            ["steps", "w", "r", "b"],
            ["", "h"],
            hidden_size=5,
            direction=direction,
            **attributes,
        ),
        helper.make_node("Transpose", ["h"], ["by_sample"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["by_sample", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "kernel"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(
    ("operator", "gates", "attributes"),
    [
        ("RNN", 1, {}),
        ("LSTM", 4, {}),
        ("GRU", 3, {"linear_before_reset": 1}),
    ],
)
def test_steps_of_recurrent_layers(monkeypatch, operator, gates, attributes, directions):
    def fail(*_):
        raise AssertionError("the plan isn't bound, or failed")

    monkeypatch.setattr(resident, "execute", fail)
    x = RNG.normal(size=(8, 6, 4)).astype(np.float32)
    trained = onnxwalk.train(
        recurrent(operator, gates, directions, **attributes),
        (x, np.arange(8) % 3),
        loss="sparse_categorical_crossentropy",
        epochs=3,
        batch_size=4,
    )
    losses = trained.history["loss"]
    assert len(losses) == 3 and np.isfinite(losses).all()
