"""Attention whose keys and values groups of heads share, with a cache: GroupQueryAttention, and
SparseAttention, which sees some blocks of the keys only."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.ai_onnx.attention import join_heads, split_heads
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.attention import cost_of_heads, refuse_unsupported
from onnxwalk.ops.com_microsoft.rotary import rotate, through_rotate
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import wide_itemsize
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import wide
from onnxwalk.ops.shared.values import as_int


@op(
    "GroupQueryAttention",
    since=1,
    domain=DOMAIN,
    optional=["key", "value", "past_key", "past_value"],
)
def group_query_attention(
    query,
    key,
    value,
    past_key,
    past_value,
    seqlens_k,
    total_sequence_length,
    cos_cache=None,
    sin_cache=None,
    position_ids=None,
    attention_bias=None,
    head_sink=None,
    k_scale=None,
    v_scale=None,
    q_norm_weight=None,
    k_norm_weight=None,
    query_seqlens=None,
    *,
    causal=1,
    do_rotary=None,
    k_norm_epsilon=None,
    k_quant_type="NONE",
    kv_cache_bit_width=None,
    kv_num_heads,
    local_window_size=-1,
    num_heads,
    q_norm_epsilon=None,
    qk_norm_epsilon=9.999999974752427e-07,
    qk_output=0,
    rotary_interleaved=None,
    scale=None,
    sliding_window_cache=0,
    smooth_softmax=-1,
    softcap=None,
    v_quant_type="NONE",
    n_outputs=1,
):
    """softmax(c(scale·Q·Kᵀ) + attention_bias)·V for N heads, of which N / G share a K and a V

    query (B, S, N·H), key and value (B, S, G·H), or all side by side in query; G = kv_num_heads.
    seqlens_k (B) is how many keys each sequence has then, less 1; total_sequence_length the most of
    them. Unless that is S, seqlens_k + 1 - S of them are in past_key and past_value (B, G, P, H).

    Query i of a sequence with P past keys sees those up to P + i, of these the last
    local_window_size. c(x) = softcap·tanh(x / softcap). With smooth_softmax the softmax has one
    more score, 0 or that of head_sink (N), with no value. do_rotary turns queries and keys first,
    by their positions or position_ids (B, S), of which a prompt, which has no past, uses the first
    alone and counts on from it.

    Also gives the keys and values, (B, G, the larger of P and total_sequence_length, H), zero where
    there are none.

    Source: com.microsoft.GroupQueryAttention-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(
        k_scale=k_scale,
        v_scale=v_scale,
        q_norm_weight=q_norm_weight,
        k_norm_weight=k_norm_weight,
        query_seqlens=query_seqlens,
        kv_cache_bit_width=kv_cache_bit_width,
        qk_output=qk_output,
        sliding_window_cache=sliding_window_cache,
    )
    if (k_quant_type, v_quant_type) != ("NONE", "NONE"):
        raise NotImplementedError(
            f"k_quant_type {k_quant_type} and v_quant_type {v_quant_type} are not supported"
        )
    if past_key is not None and past_key.dtype.itemsize == 1:
        raise NotImplementedError(f"a quantized cache ({past_key.dtype}) is not supported")
    if n_outputs > 3:
        raise NotImplementedError("the output output_qk is not supported")
    found = _weigh(
        query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos_cache,
        sin_cache, position_ids, attention_bias, head_sink, causal=causal, do_rotary=do_rotary,
        kv_num_heads=kv_num_heads, local_window_size=local_window_size, num_heads=num_heads,
        rotary_interleaved=rotary_interleaved, scale=scale, smooth_softmax=smooth_softmax,
        softcap=softcap,
    )  # fmt: skip
    k, v, most = found.k, found.v, found.most
    y = products.matmul(found.weights, v[:, :, :most]).reshape(found.q.shape)
    y = join_heads(y)
    cache = query.dtype if past_key is None else past_key.dtype
    return tuple(x.astype(t, copy=False) for x, t in ((y, query.dtype), (k, cache), (v, cache)))


class _Weighed(NamedTuple):
    """What GroupQueryAttention multiplies."""

    #: queries and new keys before they are turned
    heads: tuple[np.ndarray, np.ndarray]
    q: np.ndarray
    #: all keys and values: the present ones
    k: np.ndarray
    v: np.ndarray
    #: the positions by which they are turned (B, S), the numbers of past keys (B), and the places
    #: of the new ones (B, S)
    at: np.ndarray | None
    pasts: np.ndarray
    places: np.ndarray
    #: how many keys count
    most: int
    #: c(x) / softcap
    capped: np.ndarray | None
    #: which keys each query sees: (B, 1, S, keys)
    visible: np.ndarray
    #: (B, G, N / G·S, keys)
    weights: np.ndarray


def _weigh(
    query: np.ndarray,
    key: np.ndarray | None,
    value: np.ndarray | None,
    past_key: np.ndarray | None,
    past_value: np.ndarray | None,
    seqlens_k: np.ndarray,
    total_sequence_length: np.ndarray,
    cos_cache: np.ndarray | None,
    sin_cache: np.ndarray | None,
    position_ids: np.ndarray | None,
    attention_bias: np.ndarray | None,
    head_sink: np.ndarray | None,
    *,
    causal: int,
    do_rotary: int | None,
    kv_num_heads: int,
    local_window_size: int,
    num_heads: int,
    rotary_interleaved: int | None,
    scale: float | None,
    smooth_softmax: int,
    softcap: float | None,
) -> _Weighed:
    if kv_num_heads < 1 or num_heads % kv_num_heads:
        raise ValueError(
            f"num_heads {num_heads} should be a multiple of kv_num_heads {kv_num_heads}"
        )
    if (key is None) != (value is None):
        raise ValueError("key and value should both be set, or neither")
    if key is None or value is None:
        size = query.shape[-1] // (num_heads + 2 * kv_num_heads)
        ends = [num_heads * size, (num_heads + kv_num_heads) * size]
        query, key, value = np.split(query, ends, axis=-1)
    q = wide(split_heads(query, num_heads))
    k, v = (wide(split_heads(x, kv_num_heads)) for x in (key, value))
    if k.shape != v.shape or q.shape[-1] != k.shape[-1]:
        raise ValueError(
            f"query {query.shape}, key {key.shape} and value {value.shape} are incompatible"
        )

    heads, at = (q, k), None
    batch, _, length, size = q.shape
    most = as_int(total_sequence_length, "total_sequence_length")
    totals = seqlens_k.reshape(-1).astype(np.int64) + 1
    if totals.shape != (batch,) or totals.max(initial=0) > most:
        raise ValueError(f"seqlens_k {seqlens_k.tolist()} should be {batch} values below {most}")
    pasts = np.zeros_like(totals) if length == most else totals - length
    places = pasts[:, None] + np.arange(length)  # of the queries and new keys: (B, S)
    if do_rotary:
        if cos_cache is None or sin_cache is None:
            raise ValueError("do_rotary needs cos_cache and sin_cache")
        at = places if position_ids is None else position_ids
        if position_ids is not None and length == most:
            at = np.broadcast_to(position_ids.reshape(-1)[:1] + np.arange(length), places.shape)
        q, k = (rotate(x, at, cos_cache, sin_cache, bool(rotary_interleaved)) for x in (q, k))
    k = _extend_cache(past_key, k, pasts, places, most)
    v = _extend_cache(past_value, v, pasts, places, most)

    # the queries of the heads that share a key are the rows of one product
    grouped = q.reshape(batch, kv_num_heads, -1, size)
    scores = products.matmul(grouped, k[:, :, :most].swapaxes(-1, -2))
    scores = scores.reshape(batch, num_heads, length, most)
    scores *= np.float32(scale or 1 / math.sqrt(size))
    capped = None
    if softcap:
        capped = np.tanh(scores / softcap)
        scores = softcap * capped
    if attention_bias is not None:
        scores = scores + wide(attention_bias)[..., :most]
    keys = np.arange(most)
    visible = np.broadcast_to(keys < totals[:, None, None], (batch, length, most))
    if causal:
        visible = visible & (keys <= places[..., None])
    if local_window_size > 0:
        visible = visible & (keys > places[..., None] - local_window_size)
    if not visible.all():
        scores = np.where(visible[:, None], scores, np.finfo(scores.dtype).min)
    weights = _softmax_with_sink(scores, head_sink, smooth_softmax == 1)
    weights = weights.reshape(*grouped.shape[:-1], most)
    return _Weighed(heads, q, k, v, at, pasts, places, most, capped, visible[:, None], weights)


@group_query_attention.vjp
def vjp_of_group_query_attention(
    dy, dpresent_key, dpresent_value, query, key, value, past_key, past_value, seqlens_k,
    total_sequence_length, cos_cache, sin_cache, position_ids, attention_bias, head_sink, *, causal,
    do_rotary, kv_num_heads, local_window_size, num_heads, rotary_interleaved, scale,
    smooth_softmax, softcap,
):  # fmt: skip
    """Through the product with V, softmax, bias, softcap and the product with K, to the rows of the
    cache, which are those of the past or new ones, and these are turned back."""
    found = _weigh(
        query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos_cache,
        sin_cache, position_ids, attention_bias, head_sink, causal=causal, do_rotary=do_rotary,
        kv_num_heads=kv_num_heads, local_window_size=local_window_size, num_heads=num_heads,
        rotary_interleaved=rotary_interleaved, scale=scale, smooth_softmax=smooth_softmax,
        softcap=softcap,
    )  # fmt: skip
    batch, _, length, size = found.q.shape
    most, weights = found.most, found.weights
    by_group = *weights.shape[:3], size
    by_head = batch, num_heads, length, most
    dy = np.zeros(by_group, query.dtype) if dy is None else split_heads(dy, num_heads)
    dy = dy.reshape(by_group)
    dk, dv = np.zeros_like(found.k), np.zeros_like(found.v)
    dv[:, :, :most] = products.matmul(weights.swapaxes(-1, -2), dy)
    d_weights = products.matmul(dy, found.v[:, :, :most].swapaxes(-1, -2))
    mean = (d_weights * weights).sum(-1, keepdims=True)
    ds = (weights * (d_weights - mean)).reshape(by_head) * found.visible
    of_sink = (1 - weights.sum(-1, keepdims=True)) * -mean
    d_sink = None
    if head_sink is not None:
        d_sink = of_sink.reshape(batch, num_heads, length).sum((0, 2)).reshape(head_sink.shape)
    d_bias = None
    if attention_bias is not None:
        d_bias = np.zeros(np.broadcast_shapes(attention_bias.shape, (1, 1, 1, 1)), ds.dtype)
        d_bias[..., :most] = reduce_to(ds, d_bias[..., :most].shape)
    if found.capped is not None:
        ds = ds * (1 - np.square(found.capped))
    ds = (ds * np.float32(scale or 1 / math.sqrt(size))).reshape(weights.shape)
    dq = products.matmul(ds, found.k[:, :, :most]).reshape(found.q.shape)
    dk[:, :, :most] = products.matmul(ds.swapaxes(-1, -2), found.q.reshape(by_group))
    dk = dk if dpresent_key is None else dk + dpresent_key
    dv = dv if dpresent_value is None else dv + dpresent_value
    (d_past_key, dk), (d_past_value, dv) = (
        _through_cache(d, past, found.pasts, found.places)
        for d, past in ((dk, past_key), (dv, past_value))
    )
    d_caches: list[Any] = [None, None]
    if found.at is not None:
        turned = [
            through_rotate(d, x, found.at, cos_cache, sin_cache, bool(rotary_interleaved))
            for d, x in zip((dq, dk), found.heads, strict=True)
        ]
        (dq, *of_q), (dk, *of_k) = turned
        d_caches = [a + b for a, b in zip(of_q, of_k, strict=True)]
    parts: list[Any] = [join_heads(d) for d in (dq, dk, dv)]
    if key is None:
        parts = [np.concatenate(parts, axis=-1), None, None]
    return *parts, d_past_key, d_past_value, None, None, *d_caches, None, d_bias, d_sink


@vjp_of_group_query_attention.cost
def cost_of_vjp_of_group_query_attention(dy, dkey, dvalue, *inputs, **attributes):
    cost = cost_of_group_query_attention(*inputs, **attributes)
    return Cost(4 * cost.memory, 4 * cost.work)


def _through_cache(
    d: np.ndarray, past: np.ndarray | None, pasts: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """The gradients of the past and of the new keys or values, from that of the present ones."""
    new = d[np.arange(len(d))[:, None], :, places].swapaxes(1, 2)
    if past is None:
        return None, new
    counts = np.arange(past.shape[2]) < pasts[:, None]
    return d[:, :, : past.shape[2]] * counts[:, None, :, None], new


def _extend_cache(
    past: np.ndarray | None, x: np.ndarray, pasts: np.ndarray, places: np.ndarray, most: int
) -> np.ndarray:
    """The past of each sequence, as far as it counts, followed by the new keys or values."""
    batch, groups, length, size = x.shape
    cache_length = 0 if past is None else past.shape[2]
    if pasts.min(initial=0) < 0 or pasts.max(initial=0) > cache_length:
        raise ValueError(
            f"past lengths {pasts.tolist()} should be from 0 to {cache_length}, that of the cache"
        )
    if past is not None:
        if (*past.shape[:2], *past.shape[3:]) != (batch, groups, size):
            raise ValueError(f"past {past.shape} and new {x.shape} are incompatible")
        if (pasts == cache_length).all() and most == cache_length + length:
            return np.concatenate([wide(past), x], axis=2)
    present = np.zeros((batch, groups, max(cache_length, most), size), x.dtype)
    if past is not None:
        counts = np.arange(cache_length) < pasts[:, None]
        present[:, :, :cache_length] = np.where(counts[:, None, :, None], wide(past), 0)
    present[np.arange(batch)[:, None], :, places] = x.swapaxes(1, 2)
    return present


def _softmax_with_sink(scores: np.ndarray, sink: np.ndarray | None, smooth: bool) -> np.ndarray:
    """Softmax over the last axis; its sum has one more term if it is smooth or has a sink."""
    highest = scores.max(-1, keepdims=True)
    if sink is None and not smooth:
        e = np.exp(scores - highest)
        return e / e.sum(-1, keepdims=True)
    more = np.float32(0) if sink is None else wide(sink).reshape(-1, 1, 1)
    highest = np.maximum(highest, more)
    e = np.exp(scores - highest)
    return e / (e.sum(-1, keepdims=True) + np.exp(more - highest))


@op("SparseAttention", since=1, domain=DOMAIN, optional=["key", "value"])
def sparse_attention(
    query,
    key,
    value,
    past_key,
    past_value,
    block_row_indices,
    block_col_indices,
    total_sequence_length,
    key_total_sequence_lengths,
    cos_cache=None,
    sin_cache=None,
    *,
    do_rotary=None,
    kv_num_heads,
    num_heads,
    rotary_interleaved=None,
    scale=None,
    sparse_block_size,
):
    """GroupQueryAttention in which a query sees the keys of some blocks of sparse_block_size

    Head n has layout n modulo L. Queries of block r see the blocks block_col_indices[l, c], c from
    block_row_indices[l, r] to before block_row_indices[l, r + 1]: (L, blocks + 1), (L, most of
    them). key_total_sequence_lengths (B) are those of past and new keys together.

    Source: com.microsoft.SparseAttention-1, ONNX Runtime 1.32, where past_key and past_value have
    to be the memory of the results; what they hold beyond these lengths is zero here. In a batch of
    several lengths it gives the shorter sequences other results than alone; here both are the same.
    """
    if sparse_block_size < 1 or block_row_indices.ndim != 2 or block_col_indices.ndim != 2:
        raise ValueError(
            f"sparse_block_size {sparse_block_size} should be positive, block_row_indices "
            f"{block_row_indices.shape} and block_col_indices {block_col_indices.shape} matrices"
        )
    layouts, blocks = block_row_indices.shape[0], block_row_indices.shape[1] - 1
    if block_col_indices.shape[:1] != (layouts,) or num_heads % max(layouts, 1):
        raise ValueError(
            f"block_row_indices {block_row_indices.shape} and block_col_indices "
            f"{block_col_indices.shape} should have one number of layouts, of {num_heads} heads"
        )
    if query.ndim != 3 or past_key.ndim != 4 or past_value.ndim != 4:
        raise ValueError(
            f"query {query.shape} should have rank 3, past_key {past_key.shape} and past_value "
            f"{past_value.shape} rank 4"
        )
    most = as_int(total_sequence_length, "total_sequence_length")
    if most > blocks * sparse_block_size:
        raise ValueError(f"{most} keys are more than {blocks} blocks of {sparse_block_size}")
    length = query.shape[1]
    totals = key_total_sequence_lengths.reshape(-1).astype(np.int64)
    pasts = np.zeros_like(totals) if length == most else totals - length
    place = (pasts[:, None] + np.arange(length)) // sparse_block_size  # (B, S)
    if place.size and not 0 <= place.min() <= place.max() < blocks:
        raise ValueError(f"lengths {totals.tolist()} should be within {blocks} blocks")
    seen = np.zeros((layouts, blocks, blocks), bool)
    for layout, (rows, columns) in enumerate(
        zip(block_row_indices, block_col_indices, strict=True)
    ):
        counts = np.diff(rows.astype(np.intp))
        if rows[0] != 0 or (counts < 0).any() or rows[-1] > columns.size:
            raise ValueError(f"block_row_indices {rows.tolist()} should rise from 0 on")
        columns = columns[: rows[-1]]
        if columns.size and not 0 <= columns.min() <= columns.max() < blocks:
            raise ValueError(f"block_col_indices {columns.tolist()} should be below {blocks}")
        seen[layout, np.repeat(np.arange(blocks), counts), columns] = True
    visible = seen[:, place][..., np.arange(most) // sparse_block_size]  # (L, B, S, keys)
    visible = np.tile(visible.swapaxes(0, 1), (1, num_heads // layouts, 1, 1))
    return group_query_attention(
        query,
        key,
        value,
        past_key,
        past_value,
        key_total_sequence_lengths - 1,
        total_sequence_length,
        cos_cache,
        sin_cache,
        attention_bias=np.where(visible, np.float32(0), np.finfo(np.float32).min),
        do_rotary=do_rotary,
        kv_num_heads=kv_num_heads,
        num_heads=num_heads,
        rotary_interleaved=rotary_interleaved,
        scale=scale,
    )


@sparse_attention.cost
def cost_of_sparse_attention(
    query: np.ndarray,
    key: np.ndarray | None,
    value: np.ndarray | None,
    past_key: np.ndarray,
    past_value: np.ndarray,
    block_row_indices: np.ndarray,
    block_col_indices: np.ndarray,
    total_sequence_length: np.ndarray,
    key_total_sequence_lengths: np.ndarray,
    *_: Any,
    kv_num_heads: int,
    num_heads: int,
    **__: Any,
) -> Cost:
    """As GroupQueryAttention, and which keys each head sees."""
    cost = cost_of_group_query_attention(
        query, key, value, past_key, past_value, key_total_sequence_lengths, total_sequence_length,
        kv_num_heads=kv_num_heads, num_heads=num_heads,
    )  # fmt: skip
    keys = max(as_int(total_sequence_length, "total_sequence_length"), 0)
    seen = query.shape[0] * query.shape[1] * num_heads * keys
    blocks = block_row_indices.size * block_row_indices.shape[1]
    return Cost(cost.memory + 6 * seen + 2 * blocks, cost.work + 40 * seen + 20 * blocks)


@group_query_attention.cost
def cost_of_group_query_attention(
    query: np.ndarray,
    key: np.ndarray | None,
    value: np.ndarray | None,
    past_key: np.ndarray | None,
    past_value: np.ndarray | None,
    seqlens_k: np.ndarray,
    total_sequence_length: np.ndarray,
    *_: Any,
    kv_num_heads: int,
    num_heads: int,
    **__: Any,
) -> Cost:
    """As for any attention, over as many keys as the cache will hold; a few more arrays of scores,
    and the keys and values twice more."""
    batch, length, width = query.shape
    head = width // (num_heads + (2 * kv_num_heads if key is None else 0))
    cache_length = 0 if past_key is None else past_key.shape[2]
    keys = max(cache_length, as_int(total_sequence_length, "total_sequence_length"), 0)
    item = max(wide_itemsize(query.dtype), 4)
    q, k = (batch, num_heads, length, head), (batch, kv_num_heads, keys, head)
    cost = cost_of_heads((q, k, k), item, 2 * query.size)
    scores = batch * num_heads * length * keys
    memory = cost.memory + item * (2 * scores + 4 * math.prod(k)) + 4 * batch * length * keys
    return Cost(memory, cost.work + 120 * (scores + math.prod(k)))


group_query_attention.not_computed({"T_CACHE": "int8 uint8 float8e4m3fn", "T_KV_SCALE": "float"})
