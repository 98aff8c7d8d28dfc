"""What the leaves of trees give to targets, as one array for each target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxwalk.ops.fast.tree_tables import Table, Trees, Unsuited


class Weights:
    """What the leaves give to the targets."""

    def __init__(
        self,
        n_targets: int,
        parts: Sequence[tuple[int, int, int, np.ndarray]],
        reduce: np.ufunc,
        from_zero: bool,
    ) -> None:
        """``parts``: trees from start to stop, a target, and the weight of each leaf for it.
        ``from_zero``: a sum begins with 0, which makes a difference for -0 only."""
        self.n_targets, self.parts = n_targets, parts
        self.reduce, self.from_zero = reduce, from_zero
        self._of_entries: dict[int, np.ndarray] = {}

    @classmethod
    def of(
        cls, trees: Trees, target: np.ndarray, weight: np.ndarray, n_targets: int, reduce: np.ufunc
    ) -> Weights:
        """From the targets and weights of each leaf, (leaves, votes), where target ``n_targets``
        stands for none. Puts the trees into the order of their targets.

        Raises Unsuited unless each leaf has a weight for each target, in order, or all leaves of a
        tree have one weight for the same target.
        """
        count = len(trees.roots)
        if target.shape[1] == n_targets and (target == range(n_targets)).all():
            planes = [np.ascontiguousarray(weight[:, t]) for t in range(n_targets)]
            return cls(n_targets, [(0, count, t, p) for t, p in enumerate(planes)], reduce, False)
        if target.shape[1] != 1:
            raise Unsuited
        target, none = target[:, 0], target[:, 0] == n_targets
        if none.any() and reduce is not np.add:
            raise Unsuited
        known = ~none & (trees.tree_of_leaf >= 0)
        of_tree = np.full(count, n_targets)
        of_tree[trees.tree_of_leaf[known]] = target[known]
        if (of_tree[trees.tree_of_leaf[known]] != target[known]).any():
            raise Unsuited
        order = of_tree.argsort(kind="stable")
        trees.reorder(order)
        edges = np.searchsorted(of_tree[order], range(n_targets + 1)).tolist()
        flat = weight[:, 0].copy()
        parts = [(edges[t], edges[t + 1], t, flat) for t in range(n_targets)]
        return cls(n_targets, [p for p in parts if p[0] < p[1]], reduce, reduce is np.add)

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0][3].dtype

    def of_entries(self, part: int, top: Table) -> np.ndarray:
        """The weight of the leaf in which each entry of the table ends."""
        if part not in self._of_entries:
            self._of_entries[part] = self.parts[part][3].take(top.ends)
        return self._of_entries[part]
