"""Quantized graphs are computed on whole numbers of steps: the same numbers, in other nodes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxwalk
from tests.interpreter.compiler.test_fusion import operators
from tests.interpreter.runtime.test_bound import F, model, node, noise

onnxruntime = pytest.importorskip("onnxruntime")
quantization = pytest.importorskip("onnxruntime.quantization")
f32 = np.float32
U8, I8 = TensorProto.UINT8, TensorProto.INT8


def network():
    """Convolutions of every kind, a residual, padding, pools, a dense layer."""
    weights = {
        "w1": noise(16, 3, 3, 3), "b1": noise(16), "w2": noise(16, 1, 3, 3), "b2": noise(16),
        "w3": noise(16, 16, 1, 1), "w4": noise(24, 16, 3, 3) / 4, "b4": noise(24),
        "w5": noise(24, 10), "b5": noise(10), "zero": np.zeros((), f32), "six": np.array(6, f32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2 b2", "c2", pads=[1, 1, 1, 1], group=16),
        node("Clip", "c2 zero six", "r2"),
        node("Conv", "r2 w3", "c3"),
        node("Add", "c3 r1", "sum"),
        node("MaxPool", "sum", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Pad", "p pads", "padded"),
        node("Conv", "padded w4 b4", "c4"),
        node("Relu", "c4", "r4"),
        node("GlobalAveragePool", "r4", "g"),
        node("Flatten", "g", "flat"),
        node("Gemm", "flat w5 b5", "y"),
    ]
    proto = model(nodes, [("x", F, ["n", 3, 12, 10])], [], list(weights.items()), opset=13)
    proto.graph.output.append(helper.make_tensor_value_info("y", F, ["n", 10]))
    return proto


class Noise(quantization.CalibrationDataReader):
    def __init__(self, shape):
        self.feeds = iter([{"x": noise(*shape, seed=seed)} for seed in range(3)])

    def get_next(self):
        return next(self.feeds, None)


def quantize(proto, folder, form, activations, per_channel):
    plain, path = folder / "plain.onnx", folder / f"{form}.onnx"
    onnx.save(proto, plain)
    quantization.quantize_static(
        str(plain), str(path), Noise((2, 3, 12, 10)),
        quant_format=getattr(quantization.QuantFormat, form),
        activation_type=getattr(quantization.QuantType, activations),
        weight_type=quantization.QuantType.QInt8, per_channel=per_channel,
    )  # fmt: skip
    return path


def in_onnxruntime(path, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(str(path), options).run(None, feeds)


@pytest.mark.parametrize("activations", ["QUInt8", "QInt8"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_network_quantized_by_onnx_runtime(form, activations, per_channel, tmp_path):
    path = quantize(network(), tmp_path, form, activations, per_channel)
    session, plain = onnxwalk.load(path), onnxwalk.load(path, optimize=False)
    kinds = {step.node.op_type for step in session._program.plan(("x",), None).steps}
    assert "FusedConv" in kinds and "StepsTable" in kinds
    assert not kinds & {"QLinearConv", "QGemm", "QLinearAdd", "Conv"}
    for seed in range(4):
        feeds = {"x": noise(2, 3, 12, 10, seed=10 + seed) * (1 + seed)}
        (expected,) = in_onnxruntime(path, feeds)
        (as_written,) = plain.run(None, feeds)
        for _ in range(2):
            (found,) = session.run(None, feeds)
            np.testing.assert_array_equal(found, expected)
        if form == "QOperator":
            np.testing.assert_array_equal(found, as_written)
        else:  # as the file says, in float: a sum near the middle may come out a step away
            step = np.ptp(expected) / 255
            np.testing.assert_allclose(found, as_written, atol=2.1 * step)


def q_chain(low, high, zero, kind, shape=(1, 4, 6, 6)):
    """QLinearConv and what reads its bytes; ``low`` and ``high``: of the weights."""
    rng = np.random.default_rng(3)
    channels, dtype = shape[1], helper.tensor_dtype_to_np_dtype(kind)
    return model(
        [
            node("QLinearConv", "x xs xz w ws wz ys yz b", "c", pads=[1, 1, 1, 1]),
            node("MaxPool", "c", "p", kernel_shape=[2, 2]),
            node("Transpose", "p", "t", perm=[0, 2, 3, 1]),
            node("DequantizeLinear", "t ys yz", "y"),
        ],
        [("x", kind, [None, channels, None, None])],
        ["y", "t", "c"],
        [
            ("xs", np.array(0.02, f32)), ("xz", np.array(zero, dtype)),
            ("w", rng.integers(low, high + 1, (5, channels, 3, 3)).astype(np.int8)),
            ("ws", rng.uniform(0.001, 0.01, 5).astype(f32)), ("wz", np.zeros(5, np.int8)),
            ("ys", np.array(0.1, f32)), ("yz", np.array(3, dtype)),
            ("b", rng.integers(-9000, 9000, 5).astype(np.int32)),
        ],
        opset=13,
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "zero"), [(U8, 0), (U8, 128), (U8, 255), (I8, -128), (I8, 5)])
def test_bytes_that_are_inputs_and_outputs(kind, zero):
    proto = q_chain(-128, 127, zero, kind)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    ends = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(ends.min, ends.max + 1, (2, 4, 6, 6)).astype(dtype)
    x[0] = ends.max
    x[1, :2] = ends.min
    expected = onnxwalk.load(proto, optimize=False).run(None, {"x": x})
    session = onnxwalk.load(proto)
    for found in (session.run(None, {"x": x}), session.run(None, {"x": x})):
        for a, e in zip(found, expected, strict=True):
            assert a.dtype == e.dtype
            np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize(("channels", "way"), [(40, "one"), (90, "two"), (200, "file")])
def test_sums_that_float32_does_not_hold(channels, way):
    """Where all weights and values are as large as they can be: two sums of half of the channels,
    or the file's own operator."""
    proto = q_chain(127, 127, 0, U8, (1, channels, 6, 6))
    kinds = operators(proto, "quantized")
    assert {"one": kinds.count("Conv") == 1, "two": kinds.count("Conv") == 2,
            "file": "QLinearConv" in kinds}[way]  # fmt: skip
    x = np.full((1, channels, 6, 6), 255, np.uint8)
    x[:, ::3, ::2] = 254
    expected = onnxwalk.load(proto, optimize=False).run(None, {"x": x})
    for a, e in zip(onnxwalk.load(proto).run(None, {"x": x}), expected, strict=True):
        np.testing.assert_array_equal(a, e)


def test_dynamic_quantization(tmp_path):
    proto = model(
        [
            node("MatMul", "x w1", "m1"), node("Add", "m1 b1", "a1"), node("Relu", "a1", "r1"),
            node("MatMul", "r1 w2", "y"),
        ],
        [("x", F, [None, None, 32])], ["y"],
        [("w1", noise(32, 64)), ("b1", noise(64)), ("w2", noise(64, 8))], opset=13,
    )  # fmt: skip
    plain, path = tmp_path / "plain.onnx", tmp_path / "dynamic.onnx"
    onnx.save(proto, plain)
    for per_channel in (False, True):
        quantization.quantize_dynamic(str(plain), str(path), per_channel=per_channel)
        session = onnxwalk.load(path)
        assert "MatMul" in operators(onnx.load(path), "quantized")
        special = noise(2, 3, 32)
        special[0] = 0
        negative = -np.abs(noise(2, 3, 32))
        for x in (noise(2, 3, 32), special, special * 0, negative, noise(1, 1, 32) * 1e30):
            for options in ({"optimize": False}, {"executor": "walk"}):
                expected = onnxwalk.load(path, **options).run(None, {"x": x})
                for _ in range(2):
                    np.testing.assert_array_equal(session.run(None, {"x": x}), expected)


def test_what_quantize_makes_of_special_values():
    proto = model(
        [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")],
        [("x", F, [None])], ["y", "q"],
        [("s", np.array(0.5, f32)), ("z", np.array(-3, np.int8))], opset=13,
    )  # fmt: skip
    values = [np.nan, np.inf, -np.inf, 0.25, 0.75, -0.25, 1e38, 62.75, 65, -62.4, -0.0]
    x = np.array(values, f32)
    expected = onnxwalk.load(proto, optimize=False).run(None, {"x": x})
    session = onnxwalk.load(proto)
    for _ in range(2):
        for a, e in zip(session.run(None, {"x": x}), expected, strict=True):
            np.testing.assert_array_equal(a, e)


def pair(**changed):
    constants = {"s": np.array(0.5, f32), "z": np.array(1, np.uint8)} | changed
    return model(
        [
            node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
            node("Relu", "d", "r"), node("QuantizeLinear", "r s z", "q2"),
            node("DequantizeLinear", "q2 s z", "y"),
        ],
        [("x", F, [None, 3])], ["y"], list(constants.items()), opset=21,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"s": np.array([0.5, 1, 2], f32), "z": np.array([1, 2, 3], np.uint8)},
        {"z": np.array(1, np.uint16)},
        {"s": np.array(np.inf, f32)},
        {"s": np.array(-0.5, f32)},
    ],
    ids=["per axis", "16 bits", "infinite", "negative"],
)
def test_what_is_left_as_it_is(changed):
    proto = pair(**changed)
    assert "QuantizeLinear" in operators(proto, "quantized")
    x = noise(4, 3) * 9
    expected = onnxwalk.load(proto, optimize=False).run(None, {"x": x})
    np.testing.assert_array_equal(onnxwalk.load(proto).run(None, {"x": x}), expected)


def test_a_users_quantize_linear_is_left():
    mine = onnxwalk.Registry(parent=onnxwalk.ops.registry)
    mine.op("QuantizeLinear", since=1)(lambda x, s, z: np.full_like(x, 7, np.uint8))
    found = onnxwalk.load(pair(), registry=mine).run(None, {"x": noise(2, 3)})
    np.testing.assert_array_equal(found, [np.full((2, 3), 3, f32)])


def test_what_rounds_to_zero_from_below_has_no_sign():
    constants = [
        ("scale", np.array(0.5, f32)),
        ("zero", np.array(0, np.int8)),
        ("one", np.array(1, f32)),
    ]
    nodes = [
        node("QuantizeLinear", "x scale zero", "q"),
        node("DequantizeLinear", "q scale zero", "y"),
        node("Div", "one y", "z"),
    ]
    proto = model(nodes, [("x", F, ["n"])], ["z"], constants, opset=13)
    assert "Steps" in operators(proto, "quantized")
    x = np.array([-0.1, 0.1, -0.0, -1], f32)
    for optimize in (True, False):
        z = onnxwalk.load(proto, optimize=optimize).run(None, {"x": x})[0]
        assert z.tolist() == [np.inf, np.inf, np.inf, -1]
