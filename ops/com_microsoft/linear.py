"""Products and convolutions with what comes right after them: a sum, an activation."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import conv, conv_gradients, conv_transpose, fusion, linear
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared import batch, flops, products
from onnxwalk.ops.shared.cost import (
    PER_ITEM,
    multiply_adds,
    product_shape,
    wide_copies,
    wide_itemsize,
)
from onnxwalk.ops.shared.numeric import check_same_dtype, in_float32
from onnxwalk.ops.shared.values import as_ints

_CONV_ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "HardSwish", "LeakyRelu", "HardSigmoid", "Clip")
_GEMM_ACTIVATIONS = tuple(n for n in fusion.ACTIVATIONS if n not in ("HardSwish", "Swish", "Clip"))

# ------------------------------------------------------------------------------------ convolution


@op("FusedConv", since=1, domain=DOMAIN)
@attributes_of(conv.conv)
def fused_conv(x, w, b=None, z=None, *, activation=None, activation_params=None, **attributes):
    """activation(Conv(x, w, b) + z), z of the shape of y

    activation: Relu, Tanh, Sigmoid, HardSwish, LeakyRelu (alpha), HardSigmoid (alpha, beta) or
    Clip (min, max), with its parameters in activation_params; none is the identity.

    Source: com.microsoft.FusedConv-1, ONNX Runtime 1.32.
    """
    attributes |= {"activation": activation, "activation_params": activation_params}
    return prepare_fused_conv(w, b, **attributes)(x, z)


@fused_conv.prepare
def prepare_fused_conv(w, b=None, **attributes):
    """FusedConv with known weights, which are laid out once."""
    return fusion.prepare_conv(w, b, allowed=_CONV_ACTIVATIONS, **attributes)


@fused_conv.vjp
def vjp_of_fused_conv(
    dy, x, w, b, z, *, activation, activation_params, group, kernel_shape, wanted, **windows
):
    """Through the activation of the sum, which is computed again, and the convolution."""
    before = conv.conv(x, w, b, group=group, **windows)
    before = before if z is None else before + z
    given = fusion.parameters_from_list(activation, activation_params)
    dy = fusion.through_activation(dy, before, activation, given)
    shapes = {"x_shape": x.shape, "w_shape": w.shape}
    found = conv_gradients.vjp_of_conv(
        dy, x, w, group=group, kernel_shape=kernel_shape, wanted=wanted, **shapes, **windows
    )
    return *found, dy


@vjp_of_fused_conv.cost
def cost_of_vjp_of_fused_conv(
    dy, x, w, b, z, *, activation, activation_params, wanted, **attributes
):
    again = fusion.cost_of_conv(x, w, b, z, **attributes)
    shapes = {"x_shape": x.shape, "w_shape": w.shape}
    cost = conv_gradients.cost_of_vjp_of_conv(dy, wanted=wanted, **shapes, **attributes)
    more = 8 * wide_itemsize(dy.dtype) * dy.size
    return Cost(again.memory + cost.memory + more, again.work + cost.work + 200 * dy.size)


@op("ConvTransposeWithDynamicPads", since=1, domain=DOMAIN)
@attributes_of(conv_transpose.conv_transpose, without=["output_shape"])
def conv_transpose_with_dynamic_pads(x, w, pads=None, b=None, **attributes):
    """ConvTranspose-11 with pads (2·rank) as an input.

    Source: com.microsoft.ConvTransposeWithDynamicPads-1, ONNX Runtime 1.32.
    """
    pads = None if pads is None else as_ints(pads)
    return conv_transpose.conv_transpose(x, w, b, pads=pads, **attributes)


@conv_transpose_with_dynamic_pads.vjp
def vjp_of_conv_transpose_with_dynamic_pads(dy, x, w, pads, *, wanted, **attributes):
    given = None if pads is None else as_ints(pads)
    of_bias = *wanted[:2], wanted[3]
    dx, dw, db = conv_transpose.vjp_of_conv_transpose(
        dy, x, w, x_shape=x.shape, w_shape=w.shape, pads=given, wanted=of_bias, **attributes
    )
    return dx, dw, None, db


@vjp_of_conv_transpose_with_dynamic_pads.cost
def cost_of_vjp_of_conv_transpose_with_dynamic_pads(dy, x, w, pads, *, wanted, **attributes):
    given = None if pads is None else as_ints(pads)
    return conv_transpose.cost_of_vjp_of_conv_transpose(
        dy, x_shape=x.shape, w_shape=w.shape, pads=given, wanted=wanted, **attributes
    )


# --------------------------------------------------------------------------------------- products


@op("FusedGemm", since=1, domain=DOMAIN)
@attributes_of(linear.gemm)
def fused_gemm(
    a,
    b,
    c=None,
    *,
    activation=None,
    activation_alpha=None,
    activation_beta=None,
    activation_gamma=None,
    **attributes,
):
    """activation(alpha·A·B + beta·C), A and B as in Gemm

    activation: Relu, Tanh, Sigmoid, Softplus, Softsign, LeakyRelu, Elu, Celu, ThresholdedRelu
    (activation_alpha), Selu (alpha, gamma), HardSigmoid or ParametricSoftplus (alpha, beta); none
    is the identity.

    Source: com.microsoft.FusedGemm-1, ONNX Runtime 1.32.
    """
    given = {"alpha": activation_alpha, "beta": activation_beta, "gamma": activation_gamma}
    y = linear.gemm(a, b, c, **attributes)
    return fusion.activation(activation, given, _GEMM_ACTIVATIONS)(y)


@fused_gemm.vjp
def vjp_of_fused_gemm(
    dy, a, b, c, *, activation, activation_alpha, activation_beta, activation_gamma, wanted,
    **attributes,
):  # fmt: skip
    given = {"alpha": activation_alpha, "beta": activation_beta, "gamma": activation_gamma}
    before = linear.gemm(a, b, c, **attributes)
    dy = fusion.through_activation(dy, before, activation, given)
    c_shape = None if c is None else c.shape
    return linear.vjp_of_gemm(dy, a, b, c_shape=c_shape, wanted=wanted, **attributes)


@vjp_of_fused_gemm.cost
def cost_of_vjp_of_fused_gemm(dy, a, b, c, **_):
    cost = linear.cost_of_vjp_of_gemm(dy, a, b)
    more = 10 * wide_itemsize(dy.dtype) * dy.size
    return Cost(2 * cost.memory + more, 2 * cost.work + 200 * dy.size)


@op("FusedMatMul", since=1, domain=DOMAIN)
@in_float32
def fused_matmul(a, b, *, alpha=1.0, transA=0, transB=0, transBatchA=0, transBatchB=0):
    """alpha·A·B over the last two axes; the axes before them broadcast

    transBatchA moves the first axis of A behind its batch axes, (M, B…, K) to (B…, M, K), and
    transA then swaps the last two; so for B. Of a vector nothing is transposed.

    Source: com.microsoft.FusedMatMul-1, ONNX Runtime 1.32.
    """
    check_same_dtype(a, b)
    y = linear.matmul(
        _transpose_matrix(a, transBatchA, transA), _transpose_matrix(b, transBatchB, transB)
    )
    return y if alpha == 1 else (y * alpha).astype(y.dtype, copy=False)


@op("TransposeMatMul", since=1, domain=DOMAIN)
@attributes_of(fused_matmul, without=["transBatchA", "transBatchB"])
def transpose_matmul(a, b, **attributes):
    """FusedMatMul before transBatchA and transBatchB. Source: com.microsoft.TransposeMatMul-1."""
    return fused_matmul(a, b, **attributes)


@op("FusedMatMulActivation", since=1, domain=DOMAIN)
@attributes_of(fused_matmul)
def fused_matmul_activation(
    a,
    b,
    *,
    activation,
    activation_alpha=None,
    activation_axis=None,
    activation_beta=None,
    activation_gamma=None,
    **attributes,
):
    """activation(FusedMatMul(a, b)), with the activations of FusedGemm

    Source: com.microsoft.FusedMatMulActivation-1, ONNX Runtime 1.32 (which runs it on no CPU).
    """
    if activation_axis is not None:
        raise NotImplementedError(
            f"activation_axis {activation_axis} of FusedMatMulActivation is not supported"
        )
    y = fused_matmul(a, b, **attributes)
    given = {"alpha": activation_alpha, "beta": activation_beta, "gamma": activation_gamma}
    return fusion.activation(activation, given, _GEMM_ACTIVATIONS)(y)


@fused_matmul.vjp
@transpose_matmul.vjp
def vjp_of_fused_matmul(dy, a, b, *, alpha, transA, transB, transBatchA=0, transBatchB=0, wanted):
    left = _transpose_matrix(a, transBatchA, transA)
    right = _transpose_matrix(b, transBatchB, transB)
    shapes = {"a_shape": left.shape, "b_shape": right.shape}
    da, db = linear.vjp_of_matmul(dy * dy.dtype.type(alpha), left, right, **shapes, wanted=wanted)
    return (
        None if da is None else _transpose_back(da, transBatchA, transA),
        None if db is None else _transpose_back(db, transBatchB, transB),
    )


@vjp_of_fused_matmul.cost
def cost_of_vjp_of_fused_matmul(dy, a, b, *, transA, transB, transBatchA=0, transBatchB=0, **_):
    left = _transpose_matrix(a, transBatchA, transA)
    right = _transpose_matrix(b, transBatchB, transB)
    cost = linear.cost_of_vjp_of_matmul(dy, a_shape=left.shape, b_shape=right.shape)
    more = wide_itemsize(dy.dtype) * (dy.size + 2 * a.size + 2 * b.size)
    return Cost(cost.memory + more, cost.work + 20 * (a.size + b.size + dy.size))


@fused_matmul_activation.vjp
def vjp_of_fused_matmul_activation(
    dy, a, b, *, activation, activation_alpha, activation_beta, activation_gamma, wanted, alpha,
    transA, transB, transBatchA, transBatchB,
):  # fmt: skip
    given = {"alpha": activation_alpha, "beta": activation_beta, "gamma": activation_gamma}
    attributes = {
        "alpha": alpha, "transA": transA, "transB": transB, "transBatchA": transBatchA,
        "transBatchB": transBatchB,
    }  # fmt: skip
    before = fused_matmul(a, b, **attributes)
    dy = fusion.through_activation(dy, before, activation, given)
    return vjp_of_fused_matmul(dy, a, b, wanted=wanted, **attributes)


@vjp_of_fused_matmul_activation.cost
def cost_of_vjp_of_fused_matmul_activation(dy, a, b, **attributes):
    cost = cost_of_vjp_of_fused_matmul(dy, a, b, **attributes)
    more = 10 * wide_itemsize(dy.dtype) * (dy.size + a.size + b.size)
    return Cost(2 * cost.memory + more, 2 * cost.work + 200 * dy.size)


def _transpose_back(x: np.ndarray, batch: int, last: int) -> np.ndarray:
    """The way back through ``_transpose_matrix``."""
    if x.ndim < 2:
        return x
    x = x.swapaxes(-1, -2) if last else x
    return np.moveaxis(x, -2, 0) if batch else x


def _transpose_matrix(x: np.ndarray, batch: int, last: int) -> np.ndarray:
    """(M, B…, K) to (B…, M, K) if ``batch``; then its last two axes swapped if ``last``."""
    if x.ndim < 2:
        return x
    if batch:
        x = np.moveaxis(x, 0, -2)
    return x.swapaxes(-1, -2) if last else x


@op("Inverse", since=1, domain=DOMAIN)
@in_float32
def inverse(x):
    """X⁻¹ of the square matrices in the last two axes; NaN for a singular one.

    Source: com.microsoft.Inverse-1, ONNX Runtime 1.32.
    """
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"Inverse needs square matrices, not the shape {x.shape}")
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        if x.ndim == 2:
            return np.full_like(x, np.nan)
        return np.stack([inverse(matrix) for matrix in x])


@inverse.vjp
def vjp_of_inverse(dy, *, y):
    """-X⁻ᵀ·dY·X⁻ᵀ"""
    turned = y.swapaxes(-1, -2)
    return -products.matmul(products.matmul(turned, dy), turned)


@vjp_of_inverse.cost
def cost_of_vjp_of_inverse(dy, *, y):
    macs = 2 * y.size * y.shape[-1]
    return Cost(4 * wide_itemsize(y.dtype) * y.size, multiply_adds(macs, y.dtype) + 50 * y.size)


# ------------------------------------------------------------------------------------------- costs


fused_conv.cost(fusion.cost_of_conv)


@conv_transpose_with_dynamic_pads.cost
def cost_of_conv_transpose(
    x: np.ndarray,
    w: np.ndarray,
    pads: np.ndarray | None = None,
    b: np.ndarray | None = None,
    **attributes: Any,
) -> Cost:
    given = None if pads is None else as_ints(pads)
    return conv_transpose.cost_of_conv_transpose(x, w, b, pads=given, **attributes)


@fused_gemm.cost
def cost_of_fused_gemm(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    transA: int = 0,
    transB: int = 0,
    **attributes: Any,
) -> Cost:
    cost = linear.cost_of_gemm(a, b, c, transA=transA, transB=transB, **attributes)
    shape = a.shape[1 if transA else 0], b.shape[0 if transB else 1]
    return fusion.add_activation_cost(cost, shape, wide_itemsize(a.dtype))


@fused_matmul.cost
@transpose_matmul.cost
@fused_matmul_activation.cost
def cost_of_fused_matmul(
    a: np.ndarray,
    b: np.ndarray,
    *,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
    **_: Any,
) -> Cost:
    left, right = (
        _transpose_matrix(a, transBatchA, transA),
        _transpose_matrix(b, transBatchB, transB),
    )
    cost = linear.cost_of_matmul(left, right)
    shape = product_shape(left.shape, right.shape)
    return fusion.add_activation_cost(cost, shape, wide_itemsize(a.dtype), 1)


@inverse.cost
def cost_of_inverse(x: np.ndarray) -> Cost:
    """The inverses; if one matrix is singular, each is computed separately."""
    item, rows = wide_itemsize(x.dtype), x.shape[-1]
    memory = wide_copies(x) + (16 + item) * x.size + 24 * rows * rows  # NumPy inverts doubles
    memory += x.nbytes if wide_copies(x) else 0
    matrices = size(x.shape[:-2])
    macs = 3 * matrices * rows**3
    return Cost(memory, multiply_adds(macs, x.dtype) + 50 * x.size + 30 * PER_ITEM * matrices)


# ------------------------------------------------------------------------------------------- facts

declare(fused_conv, flops=flops.convolution, batch_axis=batch.first_axis, lays_out="w")


@fused_matmul.flops
@transpose_matmul.flops
@fused_matmul_activation.flops
def flops_of_fused_matmul(outputs, a, *others, transA, transBatchA=0, **_):
    return flops.product(outputs, _transpose_matrix(a, transBatchA, transA))
