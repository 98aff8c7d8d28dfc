"""What a run returns, and what a session says of its model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node

from tests.support.onnxruntime_programs.models import (
    ADD,
    FLOAT,
    INT64,
    PROGRAMS,
    TWO,
    X,
    info,
    model,
    program,
    relu,
    sequence_model,
    session,
    unary,
)


@program
def outputs_in_order(ort):
    s = session(ort, TWO)
    feeds = {"x": X}
    asked = (["q", "p"], ("q",), [], "", (), None, ["p", "p"], np.array(["q"]))
    return [s.run(names, feeds) for names in asked]


@program
def outputs_as_str(ort):
    session(ort, TWO).run("p", {"x": X})


@program
def outputs_of_int(ort):
    session(ort, TWO).run([1], {"x": X})


@program
def input_is_no_output(ort):
    session(ort, TWO).run(["x"], {"x": X})


@program
def result_is_a_list_of_arrays(ort):
    results = relu(ort, X)
    y = results[0]
    return type(results), type(y), y.flags.c_contiguous, y.flags.writeable, y.dtype.isnative


@program
def scalar_is_an_array(ort):
    y = relu(ort, np.ones((2, 3), "f4"), op="ReduceSum", keepdims=0)[0]
    return type(y), y.shape, y


@program
def input_as_output_is_a_copy(ort):
    data = model([], [info("x", FLOAT, ["N"])], [info("x", FLOAT, ["N"])])
    x = np.ones(2, "f4")
    y = session(ort, data).run(None, {"x": x})[0]
    return np.shares_memory(x, y), y


@program
def results_outlive_the_session(ort):
    s = session(ort, TWO)
    results = s.run(None, {"x": X})
    del s
    return results


@program
def arguments(ort):
    s = session(ort, ADD)
    return [(a.name, a.type, a.shape, str(a)) for a in (*s.get_inputs(), *s.get_outputs())]


for _code in (
    FLOAT,
    TensorProto.DOUBLE,
    INT64,
    TensorProto.STRING,
    TensorProto.BOOL,
    TensorProto.FLOAT16,
):
    PROGRAMS[f"type_{_code}"] = lambda ort, code=_code: [
        a.type for a in session(ort, unary("Identity", code)).get_inputs()
    ]


def _outputs(ort, nodes, shapes, constants=(), declared=None):
    """The shapes of y for float inputs of these shapes."""
    inputs = [info(name, FLOAT, shape) for name, shape in shapes.items()]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    made = model(nodes, inputs, [info("y", FLOAT, declared)], tensors)
    return session(ort, made).get_outputs()[0].shape


W = ("w", np.zeros((4, 3, 3, 3), "f4"))
NODES = {
    "broadcast": (make_node("Add", ["x", "z"], ["y"]), {"x": ["N", 1, 3], "z": ["M", 1]}, []),
    "product": (make_node("MatMul", ["x", "z"], ["y"]), {"x": ["N", 2, 3], "z": [3, None]}, []),
    "gemm": (make_node("Gemm", ["x", "z"], ["y"], transB=1), {"x": ["N", 3], "z": [5, 3]}, []),
    "conv": (
        make_node("Conv", ["x", "w"], ["y"], pads=[0, 0, 2, 1], strides=[2, 3], dilations=[1, 2]),
        {"x": ["N", 3, 12, 17]},
        [W],
    ),
    "conv_open": (make_node("Conv", ["x", "w"], ["y"]), {"x": ["N", 3, "H", 9]}, [W]),
    "conv_same": (
        make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]),
        {"x": [1, 3, 9, 8]},
        [W],
    ),
    "pool": (
        make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
        {"x": ["N", "C", 8, 9]},
        [],
    ),
    "global_pool": (make_node("GlobalAveragePool", ["x"], ["y"]), {"x": ["N", 3, "H", "W"]}, []),
    "flatten": (make_node("Flatten", ["x"], ["y"]), {"x": ["N", 3, 4]}, []),
    "reshape": (make_node("Reshape", ["x", "s"], ["y"]), {"x": ["N", 4, 6]}, [("s", [0, -1, 3])]),
    "reshape_rest": (make_node("Reshape", ["x", "s"], ["y"]), {"x": ["N", 4]}, [("s", [-1, 4])]),
    "reduce": (make_node("ReduceMean", ["x"], ["y"], axes=[-1]), {"x": ["N", 3, 4]}, []),
    "reduce_all": (make_node("ReduceMax", ["x"], ["y"], keepdims=0), {"x": ["N", 3]}, []),
    "transpose": (make_node("Transpose", ["x"], ["y"], perm=[1, 0, 2]), {"x": ["N", "T", 4]}, []),
    "concat": (make_node("Concat", ["x", "x"], ["y"], axis=-1), {"x": ["N", 3]}, []),
    "concat_open": (make_node("Concat", ["x", "x"], ["y"], axis=0), {"x": ["N", 3]}, []),
    "squeeze": (make_node("Squeeze", ["x", "a"], ["y"]), {"x": ["N", 1, 4]}, [("a", [1])]),
    "unsqueeze": (make_node("Unsqueeze", ["x", "a"], ["y"]), {"x": ["N", 4]}, [("a", [0, -1])]),
    "slice": (
        make_node("Slice", ["x", "b", "e"], ["y"]),
        {"x": [7, "N"]},
        [("b", [-5]), ("e", [99])],
    ),
    "softmax": (make_node("Softmax", ["x"], ["y"]), {"x": ["N", None, 10]}, []),
    "pad": (make_node("Pad", ["x", "p"], ["y"]), {"x": ["N", 4]}, [("p", [0, 1, 0, 2])]),
    "tile": (make_node("Tile", ["x", "t"], ["y"]), {"x": [2, 4]}, [("t", [1, 3])]),
    "expand": (make_node("Expand", ["x", "s"], ["y"]), {"x": ["N", 1]}, [("s", [1, 5])]),
    "lstm": (
        make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2, direction="bidirectional"),
        {"x": ["T", "N", 3]},
        [("w", np.zeros((2, 8, 3), "f4")), ("r", np.zeros((2, 8, 2), "f4"))],
    ),
    "depth_to_space": (
        make_node("DepthToSpace", ["x"], ["y"], blocksize=2),
        {"x": ["N", 8, 3, "W"]},
        [],
    ),
}
for _name, (_node, _shapes, _constants) in NODES.items():

    def _shape(ort, node=_node, shapes=_shapes, constants=_constants):
        return _outputs(ort, [node], shapes, constants)

    PROGRAMS[f"shape_of_{_name}"] = _shape


@program
def shapes_that_are_declared_and_inferred(ort):
    node = make_node("Relu", ["x"], ["y"])
    declared = [("N", 3), ("M", None), (None, None), ("M", "K"), (7, 3), (-1, 3)]
    return [_outputs(ort, [node], {"x": ["N", 3]}, (), shape) for shape in declared]


@program
def shapes_that_contradict_each_other(ort):
    node = make_node("Relu", ["x"], ["y"])
    return [_outputs(ort, [node], {"x": [2, 3]}, (), shape) for shape in [(7, 3), (2, 3, 4)]]


@program
def shape_through_other_values(ort):
    nodes = [
        make_node("Constant", [], ["three"], value_ints=[3]),
        make_node("Shape", ["x"], ["sizes"]),
        make_node("Gather", ["sizes", "first"], ["n"]),
        make_node("Concat", ["n", "rest", "three"], ["target"], axis=0),
        make_node("Reshape", ["x", "target"], ["z"]),
        make_node("Relu", ["z"], ["y"]),
    ]
    constants = [("first", np.array([0])), ("rest", np.array([-1]))]
    return _outputs(ort, nodes, {"x": ["N", 4, 3]}, constants)


@program
def shapes_of_arguments(ort):
    shapes = [(), None, (2, 3), ("N", None), (0,), ("", 2), (-1, 2)]
    return [session(ort, unary(shape=s)).get_inputs()[0].shape for s in shapes]


@program
def arguments_of_sequences(ort):
    s = session(ort, sequence_model())
    return [(a.name, a.type, a.shape) for a in (*s.get_inputs(), *s.get_outputs())]


@program
def argument_has_no_setter(ort):
    session(ort).get_inputs()[0].name = "z"


@program
def same_list_of_arguments(ort):
    s = session(ort)
    return s.get_inputs() is s.get_inputs(), s.get_modelmeta() is s.get_modelmeta()


@program
def constructor_of_node_arg(ort):
    ort.NodeArg()


def metadata_of(ort: Any, data: bytes) -> list[Any]:
    meta = session(ort, data).get_modelmeta()
    return [
        meta.custom_metadata_map,
        meta.description,
        meta.domain,
        meta.graph_description,
        meta.graph_name,
        meta.producer_name,
        meta.version,
    ]


@program
def metadata_of_minimal_model(ort):
    return metadata_of(ort, ADD)


@program
def metadata_of_full_model(ort):
    proto = onnx.load_from_string(ADD)
    proto.producer_name, proto.domain, proto.doc_string = "me", "dom", "doc"
    proto.model_version, proto.graph.doc_string = 7, "graph doc"
    helper.set_model_props(proto, {"k": "v", "straße": "ü"})
    return metadata_of(ort, proto.SerializeToString())


@program
def metadata_can_be_set(ort):
    meta = session(ort).get_modelmeta()
    meta.description = "new"
    meta.custom_metadata_map["k"] = "lost"
    return meta.description, meta.custom_metadata_map
