"""The binders of the normalizations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import starmap

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.fast.copies import rows_of
from onnxwalk.ops.shared.axes import normalize_axis


def bind_batch_normalization(
    space: Space,
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
    n_outputs: int = 1,
) -> np.ndarray | None:
    """x * factor + shift"""
    if training_mode or n_outputs > 1 or not space.is_constant(scale, b, mean, var):
        return None
    if not spatial:  # one value for each position
        return None
    if x.dtype != np.float32 or scale.dtype != x.dtype or scale.ndim != 1 or x.ndim < 2:
        return None
    if not scale.shape == b.shape == mean.shape == var.shape == x.shape[1:2]:
        return None
    factor = scale / np.sqrt(var.astype(np.float64) + epsilon)
    shift = b - mean * factor
    y = space.like(x)
    _scale_and_shift(space, x, factor.astype(x.dtype), shift.astype(x.dtype), y)
    return y


def _scale_and_shift(
    space: Space, x: np.ndarray, factor: np.ndarray, shift: np.ndarray, y: np.ndarray
) -> None:
    """x * factor + shift, with constants of one value per channel."""
    images, results = np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1)
    if images.flags.c_contiguous and results.flags.c_contiguous:
        # Rows of several pixels: for 64 channels this takes half of the time.
        channels = len(factor)
        pixels = x.size // max(1, channels)
        together = _lines_per_row(pixels, channels)
        shape = (pixels // together, together * channels)
        images, results = images.reshape(shape), results.reshape(shape)
        factor, shift = np.tile(factor, together), np.tile(shift, together)
        for start, stop in split_range(len(images), max(1, _BLOCK // max(1, shape[1]))):
            source, into = images[start:stop], results[start:stop]
            space.call(np.multiply, source, factor, into)
            space.call(np.add, into, shift, into)
        return
    channel = (-1, *(1,) * (x.ndim - 2))
    factor, shift = factor.reshape(channel), shift.reshape(channel)
    plane = max(1, math.prod(x.shape[2:]))
    for samples in starmap(slice, split_range(len(x), _BLOCK // (plane * x.shape[1]))):
        for part in starmap(slice, split_range(x.shape[1], _BLOCK // plane)):
            source, into = x[samples, part], y[samples, part]
            space.call(np.multiply, source, factor[part], into)
            space.call(np.add, into, shift[part], into)


def _lines_per_row(count: int, length: int) -> int:
    """How many of ``count`` lines to join to one of up to 4096 elements: NumPy copies lines of
    fewer than 2048 to a buffer first. A divisor of ``count``."""
    most = max(1, 4096 // max(1, length))
    return next(n for n in range(min(most, max(1, count)), 0, -1) if count % n == 0)


#: elements of a block of rows
_BLOCK = 1 << 16


def _center_rows(
    space: Space, x: np.ndarray, epsilon: float, y: np.ndarray, *, centred: bool = True
) -> np.ndarray:
    """Write x - mean along the rows of a block to ``y``; returns 1 / √(var + ε).

    Sums are dot products, which need no extra pass for the squares (LayerNormalization 8x128x768:
    from 1.8 to 1.0 times ONNX Runtime's time with small buffers).
    """
    length = x.shape[1]
    mean, deviation = (space.scratch((len(x), 1), x.dtype) for _ in range(2))
    if centred:
        # divided afterwards: 1 / length is rounded, and a constant row must become zeros
        space.call(np.vecdot, x, np.ones(length, x.dtype), mean[:, 0])
        space.call(np.divide, mean, scalar(length, x.dtype), mean)
        space.call(np.subtract, x, mean, y)
        x = y
    space.call(np.vecdot, x, x, deviation[:, 0])
    space.call(np.divide, deviation, scalar(length, x.dtype), deviation)
    space.call(np.add, deviation, scalar(epsilon, x.dtype), deviation)
    space.call(np.sqrt, deviation, deviation)
    space.call(np.divide, scalar(1, x.dtype), deviation, deviation)
    space.free_scratch(mean)
    return deviation


def _normalize_lines(
    space: Space,
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray | None,
    axis: int,
    epsilon: float,
    *,
    centred: bool,
    residual: Sequence[np.ndarray] = (),
    total: np.ndarray | None = None,
) -> np.ndarray | None:
    """(x - mean) / √(var + ε)·scale + b over ``axis`` and all axes after it. Arrays of a
    ``residual``, of the shape of x or of a line, are added to x before; ``total`` gets that sum."""
    line = x.shape[normalize_axis(axis, x.ndim) :]
    if x.dtype != np.float32 or not x.size or not x.flags.c_contiguous:
        return None
    if any(p is not None and (p.shape != line or p.dtype != x.dtype) for p in (scale, b)):
        return None
    y = space.array(x.shape, x.dtype)
    length = math.prod(line)
    rows, results = x.reshape(-1, length), y.reshape(-1, length)
    together = _lines_per_row(len(rows), length) if space.is_constant(scale, b) else 1
    scale, b = scale.reshape(-1), None if b is None else b.reshape(-1)
    if together > 1:
        scale, b = np.tile(scale, together), None if b is None else np.tile(b, together)
    for start, stop in split_range(len(rows) // together, max(1, _BLOCK // (length * together))):
        source, block = (a[start * together : stop * together] for a in (rows, results))
        if residual:
            sums = block if total is None else total.reshape(-1, length)
            sums = sums[start * together : stop * together] if total is not None else sums
            for other in residual:
                other = other if other.ndim == 1 else other.reshape(-1, length)
                part = other if other.ndim == 1 else other[start * together : stop * together]
                space.call(np.add, source, part, sums)
                source = sums
        deviation = _center_rows(space, source, epsilon, block, centred=centred)
        space.call(np.multiply, block if centred else source, deviation, block)
        block = block.reshape(-1, length * together)
        space.call(np.multiply, block, scale, block)
        if b is not None:
            space.call(np.add, block, b, block)
        space.free_scratch(deviation)
    return y


def bind_layer_normalization(
    space: Space,
    x: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[np.ndarray, ...] | None:
    if stash_type != 1 or any(space.used_outputs[1:]):
        return None
    y = _normalize_lines(space, x, scale, b, axis, epsilon, centred=True)
    return None if y is None else (y, space.unused, space.unused)


def bind_rms_normalization(
    space: Space,
    x: np.ndarray,
    scale: np.ndarray,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> np.ndarray | None:
    if stash_type != 1:
        return None
    return _normalize_lines(space, x, scale, None, axis, epsilon, centred=False)


def bind_skip_normalization(
    space: Space,
    x: np.ndarray,
    skip: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    epsilon: float,
    centred: bool = True,
) -> tuple[np.ndarray, ...] | None:
    """The normalization of x + skip + bias, and that sum as the fourth output."""
    if any(space.used_outputs[1:3]) or skip.shape != x.shape or not skip.flags.c_contiguous:
        return None
    if bias is not None and bias.shape != x.shape[-1:]:
        return None
    residual = [skip] if bias is None else [skip, bias]
    if x.ndim not in (2, 3) or any(other.dtype != x.dtype for other in residual):
        return None
    total = space.array(x.shape, x.dtype) if any(space.used_outputs[3:]) else None
    y = _normalize_lines(
        space, x, scale, b, -1, epsilon, centred=centred, residual=residual, total=total
    )
    unused = space.unused
    return None if y is None else (y, unused, unused, unused if total is None else total)


def bind_embed_layer_normalization(
    space: Space,
    ids: np.ndarray,
    segment_ids: np.ndarray | None,
    words: np.ndarray,
    positions: np.ndarray,
    segments: np.ndarray | None,
    scale: np.ndarray,
    b: np.ndarray,
    mask: np.ndarray | None = None,
    position_ids: np.ndarray | None = None,
    *,
    epsilon: float = 9.999999960041972e-13,
    mask_index_type: int | None = None,
) -> tuple[np.ndarray, ...] | None:
    """The normalization of the sum of the rows of each token, the 1s of the mask, and that sum."""
    tables = [table for table in (words, positions, segments) if table is not None]
    if ids.ndim != 2 or not ids.size or any(table.ndim != 2 for table in tables):
        return None
    if any(t.dtype != np.float32 or t.shape[1:] != words.shape[1:] for t in tables):
        return None
    if (segment_ids is None) != (segments is None) or not words.size:
        return None
    batch, length = ids.shape
    if position_ids is None:
        position_ids = space.mark_constant(np.arange(length)[np.newaxis])
    given = [x for x in (segment_ids, mask) if x is not None]
    if any(x.shape != ids.shape for x in given):
        return None
    if position_ids.shape not in ((1, length), ids.shape):
        return None
    total = space.array((batch, length, words.shape[1]), words.dtype)
    (found,) = rows_of(space, [words], ids)
    (placed,) = rows_of(space, [positions], position_ids)
    shape = (len(position_ids), length, -1)
    space.call(np.add, found.reshape(total.shape), placed.reshape(shape), total)
    if segments is not None and segment_ids is not None:
        (found,) = rows_of(space, [segments], segment_ids)
        space.call(np.add, total, found.reshape(total.shape), total)
    y = _normalize_lines(space, total, scale, b, -1, epsilon, centred=True)
    if y is None:
        return None
    counts = space.array((batch,), np.int32)
    if mask is None:
        space.call(counts.fill, 0)
    else:
        ones = space.scratch(mask.shape, np.bool_)
        space.call(np.equal, mask, scalar(1, mask.dtype), ones)
        space.call(partial(np.add.reduce, axis=1, dtype=np.int32, out=counts), ones)
    return y, counts, total


def _normalize_groups(
    space: Space, x: np.ndarray, scale: np.ndarray, b: np.ndarray, groups: int, epsilon: float
) -> np.ndarray | None:
    """(x - mean) / √(var + ε)·scale + b for each sample's groups of channels."""
    if x.dtype != np.float32 or x.ndim < 3 or not x.size or not x.flags.c_contiguous:
        return None
    samples, channels = x.shape[:2]
    if groups < 1 or channels % groups:
        return None
    if any(p.shape != (channels,) or p.dtype != x.dtype for p in (scale, b)):
        return None
    y = space.array(x.shape, x.dtype)
    rows, results = x.reshape(samples, groups, -1), y.reshape(samples, groups, -1)
    length = rows.shape[2]
    scale, b = (p.reshape(groups, -1, 1) for p in (scale, b))
    for batch in starmap(slice, split_range(samples, _BLOCK // (groups * length))):
        for part in starmap(slice, split_range(groups, _BLOCK // length)):
            source, block = (a[batch, part].reshape(-1, length) for a in (rows, results))
            deviation = _center_rows(space, source, epsilon, block)
            shape = (batch.stop - batch.start, *scale[part].shape)
            factor = space.scratch(shape, x.dtype)
            space.call(np.multiply, scale[part], deviation.reshape(*shape[:2], 1, 1), factor)
            planes = block.reshape(*shape[:3], -1)
            space.call(np.multiply, planes, factor, planes)
            space.call(np.add, planes, b[part], planes)
            space.free_scratch(factor)
            space.free_scratch(deviation)
    return y


def bind_instance_normalization(
    space: Space, input: np.ndarray, scale: np.ndarray, b: np.ndarray, *, epsilon: float = 1e-5
) -> np.ndarray | None:
    """Groups of one channel (1x64x56x56: from 2.5 to 1.2 times ONNX Runtime's time with small
    buffers)."""
    return _normalize_groups(space, input, scale, b, input.shape[1], epsilon)


def bind_group_normalization(
    space: Space,
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> np.ndarray | None:
    if stash_type != 1:
        return None
    return _normalize_groups(space, x, scale, bias, num_groups, epsilon)
