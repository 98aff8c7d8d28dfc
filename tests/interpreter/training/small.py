"""Small networks and data to train them on."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxwalk

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
#: numbers of 3 classes
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)
WEIGHTS = {
    "hidden/kernel": RNG.normal(size=(4, 5)).astype(np.float32),
    "hidden/bias": np.zeros(5, np.float32),
    "last/kernel": RNG.normal(size=(5, 3)).astype(np.float32),
    "last/bias": np.zeros(3, np.float32),
}


def network(final="Softmax", between=(), opset=17, weights=None, shape=("n", 3), hides=False):
    """x (n, 4) -> y (n, 3), through two layers; the bytes of a model.

    ``between``: nodes after the first layer, from "a" to "h". ``hides``: one more at the end.
    """
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "hidden/kernel"], ["p"]),
        node("Add", ["p", "hidden/bias"], ["q"]),
        node("Tanh", ["q"], ["a" if between else "h"]),
        *between,
        node("MatMul", ["h", "last/kernel"], ["r"]),
        node("Add", ["r", "last/bias"], ["z"]),
        node(final or "Identity", ["z"], ["s" if hides else "y"], name="final"),
    ]
    if hides:
        nodes.append(node("Sum", ["s"], ["y"]))
    tensors = [numpy_helper.from_array(w, n) for n, w in {**WEIGHTS, **(weights or {})}.items()]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def session(*args, **options):
    return onnxwalk.load(network(*args, **options))
