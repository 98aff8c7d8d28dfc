"""The fast forms of tree ensembles against the plain operators: equal to the last bit."""

import inspect

import numpy as np
import pytest

from onnxwalk.ops.ai_onnx_ml.trees import tree_ensemble_classifier, tree_ensemble_regressor
from tests.support.bound import run_bound

FEATURES = 7
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def forest(trees, depth, *, grows=1.0, modes=MODES[:1], tracks=False, seed=0):
    """Random trees as attributes, and the (tree, node) of each leaf. A node within the depth has
    children with probability ``grows``; a root always."""
    rng = np.random.default_rng(seed)
    rows, leaves = [], []
    for tree in range(trees):
        pending, following = [(0, 0)], 1
        while pending:
            node, level = pending.pop(0)
            if level < depth and (level == 0 or rng.random() < grows):
                value = rng.integers(-6, 7) / 4
                row = (rng.integers(FEATURES), rng.choice(modes), value, following, following + 1)
                pending += [(following, level + 1), (following + 1, level + 1)]
                following += 2
            else:
                row = (0, "LEAF", 0.0, 0, 0)
                leaves.append((tree, node))
            rows.append((tree, node, *row, rng.integers(2) if tracks else 0))
    names = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids",
             "falsenodeids", "missing_value_tracks_true"]  # fmt: skip
    columns = zip(*rows, strict=True)
    types = [int, int, int, str, float, int, int, int]
    return {
        f"nodes_{n}": [t(v) for v in c] for n, c, t in zip(names, columns, types, strict=True)
    }, leaves


def regressor(nodes, leaves, targets=1, by_tree=False, seed=1, **attributes):
    """Every leaf has a weight for every target, or (``by_tree``) for one target of its tree's."""
    rng = np.random.default_rng(seed)
    votes = [
        (tree, node, target)
        for tree, node in leaves
        for target in ([tree % targets] if by_tree else range(targets))
    ]
    trees, numbers, ids = (list(c) for c in zip(*votes, strict=True))
    weights = rng.normal(size=len(votes)).astype(np.float32)
    return {
        **nodes, "n_targets": targets, "target_treeids": trees, "target_nodeids": numbers,
        "target_ids": ids, "target_weights": weights.tolist(), **attributes,
    }  # fmt: skip


def samples(n, *, special=False, dtype=np.float32, seed=2):
    rng = np.random.default_rng(seed)
    x = (rng.integers(-8, 9, (n, FEATURES)) / 4).astype(dtype)  # many are equal to a threshold
    if special:
        x[rng.random(x.shape) < 0.2] = np.nan
        x[rng.random(x.shape) < 0.1] = np.inf
        x[rng.random(x.shape) < 0.1] = -np.inf
    return x


def agree(operator, attributes, x, *, bound=True):
    """The bound form, bound on other samples, and the plain operator."""
    prepared = inspect.unwrap(operator)(**attributes)
    found = run_bound(prepared.bind, [x], used_outputs=(True, True))
    assert (found is not None) == bound
    plain = prepared(x)
    plain = plain if isinstance(plain, tuple) else (plain,)
    for one, other in zip(found or plain, plain, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


SHAPES = {
    "complete": {"trees": 13, "depth": 5},
    "8 levels": {"trees": 5, "depth": 8},
    "9 levels": {"trees": 5, "depth": 9},
    "shallow": {"trees": 30, "depth": 1},
    "unbalanced": {"trees": 20, "depth": 14, "grows": 0.7},
    "slender": {"trees": 9, "depth": 60, "grows": 0.53},
}


@pytest.mark.parametrize("n", [1, 2, 8, 255, 257, 700])
@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_and_shapes_of_trees(shape, n):
    agree(tree_ensemble_regressor, regressor(*forest(**SHAPES[shape])), samples(n))


@pytest.mark.parametrize("n", [1, 3, 300])
@pytest.mark.parametrize(
    "modes", [MODES[i : i + 1] for i in range(6)] + [MODES[::3], MODES], ids=str
)
def test_comparisons_and_missing_values(modes, n):
    # a single sample goes the quick way only where each node has one limit
    two_limits = not (set(modes) <= {MODES[0], MODES[3]} or set(modes) <= {MODES[1], MODES[2]})
    nodes = forest(12, 10, grows=0.8, modes=modes, tracks=True)
    x = samples(n, special=True)
    agree(tree_ensemble_regressor, regressor(*nodes), x, bound=n > 1 or not two_limits)


@pytest.mark.parametrize("n", [1, 5, 300])
@pytest.mark.parametrize("function", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("targets", [1, 3])
def test_functions_and_targets(function, targets, n):
    nodes = forest(12, 9, grows=0.8)
    attributes = regressor(
        *nodes, targets, aggregate_function=function, base_values=[0.1] * targets
    )
    agree(tree_ensemble_regressor, attributes, samples(n))


@pytest.mark.parametrize("n", [1, 5, 300])
@pytest.mark.parametrize("trees", [2, 12])
def test_a_target_for_each_tree(trees, n):
    nodes = forest(trees, 6, grows=0.8)
    agree(tree_ensemble_regressor, regressor(*nodes, 4, by_tree=True), samples(n))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.int32])
@pytest.mark.parametrize("n", [1, 40])
def test_other_types_of_samples(dtype, n):
    agree(tree_ensemble_regressor, regressor(*forest(7, 10, grows=0.8)), samples(n, dtype=dtype))


@pytest.mark.parametrize("labels", [[3, 5, 9], ["a", "b", "c"]])
@pytest.mark.parametrize("n", [1, 300])
def test_labels(labels, n):
    votes = regressor(*forest(10, 6, grows=0.9), 3, post_transform="SOFTMAX")
    del votes["n_targets"]
    attributes = {k.replace("target_", "class_"): v for k, v in votes.items()}
    kind = "classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"
    agree(tree_ensemble_classifier, {**attributes, kind: labels}, samples(n))


def test_what_is_left_to_the_plain_operator():
    nodes, leaves = forest(3, 4)
    some = regressor(nodes, leaves, 2)
    for name in ("target_treeids", "target_nodeids", "target_ids", "target_weights"):
        some[name] = some[name][1:]  # the first leaf lacks a target
    agree(tree_ensemble_regressor, some, samples(5), bound=False)
    stump = {**nodes, "nodes_values": [np.nan] * len(nodes["nodes_values"]),
             "nodes_modes": [m.replace("LEQ", "GT") for m in nodes["nodes_modes"]]}  # fmt: skip
    agree(tree_ensemble_regressor, regressor(stump, leaves), samples(5), bound=False)
