"""Gates, branches and normalizations that the newest language models fuse. All are computed in
float, and rounded to the type of the first input where the formula says [·], or at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.activation import sigmoid, swish, vjp_of_swish
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.attention import refuse_unsupported
from onnxwalk.ops.contract.cost import Cost, arrays_in
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import flops, products
from onnxwalk.ops.shared.cost import wide_copies, wide_itemsize
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import wide


@op("ScaledSiLU", since=1, domain=DOMAIN)
def scaled_silu(X, scale=None, *, alpha=1.0):
    """z·[sigmoid(z)] with z = [scale·X]; without the scalar ``scale`` it is alpha

    Source: com.microsoft.ScaledSiLU-1, ONNX Runtime 1.32.
    """
    if scale is not None and scale.size != 1:
        raise ValueError(f"scale {scale.shape} should be one number")
    factor = np.float32(alpha) if scale is None else wide(scale).reshape(())
    z = wide((factor * wide(X)).astype(X.dtype, copy=False))
    gate = wide(sigmoid(z).astype(X.dtype, copy=False))
    return (z * gate).astype(X.dtype, copy=False)


@op("GatedAdd", since=1, domain=DOMAIN)
def gated_add(X, Y, gate, gate_weight=None):
    """X + [Y·gate], X and Y (…, C), gate (…, 1). Source: com.microsoft.GatedAdd-1."""
    refuse_unsupported(gate_weight=gate_weight)
    if X.shape != Y.shape or gate.shape != (*X.shape[:-1], 1):
        raise ValueError(f"X {X.shape}, Y {Y.shape}, gate {gate.shape}: (…, C), (…, C), (…, 1)")
    product = (wide(Y) * wide(gate)).astype(X.dtype, copy=False)
    return (wide(X) + wide(product)).astype(X.dtype, copy=False)


@op("GatedRMSNorm", since=1, domain=DOMAIN)
def gated_rms_norm(X, scale, gate, *, activation="silu", epsilon=9.999999747378752e-06):
    """x / √(mean(x²) + ε)·scale·f(gate), the mean over each C values of the last axis

    X and gate (…, H·C), scale (C); f is silu (or swish, the same) or sigmoid.

    Source: com.microsoft.GatedRMSNorm-1, ONNX Runtime 1.32.
    """
    if scale.ndim != 1 or not scale.size or X.ndim < 1 or X.shape[-1] % scale.size:
        raise ValueError(f"scale {scale.shape} should divide the last axis of X {X.shape}")
    if gate.shape != X.shape:
        raise ValueError(f"gate {gate.shape} should have the shape of X, {X.shape}")
    groups = wide(X).reshape(*X.shape[:-1], X.shape[-1] // scale.size, scale.size)
    normalized = _rms(groups, epsilon) * wide(scale)
    f = sigmoid if activation == "sigmoid" else swish
    return (normalized.reshape(X.shape) * f(wide(gate))).astype(X.dtype, copy=False)


gated_rms_norm.choices({"activation": "silu swish sigmoid"})


def _rms(x: np.ndarray, epsilon: float) -> np.ndarray:
    """x / √(mean(x²) + ε) along the last axis."""
    if not x.size:  # there is no mean of nothing, and there may be many of them
        return x
    mean = np.square(x).mean(-1, keepdims=True, dtype=x.dtype)
    return x / np.sqrt(mean + x.dtype.type(epsilon))


@op("BranchwiseRMSNorm", since=1, domain=DOMAIN)
def branchwise_rms_norm(X, scale=None, *, epsilon=9.999999747378752e-06, num_branches=0):
    """x / √(mean(x²) + ε)·scale of each of C branches, the mean over its H features

    X (…, C, H), or (…, C·H) with num_branches C; scale (C·H), (C, H) or (H).

    Source: com.microsoft.BranchwiseRMSNorm-1, ONNX Runtime 1.32.
    """
    x = _branches(X, num_branches)
    y = _rms(x, epsilon)
    if scale is not None:
        branches, features = x.shape[-2:]
        if scale.shape not in ((branches * features,), (branches, features), (features,)):
            raise ValueError(f"scale {scale.shape} doesn't fit branches {x.shape[-2:]}")
        y = y * wide(scale).reshape(-1, features)
    return y.reshape(X.shape).astype(X.dtype, copy=False)


@op("HyperConnectionPreMix", since=1, domain=DOMAIN)
def hyper_connection_pre_mix(streams, pre_mix, *, num_branches=0, reduction_scale=1.0):
    """y[…, h] = reduction_scale·Σ streams[…, c, h]·pre_mix[…, c, h] over the branches c

    streams (…, C, H), or (…, C·H) with num_branches C; pre_mix (…, C), (…, C, 1) or of the shape of
    streams; y (…, H).

    Source: com.microsoft.HyperConnectionPreMix-1, ONNX Runtime 1.32.
    """
    x = _branches(streams, num_branches)
    y = (x * _mix_of(pre_mix, x, "pre_mix")).sum(-2, dtype=x.dtype) * x.dtype.type(reduction_scale)
    return y.astype(streams.dtype, copy=False)


@op("HyperConnectionPostMix", since=1, domain=DOMAIN)
def hyper_connection_post_mix(streams, block_output, post_mix, stream_mix=None, *, num_branches=0):
    """y[…, k, h] = Σ stream_mix[…, c, k]·streams[…, c, h] + post_mix[…, k, h]·block_output[…, h]

    streams (…, C, H), or (…, C·H) with num_branches C; block_output (…, H); post_mix (…, C),
    (…, C, 1) or (…, C, H); stream_mix (…, C, C), by default the identity.

    Source: com.microsoft.HyperConnectionPostMix-1, ONNX Runtime 1.32.
    """
    x = _branches(streams, num_branches)
    if block_output.shape != (*x.shape[:-2], x.shape[-1]):
        raise ValueError(f"block_output {block_output.shape} doesn't fit streams {streams.shape}")
    added = _mix_of(post_mix, x, "post_mix") * wide(block_output)[..., None, :]
    if stream_mix is not None:
        if stream_mix.shape != (*x.shape[:-1], x.shape[-2]):
            raise ValueError(f"stream_mix {stream_mix.shape} doesn't fit streams {streams.shape}")
        x = products.matmul(wide(stream_mix).swapaxes(-1, -2), x)
    return (x + added).reshape(streams.shape).astype(streams.dtype, copy=False)


def _branches(x: np.ndarray, count: int) -> np.ndarray:
    """(…, C, H) in float."""
    if count and (x.ndim < 1 or count < 0 or x.shape[-1] % count):
        raise ValueError(f"{count} branches don't divide the last axis of {x.shape}")
    if not count and x.ndim < 2:
        raise ValueError(f"{x.shape} should be (…, branches, features)")
    return wide(x).reshape(*x.shape[:-1], count, x.shape[-1] // count) if count else wide(x)


def _mix_of(mix: np.ndarray, x: np.ndarray, name: str) -> np.ndarray:
    """A factor for each branch, or for each of its features."""
    if mix.shape == x.shape[:-1]:
        return wide(mix)[..., None]
    if mix.shape not in ((*x.shape[:-1], 1), x.shape, (*x.shape[:-2], x.shape[-2] * x.shape[-1])):
        raise ValueError(f"{name} {mix.shape} doesn't fit branches {x.shape}")
    return wide(mix).reshape(*x.shape[:-1], -1)


@op("EngramGate", since=1, domain=DOMAIN)
def engram_gate(
    key,
    query,
    value,
    key_norm_scale,
    query_norm_scale,
    conv_norm_scale=None,
    *,
    epsilon=9.999999747378752e-06,
    n_outputs=1,
):
    """sigmoid(sign(d)·√max(|d|, 1e-6))·value with d = Σ n(key)·n(query) / √H, and n of that

    n(x) = x / √(mean(x²) + ε), times its scale (C, H); key and query (B, S, C, H), value (B, S, H);
    both results (B, S, C, H), the second only with conv_norm_scale.

    Source: com.microsoft.EngramGate-1, ONNX Runtime 1.32.
    """
    if key.ndim != 4 or query.shape != key.shape or value.shape != (*key.shape[:2], key.shape[3]):
        raise ValueError(
            f"key {key.shape}, query {query.shape}, value {value.shape} should be (B, S, C, H) "
            "twice and (B, S, H)"
        )
    if n_outputs > 1 and conv_norm_scale is None:
        raise ValueError("gated_value_normed needs conv_norm_scale")
    k, q = (
        _rms(wide(x), epsilon) * wide(scale)
        for x, scale in ((key, key_norm_scale), (query, query_norm_scale))
    )
    d = (k * q).sum(-1, keepdims=True, dtype=k.dtype) / np.sqrt(k.dtype.type(key.shape[3]))
    gate = sigmoid(np.sign(d) * np.sqrt(np.maximum(np.abs(d), k.dtype.type(1e-6))))
    gated = gate * wide(value)[:, :, None]
    output = gated.astype(key.dtype, copy=False)
    if conv_norm_scale is None:
        return output, None
    return output, (_rms(gated, epsilon) * wide(conv_norm_scale)).astype(key.dtype, copy=False)


# ------------------------------------------------------------------------------------- gradients


@scaled_silu.vjp
def vjp_of_scaled_silu(dy, X, scale, *, alpha):
    factor = X.dtype.type(np.float32(alpha)) if scale is None else scale.reshape(())
    dz = vjp_of_swish(dy, factor * X, alpha=1.0)
    return dz * factor, None if scale is None else (dz * X).sum().reshape(scale.shape)


@gated_add.vjp
def vjp_of_gated_add(dy, Y, gate):
    return dy, dy * gate, (dy * Y).sum(-1, keepdims=True)


@gated_rms_norm.vjp
def vjp_of_gated_rms_norm(dy, X, scale, gate, *, activation, epsilon):
    groups = X.reshape(*X.shape[:-1], X.shape[-1] // scale.size, scale.size)
    normalized = _rms(groups, epsilon)
    if activation == "sigmoid":
        f = sigmoid(gate)
        slope = f * (1 - f)
    else:
        f, slope = swish(gate), vjp_of_swish(np.ones_like(gate), gate, alpha=1.0)
    d_scaled = (dy * f).reshape(groups.shape)
    d_scale = (d_scaled * normalized).reshape(-1, scale.size).sum(0)
    dx = _through_rms(d_scaled * scale, groups, epsilon).reshape(X.shape)
    return dx, d_scale, dy * (normalized * scale).reshape(X.shape) * slope


@branchwise_rms_norm.vjp
def vjp_of_branchwise_rms_norm(dy, X, scale, *, epsilon, num_branches):
    x = _branches(X, num_branches)
    dy, d_scale = dy.reshape(x.shape), None
    if scale is not None:
        factors = scale.reshape(-1, x.shape[-1])
        d_scale = reduce_to(dy * _rms(x, epsilon), factors.shape).reshape(scale.shape)
        dy = dy * factors
    return _through_rms(dy, x, epsilon).reshape(X.shape), d_scale


@hyper_connection_pre_mix.vjp
def vjp_of_hyper_connection_pre_mix(dy, streams, pre_mix, *, num_branches, reduction_scale):
    x = _branches(streams, num_branches)
    mix = _mix_of(pre_mix, x, "pre_mix")
    dy = dy[..., None, :] * x.dtype.type(reduction_scale)
    d_mix = reduce_to(dy * x, mix.shape).reshape(pre_mix.shape)
    return (dy * mix).reshape(streams.shape), d_mix


@hyper_connection_post_mix.vjp
def vjp_of_hyper_connection_post_mix(
    dy, streams, block_output, post_mix, stream_mix, *, num_branches
):
    x = _branches(streams, num_branches)
    dy = dy.reshape(x.shape)
    mix = _mix_of(post_mix, x, "post_mix")
    d_mix = reduce_to(dy * block_output[..., None, :], mix.shape).reshape(post_mix.shape)
    d_stream_mix = None
    dx = dy
    if stream_mix is not None:
        dx, d_stream_mix = products.matmul(stream_mix, dy), products.matmul(x, dy.swapaxes(-1, -2))
    return dx.reshape(streams.shape), (dy * mix).sum(-2), d_mix, d_stream_mix


@engram_gate.vjp
def vjp_of_engram_gate(
    dy, dnormed, key, query, value, key_norm_scale, query_norm_scale, conv_norm_scale, *, epsilon
):
    k, q = _rms(key, epsilon), _rms(query, epsilon)
    scaled_k, scaled_q = k * key_norm_scale, q * query_norm_scale
    root = np.sqrt(key.dtype.type(key.shape[3]))
    d = (scaled_k * scaled_q).sum(-1, keepdims=True) / root
    size = np.sqrt(np.maximum(np.abs(d), key.dtype.type(1e-6)))
    gate = sigmoid(np.sign(d) * size)
    values = value[:, :, None]
    d_gated, d_conv_scale = np.zeros_like(key) if dy is None else dy, None
    if conv_norm_scale is not None:
        gated = gate * values
        dnormed = np.zeros_like(key) if dnormed is None else dnormed
        d_conv_scale = (dnormed * _rms(gated, epsilon)).sum((0, 1))
        d_gated = d_gated + _through_rms(dnormed * conv_norm_scale, gated, epsilon)
    d_gate = (d_gated * values).sum(-1, keepdims=True) * gate * (1 - gate)
    dd = d_gate * (np.abs(d) > 1e-6) / (2 * size) / root
    dk, dq = dd * scaled_q, dd * scaled_k
    return (
        _through_rms(dk * key_norm_scale, key, epsilon),
        _through_rms(dq * query_norm_scale, query, epsilon),
        (d_gated * gate).sum(2),
        (dk * k).sum((0, 1)),
        (dq * q).sum((0, 1)),
        d_conv_scale,
    )


def _through_rms(dy: np.ndarray, x: np.ndarray, epsilon: float) -> np.ndarray:
    """The way back through ``_rms``."""
    mean = np.square(x).mean(-1, keepdims=True, dtype=x.dtype)
    inverse = 1 / np.sqrt(mean + x.dtype.type(epsilon))
    along = (dy * x).mean(-1, keepdims=True, dtype=x.dtype)
    return inverse * (dy - x * np.square(inverse) * along)


# ------------------------------------------------------------------------------------------- costs


@vjp_of_scaled_silu.cost
@vjp_of_gated_add.cost
@vjp_of_gated_rms_norm.cost
@vjp_of_branchwise_rms_norm.cost
@vjp_of_hyper_connection_pre_mix.cost
@vjp_of_hyper_connection_post_mix.cost
@vjp_of_engram_gate.cost
def cost_of_vjp_of_gates(*values: Any, **_: Any) -> Cost:
    arrays = list(arrays_in(values))
    item, count = wide_itemsize(arrays[0].dtype), max(x.size for x in arrays)
    return Cost(16 * item * count + sum(map(wide_copies, arrays)), 1200 * count)


@scaled_silu.cost
@gated_add.cost
@gated_rms_norm.cost
@branchwise_rms_norm.cost
@hyper_connection_pre_mix.cost
@hyper_connection_post_mix.cost
@engram_gate.cost
def cost_of_gates(x: np.ndarray, *others: Any, **_: Any) -> Cost:
    """Everything in float, and at most six arrays of the first one's size."""
    item = wide_itemsize(x.dtype)
    widened = wide_copies(x, *arrays_in(others))
    lines = 16 * sum(one.size // max(one.shape[-1], 1) for one in (x,) if one.ndim)
    return Cost(widened + 6 * item * x.size + lines, 400 * x.size)


declare(
    scaled_silu, gated_add, gated_rms_norm, branchwise_rms_norm, hyper_connection_pre_mix,
    hyper_connection_post_mix, engram_gate, flops=flops.per_output(6),
)  # fmt: skip
