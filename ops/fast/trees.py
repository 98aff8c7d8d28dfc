"""The binder of tree ensembles, for forests that have tables (``tree_tables``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.contract.dtypes import is_plain
from onnxwalk.ops.contract.records import record
from onnxwalk.ops.contract.space import Bind, Space
from onnxwalk.ops.fast.tree_blocks import BlockWalker
from onnxwalk.ops.fast.tree_row import Records, RowWalker
from onnxwalk.ops.fast.tree_tables import Nodes, Trees, Unsuited
from onnxwalk.ops.fast.tree_weights import Weights

#: what is made of the scores: finish(y, dtype of x), a tuple of arrays, of y itself if that is all
Finish = Callable[[np.ndarray, np.dtype], tuple[np.ndarray, ...]]


@record(frozen=True)
class Ensemble:
    """Trees with what their leaves give, as they are in the model.

    Places are n >= 0 for node n, ~l for leaf l.
    """

    feature: np.ndarray
    threshold: np.ndarray
    comparison: np.ndarray  # a number: see ``tree_tables``
    tracks_true: np.ndarray
    if_true: np.ndarray
    if_false: np.ndarray
    roots: np.ndarray
    target: np.ndarray  # (leaves, votes); the number of targets stands for none
    weight: np.ndarray  # (leaves, votes)
    n_targets: int
    reduce: np.ufunc
    #: whether the result is divided by the number of trees
    is_mean: bool


class _Prepared:
    """An ensemble laid out for values that are compared in one dtype."""

    def __init__(self, given: Ensemble, dtype: np.dtype) -> None:
        nodes = Nodes.of(
            given.feature, given.threshold, given.comparison, given.tracks_true,
            given.if_true, given.if_false,
        )  # fmt: skip
        self.trees = Trees(nodes, given.roots, len(given.weight), dtype)
        self.weights = Weights.of(
            self.trees, given.target, given.weight, given.n_targets, given.reduce
        )
        self._records: Records | None = None

    def walker(self, space: Space, x: np.ndarray) -> BlockWalker | RowWalker:
        if len(x) > 1:
            return BlockWalker(space, self.trees, self.weights, x)
        if self._records is None:
            self._records = Records(self.trees, self.weights)
        return RowWalker(space, self._records, x.shape[1])


def forest_binder(given: Ensemble, finish: Finish) -> Bind:
    """The binder of samples (N, F) or (F). It declines where the trees have no tables, or a sum
    would be in another order than the plain operator's. Tables are made when first bound."""
    prepared: dict[np.dtype, _Prepared | None] = {}

    def prepare(dtype: np.dtype) -> _Prepared | None:
        if dtype not in prepared:
            try:
                prepared[dtype] = _Prepared(given, dtype)
            except Unsuited:
                prepared[dtype] = None
        return prepared[dtype]

    def bind(space: Space, x: np.ndarray) -> tuple[np.ndarray, ...] | None:
        if x.ndim not in (1, 2) or not is_plain(x.dtype, "fiu"):
            return None
        samples = x.reshape(-1, x.shape[-1])
        if not given.feature.size or given.feature.max() >= samples.shape[1]:
            return None
        short = x.dtype in (np.float16, np.float32) and given.threshold.dtype != np.float64
        found = prepare(np.dtype(np.float32 if short else np.float64))
        if found is None:
            return None
        try:
            walker = found.walker(space, samples)
        except Unsuited:
            return None
        y = space.scratch((len(samples), given.n_targets), given.weight.dtype)
        y.fill(0)
        count = y.dtype.type(len(given.roots)) if given.is_mean else None
        results = finish(y, x.dtype)
        if results[0] is y and count is None:
            y = space.array(y.shape, y.dtype)
            space.call(_walk, walker, samples, y)
            return (y,)
        outputs = tuple(
            np.empty(r.shape, r.dtype) if r.dtype.hasobject else space.array(r.shape, r.dtype)
            for r in results
        )
        space.call(_walk_and_finish, walker, samples, y, count, finish, x.dtype, *outputs)
        return outputs

    return bind


def _walk(walker: BlockWalker | RowWalker, x: np.ndarray, y: np.ndarray) -> None:
    walker(x, y)


def _walk_and_finish(
    walker: BlockWalker | RowWalker,
    x: np.ndarray,
    y: np.ndarray,
    count: Any,
    finish: Finish,
    dtype: np.dtype,
    *outputs: np.ndarray,
) -> None:
    walker(x, y)
    if count is not None:
        np.divide(y, count, y)
    for output, result in zip(outputs, finish(y, dtype), strict=True):
        output[...] = result
