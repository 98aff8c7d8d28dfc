"""Quantization: per tensor, per axis and blocked; to every small type; matrix products."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

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

f32, f16, bf16 = np.float32, np.float16, ml_dtypes.bfloat16
e4m3, e5m2, e4m3u = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fnuz
f4, e8m0 = ml_dtypes.float4_e2m1fn, ml_dtypes.float8_e8m0fnu


def array(*values, dtype=f32):
    return np.array(values, dtype)


def scalar(value, dtype=f32):
    return np.array(value, dtype)


ROWS = np.array([[-300, -3, -1, 0], [1, 2.5, 3.5, 300]], f32)
INF = array(-np.inf, np.inf)

# fmt: off
CASES = [
    # halves go to the even integer before the zero point is added: 0.5 + 1 is 1, 1.5 + 1 is 3
    Case("QuantizeLinear", 10, [array(0.5, 1.5, 2.5), scalar(1), scalar(1, np.uint8)],
         expected=[array(1, 3, 3, dtype=np.uint8)]),
    Case("QuantizeLinear", 10, [ROWS, scalar(2), scalar(-3, np.int8)]),
    Case("QuantizeLinear", 10, [array(7, -7, dtype=np.int32), scalar(2), scalar(0, np.int8)],
         expected=[array(4, -4, dtype=np.int8)]),
    Case("QuantizeLinear", 10, [ROWS, scalar(2), None],
         expected=[np.array([[0, 0, 0, 0], [0, 1, 2, 150]], np.uint8)]),
    Case("QuantizeLinear", 13, [ROWS, array(1, 2), array(3, 4, dtype=np.int8)], {"axis": 0}),
    Case("QuantizeLinear", 13, [INF, scalar(0.1), scalar(7, np.uint8)],
         expected=[array(0, 255, dtype=np.uint8)]),
    Case("QuantizeLinear", 13, [array(np.nan, 1), scalar(1), scalar(0, np.int8)],
         expected=[array(-128, 1, dtype=np.int8)], note="the lowest for NaN"),
    Case("QuantizeLinear", 13, [array(np.nan, 1), scalar(1), scalar(0, np.int8)]),
    Case("QuantizeLinear", 21, [array(np.nan, 1), scalar(1), scalar(5, np.int16)]),
    Case("QuantizeLinear", 19, [ROWS, scalar(2), scalar(0, e4m3)],
         expected=[(ROWS / 2).astype(e4m3)]),
    Case("QuantizeLinear", 19, [ROWS * 100, scalar(2), scalar(0, e4m3)], {"saturate": 0},
         expected=[(ROWS * 50).astype(e4m3)]),
    Case("QuantizeLinear", 19, [INF, scalar(2), scalar(0, e5m2)],
         expected=[array(-57344, 57344, dtype=e5m2)]),
    Case("QuantizeLinear", 19, [array(1, 3, dtype=f16), scalar(2, f16), scalar(1, e4m3u)],
         expected=[array(1.5, 2.5, dtype=e4m3u)], note="a zero point counts for float8 as well"),
    Case("QuantizeLinear", 19, [array(7, dtype=np.int32), scalar(2, np.int32), None],
         expected=[array(4, dtype=np.uint8)]),
    # 2001 / 3 is 667 and 2047 / 3 is 682.33, which float16 rounds to 682.5, and that to 682
    Case("QuantizeLinear", 21, [array(2001, 2047, dtype=f16), scalar(3, f16), scalar(0, np.int16)],
         expected=[array(667, 682, dtype=np.int16)]),
    # 666.67 in float; 666.5 in float16, and that is 666
    *(Case("QuantizeLinear", opset, [array(1000, dtype=f16), scalar(1.5, f16), scalar(0, np.int16)])
      for opset in (21, 23)),
    # 5118 in float; float16 has only every fourth integer there
    Case("QuantizeLinear", 23, [array(1023.4), scalar(0.2, f16), None],
         {"output_dtype": TensorProto.UINT16}, expected=[array(5120, dtype=np.uint16)],
         note="the quotient has the type of the scale"),
    Case("QuantizeLinear", 23, [array(1023.4), scalar(0.2, f16), None],
         {"output_dtype": TensorProto.UINT16, "precision": TensorProto.FLOAT},
         expected=[array(np.rint(f32(1023.4) / f32(f16(0.2))), dtype=np.uint16)]),
    Case("QuantizeLinear", 21, [ROWS, np.array([[1, 2], [3, 4]], f32),
                                np.array([[1, 2], [3, 4]], np.int16)], {"block_size": 2}),
    Case("QuantizeLinear", 21, [ROWS[:, :3], np.array([[1, 2], [3, 4]], f32)], {
        "block_size": 2, "output_dtype": TensorProto.INT4},
         expected=[np.array([[-8, -3, 0], [0, 1, 1]], ml_dtypes.int4)]),
    Case("QuantizeLinear", 21, [ROWS, scalar(2), scalar(3, ml_dtypes.uint4)],
         expected=[np.array([[0, 1, 3, 3], [3, 4, 5, 15]], ml_dtypes.uint4)]),
    Case("QuantizeLinear", 23, [ROWS, scalar(1)], {"output_dtype": TensorProto.FLOAT4E2M1},
         expected=[np.array([[-6, -3, -1, 0], [1, 2, 4, 6]], f4)]),
    Case("QuantizeLinear", 24, [ROWS, scalar(4, e8m0), scalar(0, np.int8)],
         expected=[np.array([[-75, -1, 0, 0], [0, 1, 1, 75]], np.int8)]),
    Case("QuantizeLinear", 25, [ROWS, scalar(2)], {"output_dtype": TensorProto.INT2},
         expected=[np.array([[-2, -2, 0, 0], [0, 1, 1, 1]], ml_dtypes.int2)]),
    Case("QuantizeLinear", 28, [ROWS, scalar(2)], {"output_dtype": TensorProto.FLOAT6E3M2},
         expected=[np.array([[-28, -1.5, -0.5, 0], [0.5, 1.25, 1.75, 28]],
                            ml_dtypes.float6_e3m2fn)]),
    Case("DequantizeLinear", 10, [array(3, 200, dtype=np.uint8), scalar(2), scalar(10, np.uint8)]),
    Case("DequantizeLinear", 10, [array(3, 2**31 - 1, dtype=np.int32), scalar(0.5)]),
    Case("DequantizeLinear", 10, [array(-2**31, dtype=np.int32), scalar(1), scalar(1, np.int32)],
         expected=[array(-(2.0**31))]),
    Case("DequantizeLinear", 13, [ROWS.clip(-9, 9).astype(np.int8), array(1, 2),
                                  array(3, 4, dtype=np.int8)], {"axis": -2}),
    Case("DequantizeLinear", 19, [array(1, 448, dtype=e4m3), scalar(0.5, f16)],
         expected=[array(0.5, 224, dtype=f16)]),
    Case("DequantizeLinear", 19, [array(1, 448, dtype=e4m3), scalar(0.5, bf16)],
         expected=[array(0.5, 224, dtype=bf16)]),
    Case("DequantizeLinear", 21, [array(-8, 7, dtype=ml_dtypes.int4), scalar(0.5)],
         expected=[array(-4, 3.5)]),
    Case("DequantizeLinear", 21, [np.arange(6, dtype=np.uint16).reshape(2, 3),
                                  np.array([[1, 2], [3, 4]], f32),
                                  np.array([[1, 2], [3, 4]], np.uint16)], {"block_size": 2}),
    Case("DequantizeLinear", 23, [array(1, 6, dtype=f4), scalar(0.5)],
         {"output_dtype": TensorProto.FLOAT16}, expected=[array(0.5, 3, dtype=f16)]),
    Case("DequantizeLinear", 24, [array(1, 6, dtype=f4), scalar(0.5, e8m0)],
         {"output_dtype": TensorProto.FLOAT}, expected=[array(0.5, 3)]),
    Case("DequantizeLinear", 25, [array(1, 3, dtype=ml_dtypes.uint2), scalar(0.5)],
         expected=[array(0.5, 1.5)]),
    Case("DequantizeLinear", 28, [array(1, 7.5, dtype=ml_dtypes.float6_e2m3fn), scalar(2)],
         expected=[array(2, 15)]),
    Case("DynamicQuantizeLinear", 11, [ROWS], outputs=3),
    Case("DynamicQuantizeLinear", 11, [array(1, 2, 4)], outputs=3, note="the range holds 0"),
    Case("DynamicQuantizeLinear", 11, [np.zeros((2, 2), f32)], outputs=3),
    Case("DynamicQuantizeLinear", 11, [array()], outputs=3),
    Case("MatMulInteger", 10, [array(1, 2, dtype=np.uint8), array(3, -4, dtype=np.int8)],
         expected=[scalar(-5, np.int32)]),
    Case("MatMulInteger", 10, [np.array([[1, 2], [3, 4]], np.uint8),
                               np.array([[1, 2], [3, 4]], np.int8), scalar(1, np.uint8),
                               array(0, 1, dtype=np.int8)]),
    Case("MatMulInteger", 10, [np.array([[1, 2], [3, 4]], np.uint8),
                               np.array([[1, 2], [3, 4]], np.int8), array(1, 3, dtype=np.uint8)],
         expected=[np.array([[3, 4], [3, 4]], np.int32)], note="one zero point for each row"),
    Case("QLinearMatMul", 10, [np.array([[1, 2], [3, 4]], np.uint8), scalar(0.5),
                               scalar(1, np.uint8), np.array([[1, 2], [3, 4]], np.int8),
                               array(0.1, 0.7), array(0, 1, dtype=np.int8), scalar(0.1),
                               scalar(2, np.uint8)]),
    Case("QLinearMatMul", 21, [np.array([[1, 2], [3, 4]], e4m3), scalar(0.5, f16), scalar(1, e4m3),
                               np.array([[1, 2], [3, 4]], e5m2), scalar(2, f16), scalar(0, e5m2),
                               scalar(1, f16), scalar(0, e4m3)],
         expected=[np.array([[3, 4], [11, 16]], e4m3)]),
    Case("QLinearMatMul", 21, [np.array([[1, 2], [3, 4]], np.int8), array(0.5, 1, dtype=f16),
                               array(0, 1, dtype=np.int8), np.eye(2, dtype=np.int8),
                               scalar(2, f16), scalar(0, np.int8), scalar(1, f16),
                               scalar(5, np.int8)],
         expected=[np.array([[6, 7], [9, 11]], np.int8)]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@st.composite
def quantizations(draw):
    opset = draw(st.sampled_from([13, 21]))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    kinds = [np.int8, np.uint8] + [np.int16, np.uint16] * (opset == 21)
    dtype = np.dtype(draw(st.sampled_from(kinds)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    attributes = {"axis": axis}
    how = draw(st.sampled_from(["tensor", "axis", "block"][: 3 if opset == 21 else 2]))
    scales = {"tensor": (), "axis": (shape[axis],), "block": list(shape)}[how]
    if how == "block" and len(shape) == 1:  # ONNX Runtime takes one block for a whole tensor
        how, scales = "axis", (shape[axis],)
    if how == "block":
        attributes["block_size"] = draw(st.integers(1, shape[axis]))
        scales[axis] = -(-shape[axis] // attributes["block_size"])
    scale = np.asarray(rng.uniform(0.1, 3, scales), f32)
    limits = np.iinfo(dtype)
    zero_point = np.asarray(rng.integers(limits.min, limits.max, scales), dtype)
    if draw(st.booleans()):
        x = rng.integers(limits.min, limits.max, shape).astype(dtype)
        return Case("DequantizeLinear", opset, [x, scale, zero_point], attributes)
    x = rng.normal(0, 100 * draw(st.sampled_from([1, 200])), shape).astype(f32)
    return Case("QuantizeLinear", opset, [x, scale, zero_point], attributes)


@settings(max_examples=40, deadline=None)
@given(quantizations())
def test_like_onnxruntime(case):
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_products_like_onnxruntime(data):
    m, k, n = (data.draw(st.integers(1, 6)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    stack = data.draw(st.sampled_from([(), (2,), (2, 3)]))
    a = rng.integers(0, 255, (*stack, m, k)).astype(np.uint8)
    b = int8_weights(rng.integers(-128, 127, (k, n)).astype(np.int8))
    columns = data.draw(st.sampled_from([(), (n,)]))
    zero_a, zero_b = scalar(rng.integers(0, 255), np.uint8), rng.integers(-9, 9, columns)
    zero_b = np.asarray(zero_b, np.int8)
    case = Case("MatMulInteger", 10, [a, b, zero_a, zero_b])
    assert_same(run_directly(case), run_onnxruntime(one_node_model(case), feeds_of(case)))
    scale_b = np.asarray(rng.uniform(0.1, 1, columns), f32)
    y_scale = scalar(rng.uniform(1, 900))
    rest = [scale_b, zero_b, y_scale, scalar(99, np.uint8)]
    case = Case("QLinearMatMul", 10, [a, scalar(0.3), zero_a, b, *rest])
    assert_same(run_directly(case), run_onnxruntime(one_node_model(case), feeds_of(case)))


# fmt: off
REFUSED = [
        ("QuantizeLinear", 10, [ROWS, array(1, 2)], {}, "scalar before opset 13"),
        ("QuantizeLinear", 13, [ROWS, array(1, 2)], {}, r"should be \(4,\) for axis 1"),
        ("QuantizeLinear", 13, [ROWS, np.ones((2, 2), f32)], {}, "block_size"),
        ("QuantizeLinear", 13, [ROWS, array(1, 2), scalar(0, np.int8)], {"axis": 0}, "differ"),
        ("QuantizeLinear", 21, [ROWS, np.ones((2, 3), f32)], {"block_size": 2}, "blocks of 2"),
        ("QuantizeLinear", 21, [ROWS, scalar(1)], {"output_dtype": 1}, "can't quantize to"),
        ("QuantizeLinear", 21, [ROWS, scalar(1), scalar(1, np.int8)], {"output_dtype": 2}, "int8"),
        ("DequantizeLinear", 24, [array(1, dtype=f4), scalar(1, e8m0)], {}, "float8_e8m0"),
        ("DequantizeLinear", 13, [array(1, dtype=np.int8), scalar(1), scalar(1, np.uint8)], {},
         "x_zero_point \\(uint8\\)"),
        ("MatMulInteger", 10, [np.ones((2, 3), np.int8)] * 2, {}, "can't multiply"),
]
# fmt: on


@pytest.mark.parametrize("operator, opset, inputs, attributes, message", REFUSED)
def test_refused(operator, opset, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, opset, inputs, attributes))


def test_dynamic_quantize_linear_is_its_function_body():
    import onnxwalk

    case = Case("DynamicQuantizeLinear", 11, [ROWS], outputs=3)
    schema = onnx.defs.get_schema("DynamicQuantizeLinear", 11)
    body = schema.function_body
    graph = onnx.helper.make_graph(
        body.node,
        "body",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ROWS.shape)],
        [onnx.ValueInfoProto(name=name) for name in body.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=body.opset_import)
    assert_same(run_directly(case), onnxwalk.load(model).run(None, {"x": ROWS}))
