"""Attention and its companions in a language model: FlexAttention, RotaryEmbedding, SwiGLU and
TensorScatter. Operators with a state instead of a cache are in ``linear_attention``.

B is the batch, H the heads, S queries (or tokens), T keys, D the size of a head.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.activation import swish
from onnxwalk.ops.ai_onnx.softmax import softmax
from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost, size
from onnxwalk.ops.contract.dtypes import element_type, numpy_dtype
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.rotary import bind_rotary_embedding
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import elementwise, multiply_adds, wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import in_float32, wide

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
    logits = (grouped @ np.swapaxes(wide(k) * root, 2, 3)).reshape(batch, q_heads, queries, keys)
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

    y = weights.reshape(batch, kv_heads, rows, keys) @ wide(v)
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
    scores = (wide(q.astype(precision)) @ wide(keys).swapaxes(2, 3) * scale).astype(precision)
    scores = _apply_subgraph(scores, score_mod, "score_mod")
    weights = _apply_subgraph(softmax(scores, axis=-1), prob_mod, "prob_mod")
    return (wide(weights) @ wide(values)).astype(q.dtype)


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


@op("RotaryEmbedding", since=23)
@in_float32
def rotary_embedding(
    x,
    cos_cache,
    sin_cache,
    position_ids=None,
    *,
    interleaved=0,
    num_heads=None,
    rotary_embedding_dim=0,
):
    """(a, b) → (cos·a - sin·b, sin·a + cos·b): each pair of a head rotated by its token's angle

    x (B, H, S, D), or (B, S, H·D) with num_heads; the first R = rotary_embedding_dim of D (0: all)
    are rotated. a and b are the halves of R, or if ``interleaved`` its even and odd indices. The
    caches are (positions, R/2), from which position_ids (B, S) choose, or (B, S, R/2) without.

    Spec: RotaryEmbedding-23.
    """
    packed = x.ndim == 3
    if packed and not num_heads:
        raise ValueError("x of rank 3 needs num_heads")
    heads = split_heads(x, num_heads) if packed else x
    if heads.ndim != 4:
        raise ValueError(f"x {x.shape} should be (B, H, S, D) or (B, S, H·D)")
    rotary_dim = rotary_embedding_dim or heads.shape[3]
    if rotary_dim % 2 or rotary_dim > heads.shape[3]:
        raise ValueError(
            f"rotary_embedding_dim {rotary_dim} should be even and at most {heads.shape[3]}"
        )
    angles = []
    for name, cache in (("cos_cache", cos_cache), ("sin_cache", sin_cache)):
        if position_ids is not None:
            if cache.ndim != 2 or ((position_ids < 0) | (position_ids >= len(cache))).any():
                raise ValueError(
                    f"{name} {cache.shape} does not have every position of position_ids"
                )
            cache = cache[position_ids]
        if cache.shape != (heads.shape[0], heads.shape[2], rotary_dim // 2):
            expected = (heads.shape[0], heads.shape[2], rotary_dim // 2)
            raise ValueError(f"{name} {cache.shape} should be {expected} for these positions")
        angles.append(cache[:, None])
    cos, sin = angles
    y = heads.copy()
    half = rotary_dim // 2
    first, second = (
        (slice(0, rotary_dim, 2), slice(1, rotary_dim, 2))
        if interleaved
        else (slice(0, half), slice(half, rotary_dim))
    )
    a, b = heads[..., first], heads[..., second]
    y[..., first] = cos * a - sin * b
    y[..., second] = sin * a + cos * b
    return join_heads(y) if packed else y


@rotary_embedding.bind
def bind_rotary(
    space: Space,
    x: np.ndarray,
    cos_cache: np.ndarray,
    sin_cache: np.ndarray,
    position_ids: np.ndarray | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> np.ndarray | None:
    if rotary_embedding_dim not in (0, 2 * cos_cache.shape[-1]):
        return None
    size = x.shape[-1] // num_heads if x.ndim == 3 and num_heads else x.shape[-1]
    if not rotary_embedding_dim and size != 2 * cos_cache.shape[-1]:
        return None
    return bind_rotary_embedding(
        space, x, cos_cache, sin_cache, position_ids, num_heads, bool(interleaved)
    )


@rotary_embedding.cost
def cost_of_rotary_embedding(x: np.ndarray, *others: np.ndarray | None, **_: Any) -> Cost:
    """The result, and a copy with joined heads; halves of it; the rows of the caches."""
    item = wide_itemsize(x.dtype)
    memory = wide_copies(x, *others[:2]) + item * 4 * x.size
    return Cost(memory + (x.nbytes if wide_copies(x) else 0), PER_ELEMENT * x.size)


@op("SwiGLU", since=28)
@in_float32
def swiglu(a, b, *, alpha=1.0):
    """a·sigmoid(alpha·a)·b, elementwise, for a and b of one shape. Spec: SwiGLU-28."""
    if a.shape != b.shape:
        raise ValueError(f"A {a.shape} and B {b.shape} should have the same shape")
    return swish(a, alpha=alpha) * b


swiglu.cost(elementwise(2, widened=True, per_element=150))


@op("TensorScatter", since=24)
def tensor_scatter(past_cache, update, write_indices=None, *, axis=-2, mode="linear"):
    """y[b, …, write_indices[b] + s, …] = update[b, …, s, …], and past_cache elsewhere

    past_cache (B, …, N, …) and update (B, …, S, …) differ along ``axis``, and not along others;
    write_indices (B) of zeros by default. ``circular`` goes on at 0 after N.

    Spec: TensorScatter-24.
    """
    axis = normalize_axis(axis, past_cache.ndim)
    if axis == 0:
        raise ValueError("axis should not be 0, the batch")
    if mode not in ("linear", "circular"):
        raise ValueError(f"mode {mode!r} is not linear or circular")
    y = past_cache.copy()
    cache, tokens = np.moveaxis(y, axis, 1), np.moveaxis(update, axis, 1)
    batch, capacity = cache.shape[:2]
    if tokens.shape != (batch, tokens.shape[1], *cache.shape[2:]) or tokens.shape[1] > capacity:
        raise ValueError(
            f"update {update.shape} and past_cache {past_cache.shape} are incompatible"
        )
    start = np.zeros(batch, np.int64) if write_indices is None else write_indices
    if start.shape != (batch,):
        raise ValueError(f"write_indices {start.shape} should be ({batch},)")
    place = start[:, None] + np.arange(tokens.shape[1])
    if mode == "circular":
        place = place % max(capacity, 1)
    elif ((place < 0) | (place >= capacity)).any():
        raise ValueError(f"update goes beyond the end of a cache of {capacity} positions")
    cache[np.arange(batch)[:, None], place] = tokens
    return y


@tensor_scatter.cost
def cost_of_tensor_scatter(
    past_cache: np.ndarray,
    update: np.ndarray,
    write_indices: np.ndarray | None = None,
    **_: Any,
) -> Cost:
    places = 24 * len(update) * max(update.shape, default=1)
    return Cost(past_cache.nbytes + places, 5 * past_cache.size + 40 * update.size)


attention.counts_outputs(False)
tensor_scatter.choices({"mode": "linear circular"})
for _function in (attention, attention_23):

    @_function.attention_weights
    def attention_weights_of(*inputs: Any, _function: Any = _function, **attributes: Any) -> Any:
        return _function(*inputs, **{**attributes, "qk_matmul_output_mode": 3})[3]
