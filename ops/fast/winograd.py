"""3×3 and other small convolutions with fewer multiplications (Winograd's minimal filtering).

A tile of m × m results needs (m + r - 1)² products per channel instead of m² r²: for F(4, 3) a
quarter. In matrices (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015):

    Y = A' [ (G g G') * (B' d B) ] A

d is a tile of the input, g a filter; the products * are summed over the channels, so that they are
one GEMM for each of the (m + r - 1)² places. The transforms are GEMMs too: with Kronecker's
product B' d B is (B' ⊗ B') times d as a vector, for all tiles and channels of a block at once.

The interpolation points, 0, 1, -1, 1/2, -2, …, were chosen for accuracy: with F(4, 3) the largest
error is 2.5e-6 of the largest value; a direct sum has 5e-7. The error is proportional to the
*largest* values of a tile, though: next to a value a thousand times larger, small results lose
their digits. So each block is checked first, and computed directly if its largest value is more
than ``SPIKE`` times the mean: then no relative error exceeds 1e-4.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.bits import max_pool_2x2, sizes_into
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.epilogue import Epilogue
from onnxwalk.ops.shared import products

#: halves and integers, whose products are exact in float64
_POINTS = [0.0, 1.0, -1.0, 0.5, -2.0, 2.0, -0.5]

SPIKE = 500.0

#: number of transformed weights from which on they are loaded from memory, not from a cache
_LARGE = 1 << 20

#: bytes of a block of transformed tiles that fits a cache, and the least number of rows for a GEMM
_BLOCK = 1 << 20
_FEWEST_TILES = 96


@functools.cache
def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A' (m, n), G (n, r) and B' (n, n) of F(m, r), n = m + r - 1, in float64.

    Toom-Cook: polynomials are multiplied by evaluation at n - 1 points and at infinity.
    """
    n = m + r - 1
    points = _POINTS[: n - 1]
    a = np.zeros((m, n))
    g = np.zeros((n, r))
    b = np.zeros((n, n))
    for j, point in enumerate(points):
        others = [p for k, p in enumerate(points) if k != j]
        scale = math.prod(point - p for p in others)
        a[:, j] = [point**i for i in range(m)]
        g[j] = [point**i / scale for i in range(r)]
        b[j, : n - 1] = _from_roots(others)
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = _from_roots(points)
    return a, g, b


def _from_roots(roots: list[float]) -> list[float]:
    """The coefficients of the product of (x - root), constant first."""
    coefficients = [1.0]
    for root in roots:
        shifted = [0.0, *coefficients]
        scaled = [*(-root * c for c in coefficients), 0.0]
        coefficients = [x + y for x, y in zip(shifted, scaled, strict=True)]
    return coefficients


@functools.cache
def transforms(m: int, r: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """(B' ⊗ B') (n², n²) and (A' ⊗ A') (m², n²)"""
    a, _, b = matrices(m, r)
    return np.kron(b, b).astype(dtype), np.kron(a, a).astype(dtype)


def transform_weights(w: np.ndarray, m: int) -> np.ndarray:
    """Weights (M, C, r, r) as (n², C, M), contiguous or a view of (n², M, C): BLAS accepts both."""
    outputs, channels, r, _ = w.shape
    _, g, _ = matrices(m, r)
    both = np.kron(g, g).astype(w.dtype)
    by_row = w.transpose(2, 3, 1, 0)
    if by_row.flags.c_contiguous:
        return products.matmul(both, by_row.reshape(r * r, -1)).reshape(-1, channels, outputs)
    product = products.matmul(both, w.reshape(outputs * channels, -1).T)
    return product.reshape(-1, outputs, channels).transpose(0, 2, 1)


@functools.cache
def weight_layout(m: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """The function that transforms the weights for tiles of m × m results."""
    return lambda w, group: products.lay_out(transform_weights(w, m))


def exact_tiles(weights: Any) -> tuple[int, ...] | None:
    """For weights (M, C, r, r) that are whole numbers of 8 bits, as of quantized models: the m with
    which the sums of whole numbers stay exact in float32, as F(2, 3) has halves only. ``None`` for
    other weights. ``weights``: an ``ops.fast.conv.Weights``."""
    w = weights.w
    for part in (w[0], w):  # most weights are told by one filter
        if np.abs(part).max() > 255 or not np.array_equal(part, np.rint(part)):
            return None
    if w.shape[2] != 3:
        return ()
    # sums of quarters times differences of four bytes; corners are transformed to themselves
    if not _is_exact(w[:, :, ::2, ::2]):
        return ()
    transformed = weights(weight_layout(2))  # which is kept: it is also what will be multiplied
    if _is_exact(transformed):
        return (2,)
    weights.forget(weight_layout(2))
    return ()


def _is_exact(transformed: np.ndarray) -> bool:
    """Whether sums over the channels, axis 1, stay exact."""
    return bool(4 * np.abs(transformed).sum(axis=1).max() * 4 * 255 < 2**24)


def best_tile(
    shape: tuple[int, ...], channels: int, r: int, tiles: tuple[int, ...] | None = None
) -> int | None:
    """The fastest m for a result (N, M, H, W), one of ``tiles`` if that is given; ``None`` if a
    direct product is faster.

    Costs are counted in multiplications; those of copying an element and of a GEMM of few rows were
    fitted to measurements (shapes of 8² to 56², 32 to 512 channels, batch 1 to 32), within 20 %.
    Without BLAS a multiplication takes a third of the time of a copy, however few rows there are,
    and the calls that of 100,000.
    """
    n, outputs, height, width = shape
    places = n * height * width
    blas = products.has_blas
    gather, copy, few, calls = (25, 60, 16, 0) if blas else (3, 3, 0, 100_000)
    direct = r * r * places * (channels * outputs * (1 + few / places) + gather * channels)
    costs = {}
    for m in {3: (2, 4), 5: (2, 4), 7: (2,)}.get(r, ()) if tiles is None else tiles:
        size = m + r - 1
        count = n * -(-height // m) * -(-width // m)
        multiplied = size**2 * count * channels * outputs * (1 + few / count)
        into, out = (size**4, m * m * size**2) if blas else (2 * size**3, m * size * (size + m))
        into += copy * size**2
        out += copy * m * m
        costs[m] = multiplied + count * (into * channels + out * outputs) + calls
    if not costs or min(channels, outputs) < 8:
        return None
    m = min(costs, key=lambda tile: costs[tile])
    if (
        m == 4
        and 2 in costs
        and (r + 3) ** 2 * channels * outputs > _LARGE
        and costs[2] < 1.3 * costs[4]
    ):
        m = 2  # less than half of the transformed weights is worth a higher cost
    # In a network large weights are read from memory, not from a cache as in a measurement of one
    # convolution: in later layers of ResNet50 direct products are as fast.
    gain = 1.5 if blas and (m + r - 1) ** 2 * channels * outputs > _LARGE else 1
    return m if costs[m] * gain < direct else None


def bind_winograd(
    space: Space,
    source: np.ndarray,
    weights: np.ndarray,
    transformed: np.ndarray,
    m: int,
    epilogue: Epilogue,
    y: np.ndarray,
    residual: np.ndarray | None,
) -> None:
    """``source`` (N, H + …, W + …, C), padded to complete tiles; ``transformed`` by
    ``transform_weights``; ``y`` and ``residual`` (N, H, W, M)."""
    n, r = len(y), weights.shape[2]
    size, channels, outputs = m + r - 1, source.shape[3], y.shape[3]
    down, across = ((extent - r + 1) // m for extent in source.shape[1:3])
    into, out_of = transforms(m, r, source.dtype)
    tiles = _tiles(source, down, across, m, size)  # (size, size, N, down, across, C)
    # Tiles of complete rows or images, whose transforms fit the second-level cache.
    most = max(_FEWEST_TILES, _BLOCK // (4 * size**2 * (channels + outputs)))
    rows = min(down, max(1, most // across))
    together = max(1, min(n, most // (down * across))) if rows == down else 1
    capacity = together * rows * across
    d, v = (space.scratch((size**2 * capacity * channels,), source.dtype) for _ in range(2))
    o = space.scratch((size**2 * capacity * outputs,), source.dtype)
    results = space.scratch((m * m * capacity * outputs,), source.dtype)
    halves = results
    if not products.has_blas:
        halves = space.scratch((m * size * capacity * outputs,), source.dtype)

    ones = np.ones(m * m * capacity * channels, source.dtype)

    def shaped(array: np.ndarray, *shape: int) -> np.ndarray:
        return array[: math.prod(shape)].reshape(shape)

    for first, last in split_range(n, together):
        for top, bottom in split_range(down, rows):
            here = tiles[:, :, first:last, top:bottom]
            count = (last - first) * (bottom - top) * across
            gathered = shaped(d, size, size, count, channels)
            sample = gathered[:m, :m]
            block = _Block(
                here,
                gathered,
                shaped(v, size * size, count, channels),
                shaped(o, size * size, count, outputs),
                shaped(results, m, m, count, outputs),
                weights,
                transformed,
                into,
                out_of,
                epilogue.bias,
                sample,
                v[: sample.size],
                ones[: sample.size],
                None,
            )
            if not products.has_blas:
                half = shaped(halves, m, size, count, outputs)
                block = block._replace(halves=_halves(m, r, block, half))
            space.call(block.run)
            result = block.result
            if epilogue.pool:  # within a tile
                result = max_pool_2x2(space, result.reshape(m, m, count * outputs))
            tile = len(result)
            where = (slice(first, last), slice(top * tile, bottom * tile))
            _scatter(
                space,
                result.reshape(tile, tile, last - first, bottom - top, across, outputs),
                y[where],
                None if residual is None else residual[where],
                epilogue._replace(pool=False, is_pooled=epilogue.pool),
            )


#: calls without arguments
Calls = Sequence[Callable[[], Any]]


def _halves(m: int, r: int, block: _Block, half: np.ndarray) -> tuple[Calls, Calls]:
    """The same in transforms of the rows, then of the columns: for F(4, 3) 12 multiplications an
    element instead of 36, but many products, each of few rows. That pays where there is no BLAS.

    The calls up to the products ``block.o``, and those from there to the results. ``half``
    (m, size, tiles, M) has the results of the rows."""
    a, _, b = (matrix.astype(half.dtype) for matrix in matrices(m, r))
    d, size = block.d, len(block.d)
    rows, o = block.v.reshape(d.shape), block.o.reshape(size, size, *block.o.shape[1:])

    def transform(matrix: np.ndarray, source: np.ndarray, into: np.ndarray) -> Callable[[], Any]:
        """Along the first axis."""
        return products.product(matrix, source.reshape(size, -1), into.reshape(len(into), -1))

    before = [transform(b, d, rows), *(transform(b, *x) for x in zip(rows, d, strict=True))]
    before.append(
        products.product(d.reshape(size * size, *d.shape[2:]), block.transformed, block.o)
    )
    pairs = zip(half, block.result, strict=True)
    return before, [transform(a, o, half), *(transform(a, *x) for x in pairs)]


class _Block(NamedTuple):
    """The computation of a block of tiles, from the input to the results with bias."""

    tiles: np.ndarray  # a view of the input: (size, size, n, down, across, C)
    d: np.ndarray  # (size, size, tiles, C)
    v: np.ndarray  # (size², tiles, C)
    o: np.ndarray  # (size², tiles, M)
    result: np.ndarray  # (m, m, tiles, M)
    weights: np.ndarray
    transformed: np.ndarray
    into: np.ndarray
    out_of: np.ndarray
    bias: np.ndarray | None
    sample: np.ndarray  # a part of d that covers the input once
    sizes: np.ndarray  # memory for its absolute values
    ones: np.ndarray
    halves: tuple[Calls, Calls] | None

    def run(self) -> None:
        places = len(self.v)
        np.copyto(self.d.reshape(self.tiles.shape), self.tiles)
        if self._has_spike():
            self._run_directly()
            return
        if self.halves is not None:
            self._run_by_halves(*self.halves)
            return
        products.matmul(self.into, self.d.reshape(places, -1), self.v.reshape(places, -1))
        products.matmul(self.v, self.transformed, self.o)
        self._add_bias()
        flat = self.result.reshape(len(self.out_of), -1)
        products.matmul(self.out_of, self.o.reshape(places, -1), flat)

    def _run_by_halves(self, before: Calls, after: Calls) -> None:
        for call in before:
            call()
        self._add_bias()
        for call in after:
            call()

    def _add_bias(self) -> None:
        if self.bias is not None:
            # The point 1 contributes to all results equally.
            slab = self.o[len(self.d) + 1]
            np.add(slab, self.bias, slab)

    def _has_spike(self) -> bool:
        """Whether one value is so much larger than the others that they would lose digits."""
        sizes = self.sizes
        sizes_into(self.sample, sizes.reshape(self.sample.shape))
        # Infinity and NaN fail the comparison, and are computed directly.
        largest, total = np.maximum.reduce(sizes), np.dot(sizes, self.ones)
        return not largest * len(sizes) <= SPIKE * total < np.inf

    def _run_directly(self) -> None:
        m, r = len(self.result), self.weights.shape[2]
        rows = self.result.reshape(-1, self.result.shape[-1])
        rows[...] = 0 if self.bias is None else self.bias
        for i, j in itertools.product(range(r), range(r)):
            inputs = self.d[i : i + m, j : j + m].reshape(-1, self.d.shape[-1])
            rows += products.matmul(inputs, self.weights[:, :, i, j].T)


def _tiles(x: np.ndarray, down: int, across: int, m: int, size: int) -> np.ndarray:
    """Overlapping tiles of (N, H, W, C) as a view (size, size, N, down, across, C)."""
    n, h, w, c = x.strides
    shape = (size, size, x.shape[0], down, across, x.shape[3])
    return as_strided(x, shape, (h, w, n, h * m, w * m, c), writeable=False)


def _scatter(
    space: Space, result: np.ndarray, y: np.ndarray, residual: np.ndarray | None, epilogue: Epilogue
) -> None:
    """Tiles (m, m, n, down, across, M) to (n, H, W, M), whose last tiles may be incomplete."""
    m = len(result)
    for (tiles_h, rows_h), (tiles_w, rows_w) in itertools.product(
        _pieces(y.shape[1], m), _pieces(y.shape[2], m)
    ):
        piece = result[: rows_h.step, : rows_w.step, :, tiles_h, tiles_w]

        def tiled(array: np.ndarray, rows_h: slice = rows_h, rows_w: slice = rows_w) -> np.ndarray:
            part = array[:, rows_h.start : rows_h.stop, rows_w.start : rows_w.stop]
            n, h, w, c = part.shape
            shape = (n, h // rows_h.step, rows_h.step, w // rows_w.step, rows_w.step, c)
            a, b, d, e = part.strides
            strides = (a, b * rows_h.step, b, d * rows_w.step, d, e)
            return as_strided(part, shape, strides).transpose(2, 4, 0, 1, 3, 5)

        rest = None if residual is None else tiled(residual)
        epilogue.apply(space, piece, tiled(y), rest, with_bias=False)


def _pieces(size: int, m: int) -> list[tuple[slice, slice]]:
    """(tiles, slice(start, stop, height)) of the complete tiles, and of an incomplete last one."""
    whole = size // m
    pieces = [(slice(0, whole), slice(0, whole * m, m))] if whole else []
    if size % m:
        pieces.append((slice(whole, whole + 1), slice(whole * m, size, size % m)))
    return pieces
