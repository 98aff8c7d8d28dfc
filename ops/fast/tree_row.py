"""One sample down all trees: a kernel that counts calls, not pairs.

The nodes of the first four levels are compared all at once, and each becomes a pointer to one of
its children. Below them a node is a record of its limit, its feature and the place of its first
child, so that a level takes four calls.
"""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.tree_tables import Trees, Unsuited
from onnxwalk.ops.fast.tree_weights import Weights

_LEVELS = 4
_WIDTH = 1 << _LEVELS


class Records:
    """The trees for ``RowWalker``.

    Record 2n and 2n + 1 are the children of node n. Leaves are records that lead to themselves:
    no value compares with their limit, a nan.
    """

    def __init__(self, trees: Trees, weights: Weights) -> None:
        """Raises Unsuited for nodes with two limits, and trees that are a leaf."""
        nodes = trees.nodes
        if len(trees.compare) != 1 or (trees.roots < 0).any():
            raise Unsuited
        self.trees, (self.compare,) = trees, trees.compare
        limits = nodes.low if nodes.low is not None else nodes.high
        assert limits is not None
        place = nodes.children.reshape(-1)
        leaf, node, itself = place < 0, np.maximum(place, 0), np.arange(place.size)
        feature = np.int32 if trees.dtype == np.float32 else np.int64
        kinds = [("limit", trees.dtype), ("feature", feature), ("child", np.int64)]
        self.table = np.empty(place.size, kinds)
        self.table["limit"] = np.where(leaf, np.nan, limits[node])
        self.table["feature"] = np.where(leaf, 0, nodes.feature[node])
        self.table["child"] = np.where(leaf, itself, 2 * node)
        self.if_nan = nodes.if_nan[node] & ~leaf
        #: the leaf in each record; 0 in others
        self.leaf = np.where(leaf, ~place, 0)
        record = np.zeros(trees.n_leaves, np.intp)
        record[~place[leaf]] = itself[leaf]
        self._make_top(limits, record)
        self.levels = max(trees.depth - _LEVELS, 0)
        self.weights, self.reduce = self._weigh(weights), weights.reduce.reduce

    def _make_top(self, limits: np.ndarray, record: np.ndarray) -> None:
        nodes, roots = self.trees.nodes, self.trees.roots
        shape = (len(roots), _WIDTH)
        top_limit = np.full(shape, np.nan, self.trees.dtype)
        top_feature, top_child = np.zeros(shape, np.intp), np.zeros(shape, np.intp)
        top_if_nan = np.zeros(shape, np.bool_)
        base = np.arange(len(roots))[:, np.newaxis] * _WIDTH
        place = roots[:, np.newaxis]
        for level in range(_LEVELS):
            begin = 1 << level
            here = np.s_[:, begin : 2 * begin]
            leaf, node = place < 0, np.maximum(place, 0)
            top_limit[here] = np.where(leaf, np.nan, limits[node])
            top_feature[here] = np.where(leaf, 0, nodes.feature[node])
            top_if_nan[here] = nodes.if_nan[node] & ~leaf
            if level < _LEVELS - 1:
                top_child[here] = base + 2 * np.arange(begin, 2 * begin)
            else:
                top_child[here] = np.where(leaf, record[np.where(leaf, ~place, 0)], 2 * node)
            children = np.where(leaf[..., np.newaxis], place[..., np.newaxis], nodes.children[node])
            place = children.reshape(len(roots), -1)
        self.top_limit, self.top_feature = top_limit.reshape(-1), top_feature.reshape(-1)
        self.top_child, self.top_if_nan = top_child.reshape(-1), top_if_nan.reshape(-1)
        #: where the first level's pointers are
        self.starts = base[:, 0] + 1

    def _weigh(self, weights: Weights) -> np.ndarray:
        """The weights (records, targets) of the leaves in the records, padded by zeros to the
        order in which sums are computed: several targets tree by tree, one pairwise."""
        if not weights.from_zero and weights.n_targets == 1:
            return weights.parts[0][3].take(self.leaf)[:, np.newaxis]
        tree = self.trees.tree_of_leaf.take(self.leaf)
        whole = all(part[:2] == (0, len(self.trees.roots)) for part in weights.parts)
        if weights.reduce is not np.add and not (whole and weights.n_targets == len(weights.parts)):
            raise Unsuited
        result = np.zeros((self.leaf.size, max(weights.n_targets, 2)), weights.dtype)
        for start, stop, target, of_leaf in weights.parts:
            mine = (tree >= start) & (tree < stop)
            result[mine, target] = of_leaf.take(self.leaf[mine])
        return result


class RowWalker:
    """Computes the scores (1, targets) of one sample (1, F)."""

    def __init__(self, space: Space, records: Records, features: int) -> None:
        trees, count = records.trees, len(records.trees.roots)
        self._records = records
        self._check_nan = not trees.nan_is_false
        self._x = space.scratch((features,), trees.dtype)
        n = records.top_limit.size
        self._top_value = space.scratch((n,), trees.dtype)
        self._top_yes = space.scratch((n,), np.bool_)
        self._pointer = space.scratch((n,), np.intp)
        self._at, self._to = (space.scratch((count,), np.intp) for _ in range(2))
        self._record = np.empty(count, records.table.dtype)
        self._limit, self._feature, self._child = (
            self._record[name] for name in ("limit", "feature", "child")
        )
        self._value = space.scratch((count,), trees.dtype)
        self._yes = space.scratch((count,), np.bool_)
        self._voted = space.scratch((count, records.weights.shape[1]), records.weights.dtype)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> None:
        records, sample = self._records, self._x
        sample[...] = x[0]
        # the square of a nan is one, and no other number's
        square = sample.dot(sample) if self._check_nan else 0.0
        nan = square != square
        value, yes, pointer, compare = (
            self._top_value,
            self._top_yes,
            self._pointer,
            records.compare,
        )
        sample.take(records.top_feature, None, value, "wrap")
        compare(value, records.top_limit, yes)
        if nan:
            np.copyto(yes, records.top_if_nan, where=np.isnan(value))
        np.add(records.top_child, yes, pointer)
        at, to = self._at, self._to
        pointer.take(records.starts, None, at, "wrap")
        for _ in range(_LEVELS - 1):
            pointer.take(at, None, to, "wrap")
            at, to = to, at
        record, value, yes = self._record, self._value, self._yes
        limit, feature, child = self._limit, self._feature, self._child
        for _ in range(records.levels):
            records.table.take(at, None, record, "wrap")
            sample.take(feature, None, value, "wrap")
            compare(value, limit, yes)
            if nan:
                np.copyto(yes, records.if_nan.take(at), where=np.isnan(value))
            np.add(child, yes, at)
        voted = records.weights.take(at, 0, self._voted, "wrap")
        y[0] = records.reduce(voted, 0)[: y.shape[1]]
