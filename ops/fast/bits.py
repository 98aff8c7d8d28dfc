"""Limits and maxima of floats by their bits, where NumPy has no vector instructions.

There (Pyodide for one) NumPy's clip, maximum, fmax and abs of floats jump by each number, and a
processor guesses the jumps wrong where numbers are as in a network: 6 to 10 ns a number, and 1 ns
where they are sorted. Whole numbers need no jumps: 0.3 to 1 ns. The bits of floats from 0 on, read
as whole numbers, are in the floats' order, and those of negative floats are negative; ``_keys`` are
in order for all of them. What isn't finite goes by floats: a sum tells, at 0.2 ns a number.

Where there are vector instructions, or few numbers, NumPy's float functions do all of it.
"""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.calls import clip, has_vectors, largest_number_into, scalar
from onnxwalk.ops.shared.products import c_einsum

#: numbers below which calls take longer than jumps
_FEW = 512


def _pays(x: np.ndarray) -> bool:
    return not has_vectors and x.dtype in (np.float32, np.float64) and x.size >= _FEW


def call_clip(space: Space, x: np.ndarray, low: float, high: float, into: np.ndarray) -> None:
    """Record the call that limits x, of float32 or float64; NaN stays."""
    limits = scalar(low, x.dtype) + 0, scalar(high, x.dtype)  # no -0.0, whose bits are negative
    if _pays(x) and 0 <= limits[0] <= limits[1]:
        as_bits = [_bits(np.asarray(array)) for array in (x, *limits, into)]
        space.call(_clip, _in_a_row(x), x, *limits, into, *as_bits)
    else:
        space.call(clip, x, *map(np.asarray, limits), into)


def _clip(row, x, low, high, into, bits, low_bits, high_bits, into_bits) -> None:
    if _is_finite(row):
        clip(bits, low_bits, high_bits, into_bits)
    else:
        clip(x, low, high, into)


def call_raise(space: Space, x: np.ndarray, low: float) -> None:
    """Record the call by which NaN and -infinity become ``low``, which is the lowest finite number,
    or less than all of x."""
    if _pays(x):
        space.call(_raise, _in_a_row(x), x, scalar(low, x.dtype))
    else:
        space.call(largest_number_into(x), x, scalar(low, x.dtype))


def _raise(row, x, low) -> None:
    if not _is_finite(row):
        np.fmax(x, low, x)


def max_pool_2x2(space: Space, block: np.ndarray) -> np.ndarray:
    """The largest number of each 2 × 2 of (…, H, W, M), NaN where there is none; an odd last row or
    column is left out."""
    height, width, outputs = block.shape[-3:]
    shape = (*block.shape[:-3], height // 2, width, outputs)
    rows = space.scratch(shape, block.dtype)
    result = space.scratch((*shape[:-2], width // 2, outputs), block.dtype)
    even, odd = block[..., 0 : height - 1 : 2, :, :], block[..., 1::2, :, :]
    left, right = rows[..., 0 : width - 1 : 2, :], rows[..., 1::2, :]
    if not _pays(block):
        space.call(largest_number_into(rows), even, odd)
        space.call(largest_number_into(result), left, right)
        return result
    keys, smaller = (space.scratch(x.shape, _bits(x).dtype) for x in (block, result))
    of_even, of_odd = keys[..., 0 : height - 1 : 2, :, :], keys[..., 1::2, :, :]
    floats = even, odd, rows, left, right, result
    as_bits = map(_bits, (block, rows, left, right, result))
    space.call(_pool, _in_a_row(block), *floats, *as_bits, keys, of_even, of_odd, smaller)
    return result


def _pool(
    row, even, odd, rows, left, right, result,
    bits, rows_bits, left_bits, right_bits, result_bits, keys, of_even, of_odd, smaller,
) -> None:  # fmt: skip
    if not _is_finite(row):
        np.fmax(even, odd, rows)
        np.fmax(left, right, result)
        return
    _keys(bits, keys, keys)
    np.maximum(of_even, of_odd, out=rows_bits)
    np.maximum(left_bits, right_bits, out=result_bits)
    _keys(result_bits, smaller, result_bits)


def _keys(bits: np.ndarray, work: np.ndarray, into: np.ndarray) -> None:
    """Whole numbers in the order of the floats, of their bits; and the bits of these. ``work`` may
    be overwritten."""
    np.right_shift(bits, 8 * bits.itemsize - 1, work)
    np.bitwise_and(work, np.iinfo(bits.dtype).max, work)
    np.bitwise_xor(bits, work, into)


def sizes_into(x: np.ndarray, into: np.ndarray) -> None:
    """Write the absolute values of x."""
    if _pays(x):
        bits = _bits(x)
        np.bitwise_and(bits, np.iinfo(bits.dtype).max, _bits(into))
    else:
        np.abs(x, into)


def _bits(x: np.ndarray) -> np.ndarray:
    return x.view(f"i{x.itemsize}")


def _in_a_row(x: np.ndarray) -> np.ndarray:
    """All numbers of an array in a row, where its memory has no gaps; else itself."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    turned = x.transpose(order)
    return turned.reshape(-1) if turned.flags.c_contiguous else x


def _is_finite(x: np.ndarray) -> bool:
    """Whether all numbers are; may be False where their sum isn't."""
    total = c_einsum("abcdefghijklmnopqrstuvwxyz"[: x.ndim] + "->", x)
    return total - total == 0  # type: ignore[no-any-return]
