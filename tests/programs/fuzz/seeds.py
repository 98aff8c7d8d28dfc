"""The seeds: small models over all operators and versions, and what else a file may hold."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.programs.fuzz.case import Case
from tests.support.harness import all_cases, feeds_of, one_node_model

#: what a seed may weigh: mutants of large models cost time and find nothing more
LARGEST_MODEL, LARGEST_FEED = 6000, 4096

FLOAT, INT64, BOOL, STRING = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.BOOL,
    TensorProto.STRING,
)
MICROSOFT = "com.microsoft"


def seeds(*, backend: bool = True) -> Iterator[Case]:
    """All seeds, in the same order each time. ``backend``: those of ONNX's own suite as well,
    which takes ten seconds to make."""
    every = [*structured(), *_of_operators(), *(_of_backend() if backend else ())]
    for case in every:
        size = sum(x.size for x in case.feeds.values() if isinstance(x, np.ndarray))
        if len(case.model) <= LARGEST_MODEL and size <= LARGEST_FEED:
            yield case


def _of_operators() -> Iterator[Case]:
    """The cases of tests/ops, which has some of every version of every operator: as feeds, and
    with all inputs but the first known at load."""
    for case in all_cases():
        try:
            model = one_node_model(case)
        except TypeError:  # a body that is a Python function
            continue
        name, feeds = str(case), feeds_of(case)
        yield Case(model.SerializeToString(), feeds, origin=name)
        known = {
            key: value
            for key, value in feeds.items()
            if key != "x0" and isinstance(value, (np.ndarray, np.generic))
        }
        if known:
            rest = {key: value for key, value in feeds.items() if key not in known}
            make_initializers(model, known)
            yield Case(model.SerializeToString(), rest, origin=f"{name}, known at load")


def make_initializers(model: onnx.ModelProto, values: dict[str, Any]) -> None:
    """Turn these inputs into initializers."""
    kept = [value for value in model.graph.input if value.name not in values]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _of_backend() -> Iterator[Case]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite computes what it expects
        tests = load_model_tests(kind="node")
    for test in tests:
        for inputs, _ in test.data_sets or ():
            names = [value.name for value in test.model.graph.input]
            feeds = dict(zip(names, inputs, strict=False))
            with contextlib.suppress(AssertionError, ValueError):  # values that no case can hold
                case = Case(test.model.SerializeToString(), feeds, origin=test.name)
                case.text()
                yield case


# ------------------------------------------------------------------------------- made by hand


def structured() -> Iterator[Case]:
    """Control flow, functions, sequences, sparse tensors, external data, several nodes."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
    for name, (model, feeds) in {
        "If": _if(),
        "Loop": _loop(),
        "Scan": _scan(),
        "functions": _functions(),
        "sequences": _sequences(),
        "sparse": _sparse(),
        "strings": _strings(),
        "chain": _chain(),
        "CNN": _cnn(),
        "8 bits": _eight_bits(),
        "8 bits, dynamic": _dynamic(),
    }.items():
        yield Case(model.SerializeToString(), {"x": x, **feeds}, origin=name)
    yield Case(_external().SerializeToString(), {"x": x}, {}, {"w.bin": bytes(24)}, "external data")


def _value(name: str, code: int = FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, code, shape)


def _node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: str,
    weights: dict[str, Any] | None = None,
    opset: int = 20,
    **more: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [onnx.ValueInfoProto(name=name) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(w), name) for name, w in (weights or {}).items()],
    )
    versions = {"": opset, "own": 1, MICROSOFT: 1}
    imports = [helper.make_opsetid(*of) for of in versions.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, **more)


X = [_value("x", FLOAT, ["n", 3])]


def _if() -> tuple[onnx.ModelProto, dict[str, Any]]:
    then = helper.make_graph([_node("Add", "x w", "a")], "then", [], [_value("a")])
    other = helper.make_graph([_node("Neg", "x", "b")], "else", [], [_value("b")])
    node = _node("If", "c", "y", then_branch=then, else_branch=other)
    weights = {"w": np.ones(3, np.float32)}
    return _model([node], [*X, _value("c", BOOL, [])], "y", weights), {"c": np.array(True)}


def _loop() -> tuple[onnx.ModelProto, dict[str, Any]]:
    body = helper.make_graph(
        [
            _node("Add", "s x", "s2"),
            _node("Less", "i limit", "go_on"),
            _node("ReduceSum", "s2", "total", keepdims=0),
        ],
        "body",
        [_value("i", INT64, []), _value("go", BOOL, []), _value("s")],
        [_value("go_on", BOOL, []), _value("s2"), _value("total")],
    )
    node = _node("Loop", "n go x", "last totals", body=body)
    inputs = [*X, _value("n", INT64, []), _value("go", BOOL, [])]
    weights = {"limit": np.array(3)}
    return _model([node], inputs, "last totals", weights), {"n": np.array(5), "go": np.array(True)}


def _scan() -> tuple[onnx.ModelProto, dict[str, Any]]:
    body = helper.make_graph(
        [_node("Add", "s row", "s2"), _node("Identity", "s2", "out")],
        "body",
        [_value("s"), _value("row")],
        [_value("s2"), _value("out")],
    )
    node = _node("Scan", "zero x", "last rows", body=body, num_scan_inputs=1)
    return _model([node], X, "last rows", {"zero": np.zeros(3, np.float32)}), {}


def _functions() -> tuple[onnx.ModelProto, dict[str, Any]]:
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    twice = helper.make_function(
        "own", "Twice", ["a"], ["b"], [_node("Add", "a a", "b")], imports, []
    )
    leak = _node("LeakyRelu", "a", "c")
    leak.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    call = helper.make_node("Twice", ["c"], ["b"], domain="own")
    four = helper.make_function("own", "Leaky", ["a"], ["b"], [leak, call], imports, ["slope"])
    node = helper.make_node("Leaky", ["x"], ["y"], domain="own", slope=0.5)
    return _model([node], X, "y", functions=[twice, four]), {}


def _sequences() -> tuple[onnx.ModelProto, dict[str, Any]]:
    nodes = [
        _node("SplitToSequence", "x", "parts", axis=1),
        _node("SequenceInsert", "parts x", "more"),
        _node("SequenceAt", "more one", "y"),
        _node("SequenceLength", "more", "n"),
        _node("Optional", "y", "o"),
        _node("OptionalGetElement", "o", "z"),
    ]
    return _model(nodes, X, "more y n z", {"one": np.array(1)}), {}


def _sparse() -> tuple[onnx.ModelProto, dict[str, Any]]:
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    places = numpy_helper.from_array(np.array([[0, 1], [2, 0]]), "places")
    model = _model([_node("MatMul", "x w", "y")], X, "y")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3, 2]))
    return model, {}


def _strings() -> tuple[onnx.ModelProto, dict[str, Any]]:
    nodes = [
        _node("StringNormalizer", "s", "lower", case_change_action="LOWER", stopwords=["a"]),
        _node("StringSplit", "lower", "words count", delimiter=" "),
        _node("StringConcat", "lower lower", "both"),
        _node("RegexFullMatch", "both", "match", pattern="[a-z ]+"),
    ]
    feeds = {"s": np.array(["A b", "cd e"], object)}
    return _model(nodes, [*X, _value("s", STRING, ["m"])], "words count both match"), feeds


def _chain() -> tuple[onnx.ModelProto, dict[str, Any]]:
    nodes = [
        _node("Shape", "x", "shape"),
        _node("Gather", "shape zero", "n"),
        _node("Unsqueeze", "n axes", "n1"),
        _node("Concat", "n1 rest", "to", axis=0),
        _node("Reshape", "x to", "flat"),
        _node("Gemm", "flat w", "dense"),
        _node("Softmax", "dense", "y"),
        _node("ConstantOfShape", "shape", "zeros"),
        _node("Range", "zero n one", "range"),
        _node("Transpose", "x", "t"),
    ]
    weights = {
        "zero": np.array(0),
        "one": np.array(1),
        "axes": np.array([0]),
        "rest": np.array([-1]),
        "w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2),
    }
    return _model(nodes, X, "y zeros range t", weights), {}


def _cnn() -> tuple[onnx.ModelProto, dict[str, Any]]:
    nodes = [
        _node("Transpose", "image", "nchw", perm=[0, 3, 1, 2]),
        _node("Pad", "nchw pads", "padded"),
        _node("Conv", "padded w b", "c", strides=[2, 2]),
        _node("BatchNormalization", "c b b b v", "norm"),
        _node("Relu", "norm", "r"),
        _node("MaxPool", "r", "p", kernel_shape=[2, 2]),
        _node("Flatten", "p", "flat"),
        _node("LayerNormalization", "flat one", "y"),
    ]
    weights = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "w": np.linspace(-1, 1, 36, dtype=np.float32).reshape(2, 2, 3, 3),
        "b": np.array([1, -1], np.float32),
        "v": np.array([1, 2], np.float32),
        "one": np.ones(1, np.float32),
    }
    image = np.linspace(-1, 1, 98, dtype=np.float32).reshape(1, 7, 7, 2)
    return _model(nodes, [*X, _value("image", FLOAT, ["n", 7, 7, 2])], "y", weights), {
        "image": np.concatenate([image, -image])
    }


def _eight_bits() -> tuple[onnx.ModelProto, dict[str, Any]]:
    nodes = [
        _node("QuantizeLinear", "x s z", "q"),
        _node("QLinearMatMul", "q s z w s zw s z", "product"),
        _node("QLinearAdd", "product s z product s z s z", "sum", domain=MICROSOFT),
        _node("QGemm", "sum s z w s zw c s z", "gemm", domain=MICROSOFT),
        _node("DequantizeLinear", "gemm s z", "d"),
        _node("DequantizeLinear", "w s zw", "dw"),
        _node("DequantizeLinear", "c sb", "dc"),
        _node("Gemm", "d dw dc", "floats"),
        _node("Relu", "floats", "r"),
        _node("QuantizeLinear", "r s z", "rq"),
        _node("DequantizeLinear", "rq s z", "y"),
    ]
    weights = {
        "s": np.array(0.5, np.float32),
        "z": np.array(3, np.uint8),
        "w": np.arange(-4, 5, dtype=np.int8).reshape(3, 3),
        "zw": np.array(0, np.int8),
        "c": np.array([-7, 0, 9], np.int32),
        "sb": np.array(0.25, np.float32),
    }
    return _model(nodes, X, "y", weights), {}


def _dynamic() -> tuple[onnx.ModelProto, dict[str, Any]]:
    nodes = [
        _node("DynamicQuantizeLinear", "x", "q s z"),
        _node("MatMulInteger", "q w z zw", "sums"),
        _node("Cast", "sums", "floats", to=FLOAT),
        _node("Mul", "s sw", "scale"),
        _node("Mul", "floats scale", "y"),
    ]
    weights = {
        "w": np.arange(-4, 5, dtype=np.int8).reshape(3, 3),
        "zw": np.array([0, 0, 0], np.int8),
        "sw": np.array([0.5, 1, 2], np.float32),
    }
    return _model(nodes, X, "y", weights), {}


def _external() -> onnx.ModelProto:
    model = _model([_node("MatMul", "x w", "y")], X, "y", {"w": np.zeros((3, 2), np.float32)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "24")):
        tensor.external_data.add(key=key, value=value)
    return model
