"""Attention as the optimizer fuses it, and rotary position embeddings.

    y = softmax(scale·Q·Kᵀ + bias + mask)·V        for each of N heads

Shapes: B sequences; S queries; L keys, after P past ones: T = P + L; H features of a head, Hv of
its values. With heads split a tensor is (B, N, S, H), with heads joined (B, S, N·H).
scale is 1/√H by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.attention import join_heads, split_heads
from onnxwalk.ops.ai_onnx.quantize import cost_of_matmul_integer, matmul_integer
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.heads import (
    MASKED,
    attend,
    check_shape,
    make_mask,
    past_length,
    prepend_past,
    through_attend,
    through_unpack,
    unpack_query_key_value,
    write_mask,
)
from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost, size
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.attention import attention_binders, multi_head_binders
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import multiply_adds, wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import check_same_dtype, wide


@op("Attention", since=1, domain=DOMAIN)
def attention(
    input,
    weights,
    bias=None,
    mask_index=None,
    past=None,
    attention_bias=None,
    past_sequence_length=None,
    *,
    do_rotary=None,
    mask_filter_value=None,
    num_heads,
    past_present_share_buffer=None,
    qkv_hidden_sizes=None,
    rotary_embedding_dim=None,
    scale=None,
    unidirectional=0,
    n_outputs=1,
):
    """softmax(scale·Q·Kᵀ + attention_bias + mask)·V with Q, K, V = split(input·weights + bias)

    input (B, S, D), weights (D, N·H + N·H + N·Hv), or of qkv_hidden_sizes; mask_index one of

    * (B, T) or (B, S, T): mask_filter_value (-10000) is added where it is 0;
    * (B): how many keys count; (2B): where they end, then where they start.

    With ``unidirectional`` query i sees the keys up to P + i. attention_bias broadcasts to
    (B, N, S, T); past (2, B, N, P, H) goes before the keys and values. Also gives these, as
    present (2, B, N, T, H).

    Source: com.microsoft.Attention-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(
        do_rotary=do_rotary,
        rotary_embedding_dim=rotary_embedding_dim,
        past_present_share_buffer=past_present_share_buffer,
        past_sequence_length=past_sequence_length,
    )
    check_same_dtype(input, weights)
    if input.ndim != 3 or weights.ndim != 2 or input.shape[2] != weights.shape[0]:
        raise ValueError(f"input {input.shape} and weights {weights.shape} are incompatible")
    projected = products.matmul(wide(input), wide(weights))
    if bias is not None:
        projected = projected + check_shape("bias", bias, (weights.shape[1],))
    return _self_attention(
        projected,
        input.dtype,
        n_outputs,
        num_heads=num_heads,
        sizes=qkv_hidden_sizes or None,  # an empty list counts as none
        mask_index=mask_index,
        past=past,
        attention_bias=attention_bias,
        scale=scale,
        mask_filter_value=mask_filter_value,
        unidirectional=unidirectional,
    )


@op("QAttention", since=1, domain=DOMAIN)
def q_attention(
    input,
    weight,
    bias,
    input_scale,
    weight_scale,
    mask_index=None,
    input_zero_point=None,
    weight_zero_point=None,
    past=None,
    *,
    do_rotary=None,
    mask_filter_value=None,
    num_heads,
    past_present_share_buffer=None,
    scale=None,
    unidirectional=0,
    n_outputs=1,
):
    """Attention of an input and weights in 8 bits, multiplied as such; the rest is in float

    The result has the dtype of the scales, the bias and the past: float16 or float.
    weight_scale and weight_zero_point: scalars, or one value for each column of the weights.

    Source: com.microsoft.QAttention-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(do_rotary=do_rotary, past_present_share_buffer=past_present_share_buffer)
    if input_scale.size != 1 or weight_scale.size not in (1, *weight.shape[-1:]):
        raise ValueError(
            f"scales {input_scale.shape} and {weight_scale.shape} are incompatible with the weights"
        )
    sums = matmul_integer(input, weight, input_zero_point, weight_zero_point)
    steps = input_scale.reshape(-1) * weight_scale.reshape(-1)
    projected = sums.astype(np.float32) * steps + check_shape("bias", bias, (weight.shape[1],))
    return _self_attention(
        projected,
        input_scale.dtype,
        n_outputs,
        num_heads=num_heads,
        mask_index=mask_index,
        past=past,
        scale=scale,
        mask_filter_value=mask_filter_value,
        unidirectional=unidirectional,
    )


def _self_attention(
    projected: np.ndarray,
    dtype: np.dtype,
    n_outputs: int,
    *,
    num_heads: int,
    mask_index: np.ndarray | None,
    past: np.ndarray | None,
    scale: float | None,
    mask_filter_value: float | None,
    unidirectional: int,
    sizes: Sequence[int] | None = None,
    attention_bias: np.ndarray | None = None,
) -> Any:
    """The attention of Q, K and V side by side, and present if the node has that output."""
    q, k, v = _query_key_value(projected, num_heads, sizes, past)
    mask = make_mask(mask_index, q, k, mask_filter_value)
    causal_after = past_length(past) if unidirectional else None
    y, _ = attend(q, k, v, attention_bias, mask, scale, causal_after)
    y = y.astype(dtype, copy=False)
    if n_outputs < 2:
        return y
    if k.shape != v.shape:
        raise ValueError(
            f"keys {k.shape} and values {v.shape} should have the same shape for present"
        )
    return y, np.stack([k, v]).astype(dtype, copy=False)


def _query_key_value(
    projected: np.ndarray, num_heads: int, sizes: Sequence[int] | None, past: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    """Q, K and V (B, N, ·, H), K and V after the past ones."""
    total = projected.shape[-1]
    sizes = [total // 3] * 3 if sizes is None else list(sizes)
    if len(sizes) != 3 or sum(sizes) != total or sizes[0] != sizes[1]:
        raise ValueError(f"qkv_hidden_sizes {sizes} should divide {total} columns into Q, K and V")
    ends = np.cumsum(sizes)[:-1]
    q, k, v = (split_heads(x, num_heads) for x in np.split(projected, ends, axis=-1))
    if past is not None:
        batch, _, _, size = k.shape
        if past.ndim != 5 or past.shape[:3] != (2, batch, num_heads) or past.shape[4] != size:
            raise ValueError(f"past {past.shape} should be (2, {batch}, {num_heads}, P, {size})")
        k, v = prepend_past(past[0], k), prepend_past(past[1], v)
    return q, k, v


@op("MultiHeadAttention", since=1, domain=DOMAIN)
def multi_head_attention(
    query,
    key=None,
    value=None,
    bias=None,
    key_padding_mask=None,
    attention_bias=None,
    past_key=None,
    past_value=None,
    past_sequence_length=None,
    cache_indirection=None,
    *,
    mask_filter_value=None,
    num_heads,
    scale=None,
    unidirectional=0,
):
    """softmax(scale·Q·Kᵀ + attention_bias + mask)·V

    query (B, S, N·H), key (B, L, N·H), value (B, L, N·Hv); or key and value with their heads apart
    (B, N, L, H), of another attention's input; or both packed in key (B, L, N, 2, H); or all three
    in query (B, S, N, 3, H). bias, of all three side by side, is added to them. The mask is
    (B, T), (B, S, T) or (B), as in Attention; past_key and past_value (B, N, P, H) go before.

    Gives y (B, S, N·Hv), the keys and values that it saw, and what went into the softmax,
    (B, N, S, T). With ``unidirectional`` query i sees the keys up to P + i, and the last query all
    of them, also where there are more new keys than queries.

    Source: com.microsoft.MultiHeadAttention-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(
        past_sequence_length=past_sequence_length, cache_indirection=cache_indirection
    )
    dtype = query.dtype
    q, k, v = (wide(x) for x in unpack_query_key_value(query, key, value, bias, num_heads))
    if (past_key is None) != (past_value is None):
        raise ValueError("past_key and past_value should both be set, or neither")
    if past_key is not None:
        k, v = prepend_past(past_key, k), prepend_past(past_value, v)
    mask = make_mask(key_padding_mask, q, k, mask_filter_value)
    causal_after = past_length(past_key) if unidirectional else None
    y, scores = attend(q, k, v, attention_bias, mask, scale, causal_after)
    return tuple(result.astype(dtype, copy=False) for result in (y, k, v, scores))


for _operator, _binders in (
    (attention, attention_binders(write_mask, MASKED)),
    (multi_head_attention, multi_head_binders(write_mask, MASKED)),
):
    _operator.bind(_binders[0])
    _operator.bind_moving(_binders[1])


# ------------------------------------------------------------------------------------- gradients


@attention.vjp
def vjp_of_attention(
    dy, dpresent, input, weights, bias, mask_index, past, attention_bias, *, mask_filter_value,
    num_heads, qkv_hidden_sizes, scale, unidirectional,
):  # fmt: skip
    projected = products.matmul(input, weights)
    projected = projected if bias is None else projected + bias
    q, k, v = _query_key_value(projected, num_heads, qkv_hidden_sizes or None, past)
    mask = make_mask(mask_index, q, k, mask_filter_value)
    causal_after = past_length(past) if unidirectional else None
    dq, dk, dv, d_bias = through_attend(
        dy, None, q, k, v, attention_bias, mask, scale, causal_after
    )
    if dpresent is not None:
        dk, dv = dk + dpresent[0], dv + dpresent[1]
    seen = past_length(past)
    d_past = None if past is None else np.stack([dk[:, :, :seen], dv[:, :, :seen]])
    parts = dq, dk[:, :, seen:], dv[:, :, seen:]
    d_projected = np.concatenate([join_heads(d) for d in parts], axis=-1)
    rows = d_projected.reshape(-1, d_projected.shape[-1])
    d_weights = products.matmul(input.reshape(-1, input.shape[-1]).T, rows)
    return products.matmul(d_projected, weights.T), d_weights, rows.sum(0), None, d_past, d_bias


@multi_head_attention.vjp
def vjp_of_multi_head_attention(
    dy, dpresent_key, dpresent_value, dqk, query, key, value, bias, key_padding_mask,
    attention_bias, past_key, past_value, *, mask_filter_value, num_heads, scale, unidirectional,
):  # fmt: skip
    q, k, v = unpack_query_key_value(query, key, value, bias, num_heads)
    if past_key is not None:
        k, v = prepend_past(past_key, k), prepend_past(past_value, v)
    mask = make_mask(key_padding_mask, q, k, mask_filter_value)
    causal_after = past_length(past_key) if unidirectional else None
    dq, dk, dv, d_bias = through_attend(dy, dqk, q, k, v, attention_bias, mask, scale, causal_after)
    dk = dk if dpresent_key is None else dk + dpresent_key
    dv = dv if dpresent_value is None else dv + dpresent_value
    seen = past_length(past_key)
    parts = dq, dk[:, :, seen:], dv[:, :, seen:]
    found = through_unpack(parts, query, key, value, bias)
    return *found, None, d_bias, dk[:, :, :seen], dv[:, :, :seen]


@vjp_of_attention.cost
def cost_of_vjp_of_attention(dy, dpresent, *inputs, **attributes):
    cost = cost_of_attention(*inputs, **attributes)
    return Cost(4 * cost.memory, 4 * cost.work)


@vjp_of_multi_head_attention.cost
def cost_of_vjp_of_multi_head_attention(dy, dkey, dvalue, dqk, *inputs, **attributes):
    cost = cost_of_multi_head_attention(*inputs, **attributes)
    return Cost(4 * cost.memory, 4 * cost.work)


def refuse_unsupported(**given: Any) -> None:
    """Raise NotImplementedError for an input or attribute that is set."""
    for name, value in given.items():
        if value is not None and not (isinstance(value, int) and value == 0):
            raise NotImplementedError(f"{name} is not supported")


# ------------------------------------------------------------------------------------------- costs


def cost_of_heads(shapes: Sequence[Sequence[int]], item: int, cached: int = 0) -> Cost:
    """The cost of attention for queries, keys and values of these shapes (B, N, ·, H), after
    ``cached`` past numbers: copies, scores, weights, and the result with its heads joined."""
    (batch, heads, queries, depth), (_, _, keys, _), (_, _, _, of_values) = shapes
    rows = batch * heads * queries
    scores, y = rows * keys, rows * of_values
    numbers = rows * depth + 2 * (size(shapes[1]) + size(shapes[2])) + cached
    memory = item * (2 * numbers + 3 * scores + 3 * y) + 16 * batch * queries * keys
    dtype = np.dtype(f"f{item}")
    work = multiply_adds(scores * (depth + of_values), dtype, calls=2 * batch * heads)
    return Cost(memory, work + PER_ELEMENT * (scores + y) + 30 * numbers)


@attention.cost
def cost_of_attention(
    input: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    mask_index: np.ndarray | None = None,
    past: np.ndarray | None = None,
    *_: Any,
    num_heads: int,
    qkv_hidden_sizes: Sequence[int] | None = None,
    **__: Any,
) -> Cost:
    return _cost_of_projected(input, weights, past, num_heads, qkv_hidden_sizes)


@q_attention.cost
def cost_of_q_attention(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    input_scale: np.ndarray,
    weight_scale: np.ndarray,
    mask_index: np.ndarray | None = None,
    input_zero_point: np.ndarray | None = None,
    weight_zero_point: np.ndarray | None = None,
    past: np.ndarray | None = None,
    *,
    num_heads: int,
    **_: Any,
) -> Cost:
    cost = _cost_of_projected(input, weight, past, num_heads, None)
    product = cost_of_matmul_integer(input, weight)
    return Cost(max(cost.memory, product.memory + cost.memory // 4), cost.work + product.work)


def _cost_of_projected(
    input: np.ndarray,
    weights: np.ndarray,
    past: np.ndarray | None,
    heads: int,
    sizes: Sequence[int] | None,
) -> Cost:
    batch, length, _ = input.shape
    q, k, v = sizes or [weights.shape[1] // 3] * 3
    keys = length + (0 if past is None else past.shape[3])
    shapes = [
        (batch, heads, n, width // max(heads, 1))
        for n, width in ((length, q), (keys, k), (keys, v))
    ]
    item = max(wide_itemsize(input.dtype), 4)
    cost = cost_of_heads(shapes, item, 0 if past is None else past.size)
    projected = item * 2 * batch * length * (q + k + v)
    macs = multiply_adds(input.size * weights.shape[1], np.dtype(f"f{item}"))
    return Cost(cost.memory + projected + wide_copies(input, weights), cost.work + macs)


@multi_head_attention.cost
def cost_of_multi_head_attention(
    query: np.ndarray,
    key: np.ndarray | None = None,
    value: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    key_padding_mask: np.ndarray | None = None,
    attention_bias: np.ndarray | None = None,
    past_key: np.ndarray | None = None,
    past_value: np.ndarray | None = None,
    *_: Any,
    num_heads: int,
    **__: Any,
) -> Cost:
    packed = query if key is None else key
    sizes = [packed.size] * 3 if value is None else [query.size, packed.size, value.size]
    batch = len(query)
    apart = packed.ndim == 4
    lengths = [query.shape[1], packed.shape[2 if apart else 1]]
    past = 0 if past_key is None else past_key.shape[2]
    shapes = [
        (batch, num_heads, n + more, count // max(batch * num_heads * n, 1))
        for n, more, count in zip(
            (lengths[0], lengths[1], lengths[1]), (0, past, past), sizes, strict=True
        )
    ]
    cached = sum(x.size for x in (past_key, past_value) if x is not None)
    cost = cost_of_heads(shapes, max(wide_itemsize(query.dtype), 4), cached + sum(sizes))
    scores = size(shapes[0][:3]) * shapes[1][2] if query.itemsize < 4 else 0
    return Cost(cost.memory + query.itemsize * scores, cost.work)


declare(attention, multi_head_attention, counts_outputs=False)
q_attention.vjp(no_gradient)  # of products of integers
