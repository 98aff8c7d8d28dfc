"""Winograd's F(2, 3) for weights that vary, and the gradients of such a convolution.

A tile of 2 × 2 results has 16 products per channel instead of 36. With the matrices of
``ops.fast.winograd`` and * summed over channels,

    Y = A' [ (G g G') * (B' d B) ] A

is linear in the filter g and in the input tile d, so that its gradients are its transpose:

    dg = G' [ Σ (A dY A') * (B' d B) ] G        summed over the tiles
    dd = B  [ (A dY A') * (G g G')  ] B'        tiles overlap by two, and are added up

All three products take less than half the time of those over columns of windows. Larger tiles would
take less yet, but double the error; these are as exact as a direct sum.

The factors of A and B are 0, 1 and -1: both transforms are sums of neighbours, made axis by axis.
So that they have long runs of memory, the columns of the padded input lie in two arrays, of even
and of odd ones: the four columns of tile j are even[j], odd[j], even[j + 1] and odd[j + 1].
Transformed tiles are ordered (column, row) of the place in the tile.

As in inference, a block in which a value is more than ``SPIKE`` times the mean is computed
directly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.bits import sizes_into
from onnxwalk.ops.fast.blocks import split_range
from onnxwalk.ops.fast.winograd import SPIKE
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.windows import Axis

#: G, the filter's transform
_FILTER = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
_FILTERS = np.kron(_FILTER, _FILTER)
#: A', from transformed results to results
_RESULT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
#: (G ⊗ G)' where the last row and column of A dY A' have the other sign, as ``_spread`` leaves them
_FILTERS_BACK = np.ascontiguousarray(_FILTERS.T * np.kron([1, 1, 1, -1], [1, 1, 1, -1])).astype(
    np.float32
)

#: bytes of a block of transformed tiles, and the least number of rows for a product
_BLOCK = 3 << 19
_FEWEST_TILES = 96


def pays(axes: Sequence[Axis], samples: int, channels: int, outputs: int) -> bool:
    """Whether F(2, 3) is possible, and faster than products over columns of windows.

    Counted in multiplications; the other numbers are passes over the memory, as measured.
    """
    if any(a[1:4] != (3, 1, 1) or a.begin < 0 or a.end < 0 for a in axes):
        return False
    down, across = (-(-a.windows // 2) for a in axes)
    places = axes[0].windows * axes[1].windows
    direct = places * (9 * channels * outputs + 53 * channels)
    tiled = down * across * (16 * channels * outputs + 440 * channels + 113 * outputs)
    return samples * down * across >= _FEWEST_TILES and tiled < direct


def bind_forward(
    space: Space,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    axes: Sequence[Axis],
    y: np.ndarray,
) -> None:
    """x (N, H, W, C), weights (M, C, 3, 3); y (N, H, W, M)."""
    weights = _Weights(space, w)
    space.call(weights.transform)
    tiles = _Tiles(space, axes, len(x), x.shape[3], y.shape[3])
    for block in tiles.blocks():
        space.call(_Forward(tiles, block, x, weights, b, y).run)


def bind_gradients(
    space: Space,
    dy: np.ndarray,
    x: np.ndarray | None,
    w: np.ndarray | None,
    axes: Sequence[Axis],
    dx: np.ndarray | None,
    dw: np.ndarray | None,
) -> None:
    """dy (N, H, W, M); x for dw and w for dx, each ``None`` if that isn't wanted. x and dx
    (N, H, W, C), w and dw (M, C, 3, 3)."""
    given = x if x is not None else dx
    assert given is not None
    tiles = _Tiles(space, axes, len(dy), given.shape[3], dy.shape[3], back=True)
    weights = None if w is None else _Weights(space, w)
    sums = None if dw is None else _WeightSums(space, dw)
    if weights is not None:
        space.call(weights.transform)
    if sums is not None:
        space.call(sums.begin)
    if dx is not None and tiles.has_stripes:
        space.call(dx.fill, 0)
    for block in tiles.blocks():
        space.call(_Backward(tiles, block, dy, x, weights, dx, sums).run)
    if sums is not None:
        space.call(sums.end)


class _Weights:
    """Weights (M, C, 3, 3), and transformed: (16, C, M)."""

    def __init__(self, space: Space, w: np.ndarray) -> None:
        outputs, channels = w.shape[:2]
        self.w = w
        self.transformed = space.scratch((16, channels, outputs), w.dtype)
        self._by_tap = space.scratch((3, 3, channels, outputs), w.dtype)
        self.has_spike = False

    def transform(self) -> None:
        flat = self.transformed.reshape(16, -1)
        np.copyto(self._by_tap, self.w.transpose(3, 2, 1, 0))
        self.has_spike = _has_spike(self._by_tap, flat)
        if not self.has_spike:
            products.matmul(_FILTERS, self._by_tap.reshape(9, -1), flat)


class _WeightSums:
    """The gradient of the weights, as it is added up block by block: transformed, or directly."""

    def __init__(self, space: Space, dw: np.ndarray) -> None:
        outputs, channels = dw.shape[:2]
        self.dw = dw
        self._total, self._part = (
            space.scratch((16, channels, outputs), dw.dtype) for _ in range(2)
        )

    def begin(self) -> None:
        self.dw.fill(0)
        self._total.fill(0)

    def add(self, inputs: np.ndarray, spread: Sequence[np.ndarray]) -> None:
        """(column, row, …, C), and for each column (row, tiles, M)"""
        by_column = self._part.reshape(4, 4, *self._part.shape[1:])
        for tiles, rows, part in zip(inputs, spread, by_column, strict=True):
            products.matmul(tiles.reshape(4, -1, tiles.shape[-1]).transpose(0, 2, 1), rows, part)
        np.add(self._total, self._part, self._total)

    def end(self) -> None:
        _, channels, outputs = self._total.shape
        by_tap = self._part.reshape(-1)[: 9 * channels * outputs]
        products.matmul(_FILTERS_BACK, self._total.reshape(16, -1), by_tap.reshape(9, -1))
        by_tap = by_tap.reshape(3, 3, channels, outputs)
        np.add(self.dw, by_tap.transpose(3, 2, 1, 0), self.dw)


class _Tiles:
    """How a convolution is cut into tiles and blocks of them, and the memory of one block.

    C channels of the input, M of the results.
    """

    def __init__(
        self,
        space: Space,
        axes: Sequence[Axis],
        samples: int,
        channels: int,
        outputs: int,
        *,
        back: bool = False,
    ) -> None:
        self.axes, self.samples = axes, samples
        self.channels, self.outputs = channels, outputs
        self.down, self.across = (-(-axis.windows // 2) for axis in axes)
        most = max(_FEWEST_TILES, _BLOCK // (16 * 4 * (channels + outputs)))
        self._rows = min(self.down, max(1, most // self.across))
        self.has_stripes = self._rows < self.down
        self._together = (
            1 if self.has_stripes else max(1, min(samples, most // (self.down * self.across)))
        )
        n, rows, across = self._together, self._rows, self.across
        count = n * rows * across
        halves = 8 * n * rows * (across + 1) * channels
        #: the padded input; its rows transformed, or what comes out of the products; all tiles
        sizes = [4 * n * (rows + 1) * (across + 1) * channels]
        if back:
            of_tiles = 16 * count * channels
            sizes += [max(halves, of_tiles, 4 * count * outputs), max(halves, of_tiles)]
            sizes += [16 * count * outputs]  # the spread gradient
        else:
            sizes += [max(halves, 16 * count * outputs)]
            sizes += [max(16 * count * channels, 8 * count * outputs)]
        self.memory = [space.scratch((size,), np.float32) for size in sizes]

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Samples, and rows of tiles."""
        for first, last in split_range(self.samples, self._together):
            for top, bottom in split_range(self.down, self._rows):
                yield slice(first, last), slice(top, bottom)


class _Part:
    """What a block reads and writes: views of whole arrays, and of the memory of all blocks."""

    def __init__(self, tiles: _Tiles, block: tuple[slice, slice]) -> None:
        self.tiles, (self.samples, self.rows) = tiles, block
        n, rows = self.samples.stop - self.samples.start, self.rows.stop - self.rows.start
        self.shape = (n, rows, tiles.across)
        height, width = (axis.windows for axis in tiles.axes)
        top, bottom = 2 * self.rows.start, min(2 * self.rows.stop, height)
        #: where the results are, and how many
        self.results = (self.samples, slice(top, bottom))
        self.extent = (bottom - top, width)

    def padded(self) -> np.ndarray:
        """(even and odd columns, n, rows, columns, C)"""
        n, down, across = self.shape
        return self._shaped(0, 2, n, 2 * down + 2, across + 1, self.tiles.channels)

    def half(self, memory: int) -> np.ndarray:
        """Rows transformed: (row, even and odd columns, n, down, columns, C)"""
        n, down, across = self.shape
        return self._shaped(memory, 4, 2, n, down, across + 1, self.tiles.channels)

    def of_inputs(self, memory: int) -> np.ndarray:
        """(column, row, n, down, across, C)"""
        return self._shaped(memory, 4, 4, *self.shape, self.tiles.channels)

    def _shaped(self, memory: int, *shape: int) -> np.ndarray:
        return self.tiles.memory[memory][: math.prod(shape)].reshape(shape)

    def inside(self, padded: np.ndarray, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The even and the odd columns that x has: in the padded input, and in x."""
        rows, columns = self.tiles.axes
        above = rows.begin - 2 * self.rows.start
        low, high = max(0, -above), min(rows.size, padded.shape[2] - above)
        for parity in range(2):
            start = (parity - columns.begin) % 2
            count = max(0, (columns.size - start + 1) // 2)
            at = (start + columns.begin) // 2
            yield (
                padded[parity][:, low + above : high + above, at : at + count],
                x[self.samples, low:high, start::2],
            )

    def transform_input(self, x: np.ndarray, half: np.ndarray, into: np.ndarray) -> bool:
        """B' d B of the tiles, by way of ``half``. Returns ``False`` where a value is too large."""
        padded = self.padded()
        padded.fill(0)
        for place, source in self.inside(padded, x):
            np.copyto(place, source)
        if _has_spike(padded, into):
            return False
        _subtract_neighbours(padded[:, :, 0::2], padded[:, :, 1::2], 2, half)
        _subtract_neighbours(half[:, 0], half[:, 1], 3, into)
        return True

    def side_by_side(self) -> np.ndarray:
        """The padded input as (n, rows, columns, C)."""
        padded = self.padded().transpose(1, 2, 3, 0, 4)
        return padded.reshape(*padded.shape[:2], -1, padded.shape[4])


class _Forward(_Part):
    def __init__(
        self,
        tiles: _Tiles,
        block: tuple[slice, slice],
        x: np.ndarray,
        weights: _Weights,
        bias: np.ndarray | None,
        y: np.ndarray,
    ) -> None:
        super().__init__(tiles, block)
        self.x, self.weights, self.bias, self.y = x, weights, bias, y[self.results]

    def run(self) -> None:
        channels, outputs = self.tiles.channels, self.tiles.outputs
        inputs = self.of_inputs(2)
        results = self._shaped(1, 4, 4, *self.shape, outputs)
        is_even = self.transform_input(self.x, self.half(1), inputs)
        if not is_even or self.weights.has_spike:
            self._run_directly()
            return
        products.matmul(
            inputs.reshape(16, -1, channels),
            self.weights.transformed,
            results.reshape(16, -1, outputs),
        )
        if self.bias is not None:  # the point 1 contributes to all results equally
            np.add(results[1, 1], self.bias, results[1, 1])
        half = self._shaped(2, 2, 4, *self.shape, outputs)
        products.matmul(_RESULT, results.reshape(4, -1), half.reshape(2, -1))
        y = self._shaped(1, 2, 2, *self.shape, outputs)
        products.matmul(_RESULT, half.reshape(2, 4, -1), y.reshape(2, 2, -1))
        for column, row in itertools.product(range(2), range(2)):
            into = self.y[:, row::2, column::2]
            np.copyto(into, y[column, row, :, : into.shape[1], : into.shape[2]])

    def _run_directly(self) -> None:
        x, (height, width) = self.side_by_side(), self.extent
        self.y[...] = 0 if self.bias is None else self.bias
        for i, j in itertools.product(range(3), range(3)):
            self.y += products.matmul(
                x[:, i : i + height, j : j + width], self.weights.w[:, :, i, j].T
            )


class _Backward(_Part):
    def __init__(
        self,
        tiles: _Tiles,
        block: tuple[slice, slice],
        dy: np.ndarray,
        x: np.ndarray | None,
        weights: _Weights | None,
        dx: np.ndarray | None,
        sums: _WeightSums | None,
    ) -> None:
        super().__init__(tiles, block)
        self.dy, self.x, self.weights, self.dx, self.sums = dy[self.results], x, weights, dx, sums

    def run(self) -> None:
        inputs = self.of_inputs(2)
        is_even = not _has_spike(self.dy, self.tiles.memory[1])
        if self.x is not None:
            # the input is transformed even if it isn't used: it is padded then
            is_even = self.transform_input(self.x, self.half(1), inputs) and is_even
        spread = self._spread() if is_even else []
        if self.sums is not None:
            if is_even:
                self.sums.add(inputs, spread)
            else:
                self._add_weights_directly(self.sums.dw)
        if self.weights is None:
            return
        if is_even and not self.weights.has_spike:
            self._add_tiles(spread, self.weights.transformed)
        else:
            self._spread_directly()
        self._take_dx()

    def _spread(self) -> list[np.ndarray]:
        """A dY A', but for the sign of the last row and column: for each column of a tile
        (row, tiles, M). The first and the last are views of every other column."""
        n, down, across = self.shape
        outputs, dy = self.tiles.outputs, self.dy
        if self.extent != (2 * down, 2 * across):
            dy = np.zeros((n, 2 * down, 2 * across, outputs), dy.dtype)
            dy[:, : self.extent[0], : self.extent[1]] = self.dy
        memory = self._shaped(3, 2, 4, n * down * across, 2 * outputs)
        by_row, between = memory[0], memory[1].reshape(2, 4, -1, outputs)
        lines = by_row.reshape(4, n, down, 2 * across, outputs)
        upper, lower = dy[:, 0::2], dy[:, 1::2]
        np.copyto(lines[0], upper)
        np.add(upper, lower, lines[1])
        np.subtract(upper, lower, lines[2])
        np.copyto(lines[3], lower)
        left, right = by_row[:, :, :outputs], by_row[:, :, outputs:]
        np.add(left, right, between[0])
        np.subtract(left, right, between[1])
        return [left, between[0], between[1], right]

    def _add_tiles(self, spread: Sequence[np.ndarray], weights: np.ndarray) -> None:
        """The gradient of the padded input."""
        tiles, padded, half = self.of_inputs(1), self.padded(), self.half(2)
        turned = weights.reshape(4, 4, *weights.shape[1:]).transpose(0, 1, 3, 2)
        for column, rows in enumerate(spread):
            into = tiles[column].reshape(4, -1, self.tiles.channels)
            products.matmul(rows, turned[column], into)
        _add_neighbours(tiles, 3, half[:, 0], half[:, 1])
        _add_neighbours(half, 2, padded[:, :, 0::2], padded[:, :, 1::2])

    def _take_dx(self) -> None:
        """From the padded gradient; rows that blocks share are added up."""
        assert self.dx is not None
        for place, into in self.inside(self.padded(), self.dx):
            if self.tiles.has_stripes:
                np.add(into, place, into)
            else:
                np.copyto(into, place)

    def _add_weights_directly(self, dw: np.ndarray) -> None:
        x, (height, width) = self.side_by_side(), self.extent
        dy = self.dy.reshape(-1, self.dy.shape[3])
        for i, j in itertools.product(range(3), range(3)):
            seen = x[:, i : i + height, j : j + width]
            dw[:, :, i, j] += products.matmul(dy.T, seen.reshape(len(dy), -1))

    def _spread_directly(self) -> None:
        """The gradient of the padded input."""
        assert self.weights is not None
        padded, (height, width) = self.padded(), self.extent
        dx = np.zeros((*self.side_by_side().shape,), padded.dtype)
        for i, j in itertools.product(range(3), range(3)):
            dx[:, i : i + height, j : j + width] += products.matmul(
                self.dy, self.weights.w[:, :, i, j]
            )
        padded[0], padded[1] = dx[:, :, 0::2], dx[:, :, 1::2]


def _has_spike(x: np.ndarray, memory: np.ndarray) -> bool:
    """Whether one value is so much larger than the others that they would lose digits."""
    sizes = memory.reshape(-1)[: x.size]
    sizes_into(x, sizes.reshape(x.shape))
    # Infinity and NaN fail the comparison, and are computed directly.
    largest, total = np.maximum.reduce(sizes), np.add.reduce(sizes)
    return not largest * len(sizes) <= SPIKE * total < np.inf


def _subtract_neighbours(even: np.ndarray, odd: np.ndarray, axis: int, into: np.ndarray) -> None:
    """B' along an axis, of tiles of even[j], odd[j], even[j + 1] and odd[j + 1]."""
    before, after = (*(slice(None),) * axis, slice(0, -1)), (*(slice(None),) * axis, slice(1, None))
    np.subtract(even[before], even[after], into[0])
    np.add(odd[before], even[after], into[1])
    np.subtract(even[after], odd[before], into[2])
    np.subtract(odd[before], odd[after], into[3])


def _add_neighbours(tiles: np.ndarray, axis: int, even: np.ndarray, odd: np.ndarray) -> None:
    """B along an axis, the way back of ``_subtract_neighbours``: what the tiles hand to their
    columns, added up where they overlap. Overwrites the tiles."""
    first, second, third, fourth = tiles  # the last with the other sign, as ``_spread`` leaves it
    along = (slice(None),) * axis
    begin, end = (*along, slice(0, 1)), (*along, slice(-1, None))
    before, after = (*along, slice(0, -1)), (*along, slice(1, None))
    inner = (*along, slice(1, -1))
    spare = even[before]
    np.subtract(second, third, spare)  # odd[j] = second - third + fourth
    np.add(second, third, third)
    np.subtract(third, first, third)  # even[j + 1] = -first + second + third
    np.subtract(spare, fourth, second)
    np.copyto(odd[begin], second[begin])
    np.add(second[after], fourth[before], odd[inner])
    np.copyto(odd[end], fourth[end])
    np.copyto(even[begin], first[begin])
    np.add(first[after], third[before], even[inner])
    np.copyto(even[end], third[end])
