"""The Gelu family as the optimizer fuses it. Elementwise: y has the shape of x."""

from __future__ import annotations

from functools import partial

import numpy as np

from onnxwalk.ops.ai_onnx import activation
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.elementwise import bind_quick_gelu
from onnxwalk.ops.fast.error_function import bind_bias_gelu, bind_gelu
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.cost import elementwise
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import check_same_dtype, in_float32


@op("Gelu", since=1, domain=DOMAIN)
def gelu(x):
    """x/2·(1 + erf(x/√2)). Source: com.microsoft.Gelu-1, ONNX Runtime 1.32."""
    return activation.gelu(x)


@op("BiasGelu", since=1, domain=DOMAIN)
@in_float32
def bias_gelu(a, b):
    """Gelu(a + b), b (D) added along the last axis. Source: com.microsoft.BiasGelu-1."""
    return activation.gelu(a + _check_bias(b, a))


@op("FastGelu", since=1, domain=DOMAIN)
@in_float32
def fast_gelu(x, bias=None):
    """v/2·(1 + tanh(√(2/π)·(v + 0.044715·v³))) of v = x + bias, bias (D).

    Source: com.microsoft.FastGelu-1, ONNX Runtime 1.32.
    """
    return activation.gelu(x if bias is None else x + _check_bias(bias, x), approximate="tanh")


@op("QuickGelu", since=1, domain=DOMAIN)
@in_float32
def quick_gelu(x, *, alpha=1.7020000219345093):
    """x·sigmoid(alpha·x). Source: com.microsoft.QuickGelu-1, ONNX Runtime 1.32."""
    return activation.swish(x, alpha=alpha)


@op("BiasSplitGelu", since=1, domain=DOMAIN)
@in_float32
def bias_split_gelu(x, bias):
    """left·Gelu(right), the halves of the last axis of x + bias: (N, S, D) to (N, S, D/2).

    Source: com.microsoft.BiasSplitGelu-1, ONNX Runtime 1.32.
    """
    if not x.ndim or x.shape[-1] % 2:
        raise ValueError(f"the last axis of x {x.shape} should have an even size")
    half = x.shape[-1] // 2
    v = x + _check_bias(bias, x)
    return v[..., :half] * activation.gelu(v[..., half:])


@gelu.vjp
def vjp_of_gelu(dy, x):
    return activation.vjp_of_gelu(dy, x, approximate="none")


@bias_gelu.vjp
def vjp_of_bias_gelu(dy, a, b):
    dv = activation.vjp_of_gelu(dy, a + b, approximate="none")
    return dv, reduce_to(dv, b.shape)


@fast_gelu.vjp
def vjp_of_fast_gelu(dy, x, bias):
    dv = activation.vjp_of_gelu(dy, x if bias is None else x + bias, approximate="tanh")
    return dv, None if bias is None else reduce_to(dv, bias.shape)


@quick_gelu.vjp
def vjp_of_quick_gelu(dy, x, *, alpha):
    return activation.vjp_of_swish(dy, x, alpha=alpha)


@bias_split_gelu.vjp
def vjp_of_bias_split_gelu(dy, x, bias):
    left, right = np.split(x + bias, 2, axis=-1)
    d_right = activation.vjp_of_gelu(dy * left, right, approximate="none")
    dv = np.concatenate([dy * activation.gelu(right), d_right], axis=-1)
    return dv, reduce_to(dv, bias.shape)


declare(
    vjp_of_gelu, vjp_of_bias_gelu, vjp_of_fast_gelu,
    cost=lambda dy, *_, **__: elementwise(12, widened=True, per_element=400)(dy),
)  # fmt: skip
vjp_of_bias_split_gelu.cost(lambda dy, *_: elementwise(20, widened=True, per_element=800)(dy))


def _check_bias(bias, x):
    """The bias; ValueError unless it has one value for each index of the last axis."""
    check_same_dtype(x, bias)
    if bias.shape != x.shape[-1:]:
        raise ValueError(f"bias {bias.shape} should be {x.shape[-1:]} for x of {x.shape}")
    return bias


gelu.cost(elementwise(blockwise=8, per_element=150))
quick_gelu.cost(elementwise(2, widened=True, per_element=150))
declare(bias_gelu, fast_gelu, cost=elementwise(2, widened=True, per_element=200))
bias_split_gelu.cost(elementwise(2.5, widened=True, per_element=200))


gelu.bind(bind_gelu)
quick_gelu.bind(bind_quick_gelu)
bias_gelu.bind(bind_bias_gelu)
fast_gelu.bind(partial(bind_bias_gelu, approximate="tanh"))


gelu.batch_axis(batch.elementwise)
gelu.flops(flops.per_output(6))
