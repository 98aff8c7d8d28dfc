"""Quantized matrix products, and the two conversions, as ONNX Runtime's quantizer has them.

Products of 8-bit integers are added up in int32 and multiplied by their scales in float.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import quantize
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost, broadcast, size
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import product_shape
from onnxwalk.ops.shared.numeric import check_same_dtype

FLOAT = 1  # TensorProto.DataType


@op("QuantizeLinear", since=1, domain=DOMAIN)
def quantize_linear(x, y_scale, y_zero_point=None, *, axis=None):
    """saturate(round(x / y_scale) + y_zero_point), for 16-bit integers too; as QuantizeLinear-21

    float16 is divided in float, where ai.onnx divides in the type of y_scale.
    Source: com.microsoft.QuantizeLinear-1, ONNX Runtime 1.32.
    """
    axis = 1 if axis is None else axis
    return quantize.quantize_linear(x, y_scale, y_zero_point, axis=axis, precision=FLOAT)


@op("DequantizeLinear", since=1, domain=DOMAIN)
def dequantize_linear(x, x_scale, x_zero_point=None, *, axis=None):
    """(x - x_zero_point)·x_scale, for 16-bit integers too; as DequantizeLinear-21

    Source: com.microsoft.DequantizeLinear-1, ONNX Runtime 1.32.
    """
    return quantize.dequantize_linear(x, x_scale, x_zero_point, axis=1 if axis is None else axis)


@dequantize_linear.vjp
def vjp_of_dequantize_linear(dy, x, x_zero_point, *, x_scale_shape, axis):
    return quantize.vjp_of_dequantize_linear(
        dy, x, x_zero_point, x_scale_shape=x_scale_shape, axis=1 if axis is None else axis
    )


vjp_of_dequantize_linear.cost(quantize.cost_of_vjp_of_dequantize_linear)


@op("MulInteger", since=1, domain=DOMAIN, optional=["A_zero_point"])
def mul_integer(A, A_zero_point, B, B_zero_point=None):
    """(A - A_zero_point)·(B - B_zero_point) elementwise, broadcasting; int32

    Source: com.microsoft.MulInteger-1, ONNX Runtime 1.32 (which runs it on no CPU).
    """
    check_same_dtype(A, B)
    a, b = (
        x.astype(np.int32) - (0 if zero is None else zero.reshape(()).astype(np.int32))
        for x, zero in ((A, A_zero_point), (B, B_zero_point))
    )
    return a * b


@op("MatMulInteger16", since=1, domain=DOMAIN)
def matmul_integer16(A, B):
    """A @ B of 16-bit integers, added up in 32 bits

    Source: com.microsoft.MatMulInteger16-1, ONNX Runtime 1.32.
    """
    unsigned = A.dtype.kind == "u" and B.dtype.kind == "u"
    return products.matmul(A.astype(np.int64), B.astype(np.int64)).astype(
        np.uint32 if unsigned else np.int32
    )


@op("MatMulIntegerToFloat", since=1, domain=DOMAIN)
def matmul_integer_to_float(
    A, B, a_scale, b_scale, a_zero_point=None, b_zero_point=None, bias=None
):
    """(A - a_zero_point) @ (B - b_zero_point)·a_scale·b_scale + bias

    A (…, M, K), B (…, K, N) int8 or uint8; a_scale a scalar, b_scale a scalar or (N), zero points
    as in MatMulInteger; bias (N).

    Source: com.microsoft.MatMulIntegerToFloat-1, ONNX Runtime 1.32.
    """
    sums = quantize.matmul_integer(A, B, a_zero_point, b_zero_point)
    y = sums.astype(a_scale.dtype) * (
        _as_scalar("a_scale", a_scale) * _per_column("b_scale", b_scale, B)
    )
    return y if bias is None else y + _per_column("bias", bias, B)


@op("DynamicQuantizeMatMul", since=1, domain=DOMAIN)
def dynamic_quantize_matmul(A, B, b_scale, b_zero_point=None, bias=None):
    """MatMulIntegerToFloat of an A that is quantized as DynamicQuantizeLinear does

    Source: com.microsoft.DynamicQuantizeMatMul-1, ONNX Runtime 1.32.
    """
    a, a_scale, a_zero_point = quantize.dynamic_quantize_linear(A)
    return matmul_integer_to_float(a, B, a_scale, b_scale, a_zero_point, b_zero_point, bias)


@op("QGemm", since=1, domain=DOMAIN)
def q_gemm(
    A,
    a_scale,
    a_zero_point,
    B,
    b_scale,
    b_zero_point,
    C=None,
    y_scale=None,
    y_zero_point=None,
    *,
    alpha=1.0,
    transA=0,
    transB=0,
):
    """alpha·a_scale·b_scale·((A - a_zero_point) @ (B - b_zero_point) + C), quantized if there is a
    y_scale

    A (M, K), B (K, N), transposed first if transA or transB is set; C int32, broadcast to (M, N);
    b_scale and b_zero_point scalars or (N), the others scalars. y is float, or of the type of
    y_zero_point: saturate(round(·/ y_scale) + y_zero_point).

    Source: com.microsoft.QGemm-1, ONNX Runtime 1.32.
    """
    if A.ndim != 2 or B.ndim != 2:
        raise ValueError(f"A and B of QGemm must be matrices, not of shape {A.shape} and {B.shape}")
    if (y_scale is None) != (y_zero_point is None):
        raise ValueError("y_scale and y_zero_point should both be set, or neither")
    a, b = A.T if transA else A, B.T if transB else B
    sums = quantize.matmul_integer(a, b, a_zero_point, b_zero_point)
    if C is not None:
        if np.broadcast_shapes(sums.shape, C.shape) != sums.shape:
            raise ValueError(f"C of shape {C.shape} does not broadcast to A·B of {sums.shape}")
        sums = sums + C
    scale = np.float32(alpha) * _as_scalar("a_scale", a_scale) * _per_column("b_scale", b_scale, b)
    if y_scale is None:
        return sums.astype(np.float32) * scale
    steps = sums.astype(np.float32) * (scale / _as_scalar("y_scale", y_scale))
    zero_point = _as_scalar("y_zero_point", y_zero_point)
    return quantize.quantize_linear(steps, np.ones((), np.float32), zero_point)


def _as_scalar(name: str, value: np.ndarray) -> np.ndarray:
    if value.size != 1:
        raise ValueError(f"{name} {value.shape} should be one value")
    return value.reshape(())


def _per_column(name: str, value: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One value, or one for each column of the matrices b (…, K, N)."""
    if value.size == 1:
        return value.reshape(())
    if value.shape not in (b.shape[-1:], (*b.shape[:-2], 1, b.shape[-1])):
        raise ValueError(f"{name} {value.shape} should be one value or ({b.shape[-1]},)")
    return value


# ------------------------------------------------------------------------------------------- costs


@quantize_linear.cost
def cost_of_quantize_linear(
    x: np.ndarray, y_scale: np.ndarray, y_zero_point: np.ndarray | None = None, **_: Any
) -> Cost:
    return quantize.cost_of_quantize_linear(x, y_scale, y_zero_point, precision=FLOAT)


dequantize_linear.cost(quantize.cost_of_dequantize_linear)


@mul_integer.cost
def cost_of_mul_integer(A: np.ndarray, A_zero_point: Any, B: np.ndarray, *_: Any) -> Cost:
    count = size(broadcast([A.shape, B.shape]))
    return Cost(8 * (A.size + B.size) + 4 * count, 20 * (A.size + B.size + count))


@matmul_integer16.cost
def cost_of_matmul_integer16(A: np.ndarray, B: np.ndarray) -> Cost:
    count = size(product_shape(A.shape, B.shape))
    macs = count * A.shape[-1]
    return Cost(8 * (A.size + B.size) + 12 * count, 4 * macs + 20 * (A.size + B.size + count))


@matmul_integer_to_float.cost
def cost_of_product(A: np.ndarray, B: np.ndarray, *_: Any) -> Cost:
    """The product in integers; then in float, scaled, and with a bias."""
    cost, count = quantize.cost_of_matmul_integer(A, B), size(product_shape(A.shape, B.shape))
    return Cost(max(cost.memory, 16 * count), cost.work + 60 * count)


@dynamic_quantize_matmul.cost
def cost_of_dynamic_quantize_matmul(A: np.ndarray, B: np.ndarray, *_: Any) -> Cost:
    cost = cost_of_product(A, B)
    return Cost(cost.memory + 9 * A.size, cost.work + 100 * A.size)


@q_gemm.cost
def cost_of_q_gemm(
    A: np.ndarray,
    a_scale: Any,
    a_zero_point: Any,
    B: np.ndarray,
    *_: Any,
    transA: int = 0,
    transB: int = 0,
    **__: Any,
) -> Cost:
    a, b = A.T if transA else A, B.T if transB else B
    cost, count = cost_of_product(a, b), size(product_shape(a.shape, b.shape))
    return Cost(max(cost.memory, 24 * count), cost.work + 200 * count)


# rounding has none
declare(
    quantize_linear, mul_integer, matmul_integer16, matmul_integer_to_float,
    dynamic_quantize_matmul, q_gemm,
    vjp=no_gradient,
)  # fmt: skip
