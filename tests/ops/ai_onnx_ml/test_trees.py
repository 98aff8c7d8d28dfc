"""Tree ensembles: against ONNX Runtime, an evaluation node by node, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dense_strategies import check_with_onnxruntime, modestly
from tests.support.harness import Case, assert_same, check, run_directly

ML = "ai.onnx.ml"
NAN = math.nan
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def i(*values):
    return np.array(values, np.int64)


def s(*values):
    return np.array(values, object)


def ml(name, opset, x, *y, note="", rtol=1e-5, atol=1e-6, **attributes):
    outputs = 2 if name.endswith("Classifier") else 1
    expected = list(y) or None
    return Case(name, opset, [x], attributes, expected, outputs, ML, note, rtol=rtol, atol=atol)


#: x0 <= 0 ? leaf 1 : leaf 2, and a second tree that is a leaf
STUMP = {
    "nodes_treeids": [0, 0, 0, 1],
    "nodes_nodeids": [0, 1, 2, 0],
    "nodes_featureids": [0, 0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
    "nodes_values": [0.0, 0.0, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 0],
}
X = f([[0.4], [-0.2], [0], [2]])


def regressor(opset=1, x=X, y=(), *, ids=(0, 0, 0), weights=(0.25, 0.5, 0.1), **attributes):
    return ml(
        "TreeEnsembleRegressor", opset, x, *y,
        **{"n_targets": 1, **STUMP, "target_treeids": [0, 0, 1], "target_nodeids": [1, 2, 0],
           "target_ids": list(ids), "target_weights": list(weights), **attributes},
    )  # fmt: skip


def classifier(opset=1, x=X, y=(), *, ids, weights, labels, nodes=(1, 2), **attributes):
    kind = "classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"
    return ml(
        "TreeEnsembleClassifier", opset, x, *y,
        **{**STUMP, "class_treeids": [0] * len(ids), "class_nodeids": list(nodes),
           "class_ids": list(ids), "class_weights": list(weights), kind: labels, **attributes},
    )  # fmt: skip


def as_tensors(case, **tensors):
    """The same case with doubles where the version has floats."""
    attributes = {k: v for k, v in case.attributes.items() if k not in tensors}
    attributes |= {f"{k}_as_tensor": np.array(v, np.float64) for k, v in tensors.items()}
    return Case(case.operator, 3, case.inputs, attributes, case.expected, case.outputs, ML)


TWO_TARGETS = {"n_targets": 2, "ids": (0, 1, 0)}
#: the official case of set membership, with another mode at the root
MEMBERS = {
    "n_targets": 4,
    "tree_roots": [0],
    "nodes_modes": np.array([0, 6, 6], np.uint8),
    "nodes_featureids": [0, 0, 0],
    "nodes_splits": f([11, 232344, NAN]),
    "membership_values": f([1.2, 3.7, 8, 9, NAN, 12, 7, NAN]),
    "nodes_trueleafs": [0, 1, 1],
    "nodes_truenodeids": [1, 0, 1],
    "nodes_falseleafs": [1, 0, 1],
    "nodes_falsenodeids": [2, 2, 3],
    "leaf_targetids": [0, 1, 2, 3],
    "leaf_weights": f([1, 10, 1000, 100]),
}
ENSEMBLE = {
    "n_targets": 2,
    "tree_roots": [0, 1],
    "nodes_modes": np.array([0, 3], np.uint8),
    "nodes_featureids": [0, 0],
    "nodes_splits": f([0, 1]),
    "nodes_trueleafs": [1, 1],
    "nodes_truenodeids": [0, 2],
    "nodes_falseleafs": [1, 1],
    "nodes_falsenodeids": [1, 3],
    "leaf_targetids": [0, 1, 0, 1],
    "leaf_weights": f([0.25, 0.5, 0.75, -0.125]),
}


def ensemble(x=X, *y, **attributes):
    return ml("TreeEnsemble", 5, x, *y, **{**ENSEMBLE, **attributes})


def in_dtype(dtype):
    tensors = {k: ENSEMBLE[k].astype(dtype) for k in ("nodes_splits", "leaf_weights")}
    return {**ENSEMBLE, **tensors}


def sigmoid(x):
    return 1 / (1 + np.exp(-f(x)))


CASES = [
    regressor(),
    regressor(x=X[0]),
    regressor(x=i(1, -1).reshape(2, 1), y=[f([[0.6], [0.35]])]),
    *(regressor(aggregate_function=a, base_values=[10.0]) for a in ("AVERAGE", "MIN", "MAX")),
    *(regressor(**TWO_TARGETS, aggregate_function=a) for a in ("SUM", "AVERAGE", "MIN", "MAX")),
    *(regressor(**TWO_TARGETS, post_transform=t) for t in TRANSFORMS[:4]),
    # "added to final prediction score": ONNX Runtime leaves it out where no leaf has a weight
    regressor(y=[f([[10.1, 20.5], [10.25, 20], [10.25, 20], [10.1, 20.5]])], **TWO_TARGETS,
              aggregate_function="MAX", base_values=[10.0, 20.0]),
    # ONNX Runtime transforms one target with PROBIT only
    regressor(y=[sigmoid([[0.6], [0.35], [0.35], [0.6]])], post_transform="LOGISTIC"),
    # "use the 'true' or 'false' branch based on the value in this array", by default the false one
    regressor(x=f([[NAN], [-1]]), nodes_missing_value_tracks_true=[1, 0, 0, 0]),
    regressor(x=f([[NAN], [-1]])),
    # … also where the comparison is true of a nan; ONNX Runtime then takes the true one
    regressor(x=f([[NAN], [0], [1]]), y=[f([[0.6], [0.6], [0.35]])],
              nodes_modes=["BRANCH_NEQ", "LEAF", "LEAF", "LEAF"]),
    *(regressor(x=f([[-1], [0], [1]]), nodes_modes=[mode, "LEAF", "LEAF", "LEAF"])
      for mode in MODES),
    # in doubles, 0.1 is not above 0.1 as a float is
    regressor(3), regressor(3, **TWO_TARGETS, post_transform="SOFTMAX"),
    as_tensors(
        regressor(3, x=f([[0.1], [0.10000000001]], np.float64), y=[f([[0.35], [0.6]])]),
        nodes_values=[0.1, 0, 0, 0], target_weights=[0.25, 0.5, 0.1], nodes_hitrates=[1.0] * 4,
    ),
    as_tensors(regressor(3, y=[f([[2.6], [2.35], [2.35], [2.6]])]), base_values=[2.0]),
    # --------------------------------------------------------------------------------- classifiers
    *(classifier(ids=[0, 0], weights=[0.2, 0.8], labels=[5, 7], post_transform=t)
      for t in ("NONE", "LOGISTIC")),
    *(classifier(ids=[0, 0], weights=[-0.2, 0.8], labels=["n", "y"], post_transform=t)
      for t in ("NONE", "LOGISTIC")),
    classifier(ids=[0, 0], weights=[-0.2, 0.8], labels=[5, 7], base_values=[0.3]),
    classifier(ids=[0, 0], weights=[-0.2, 0.8], labels=[5, 7], base_values=[0.3, 0.3],
               y=[i(7, 7, 7, 7), f([[-1.1, 1.1], [-0.1, 0.1], [-0.1, 0.1], [-1.1, 1.1]])]),
    # ONNX Runtime leaves two classes without a softmax
    classifier(ids=[0, 0], weights=[-0.25, 0.5], labels=[5, 7], post_transform="SOFTMAX",
               y=[i(7, 5, 5, 7), np.stack([sigmoid([-1, 0.5, 0.5, -1]),
                                           sigmoid([1, -0.5, -0.5, 1])], axis=1)]),
    # "Top class for each point": ONNX Runtime answers the second of two whenever its score is > 0
    classifier(ids=[0, 1, 0, 1], weights=[0.2, 0.8, 0.3, 0.1], labels=["n", "y"],
               nodes=[1, 1, 2, 2],
               y=[s("n", "y", "y", "n"), f([[0.3, 0.1], [0.2, 0.8], [0.2, 0.8], [0.3, 0.1]])]),
    classifier(ids=[0, 1, 0, 1], weights=[0.2, 0.8, 0.3, 0.1], labels=["n", "y"],
               nodes=[1, 1, 2, 2], base_values=[0.5, -0.25], post_transform="SOFTMAX",
               y=[s("n", "n", "n", "n"),
                  np.stack([sigmoid([0.95, 0.15, 0.15, 0.95]),
                            sigmoid([-0.95, -0.15, -0.15, -0.95])], axis=1)]),
    # … and here asks for more than a half, and says 0 for a class with no weight
    classifier(ids=[1, 1], weights=[0.2, 0.8], labels=[5, 7],
               y=[i(7, 7, 7, 7), f([[0, 0.8], [0, 0.2], [0, 0.2], [0, 0.8]])]),
    *(classifier(ids=[0, 2], weights=[0.2, 0.8], labels=[5, 6, 7], post_transform=t)
      for t in TRANSFORMS[:4]),
    classifier(ids=[0, 2], weights=[-0.2, -0.8], labels=["a", "b", "c"],
               base_values=[0.1, -0.9, 0.2]),
    classifier(3, ids=[0, 2], weights=[0.2, 0.8], labels=["a", "b", "c"]),
    # ONNX Runtime passes over the classes that have no weight in the sample's leaves
    classifier(3, ids=[0, 2], weights=[-0.2, -0.8], labels=["a", "b", "c"],
               y=[s("a", "b", "b", "a"),
                  f([[0, 0, -0.8], [-0.2, 0, 0], [-0.2, 0, 0], [0, 0, -0.8]])]),
    as_tensors(
        classifier(3, ids=[0, 1], weights=[], labels=[3, 4, 5], x=f([[0.1], [0.2]], np.float64),
                   y=[i(3, 4), f([[0.7, 0, 0], [0, 0.9, 0]])]),
        nodes_values=[0.1, 0, 0, 0], class_weights=[0.7, 0.9], base_values=[0.0] * 3,
        nodes_hitrates=[1.0] * 4,
    ),
    # ---------------------------------------------------------------------------------- opset 5
    *(ensemble(aggregate_function=a) for a in range(4)),
    *(ensemble(post_transform=t) for t in (0, 3)),
    # "'NONE' (0), 'SOFTMAX' (1), 'LOGISTIC' (2)": ONNX Runtime has the last two the other way round
    ensemble(X[:2], np.stack([sigmoid([-0.375, 0.375]), sigmoid([0.375, -0.375])], axis=1),
             post_transform=1),
    ensemble(X[:2], sigmoid([[0, 0.375], [0.25, -0.125]]), post_transform=2),
    ensemble(X.astype(np.float64), **in_dtype(np.float64)),
    ensemble(X.astype(np.float16), f([[0, 0.375], [0.25, -0.125], [0.25, -0.125], [0.75, 0.5]],
             np.float16), **in_dtype(np.float16)),
    ensemble(f([[NAN], [2]]), nodes_missing_value_tracks_true=[1, 0]),
    ml("TreeEnsemble", 5, f([[1.2], [3.4], [NAN], [12], [7], [8], [3.7]]),
       f([[1, 0, 0, 0], [0, 0, 0, 100], [0, 0, 1000, 0], [0, 0, 1000, 0], [0, 10, 0, 0],
          [1, 0, 0, 0], [1, 0, 0, 0]]), **MEMBERS),
    ml("TreeEnsemble", 5, f([[NAN]]), f([[1, 0, 0, 0]]), **MEMBERS,
       nodes_missing_value_tracks_true=[1, 1, 0]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@st.composite
def forests(draw, features, modes=tuple(MODES), missing=True):
    """Nodes of up to 4 random trees, as attributes, their leaves as (tree, node) pairs."""
    rows, leaves = [], []
    for tree in range(draw(st.integers(1, 4))):
        pending, following = [0], 1
        while pending:
            node = pending.pop(draw(st.integers(0, len(pending) - 1)))
            if following < 20 and draw(st.booleans()):
                value = draw(st.integers(-2, 2)) / 2
                feature = draw(st.integers(0, features - 1))
                mode = draw(st.sampled_from(modes))
                nan = draw(st.integers(0, 1)) if missing else 0
                rows.append((tree, node, feature, mode, value, following, following + 1, nan))
                pending += [following, following + 1]
                following += 2
            else:
                rows.append((tree, node, 0, "LEAF", 0.0, 0, 0, 0))
                leaves.append((tree, node))
    names = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids",
             "falsenodeids", "missing_value_tracks_true"]  # fmt: skip
    columns = zip(*rows, strict=True)
    return {f"nodes_{n}": list(c) for n, c in zip(names, columns, strict=True)}, leaves


samples = st.lists(st.sampled_from([-1, -0.5, 0, 0.5, 1, NAN]), min_size=12, max_size=12).map(
    lambda values: f(values).reshape(4, 3)
)


@modestly
@given(
    x=samples,
    forest=forests(3, MODES[:-1]),  # NEQ of a nan: see above
    targets=st.integers(1, 3),
    function=st.sampled_from(["SUM", "AVERAGE", "MIN", "MAX"]),
    data=st.data(),
)
def test_regressor(x, forest, targets, function, data):
    nodes, leaves = forest
    votes = [
        (*leaf, target, data.draw(st.integers(-8, 8)) / 8)
        for leaf in leaves
        for target in data.draw(st.lists(st.integers(0, targets - 1), min_size=1, max_size=3,
                                         unique=True))
    ]  # fmt: skip
    trees, numbers, ids, weights = (list(c) for c in zip(*votes, strict=True))
    case = ml(
        "TreeEnsembleRegressor", 3, x, **nodes, n_targets=targets, aggregate_function=function,
        target_treeids=trees, target_nodeids=numbers, target_ids=ids, target_weights=weights,
    )  # fmt: skip
    check_with_onnxruntime(case)
    (y,) = run_directly(case)
    expected = [[walk_trees(row, nodes, votes, t, function) for t in range(targets)] for row in x]
    assert_same(y, f(expected))


def walk_trees(row, nodes, votes, target, function):
    """A target of one sample, computed node by node as in the spec."""
    columns = list(zip(*nodes.values(), strict=True))
    node = {(c[0], c[1]): c for c in columns}
    compare = dict(zip(MODES, ["__le__", "__lt__", "__ge__", "__gt__", "__eq__", "__ne__"],
                       strict=True))  # fmt: skip
    found = []
    for tree in dict.fromkeys(nodes["nodes_treeids"]):
        at = node[tree, 0]
        while at[3] != "LEAF":
            value = float(row[at[2]])
            true = at[7] if math.isnan(value) else getattr(value, compare[at[3]])(at[4])
            at = node[tree, at[5] if true else at[6]]
        found += [v[3] for v in votes if v[:3] == (tree, at[1], target)]
    if not found:
        return 0
    total = {"SUM": sum, "AVERAGE": sum, "MIN": min, "MAX": max}[function](found)
    return total / len(set(nodes["nodes_treeids"])) if function == "AVERAGE" else total


@modestly
@given(
    x=samples,
    forest=forests(3),
    transform=st.sampled_from(TRANSFORMS[:3]),
    classes=st.integers(3, 4),
    data=st.data(),
)
def test_classifier(x, forest, transform, classes, data):
    x = np.nan_to_num(x, nan=0.25)
    nodes, leaves = forest
    votes = [(*leaf, data.draw(st.integers(0, classes - 1))) for leaf in leaves]
    weights = [data.draw(st.integers(-8, 8)) / 8 for _ in votes]
    trees, numbers, ids = (list(c) for c in zip(*votes, strict=True))
    base = [0.001 * (c + 1) ** 2 for c in range(classes)]  # no ties
    check_with_onnxruntime(
        ml("TreeEnsembleClassifier", 3, x, **nodes, class_treeids=trees, class_nodeids=numbers,
           class_ids=ids, class_weights=weights, classlabels_int64s=list(range(classes)),
           post_transform=transform, base_values=base, rtol=1e-4, atol=1e-5)
    )  # fmt: skip


def test_many_samples_are_taken_in_blocks():
    x = np.random.default_rng(0).normal(size=(3_000_000, 1)).astype(np.float32)
    (y,) = run_directly(regressor(x=x))
    np.testing.assert_array_equal(y[:, 0], np.where(x[:, 0] <= 0, f(0.35), f(0.6)))


def test_the_root_need_not_come_first():
    # node 0 is the leaf on the left of node 1
    nodes = {"nodes_truenodeids": [0, 0, 0, 0], "nodes_falsenodeids": [0, 2, 0, 0]}
    modes = {"nodes_modes": ["LEAF", "BRANCH_LEQ", "LEAF", "LEAF"], "target_nodeids": [0, 2, 0]}
    (y,) = run_directly(regressor(**nodes, **modes))
    assert_same(y, f([[0.6], [0.35], [0.35], [0.6]]))


def test_no_samples():
    (y,) = run_directly(regressor(x=X[:0]))
    assert y.shape == (0, 1)
    attributes = {"ids": [0], "weights": [1.0], "labels": ["a", "b"], "nodes": [1]}
    labels, scores = run_directly(classifier(x=X[:0], **attributes, post_transform="SOFTMAX"))
    assert labels.shape == (0,) and scores.shape == (0, 2)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (regressor(nodes_truenodeids=[0, 0, 0, 0]), "cycle"),
        (regressor(nodes_truenodeids=[3, 0, 0, 0]), "node 3 of tree 0 not found"),
        (regressor(nodes_featureids=[1, 0, 0, 0]), "compares feature 1, but x has 1 features"),
        (regressor(nodes_nodeids=[0, 1, 1, 0]), "same id"),
        (regressor(nodes_modes=["BRANCH_LIKE", "LEAF", "LEAF", "LEAF"]), "'BRANCH_LIKE'"),
        (regressor(nodes_values=[0.0]), "equal lengths"),
        (regressor(target_nodeids=[0, 2, 0]), "not a leaf"),
        (regressor(ids=(0, 1, 0)), "out of range for 1 targets"),
        (regressor(base_values=[1.0, 2.0]), "each of 1 .*, got 2"),
        (regressor(aggregate_function="MEDIAN"), "'MEDIAN'"),
        (regressor(post_transform="TANH"), "'TANH'"),
        (regressor(nodes_treeids=None), "nodes_treeids is missing"),
        (classifier(ids=[0, 0], weights=[0.2, 0.8], labels=[5, 7], base_values=[0.1, 0.2]),
         "each of 1 .*, got 2"),
        (ensemble(nodes_modes=np.array([7, 0], np.uint8)), "unknown mode"),
        (ensemble(nodes_modes=np.array([6, 0], np.uint8)), "0 sets.* for 1"),
        (ensemble(nodes_modes=np.array([0, 0], np.complex64)), "nodes_modes .* type complex64"),
        (ensemble(nodes_splits=np.array([0, 0], np.int64)), "nodes_splits .* type int64"),
        (ensemble(tree_roots=[2]), "out of range for 2 nodes"),
        (ensemble(aggregate_function=4), "aggregate_function should be 0 to 3, got 4"),
        (ensemble(nodes_trueleafs=[0, 1], nodes_truenodeids=[0, 2]), "cycle"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)
