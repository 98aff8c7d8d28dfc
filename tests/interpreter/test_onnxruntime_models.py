"""Models that ONNX Runtime has quantized or optimized give here what they give there."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

quantization = pytest.importorskip("onnxruntime.quantization")

import onnxwalk
from tests.support.harness import cuts_off

RNG = np.random.default_rng(0)


def weights(**shapes):
    return [
        numpy_helper.from_array((RNG.normal(size=shape) / 3).astype(np.float32), name)
        for name, shape in shapes.items()
    ]


def model(nodes, inputs, initializers):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def cnn():
    nodes = [
        node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]),
        node("Relu", "c1", "r1"),
        node("MaxPool", "r1", "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p1 w2", "c2", pads=[1, 1, 1, 1]),
        node("LeakyRelu", "c2", "l2", alpha=0.1),
        node("Add", "l2 p1", "s2"),
        node("Sigmoid", "s2", "g2"),
        node("Mul", "s2 g2", "m2"),
        node("Concat", "m2 p1", "k2", axis=1),
        node("AveragePool", "k2", "a2", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "a2", "a3"),
        node("Flatten", "a3", "f3"),
        node("Gemm", "f3 w3 b3", "g3"),
        node("Softmax", "g3", "y"),
    ]
    made = weights(w1=(6, 3, 3, 3), b1=6, w2=(6, 6, 3, 3), w3=(12, 5), b3=5)
    return model(nodes, [("x", TensorProto.FLOAT, ["n", 3, 8, 8])], made)


def lstm():
    nodes = [
        node("LSTM", "x w r b", "h", hidden_size=6),
        node("Squeeze", "h axis", "s"),
        node("MatMul", "s w2", "m"),
        node("Add", "m b2", "y"),
    ]
    made = weights(w=(1, 24, 4), r=(1, 24, 6), b=(1, 48), w2=(6, 3), b2=3)
    made.append(numpy_helper.from_array(np.array([1]), "axis"))
    return model(nodes, [("x", TensorProto.FLOAT, [7, 2, 4])], made)


def transformer():
    """Embeddings and one encoder layer, written as exporters write it."""
    heads, size, hidden = 2, 4, 8
    nodes = [
        node("Gather", "words ids", "we"),
        node("Add", "we positions", "e"),
        node("LayerNormalization", "e g0 h0", "x0", epsilon=1e-5),
    ]
    for name in "qkv":
        perm = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes += [
            node("MatMul", f"x0 w{name}", f"{name}0"),
            node("Add", f"b{name} {name}0", f"{name}1"),
            node("Reshape", f"{name}1 split", f"{name}2"),
            node("Transpose", f"{name}2", f"{name}3", perm=perm),
        ]
    nodes += [
        node("MatMul", "q3 k3", "s0"),
        node("Div", "s0 root", "s1"),
        node("Softmax", "s1", "s2", axis=-1),
        node("MatMul", "s2 v3", "a0"),
        node("Transpose", "a0", "a1", perm=[0, 2, 1, 3]),
        node("Reshape", "a1 join", "a2"),
        node("MatMul", "a2 wo", "a3"),
        node("Add", "a3 bo", "a4"),
        node("Add", "a4 x0", "x1"),
        node("LayerNormalization", "x1 g1 h1", "x2", epsilon=1e-5),
        node("MatMul", "x2 w1", "f0"),
        node("Add", "f0 b1", "f1"),
        node("Div", "f1 sqrt2", "f2"),
        node("Erf", "f2", "f3"),
        node("Add", "f3 one", "f4"),
        node("Mul", "f1 f4", "f5"),
        node("Mul", "f5 half", "f6"),
        node("MatMul", "f6 w2", "f7"),
        node("Add", "f7 b2", "f8"),
        node("Add", "f8 x2", "x3"),
        node("LayerNormalization", "x3 g2 h2", "y", epsilon=1e-5),
    ]
    square, vector = (hidden, hidden), hidden
    made = weights(
        words=(20, hidden), positions=(5, hidden), wq=square, wk=square, wv=square, wo=square,
        bq=vector, bk=vector, bv=vector, bo=vector, w1=(hidden, 16), b1=16, w2=(16, hidden),
        b2=vector, **{f"{letter}{i}": vector for letter in "gh" for i in range(3)},
    )  # fmt: skip
    numbers = {"root": size**0.5, "sqrt2": 2**0.5, "one": 1, "half": 0.5}
    made += [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in numbers.items()]
    shapes = {"split": [0, 0, heads, size], "join": [0, 0, hidden]}
    made += [numpy_helper.from_array(np.array(v), k) for k, v in shapes.items()]
    return model(nodes, [("ids", TensorProto.INT64, ["n", 5])], made)


X = {
    "cnn": {"x": RNG.normal(size=(4, 3, 8, 8)).astype(np.float32)},
    "lstm": {"x": RNG.normal(size=(7, 2, 4)).astype(np.float32)},
    "transformer": {"ids": RNG.integers(0, 20, (3, 5))},
}
MODELS = {"cnn": cnn, "lstm": lstm, "transformer": transformer}


class Batches(quantization.CalibrationDataReader):
    def __init__(self, name):
        self.batches = iter([X[name]])

    def get_next(self):
        return next(self.batches, None)


def optimized(path, result, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(result)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return result


def quantized(name, how, folder):
    """The model as ONNX Runtime has written it."""
    path, result = folder / "float.onnx", folder / "written.onnx"
    onnx.save(MODELS[name](), path)
    levels = onnxruntime.GraphOptimizationLevel
    if how in ("basic", "extended"):
        level = levels.ORT_ENABLE_BASIC if how == "basic" else levels.ORT_ENABLE_EXTENDED
        return optimized(path, result, level)
    quantized_to = folder / "quantized.onnx"
    if how == "dynamic":
        operators = ["MatMul", "Attention", "LSTM", "Gather", "Conv"]
        operators = operators if name != "cnn" else ["MatMul", "Gemm"]
        quantization.quantize_dynamic(path, quantized_to, op_types_to_quantize=operators,
                                      reduce_range=cuts_off())  # fmt: skip
        return optimized(quantized_to, result, levels.ORT_ENABLE_EXTENDED)
    formats = {"QDQ": quantization.QuantFormat.QDQ, "QOperator": quantization.QuantFormat.QOperator}
    kind, _, channels = how.partition(" ")
    quantization.quantize_static(
        path,
        quantized_to,
        Batches(name),
        quant_format=formats[kind],
        per_channel=bool(channels),
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        reduce_range=cuts_off(),
    )
    return quantized_to


WRITTEN = [
    ("cnn", "basic"), ("cnn", "extended"), ("cnn", "dynamic"), ("cnn", "QDQ"),
    ("cnn", "QDQ by channel"), ("cnn", "QOperator"), ("cnn", "QOperator by channel"),
    ("lstm", "extended"), ("lstm", "dynamic"),
    ("transformer", "extended"), ("transformer", "dynamic"), ("transformer", "QDQ"),
    ("transformer", "QOperator"),
]  # fmt: skip
#: what must be in some of the files, for the test to mean something
HOLDS = {
    ("cnn", "extended"): {"FusedConv"},
    ("cnn", "QOperator"): {"QLinearAdd", "QLinearConcat", "QLinearMul", "QLinearSigmoid", "QGemm"},
    ("lstm", "dynamic"): {"DynamicQuantizeLSTM"},
    ("transformer", "extended"): {"SkipLayerNormalization", "BiasGelu"},
    ("transformer", "dynamic"): {"DynamicQuantizeMatMul"},
}


@pytest.mark.parametrize("name, how", WRITTEN)
def test_as_in_onnxruntime(name, how, tmp_path):
    path = quantized(name, how, tmp_path)
    graph = onnx.load(path).graph
    operators = {node.op_type for node in graph.node}
    assert HOLDS.get((name, how), set()) <= operators
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1  # each thread would quantize its part of an LSTM's batch
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, X[name])
    for optimize in (True, False):
        (ours,) = onnxwalk.load(path, optimize=optimize).run(None, X[name])
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


def test_files_of_the_highest_level_are_refused_in_one_line(tmp_path):
    """Where ONNX Runtime has blocked convolutions; elsewhere it writes none, and the file runs."""
    path = tmp_path / "float.onnx"
    onnx.save(MODELS["cnn"](), path)
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    path = optimized(path, tmp_path / "written.onnx", level)
    if not any(n.domain == "com.microsoft.nchwc" for n in onnx.load(path).graph.node):
        onnxwalk.load(path).run(None, X["cnn"])
        return
    with pytest.raises(onnxwalk.UnsupportedModelError, match=r"extended \(ORT_ENABLE_EXTENDED\)"):
        onnxwalk.load(path)


def test_the_domain_of_blocked_convolutions_is_refused_in_one_line():
    made = model([node("MaxPool", "x", "y", kernel_shape=[2, 2])],
                 [("x", TensorProto.FLOAT, [1, 16, 4, 4])], [])  # fmt: skip
    made.graph.node[0].domain = "com.microsoft.nchwc"
    made.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    with pytest.raises(onnxwalk.UnsupportedModelError, match=r"com\.microsoft\.nchwc") as caught:
        onnxwalk.load(made)
    assert len(str(caught.value).splitlines()) == 1
