"""Companions of attention in a language model: RotaryEmbedding, SwiGLU, TensorScatter.

B is the batch, H the heads, S tokens, D the size of a head.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.activation import sigmoid, swish
from onnxwalk.ops.ai_onnx.attention import join_heads, split_heads
from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.rotary import bind_rotary_embedding
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import elementwise, total_bytes, wide_copies, wide_itemsize
from onnxwalk.ops.shared.gradients import add_elements, add_rows, cost_of_adding, numbered
from onnxwalk.ops.shared.numeric import in_float32


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
    first, second = pairs(rotary_dim, interleaved)
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


@rotary_embedding.vjp
def vjp_of_rotary_embedding(
    dy, x, cos_cache, sin_cache, position_ids, *, interleaved, num_heads, rotary_embedding_dim,
    wanted,
):  # fmt: skip
    """Each pair rotated back: by the angle with the other sign."""
    dx = rotary_embedding(
        dy, cos_cache, -sin_cache, position_ids, interleaved=interleaved, num_heads=num_heads,
        rotary_embedding_dim=rotary_embedding_dim,
    )  # fmt: skip
    if not (wanted[1] or wanted[2]):
        return dx, None, None
    heads, of_heads = (split_heads(z, num_heads) if z.ndim == 3 else z for z in (x, dy))
    first, second = pairs(rotary_embedding_dim or heads.shape[3], interleaved)
    a, b, da, db = (z[..., half] for z in (heads, of_heads) for half in (first, second))
    found = []
    for cache, product in ((cos_cache, a * da + b * db), (sin_cache, a * db - b * da)):
        rows = product.sum(1)
        if position_ids is not None:
            rows = rows.reshape(-1, rows.shape[-1])
            rows = add_rows(rows, position_ids.reshape(-1), len(cache))
        found.append(rows)
    return dx, *found


@vjp_of_rotary_embedding.cost
def cost_of_vjp_of_rotary_embedding(dy, x, *others, **attributes):
    cost = cost_of_rotary_embedding(x, *others, **attributes)
    return Cost(3 * cost.memory + 4 * total_bytes(others), 4 * cost.work)


def pairs(size: int, interleaved: int) -> tuple[slice, slice]:
    """Where the first and the second numbers of the pairs are."""
    if interleaved:
        return slice(0, size, 2), slice(1, size, 2)
    return slice(0, size // 2), slice(size // 2, size)


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


@swiglu.vjp
def vjp_of_swiglu(dy, a, b, *, alpha):
    gate = sigmoid(alpha * a)
    return dy * b * gate * (1 + alpha * a * (1 - gate)), dy * gate * a


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


@tensor_scatter.vjp
def vjp_of_tensor_scatter(dy, *, past_cache_shape, update_shape, write_indices, axis, mode):
    """What was overwritten has no gradient."""
    written = tensor_scatter(
        numbered(past_cache_shape), numbered(update_shape, dy.size), write_indices,
        axis=axis, mode=mode,
    )  # fmt: skip
    return np.where(written < dy.size, dy, 0), add_elements(dy, written - dy.size, update_shape)


@vjp_of_tensor_scatter.cost
def cost_of_vjp_of_tensor_scatter(dy, *, update_shape, **_):
    return cost_of_adding(dy, dy.shape, update_shape)


@tensor_scatter.cost
def cost_of_tensor_scatter(
    past_cache: np.ndarray,
    update: np.ndarray,
    write_indices: np.ndarray | None = None,
    **_: Any,
) -> Cost:
    places = 24 * len(update) * max(update.shape, default=1)
    return Cost(past_cache.nbytes + places, 5 * past_cache.size + 40 * update.size)


tensor_scatter.choices({"mode": "linear circular"})
