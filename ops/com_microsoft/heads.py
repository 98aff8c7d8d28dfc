"""What attention's operators share: queries, keys and values with their heads apart, masks, the
attention itself and its way back. Shapes are those of ``attention``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxwalk.ops.ai_onnx.attention import join_heads, split_heads
from onnxwalk.ops.ai_onnx.softmax import softmax, vjp_of_softmax
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import check_same_dtype, wide

MASKED = -10000.0  # what is added where a mask is 0, unless mask_filter_value says otherwise


def unpack_query_key_value(
    query: np.ndarray,
    key: np.ndarray | None,
    value: np.ndarray | None,
    bias: np.ndarray | None,
    num_heads: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q, K and V (B, N, ·, H), with the bias added."""
    packed = [x for x in (query, key) if x is not None and x.ndim == 5]
    if packed:
        parts = 3 if packed[0] is query else 2
        batch, length, heads, kinds, features = packed[0].shape
        if (heads, kinds) != (num_heads, parts) or value is not None:
            raise ValueError(f"packed {packed[0].shape} should be (B, L, {num_heads}, {parts}, H)")
        unpacked = [
            packed[0][:, :, :, i].reshape(batch, length, heads * features) for i in range(parts)
        ]
        query, key, value = unpacked if parts == 3 else [query, *unpacked]
    if key is None or value is None:
        raise ValueError("MultiHeadAttention needs key and value unless they are packed")
    check_same_dtype(query, key)
    check_same_dtype(query, value)
    if bias is not None:
        sizes = [x.shape[-1] * (num_heads if x.ndim == 4 else 1) for x in (query, key, value)]
        check_shape("bias", bias, (sum(sizes),))
        offsets = np.split(bias, np.cumsum(sizes)[:-1])
        # where the heads are split already, the bias has been added
        query, key, value = (
            x + offset if x.ndim == 3 else x
            for x, offset in zip((query, key, value), offsets, strict=True)
        )
    q, k, v = (x if x.ndim == 4 else split_heads(x, num_heads) for x in (query, key, value))
    if k.shape[:3] != v.shape[:3] or (*q.shape[:2], q.shape[3]) != (*k.shape[:2], k.shape[3]):
        raise ValueError(
            f"query {query.shape}, key {key.shape} and value {value.shape} are incompatible"
        )
    return q, k, v


def through_unpack(
    parts: Sequence[np.ndarray],
    query: np.ndarray,
    key: np.ndarray | None,
    value: np.ndarray | None,
    bias: np.ndarray | None,
) -> tuple[np.ndarray | None, ...]:
    """The gradients of query, key, value and bias from those of Q, K and V (B, N, ·, H)."""
    d_bias = None
    if bias is not None:  # it isn't added where the heads are split already
        given = [x is not None and x.ndim == 4 for x in (query, key, value)]
        sums = [d.sum((0, 2)) * (not apart) for d, apart in zip(parts, given, strict=True)]
        d_bias = np.concatenate([d.reshape(-1) for d in sums])
    if query.ndim == 5 or (key is not None and key.ndim == 5):
        separate, packed = (parts[:0], parts) if query.ndim == 5 else (parts[:1], parts[1:])
        together = np.stack([d.transpose(0, 2, 1, 3) for d in packed], axis=3)
        return (*(*map(join_heads, separate), together, None, None)[:3], d_bias)
    found = zip(parts, (query, key, value), strict=True)
    return (*(d if x is not None and x.ndim == 4 else join_heads(d) for d, x in found), d_bias)


def attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    bias: np.ndarray | None,
    mask: np.ndarray | None,
    scale: float | None,
    causal_after: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """softmax(scale·q·kᵀ + bias + mask)·v with the heads joined; and the scores.

    Query i sees the keys up to ``causal_after`` + i, or all of them. The last query always sees all
    of them: there is no other definition than ONNX Runtime's, which hides none from it.
    """
    if not q.shape[-1]:
        raise ValueError(f"heads of queries {q.shape} have no features")
    scores = products.matmul(q, k.swapaxes(-1, -2))
    scores *= np.float32(scale or 1 / math.sqrt(q.shape[-1]))  # a scale of 0 means none
    for name, added in (("attention_bias", bias), ("mask", mask)):
        if added is not None:
            if added.ndim != 4 or np.broadcast_shapes(scores.shape, added.shape) != scores.shape:
                raise ValueError(f"{name} {added.shape} does not broadcast to {scores.shape}")
            scores += added
    if causal_after is not None:
        scores[..., ~_visible(q, k, causal_after)] = np.finfo(scores.dtype).min
    y = products.matmul(softmax(scores), v)
    return join_heads(y), scores


def _visible(q: np.ndarray, k: np.ndarray, causal_after: int) -> np.ndarray:
    """(S, T): which keys each query sees."""
    visible = np.tri(q.shape[2], k.shape[2], causal_after, dtype=np.bool_)
    visible[-1:] = True
    return visible


def through_attend(
    dy: np.ndarray | None,
    d_scores: np.ndarray | None,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    bias: np.ndarray | None,
    mask: np.ndarray | None,
    scale: float | None,
    causal_after: int | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """The gradients of q, k, v and the bias, whose scores are computed once more: through the
    product with v, the softmax, and the product of q and k."""
    _, scores = attend(q, k, v, bias, mask, scale, causal_after)
    weights = softmax(scores)
    dy = (
        np.zeros((*q.shape[:3], v.shape[3]), v.dtype) if dy is None else split_heads(dy, q.shape[1])
    )
    dv = products.matmul(weights.swapaxes(-1, -2), dy)
    ds = vjp_of_softmax(products.matmul(dy, v.swapaxes(-1, -2)), y=weights, axis=-1)
    if d_scores is not None:
        ds = ds + d_scores
    if causal_after is not None:
        ds = ds * _visible(q, k, causal_after)
    d_bias = None if bias is None else reduce_to(ds, bias.shape)
    ds = ds * np.float32(scale or 1 / math.sqrt(q.shape[-1]))
    return products.matmul(ds, k), products.matmul(ds.swapaxes(-1, -2), q), dv, d_bias


def make_mask(
    mask: np.ndarray | None, q: np.ndarray, k: np.ndarray, value: float | None
) -> np.ndarray | None:
    """The mask as numbers to add to the scores: 0, or ``value`` where a key doesn't count; (B, 1, 1
    or S, T)."""
    if mask is None:
        return None
    return _mask_numbers(mask, len(q), q.shape[2], k.shape[2], MASKED if value is None else value)


def _mask_numbers(
    mask: np.ndarray, batch: int, queries: int, keys: int, value: float
) -> np.ndarray:
    if mask.shape in ((batch,), (2 * batch,)):
        places = np.arange(keys)
        counts = places < mask[:batch, None]
        if len(mask) > batch:
            counts &= places >= mask[batch:, None]
    elif mask.shape in ((batch, keys), (batch, queries, keys)):
        counts = mask > 0
    elif mask.shape == (3 * batch + 2,) or mask.ndim == 4:
        raise NotImplementedError(
            f"a mask of shape {mask.shape} for {batch} sequences is not supported"
        )
    else:
        raise ValueError(
            f"mask {mask.shape} should be ({batch}, {keys}) or another form of the operator"
        )
    added = np.where(counts, np.float32(0), np.float32(value))
    return added[:, np.newaxis, np.newaxis] if added.ndim == 2 else added[:, np.newaxis]


def write_mask(into: np.ndarray, mask: np.ndarray, value: float) -> None:
    batch, _, queries, keys = into.shape
    into[...] = _mask_numbers(mask, batch, queries, keys, value)


def past_length(past: np.ndarray | None) -> int:
    return 0 if past is None else past.shape[-2]


def prepend_past(past: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x after the past."""
    if past.ndim != 4 or (*past.shape[:2], past.shape[3]) != (*x.shape[:2], x.shape[3]):
        raise ValueError(f"past {past.shape} and new {x.shape} are incompatible")
    return np.concatenate([wide(past), x], axis=2)


def check_shape(name: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if x.shape != shape:
        raise ValueError(f"{name} {x.shape} should be {shape}")
    return wide(x)
