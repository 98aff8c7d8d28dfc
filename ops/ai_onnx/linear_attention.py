"""Operators that carry a state from token to token: LinearAttention, CausalConvWithState.

B is the batch, H the heads, S the tokens, D the size of a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.ai_onnx.activation import swish, vjp_of_swish
from onnxwalk.ops.ai_onnx.attention import join_heads, split_heads
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import PER_CALL, multiply_adds, wide_copies, wide_itemsize
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import wide


@op("LinearAttention", since=27)
def linear_attention(
    query,
    key,
    value,
    past_state=None,
    decay=None,
    beta=None,
    *,
    chunk_size=64,
    kv_num_heads,
    q_num_heads,
    scale=0.0,
    update_rule="gated_delta",
):
    """S_t = exp(g_t)·S_{t-1} + β_t·k_t ⊗ (v_t - (exp(g_t)·S_{t-1})ᵀ k_t);  o_t = scale·q_tᵀ S_t

    That is gated_delta; delta has no decay g, gated neither β nor the term subtracted from v, and
    linear none of them. query (B, S, H·D), key (B, S, G·D), value (B, S, G·E), past_state
    (B, G, D, E) of zeros by default, decay (B, S, G·D) or (B, S, G), beta (B, S, G) or (B, S, 1);
    output (B, S, H·E) and present_state. H / G heads of queries read each state. scale 0 is 1 / √D.
    chunk_size changes nothing here: it is a hint. States are kept in float.

    Spec: LinearAttention-27.
    """
    terms = _terms(
        query, key, value, past_state, decay, beta, kv_num_heads=kv_num_heads,
        q_num_heads=q_num_heads, scale=scale, update_rule=update_rule,
    )  # fmt: skip
    groups, v, factor = terms.queries, terms.v, terms.scale
    read = np.empty((*groups.shape[:4], v.shape[3]), v.dtype)
    state = terms.state
    for t, (_, state, _) in enumerate(_states(terms)):
        read[:, :, :, t] = factor * products.matmul(groups[:, :, :, t], state)
    output = join_heads(read.reshape(len(read), q_num_heads, *read.shape[3:]))
    state_dtype = query.dtype if past_state is None else past_state.dtype
    return output.astype(query.dtype, copy=False), state.astype(state_dtype, copy=False)


class _Terms(NamedTuple):
    """What the formula of LinearAttention reads, with the heads apart."""

    state: np.ndarray  # the first: (B, G, D, E)
    queries: np.ndarray  # (B, G, H / G, S, D)
    k: np.ndarray  # (B, G, S, D)
    v: np.ndarray  # (B, G, S, E)
    factors: np.ndarray | None  # exp(g): (B, G, S, D or 1, 1)
    rates: np.ndarray | None  # (B, G or 1, S, 1)
    scale: np.generic


def _terms(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    past_state: np.ndarray | None,
    decay: np.ndarray | None,
    beta: np.ndarray | None,
    *,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float,
    update_rule: str,
) -> _Terms:
    rules = ("linear", "gated", "delta", "gated_delta")
    if update_rule not in rules:
        raise ValueError(f"update_rule {update_rule!r} is not one of {', '.join(rules)}")
    gated, corrected = "gated" in update_rule, "delta" in update_rule
    for name, given, required in (("decay", decay, gated), ("beta", beta, corrected)):
        if (given is not None) != required:
            raise ValueError(
                f"update_rule {update_rule} {'needs' if required else 'has no'} {name}"
            )
    if any(x is not None and x.ndim != 3 for x in (query, key, value, decay)):
        raise ValueError("query, key, value and decay should have rank 3")
    if kv_num_heads < 1 or q_num_heads % kv_num_heads:
        raise ValueError(
            f"q_num_heads {q_num_heads} should be a multiple of kv_num_heads {kv_num_heads}"
        )
    q = split_heads(wide(query), q_num_heads)
    k, v = split_heads(wide(key), kv_num_heads), split_heads(wide(value), kv_num_heads)
    batch, _, length, size = q.shape
    shape = (batch, kv_num_heads, size, v.shape[3])
    if k.shape != (*shape[:2], length, size) or v.shape[:3] != k.shape[:3]:
        raise ValueError(
            f"query {query.shape}, key {key.shape} and value {value.shape} are incompatible"
        )
    if past_state is not None and past_state.shape != shape:
        raise ValueError(f"past_state {past_state.shape} should be {shape}")
    if beta is not None and beta.shape not in ((batch, length, kv_num_heads), (batch, length, 1)):
        raise ValueError(f"beta {beta.shape} should be ({batch}, {length}, {kv_num_heads})")
    factors = None
    if decay is not None:
        factors = np.exp(split_heads(wide(decay), kv_num_heads))[..., None]
        if factors.shape[3] not in (1, size) or factors.shape[2] != length:
            raise ValueError(f"decay {decay.shape} does not fit key {key.shape}")
    rates = None if beta is None else wide(beta).transpose(0, 2, 1)[..., None]
    state = np.zeros(shape, q.dtype) if past_state is None else wide(past_state)
    factor = q.dtype.type(scale or 1 / math.sqrt(size))
    groups = q.reshape(batch, kv_num_heads, q.shape[1] // kv_num_heads, length, size)
    return _Terms(state, groups, k, v, factors, rates, factor)


def _states(terms: _Terms) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """At each token: the state before something is written, and after it; and what is written."""
    state = terms.state
    for t in range(terms.k.shape[2]):
        if terms.factors is not None:
            state = state * terms.factors[:, :, t]
        written, before = terms.v[:, :, t], state
        if terms.rates is not None:
            recalled = products.matmul(terms.k[:, :, t, None, :], state)[:, :, 0]
            written = terms.rates[:, :, t] * (written - recalled)
        state = state + terms.k[:, :, t, :, None] * written[:, :, None, :]
        yield before, state, written


@linear_attention.vjp
def vjp_of_linear_attention(
    dy, dstate, query, key, value, past_state, decay, beta, *, kv_num_heads, q_num_heads, scale,
    update_rule,
):  # fmt: skip
    """From the last token to the first, with all states of a second run."""
    terms = _terms(
        query, key, value, past_state, decay, beta, kv_num_heads=kv_num_heads,
        q_num_heads=q_num_heads, scale=scale, update_rule=update_rule,
    )  # fmt: skip
    first, queries, k, v, factors, rates, factor = terms
    d_read = np.zeros((*queries.shape[:4], v.shape[3]), v.dtype)
    if dy is not None:
        d_read = factor * split_heads(dy, q_num_heads).reshape(d_read.shape)
    dq, dk, dv = (np.zeros_like(x) for x in (queries, k, v))
    d_factors = None if factors is None else np.zeros_like(factors)
    d_rates = None if rates is None else np.zeros_like(rates)
    ds = np.zeros_like(first) if dstate is None else dstate
    states = list(_states(terms))
    for t in reversed(range(len(states))):
        before, state, written = states[t]
        dq[:, :, :, t] = products.matmul(d_read[:, :, :, t], state.swapaxes(-1, -2))
        ds = ds + products.matmul(queries[:, :, :, t].swapaxes(-1, -2), d_read[:, :, :, t])
        dk[:, :, t] = products.matmul(ds, written[..., None])[..., 0]
        d_written = products.matmul(k[:, :, t, None, :], ds)[:, :, 0]
        dv[:, :, t] = d_written
        if rates is not None and d_rates is not None:
            recalled = products.matmul(k[:, :, t, None, :], before)[:, :, 0]
            of_rate = (d_written * (v[:, :, t] - recalled)).sum(-1, keepdims=True)
            d_rates[:, :, t] = reduce_to(of_rate, d_rates[:, :, t].shape)
            dv[:, :, t] = rates[:, :, t] * d_written
            dk[:, :, t] -= products.matmul(before, dv[:, :, t, :, None])[..., 0]
            ds = ds - k[:, :, t, :, None] * dv[:, :, t, None, :]
        if factors is not None and d_factors is not None:
            d_factors[:, :, t] = reduce_to(ds * before, factors[:, :, t].shape)  # times exp(g)
            ds = ds * factors[:, :, t]
    return (
        join_heads(dq.reshape(len(dq), q_num_heads, *dq.shape[3:])),
        join_heads(dk),
        join_heads(dv),
        ds,
        None if d_factors is None else join_heads(d_factors[..., 0]),
        None if d_rates is None else d_rates[..., 0].transpose(0, 2, 1),
    )


@vjp_of_linear_attention.cost
def cost_of_vjp_of_linear_attention(dy, dstate, *inputs, kv_num_heads, q_num_heads, **_):
    """As the operator, with all its states."""
    query, value = inputs[0], inputs[2]
    cost = cost_of_linear_attention(*inputs, kv_num_heads=kv_num_heads, q_num_heads=q_num_heads)
    state = query.shape[2] // q_num_heads * value.shape[2] // kv_num_heads
    states = query.shape[0] * query.shape[1] * kv_num_heads * state
    return Cost(
        4 * cost.memory + 4 * wide_itemsize(query.dtype) * states,
        5 * cost.work + 20 * query.shape[1] * PER_CALL,
    )


@linear_attention.cost
def cost_of_linear_attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    past_state: np.ndarray | None = None,
    decay: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    *,
    kv_num_heads: int,
    q_num_heads: int,
    **_: Any,
) -> Cost:
    """The state, computed at each step with two temporary arrays; the outputs; some calls."""
    item = wide_itemsize(query.dtype)
    batch, length, width = query.shape
    size_of_head, size_of_value = width // q_num_heads, value.shape[2] // kv_num_heads
    state = batch * kv_num_heads * size_of_head * size_of_value
    read = batch * length * q_num_heads * size_of_value
    given = [x for x in (query, key, value, past_state, decay, beta) if x is not None]
    memory = wide_copies(*given) + item * (4 * state + 2 * read + query.size)
    memory += (item * 2 * decay.size if decay is not None else 0) + query.itemsize * read
    memory += 0 if past_state is None else past_state.nbytes
    macs = length * state * (3 + q_num_heads // kv_num_heads)
    work = multiply_adds(macs, query.dtype, calls=length * batch * kv_num_heads)
    return Cost(memory, work + 20 * length * state + length * 12 * PER_CALL + 100 * read)


@op("CausalConvWithState", since=27)
def causal_conv_with_state(
    input, weight, bias=None, past_state=None, *, activation="none", _dilation=1
):
    """y[b, c, l] = bias[c] + sum_k w[c, 0, k]·x[b, c, l + k - K + 1]; then ``activation``

    x (B, C, L), weight (C, 1, K), bias (C), past_state (B, C, K - 1): what came before x, zeros by
    default; y (B, C, L) and the last K - 1 of past_state and x together. With ``_dilation`` the
    taps are so far apart, and the state is as many times as long.

    Spec: CausalConvWithState-27.
    """
    if activation not in ("none", "silu", "swish"):
        raise ValueError(f"activation {activation!r} is not none, silu or swish")
    if input.ndim != 3 or weight.ndim != 3 or weight.shape[:2] != (input.shape[1], 1):
        raise ValueError(
            f"x {input.shape} and weight {weight.shape} should be (B, C, L), (C, 1, K)"
        )
    (batch, channels, length), taps = input.shape, weight.shape[2]
    state = batch, channels, (taps - 1) * _dilation
    if past_state is None:
        past_state = np.zeros(state, input.dtype)
    if past_state.shape != state:
        raise ValueError(f"past_state {past_state.shape} should be {state}")
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"bias {bias.shape} should be ({channels},)")
    padded = np.concatenate([past_state, input], 2)
    x, w = wide(padded), wide(weight)
    y = np.zeros(input.shape, x.dtype) if bias is None else wide(bias)[:, None]
    for tap in range(taps):
        start = tap * _dilation
        y = y + w[:, :, tap] * x[:, :, start : start + length]
    if activation != "none":
        y = swish(y)
    return y.astype(input.dtype, copy=False), padded[:, :, length:]


@causal_conv_with_state.vjp
def vjp_of_causal_conv(dy, dstate, input, weight, bias, past_state, *, activation, _dilation=1):
    """Through the activation, then to each tap; what the state keeps goes to it as well."""
    taps, length = weight.shape[2], input.shape[2]
    before = np.zeros((*input.shape[:2], (taps - 1) * _dilation), input.dtype)
    x = np.concatenate([before if past_state is None else past_state, input], 2)
    places = [slice(tap, tap + length) for tap in range(0, taps * _dilation, _dilation)]
    dx, dw = np.zeros_like(x), np.zeros_like(weight)
    dy = np.zeros_like(input) if dy is None else dy
    if activation != "none":
        sums = sum(weight[:, :, k] * x[:, :, here] for k, here in enumerate(places))
        dy = vjp_of_swish(dy, sums if bias is None else sums + bias[:, None], alpha=1.0)
    for k, here in enumerate(places):
        dx[:, :, here] += weight[:, :, k] * dy
        dw[:, 0, k] = (x[:, :, here] * dy).sum((0, 2))
    if dstate is not None:
        dx[:, :, length:] += dstate
    seen = before.shape[2]
    return dx[:, :, seen:], dw, dy.sum((0, 2)), dx[:, :, :seen]


@vjp_of_causal_conv.cost
def cost_of_vjp_of_causal_conv(dy, dstate, input, weight, bias, past_state, **_):
    cost = cost_of_causal_conv(input, weight, bias, past_state)
    return Cost(4 * cost.memory, 4 * cost.work)


@causal_conv_with_state.cost
def cost_of_causal_conv(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    past_state: np.ndarray | None = None,
    **_: Any,
) -> Cost:
    """The past and x; y so far, the product of one tap, and their sum."""
    item, taps = wide_itemsize(input.dtype), weight.shape[2]
    padded = size(input.shape[:2]) * (input.shape[2] + taps)
    memory = (2 * input.itemsize + (4 if wide_copies(input) else 0)) * padded
    memory += 4 * item * input.size + wide_copies(weight) + input.nbytes
    return Cost(memory, input.size * (taps * 20 + 100) + taps * 4 * PER_CALL)


causal_conv_with_state.choices({"activation": "silu swish none"})


linear_attention.choices({"update_rule": "linear gated delta gated_delta"})
