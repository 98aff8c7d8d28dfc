"""The binder of RotaryEmbedding."""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.copies import rows_of


def bind_rotary_embedding(
    space: Space,
    x: np.ndarray,
    cos_cache: np.ndarray,
    sin_cache: np.ndarray,
    positions: np.ndarray | None,
    heads: int | None,
    interleaved: bool,
) -> np.ndarray | None:
    """x (B, N, S, H), or (B, S, N·H) of so many heads; caches (R, angles) with positions (B, S),
    else (B, S, angles): each pair of features rotated, (a·cos - b·sin, b·cos + a·sin)."""
    kinds = {x.dtype, cos_cache.dtype, sin_cache.dtype}
    if kinds != {np.dtype(np.float32)} or not x.size or not x.flags.c_contiguous:
        return None
    y = space.array(x.shape, x.dtype)
    if x.ndim == 4:
        given, turned = (array.transpose(0, 2, 1, 3) for array in (x, y))
    elif x.ndim == 3 and heads and not x.shape[2] % heads:
        given, turned = (array.reshape(*x.shape[:2], heads, -1) for array in (x, y))
    else:
        return None
    tokens, angles = given.shape[:2], cos_cache.shape[-1]
    if given.shape[3] < 2 * angles or not angles or cos_cache.shape != sin_cache.shape:
        return None
    if positions is None:
        if cos_cache.shape[:-1] != tokens:
            return None
        cos, sin = cos_cache, sin_cache
    else:
        if cos_cache.ndim != 2 or positions.shape != tokens:
            return None
        cos, sin = rows_of(space, [cos_cache, sin_cache], positions)
    cos, sin = (rows.reshape(*tokens, 1, angles) for rows in (cos, sin))
    first, second = slice(0, angles), slice(angles, 2 * angles)
    if interleaved:
        first, second = slice(0, 2 * angles, 2), slice(1, 2 * angles, 2)
    a, b = given[..., first], given[..., second]
    product = space.scratch(a.shape, x.dtype)
    for into, one, factor, join, other, by in (
        (turned[..., first], a, cos, np.subtract, b, sin),
        (turned[..., second], a, sin, np.add, b, cos),
    ):
        space.call(np.multiply, one, factor, into)
        space.call(np.multiply, other, by, product)
        space.call(join, into, product, into)
    if given.shape[3] > 2 * angles:
        space.call(np.copyto, turned[..., 2 * angles :], given[..., 2 * angles :])
    return y
