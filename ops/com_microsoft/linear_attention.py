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
    heads, states = attributes["q_num_heads"], attributes["kv_num_heads"]
    if key.ndim != 3:
        raise ValueError(f"key {key.shape} should have rank 3")
    if min(heads, states) < 1 or query.ndim != 3 or query.shape[2] % heads:
        raise ValueError(f"query {query.shape} doesn't divide into {heads} heads")
    size = query.shape[2] // heads
    if heads < states:
        query = _repeat_heads(query, size, states)
        attributes["q_num_heads"] = states
    key = _repeat_heads(key, size, states)
    return linear_attention.linear_attention(
        query, key, value, past_state, decay, beta, **attributes
    )


def _repeat_heads(x: np.ndarray, size: int, count: int) -> np.ndarray:
    """(B, S, N·D) with each head of D features repeated, so that there are ``count``."""
    heads = x.shape[2] // max(size, 1)
    if heads in (0, count) or count % heads:
        return x  # what doesn't fit is refused there
    return np.repeat(x.reshape(*x.shape[:2], heads, size), count // heads, 2).reshape(
        *x.shape[:2], count * size
    )


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
    shapes = ((*query.shape[:2], heads * width), (*key.shape[:2], kv_num_heads * width))
    q, k = (
        np.broadcast_to(np.zeros((), x.dtype), shape)
        for x, shape in zip((query, key), shapes, strict=True)
    )
    cost = linear_attention.cost_of_linear_attention(
        q, k, value, *others, kv_num_heads=kv_num_heads, q_num_heads=heads, **attributes
    )
    return Cost(cost.memory + q.nbytes + k.nbytes, cost.work + 5 * (q.size + k.size))


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

    def channels_first(x):
        return x.reshape(*x.shape[:2], int(np.prod(x.shape[2:]))).swapaxes(1, 2)

    def channels_behind(x):
        y = np.ascontiguousarray(x.swapaxes(1, 2))
        return y.reshape(*y.shape[:2], *input.shape[2:])

    y, state = linear_attention.causal_conv_with_state(
        channels_first(input),
        weight,
        bias,
        None if past_state is None else channels_first(past_state),
        activation=activation,
        _dilation=dilation,
    )
    return channels_behind(y), channels_behind(state)


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
