"""Decision trees laid out in arrays, and the walk of all samples down all trees at once.

A place in a forest is an integer: n for the node n, ~l (negative) for the leaf l.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from onnxwalk.ops.ai_onnx_ml.scores import check_same_length
from onnxwalk.ops.contract.numbers import Words
from onnxwalk.ops.contract.records import record
from onnxwalk.ops.shared.numeric import distinct
from onnxwalk.ops.shared.places import as_places

MODES = (
    "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ",
    "BRANCH_MEMBER",
)  # fmt: skip
_COMPARE = (np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal)
_MEMBER = MODES.index("BRANCH_MEMBER")


@record(frozen=True)
class Forest:
    """The nodes of all trees, in parallel arrays, and the place where each tree begins."""

    feature: np.ndarray
    threshold: np.ndarray
    mode: np.ndarray  # positions in MODES
    tracks_true: np.ndarray  # whether a nan goes to the true child
    if_true: np.ndarray  # places
    if_false: np.ndarray
    roots: np.ndarray
    members: np.ndarray | None = None  # a set for each BRANCH_MEMBER node, a nan behind each

    def __post_init__(self) -> None:
        if self.feature.size and self.feature.min() < 0:
            raise ValueError(f"nodes_featureids should not be negative, got {self.feature.min()}")
        _ = self.sets  # so that their errors are raised now

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """The leaf that each sample ends in, in each tree: (trees, N)."""
        n, features = x.shape
        if self.feature.size and self.feature.max() >= features:
            raise ValueError(
                f"a node compares feature {self.feature.max()}, but x has {features} features"
            )
        flat = np.ascontiguousarray(x).reshape(-1)
        has_nan = bool(np.isnan(flat).any())
        places = np.repeat(as_places(self.roots), n)
        walking = np.flatnonzero(places >= 0)
        node, offset = places[walking], walking % max(n, 1) * features
        for _ in range(len(self.feature) + 1):
            if not walking.size:
                return ~places.reshape(len(self.roots), n)
            value = flat.take(offset + as_places(self.feature.take(node)))
            true = self.compare(node, value)
            if has_nan:  # also where the comparison is !=, which is true of a nan
                true = np.where(np.isnan(value), self.tracks_true.take(node), true)
            node = as_places(np.where(true, self.if_true.take(node), self.if_false.take(node)))
            places[walking] = node
            going = node >= 0
            walking, node, offset = walking[going], node[going], offset[going]
        raise ValueError("the nodes of a tree form a cycle")

    def compare(self, node: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Whether the comparison at each node is true of the value that reached it."""
        if len(self.modes) == 1:
            return self.compare_by_mode(self.modes[0], node, value)
        result = np.empty(node.shape, np.bool_)
        mode = self.mode.take(node)
        for each in self.modes:
            chosen = mode == each
            result[chosen] = self.compare_by_mode(each, node[chosen], value[chosen])
        return result

    def compare_by_mode(self, mode: int, node: np.ndarray, value: np.ndarray) -> np.ndarray:
        """``compare`` for nodes of one mode."""
        if mode != _MEMBER:
            return _COMPARE[mode](value, self.threshold.take(node))
        values, keys = self.sets
        rank = np.searchsorted(values, value)
        key = node * len(values) + rank
        found = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        # NaN and values above the last one have ranks of their own, so are never equal
        return (values.take(rank, mode="clip") == value) & (keys.take(found) == key)

    @functools.cached_property
    def modes(self) -> list[int]:
        """The modes that occur."""
        return distinct(self.mode).tolist()

    @functools.cached_property
    def sets(self) -> tuple[np.ndarray, np.ndarray]:
        """All the values that are a member of some set, and node·(their number) + rank for each
        member of each node's set; both sorted."""
        nodes = np.flatnonzero(self.mode == _MEMBER)
        members = np.zeros(0) if self.members is None else self.members.reshape(-1)
        ends = np.isnan(members)
        if ends.sum() != nodes.size or (members.size and not ends[-1]):
            raise ValueError(
                f"membership_values has {ends.sum()} sets, each ended by a NaN, for {nodes.size} "
                "BRANCH_MEMBER nodes"
            )
        values = np.append(distinct(members[~ends]), np.nan)  # never empty
        owner = nodes[(np.cumsum(ends) - ends)[~ends]] if nodes.size else nodes
        keys = np.sort(owner * len(values) + np.searchsorted(values, members[~ends]))
        return values, np.append(keys, -1) if not keys.size else keys


def encode_places(
    numbers: Sequence[int], is_leaf: Sequence[int], nodes: int, leaves: int
) -> np.ndarray:
    """The places of nodes, or where ``is_leaf`` of leaves, of these numbers."""
    number, leaf = np.array(numbers, np.int64), np.array(is_leaf, np.int64) != 0
    if np.any((number < 0) | (number >= np.where(leaf, leaves, nodes))):
        raise ValueError(
            f"the number of a child or root is out of range for {nodes} nodes and {leaves} leaves"
        )
    return np.where(leaf, ~number, number)


def build_forest(
    trees: Sequence[int] | None,
    numbers: Sequence[int] | None,
    features: Sequence[int] | None,
    modes: Sequence[str] | None,
    values: np.ndarray,
    true_numbers: Sequence[int] | None,
    false_numbers: Sequence[int] | None,
    tracks_true: Sequence[int] | None,
) -> tuple[Forest, Callable[[np.ndarray, np.ndarray], np.ndarray], int]:
    """The forest of nodes that (tree id, node id) identify and whose leaves are nodes, too.

    Also the function from (tree ids, node ids) to places, and how many leaves there are.
    """
    for name, given in (("nodes_treeids", trees), ("nodes_modes", modes)):
        if given is None or not len(given):
            raise ValueError(f"the attribute {name} is missing")
    tracks_true = tracks_true if tracks_true is not None and len(tracks_true) else None
    check_same_length(
        nodes_treeids=trees, nodes_nodeids=numbers or (), nodes_featureids=features or (),
        nodes_modes=modes, nodes_values=values, nodes_truenodeids=true_numbers or (),
        nodes_falsenodeids=false_numbers or (), nodes_missing_value_tracks_true=tracks_true,
    )  # fmt: skip
    known = {name: i for i, name in enumerate(MODES[:_MEMBER])} | {"LEAF": -1}
    names = modes.words if isinstance(modes, Words) else modes or ()
    if unknown := set(names) - set(known):
        raise ValueError(f"nodes_modes has the unknown mode {sorted(unknown)[0]!r}")
    mode = np.fromiter(map(known.__getitem__, names), np.int64)
    if isinstance(modes, Words):
        mode = mode[modes.codes]
    tree, number = np.array(trees, np.int64), np.array(numbers, np.int64)
    index_of = _index_of_pairs(tree, number)

    inner = mode >= 0
    place = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(~inner) - 1))
    children = [
        index_of(tree[inner], np.array(given, np.int64)[inner])
        for given in (true_numbers, false_numbers)
    ]
    forest = Forest(
        feature=np.array(features, np.int64)[inner],
        threshold=values[inner],
        mode=mode[inner],
        tracks_true=np.array(tracks_true or [0] * mode.size, np.bool_)[inner],
        if_true=place[children[0]],
        if_false=place[children[1]],
        roots=place[_roots(tree, inner, np.concatenate(children))],
    )
    return forest, lambda t, n: place[index_of(t, n)], int((~inner).sum())


def _roots(tree: np.ndarray, inner: np.ndarray, children: np.ndarray) -> np.ndarray:
    """The root of each tree: its first node or, if that is a child of another one, the only other
    node that is nobody's child and has children."""
    top = np.ones(tree.size, np.bool_)
    top[children] = False
    _, roots = np.unique(tree, return_index=True)
    for i in np.flatnonzero(~top[roots]):
        candidates = np.flatnonzero(top & inner & (tree == tree[roots[i]]))
        if candidates.size != 1:
            raise ValueError(f"tree {tree[roots[i]]} has no root: its nodes form a cycle")
        roots[i] = candidates[0]
    return roots


def _index_of_pairs(
    tree: np.ndarray, number: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function from tree and node ids to the position that has both."""
    starts = np.flatnonzero(np.diff(tree, prepend=tree[0] - 1))
    counts = np.diff(starts, append=tree.size)
    firsts = tree[starts]
    if (firsts[1:] > firsts[:-1]).all() and np.array_equal(
        number, np.arange(tree.size) - np.repeat(starts, counts)
    ):  # as converters write them: nothing to sort
        return functools.partial(_index_in_order, firsts, starts, counts)
    trees, tree_rank = np.unique(tree, return_inverse=True)
    numbers, number_rank = np.unique(number, return_inverse=True)
    key = tree_rank * numbers.size + number_rank
    order = key.argsort(kind="stable")
    keys = key[order]
    if np.any(keys[1:] == keys[:-1]):
        raise ValueError("two nodes of a tree have the same id")

    def index_of(t: np.ndarray, n: np.ndarray) -> np.ndarray:
        i = np.searchsorted(trees, t).clip(max=trees.size - 1)
        j = np.searchsorted(numbers, n).clip(max=numbers.size - 1)
        requested = i * numbers.size + j
        at = np.searchsorted(keys, requested).clip(max=keys.size - 1)
        found = (trees[i] == t) & (numbers[j] == n) & (keys[at] == requested)
        if not found.all():
            where = np.flatnonzero(~found)[0]
            raise ValueError(f"node {n[where]} of tree {t[where]} not found")
        return order[at]

    return index_of


def _index_in_order(
    trees: np.ndarray, starts: np.ndarray, counts: np.ndarray, t: np.ndarray, n: np.ndarray
) -> np.ndarray:
    """Where tree ids increase, and the node ids of each tree are 0, 1, 2, …: their positions."""
    i = np.searchsorted(trees, t).clip(max=trees.size - 1)
    found = (trees[i] == t) & (n >= 0) & (n < counts[i])
    if not found.all():
        where = np.flatnonzero(~found)[0]
        raise ValueError(f"node {n[where]} of tree {t[where]} not found")
    return starts[i] + n


# ------------------------------------------------------------------------------------------- votes


class Votes:
    """The weights of each leaf for targets, padded to the number of the leaf with the most.

    The padding has the target n_targets, one more than there are.
    """

    def __init__(
        self,
        leaf: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        n_leaves: int,
        n_targets: int,
    ) -> None:
        if n_targets < 1 or (target.size and not 0 <= target.min() <= target.max() < n_targets):
            raise ValueError(f"the target of a weight is out of range for {n_targets} targets")
        order = leaf.argsort(kind="stable")
        count = np.bincount(as_places(leaf), minlength=n_leaves)
        starts = np.cumsum(count) - count
        rank = np.arange(leaf.size) - starts[leaf[order]]  # among those of the same leaf
        shape = (n_leaves, int(count.max(initial=0)))
        self.n_targets = n_targets
        self.target = np.full(shape, n_targets, np.int64)
        self.target[leaf[order], rank] = target[order]
        self.weight = np.zeros(shape, np.float64 if weight.dtype == np.float64 else np.float32)
        self.weight[leaf[order], rank] = weight[order]
        #: whether every leaf has one weight for each target, in their order
        self.complete = shape[1] == n_targets and bool((self.target == range(n_targets)).all())


UFUNCS = {"SUM": np.add, "AVERAGE": np.add, "MIN": np.minimum, "MAX": np.maximum}
_BLOCK = 1 << 20  # weights in a block of samples


def aggregate_votes(forest: Forest, votes: Votes, x: np.ndarray, function: str) -> np.ndarray:
    """The sum, mean (over the trees), minimum or maximum of the weights for each target: (N, E).

    A target for which a sample's leaves have no weight gets 0, as ONNX Runtime has it.
    """
    each = len(forest.roots) * max(votes.weight.shape[1], 1)
    size = max(1, _BLOCK // max(each, 1))
    y = np.zeros((len(x), votes.n_targets), votes.weight.dtype)
    for start in range(0, len(x), size):
        block = slice(start, start + size)
        y[block] = _aggregate(UFUNCS[function], votes, forest.leaves(x[block]))
    return y / y.dtype.type(len(forest.roots)) if function == "AVERAGE" and y.size else y


def _aggregate(ufunc: np.ufunc, votes: Votes, leaves: np.ndarray) -> np.ndarray:
    trees, n = leaves.shape
    if votes.complete and trees:
        return ufunc.reduce(votes.weight[leaves], axis=0)
    start = 0 if ufunc is np.add else np.inf if ufunc is np.minimum else -np.inf
    columns = votes.n_targets + 1
    y = np.full(n * columns, start, votes.weight.dtype)
    place = np.arange(n)[:, np.newaxis] * columns + votes.target[leaves]  # (trees, N, votes)
    ufunc.at(y, place.reshape(-1), votes.weight[leaves].reshape(-1))
    if ufunc is not np.add:
        counted = np.bincount(as_places(place).reshape(-1), minlength=y.size)
        y[counted == 0] = 0
    return y.reshape(n, columns)[:, :-1]
