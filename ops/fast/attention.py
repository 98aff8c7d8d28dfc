"""The binders of com.microsoft's Attention and MultiHeadAttention without a past."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.space import Bind, Space
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.fast.softmax import softmax_into
from onnxwalk.ops.shared.products import bind_product

#: scores that are computed at a time, of some heads of a sequence: they stay in the cache
_AT_ONCE = 1 << 17

#: write_mask(into, mask): numbers to add to the scores, from a mask in one of its forms
WriteMask = Callable[..., None]


def attention_binder(write_mask: WriteMask, masked: float) -> Bind:
    """The binder of Attention; ``masked`` is added by default where a mask is 0."""

    def bind(
        space: Space,
        x: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray | None = None,
        mask_index: np.ndarray | None = None,
        past: np.ndarray | None = None,
        attention_bias: np.ndarray | None = None,
        past_sequence_length: np.ndarray | None = None,
        *,
        num_heads: int,
        scale: float | None = None,
        unidirectional: int = 0,
        mask_filter_value: float | None = None,
        qkv_hidden_sizes: Sequence[int] | None = None,
        n_outputs: int = 1,
        **others: Any,
    ) -> np.ndarray | tuple[np.ndarray, ...] | None:
        if any(others.values()) or past is not None or past_sequence_length is not None:
            return None
        if any(space.used_outputs[1:]) or x.ndim != 3 or weights.ndim != 2:
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
        q, k, v = np.split(projected, np.cumsum(sizes)[:-1], axis=-1)
        value = masked if mask_filter_value is None else mask_filter_value
        mask = _bind_mask(space, write_mask, mask_index, x.shape[1], x.shape, value)
        y = _attend(space, q, k, v, num_heads, scale, mask, attention_bias, unidirectional)
        return None if y is None else (y, *(space.unused,) * (n_outputs - 1))

    return bind


def multi_head_binder(write_mask: WriteMask, masked: float) -> Bind:
    """The binder of MultiHeadAttention with queries, keys and values apart, heads joined."""

    def bind(
        space: Space,
        query: np.ndarray,
        key: np.ndarray | None = None,
        value: np.ndarray | None = None,
        bias: np.ndarray | None = None,
        key_padding_mask: np.ndarray | None = None,
        attention_bias: np.ndarray | None = None,
        *others: np.ndarray | None,
        num_heads: int,
        scale: float | None = None,
        unidirectional: int = 0,
        mask_filter_value: float | None = None,
    ) -> np.ndarray | tuple[np.ndarray, ...] | None:
        if key is None or value is None or any(x is not None for x in others):
            return None
        if any(space.used_outputs[1:]) or unidirectional:
            return None
        parts = (query, key, value)
        if any(x.ndim != 3 or x.dtype != np.float32 or x.shape[2] % num_heads for x in parts):
            return None
        if key.shape != (len(query), key.shape[1], query.shape[2]):
            return None
        if value.shape[:2] != key.shape[:2]:
            return None
        sizes = [x.shape[2] for x in parts]
        if bias is not None and (bias.shape != (sum(sizes),) or bias.dtype != np.float32):
            return None
        offsets = [None] * 3 if bias is None else np.split(bias, np.cumsum(sizes)[:-1])
        copies = [space.scratch(x.shape, x.dtype) for x in parts]
        for x, offset, copy in zip(parts, offsets, copies, strict=True):
            if offset is None:
                space.call(np.copyto, copy, x)
            else:
                space.call(np.add, x, offset, copy)
        number = masked if mask_filter_value is None else mask_filter_value
        mask = _bind_mask(space, write_mask, key_padding_mask, key.shape[1], query.shape, number)
        q, k, v = copies
        y = _attend(space, q, k, v, num_heads, scale, mask, attention_bias, 0)
        return None if y is None else (y, space.unused, space.unused, space.unused)

    return bind


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
    batch, queries, width = q.shape
    keys = k.shape[1]
    full = (batch, heads, queries, keys)
    if bias is not None:
        if bias.dtype != q.dtype or bias.ndim != 4:
            return None
        if np.broadcast_shapes(bias.shape, full) != full:
            return None
    added = [np.broadcast_to(x, full) for x in (bias, mask) if x is not None]
    factor = scalar(scale or 1 / math.sqrt(width // heads), q.dtype)
    space.call(np.multiply, q, factor, q)
    y = space.array((batch, queries, v.shape[2]), q.dtype)
    q, k, v, joined = (
        x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3) for x in (q, k, v, y)
    )
    hidden = None
    if causal:
        hidden = ~np.tri(queries, keys, dtype=np.bool_)
        hidden[-1:] = False
    lowest = scalar(np.finfo(q.dtype).min, q.dtype)
    for i in range(batch):
        for start, stop in split_range(heads, _AT_ONCE // (queries * keys)):
            part = i, slice(start, stop)
            scores = space.scratch((stop - start, queries, keys), q.dtype)
            bind_product(space, q[part], k[part].swapaxes(1, 2), scores)
            for numbers in added:
                space.call(np.add, scores, numbers[part], scores)
            if hidden is not None:
                space.call(_fill_where, scores, lowest, hidden)
            softmax_into(space, scores, scores, 2)
            bind_product(space, scores, v[part], joined[part])
            space.free_scratch(scores)
    return y


def _fill_where(x: np.ndarray, value: np.ndarray, where: np.ndarray) -> None:
    np.copyto(x, value, where=where)
