"""Linear models, support vector machines, and the scalers of ai.onnx.ml."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dense_strategies import arrays, check_with_onnxruntime, modestly
from tests.support.harness import Case, assert_same, check, run_directly

ML = "ai.onnx.ml"
NAN = float("nan")
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def i(*values):
    return np.array(values, np.int64)


def s(*values):
    return np.array(values, object)


def ml(name, x, *y, note="", rtol=1e-5, atol=1e-6, **attributes):
    outputs = 2 if name.endswith("Classifier") else 1
    inputs = list(x) if isinstance(x, tuple) else [x]
    expected = list(y) or None
    return Case(name, 1, inputs, attributes, expected, outputs, ML, note, rtol=rtol, atol=atol)


X = f([[0.4, 1], [-0.2, 2], [0, 0], [2, -1]])
W3 = {"coefficients": [1.0, 0.5, -1.0, 0.25, 0.5, 0.125], "intercepts": [0.0, 0.1, 0.2]}
ONE_ROW = {"coefficients": [1.0, 0.0], "intercepts": [0.0], "classlabels_ints": [5, 7]}
SCORES = f([0.4, -0.2, 0, 2])  # of ONE_ROW


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def columns(a, b):
    return np.stack([a, b], axis=1).astype(np.float32)


def svc(labels, *, seed=0, kernel="LINEAR", counts=None, proba=False, params=(0.5, 0.1, 2.0), **kw):
    rng, n = np.random.default_rng(seed), len(labels)
    counts = counts or [2, 1, 3, 1][:n]
    total, pairs = sum(counts), n * (n - 1) // 2
    attributes = {
        "kernel_type": kernel,
        "kernel_params": list(params),
        "vectors_per_class": counts,
        "support_vectors": rng.normal(size=total * 2).tolist(),
        "coefficients": rng.normal(size=total * (n - 1)).tolist(),
        "rho": rng.normal(size=pairs).tolist(),
        "classlabels_strings" if isinstance(labels[0], str) else "classlabels_ints": labels,
        **kw,
    }
    if proba:
        attributes["prob_a"] = (-1 - rng.random(pairs)).tolist()
        attributes["prob_b"] = rng.normal(size=pairs).tolist()
    return attributes


SVR = {
    "kernel_type": "RBF", "kernel_params": [0.5, 0.0, 3.0], "n_supports": 2,
    "support_vectors": [1.0, 2.0, 0.5, 0.5], "coefficients": [1.0, -0.5], "rho": [0.1],
}  # fmt: skip
KERNELS = ["LINEAR", "POLY", "RBF", "SIGMOID"]

CASES = [
    # ------------------------------------------------------------------------------------- linear
    *(ml("LinearClassifier", X, **W3, classlabels_strings=["u", "v", "w"], post_transform=t)
      for t in TRANSFORMS[:4]),
    ml("LinearClassifier", X, **ONE_ROW),
    ml("LinearClassifier", X, **ONE_ROW, post_transform="LOGISTIC", multi_class=1),
    # ONNX Runtime leaves these two as they are, against "the transform to apply to the scores"
    ml("LinearClassifier", X, i(7, 5, 5, 7), columns(sigmoid(-2 * SCORES), sigmoid(2 * SCORES)),
       **ONE_ROW, post_transform="SOFTMAX"),
    ml("LinearClassifier", X[:2] + f([[0, 0], [0.5, 0]]), i(7, 7),
       f([[0.2533471, -0.2533471], [0.5244005, -0.5244005]]), **ONE_ROW, post_transform="PROBIT"),
    ml("LinearClassifier", X, i(5, 6, 5, 5), f([[0.4, 0.2], [-0.2, -0.1], [0, 0], [2, 1]]),
       coefficients=[1.0, 0, 0.5, 0], classlabels_ints=[5, 6], note="without intercepts"),
    ml("LinearClassifier", f([1, 2], np.int64), **W3, classlabels_ints=[1, 2, 3]),
    ml("LinearClassifier", X.astype(np.float64) + 0.01, **W3, classlabels_ints=[1, 2, 3]),
    *(ml("LinearRegressor", X, **W3, targets=3, post_transform=t) for t in TRANSFORMS[:4]),
    ml("LinearRegressor", X, coefficients=[1.0, 2.0]),
    ml("LinearRegressor", X[0], coefficients=[1.0, 2.0]),
    ml("LinearRegressor", f([[1, 2]], np.int64), f([[5.5]]), coefficients=[1.0, 2.0],
       intercepts=[0.5]),
    # ONNX Runtime transforms more than one target only
    ml("LinearRegressor", X, sigmoid(SCORES)[:, None], coefficients=[1.0, 0.0],
       post_transform="LOGISTIC"),
    ml("LinearRegressor", f([[0.1], [0.5], [1], [2]]), f([[-1.2815516], [0], [np.inf], [NAN]]),
       coefficients=[1.0], post_transform="PROBIT"),
    # ---------------------------------------------------------------------------------------- SVM
    *(ml("SVMClassifier", X, **svc(["a", "b", "c"], kernel=k)) for k in KERNELS),
    *(ml("SVMClassifier", X, **svc([1, 2, 3, 4], seed=3, post_transform=t))
      for t in TRANSFORMS[:4]),
    *(ml("SVMClassifier", X, **svc([1, 2, 3, 4], seed=5, proba=True, post_transform=t), rtol=1e-4)
      for t in TRANSFORMS[:3]),
    ml("SVMClassifier", X, **svc(["a", "b"], seed=1)),
    ml("SVMClassifier", X, **svc(["a", "b"], seed=1, post_transform="LOGISTIC")),
    ml("SVMClassifier", X, **svc([5, 7], seed=2, kernel="RBF", proba=True)),
    ml("SVMClassifier", X[0], **svc([5, 7], seed=2, kernel="RBF")),
    # ONNX Runtime gives 1 - s and s here, and no softmax
    ml("SVMClassifier", f([[0.4]]), s("n"), f([[sigmoid(-0.8), sigmoid(0.8)]]),
       kernel_type="LINEAR", vectors_per_class=[1, 1], support_vectors=[1.0, 1.0],
       coefficients=[1.0, 0.0], rho=[0.0], classlabels_strings=["n", "y"],
       kernel_params=[0.0] * 3,
       post_transform="SOFTMAX"),
    *(ml("SVMClassifier", X, coefficients=[0.1, 0.2, 0.3, -0.4, 0.5, -0.6], rho=[0.1],
         kernel_params=[0.0] * 3, classlabels_ints=[5, 6, 7], post_transform=t)
      for t in TRANSFORMS[:3]),
    # ONNX Runtime answers 6 wherever there is a negative coefficient and two classes
    ml("SVMClassifier", X[:2], i(5, 5), f([[0.34, -0.18], [0.48, -0.76]]), rho=[0.1],
       coefficients=[0.1, 0.2, 0.3, -0.4], classlabels_ints=[5, 6], kernel_params=[0.0] * 3),
    *(ml("SVMRegressor", X, **{**SVR, "kernel_type": k}) for k in KERNELS),
    ml("SVMRegressor", X, **{**SVR, "kernel_type": "POLY", "kernel_params": [0.5, 1.0, 2.5]}),
    ml("SVMRegressor", X, **SVR, one_class=1),
    ml("SVMRegressor", X, coefficients=[1.0, 2.0], rho=[0.5], kernel_params=[0.0] * 3),
    ml("SVMRegressor", X, f([[1], [1], [-1], [-1]]), coefficients=[1.0, 2.0], rho=[0.0],
       one_class=1),
    # "Indicates the transform to apply to the score": ONNX Runtime applies none
    ml("SVMRegressor", f([[0.4], [-0.2]]), sigmoid(f([[0.4], [-0.2]])), coefficients=[1.0],
       rho=[0.0], post_transform="LOGISTIC", kernel_params=[0.0] * 3),
    # ------------------------------------------------------------------------------------ scalers
    ml("Scaler", X, offset=[1.0, 2.0], scale=[0.5, 3.0]),
    ml("Scaler", X[0], offset=[1.0], scale=[0.5]),
    ml("Scaler", f([[1, 2]], np.int64), offset=[1.0, 2.5], scale=[0.5, 3.0]),
    ml("Scaler", np.ones((2, 3, 2), np.float32), offset=[1.5], scale=[2.0]),
    ml("Normalizer", f([[1, -4, 3], [0, 0, 0]])),
    # "Y = X / max(X)": not of the absolute values, as the official reference has it
    ml("Normalizer", f([[-1, -2, -3]]), f([[1, 2, 3]]), norm="MAX"),
    *(ml("Normalizer", f([[1, -4, 3], [0, 0, 0], [-1, -2, -3]]), norm=n) for n in ("L1", "L2")),
    ml("Normalizer", f([1, -4, 3], np.int64), norm="L2"),
    ml("Binarizer", f([[-1, 0, 0.5, 2]]), threshold=0.5),
    ml("Binarizer", f([0, NAN, 2], np.float64), f([0, 0, 1], np.float64)),
    ml("Binarizer", i(1, 2, 3), i(0, 1, 1), threshold=1.5),
    ml("Imputer", f([[1, 2], [2, 3]]), imputed_value_floats=[9.0, 8.0], replaced_value_float=2.0),
    ml("Imputer", f([[NAN, 1]]), imputed_value_floats=[9.0], replaced_value_float=NAN),
    ml("Imputer", i(0, 1).reshape(1, 2), imputed_value_int64s=[9]),
    ml("Imputer", f([0, NAN], np.float64), f([0, 0.5], np.float64), imputed_value_floats=[0.5],
       replaced_value_float=NAN),
    ml("Imputer", f([[3, 1]], np.int32), f([[3, 7]], np.int32), imputed_value_int64s=[6, 7],
       replaced_value_int64=1),
    ml("FeatureVectorizer", (X, X[:, :1]), inputdimensions=[2, 1]),
    ml("FeatureVectorizer", (X, X[:, :1], X), inputdimensions=[3, 2, 1]),
    ml("FeatureVectorizer", (f([1, 2], np.int64), f([3], np.int64)), inputdimensions=[1, 2]),
    ml("FeatureVectorizer", (X[:, :, np.newaxis].repeat(3, 2), X), inputdimensions=[5, 2]),
    ml("FeatureVectorizer", (X[:0], X[:0]), np.zeros((0, 4), np.float32), inputdimensions=[2, 2]),
    ml("FeatureVectorizer", (f([1, 2], np.int64), f([[3]], np.int64)), f([[1, 2, 3]])),
    ml("ArrayFeatureExtractor", (X, i(1, 0, 1))),
    ml("ArrayFeatureExtractor", (X[0], i(1))),
    ml("ArrayFeatureExtractor", (s("a", "b").reshape(1, 2), i(1, 1).reshape(2, 1))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


numbers = st.floats(-3, 3, width=16)


@modestly
@given(data=st.data(), classes=st.integers(2, 4), transform=st.sampled_from(TRANSFORMS[:4]))
def test_linear(data, classes, transform):
    x = data.draw(arrays(np.float32, (5, 3), largest=3, special=False))
    coefficients = data.draw(st.lists(numbers, min_size=3 * classes, max_size=3 * classes))
    # with no ties: where two scores are equal, rounding decides
    intercepts = [0.0123, 0.0457, 0.0781, 0.0913][:classes]
    same = {"coefficients": coefficients, "intercepts": intercepts, "post_transform": transform}
    check_with_onnxruntime(ml("LinearRegressor", x, **same, targets=classes, rtol=1e-3, atol=1e-5))
    case = ml("LinearClassifier", x, **same, classlabels_ints=list(range(classes)),
              rtol=1e-3, atol=1e-5)  # fmt: skip
    scores = np.sort(x @ f(coefficients).reshape(classes, 3).T + f(intercepts), axis=1)
    if (scores[:, -1] - scores[:, -2] > 1e-3).all() and transform != "SOFTMAX_ZERO":
        check_with_onnxruntime(case)


@modestly
@given(
    x=arrays(np.float32, (4, 2), largest=3, special=False),
    kernel=st.sampled_from(KERNELS),
    classes=st.integers(2, 4),
    seed=st.integers(0, 1000),
    proba=st.booleans(),
)
def test_svm(x, kernel, classes, seed, proba):
    labels = list(range(classes))
    # float32 decisions that are nearly 0 may fall on either side
    attributes = svc(labels, kernel=kernel, seed=seed, proba=proba)
    raw = ml("SVMClassifier", x, **svc(labels, kernel=kernel, seed=seed))
    if (np.abs(run_directly(raw)[1]) > 1e-3).all():
        check_with_onnxruntime(ml("SVMClassifier", x, **attributes, rtol=2e-3, atol=1e-4))
    regressor = {**SVR, "kernel_type": kernel}
    check_with_onnxruntime(ml("SVMRegressor", x, **regressor, rtol=1e-4, atol=1e-5))


@modestly
@given(
    x=arrays(np.float32, (3, 4), largest=9, special=False),
    norm=st.sampled_from(["MAX", "L1", "L2"]),
    offset=st.lists(numbers, min_size=4, max_size=4),
)
def test_scalers(x, norm, offset):
    check_with_onnxruntime(ml("Normalizer", x, norm=norm))
    check_with_onnxruntime(ml("Scaler", x, offset=offset, scale=offset[::-1]))
    check_with_onnxruntime(ml("Binarizer", x, threshold=offset[0]))
    check_with_onnxruntime(
        ml("Imputer", x, imputed_value_floats=offset, replaced_value_float=float(x[0, 0]))
    )


def test_probabilities_are_those_of_scikit_learn():
    svm = pytest.importorskip("sklearn.svm")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 2))
    labels = rng.integers(0, 3, 90)
    x += labels[:, None]
    model = svm.SVC(kernel="rbf", gamma=0.5, probability=True, random_state=0).fit(x, labels)
    attributes = {
        "kernel_type": "RBF",
        "kernel_params": [0.5, 0.0, 3.0],
        "vectors_per_class": model.n_support_.tolist(),
        "support_vectors": model.support_vectors_.ravel().tolist(),
        "coefficients": model.dual_coef_.ravel().tolist(),
        "rho": model.intercept_.tolist(),
        "prob_a": model.probA_.tolist(),
        "prob_b": model.probB_.tolist(),
        "classlabels_ints": [0, 1, 2],
    }
    predicted, probabilities = run_directly(ml("SVMClassifier", x, **attributes))
    np.testing.assert_array_equal(predicted, model.predict(x))
    np.testing.assert_allclose(probabilities, model.predict_proba(x), atol=1e-5)


def test_a_softmax_zero_of_zeros():
    case = ml("LinearRegressor", f([[1]]), coefficients=[0.0, 0.0], targets=2,
              post_transform="SOFTMAX_ZERO")  # fmt: skip
    assert_same(run_directly(case), [f([[0.5, 0.5]])])


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            ml("LinearClassifier", X, coefficients=[1.0, 2.0, 3.0, 4.0]),
            "exactly one attribute for class labels, got 0",
        ),
        (
            ml("LinearClassifier", X, coefficients=[1.0] * 3, classlabels_ints=[1]),
            "coefficients \\(3 values\\)",
        ),
        (
            ml("LinearClassifier", X, coefficients=[1.0] * 2, classlabels_ints=[1] * 3),
            "should have 3 rows",
        ),
        (ml("LinearRegressor", X, coefficients=[1.0] * 4), "one row for each of 1 targets, got 2"),
        (ml("LinearRegressor", X), "needs coefficients"),
        (
            ml("LinearRegressor", X, coefficients=[1.0] * 2, post_transform="TANH"),
            "'TANH' should be one of",
        ),
        (ml("LinearRegressor", X[None], coefficients=[1.0] * 2), "should be"),
        (ml("SVMRegressor", X, **{**SVR, "kernel_type": "COS"}), "'COS' should be"),
        (
            ml("SVMRegressor", X, **{**SVR, "kernel_params": [1.0]}),
            "kernel_params should have 3 elements, got 1",
        ),
        (ml("SVMRegressor", X, **{**SVR, "rho": None}), "rho is missing"),
        (ml("SVMClassifier", X, **svc([1, 2, 3], counts=[1, 1])), "should have equal lengths"),
        (ml("SVMClassifier", X, **{**svc([1, 2]), "coefficients": [1.0]}), "expected 3 coeff"),
        (ml("Scaler", X, offset=[1.0]), "same length"),
        (ml("Scaler", X, offset=[1.0] * 3, scale=[1.0] * 3), "offset and scale \\(3 values\\)"),
        (ml("Normalizer", X[None]), "Normalizer should be"),
        (ml("Normalizer", X, norm="L3"), "'L3'"),
        (ml("Imputer", X, imputed_value_int64s=[1]), "needs imputed_value_floats"),
        (ml("Imputer", X, imputed_value_floats=[1.0] * 3), "imputed values \\(3\\)"),
        (ml("FeatureVectorizer", (X,), inputdimensions=[3, 1]), "inputdimensions"),
        (ml("FeatureVectorizer", (X,), inputdimensions=[-3]), "inputdimensions"),
        (ml("FeatureVectorizer", (X, X[:1])), "rows"),
        (ml("ArrayFeatureExtractor", (X, i(2))), "features 2 to 2 are out of range"),
    ],
    ids=str,
)
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)
