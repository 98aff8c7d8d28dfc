"""Quantized products and LSTM, and weights of few bits, held against ONNX Runtime."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import onnxwalk
from onnxwalk.ops.com_microsoft import quantized_recurrent
from onnxwalk.ops.com_microsoft.nbits import unpack_bits
from onnxwalk.ops.shared.numpy_state import computing
from tests.support.bound import run_bound
from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    int8_weights,
    one_node_model,
    run_directly,
    run_onnxruntime,
)
from tests.support.prepared import run_prepared

MS, f32 = "com.microsoft", np.float32


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def u8(value):
    return np.array(value, np.uint8)


def i8(value):
    return np.array(value, np.int8)


def case(operator, inputs, attributes=None, expected=None, outputs=1, **more):
    return Case(operator, 1, inputs, attributes or {}, expected, outputs, MS, **more)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def noise(*shape, dtype=np.uint8, seed=0):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(dtype)
    return int8_weights(x) if dtype == np.int8 else x


def few_bits(k, n, bits, block=16, zero_points="", seed=0):
    """B, scales and zero_points of MatMulNBits."""
    blocks = -(-k // block)
    scales = normal(n, blocks, seed=seed)
    zeros = None
    if zero_points == "packed":
        zeros = noise(n, -(-blocks * bits // 8), seed=seed + 1)
    if zero_points == "float":
        zeros = normal(n, blocks, seed=seed + 1) + 5
    return [noise(n, blocks, block * bits // 8, seed=seed), scales, zeros]


def lstm(directions, steps, batch, features, hidden, *, columns=False, seed=0, dtype=np.int8):
    """The inputs of DynamicQuantizeLSTM, all but the peepholes."""
    shape = (directions, 4 * hidden) if columns else (directions,)
    scales = [np.abs(normal(*shape, seed=seed + i)) * 0.01 + 0.002 for i in (1, 2)]
    zeros = [noise(*shape, dtype=dtype, seed=seed + 3) // 8 for _ in scales]
    if columns:  # ONNX Runtime expects equal ones for columns
        zeros = [np.zeros_like(zero) for zero in zeros]
    return [
        normal(steps, batch, features, seed=seed),
        noise(directions, features, 4 * hidden, dtype=dtype, seed=seed),
        noise(directions, hidden, 4 * hidden, dtype=dtype, seed=seed + 1),
        normal(directions, 8 * hidden, seed=seed + 4),
        None,
        normal(directions, batch, hidden, seed=seed + 5),
        normal(directions, batch, hidden, seed=seed + 6),
        None,
        scales[0], zeros[0], scales[1], zeros[1],
    ]  # fmt: skip


A8, B8 = noise(2, 3, 8), noise(8, 5, dtype=np.int8)
ROW = f([[0.5, 1, 1.5, 2] * 4])
INT4 = np.arange(-8, 8).reshape(1, 16).astype(ml_dtypes.int4)

# fmt: off
CASES = [
    case("QuantizeLinear", [normal(2, 3) * 99, f(0.01), np.array(700, np.uint16)]),
    case("QuantizeLinear", [f([1000], np.float16), f(1.5, np.float16), np.array(0, np.int16)]),
    case("QuantizeLinear", [f([0.5, 1.5]), f(1), np.array(1, ml_dtypes.int4)],
         expected=[np.array([1, 3], ml_dtypes.int4)]),
    case("QuantizeLinear", [normal(2, 3), f([0.1, 0.2]), i8([1, 2])], {"axis": 0}),
    case("DequantizeLinear", [noise(2, 3, dtype=np.int16), f(0.01), np.array(-9, np.int16)]),
    case("DequantizeLinear", [noise(2, 3), f([0.1, 0.2, 0.3]), u8([1, 2, 3])], note="axis 1"),
    case("DequantizeLinear", [np.array([-(2**31), 5], np.int32), f(0.5)]),
    case("MulInteger", [u8([[1, 2], [3, 4]]), u8(3), u8([10, 250])],
         expected=[np.array([[-20, -250], [0, 250]], np.int32)]),
    case("MulInteger", [i8([-128]), None, i8([-128]), i8(127)],
         expected=[np.array([32640], np.int32)]),
    case("MatMulInteger16", [noise(2, 3, dtype=np.int16), noise(3, 4, dtype=np.int16)]),
    case("MatMulInteger16", [np.array([[2**16 - 1]], np.uint16)] * 2,
         expected=[np.array([[(2**16 - 1) ** 2]], np.uint32)]),
    case("MatMulIntegerToFloat", [A8, B8, f(0.1), f(0.2), u8(3), i8(4), normal(5)]),
    case("MatMulIntegerToFloat", [A8, B8, f(0.1), np.abs(normal(5)), u8(3), i8([1, 2, 3, 4, 5])]),
    case("MatMulIntegerToFloat", [A8.view(np.int8), B8, f([0.1]), f([0.2])]),
    case("DynamicQuantizeMatMul", [normal(2, 3, 8), B8, f(0.01), i8(4), normal(5)]),
    case("DynamicQuantizeMatMul", [normal(3, 8), B8, np.abs(normal(5))]),
    case("DynamicQuantizeMatMul", [f([[0, 255]]), i8([[1], [2]]), f(0.5), i8(1), f([3])],
         expected=[f([[130.5]])]),
    case("QGemm", [noise(3, 4), f(0.1), u8(9), noise(4, 5, dtype=np.int8), f(0.2), i8(0),
                   np.arange(5, dtype=np.int32) * 99, f(20), u8(100)]),
    case("QGemm", [noise(4, 3), f(0.1), u8(9), noise(5, 4), np.abs(normal(5)), noise(5)],
         {"transA": 1, "transB": 1, "alpha": 0.5}),
    case("QGemm", [i8([[3]]), f(0.5), i8(1), i8([[5, 6]]), f(2), i8(0), np.array([[7]], np.int32),
                   f(1), i8(1)], {"alpha": 0.5}, expected=[i8([[9, 11]])],
         note="halves to even, then the zero point: 8.5 + 1, 9.5 + 1"),
    case("DynamicQuantizeLSTM", lstm(1, 4, 2, 3, 5), {"hidden_size": 5}, outputs=3, atol=1e-5),
    case("DynamicQuantizeLSTM", lstm(2, 4, 2, 3, 5, columns=True, seed=9),
         {"direction": "bidirectional", "hidden_size": 5}, outputs=3, atol=1e-5),
    case("DynamicQuantizeLSTM",
         [*(q := lstm(1, 4, 2, 3, 5, dtype=np.uint8))[:4], np.array([4, 2], np.int32), *q[5:]],
         {"hidden_size": 5}, outputs=3, atol=1e-5, note="sequence_lens"),
    case("DynamicQuantizeLSTM", lstm(1, 3, 1, 4, 4, dtype=np.uint8),
         {"direction": "reverse", "clip": 2.0, "hidden_size": 4}, outputs=3, atol=1e-5),
    *(case("MatMulNBits", [normal(2, 3, 40), *few_bits(40, 5, bits, zero_points=zeros), None,
                           normal(5)], {"K": 40, "N": 5, "bits": bits, "block_size": 16}, atol=1e-4,
           note=f"{bits} bits {zeros}")
      for bits in (2, 4, 8) for zeros in ("", "packed", "float") if (bits, zeros) != (8, "float")),
    case("MatMulNBits", [normal(2, 40), *few_bits(40, 3, 4, block=32),
                         noise(40).astype(np.int32) % 2],
         {"K": 40, "N": 3, "block_size": 32, "accuracy_level": 1}, atol=1e-4, note="g_idx"),
    case("MatMulNBits", [normal(2, 16), np.zeros((3, 1, 0), np.uint8), np.zeros((3, 0), np.float32),
                         None, None, f([1, 2, 3])], {"K": 16, "N": 3, "block_size": 16},
         expected=[f([[1, 2, 3], [1, 2, 3]])], note="no weights"),
    # 3 bits: 0b10_001_000 and so on are 0, 1, 2, …; less 4
    case("MatMulNBits", [np.eye(16, dtype=f32)[:4], u8([[[0x88, 0xC6, 0xFA] * 2]]), f([[2]])],
         {"K": 16, "N": 1, "bits": 3, "block_size": 16}, expected=[f([[-8], [-6], [-4], [-2]])]),
    case("GatherBlockQuantized", [noise(4, 16), np.array([[1, -1], [7, 0]]), normal(4, 2)],
         {"block_size": 16}),
    case("GatherBlockQuantized", [noise(4, 16), np.array([1], np.int32), normal(4, 2), noise(4, 1)],
         {"block_size": 16}),
    case("GatherBlockQuantized", [noise(4, 20), np.array(2), normal(4, 2), noise(4, 2)],
         {"block_size": 16, "bits": 8}),
    case("GatherBlockQuantized", [INT4, np.array([0, 1]), f([[2]]), np.array([[1]], INT4.dtype)],
         {"block_size": 16},
         expected=[f([[2 * (i - 9) for i in range(16)], [0] * 16])], note="out of range is zero"),
    case("GatherBlockQuantized", [INT4, np.array([2, -16]), f([[3]])],
         {"block_size": 16, "gather_axis": 1}, expected=[f([[-18, -24]])]),
    case("GatherBlockQuantized", [ROW.astype(ml_dtypes.float4_e2m1fn), np.array([0]), f([[10]])],
         {"block_size": 0}, expected=[ROW * 10]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)
    prepared = run_prepared(case)
    if prepared is not None:
        assert_same(prepared, run_directly(case))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_few_bits_like_onnxruntime(data):
    bits, block = data.draw(st.sampled_from([2, 4, 8])), data.draw(st.sampled_from([16, 32, 64]))
    k, n = data.draw(st.integers(1, 100)), data.draw(st.integers(1, 5))
    kinds = ["", "packed"] if bits == 8 else ["", "packed", "float"]
    seed = data.draw(st.integers(0, 99))
    weights = few_bits(k, n, bits, block, data.draw(st.sampled_from(kinds)), seed)
    x = normal(*data.draw(st.sampled_from([(), (2,), (2, 3)])), k, seed=seed)
    if x.ndim == 1:
        x = x[None]
    bias = normal(n) if data.draw(st.booleans()) else None
    attributes = {"K": k, "N": n, "bits": bits, "block_size": block}
    made = case("MatMulNBits", [x, *weights, None, bias], attributes)
    expected = run_onnxruntime(one_node_model(made), feeds_of(made))
    magnitude = np.abs(expected[0]).max() + 1
    assert_same(run_directly(made), expected, rtol=1e-4, atol=1e-5 * magnitude)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_products_like_onnxruntime(data):
    m, k, n = (data.draw(st.integers(1, 6)) for _ in range(3))
    seed = data.draw(st.integers(0, 99))
    a, b = noise(m, k, seed=seed), noise(k, n, dtype=np.int8, seed=seed + 1)
    columns = data.draw(st.sampled_from([(), (n,)]))
    scale = np.asarray(np.abs(normal(*columns, seed=seed)) + 0.1, np.float32)
    zero = np.asarray(noise(*columns, dtype=np.int8, seed=seed))
    bias = normal(n) if data.draw(st.booleans()) else None
    made = case("MatMulIntegerToFloat", [a, b, f(0.3), scale, u8(seed), zero, bias])
    assert_same(
        run_directly(made), run_onnxruntime(one_node_model(made), feeds_of(made)), atol=1e-3
    )
    made = case("DynamicQuantizeMatMul", [normal(m, k, seed=seed), b, scale, zero, bias])
    assert_same(
        run_directly(made), run_onnxruntime(one_node_model(made), feeds_of(made)), atol=1e-3
    )
    made = case("QGemm", [a, f(0.25), u8(seed), b, np.full_like(scale, 0.5), zero, None, f(16),
                          u8(99)])  # fmt: skip
    assert_same(run_directly(made), run_onnxruntime(one_node_model(made), feeds_of(made)))


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_unpacked_is_the_bits_in_order(bits):
    values = noise(3, 16) >> (8 - bits)
    number = [sum(int(v) << bits * i for i, v in enumerate(row)) for row in values]
    rows = np.array([list(n.to_bytes(2 * bits, "little")) for n in number], np.uint8)
    assert_same(unpack_bits(rows, bits), values)


def test_weights_of_a_quantized_lstm_are_laid_out_once(monkeypatch):
    calls = []
    dequantize = quantized_recurrent._dequantize_weights
    monkeypatch.setattr(
        quantized_recurrent,
        "_dequantize_weights",
        lambda *args: calls.append(1) or dequantize(*args),
    )
    made = case("DynamicQuantizeLSTM", lstm(1, 4, 2, 3, 5), {"hidden_size": 5}, outputs=3)
    model, feeds = one_node_model(made), feeds_of(made)
    kept = {"x0", "x5", "x6"}
    for name in feeds.keys() - kept:
        model.graph.initializer.append(numpy_helper.from_array(feeds[name], name))
    inputs = [value for value in model.graph.input if value.name in kept]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    session = onnxwalk.load(model)
    before = len(calls)
    assert before == 2  # W and R
    for _ in range(3):
        results = session.run(None, {name: feeds[name] for name in kept})
    assert len(calls) == before
    assert_same(results, run_onnxruntime(one_node_model(made), feeds), atol=1e-5)


# fmt: off
REFUSED = [
    (case("MatMulNBits", [normal(2, 16), *few_bits(16, 3, 4)], {"K": 16, "N": 4, "block_size": 16}),
     r"should be \(4, 1, 8\)"),
    (case("MatMulNBits", [normal(2, 9), *few_bits(16, 3, 4)], {"K": 16, "N": 3, "block_size": 16}),
     r"should be \(…, 16\)"),
    (case("MatMulNBits", [normal(2, 16), *few_bits(16, 3, 4)],
          {"K": 16, "N": 3, "block_size": 16, "weight_prepacked": 1}), "weight_prepacked"),
    (case("MatMulNBits", [normal(2, 16), *few_bits(16, 3, 4)], {"K": 16, "N": 3, "block_size": 12}),
     "block_size 12"),
    (case("GatherBlockQuantized", [noise(4, 16), np.array(0), normal(4, 2)],
          {"block_size": 16, "bits": 3}), "bits 3"),
    (case("GatherBlockQuantized", [noise(4, 16), np.array(0), normal(4, 3)], {"block_size": 16}),
     "are incompatible"),
    (case("QGemm", [noise(3, 4), f(1), u8(0), noise(4, 5), f(1), u8(0), None, f(1)]),
     "should both be set"),
    (case("MatMulIntegerToFloat", [A8, B8, f([1, 2]), f(1)]), "a_scale"),
    (case("DynamicQuantizeMatMul", [normal(3, 8), B8, normal(4)]), "b_scale"),
    (case("DynamicQuantizeLSTM", [*lstm(1, 4, 2, 3, 5)[:8], f(1), i8(0), f([1]), i8([0])]),
     "scale of W"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)


@pytest.mark.parametrize("seed", range(40))
def test_the_state_is_rounded_to_the_bit(seed):
    """The bound LSTM's own calls, against DynamicQuantizeLinear and DequantizeLinear."""
    rng = np.random.default_rng(seed)
    for x in (
        rng.standard_normal(64).astype(f32) * f32(10.0 ** rng.integers(-30, 30)),
        np.abs(rng.standard_normal((3, 7)).astype(f32)),
        -np.abs(rng.standard_normal((3, 7)).astype(f32)),
        (rng.integers(-510, 511, 300) / 4).astype(f32),  # halves of steps
        np.zeros(5, f32),
        f([np.nan, 1, -1]),
        f([np.inf, 1, -1]),
        f([-np.inf, np.inf]),
        f([3e38, -3e38]),
        f([1e-45, -1e-45, 0]),
    ):
        y = np.empty_like(x)
        with computing():
            quantized_recurrent._round_into(x, y)
            np.testing.assert_array_equal(
                y, quantized_recurrent._round_dynamically(x), err_msg=str(x)
            )


def test_a_layer_of_known_weights_is_bound():
    inputs = lstm(2, 40, 1, 8, 16, seed=5)
    layer = quantized_recurrent.prepare_dynamic_quantize_lstm(
        *inputs[1:4], None, *inputs[8:12], direction="bidirectional", hidden_size=16
    )
    expected = layer(inputs[0], None, *inputs[5:7])
    found = run_bound(layer.bind, [inputs[0], None, *inputs[5:7]], used_outputs=(True,) * 3)
    assert found is not None
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
