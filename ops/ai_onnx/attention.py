"""Attention and FlexAttention. Their companions in a language model are in ``tokens``, operators
with a state instead of a cache in ``linear_attention``.

B is the batch, H the heads, S queries (or tokens), T keys, D the size of a head.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.softmax import softmax, vjp_of_softmax
from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost, size
from onnxwalk.ops.contract.dtypes import element_type, numpy_dtype
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import multiply_adds, wide_itemsize
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import wide

_FLOATS = ("float", "double", "float16", "bfloat16")


def attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    attn_mask: np.ndarray | None = None,
    past_key: np.ndarray | None = None,
    past_value: np.ndarray | None = None,
    nonpad_kv_seqlen: np.ndarray | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> tuple[np.ndarray, ...]:
    """Y, the present keys and values, and qk_matmul_output: see ``attention``."""
    packed, dtype = q.ndim == 3, q.dtype
    if not q.ndim == k.ndim == v.ndim or q.ndim not in (3, 4):
        raise ValueError(f"Q {q.shape}, K {k.shape} and V {v.shape} should be of rank 3 or 4")
    if packed:
        if not q_num_heads or not kv_num_heads:
            raise ValueError("Q, K and V of rank 3 need q_num_heads and kv_num_heads")
        q, k, v = (split_heads(q, q_num_heads), *(split_heads(x, kv_num_heads) for x in (k, v)))
    if (past_key is None) != (past_value is None):
        raise ValueError("past_key and past_value should both be set, or neither")
    past = 0
    if past_key is not None and past_value is not None:
        if nonpad_kv_seqlen is not None:
            raise ValueError("nonpad_kv_seqlen and past_key should not both be set")
        past = past_key.shape[2]
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    batch, q_heads, queries, size = q.shape
    kv_heads, keys = k.shape[1:3]
    if (
        k.shape != (batch, kv_heads, keys, size)
        or v.shape[:3] != k.shape[:3]
        or not kv_heads
        or q_heads % kv_heads
    ):
        raise ValueError(f"Q {q.shape}, K {k.shape} and V {v.shape} are incompatible")

    # Both are scaled by the root, so that the product doesn't overflow.
    root = math.sqrt(1 / math.sqrt(size) if scale is None else scale)
    rows = q_heads // kv_heads * queries  # of a key's head
    grouped = (wide(q) * root).reshape(batch, kv_heads, rows, size)
    logits = products.matmul(grouped, np.swapaxes(wide(k) * root, 2, 3)).reshape(
        batch, q_heads, queries, keys
    )
    stages = [logits]
    if softcap:
        logits = softcap * np.tanh(logits / softcap)
    stages.append(logits)

    offset = np.full(1, past) if nonpad_kv_seqlen is None else nonpad_kv_seqlen.ravel() - queries
    allowed = np.ones((1, 1, queries, keys), bool)
    place = offset.reshape(-1, 1, 1, 1) + np.arange(queries)[:, None]
    key = np.arange(keys)
    if is_causal:
        allowed = allowed & (key <= place)
    if left_window_size >= 0:
        allowed = allowed & (key >= place - left_window_size)
    if right_window_size >= 0:
        allowed = allowed & (key <= place + right_window_size)
    if nonpad_kv_seqlen is not None:
        if nonpad_kv_seqlen.shape != (batch,):
            raise ValueError(f"nonpad_kv_seqlen {nonpad_kv_seqlen.shape} should be ({batch},)")
        allowed = allowed & (key < nonpad_kv_seqlen.reshape(-1, 1, 1, 1))
    bias = np.where(allowed, logits.dtype.type(0), logits.dtype.type(-np.inf))
    if attn_mask is not None:
        bias = bias + _mask_to_bias(attn_mask, logits)
    logits = logits + bias
    stages.append(logits)

    if softmax_precision is not None:
        if element_type(numpy_dtype(softmax_precision)).name not in _FLOATS:
            raise ValueError(
                f"softmax_precision {softmax_precision} should be a floating-point type"
            )
        logits = wide(logits.astype(numpy_dtype(softmax_precision)))
    highest = logits.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(logits - np.where(np.isneginf(highest), 0, highest))
    weights = weights / weights.sum(-1, keepdims=True)
    weights = np.where(np.isneginf(bias).all(-1, keepdims=True), 0, weights)
    weights = weights.astype(wide(q).dtype)
    stages.append(weights)

    y = products.matmul(weights.reshape(batch, kv_heads, rows, keys), wide(v))
    y = y.reshape(batch, q_heads, queries, v.shape[3])
    if packed:
        y = join_heads(y)
    if not 0 <= qk_matmul_output_mode <= 3:
        raise ValueError(f"qk_matmul_output_mode {qk_matmul_output_mode} should be 0, 1, 2 or 3")
    return (
        y.astype(dtype, copy=False),
        k,
        v,
        stages[qk_matmul_output_mode].astype(dtype, copy=False),
    )


@op("Attention", since=24, without=["left_window_size", "right_window_size"])
@op("Attention", since=25)
@attributes_of(attend)
def attention(
    q, k, v, attn_mask=None, past_key=None, past_value=None, nonpad_kv_seqlen=None, **attributes
):
    """Y = softmax(softcap·tanh(scale·Q @ Kᵀ / softcap) + bias) @ V

    Q (B, H, S, D), K (B, G, T, D), V (B, G, T, E) with G dividing H: a key's head serves H / G
    heads of queries; or all as (B, S, heads·D), which takes q_num_heads and kv_num_heads. Y
    (B, H, S, E) or (B, S, H·E). scale is 1 / √D by default; no softcap is 0.

    attn_mask broadcasts to (B, H, S, T): true where a key counts, or numbers to add. It may
    be shorter than T; the rest doesn't count. past_key and past_value (B, G, P, …) precede K and V,
    which together are present_key and present_value. nonpad_kv_seqlen (B) says how many keys of
    K count. Query i is at p = i + offset, the offset being P, or nonpad_kv_seqlen - S, or 0.
    ``is_causal``: only keys j <= p count; and p - left_window_size <= j <= p + right_window_size.
    A query without any key gives 0.

    qk_matmul_output is softmax's argument before softcap (mode 0), before the bias (1), after it
    (2), or softmax itself (3).

    Spec: Attention-24, Attention-25.
    """
    if attn_mask is not None and attn_mask.ndim and k.ndim > 1:
        total = k.shape[-2] + (0 if past_key is None else past_key.shape[2])
        missing = [(0, 0)] * (attn_mask.ndim - 1) + [(0, max(0, total - attn_mask.shape[-1]))]
        never = False if attn_mask.dtype == np.bool_ else -np.inf
        if attn_mask.dtype.kind in "iu":
            attn_mask = attn_mask.astype(np.float64)
        attn_mask = np.pad(wide(attn_mask), missing, constant_values=never)
    return attend(q, k, v, attn_mask, past_key, past_value, nonpad_kv_seqlen, **attributes)


@op("Attention", since=23)
@attributes_of(attend, without=["left_window_size", "right_window_size"])
def attention_23(q, k, v, attn_mask=None, past_key=None, past_value=None, **attributes):
    """Attention whose attn_mask must broadcast to (B, H, S, T), in its last axis too.

    Spec: Attention-23.
    """
    return attend(q, k, v, attn_mask, past_key, past_value, **attributes)


@attention.vjp
def vjp_of_attention(
    dy, dkey, dvalue, q, k, v, attn_mask, past_key, past_value, nonpad_kv_seqlen, **attributes
):
    given = q, k, v, attn_mask, past_key, past_value, nonpad_kv_seqlen
    found, d_bias = _through_attention((dy, dkey, dvalue), attention, given, **attributes)
    d_mask = None
    if attn_mask is not None:  # one that is shorter than the keys was filled up
        short = d_bias[..., : attn_mask.shape[-1]] if attn_mask.ndim else d_bias
        d_mask = reduce_to(short, attn_mask.shape)
    return *found[:3], d_mask, *found[3:]


@attention_23.vjp
def vjp_of_attention_23(dy, dkey, dvalue, q, k, v, attn_mask, past_key, past_value, **attributes):
    given = q, k, v, attn_mask, past_key, past_value
    found, d_bias = _through_attention((dy, dkey, dvalue), attend, given, **attributes)
    d_mask = None if attn_mask is None else reduce_to(d_bias, attn_mask.shape)
    return *found[:3], d_mask, *found[3:]


def _through_attention(
    gradients: tuple[np.ndarray | None, ...],
    run: Any,
    given: tuple[np.ndarray | None, ...],
    *,
    q_num_heads: int | None,
    kv_num_heads: int | None,
    scale: float | None,
    softcap: float,
    **attributes: Any,
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """The gradients of Q, K, V and the past keys and values; and of the bias (B, H, S, T). Through
    softmax, softcap and the product, from the weights and the scores of a second run."""
    (dy, dkey, dvalue), (q, _, _, _, past_key, *_) = gradients, given
    assert q is not None
    packed, past = q.ndim == 3, 0 if past_key is None else past_key.shape[2]
    keywords = dict(
        attributes, q_num_heads=q_num_heads, kv_num_heads=kv_num_heads, scale=scale, softcap=softcap
    )
    _, keys, values, weights = run(*given, **{**keywords, "qk_matmul_output_mode": 3})
    queries = split_heads(q, q_num_heads or 0) if packed else q
    if dy is None:
        dy = np.zeros((*queries.shape[:3], values.shape[3]), q.dtype)
    elif packed:
        dy = split_heads(dy, q_num_heads or 0)
    root = 1 / math.sqrt(queries.shape[3]) if scale is None else scale
    sharing = queries.shape[1] // keys.shape[1] * queries.shape[2]
    shape = (len(q), keys.shape[1], sharing)  # the heads of queries that share a key's head, as one
    rows = queries.reshape(*shape, queries.shape[3])
    of_rows = weights.reshape(*shape, keys.shape[2])
    dy = dy.reshape(*shape, values.shape[3])
    d_values = products.matmul(of_rows.swapaxes(2, 3), dy)
    d_scores = vjp_of_softmax(products.matmul(dy, values.swapaxes(2, 3)), y=of_rows, axis=-1)
    d_bias = d_scores.reshape(weights.shape)
    if softcap:
        (*_, capped) = run(*given, **{**keywords, "qk_matmul_output_mode": 1})
        d_scores = d_scores * (1 - np.square(capped.reshape(of_rows.shape) / softcap))
    d_scores = d_scores * root
    dq = products.matmul(d_scores, keys).reshape(queries.shape)
    d_keys = products.matmul(d_scores.swapaxes(2, 3), rows)
    d_keys = d_keys if dkey is None else d_keys + dkey
    d_values = d_values if dvalue is None else d_values + dvalue
    (d_past_key, dk), (d_past_value, dv) = (np.split(d, [past], 2) for d in (d_keys, d_values))
    if packed:
        dq, dk, dv = map(join_heads, (dq, dk, dv))
    return (dq, dk, dv, d_past_key, d_past_value), d_bias


@vjp_of_attention.cost
@vjp_of_attention_23.cost
def cost_of_vjp_of_attention(dy, dkey, dvalue, q, k, v, *others, **attributes):
    cost = cost_of_attention(q, k, v, *others, **attributes)
    return Cost(3 * cost.memory, 4 * cost.work)


@attention.cost
@attention_23.cost
def cost_of_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    attn_mask: np.ndarray | None = None,
    past_key: np.ndarray | None = None,
    past_value: np.ndarray | None = None,
    *_: Any,
    q_num_heads: int | None = None,
    kv_num_heads: int | None = None,
    **__: Any,
) -> Cost:
    """Q and K scaled; keys and values with the past ones; up to six arrays of scores, and the
    mask."""
    item = wide_itemsize(q.dtype)
    cached = sum(x.size for x in (k, v, past_key, past_value) if x is not None)
    heads = q.shape[1] if q.ndim == 4 else q_num_heads or 0
    queries = q.shape[-2]
    keys = k.shape[-2] + (0 if past_key is None else past_key.shape[2])
    scores = len(q) * heads * queries * keys
    mask = 0
    if attn_mask is not None and attn_mask.ndim:  # it may be shorter than the keys are
        mask = attn_mask.size // max(attn_mask.shape[-1], 1) * max(attn_mask.shape[-1], keys)
    features = v.shape[-1] * heads // (1 if v.ndim == 4 else kv_num_heads or 1)
    y = len(q) * queries * features
    memory = item * (2 * q.size + 3 * cached + 6 * scores + 3 * y) + 24 * len(q) * queries * keys
    macs = q.size * keys + y * keys
    work = multiply_adds(macs, q.dtype, calls=len(q) * heads) + PER_ELEMENT * (scores + y)
    return Cost(memory + (16 + 2 * item) * mask, work + 20 * (q.size + cached) + 60 * mask)


def _mask_to_bias(mask: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The mask as numbers to add: -inf where a boolean one is false."""
    if np.broadcast_shapes(mask.shape, logits.shape) != logits.shape:
        raise ValueError(f"attn_mask {mask.shape} does not broadcast to {logits.shape}")
    if mask.dtype == np.bool_:
        return np.where(mask, logits.dtype.type(0), logits.dtype.type(-np.inf))
    return mask.astype(logits.dtype)


def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """(B, S, H·D) as (B, H, S, D)."""
    if x.ndim != 3 or heads < 1 or x.shape[2] % heads:
        raise ValueError(
            f"shape {x.shape} can't be split into {heads} heads: expected (B, S, {heads}·D)"
        )
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(0, 2, 1, 3)


def join_heads(x: np.ndarray) -> np.ndarray:
    """(B, H, S, D) as (B, S, H·D)."""
    batch, heads, length, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, heads * size)


@op("FlexAttention", since=1, domain="ai.onnx.preview")
def flex_attention(q, k, v, *, prob_mod=None, scale=None, score_mod=None, softmax_precision=None):
    """prob_mod(softmax(score_mod(q·kᵀ·scale)))·v with subgraphs that change scores and weights

    q (B, Hq, S, D), k (B, Hkv, T, D), v (B, Hkv, T, Dv); y (B, Hq, S, Dv). Hq / Hkv neighbouring
    query heads share a key head. Scores have the type softmax_precision: double for double, else
    float32 by default. scale is 1/√D by default. Spec: ai.onnx.preview FlexAttention-1.
    """
    fit = q.ndim == k.ndim == v.ndim == 4 and k.shape[1] > 0 and q.shape[3] > 0
    if not fit or q.shape[1] % k.shape[1] or q.shape[3] != k.shape[3]:
        raise ValueError(f"Q {q.shape}, K {k.shape} and V {v.shape} are incompatible")
    default = q.dtype if q.dtype == np.float64 else np.dtype(np.float32)
    precision = default if softmax_precision is None else numpy_dtype(softmax_precision)
    shared = q.shape[1] // k.shape[1]
    keys, values = (np.repeat(x, shared, axis=1).astype(precision) for x in (k, v))
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = (products.matmul(wide(q.astype(precision)), wide(keys).swapaxes(2, 3)) * scale).astype(
        precision
    )
    scores = _apply_subgraph(scores, score_mod, "score_mod")
    weights = _apply_subgraph(softmax(scores, axis=-1), prob_mod, "prob_mod")
    return products.matmul(wide(weights), wide(values)).astype(q.dtype)


def _apply_subgraph(x: np.ndarray, modifier: Any, name: str) -> np.ndarray:
    """The output of a subgraph for x, which must have the shape and type of x."""
    if modifier is None:
        return x
    (y,) = modifier(x)
    if y.shape != x.shape or y.dtype != x.dtype:
        raise ValueError(f"{name} should return {x.dtype} {x.shape}, got {y.dtype} {y.shape}")
    return y


@flex_attention.cost
def cost_of_flex_attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, *, softmax_precision: int | None = None, **_: Any
) -> Cost:
    """Keys and values repeated for the heads that share them, in two precisions; the scores and
    their softmax."""
    shared = q.shape[1] // max(k.shape[1], 1)
    scores = size(q.shape[:3]) * k.shape[2]
    y = size(q.shape[:3]) * v.shape[3]
    item = 4 if q.itemsize <= 4 and softmax_precision != 11 else 8  # double
    memory = item * (2 * q.size + 3 * shared * (k.size + v.size) + 4 * scores + 2 * y)
    work = multiply_adds(scores * (q.shape[3] + v.shape[3]), np.dtype(np.float64))
    return Cost(memory, work + PER_ELEMENT * scores + 20 * shared * (k.size + v.size))


attention.counts_outputs(False)
for _function in (attention, attention_23):

    @_function.attention_weights
    def attention_weights_of(*inputs: Any, _function: Any = _function, **attributes: Any) -> Any:
        return _function(*inputs, **{**attributes, "qk_matmul_output_mode": 3})[3]
