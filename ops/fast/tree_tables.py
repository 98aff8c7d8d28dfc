"""Decision trees as tables in which the children of a node follow from its place.

A table has rows of ``width`` entries, one row for each subtree. Entry 1 is its root, and the
children of entry h are 2h and 2h + 1: a walk down is arithmetic on one byte. Where a tree ends
early, its leaf takes the place of both children. Below the last level stands where each path goes
on: at a leaf, or at another subtree.
"""

from __future__ import annotations

import functools

import numpy as np

from onnxwalk.ops.contract.records import record
from onnxwalk.ops.shared.numeric import distinct
from onnxwalk.ops.shared.places import as_places

#: columns of a block of samples; the places of features in it are multiples of this
BLOCK_ROWS = 256
#: the most levels of a tree's row, so that the entry is a byte, and those of a subtree's
_TREE_LEVELS, _SUBTREE_LEVELS = 8, 4
#: the first levels end where, of paths that choose at random, fewer than this go on
_FEW = 0.3
#: rounds of subtrees below each other; deeper trees are rare
_ROUNDS = 64

#: the comparisons, in the order of their numbers: is the value <= < >= > = != the threshold?
_AT_MOST, _LESS, _AT_LEAST, _MORE, _EQUAL, _OTHER = range(6)


class Unsuited(Exception):
    """These trees have no tables."""


@record(frozen=True)
class Nodes:
    """Nodes that ask whether low <= value <= high; one limit may be missing in all of them.

    Children are n >= 0 for node n, ~l for leaf l.
    """

    feature: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    if_nan: np.ndarray  # whether a nan goes to the child for "yes"
    children: np.ndarray  # (n, 2): for no and yes

    @classmethod
    def of(
        cls,
        feature: np.ndarray,
        threshold: np.ndarray,
        comparison: np.ndarray,
        tracks_true: np.ndarray,
        if_true: np.ndarray,
        if_false: np.ndarray,
    ) -> Nodes:
        """From nodes with comparisons: ``comparison`` is its number, as above."""
        kinds = set(distinct(comparison).tolist())
        if not kinds or max(kinds) > _OTHER:
            raise Unsuited
        # < is not >=, > is not <=: true and false change places
        negated = np.isin(comparison, (_LESS, _MORE, _OTHER))
        if negated.any() and np.isnan(threshold[negated]).any():
            raise Unsuited
        low, high = threshold, threshold
        only_low, only_high = kinds <= {_LESS, _AT_LEAST}, kinds <= {_AT_MOST, _MORE}
        if not (only_low or only_high):
            low = np.where(np.isin(comparison, (_AT_MOST, _MORE)), -np.inf, low)
            high = np.where(np.isin(comparison, (_LESS, _AT_LEAST)), np.inf, high)
        yes = np.where(negated, if_false, if_true)
        no = np.where(negated, if_true, if_false)
        return cls(
            feature=feature,
            low=None if only_high else low.astype(threshold.dtype, copy=False),
            high=None if only_low else high.astype(threshold.dtype, copy=False),
            if_nan=tracks_true ^ negated,
            children=np.stack([no, yes], axis=1),
        )


@record(frozen=True)
class Table:
    """The entries of all rows, one row after the other, for walks of ``levels`` levels."""

    levels: int
    width: int
    feature: np.ndarray  # the feature's number times BLOCK_ROWS
    limits: tuple[np.ndarray, ...]
    if_nan: np.ndarray
    #: where the path that ends in this entry goes on: l for leaf l, ~s for subtree s. The entries
    #: after the last one begin anew at 0
    ends: np.ndarray


class Trees:
    """All trees' tables: ``top`` has a row for each tree, ``below`` one for each subtree."""

    def __init__(self, nodes: Nodes, roots: np.ndarray, n_leaves: int, dtype: np.dtype) -> None:
        """``dtype``: in which values are compared. Raises Unsuited for nodes with two parents."""
        self.nodes, self.roots, self.dtype = nodes, roots, dtype
        self.n_leaves = n_leaves
        parents = np.bincount(
            as_places(np.concatenate([nodes.children[nodes.children >= 0], roots[roots >= 0]])),
            minlength=len(nodes.feature),
        )
        if parents.max(initial=0) > 1 or not (roots >= 0).any():
            raise Unsuited
        self._follow()
        #: the comparisons of a value with each of the limits
        self.compare = (np.greater_equal,) * (nodes.low is not None) + (np.less_equal,) * (
            nodes.high is not None
        )
        #: whether a nan goes where comparisons with it lead anyway
        self.nan_is_false = not nodes.if_nan.any()

    def _follow(self) -> None:
        """Level by level: the tree of each leaf, and how many paths go on."""
        self.tree_of_leaf = np.full(self.n_leaves, -1)
        self.depth, self.going = 0, []
        place, owner = self.roots, np.arange(len(self.roots))
        while True:
            leaf = place < 0
            self.tree_of_leaf[~place[leaf]] = owner[leaf]
            place, owner = place[~leaf], owner[~leaf]
            if not place.size:
                return
            self.going.append(place.size / len(self.roots) / (1 << min(self.depth, 60)))
            self.depth += 1
            if self.depth > _TREE_LEVELS + _ROUNDS * _SUBTREE_LEVELS:
                raise Unsuited
            place, owner = self.nodes.children[place].reshape(-1), np.repeat(owner, 2)

    def reorder(self, order: np.ndarray) -> None:
        """Put the trees into another order, before there are tables."""
        self.roots = self.roots[order]
        rank = np.empty(len(order) + 1, np.intp)
        rank[order], rank[-1] = np.arange(len(order)), -1
        self.tree_of_leaf = rank[self.tree_of_leaf]

    @functools.cached_property
    def tables(self) -> tuple[Table, Table | None]:
        levels = min(self.depth, _TREE_LEVELS)
        while levels > 4 and self.going[levels - 1] < _FEW:
            levels -= 1
        width = min(2 << levels, 1 << _TREE_LEVELS)
        top, starts = self._table(self.roots, levels, width, 0)
        found, count = [], 0
        while starts.size:
            count += starts.size
            table, starts = self._table(starts, _SUBTREE_LEVELS, 1 << _SUBTREE_LEVELS, count)
            found.append(table)
        if not found:
            return top, None
        below = Table(
            _SUBTREE_LEVELS,
            1 << _SUBTREE_LEVELS,
            np.concatenate([t.feature for t in found]),
            tuple(
                np.concatenate(limits) for limits in zip(*(t.limits for t in found), strict=True)
            ),
            np.concatenate([t.if_nan for t in found]),
            np.concatenate([t.ends for t in found]),
        )
        return top, below

    def _table(
        self, starts: np.ndarray, levels: int, width: int, first: int
    ) -> tuple[Table, np.ndarray]:
        """The table of the subtrees that start at these places, and where those that follow start,
        whose numbers begin with ``first``."""
        nodes = self.nodes
        limits = [x for x in (nodes.low, nodes.high) if x is not None]
        shape = (len(starts), width)
        feature, if_nan = np.zeros(shape, np.intp), np.zeros(shape, np.bool_)
        tables = [np.zeros(shape, self.dtype) for _ in limits]
        place = starts[:, np.newaxis]
        for level in range(levels):
            here = np.s_[:, 1 << level : 2 << level]
            node = np.maximum(place, 0)
            feature[here] = nodes.feature[node]
            if_nan[here] = nodes.if_nan[node]
            for table, limit in zip(tables, limits, strict=True):
                table[here] = limit[node]
            following = np.where((place < 0)[..., np.newaxis], place[..., np.newaxis],
                                 nodes.children[node])  # fmt: skip
            place = following.reshape(len(starts), -1)
        inner = place >= 0
        ends = np.zeros(shape, np.intp)
        begin = (1 << levels) % width
        ends[:, begin : begin + (1 << levels)] = np.where(
            inner, ~(first + np.cumsum(inner).reshape(inner.shape) - 1), ~place
        )
        result = Table(
            levels, width, feature.reshape(-1) * BLOCK_ROWS, tuple(t.reshape(-1) for t in tables),
            if_nan.reshape(-1), ends.reshape(-1),
        )  # fmt: skip
        return result, place[inner]
