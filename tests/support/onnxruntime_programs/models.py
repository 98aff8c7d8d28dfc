"""Small programs over ONNX Runtime's API, each a function of the module ``ort``: they are run with
the real package and with ours, and must give the same results and the same errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid
from onnx.helper import make_tensor_value_info as info

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

#: by name
PROGRAMS: dict[str, Callable[[Any], Any]] = {}


def program(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    PROGRAMS[function.__name__] = function
    return function


def model(nodes, inputs, outputs, initializers=(), *, opset=17, ir=8, **more) -> bytes:
    graph = make_graph(nodes, "g", inputs, outputs, list(initializers))
    made = make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=ir, **more)
    return made.SerializeToString()


def unary(op="Relu", kind=FLOAT, shape=("N", 3), out=None, **attributes) -> bytes:
    node = make_node(op, ["x"], ["y"], name="n", **attributes)
    return model([node], [info("x", kind, shape)], [info("y", out or kind, None)])


ADD = model(
    [make_node("Add", ["a", "b"], ["y"], name="add0")],
    [info("a", FLOAT, ["N", 3]), info("b", FLOAT, ["N", 3])],
    [info("y", FLOAT, ["N", 3])],
)
TWO = model(
    [make_node("Relu", ["x"], ["p"]), make_node("Neg", ["x"], ["q"])],
    [info("x", FLOAT, ["N", 3])],
    [info("p", FLOAT, ["N", 3]), info("q", FLOAT, ["N", 3])],
)
X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


def session(ort: Any, data: bytes = ADD, *args: Any, **kwargs: Any) -> Any:
    return ort.InferenceSession(data, *args, **kwargs)


def relu(ort: Any, value: Any, **kwargs: Any) -> Any:
    return session(ort, unary(**kwargs)).run(None, {"x": value})


def overridable(ir: int, listed: bool) -> bytes:
    w = helper.make_tensor("w", FLOAT, [3], [1, 2, 3])
    inputs = [info("x", FLOAT, ["N", 3])] + ([info("w", FLOAT, [3])] if listed else [])
    node = make_node("Add", ["x", "w"], ["y"])
    return model([node], inputs, [info("y", FLOAT, ["N", 3])], [w], ir=ir)


def sequence_model() -> bytes:
    seq = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    x = onnx.ValueInfoProto(name="x", type=seq)
    y = onnx.ValueInfoProto(name="y", type=seq)
    return model([make_node("Identity", ["x"], ["y"])], [x], [y])
