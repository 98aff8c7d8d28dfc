"""Products and convolutions with what comes right after them: a sum, an activation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import activation as activations
from onnxwalk.ops.ai_onnx import conv as convolution
from onnxwalk.ops.ai_onnx import conv_transpose, linear
from onnxwalk.ops.ai_onnx.pool import max_pool
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.needs import Need, size
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.space import with_bind
from onnxwalk.ops.fast import epilogue
from onnxwalk.ops.shared.needs import (
    PER_ITEM,
    multiply_adds,
    product_shape,
    wide_copies,
    wide_itemsize,
)
from onnxwalk.ops.shared.numeric import check_same_dtype, in_float32
from onnxwalk.ops.shared.values import as_ints

# ----------------------------------------------------------------------------- fused activations

#: the function and its parameters, all of which a node must give
_FUSED: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...]]] = {
    "Relu": (activations.relu, ()),
    "Tanh": (activations.tanh, ()),
    "Sigmoid": (activations.sigmoid, ()),
    "Softplus": (activations.softplus, ()),
    "Softsign": (activations.softsign, ()),
    "HardSwish": (activations.hard_swish, ()),
    "Swish": (activations.swish, ()),
    "LeakyRelu": (activations.leaky_relu, ("alpha",)),
    "Elu": (activations.elu, ("alpha",)),
    "Celu": (activations.celu, ("alpha",)),
    "ThresholdedRelu": (activations.thresholded_relu, ("alpha",)),
    "Selu": (activations.selu, ("alpha", "gamma")),
    "HardSigmoid": (activations.hard_sigmoid, ("alpha", "beta")),
    "ParametricSoftplus": (
        lambda x, alpha, beta: alpha * activations.softplus(beta * x),
        ("alpha", "beta"),
    ),
    "Clip": (lambda x, minimum, maximum: np.clip(x, minimum, maximum), ("minimum", "maximum")),
}
_IN_CONV = ("Relu", "Tanh", "Sigmoid", "HardSwish", "Swish", "LeakyRelu", "HardSigmoid", "Clip")
_IN_GEMM = tuple(name for name in _FUSED if name not in ("HardSwish", "Swish", "Clip"))


def _activation(
    name: str | None, parameters: dict[str, float | None], allowed: Sequence[str] = _IN_GEMM
) -> Callable[[np.ndarray], np.ndarray]:
    """The function that an attribute ``activation`` names; none is the identity."""
    given = {key: value for key, value in parameters.items() if value is not None}
    if not name:
        return lambda x: x
    if name not in allowed:
        raise NotImplementedError(f"activation {name!r} is not one of {', '.join(allowed)}")
    function, wanted = _FUSED[name]
    if set(given) != set(wanted):
        raise ValueError(f"activation {name} takes {list(wanted)}, and {list(given)} are given")
    return lambda x: function(x, **given).astype(x.dtype, copy=False)


def _activation_in_conv(
    name: str | None, parameters: Sequence[float]
) -> Callable[[np.ndarray], np.ndarray]:
    """``_activation`` with its parameters in a list."""
    names = _FUSED[name][1] if name in _FUSED else ()
    if name == "HardSwish" and [round(value, 6) for value in parameters] == [0.166667, 0.5]:
        parameters = ()  # they may come along, but can't be others
    if len(parameters) != len(names):
        raise ValueError(f"activation {name} takes {list(names)}, not {list(parameters)}")
    return _activation(name, dict(zip(names, parameters, strict=True)), _IN_CONV)


# ------------------------------------------------------------------------------------ convolution


@op("FusedConv", since=1, domain=DOMAIN)
def fused_conv(
    x,
    w,
    b=None,
    z=None,
    *,
    activation=None,
    activation_params=None,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
):
    """activation(Conv(x, w, b) + z), z of the shape of y

    activation: Relu, Tanh, Sigmoid, HardSwish, LeakyRelu (alpha), HardSigmoid (alpha, beta) or
    Clip (min, max), with its parameters in activation_params; none is the identity.

    Source: com.microsoft.FusedConv-1, ONNX Runtime 1.32; Swish is this package's own.
    """
    prepared = prepare_fused_conv(
        w,
        b,
        activation=activation,
        activation_params=activation_params,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return prepared(x, z)


@fused_conv.prepare
def prepare_fused_conv(
    w,
    b=None,
    *,
    activation=None,
    activation_params=None,
    _rewritten=False,
    _pool=False,
    **attributes,
):
    """FusedConv with known weights, which are laid out once.

    ``_rewritten``: it was made out of Conv and Add, so that z broadcasts. ``_pool``: the result is
    that of MaxPool over 2 × 2. (The rewrite ``fuse_conv`` sets these.)
    """
    convolved = convolution.prepare_conv(w, b, **attributes)
    activated = _activation_in_conv(activation, activation_params or ())

    def apply(x, z=None):
        y = convolved(x)
        if z is not None:
            check_same_dtype(y, z)
            if z.shape != y.shape and not _rewritten:
                raise ValueError(f"Z {z.shape} should have the shape of the convolution, {y.shape}")
            y = y + z
        y = activated(y)
        return max_pool(y, kernel_shape=(2, 2), strides=(2, 2)) if _pool else y

    bound = getattr(convolved, "bind", None)
    if bound is None:
        return apply

    def bind(space, x, z=None):
        if activation not in (None, *epilogue.NAMES):
            return None
        if z is not None:
            fits = _rewritten or z.shape == convolution.shape_of_conv(x, w, **attributes)
            if z.dtype != x.dtype or not fits:
                return None
        behind = epilogue.activation(activation, activation_params or ())
        return bound(space, x, z, behind, _pool)

    return with_bind(apply, bind, bound.margin)


@op("ConvTransposeWithDynamicPads", since=1, domain=DOMAIN)
def conv_transpose_with_dynamic_pads(
    x,
    w,
    pads=None,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    output_padding=None,
    strides=None,
):
    """ConvTranspose-11 with pads (2·rank) as an input.

    Source: com.microsoft.ConvTransposeWithDynamicPads-1, ONNX Runtime 1.32.
    """
    return conv_transpose.conv_transpose(
        x,
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        output_padding=output_padding,
        pads=None if pads is None else list(as_ints(pads)),
        strides=strides,
    )


# --------------------------------------------------------------------------------------- products


@op("FusedGemm", since=1, domain=DOMAIN)
def fused_gemm(
    a,
    b,
    c=None,
    *,
    activation=None,
    activation_alpha=None,
    activation_beta=None,
    activation_gamma=None,
    alpha=1.0,
    beta=1.0,
    transA=0,
    transB=0,
):
    """activation(alpha·A·B + beta·C), A and B as in Gemm

    activation: Relu, Tanh, Sigmoid, Softplus, Softsign, LeakyRelu, Elu, Celu, ThresholdedRelu
    (activation_alpha), Selu (alpha, gamma), HardSigmoid or ParametricSoftplus (alpha, beta); none
    is the identity.

    Source: com.microsoft.FusedGemm-1, ONNX Runtime 1.32.
    """
    given = {"alpha": activation_alpha, "beta": activation_beta, "gamma": activation_gamma}
    y = linear.gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
    return _activation(activation, given)(y)


@op("FusedMatMul", since=1, domain=DOMAIN)
@in_float32
def fused_matmul(a, b, *, alpha=1.0, transA=0, transB=0, transBatchA=0, transBatchB=0):
    """alpha·A·B over the last two axes; the axes before them broadcast

    transBatchA moves the first axis of A behind its batch axes, (M, B…, K) to (B…, M, K), and
    transA then swaps the last two; so for B. Of a vector nothing is transposed.

    Source: com.microsoft.FusedMatMul-1, ONNX Runtime 1.32.
    """
    check_same_dtype(a, b)
    y = linear.matmul(_transposed(a, transBatchA, transA), _transposed(b, transBatchB, transB))
    return y if alpha == 1 else (y * alpha).astype(y.dtype, copy=False)


@op("TransposeMatMul", since=1, domain=DOMAIN)
def transpose_matmul(a, b, *, alpha=1.0, transA=0, transB=0):
    """FusedMatMul before transBatchA and transBatchB. Source: com.microsoft.TransposeMatMul-1."""
    return fused_matmul(a, b, alpha=alpha, transA=transA, transB=transB)


@op("FusedMatMulActivation", since=1, domain=DOMAIN)
def fused_matmul_activation(
    a,
    b,
    *,
    activation,
    activation_alpha=None,
    activation_axis=None,
    activation_beta=None,
    activation_gamma=None,
    alpha=1.0,
    transA=0,
    transB=0,
    transBatchA=0,
    transBatchB=0,
):
    """activation(FusedMatMul(a, b)), with the activations of FusedGemm

    Source: com.microsoft.FusedMatMulActivation-1, ONNX Runtime 1.32 (which runs it on no CPU).
    """
    if activation_axis is not None:
        raise NotImplementedError(f"activation_axis {activation_axis} of FusedMatMulActivation")
    y = fused_matmul(
        a,
        b,
        alpha=alpha,
        transA=transA,
        transB=transB,
        transBatchA=transBatchA,
        transBatchB=transBatchB,
    )
    given = {"alpha": activation_alpha, "beta": activation_beta, "gamma": activation_gamma}
    return _activation(activation, given)(y)


def _transposed(x: np.ndarray, batch: int, last: int) -> np.ndarray:
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


# ------------------------------------------------------------------------------------------- needs


def _with_activation(need: Need, shape: Iterable[int], item: int, more: int = 2) -> Need:
    """An activation of a result makes one or two more; a sum before it another."""
    count = size(shape)
    return Need(need.memory + more * item * count, need.work + 150 * count)


@fused_conv.needs
def needs_of_fused_conv(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, z: np.ndarray | None = None, **a: Any
) -> Need:
    shape = convolution.shape_of_conv(x, w, **a)
    need = convolution.needs_of_conv(x, w, b, **a)
    return _with_activation(need, shape, wide_itemsize(x.dtype), 1 if z is None else 2)


@conv_transpose_with_dynamic_pads.needs
def needs_of_conv_transpose(
    x: np.ndarray,
    w: np.ndarray,
    pads: np.ndarray | None = None,
    b: np.ndarray | None = None,
    **attributes: Any,
) -> Need:
    given = None if pads is None else as_ints(pads)
    return conv_transpose.needs_of_conv_transpose(x, w, b, pads=given, **attributes)


@fused_gemm.needs
def needs_of_fused_gemm(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    transA: int = 0,
    transB: int = 0,
    **attributes: Any,
) -> Need:
    need = linear.needs_of_gemm(a, b, c, transA=transA, transB=transB, **attributes)
    shape = a.shape[1 if transA else 0], b.shape[0 if transB else 1]
    return _with_activation(need, shape, wide_itemsize(a.dtype))


@fused_matmul.needs
@transpose_matmul.needs
@fused_matmul_activation.needs
def needs_of_fused_matmul(
    a: np.ndarray,
    b: np.ndarray,
    *,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
    **_: Any,
) -> Need:
    left, right = _transposed(a, transBatchA, transA), _transposed(b, transBatchB, transB)
    need = linear.needs_of_matmul(left, right)
    shape = product_shape(left.shape, right.shape)
    return _with_activation(need, shape, wide_itemsize(a.dtype), 1)


@inverse.needs
def needs_of_inverse(x: np.ndarray) -> Need:
    """The inverses; where one of them is singular, each by itself."""
    item, rows = wide_itemsize(x.dtype), x.shape[-1]
    memory = wide_copies(x) + (16 + item) * x.size + 24 * rows * rows  # NumPy inverts doubles
    memory += x.nbytes if wide_copies(x) else 0
    matrices = size(x.shape[:-2])
    macs = 3 * matrices * rows**3
    return Need(memory, multiply_adds(macs, x.dtype) + 50 * x.size + 30 * PER_ITEM * matrices)
