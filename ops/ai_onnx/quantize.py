"""Quantized tensors, y = x / scale + zero_point, and matrix products and convolutions of them.

A scale may apply to the complete tensor (a scalar), to one index of an axis (a vector), or to a
block along an axis; the zero point has its shape (``_broadcast_scale``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.cast import convert
from onnxwalk.ops.ai_onnx.conv import check_bias, check_weights, conv, cost_of_conv, shape_of_conv
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.dtypes import element_type, is_short_float, numpy_dtype
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.fast.quantize import bind_dequantize_linear, bind_quantize_linear
from onnxwalk.ops.shared import flops, products, types
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import product_shape, product_work, wide_itemsize
from onnxwalk.ops.shared.numeric import saturating_cast, wide
from onnxwalk.ops.shared.windows import AUTO_PAD

_SMALL_FLOATS = (
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "float4e2m1",
    "float6e2m3",
    "float6e3m2",
)
_FLOAT = 1  # TensorProto.DataType
_SMALL_INTEGERS = ("int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2")


@op("QuantizeLinear", since=13, without=["saturate", "block_size", "output_dtype", "precision"])
@op("QuantizeLinear", since=23)
def quantize_linear(
    x,
    y_scale,
    y_zero_point=None,
    *,
    axis=1,
    block_size=0,
    output_dtype=0,
    precision=0,
    saturate=1,
):
    """saturate(round(x / y_scale) + y_zero_point), halves to even

    y_scale: a scalar, (D_axis), or the shape of x with ceil(D_axis / block_size) along ``axis``;
    y_zero_point of its shape says the type of y, or ``output_dtype`` does; uint8 by default.
    The quotient has the type of y_scale (float8e8m0: float), or that of ``precision``.
    Small floats are rounded by the cast and not before.

    Spec: QuantizeLinear-13, -23, -24, -25, -28.
    """
    dtype = np.dtype(np.uint8) if y_zero_point is None else y_zero_point.dtype
    if output_dtype:
        expected = numpy_dtype(output_dtype)
        if y_zero_point is not None and expected != dtype:
            raise ValueError(f"output_dtype {expected} and y_zero_point ({dtype}) differ in type")
        dtype = expected
    scale, zero_point = _broadcast_scale(y_scale, y_zero_point, x.shape, axis, block_size)
    division_dtype = numpy_dtype(precision) if precision else _division_dtype(y_scale.dtype)
    quotient = np.asarray(wide(x.astype(division_dtype) / scale.astype(division_dtype)))
    return _saturate(quotient, zero_point, dtype, saturate)


quantize_linear.bind(bind_quantize_linear)


@op("QuantizeLinear", since=19, without=["block_size", "output_dtype"])
@op("QuantizeLinear", since=21)
@attributes_of(quantize_linear, without=["precision"])
def quantize_linear_19(x, y_scale, y_zero_point=None, **attributes):
    """QuantizeLinear before it said in which type to divide: float, where x is a short float

    Spec: QuantizeLinear-19, -21, which leave it open; this is what ONNX Runtime does.
    """
    precision = _FLOAT if is_short_float(y_scale.dtype) else 0
    return quantize_linear(x, y_scale, y_zero_point, precision=precision, **attributes)


quantize_linear_19.bind(bind_quantize_linear)


@op("QuantizeLinear", since=10)
def quantize_linear_10(x, y_scale, y_zero_point=None):
    """QuantizeLinear with one scale for the tensor. Spec: QuantizeLinear-10."""
    return quantize_linear(x, *_check_scalars(y_scale, y_zero_point))


@op("DequantizeLinear", since=13, without=["block_size", "output_dtype"])
@op("DequantizeLinear", since=21, without=["output_dtype"])
@op("DequantizeLinear", since=23)
def dequantize_linear(x, x_scale, x_zero_point=None, *, axis=1, block_size=0, output_dtype=0):
    """(x - x_zero_point)·x_scale

    x_scale and x_zero_point as in QuantizeLinear. y has the type of x_scale, or ``output_dtype``;
    short floats are multiplied in float and rounded once.

    Spec: DequantizeLinear-13, -19, -21, -23, -24, -25, -28.
    """
    dtype = numpy_dtype(output_dtype) if output_dtype else x_scale.dtype
    if element_type(dtype).name not in ("float", "float16", "bfloat16"):
        raise ValueError(
            f"the output of DequantizeLinear should be float, float16 or bfloat16, not {dtype}"
        )
    if x_zero_point is not None and x_zero_point.dtype != x.dtype:
        raise ValueError(f"x_zero_point ({x_zero_point.dtype}) and x ({x.dtype}) differ in type")
    scale, zero_point = _broadcast_scale(x_scale, x_zero_point, x.shape, axis, block_size)
    # int32 differences are exact in float64 only
    steps = x.astype(np.float64 if x.dtype == np.int32 else np.float32)
    if x_zero_point is not None:
        steps -= zero_point.astype(steps.dtype)
    y = steps.astype(np.float32, copy=False)
    y *= scale.astype(np.float32)
    return y.astype(dtype, copy=False)


dequantize_linear.bind(bind_dequantize_linear)


@op("DequantizeLinear", since=10)
def dequantize_linear_10(x, x_scale, x_zero_point=None):
    """DequantizeLinear with one scale for the tensor. Spec: DequantizeLinear-10."""
    return dequantize_linear(x, *_check_scalars(x_scale, x_zero_point))


@dequantize_linear.vjp
def vjp_of_dequantize_linear(dy, x, x_zero_point, *, x_scale_shape, axis=1, block_size=0):
    """(x - x_zero_point)·dy to the scale; x is of whole numbers, or of floats of 8 bits or fewer,
    which have no gradient."""
    ones = np.ones(x_scale_shape, np.float32)
    _, zero_point = _broadcast_scale(ones, x_zero_point, x.shape, axis, block_size)
    products = dy * (x.astype(dy.dtype) - zero_point.astype(dy.dtype))
    if block_size and len(x_scale_shape):
        starts = np.arange(0, x.shape[axis], block_size)
        return None, np.add.reduceat(products, starts, axis)
    if math.prod(x_scale_shape) == 1:
        return None, products.sum().reshape(x_scale_shape)
    others = [i for i in range(x.ndim) if i != normalize_axis(axis, x.ndim)]
    return None, products.sum(tuple(others))


@dequantize_linear_10.vjp
def vjp_of_dequantize_linear_10(dy, x, x_zero_point, *, x_scale_shape):
    zero_point = None if x_zero_point is None else x_zero_point.reshape(())
    _, d_scale = vjp_of_dequantize_linear(dy, x, zero_point, x_scale_shape=())
    return None, d_scale.reshape(x_scale_shape)


@vjp_of_dequantize_linear.cost
@vjp_of_dequantize_linear_10.cost
def cost_of_vjp_of_dequantize_linear(dy, x, x_zero_point, *, x_scale_shape, **_):
    """The products and their factors; in blocks a zero point for each element."""
    scale = np.broadcast_to(np.float32(0), x_scale_shape)
    memory = 3 * wide_itemsize(dy.dtype) * x.size + _cost_of_blocks(x, scale, x_zero_point)
    return Cost(memory + 16 * scale.size, 60 * x.size)


@op("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(x):
    """QuantizeLinear of x to uint8 with a scale computed from its range, extended to include 0

    y_scale = (max(0, max(x)) - min(0, min(x))) / 255
    y_zero_point = round(-min(0, min(x)) / y_scale)

    For a tensor of zeros (or of nothing), where the formula divides 0 by 0, scale is 1 and the rest
    0, as in ONNX Runtime.

    Spec: DynamicQuantizeLinear-11.
    """
    scale, zero_point = dynamic_parameters(x)
    return quantize_linear(x, scale, zero_point), scale, zero_point


def dynamic_parameters(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DynamicQuantizeLinear's scale (float32) and zero point (uint8)."""
    lowest, highest = np.minimum(0, x.min(initial=0)), np.maximum(0, x.max(initial=0))
    scale = np.asarray((highest - lowest) / np.float32(255), np.float32)
    if scale == 0:
        scale = np.ones((), np.float32)
    return scale, _saturate(np.asarray(-lowest / scale), np.float32(0), np.dtype(np.uint8))


@op("MatMulInteger", since=10)
def matmul_integer(a, b, a_zero_point=None, b_zero_point=None):
    """(A - a_zero_point) @ (B - b_zero_point), added up in int32

    A (…, M, K), B (…, K, N) int8 or uint8; a_zero_point a scalar, (M) or (…, M, 1); b_zero_point a
    scalar, (N) or (…, 1, N).

    Spec: MatMulInteger-10.
    """
    sums = _integer_product(a, a_zero_point, b, b_zero_point)
    return np.asarray(sums.astype(np.int64).astype(np.int32))  # wraps around


@op("QLinearMatMul", since=10)
@op("QLinearMatMul", since=21)
def q_linear_matmul(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point):
    """saturate(round((A - a_zero_point) @ (B - b_zero_point)·a_scale·b_scale / y_scale)
    + y_zero_point)

    Shapes as in MatMulInteger; scales have the shape of their zero points; int8, uint8 or float8.

    Spec: QLinearMatMul-10, QLinearMatMul-21.
    """
    sums = _integer_product(a, a_zero_point, b, b_zero_point)
    scale = _factor(_per_row("a_scale", a_scale, a), _per_column("b_scale", b_scale, b), y_scale)
    quotient = np.asarray(sums.astype(np.float32) * scale)
    return _saturate(quotient, _as_scalar("y_zero_point", y_zero_point), y_zero_point.dtype)


@op("ConvInteger", since=10)
@attributes_of(conv)
def conv_integer(x, w, x_zero_point=None, w_zero_point=None, **attributes):
    """Conv of x - x_zero_point and w - w_zero_point, added up in int32

    x and w int8 or uint8; x_zero_point one value, w_zero_point one value or one for each output
    channel; y int32. Padding counts as x_zero_point.

    Spec: ConvInteger-10.
    """
    check_weights(w, attributes.get("kernel_shape"))
    # The sums are exact in float64 (a product takes 17 bits), where there is a fast GEMM.
    shifted_x, shifted_w = x.astype(np.float64), w.astype(np.float64)
    shifted_x -= _as_scalar("x_zero_point", x_zero_point)
    shifted_w -= _per_channel("w_zero_point", w_zero_point, w)
    sums = conv(shifted_x, shifted_w, **attributes)
    return sums.astype(np.int64).astype(np.int32)  # wraps around, as 32-bit accumulation does


@op("QLinearConv", since=10)
@attributes_of(conv)
def q_linear_conv(
    x,
    x_scale,
    x_zero_point,
    w,
    w_scale,
    w_zero_point,
    y_scale,
    y_zero_point,
    b=None,
    **attributes,
):
    """saturate(round((ConvInteger(x, w) + b) * x_scale * w_scale / y_scale) + y_zero_point)

    x, w and y int8 or uint8, b int32 (M); w_scale and w_zero_point one value or one for each
    output channel. Rounds half to even.

    Spec: QLinearConv-10.
    """
    sums = conv_integer(x, w, x_zero_point, w_zero_point, **attributes)
    per_channel = (-1, *[1] * (w.ndim - 2))
    if b is not None:
        check_bias(b, w.shape[0])
        sums = sums + b.reshape(per_channel)
    scale = _per_channel("w_scale", w_scale, w)
    scale = scale.reshape(per_channel) if scale.ndim else scale
    quotient = sums.astype(np.float32) * _factor(_as_scalar("x_scale", x_scale), scale, y_scale)
    return _saturate(quotient, _as_scalar("y_zero_point", y_zero_point), y_zero_point.dtype)


def _factor(a_scale: np.ndarray, b_scale: np.ndarray, y_scale: np.ndarray) -> np.ndarray:
    """a_scale·b_scale / y_scale, each rounded to float32 as in ONNX Runtime: a sum halfway between
    two steps rounds the same."""
    product = a_scale.astype(np.float32) * b_scale.astype(np.float32)
    return np.asarray(product / _as_scalar("y_scale", y_scale).astype(np.float32))


def _saturate(
    quotient: np.ndarray, zero_point: np.ndarray, dtype: np.dtype, saturate: int = 1
) -> np.ndarray:
    """The quotient plus the zero point in a small type, rounded and clipped to its range.
    Overwrites the quotient."""
    element = element_type(dtype).name
    if element in _SMALL_FLOATS:
        shifted = np.asarray(quotient + zero_point.astype(quotient.dtype))
        return convert(shifted, dtype, saturate=saturate)
    if element not in _SMALL_INTEGERS:
        raise ValueError(f"can't quantize to {element}")
    y = np.rint(quotient, out=quotient)
    y += zero_point.astype(y.dtype)
    return saturating_cast(y, dtype)


def _division_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype to divide in: the type of the scale, if it can hold a quotient."""
    if element_type(dtype).name == "float8e8m0":
        return np.dtype(np.float32)
    return np.dtype(np.float64) if dtype.kind in "iu" else dtype


def _check_scalars(scale: np.ndarray, zero_point: np.ndarray | None) -> list[np.ndarray]:
    for name, value in (("scale", scale), ("zero point", zero_point)):
        if value is not None and value.size != 1:
            raise ValueError(f"{name} {value.shape} should be a scalar before opset 13")
    return [value.reshape(()) for value in (scale, zero_point) if value is not None]


def _broadcast_scale(
    scale: np.ndarray, zero_point: np.ndarray | None, shape: tuple[int, ...], axis: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point (0 for none) in a shape that broadcasts to that of the tensor."""
    if zero_point is None:
        zero_point = np.zeros((), np.int8)
    elif zero_point.shape != scale.shape and (zero_point.size, scale.size) != (1, 1):
        raise ValueError(f"zero point {zero_point.shape} and scale {scale.shape} differ in shape")
    if block < 0:
        raise ValueError(f"block_size {block} should be positive")
    if block and scale.ndim:
        if scale.ndim != len(shape):
            raise ValueError(f"scale {scale.shape} and tensor {shape} differ in rank")
        axis = normalize_axis(axis, len(shape))
        blocks = (*shape[:axis], -(-shape[axis] // block), *shape[axis + 1 :])
        if scale.shape != blocks:
            raise ValueError(
                f"scale {scale.shape} should be {blocks}: blocks of {block} along axis {axis}"
            )
        which = np.arange(shape[axis]) // block
        zero_point = zero_point if zero_point.ndim == 0 else np.take(zero_point, which, axis)
        return np.take(scale, which, axis), zero_point
    if scale.size == 1 and scale.ndim <= 1:
        return scale.reshape(()), zero_point.reshape(-1)[0]
    if scale.ndim != 1:
        raise ValueError(f"scale {scale.shape} should be a scalar or (D), or come with block_size")
    axis = normalize_axis(axis, len(shape))
    if scale.shape != (shape[axis],):
        raise ValueError(f"scale {scale.shape} should be ({shape[axis]},) for axis {axis}")
    along = [-1 if i == axis else 1 for i in range(len(shape))]
    zero_point = zero_point if zero_point.ndim == 0 else zero_point.reshape(along)
    return scale.reshape(along), zero_point


def _integer_product(
    a: np.ndarray, a_zero_point: np.ndarray | None, b: np.ndarray, b_zero_point: np.ndarray | None
) -> np.ndarray:
    """The matrix product of both minus their zero points: exact in float64, which has a GEMM."""
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"can't multiply matrices of shapes {a.shape} and {b.shape}")
    shifted_a, shifted_b = a.astype(np.float64), b.astype(np.float64)
    shifted_a -= _per_row("a_zero_point", a_zero_point, a)
    shifted_b -= _per_column("b_zero_point", b_zero_point, b)
    return np.asarray(products.matmul(shifted_a, shifted_b))


def _per_row(name: str, value: np.ndarray | None, a: np.ndarray) -> np.ndarray:
    """A scalar, or one value for each row of the matrices a (…, M, K)."""
    if value is None or value.size == 1:
        return _as_scalar(name, value)
    if a.ndim == 2 and value.shape == (a.shape[0],):
        value = value[:, None]
    if a.ndim < 2 or value.shape != (*a.shape[:-1], 1):
        raise ValueError(f"{name} {value.shape} should be a scalar or one value for each row")
    return value.astype(np.float64)


def _per_column(name: str, value: np.ndarray | None, b: np.ndarray) -> np.ndarray:
    """A scalar, or one value for each column of the matrices b (…, K, N)."""
    if value is None or value.size == 1:
        return _as_scalar(name, value)
    if b.ndim < 2 or value.shape not in ((b.shape[-1],), (*b.shape[:-2], 1, b.shape[-1])):
        raise ValueError(f"{name} {value.shape} should be a scalar or one value for each column")
    return value.astype(np.float64)


def _as_scalar(name: str, value: np.ndarray | None) -> np.ndarray:
    """A scalar, which may come as a tensor of one element."""
    if value is None:
        return np.array(0.0)
    if value.size != 1:
        raise ValueError(f"{name} {value.shape} should be a scalar")
    return value.reshape(()).astype(np.float64)


def _per_channel(name: str, value: np.ndarray | None, w: np.ndarray) -> np.ndarray:
    """A scalar, or one value for each output channel shaped to broadcast to the weights."""
    if value is None or value.size == 1:
        return _as_scalar(name, value)
    if value.shape != (w.shape[0],):
        raise ValueError(f"{name} {value.shape} should be a scalar or ({w.shape[0]},)")
    return value.astype(np.float64).reshape(-1, *[1] * (w.ndim - 1))


# ------------------------------------------------------------------------------------------- costs


def _cost_of_blocks(x: np.ndarray, scale: np.ndarray, *zero_points: Any) -> int:
    """Bytes of the scale and zero point of each element, as they are and in float."""
    if scale.ndim != x.ndim or x.ndim < 2:
        return 32 * scale.size
    given = [value for value in (scale, *zero_points) if value is not None]
    return sum((value.itemsize + 4) * x.size for value in given)


@quantize_linear.cost
@quantize_linear_19.cost
@quantize_linear_10.cost
def cost_of_quantize_linear(
    x: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray | None = None,
    *,
    output_dtype: int = 0,
    precision: int = 0,
    **_: Any,
) -> Cost:
    """x in the dtype to divide in, the quotient in a wide dtype, and the result; small floats need
    a few more arrays to round."""
    dtype = np.dtype(np.uint8) if y_zero_point is None else y_zero_point.dtype
    if output_dtype:
        dtype = numpy_dtype(output_dtype)
    division_dtype = numpy_dtype(precision) if precision else _division_dtype(y_scale.dtype)
    each = (
        2 * division_dtype.itemsize + (4 if is_short_float(division_dtype) else 0) + dtype.itemsize
    )
    if element_type(dtype).name not in _SMALL_INTEGERS:
        each += 24
    memory = each * x.size + _cost_of_blocks(x, y_scale, y_zero_point)
    return Cost(memory, (50 if element_type(dtype).name in _SMALL_INTEGERS else 300) * x.size)


@dequantize_linear.cost
@dequantize_linear_10.cost
def cost_of_dequantize_linear(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero_point: np.ndarray | None = None,
    *,
    output_dtype: int = 0,
    **_: Any,
) -> Cost:
    dtype = numpy_dtype(output_dtype) if output_dtype else x_scale.dtype
    each = (12 if x.dtype == np.int32 else 4) + (0 if dtype == np.float32 else dtype.itemsize)
    return Cost(each * x.size + _cost_of_blocks(x, x_scale, x_zero_point), 30 * x.size)


@dynamic_quantize_linear.cost
def cost_of_dynamic_quantize_linear(x: np.ndarray) -> Cost:
    one = np.ones((), np.float32)
    return cost_of_quantize_linear(x, one)


@matmul_integer.cost
def cost_of_matmul_integer(a: np.ndarray, b: np.ndarray, *_: Any, **__: Any) -> Cost:
    """Both in double, their product, and that as integers of 64 and 32 bits."""
    y = size(product_shape(a.shape, b.shape))
    work = product_work(a.shape, b.shape, np.dtype(np.float64))
    return Cost(8 * (a.size + b.size) + 20 * y, work + 20 * (a.size + b.size + y))


@q_linear_matmul.cost
def cost_of_q_linear_matmul(
    a: np.ndarray, a_scale: Any, a_zero_point: Any, b: np.ndarray, *_: Any
) -> Cost:
    cost = cost_of_matmul_integer(a, b)
    return Cost(cost.memory, cost.work + 60 * size(product_shape(a.shape, b.shape)))


@conv_integer.cost
def cost_of_conv_integer(x: np.ndarray, w: np.ndarray, *_: Any, **attributes: Any) -> Cost:
    """Both in double, and the result of Conv as integers of 64 and 32 bits."""
    wide_x, wide_w = (np.broadcast_to(np.zeros(()), v.shape) for v in (x, w))
    cost = cost_of_conv(wide_x, wide_w, **attributes)
    y = size(shape_of_conv(x, w, **attributes))
    return Cost(cost.memory + 8 * (x.size + w.size) + 12 * y, cost.work + 30 * (x.size + y))


@q_linear_conv.cost
def cost_of_q_linear_conv(
    x: np.ndarray, x_scale: Any, x_zero_point: Any, w: np.ndarray, *_: Any, **attributes: Any
) -> Cost:
    cost = cost_of_conv_integer(x, w, **attributes)
    return Cost(cost.memory, cost.work + 60 * size(shape_of_conv(x, w, **attributes)))


conv_integer.flops(flops.convolution)
matmul_integer.flops(flops.product)
declare(conv_integer, q_linear_conv, choices=AUTO_PAD)
declare(
    quantize_linear,
    quantize_linear_19,
    dequantize_linear,
    output_type=types.from_attribute("output_dtype"),
)
# rounding has none
declare(
    quantize_linear, quantize_linear_19, quantize_linear_10, dynamic_quantize_linear,
    matmul_integer, q_linear_matmul, conv_integer, q_linear_conv,
    vjp=no_gradient,
)  # fmt: skip
