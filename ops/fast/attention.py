"""The binders of com.microsoft's Attention and MultiHeadAttention.

Without a past, some heads of a sequence at a time (``_attend``). With one, which is longer in each
run, queries and new keys and values are bound, and the rest is computed as it comes (``_After``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.space import Bind, MovingBind, Space
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.fast.softmax import softmax_into
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.products import bind_product

#: scores that are computed at a time: they stay in the cache
_AT_ONCE = 1 << 17

#: write_mask(into, mask, value): numbers to add to the scores, from a mask in one of its forms
WriteMask = Callable[..., None]


# -------------------------------------------------------------------------------------- Attention


def attention_binders(write_mask: WriteMask, masked: float) -> tuple[Bind, MovingBind]:
    """The binders of Attention; ``masked`` is added by default where a mask is 0."""

    def bind(
        space: Space,
        x: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray | None = None,
        mask_index: np.ndarray | None = None,
        past: np.ndarray | None = None,
        attention_bias: np.ndarray | None = None,
        *others: np.ndarray | None,
        num_heads: int,
        scale: float | None = None,
        unidirectional: int = 0,
        mask_filter_value: float | None = None,
        n_outputs: int = 1,
        **settings: Any,
    ) -> np.ndarray | tuple[np.ndarray, ...] | None:
        q, k, v = _project(space, x, weights, bias, others, num_heads, **settings) or (None,) * 3
        if q is None or k is None or v is None:
            return None
        value = masked if mask_filter_value is None else mask_filter_value
        if past is None and not any(space.used_outputs[1:]):
            mask = _bind_mask(space, write_mask, mask_index, x.shape[1], x.shape, value)
            y = _attend(space, q, k, v, num_heads, scale, mask, attention_bias, unidirectional)
            return None if y is None else (y, *(space.unused,) * (n_outputs - 1))
        if past is None or k.shape != v.shape:
            return None
        after = _After(space, q, k, v, num_heads, scale, write_mask, value, unidirectional)
        if not after.fits_both(past, mask_index, attention_bias):
            return None
        batch, heads, length, size = after.keys.shape
        present = space.array((2, batch, heads, past.shape[3] + length, size), past.dtype)
        space.call(after.both, past, mask_index, attention_bias, present)
        return after.y, present

    def bind_moving(
        space: Space,
        moves: Sequence[bool],
        x: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray | None = None,
        mask_index: np.ndarray | None = None,
        past: np.ndarray | None = None,
        attention_bias: np.ndarray | None = None,
        *others: np.ndarray | None,
        num_heads: int,
        scale: float | None = None,
        unidirectional: int = 0,
        mask_filter_value: float | None = None,
        n_outputs: int = 1,
        **settings: Any,
    ) -> Callable[..., tuple[np.ndarray, ...] | None] | None:
        if any(moves[:3]) or past is None:
            return None
        q, k, v = _project(space, x, weights, bias, others, num_heads, **settings) or (None,) * 3
        if q is None or k is None or v is None or k.shape != v.shape:
            return None
        value = masked if mask_filter_value is None else mask_filter_value
        after = _After(space, q, k, v, num_heads, scale, write_mask, value, unidirectional)

        def run(*inputs: np.ndarray | None) -> tuple[np.ndarray, ...] | None:
            mask_index, past, attention_bias = _padded(inputs, 6)[3:]
            if past is None or not after.fits_both(past, mask_index, attention_bias):
                return None
            return after.y, after.both(past, mask_index, attention_bias)

        return run

    return bind, bind_moving


def _padded(inputs: Sequence[np.ndarray | None], count: int) -> tuple[np.ndarray | None, ...]:
    """The first inputs of a node, ``None`` for those that are left out at its end."""
    return (*inputs[:count], *(None,) * (count - len(inputs)))


def _project(
    space: Space,
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    others: Sequence[np.ndarray | None],
    num_heads: int,
    qkv_hidden_sizes: Sequence[int] | None = None,
    **settings: Any,
) -> list[np.ndarray] | None:
    """Q, K and V, (B, S, ·) each, side by side in memory; ``None`` for what isn't bound."""
    if any(settings.values()) or any(other is not None for other in others):
        return None
    if x.ndim != 3 or weights.ndim != 2:
        return None
    if x.dtype != np.float32 or weights.dtype != x.dtype or not x.flags.c_contiguous:
        return None
    depth, columns = weights.shape
    sizes = list(qkv_hidden_sizes or [columns // 3] * 3)
    if x.shape[2] != depth or len(sizes) != 3 or sum(sizes) != columns or sizes[0] != sizes[1]:
        return None
    if any(size % num_heads for size in sizes) or not all(sizes):
        return None
    if bias is not None and (bias.shape != (columns,) or bias.dtype != x.dtype):
        return None
    projected = space.scratch((*x.shape[:2], columns), x.dtype)
    rows = projected.reshape(-1, columns)
    bind_product(space, x.reshape(-1, depth), weights, rows)
    if bias is not None:
        space.call(np.add, rows, bias, rows)
    return np.split(projected, np.cumsum(sizes)[:-1], axis=-1)


# ----------------------------------------------------------------------------- MultiHeadAttention


def multi_head_binders(write_mask: WriteMask, masked: float) -> tuple[Bind, MovingBind]:
    """The binders of MultiHeadAttention with queries, keys and values apart: heads joined, or those
    of keys and values split."""

    def bind(
        space: Space,
        query: np.ndarray,
        key: np.ndarray | None = None,
        value: np.ndarray | None = None,
        bias: np.ndarray | None = None,
        key_padding_mask: np.ndarray | None = None,
        attention_bias: np.ndarray | None = None,
        past_key: np.ndarray | None = None,
        past_value: np.ndarray | None = None,
        *others: np.ndarray | None,
        num_heads: int,
        scale: float | None = None,
        unidirectional: int = 0,
        mask_filter_value: float | None = None,
    ) -> np.ndarray | tuple[np.ndarray, ...] | None:
        q, k, v = _with_bias(space, query, key, value, bias, others, num_heads) or (None,) * 3
        if q is None or k is None or v is None:
            return None
        number = masked if mask_filter_value is None else mask_filter_value
        if past_key is None and past_value is None:
            if any(space.used_outputs[1:]) or unidirectional:
                return None
            length = k.shape[k.ndim - 2]
            mask = _bind_mask(space, write_mask, key_padding_mask, length, query.shape, number)
            y = _attend(space, q, k, v, num_heads, scale, mask, attention_bias, 0)
            return None if y is None else (y, space.unused, space.unused, space.unused)
        if any(space.used_outputs[3:]) or k.ndim != 3:
            return None
        after = _After(space, q, k, v, num_heads, scale, write_mask, number, unidirectional)
        if past_key is None or past_value is None:
            return None
        given = past_key, past_value, key_padding_mask, attention_bias
        if not after.fits(*given):
            return None
        present_key, present_value = (
            space.array((*x.shape[:2], past.shape[2] + x.shape[2], x.shape[3]), x.dtype)
            for past, x in ((past_key, after.keys), (past_value, after.values))
        )
        space.call(after.each, *given, present_key, present_value)
        return after.y, present_key, present_value, space.unused

    def bind_moving(
        space: Space,
        moves: Sequence[bool],
        query: np.ndarray,
        key: np.ndarray | None = None,
        value: np.ndarray | None = None,
        bias: np.ndarray | None = None,
        key_padding_mask: np.ndarray | None = None,
        attention_bias: np.ndarray | None = None,
        past_key: np.ndarray | None = None,
        past_value: np.ndarray | None = None,
        *others: np.ndarray | None,
        num_heads: int,
        scale: float | None = None,
        unidirectional: int = 0,
        mask_filter_value: float | None = None,
    ) -> Callable[..., tuple[np.ndarray, ...] | None] | None:
        if any(moves[:4]) or past_key is None or any(space.used_outputs[3:]):
            return None
        q, k, v = _with_bias(space, query, key, value, bias, others, num_heads) or (None,) * 3
        if q is None or k is None or v is None or k.ndim != 3:
            return None
        number = masked if mask_filter_value is None else mask_filter_value
        after = _After(space, q, k, v, num_heads, scale, write_mask, number, unidirectional)

        def run(*inputs: np.ndarray | None) -> tuple[np.ndarray, ...] | None:
            key_padding_mask, attention_bias, past_key, past_value = _padded(inputs, 8)[4:]
            if past_key is None or past_value is None:
                return None
            given = past_key, past_value, key_padding_mask, attention_bias
            return (after.y, *after.each(*given)) if after.fits(*given) else None

        return run

    return bind, bind_moving


def _with_bias(
    space: Space,
    query: np.ndarray,
    key: np.ndarray | None,
    value: np.ndarray | None,
    bias: np.ndarray | None,
    others: Sequence[np.ndarray | None],
    heads: int,
) -> list[np.ndarray] | None:
    """Copies of query, key and value with the bias added; keys and values (B, N, L, H), of which
    the bias is a part already, as they are. ``None`` for what isn't bound."""
    if key is None or value is None or any(x is not None for x in others):
        return None
    parts = (query, key, value)
    if any(x.dtype != np.float32 for x in parts) or query.ndim != 3 or key.ndim != value.ndim:
        return None
    if key.ndim == 4:
        shape = (len(query), heads, key.shape[2], query.shape[2] // heads)
        if key.shape != shape or value.shape[:3] != shape[:3] or query.shape[2] % heads:
            return None
    else:
        if key.ndim != 3 or any(x.shape[2] % heads for x in parts):
            return None
        if key.shape != (len(query), key.shape[1], query.shape[2]):
            return None
        if value.shape[:2] != key.shape[:2]:
            return None
    sizes = [x.shape[-1] * (heads if x.ndim == 4 else 1) for x in parts]
    if bias is not None and (bias.shape != (sum(sizes),) or bias.dtype != np.float32):
        return None
    offsets = [None] * 3 if bias is None else np.split(bias, np.cumsum(sizes)[:-1])
    results = []
    for x, offset in zip(parts, offsets, strict=True):
        if x.ndim == 4:
            results.append(x)
            continue
        results.append(space.scratch(x.shape, x.dtype))
        if offset is None:
            space.call(np.copyto, results[-1], x)
        else:
            space.call(np.add, x, offset, results[-1])
    return results


# -------------------------------------------------------------------------------- without a past


def _bind_mask(
    space: Space,
    write_mask: WriteMask,
    mask: np.ndarray | None,
    keys: int,
    queries: tuple[int, ...],
    value: float,
) -> np.ndarray | None:
    """Memory for the numbers that a mask adds (B, 1, 1 or S, T), written in each run."""
    if mask is None:
        return None
    added = space.scratch((queries[0], 1, queries[1] if mask.ndim == 3 else 1, keys), np.float32)
    space.call(write_mask, added, mask, value)
    return added


def _attend(
    space: Space,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    heads: int,
    scale: float | None,
    mask: np.ndarray | None,
    bias: np.ndarray | None,
    causal: int,
) -> np.ndarray | None:
    """softmax(scale·q·kᵀ + bias + mask)·v (B, S, N·Hv), some heads of a sequence at a time; the
    queries are overwritten."""
    y = space.array((*q.shape[:2], v.shape[-1] * (heads if v.ndim == 4 else 1)), q.dtype)
    _scale(space, q, heads, scale)
    q, k, v, joined = (_by_head(x, heads) for x in (q, k, v, y))
    batch, _, queries, _ = q.shape
    keys = k.shape[2]
    full = (batch, heads, queries, keys)
    if not _is_bias(bias, full):
        return None
    added = [np.broadcast_to(x, full) for x in (bias, mask) if x is not None]
    hidden = _hidden(queries, keys, 0) if causal else None
    lowest = scalar(np.finfo(q.dtype).min, q.dtype)
    for part in _parts(*full):
        scores = space.scratch((*q[part].shape[:-1], keys), q.dtype)
        bind_product(space, q[part], k[part].swapaxes(-1, -2), scores)
        for numbers in added:
            space.call(np.add, scores, numbers[part], scores)
        if hidden is not None:
            space.call(_fill_where, scores, lowest, hidden)
        softmax_into(space, scores, scores, scores.ndim - 1)
        bind_product(space, scores, v[part], joined[part])
        space.free_scratch(scores)
    return y


def _parts(batch: int, heads: int, queries: int, keys: int) -> list[tuple[Any, ...]]:
    """Sequences and heads whose scores are computed at a time: all, or some heads of a sequence."""
    if batch * heads * queries * keys <= _AT_ONCE:
        return [(slice(None),)]
    pieces = split_range(heads, _AT_ONCE // (queries * keys))
    return [(i, slice(*piece)) for i in range(batch) for piece in pieces]


def _scale(space: Space, q: np.ndarray, heads: int, scale: float | None) -> None:
    """Record q·scale (B, S, N·H), in place."""
    factor = scalar(scale or 1 / math.sqrt(q.shape[2] // heads), q.dtype)
    space.call(np.multiply, q, factor, q)


def _by_head(x: np.ndarray, heads: int) -> np.ndarray:
    """(B, S, N·H) as (B, N, S, H)."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _is_bias(bias: np.ndarray | None, scores: tuple[int, ...]) -> bool:
    """Whether numbers can be added to scores (B, N, S, T)."""
    return bias is None or (
        bias.dtype == np.float32
        and bias.ndim == 4
        and all(n in (1, full) for n, full in zip(bias.shape, scores, strict=True))
    )


def _hidden(queries: int, keys: int, past: int) -> np.ndarray | None:
    """(S, T): which keys are hidden from each query, none from the last one; ``None`` if none."""
    if queries == 1:
        return None
    hidden = ~np.tri(queries, keys, past, dtype=np.bool_)
    hidden[-1:] = False
    return hidden


def _fill_where(x: np.ndarray, value: np.ndarray, where: np.ndarray) -> None:
    np.copyto(x, value, where=where)


# ------------------------------------------------------------------------------------ with a past


class _After:
    """Attention to keys and values of which new ones, which are bound, come after past ones, of
    which there may be more in each run."""

    def __init__(
        self,
        space: Space,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        heads: int,
        scale: float | None,
        write_mask: WriteMask,
        masked: float,
        causal: int,
    ) -> None:
        """Queries (B, S, N·H), which are overwritten, keys (B, L, N·H) and values (B, L, N·Hv).
        ``masked`` is added where a mask is 0; ``causal``: query i sees the keys up to P + i."""
        self.y = space.array((*q.shape[:2], v.shape[2]), q.dtype)
        _scale(space, q, heads, scale)
        self._q, self.keys, self.values, self._joined = (
            _by_head(x, heads) for x in (q, k, v, self.y)
        )
        self._write_mask, self._masked, self._causal = write_mask, masked, causal
        self._lowest = scalar(np.finfo(q.dtype).min, q.dtype)

    def fits(
        self,
        past_key: np.ndarray,
        past_value: np.ndarray,
        mask: np.ndarray | None,
        bias: np.ndarray | None,
    ) -> bool:
        """Whether the past (B, N, P, H) and (B, N, P, Hv), a mask in one of its forms and numbers
        to add to the scores (B, N, S, T) have the right shapes."""
        for past, new in ((past_key, self.keys), (past_value, self.values)):
            if past.dtype != new.dtype or past.ndim != 4:
                return False
            if past.shape[:2] != new.shape[:2] or past.shape[3] != new.shape[3]:
                return False
        if past_key.shape[2] != past_value.shape[2]:
            return False
        batch, heads, queries, _ = self._q.shape
        keys = past_key.shape[2] + self.keys.shape[2]
        forms = ((batch, keys), (batch,), (2 * batch,), (batch, queries, keys))
        return (mask is None or mask.shape in forms) and _is_bias(
            bias, (batch, heads, queries, keys)
        )

    def each(
        self,
        past_key: np.ndarray,
        past_value: np.ndarray,
        mask: np.ndarray | None,
        bias: np.ndarray | None,
        present_key: np.ndarray | None = None,
        present_value: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute ``y``. Returns the present keys and values, in memory that is given or new."""
        k = np.concatenate((past_key, self.keys), 2, present_key)
        v = np.concatenate((past_value, self.values), 2, present_value)
        scores = products.matmul(self._q, k.swapaxes(2, 3))
        if bias is not None:
            np.add(scores, bias, scores)
        if mask is not None and (mask.ndim != 2 or np.minimum.reduce(mask, None) <= 0):
            queries = scores.shape[2] if mask.ndim == 3 else 1
            added = np.empty((len(scores), 1, queries, scores.shape[3]), scores.dtype)
            self._write_mask(added, mask, self._masked)
            np.add(scores, added, scores)
        if self._causal:
            hidden = _hidden(scores.shape[2], scores.shape[3], past_key.shape[2])
            if hidden is not None:
                np.copyto(scores, self._lowest, where=hidden)
        np.subtract(scores, np.maximum.reduce(scores, 3, keepdims=True), scores)
        np.exp(scores, scores)
        np.divide(scores, np.add.reduce(scores, 3, keepdims=True), scores)
        products.matmul(scores, v, self._joined)
        return k, v

    def fits_both(self, past: np.ndarray, mask: np.ndarray | None, bias: np.ndarray | None) -> bool:
        """As ``fits``, with keys and values as one past (2, B, N, P, H)."""
        return past.ndim == 5 and len(past) == 2 and self.fits(past[0], past[1], mask, bias)

    def both(
        self,
        past: np.ndarray,
        mask: np.ndarray | None,
        bias: np.ndarray | None,
        present: np.ndarray | None = None,
    ) -> np.ndarray:
        """As ``each``, with keys and values as one past, and one present, (2, B, N, ·, H)."""
        if present is None:
            _, batch, heads, length, size = past.shape
            present = np.empty((2, batch, heads, length + self.keys.shape[2], size), past.dtype)
        self.each(past[0], past[1], mask, bias, present[0], present[1])
        return present
