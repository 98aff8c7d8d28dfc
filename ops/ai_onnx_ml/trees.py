"""TreeEnsemble, TreeEnsembleClassifier, TreeEnsembleRegressor: the operators.

The trees are in ``forest``. All attributes describe them, so that they are laid out once, at load,
and only a function of the samples is left.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx_ml import ML
from onnxwalk.ops.ai_onnx_ml.forest import (
    MODES,
    UFUNCS,
    Forest,
    Votes,
    aggregate_votes,
    build_forest,
    encode_places,
)
from onnxwalk.ops.ai_onnx_ml.scores import (
    POST_TRANSFORM,
    TRANSFORMS,
    as_samples,
    check_same_length,
    class_labels,
    cost_of_scores,
    score_two_classes,
    transform_scores,
)
from onnxwalk.ops.contract.cost import BLOCK, Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.space import Bind, with_bind
from onnxwalk.ops.fast.trees import Ensemble, Finish, forest_binder
from onnxwalk.ops.shared.cost import PER_CALL, PER_ITEM

AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
Ints = Sequence[int] | None
Floats = Sequence[float] | None
Tensor = np.ndarray | None


def built_from_attributes(build: Callable[..., Callable[[np.ndarray], Any]]) -> Callable[..., Any]:
    """The operator of one input x; ``build`` returns the function of x for its attributes."""

    @functools.wraps(build)
    def operator(x: np.ndarray, **attributes: Any) -> Any:
        return build(**attributes)(x)

    x = inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    operator.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [x, *inspect.signature(build).parameters.values()]
    )
    return operator


@op("TreeEnsemble", domain=ML, since=5)
@built_from_attributes
def tree_ensemble(
    *,
    aggregate_function: int = 1,
    leaf_targetids: Sequence[int],
    leaf_weights: np.ndarray,
    membership_values: Tensor = None,
    n_targets: int | None = None,
    nodes_falseleafs: Sequence[int],
    nodes_falsenodeids: Sequence[int],
    nodes_featureids: Sequence[int],
    nodes_hitrates: Tensor = None,
    nodes_missing_value_tracks_true: Ints = None,
    nodes_modes: np.ndarray,
    nodes_splits: np.ndarray,
    nodes_truenodeids: Sequence[int],
    nodes_trueleafs: Sequence[int],
    post_transform: int = 0,
    tree_roots: Sequence[int],
) -> Callable[[np.ndarray], Any]:
    """y[n, t]: over all trees the sum (or mean, min, max) of the weights, for target t, of the
    leaves that sample n ends in; then post_transform.

    x (N, F), y (N, n_targets) of the same dtype. A node compares a feature with its split and goes
    to its true or false child; with a nan to the one that nodes_missing_value_tracks_true says.
    A target without any leaf gets 0. nodes_hitrates are for planning. Spec: TreeEnsemble-5.
    """
    check_same_length(
        nodes_featureids=nodes_featureids, nodes_modes=nodes_modes, nodes_splits=nodes_splits,
        nodes_truenodeids=nodes_truenodeids, nodes_trueleafs=nodes_trueleafs,
        nodes_falsenodeids=nodes_falsenodeids, nodes_falseleafs=nodes_falseleafs,
        nodes_missing_value_tracks_true=nodes_missing_value_tracks_true,
    )  # fmt: skip
    check_same_length(leaf_targetids=leaf_targetids, leaf_weights=leaf_weights)
    for name, tensor, kinds in (
        ("nodes_modes", nodes_modes, "u"),
        ("nodes_splits", nodes_splits, "f"),
        ("leaf_weights", leaf_weights, "f"),
    ):
        if tensor.dtype.kind not in kinds:
            raise ValueError(f"{name} has the wrong type {tensor.dtype}")
    if nodes_modes.size and nodes_modes.max() >= len(MODES):
        raise ValueError(f"nodes_modes has the unknown mode {nodes_modes.max()}")
    nodes, leaves = len(nodes_splits), len(leaf_weights)
    forest = Forest(
        feature=np.array(nodes_featureids, np.int64),
        threshold=nodes_splits,
        mode=nodes_modes.astype(np.int64),
        tracks_true=np.array(nodes_missing_value_tracks_true or [0] * nodes, np.bool_),
        if_true=encode_places(nodes_truenodeids, nodes_trueleafs, nodes, leaves),
        if_false=encode_places(nodes_falsenodeids, nodes_falseleafs, nodes, leaves),
        roots=encode_places(tree_roots, [0] * len(tree_roots), nodes, leaves),
        members=membership_values,
    )
    targets = n_targets if n_targets is not None else max(leaf_targetids, default=-1) + 1
    votes = Votes(
        np.arange(leaves), np.array(leaf_targetids, np.int64), leaf_weights, leaves, targets
    )
    aggregate = _look_up_name("aggregate_function", AGGREGATES, aggregate_function)
    transform = _look_up_name("post_transform", TRANSFORMS, post_transform)

    def finish(y: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray]:
        return (transform_scores(y, transform).astype(dtype, copy=False),)

    def run(x: np.ndarray) -> np.ndarray:
        if x.ndim != 2:
            raise ValueError(f"x {x.shape} of TreeEnsemble should be (N, F)")
        return finish(aggregate_votes(forest, votes, x, aggregate), x.dtype)[0]

    bind = _binder(forest, votes, aggregate, finish)
    return with_bind(run, lambda space, x: bind(space, x) if x.ndim == 2 else None)


def _look_up_name(what: str, names: Sequence[str], number: int) -> str:
    if not 0 <= number < len(names):
        raise ValueError(f"{what} should be 0 to {len(names) - 1}, got {number}")
    return names[number]


@op("TreeEnsembleRegressor", domain=ML, since=3)
@op(
    "TreeEnsembleRegressor",
    domain=ML,
    since=1,
    without=[
        "base_values_as_tensor",
        "nodes_hitrates_as_tensor",
        "nodes_values_as_tensor",
        "target_weights_as_tensor",
    ],
)
@built_from_attributes
def tree_ensemble_regressor(
    *,
    aggregate_function: str = "SUM",
    base_values: Floats = None,
    base_values_as_tensor: Tensor = None,
    n_targets: int | None = None,
    nodes_falsenodeids: Ints = None,
    nodes_featureids: Ints = None,
    nodes_hitrates: Floats = None,
    nodes_hitrates_as_tensor: Tensor = None,
    nodes_missing_value_tracks_true: Ints = None,
    nodes_modes: Sequence[str] | None = None,
    nodes_nodeids: Ints = None,
    nodes_treeids: Ints = None,
    nodes_truenodeids: Ints = None,
    nodes_values: Floats = None,
    nodes_values_as_tensor: Tensor = None,
    post_transform: str = "NONE",
    target_ids: Ints = None,
    target_nodeids: Ints = None,
    target_treeids: Ints = None,
    target_weights: Floats = None,
    target_weights_as_tensor: Tensor = None,
) -> Callable[[np.ndarray], Any]:
    """y[n, t]: over all trees the sum (or mean, min, max) of the weights, for target t, of the
    leaves that sample n ends in; plus the base value; then post_transform.

    x (N, F) or (F), y (N, n_targets) in float32. A leaf may have several weights. A node compares a
    feature with its value and goes to its true or false child; with a nan to the one that
    nodes_missing_value_tracks_true says. A target without any leaf gets its base value.
    Spec: TreeEnsembleRegressor-1, -3 (doubles as tensors); deprecated from 5 on.
    """
    forest, place_of, leaves = build_forest(
        nodes_treeids, nodes_nodeids, nodes_featureids, nodes_modes,
        _merge_values("nodes_values", nodes_values, nodes_values_as_tensor),
        nodes_truenodeids, nodes_falsenodeids, nodes_missing_value_tracks_true,
    )  # fmt: skip
    targets = n_targets if n_targets is not None else max(target_ids or [-1]) + 1
    weights = _merge_values("target_weights", target_weights, target_weights_as_tensor)
    votes = _make_votes(
        place_of, leaves, target_treeids, target_nodeids, target_ids, weights, targets
    )
    base = _merge_values("base_values", base_values, base_values_as_tensor)
    if base.size not in (0, targets):
        raise ValueError(
            f"base_values should have one value for each of {targets} targets, got {base.size}"
        )
    if aggregate_function not in AGGREGATES:
        raise ValueError(
            f"aggregate_function {aggregate_function!r} should be one of {', '.join(AGGREGATES)}"
        )

    def finish(y: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray]:
        if base.size:
            y = y + base
        return (transform_scores(y, post_transform).astype(np.float32, copy=False),)

    def run(x: np.ndarray) -> np.ndarray:
        return finish(aggregate_votes(forest, votes, as_samples(x), aggregate_function), x.dtype)[0]

    return with_bind(run, _binder(forest, votes, aggregate_function, finish))


@op("TreeEnsembleClassifier", domain=ML, since=3)
@op(
    "TreeEnsembleClassifier",
    domain=ML,
    since=1,
    without=[
        "base_values_as_tensor",
        "class_weights_as_tensor",
        "nodes_hitrates_as_tensor",
        "nodes_values_as_tensor",
    ],
)
@built_from_attributes
def tree_ensemble_classifier(
    *,
    base_values: Floats = None,
    base_values_as_tensor: Tensor = None,
    class_ids: Ints = None,
    class_nodeids: Ints = None,
    class_treeids: Ints = None,
    class_weights: Floats = None,
    class_weights_as_tensor: Tensor = None,
    classlabels_int64s: Ints = None,
    classlabels_strings: Sequence[str] | None = None,
    nodes_falsenodeids: Ints = None,
    nodes_featureids: Ints = None,
    nodes_hitrates: Floats = None,
    nodes_hitrates_as_tensor: Tensor = None,
    nodes_missing_value_tracks_true: Ints = None,
    nodes_modes: Sequence[str] | None = None,
    nodes_nodeids: Ints = None,
    nodes_treeids: Ints = None,
    nodes_truenodeids: Ints = None,
    nodes_values: Floats = None,
    nodes_values_as_tensor: Tensor = None,
    post_transform: str = "NONE",
) -> Callable[[np.ndarray], Any]:
    """The label of the class with the largest score, and post_transform(scores).

    The score of class c is its base value and, over all trees, the sum of the weights for c of the
    leaves that the sample ends in (see TreeEnsembleRegressor). x (N, F) or (F), labels (N), float32
    scores (N, E). Where two labels but only class 0 has weights, these speak for the second label,
    as gradient boosting writes it: see ``score_two_classes``; they are probabilities if none is
    negative. Spec: TreeEnsembleClassifier-1, -3 (doubles as tensors); deprecated from 5 on.
    """
    forest, place_of, leaves = build_forest(
        nodes_treeids, nodes_nodeids, nodes_featureids, nodes_modes,
        _merge_values("nodes_values", nodes_values, nodes_values_as_tensor),
        nodes_truenodeids, nodes_falsenodeids, nodes_missing_value_tracks_true,
    )  # fmt: skip
    labels = class_labels(classlabels_int64s, classlabels_strings)
    weights = _merge_values("class_weights", class_weights, class_weights_as_tensor)
    one_for_two = labels.size == 2 and set(class_ids or ()) == {0}
    classes = 1 if one_for_two else labels.size
    votes = _make_votes(place_of, leaves, class_treeids, class_nodeids, class_ids, weights, classes)
    base = _merge_values("base_values", base_values, base_values_as_tensor)
    if one_for_two and base.size == 2 and base[0] == base[1]:
        base = base[:1]
    if base.size not in (0, classes):
        raise ValueError(
            f"base_values should have one value for each of {classes} classes, got {base.size}"
        )

    probability = bool((weights >= 0).all())

    def finish(scores: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        if base.size:
            scores = scores + base
        if one_for_two:
            winner = (scores[:, 0] > (0.5 if probability else 0)).astype(np.int64)
            scores = score_two_classes(scores, post_transform, complement=probability)
        else:
            winner = scores.argmax(axis=1)
            scores = transform_scores(scores, post_transform)
        return labels[winner], scores.astype(np.float32, copy=False)

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return finish(aggregate_votes(forest, votes, as_samples(x), "SUM"), x.dtype)

    return with_bind(run, _binder(forest, votes, "SUM", finish))


for _operator in (tree_ensemble, tree_ensemble_regressor, tree_ensemble_classifier):
    _operator.prepare(inspect.unwrap(_operator))


def _binder(forest: Forest, votes: Votes, function: str, finish: Finish) -> Bind:
    """The binder of the scores of a forest, and of what is made of them."""
    ensemble = Ensemble(
        forest.feature, forest.threshold, forest.mode, forest.tracks_true, forest.if_true,
        forest.if_false, forest.roots, votes.target, votes.weight, votes.n_targets,
        UFUNCS[function], function == "AVERAGE",
    )  # fmt: skip
    return forest_binder(ensemble, finish)


def _merge_values(name: str, floats: Floats, tensor: Tensor) -> np.ndarray:
    """The values of one of two attributes, in floats or doubles; empty if neither is set."""
    if floats is not None and len(floats) and tensor is not None and tensor.size:
        raise ValueError(f"{name} and {name}_as_tensor should not both be set")
    if tensor is not None and tensor.size:
        return tensor.reshape(-1)
    return np.array(floats if floats is not None else [], np.float32)


def _make_votes(
    place_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    leaves: int,
    trees: Ints,
    nodes: Ints,
    targets: Ints,
    weights: np.ndarray,
    n_targets: int,
) -> Votes:
    check_same_length(treeids=trees or (), nodeids=nodes or (), ids=targets or (), weights=weights)
    place = place_of(np.array(trees or (), np.int64), np.array(nodes or (), np.int64))
    if (place >= 0).any():
        raise ValueError("a weight belongs to a node that is not a leaf")
    return Votes(~place, np.array(targets or (), np.int64), weights, leaves, n_targets)


# ------------------------------------------------------------------------------------------- costs


_TABLES = (list, tuple, np.ndarray)


@tree_ensemble.cost
@tree_ensemble_regressor.cost
@tree_ensemble_classifier.cost
def cost_of_trees(
    x: np.ndarray, *, n_targets: int | None = None, post_transform: Any = "NONE", **tables: Any
) -> Cost:
    """The tables as arrays; the scores; and a block of samples on their way down all the trees,
    with what the leaves have for each target.

    How deep the trees are isn't known before the walk: a sample may pass all nodes.
    """
    given = {name: table for name, table in tables.items() if isinstance(table, _TABLES)}
    lengths = {name: len(table) for name, table in given.items()}
    numbers, nodes = sum(lengths.values()), lengths.get("nodes_featureids", 1)
    trees = lengths.get("tree_roots") or len(set(given.get("nodes_treeids", ())))
    ids = [given.get(name) or [0] for name in ("target_ids", "class_ids", "leaf_targetids")]
    labels = [lengths.get(name, 1) for name in ("classlabels_int64s", "classlabels_strings")]
    columns = max(n_targets or 1 + max(map(max, ids)), *labels)
    count = len(x) if x.ndim == 2 else 1
    transform = "PROBIT" if post_transform in (4, "PROBIT") else "SOFTMAX"
    cost = cost_of_scores(x, count, columns, transform)
    # a leaf has at most one weight for each target, and a target may have all of them
    leaves = max(nodes + trees, numbers // 4)
    voted = min(columns, numbers)
    block = min(count * trees, max(BLOCK // 2, trees) // max(voted, 1) + trees)
    memory = cost.memory + 150 * numbers + 12 * leaves * voted + block * (80 + 40 * voted)
    walked = 40 * count * nodes + count * trees * (200 + 100 * voted)
    return Cost(memory, cost.work + walked + 3 * PER_ITEM * numbers + 100 * PER_CALL)


tree_ensemble_classifier.choices(POST_TRANSFORM)
tree_ensemble_regressor.choices({**POST_TRANSFORM, "aggregate_function": "AVERAGE SUM MIN MAX"})


# constant between their thresholds
declare(tree_ensemble, tree_ensemble_regressor, tree_ensemble_classifier, vjp=no_gradient)
