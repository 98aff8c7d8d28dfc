"""Operators that carry a state from token to token, as models with gated delta networks have them:
LinearAttention, LinearAttentionGate, CausalConvWithState.

B is the batch, S the tokens, C the channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import activation, linear_attention
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.attention import refuse_unsupported
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared.cost import PER_CALL, wide_itemsize
from onnxwalk.ops.shared.numeric import wide


@op("LinearAttention", since=1, domain=DOMAIN)
@attributes_of(linear_attention.linear_attention)
def linear_attention_1(
    query, key, value, past_state=None, decay=None, beta=None, *, state_window=0, **attributes
):
    """LinearAttention-27 of ai.onnx, where there may also be more states than queries

    query (B, S, H·D), key (B, S, K·D), value (B, S, G·E), G = kv_num_heads. With G > H each query
    reads G / H states: output (B, S, G·E). K may be a divisor of G: G / K states share a key.

    Source: com.microsoft.LinearAttention-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(state_window=state_window)
    query, key, heads = _one_head_for_each_state(query, key, **attributes)
    attributes["q_num_heads"] = heads
    return linear_attention.linear_attention(
        query, key, value, past_state, decay, beta, **attributes
    )


def _one_head_for_each_state(
    query: np.ndarray, key: np.ndarray, *, q_num_heads: int, kv_num_heads: int, **_: Any
) -> tuple[np.ndarray, np.ndarray, int]:
    """query and key with heads repeated so that each state has its own; how many query has then."""
    heads, states = q_num_heads, kv_num_heads
    if key.ndim != 3:
        raise ValueError(f"key {key.shape} should have rank 3")
    if min(heads, states) < 1 or query.ndim != 3 or query.shape[2] % heads:
        raise ValueError(f"query {query.shape} doesn't divide into {heads} heads")
    size = query.shape[2] // heads
    if heads < states:
        query, heads = _repeat_heads(query, size, states), states
    return query, _repeat_heads(key, size, states), heads


def _repeat_heads(x: np.ndarray, size: int, count: int) -> np.ndarray:
    """(B, S, N·D) with each head of D features repeated, so that there are ``count``."""
    heads = x.shape[2] // max(size, 1)
    if heads in (0, count) or count % heads:
        return x  # what doesn't fit is refused there
    return np.repeat(x.reshape(*x.shape[:2], heads, size), count // heads, 2).reshape(
        *x.shape[:2], count * size
    )


@linear_attention_1.vjp
def vjp_of_linear_attention(
    dy, dstate, query, key, value, past_state, decay, beta, *, kv_num_heads, q_num_heads, scale,
    update_rule,
):  # fmt: skip
    """Heads that were repeated get the sum of what flows to them."""
    q, k, heads = _one_head_for_each_state(
        query, key, q_num_heads=q_num_heads, kv_num_heads=kv_num_heads
    )
    dq, dk, *others = linear_attention.vjp_of_linear_attention(
        dy, dstate, q, k, value, past_state, decay, beta, kv_num_heads=kv_num_heads,
        q_num_heads=heads, scale=scale, update_rule=update_rule,
    )  # fmt: skip
    size = query.shape[2] // q_num_heads
    found = (_sum_heads(d, size, x.shape[2] // size) for d, x in ((dq, query), (dk, key)))
    return *found, *others


@vjp_of_linear_attention.cost
def cost_of_vjp_of_linear_attention(dy, dstate, query, key, *others, **attributes):
    heads, states = attributes["q_num_heads"], attributes["kv_num_heads"]
    width = query.shape[2] // heads
    attributes["q_num_heads"] = max(heads, states)
    q, k = _as_wide(query, max(heads, states) * width), _as_wide(key, states * width)
    cost = linear_attention.cost_of_vjp_of_linear_attention(dy, dstate, q, k, *others, **attributes)
    return Cost(cost.memory + 2 * (q.nbytes + k.nbytes), cost.work + 20 * (q.size + k.size))


def _sum_heads(dx: np.ndarray, size: int, heads: int) -> np.ndarray:
    """The way back through ``_repeat_heads``."""
    if dx.shape[2] == heads * size:
        return dx
    return dx.reshape(*dx.shape[:2], heads, -1, size).sum(3).reshape(*dx.shape[:2], heads * size)


linear_attention_1.choices({"update_rule": "linear gated delta gated_delta"})


@linear_attention_1.cost
def cost_of_linear_attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    *others: Any,
    kv_num_heads: int,
    q_num_heads: int,
    **attributes: Any,
) -> Cost:
    """As LinearAttention of ai.onnx, with queries and keys for each state."""
    heads = max(q_num_heads, kv_num_heads)
    width = query.shape[2] // q_num_heads
    q, k = _as_wide(query, heads * width), _as_wide(key, kv_num_heads * width)
    cost = linear_attention.cost_of_linear_attention(
        q, k, value, *others, kv_num_heads=kv_num_heads, q_num_heads=heads, **attributes
    )
    return Cost(cost.memory + q.nbytes + k.nbytes, cost.work + 5 * (q.size + k.size))


def _as_wide(x: np.ndarray, width: int) -> np.ndarray:
    """An array of the dtype and shape of x with its heads repeated."""
    return np.broadcast_to(np.zeros((), x.dtype), (*x.shape[:2], width))


@op("LinearAttentionGate", since=1, domain=DOMAIN)
def linear_attention_gate(a, dt_bias, decay_scale, b=None):
    """decay = decay_scale·log(1 + exp(a + dt_bias)), and beta = sigmoid(b) if there is a b

    a and b (B, S, H), dt_bias and decay_scale (H), in float; computed in float, in the type of a.

    Source: com.microsoft.LinearAttentionGate-1, ONNX Runtime 1.32.
    """
    if a.ndim != 3 or not dt_bias.shape == decay_scale.shape == a.shape[2:]:
        raise ValueError(
            f"dt_bias {dt_bias.shape} and decay_scale {decay_scale.shape} should be "
            f"{a.shape[-1:]} for a {a.shape}, which has rank 3"
        )
    if b is not None and b.shape != a.shape:
        raise ValueError(f"b {b.shape} should have the shape of a, {a.shape}")
    decay = decay_scale * np.logaddexp(wide(a) + dt_bias, np.float32(0))
    beta = None if b is None else activation.sigmoid(wide(b)).astype(b.dtype, copy=False)
    return decay.astype(a.dtype, copy=False), beta


@linear_attention_gate.vjp
def vjp_of_gate(d_decay, d_beta, a, dt_bias, decay_scale, b):
    z = a + dt_bias
    d_decay = np.zeros_like(a) if d_decay is None else d_decay
    da = d_decay * decay_scale * activation.sigmoid(z)
    d_scale = d_decay * np.logaddexp(z, z.dtype.type(0))
    db = None
    if b is not None:
        beta = activation.sigmoid(b)
        db = np.zeros_like(b) if d_beta is None else d_beta * beta * (1 - beta)
    return da, da.sum((0, 1)), d_scale.sum((0, 1)), db


@vjp_of_gate.cost
def cost_of_vjp_of_gate(d_decay, d_beta, a, *_):
    return Cost(12 * wide_itemsize(a.dtype) * a.size, 900 * a.size)


@linear_attention_gate.cost
def cost_of_gate(a: np.ndarray, *_: Any) -> Cost:
    return Cost(6 * wide_itemsize(a.dtype) * a.size, 400 * a.size)


@op("CausalConvWithState", since=1, domain=DOMAIN)
def causal_conv_with_state(
    input,
    weight,
    bias=None,
    past_state=None,
    *,
    activation="none",
    channels_last=0,
    dilation=1,
    input_channel_offset=0,
    input_channels=0,
    ndim=1,
    state_channels_last=-1,
    state_length=0,
    state_update_capacity=0,
    state_window=0,
    n_outputs=1,
):
    """CausalConvWithState-27 of ai.onnx, with taps ``dilation`` apart

    input (B, C, S) and past_state (B, C, (K - 1)·dilation), or with channels_last (B, S, …), whose
    last axes together are the channels, and (B, (K - 1)·dilation, …).

    Source: com.microsoft.CausalConvWithState-1, ONNX Runtime 1.32: what its CPU kernel has.
    """
    refuse_unsupported(
        input_channel_offset=input_channel_offset,
        input_channels=input_channels,
        state_channels_last=state_channels_last + 1,
        state_length=state_length,
        state_update_capacity=state_update_capacity,
        state_window=state_window,
        ndim=ndim - 1,
        state_update=n_outputs > 2 or None,
    )
    if dilation < 1:
        raise ValueError(f"dilation {dilation} should be at least 1")
    if not channels_last:
        return linear_attention.causal_conv_with_state(
            input, weight, bias, past_state, activation=activation, _dilation=dilation
        )

    y, state = linear_attention.causal_conv_with_state(
        _channels_first(input),
        weight,
        bias,
        None if past_state is None else _channels_first(past_state),
        activation=activation,
        _dilation=dilation,
    )
    return _channels_behind(y, input), _channels_behind(state, input)


def _channels_first(x: np.ndarray) -> np.ndarray:
    """(B, S, …) as (B, C, S)."""
    return x.reshape(*x.shape[:2], int(np.prod(x.shape[2:]))).swapaxes(1, 2)


def _channels_behind(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """(B, C, S) as (B, S, …), with the last axes of ``like``."""
    y = np.ascontiguousarray(x.swapaxes(1, 2))
    return y.reshape(*y.shape[:2], *like.shape[2:])


@causal_conv_with_state.vjp
def vjp_of_causal_conv(
    dy, dstate, input, weight, bias, past_state, *, activation, channels_last, dilation
):
    given = [dy, dstate, input, past_state]
    if channels_last:
        given = [None if x is None else _channels_first(x) for x in given]
    dy, dstate, x, before = given
    dx, dw, db, d_before = linear_attention.vjp_of_causal_conv(
        dy, dstate, x, weight, bias, before, activation=activation, _dilation=dilation
    )
    if channels_last:
        dx, d_before = (_channels_behind(d, input) for d in (dx, d_before))
    return dx, dw, db, d_before


@vjp_of_causal_conv.cost
def cost_of_vjp_of_causal_conv(dy, dstate, *inputs, **attributes):
    cost = cost_of_causal_conv(*inputs, **attributes)
    return Cost(5 * cost.memory, 4 * cost.work)


causal_conv_with_state.choices({"activation": "silu swish none"})


@causal_conv_with_state.cost
def cost_of_causal_conv(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    past_state: np.ndarray | None = None,
    *,
    dilation: int = 1,
    channels_last: int = 0,
    **_: Any,
) -> Cost:
    """The past and x; y so far, the product of one tap, and their sum; laid out again if the
    channels are last."""
    channels, _, taps = weight.shape
    padded = input.size + len(input) * channels * taps * max(dilation, 1)
    item = wide_itemsize(input.dtype)
    memory = (input.itemsize + wide_itemsize(input.dtype)) * padded + 3 * item * input.size
    memory += input.nbytes if channels_last else 0
    return Cost(memory, input.size * (taps * 20 + 100) + taps * 4 * PER_CALL)
