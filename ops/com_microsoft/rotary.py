"""RotaryEmbedding and MRotaryEmbedding: positions as angles.

B is the batch, N the heads, S tokens, H a head's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.attention import join_heads, split_heads
from onnxwalk.ops.ai_onnx.tokens import pairs
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.attention import refuse_unsupported
from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.rotary import bind_rotary_embedding
from onnxwalk.ops.shared.cost import wide_itemsize
from onnxwalk.ops.shared.gradients import add_elements
from onnxwalk.ops.shared.numeric import wide


@op("RotaryEmbedding", since=1, domain=DOMAIN)
def rotary_embedding(
    input,
    position_ids,
    cos_cache,
    sin_cache,
    *,
    interleaved=None,
    is_packed_batching=None,
    num_heads=None,
    rotary_embedding_dim=None,
    scale=None,
):
    """Each pair of features rotated by an angle of its position: (a·cos - b·sin, a·sin + b·cos)

    input (B, S, N·H) or (B, N, S, H); position_ids (B, S), or (1), the first of 0 … S - 1 more.
    The pairs are features i and i + R/2 of a head, or with ``interleaved`` 2i and 2i + 1, of the
    first R = rotary_embedding_dim (by default all) features; cos_cache, sin_cache (positions, R/2).
    ``scale`` has no effect, as in ONNX Runtime.

    Source: com.microsoft.RotaryEmbedding-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(is_packed_batching=is_packed_batching)
    x = _heads_of(input, cos_cache, num_heads, rotary_embedding_dim)
    y = rotate(x, _places(position_ids, x), cos_cache, sin_cache, bool(interleaved))
    return y if input.ndim == 4 else join_heads(y)


def _places(position_ids: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The position of each token: (B, S)."""
    batch, _, length, _ = x.shape
    if position_ids.shape == (1,):
        return np.broadcast_to(position_ids + np.arange(length), (batch, length))
    if position_ids.shape != (batch, length):
        raise ValueError(f"position_ids {position_ids.shape} should be (1) or ({batch}, {length})")
    return position_ids


@op("MRotaryEmbedding", since=1, domain=DOMAIN)
def m_rotary_embedding(
    input,
    position_ids,
    cos_cache,
    sin_cache,
    *,
    interleaved=None,
    is_packed_batching=None,
    mrope_layout=None,
    mrope_section,
    num_heads=None,
    rotary_embedding_dim=None,
    scale=None,
):
    """RotaryEmbedding with three positions for each token: of time, height and width

    position_ids (3, B, S). mrope_section says how many of the R / 2 angles follow each of the
    three. mrope_layout 0: these one after the other. 1: in turn (t, h, w, t, h, w, …) as long as
    height and width have angles left, and those of time elsewhere.

    Source: com.microsoft.MRotaryEmbedding-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(is_packed_batching=is_packed_batching)
    x = _heads_of(input, cos_cache, num_heads, rotary_embedding_dim)
    places = _places_by_angle(position_ids, x, cos_cache, mrope_section, mrope_layout)
    y = rotate(x, places, cos_cache, sin_cache, bool(interleaved))
    return y if input.ndim == 4 else join_heads(y)


def _places_by_angle(
    position_ids: np.ndarray,
    x: np.ndarray,
    cos_cache: np.ndarray,
    mrope_section: Sequence[int],
    mrope_layout: int | None,
) -> np.ndarray:
    """The position of each token for each angle: (B, S, R / 2)."""
    batch, _, length, _ = x.shape
    if position_ids.shape != (3, batch, length):
        raise ValueError(f"position_ids {position_ids.shape} should be (3, {batch}, {length})")
    half = cos_cache.shape[1]
    if len(mrope_section) != 3 or min(mrope_section) < 0 or sum(mrope_section) != half:
        raise ValueError(f"mrope_section {mrope_section} should be three numbers, {half} together")
    stream = np.repeat(np.arange(3), mrope_section)  # of each angle
    if mrope_layout == 1:
        stream = np.zeros(half, np.int64)
        for which in (1, 2):
            stream[which : 3 * mrope_section[which] : 3] = which
    elif mrope_layout:
        raise ValueError(f"mrope_layout {mrope_layout} should be 0 or 1")
    return np.moveaxis(position_ids, 0, -1)[..., stream]


def _heads_of(
    input: np.ndarray,
    cos_cache: np.ndarray,
    num_heads: int | None,
    rotary_embedding_dim: int | None,
) -> np.ndarray:
    """input as (B, N, S, H). Raises ValueError if the attributes don't fit."""
    if cos_cache.ndim != 2 or not cos_cache.shape[1]:
        raise ValueError(f"cos_cache {cos_cache.shape} should be (positions, R / 2)")
    half = cos_cache.shape[1]
    if rotary_embedding_dim and not num_heads:
        raise ValueError("num_heads is required with rotary_embedding_dim")
    if rotary_embedding_dim and rotary_embedding_dim != 2 * half:
        raise ValueError(f"rotary_embedding_dim {rotary_embedding_dim} should be twice {half}")
    if input.ndim == 3:
        return split_heads(input, num_heads or max(1, input.shape[2] // (2 * half)))
    if input.ndim != 4:
        raise ValueError(f"input {input.shape} should be (B, S, N·H) or (B, N, S, H)")
    return input


def rotate(
    x: np.ndarray,
    positions: np.ndarray,
    cos_cache: np.ndarray,
    sin_cache: np.ndarray,
    interleaved: bool,
) -> np.ndarray:
    """RotaryEmbedding of split heads (B, N, S, H) at positions (B, S), or for each angle one:
    (B, S, R / 2)."""
    if cos_cache.ndim != 2 or cos_cache.shape != sin_cache.shape:
        raise ValueError(
            f"sin_cache {sin_cache.shape} should be {cos_cache.shape} like cos_cache, a matrix"
        )
    if positions.size and not 0 <= positions.min() <= positions.max() < len(cos_cache):
        raise ValueError(f"positions {positions.tolist()} should be from 0 to {len(cos_cache) - 1}")
    half = cos_cache.shape[1]
    if x.shape[-1] < 2 * half:
        raise ValueError(f"a head should have at least {2 * half} features, got {x.shape[-1]}")
    rows = positions if positions.ndim == 3 else positions[..., None]
    cos, sin = (wide(cache[rows, np.arange(half)][:, None]) for cache in (cos_cache, sin_cache))
    first, second = pairs(2 * half, interleaved)
    a, b = wide(x[..., first]), wide(x[..., second])
    y = np.array(x, order="C")
    y[..., first] = a * cos - b * sin
    y[..., second] = a * sin + b * cos
    return y


def through_rotate(
    dy: np.ndarray,
    x: np.ndarray,
    positions: np.ndarray,
    cos_cache: np.ndarray,
    sin_cache: np.ndarray,
    interleaved: bool,
) -> tuple[np.ndarray, ...]:
    """The gradients of x, which are rotated back, and of both caches."""
    dx = rotate(dy, positions, cos_cache, -sin_cache, interleaved)
    half = cos_cache.shape[1]
    first, second = pairs(2 * half, interleaved)
    a, b, da, db = (z[..., pair] for z in (x, dy) for pair in (first, second))
    rows = positions if positions.ndim == 3 else positions[..., None]
    elements = rows * half + np.arange(half)  # of the caches: (B, S, R / 2)
    d_cos, d_sin = (
        add_elements(product.sum(1), elements, cos_cache.shape)
        for product in (a * da + b * db, a * db - b * da)
    )
    return dx, d_cos, d_sin


@rotary_embedding.vjp
def vjp_of_rotary_embedding(
    dy, input, position_ids, cos_cache, sin_cache, *, interleaved, num_heads, rotary_embedding_dim
):
    x, dy = (_heads_of(z, cos_cache, num_heads, rotary_embedding_dim) for z in (input, dy))
    places = _places(position_ids, x)
    dx, d_cos, d_sin = through_rotate(dy, x, places, cos_cache, sin_cache, bool(interleaved))
    return dx if input.ndim == 4 else join_heads(dx), None, d_cos, d_sin


@m_rotary_embedding.vjp
def vjp_of_m_rotary_embedding(
    dy, input, position_ids, cos_cache, sin_cache, *, interleaved, mrope_layout, mrope_section,
    num_heads, rotary_embedding_dim,
):  # fmt: skip
    x, dy = (_heads_of(z, cos_cache, num_heads, rotary_embedding_dim) for z in (input, dy))
    places = _places_by_angle(position_ids, x, cos_cache, mrope_section, mrope_layout)
    dx, d_cos, d_sin = through_rotate(dy, x, places, cos_cache, sin_cache, bool(interleaved))
    return dx if input.ndim == 4 else join_heads(dx), None, d_cos, d_sin


@vjp_of_rotary_embedding.cost
@vjp_of_m_rotary_embedding.cost
def cost_of_vjp_of_rotary_embedding(dy, input, position_ids, cos_cache, sin_cache, **_):
    cost = cost_of_rotary_embedding(input, position_ids, cos_cache)
    return Cost(5 * cost.memory + 100 * input.size, 6 * cost.work + 200 * input.size)


@rotary_embedding.bind
def bind_rotary(
    space: Space,
    input: np.ndarray,
    position_ids: np.ndarray,
    cos_cache: np.ndarray,
    sin_cache: np.ndarray,
    *,
    interleaved: int | None = None,
    num_heads: int | None = None,
    rotary_embedding_dim: int | None = None,
    **others: Any,
) -> np.ndarray | None:
    """Positions of each token, or constant ones from the first on."""
    if others.get("is_packed_batching") or cos_cache.ndim != 2 or not cos_cache.shape[1]:
        return None
    half = cos_cache.shape[1]
    if rotary_embedding_dim and (not num_heads or rotary_embedding_dim != 2 * half):
        return None
    tokens = (len(input), input.shape[1 if input.ndim == 3 else 2])
    if position_ids.shape == (1,):
        given = space.scratch(tokens, position_ids.dtype)
        space.call(np.add, position_ids, np.arange(tokens[1], dtype=given.dtype), given)
        position_ids = given
    heads = num_heads or max(1, input.shape[2] // (2 * half)) if input.ndim == 3 else None
    return bind_rotary_embedding(
        space, input, cos_cache, sin_cache, position_ids, heads, bool(interleaved)
    )


@rotary_embedding.cost
@m_rotary_embedding.cost
def cost_of_rotary_embedding(
    input: np.ndarray,
    position_ids: np.ndarray,
    cos_cache: np.ndarray,
    *_: Any,
    **__: Any,
) -> Cost:
    """The result, twice if its heads are joined again; halves of it in float; the rows of the
    caches."""
    item, batch = wide_itemsize(input.dtype), len(input)
    length = input.shape[1 if input.ndim == 3 else 2]
    rows = 2 * batch * length * (cos_cache.shape[1] * (4 + item) + 8)
    return Cost(2 * input.nbytes + 3 * item * input.size + rows, PER_ELEMENT * input.size)
