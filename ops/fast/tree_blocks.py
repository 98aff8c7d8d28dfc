"""Kernels of decision trees: blocks of samples down the tables of ``tree_tables``.

A block is turned, so that a feature is a row, and walks down some trees at once: each level is a
few calls of NumPy's for all pairs of a tree and a sample.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.tree_tables import BLOCK_ROWS, Table, Trees
from onnxwalk.ops.fast.tree_weights import Weights

#: pairs of a tree and a sample that walk at once: their numbers stay in the second-level cache
_PAIRS = 12_800
#: the first levels compare whole rows, for all their nodes, from this many samples on
_DENSE_ROWS, _DENSE_LEVELS = 160, 3
_LOW_BYTE = 0 if sys.byteorder == "little" else np.dtype(np.intp).itemsize - 1

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class BlockWalker:
    """Computes the scores (N, targets) of samples (N, F), block by block."""

    def __init__(self, space: Space, trees: Trees, weights: Weights, x: np.ndarray) -> None:
        """``x``: samples of the shape of those to come; at least two."""
        top, below = trees.tables
        self._below, self._top, self._trees = below, top, trees
        count = -(-len(x) // BLOCK_ROWS)
        self._rows = rows = -(-len(x) // count)
        n_trees = max(1, min(_PAIRS // rows, max(stop - a for a, stop, *_ in weights.parts)))
        pairs = n_trees * rows
        dtype = trees.dtype
        # What stays from run to run is not in the plan's memory, which other operators use, too.
        self._columns = np.tile(np.arange(rows), n_trees)
        self._place = np.repeat(np.arange(n_trees) * top.width, rows)  # only its low bytes change
        self._row_bytes = _low_bytes(self._place).copy()
        self._x = space.scratch((x.shape[1], BLOCK_ROWS), dtype)
        self._at, self._leaf = (space.scratch((pairs,), np.intp) for _ in range(2))
        self._value, self._limit = (space.scratch((pairs,), dtype) for _ in range(2))
        self._yes, self._also = (space.scratch((pairs,), np.bool_) for _ in range(2))
        self._code = space.scratch((pairs,), np.uint8)
        self._is_dense = rows >= _DENSE_ROWS and top.levels > _DENSE_LEVELS
        if self._is_dense:
            self._dense = [
                space.scratch((n_trees, (1 << _DENSE_LEVELS) - 1, BLOCK_ROWS), t)
                for t in (dtype, np.bool_, np.bool_)
            ]
        self._voted = space.scratch((n_trees + 1, rows), weights.dtype)
        self._y = space.scratch((weights.n_targets, rows), weights.dtype)
        kinds = (False,) if trees.nan_is_false else (False, True)
        self._calls = {nan: list(self._block_calls(weights, n_trees, nan)) for nan in kinds}

    def __call__(self, x: np.ndarray, y: np.ndarray) -> None:
        for start in range(0, len(x), self._rows):
            block = x[start : start + self._rows]
            np.copyto(self._x[:, : len(block)], block.T)
            nan = not self._trees.nan_is_false and bool(np.isnan(block).any())
            for function, operands in self._calls[nan]:
                function(*operands)
            y[start : start + self._rows] = self._y[:, : len(block)].T

    def _block_calls(self, weights: Weights, most: int, nan: bool) -> Iterator[Call]:
        if weights.from_zero or {part[2] for part in weights.parts} != set(
            range(weights.n_targets)
        ):
            yield self._y.fill, (0,)
        begun, walked = set(), None
        # all targets of some trees, one after the other, as they need one walk
        pieces = sorted(
            (first, min(first + most, stop), target, part)
            for part, (start, stop, target, _) in enumerate(weights.parts)
            for first in range(start, stop, most)
        )
        for first, last, target, part in pieces:
            n = (last - first) * self._rows
            if walked != (first, last):
                yield from self._walk_calls(first, last, n, nan)
                walked = first, last
            voted, y = self._voted[: last - first + 1], self._y[target]
            if self._below is None:
                width = self._top.width
                table = weights.of_entries(part, self._top)[first * width : last * width]
                place = self._place[:n]
            else:
                table, place = weights.parts[part][3], self._leaf[:n]
            yield table.take, (place, None, voted[1:].reshape(-1), "wrap")
            if target in begun or weights.from_zero:
                yield np.copyto, (voted[0], y)
                yield weights.reduce.reduce, (voted, 0, None, y)
            else:
                yield weights.reduce.reduce, (voted[1:], 0, None, y)
            begun.add(target)

    def _walk_calls(self, first: int, last: int, n: int, nan: bool) -> Iterator[Call]:
        """The calls by which all samples walk down trees ``first`` to ``last``."""
        top, width = self._top, self._top.width
        row = slice(first * width, last * width)
        place, code = self._place[:n], self._code[:n]
        low, row_bytes = _low_bytes(place), self._row_bytes[:n]
        level = 0
        if self._is_dense and last > first:
            yield from self._dense_calls(first, last, nan)
            level = _DENSE_LEVELS
        else:
            yield code.fill, (1,)
        while True:
            if width == 256:
                yield np.copyto, (low, code)
            else:
                yield np.add, (code, row_bytes, low)
            if level == top.levels:
                break
            at, value = self._at[:n], self._value[:n]
            yield top.feature[row].take, (place, None, at, "wrap")
            yield np.add, (at, self._columns[:n], at)
            yield self._x.take, (at, None, value, "wrap")
            limits = [limit[row] for limit in top.limits]
            yield from self._compare_calls(limits, top.if_nan[row], place, n, nan)
            yield np.add, (code, code, code)
            yield np.add, (code, self._yes[:n].view(np.uint8), code)
            level += 1
        if self._below is not None:
            yield top.ends[row].take, (place, None, self._leaf[:n], "wrap")
            yield self._go_below, (self._below, n, nan)

    def _compare_calls(
        self, limits: Sequence[np.ndarray], if_nan: np.ndarray, place: np.ndarray, n: int, nan: bool
    ) -> Iterator[Call]:
        """The calls that compare the values with the limits at their places."""
        value, limit = self._value[:n], self._limit[:n]
        yes, also = self._yes[:n], self._also[:n]
        for number, (compare, table) in enumerate(zip(self._trees.compare, limits, strict=True)):
            yield table.take, (place, None, limit, "wrap")
            yield compare, (value, limit, also if number else yes)
            if number:
                yield np.logical_and, (yes, also, yes)
        if nan:
            yield _correct_nans, (value, if_nan, place, yes)

    def _dense_calls(self, first: int, last: int, nan: bool) -> Iterator[Call]:
        """The calls for the first levels: all their nodes compare whole rows, and each pair picks
        the answers on its path."""
        top, trees, rows = self._top, last - first, self._rows
        of_tree = slice(first * top.width, last * top.width)
        used = np.s_[:, 1 : 1 << _DENSE_LEVELS]

        def of_nodes(table: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(table[of_tree].reshape(trees, -1)[used])

        features = of_nodes(top.feature).reshape(-1) // BLOCK_ROWS
        value, yes, also = (array[:trees] for array in self._dense)
        flat = value.reshape(features.size, BLOCK_ROWS)
        yield self._x.take, (features, 0, flat, "wrap")
        for number, (compare, limit) in enumerate(
            zip(self._trees.compare, top.limits, strict=True)
        ):
            yield compare, (value, of_nodes(limit)[..., np.newaxis], also if number else yes)
            if number:
                yield np.logical_and, (yes, also, yes)
        if nan:
            nan_limits = of_nodes(top.if_nan)[..., np.newaxis]
            yield _correct_nans_densely, (value, nan_limits, yes)
        # for node 1; 2, 3; and 4, 5, 6, 7
        answers = [yes[:, i, :rows] for i in range((1 << _DENSE_LEVELS) - 1)]
        free = [also[:, i, :rows] for i in range(3)]
        root = answers[0]
        for no, sure, result in (
            (answers[1], answers[2], free[0]),
            (answers[3], answers[5], free[1]),
            (answers[4], answers[6], free[2]),
        ):
            yield from _pick_calls(root, no, sure, result)
        yield from _pick_calls(free[0], free[1], free[2], free[1])
        code = self._code[: trees * rows].reshape(trees, rows)
        yield np.add, (root.view(np.uint8), np.uint8(2), code)
        for answer in free[:2]:
            yield np.add, (code, code, code)
            yield np.add, (code, answer.view(np.uint8), code)

    def _go_below(self, table: Table, n: int, nan: bool) -> None:
        """Pairs whose path goes on walk down one subtree after the other to their leaves."""
        leaf = self._leaf[:n]
        going = np.flatnonzero(leaf < 0)
        subtree, column = ~leaf.take(going), self._columns.take(going)
        while going.size:
            n = going.size
            at, value, code = self._at[:n], self._value[:n], self._code[:n]
            np.multiply(subtree, table.width, subtree)
            low = _low_bytes(subtree)
            row_bytes = low.copy()
            code.fill(1)
            for _ in range(table.levels):
                np.add(row_bytes, code, low)
                table.feature.take(subtree, None, at, "wrap")
                np.add(at, column, at)
                self._x.take(at, None, value, "wrap")
                calls = self._compare_calls(table.limits, table.if_nan, subtree, n, nan)
                for function, operands in calls:
                    function(*operands)
                np.add(code, code, code)
                np.add(code, self._yes[:n].view(np.uint8), code)
            np.bitwise_and(code, table.width - 1, code)
            np.add(row_bytes, code, low)
            ends = table.ends.take(subtree, None, at, "wrap")
            leaf[going] = ends
            further = np.flatnonzero(ends < 0)
            going, column = going.take(further), column.take(further)
            subtree = ~ends.take(further)


def _low_bytes(x: np.ndarray) -> np.ndarray:
    """The lowest byte of each number, as a view."""
    return x.view(np.uint8).reshape(-1, x.itemsize)[:, _LOW_BYTE]


def _pick_calls(
    which: np.ndarray, no: np.ndarray, yes: np.ndarray, result: np.ndarray
) -> Iterator[Call]:
    """The calls for result = yes where which, else no; of booleans. ``yes`` is overwritten."""
    yield np.bitwise_xor, (no, yes, yes)
    yield np.bitwise_and, (yes, which, yes)
    yield np.bitwise_xor, (no, yes, result)


def _correct_nans(
    value: np.ndarray, if_nan: np.ndarray, place: np.ndarray, answer: np.ndarray
) -> None:
    """Let a nan go where its node sends it."""
    np.copyto(answer, if_nan.take(place), where=np.isnan(value))


def _correct_nans_densely(value: np.ndarray, if_nan: np.ndarray, answer: np.ndarray) -> None:
    np.copyto(answer, if_nan, where=np.isnan(value))
