"""ONNX files as scikit-learn's estimators, held against its own checks."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper, save

sklearn = pytest.importorskip("sklearn", reason="scikit-learn isn't installed")
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from onnxwalk import InvalidInputError
from onnxwalk.sklearn import OnnxClassifier, OnnxRegressor, OnnxTransformer

FLOAT = T.FLOAT
X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32)
NAMES = load_iris().target_names[Y]


def write(path, nodes, outputs, initializers=None, inputs=(("X", FLOAT, ["n", "d"]),)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def exported(tmp_path):
    """Write a model of scikit-learn as skl2onnx exports it."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx isn't installed")

    def export(model, **options):
        path = tmp_path / "model.onnx"
        options = options or {"X": X[:1]}
        path.write_bytes(skl2onnx.to_onnx(model, **options).SerializeToString())
        return path

    return export


MEAN = helper.make_node("ReduceMean", ["X"], ["m"], axes=[1], keepdims=1)

#: what scikit-learn asks of an estimator that learns, and a model in a file doesn't
LEARNS = {
    "check_classifiers_one_label": "it learns to have a single class",
    "check_classifiers_classes": "it learns the names of the classes",
    "check_classifiers_train": "it learns how many classes there are",
}


@pytest.mark.parametrize("kind", [OnnxClassifier, OnnxRegressor, OnnxTransformer])
def test_scikit_learns_own_checks(tmp_path, kind):
    """On models of any number of columns, so that all its data fit."""
    path = tmp_path / "m.onnx"
    if kind is OnnxClassifier:
        scale = helper.make_node("Mul", ["m", "w"], ["s"])
        nodes = [MEAN, scale, helper.make_node("Softmax", ["s"], ["p"], axis=-1)]
        weights = {"w": np.array([[-1, 0, 1, 2]], np.float32)}
        write(path, nodes, [("p", FLOAT, ["n", 4])], weights)
    elif kind is OnnxRegressor:
        write(path, [MEAN], [("m", FLOAT, ["n", 1])])
    else:
        write(path, [helper.make_node("Tanh", ["X"], ["t"])], [("t", FLOAT, ["n", "d"])])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(kind(path), on_fail=None, on_skip=None)
    failed = {r["check_name"] for r in results if r["status"] == "failed"}
    assert failed == (set(LEARNS) if kind is OnnxClassifier else set()), failed
    assert sum(r["status"] == "passed" for r in results) > 40


@pytest.mark.parametrize("zipmap", [True, False, "columns"])
@pytest.mark.parametrize("target", [Y, NAMES], ids=["numbers", "names"])
def test_a_classifier_is_what_was_exported(exported, zipmap, target):
    model = LogisticRegression(max_iter=500).fit(X, target)
    options = {id(model): {"zipmap": zipmap}}
    path = exported(model, X=X[:1], options=options)
    if zipmap == "columns":  # one output for each class
        with pytest.raises(InvalidInputError, match="pass output="):
            OnnxClassifier(path).predict_proba(X)
        return
    found = OnnxClassifier(path, batch_size=40)
    assert found.classes_.tolist() == model.classes_.tolist() and found.n_features_in_ == 4
    assert found.classes_.dtype.kind == model.classes_.dtype.kind
    np.testing.assert_allclose(found.predict_proba(X), model.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(found.predict(X), model.predict(X))
    assert found.score(X, target) == model.score(X, target)
    assert (cross_val_score(found, X, target) > 0.9).all()
    again = pickle.loads(pickle.dumps(clone(found)))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.get_params()["batch_size"] == 40


def test_columns_of_several_inputs(exported):
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    rng = np.random.default_rng(0)
    table = np.empty((60, 3), object)
    table[:, 0], table[:, 1] = rng.integers(18, 70, 60), rng.normal(3000, 500, 60)
    table[:, 2] = rng.choice(["Rome", "Oslo"], 60)
    steps = make_column_transformer((StandardScaler(), [0, 1]), (OneHotEncoder(), [2]))
    model = make_pipeline(steps, LogisticRegression()).fit(table, table[:, 0] > 40)
    types = [(name, FloatTensorType([None, 1])) for name in ("age", "pay")]
    path = exported(model, initial_types=[*types, ("city", StringTensorType([None, 1]))])
    found = OnnxClassifier(path)
    assert found.n_features_in_ == 3
    np.testing.assert_allclose(found.predict_proba(table), model.predict_proba(table), atol=1e-4)
    pandas = pytest.importorskip("pandas", reason="pandas isn't installed")
    frame = pandas.DataFrame(table[:, ::-1], columns=["city", "pay", "age"])
    np.testing.assert_allclose(found.predict_proba(frame), model.predict_proba(table), atol=1e-4)


def test_a_regressor_and_a_transformer_in_a_pipeline(exported, tmp_path):
    scaler = StandardScaler().fit(X)
    scaled = scaler.transform(X)
    steps = OnnxTransformer(exported(scaler))
    np.testing.assert_allclose(steps.transform(X), scaled, rtol=1e-4, atol=1e-5)
    assert steps.get_feature_names_out().tolist() == [f"variable{i}" for i in range(4)]
    pipeline = make_pipeline(steps, LogisticRegression(max_iter=500)).fit(X, NAMES)
    assert pipeline.score(X, NAMES) > 0.95
    model = LinearRegression().fit(X, Y)
    found = OnnxRegressor(exported(model))
    assert found.predict(X).shape == (150,)
    np.testing.assert_allclose(found.predict(X), model.predict(X), atol=1e-4)
    assert found.fit(X, Y).score(X, Y) == pytest.approx(model.score(X, Y), abs=1e-5)


def test_a_value_inside_is_a_transformer(tmp_path):
    nodes = [helper.make_node("Tanh", ["X"], ["inner"]), helper.make_node("Neg", ["inner"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, [("y", FLOAT, ["n", "d"])])
    np.testing.assert_allclose(OnnxTransformer(path, output="inner").transform(X), np.tanh(X), 1e-5)


def test_one_probability_has_two_classes(tmp_path):
    node = helper.make_node("Sigmoid", ["X"], ["p"])
    inputs = [("X", FLOAT, ["n", 1])]
    path = write(tmp_path / "m.onnx", [node], [("p", FLOAT, ["n", 1])], inputs=inputs)
    x = np.array([[-2.0], [3.0]])
    found = OnnxClassifier(path)
    assert found.classes_.tolist() == [0, 1] and found.predict(x).tolist() == [0, 1]
    assert OnnxClassifier(path, classes=["no", "yes"]).predict(x).tolist() == ["no", "yes"]
    np.testing.assert_allclose(found.predict_proba(x).sum(axis=1), 1)
    node = helper.make_node("Neg", ["X"], ["p"])
    path = write(tmp_path / "n.onnx", [node], [("p", FLOAT, ["n", 1])], inputs=inputs)
    with pytest.raises(InvalidInputError, match="isn't a probability"):
        OnnxClassifier(path).predict(x)


def test_what_does_not_fit_is_refused(exported, tmp_path):
    found = OnnxClassifier(exported(LogisticRegression(max_iter=500).fit(X, NAMES)))
    for call in (found.predict, lambda x: found.fit(x, NAMES)):
        with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
            call(X[:, :3])
    with pytest.raises(
        InvalidInputError, match=r"class 0, which the model doesn't know; it has 's"
    ):
        found.fit(X, Y)
    with pytest.raises(InvalidInputError, match=r"no\.onnx: no such file"):
        OnnxClassifier(tmp_path / "no.onnx").predict(X)
    path = write(tmp_path / "m.onnx", [MEAN], [("m", FLOAT, ["n", "k"])])
    with pytest.raises(InvalidInputError, match=r"doesn't name its classes; pass classes="):
        OnnxClassifier(path).predict(X)


def test_a_file_that_changes_is_loaded_again(tmp_path):
    path = write(tmp_path / "m.onnx", [MEAN], [("m", FLOAT, ["n", 1])])
    found = OnnxRegressor(path)
    before = found.predict(X)
    nodes = [MEAN, helper.make_node("Neg", ["m"], ["negative"])]
    write(path, nodes, [("negative", FLOAT, ["n", 1])])
    np.testing.assert_array_equal(found.predict(X), -before)
