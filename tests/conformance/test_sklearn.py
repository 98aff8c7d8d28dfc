"""scikit-learn's estimators, exported by skl2onnx, against their own predictions.

The scores must be within 1e-4 of scikit-learn's, or no further from them than twice ONNX Runtime's,
which computes in float32, too.
"""

import numpy as np
import pytest

skl2onnx = pytest.importorskip("skl2onnx")

import onnx
import onnxruntime
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn import (
    cluster,
    compose,
    datasets,
    decomposition,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    impute,
    linear_model,
    mixture,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

import onnxwalk

WINE_X, WINE_Y = datasets.load_wine(return_X_y=True)
WINE_X = ((WINE_X - WINE_X.mean(0)) / WINE_X.std(0)).astype(np.float32)
BINARY = (WINE_Y == 1).astype(np.int64)
NAMES = np.array(["barolo", "grignolino", "barbera"])[WINE_Y]
SUGAR = (WINE_X @ np.linspace(-1, 1, WINE_X.shape[1]) + np.sin(WINE_X[:, 0])).astype(np.float32)
GAPS = np.where(np.random.default_rng(0).random(WINE_X.shape) < 0.1, np.nan, WINE_X)
GAPS = GAPS.astype(np.float32)

few = {"n_estimators": 12, "random_state": 0}
CLASSIFIERS = [
    linear_model.LogisticRegression(),
    linear_model.LogisticRegression(C=0.1, fit_intercept=False),
    linear_model.SGDClassifier(loss="log_loss", random_state=0),
    linear_model.RidgeClassifier(),
    linear_model.Perceptron(random_state=0),
    tree.DecisionTreeClassifier(max_depth=4, random_state=0),
    ensemble.RandomForestClassifier(**few),
    ensemble.ExtraTreesClassifier(**few),
    ensemble.GradientBoostingClassifier(**few),
    ensemble.HistGradientBoostingClassifier(max_iter=12, random_state=0),
    ensemble.AdaBoostClassifier(**few),
    ensemble.BaggingClassifier(**few),
    ensemble.VotingClassifier(
        [("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=2))],
        voting="soft",
        flatten_transform=False,
    ),
    svm.SVC(kernel="rbf"),
    svm.SVC(kernel="linear"),
    svm.SVC(kernel="poly", degree=2, coef0=1),
    svm.SVC(kernel="sigmoid"),
    svm.LinearSVC(random_state=0),
    neighbors.KNeighborsClassifier(),
    naive_bayes.GaussianNB(),
    neural_network.MLPClassifier(hidden_layer_sizes=(8,), max_iter=40, random_state=0),
]
REGRESSORS = [
    linear_model.LinearRegression(),
    linear_model.Ridge(),
    linear_model.Lasso(alpha=0.1),
    linear_model.HuberRegressor(),
    tree.DecisionTreeRegressor(max_depth=5, random_state=0),
    ensemble.RandomForestRegressor(**few),
    ensemble.GradientBoostingRegressor(**few),
    ensemble.HistGradientBoostingRegressor(max_iter=12, random_state=0),
    svm.SVR(kernel="rbf"),
    svm.SVR(kernel="poly", degree=2),
    svm.SVR(kernel="sigmoid"),
    svm.LinearSVR(random_state=0),
    neighbors.KNeighborsRegressor(),
    neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=40, random_state=0),
    gaussian_process.GaussianProcessRegressor(
        gaussian_process.kernels.RBF(2.0), optimizer=None, alpha=0.1
    ),
]
TRANSFORMERS = [
    preprocessing.StandardScaler(),
    preprocessing.MinMaxScaler(),
    preprocessing.RobustScaler(),
    preprocessing.MaxAbsScaler(),
    preprocessing.Binarizer(threshold=0.2),
    *(preprocessing.Normalizer(norm) for norm in ("l1", "l2")),
    preprocessing.PolynomialFeatures(2),
    preprocessing.KBinsDiscretizer(3, encode="onehot-dense", quantile_method="linear"),
    preprocessing.PowerTransformer(),
    decomposition.PCA(3, random_state=0),
    decomposition.TruncatedSVD(3, random_state=0),
    feature_selection.SelectKBest(k=4),
    cluster.KMeans(3, n_init=1, random_state=0),
]


def named(estimators):
    return {"argvalues": estimators, "ids": [str(e).split("\n")[0][:60] for e in estimators]}


@pytest.fixture(autouse=True)
def booleans_are_integers(monkeypatch):
    """skl2onnx 1.20 hands lists of bool to onnx, which newer protobufs don't take for integers."""
    make_attribute = onnx.helper.make_attribute

    def with_integers(key, value, *args, **keywords):
        if isinstance(value, (list, np.ndarray)):
            value = [int(v) if isinstance(v, (bool, np.bool_)) else v for v in value]
        return make_attribute(key, value, *args, **keywords)

    monkeypatch.setattr(onnx.helper, "make_attribute", with_integers)


def export(model, x, types=None, **options):
    """The ONNX file of a fitted estimator, its classifiers' probabilities as a matrix."""
    types = types or [("x", FloatTensorType([None, x.shape[1]]))]
    if hasattr(model, "classes_"):
        options = {"options": {id(model): {"zipmap": False}}, **options}
    try:
        return skl2onnx.to_onnx(model, initial_types=types, target_opset=18, **options)
    except NameError:  # it has no option zipmap
        return skl2onnx.to_onnx(model, initial_types=types, target_opset=18)


def run_both(onx, feeds):
    """onnxwalk's outputs, and ONNX Runtime's."""
    ours = onnxwalk.load(onx).run(None, feeds)
    return ours, onnxruntime.InferenceSession(onx.SerializeToString()).run(None, feeds)


def assert_near(ours, theirs, wanted):
    wanted = np.asarray(wanted).reshape(np.shape(ours))
    error = np.abs(ours - wanted).max()
    allowed = 1e-4 * max(1, np.abs(wanted).max())
    if theirs is not None:
        allowed = max(allowed, 2 * np.abs(theirs - wanted).max())
    assert error <= allowed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("labels", [WINE_Y, BINARY, NAMES], ids=["three", "two", "names"])
@pytest.mark.parametrize("model", **named(CLASSIFIERS))
def test_classifier(model, labels):
    model.fit(WINE_X, labels)
    ours, theirs = run_both(export(model, WINE_X), {"x": WINE_X})
    np.testing.assert_array_equal(ours[0], model.predict(WINE_X))
    if hasattr(model, "predict_proba"):
        assert_near(ours[1], theirs[1], model.predict_proba(WINE_X))
    else:
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", **named(REGRESSORS))
def test_regressor(model):
    model.fit(WINE_X, SUGAR)
    ours, theirs = run_both(export(model, WINE_X), {"x": WINE_X})
    assert_near(ours[0], theirs[0], model.predict(WINE_X))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", **named(TRANSFORMERS))
def test_transformer(model):
    model.fit(WINE_X, WINE_Y)
    ours, theirs = run_both(export(model, WINE_X), {"x": WINE_X})
    if hasattr(model, "predict"):
        np.testing.assert_array_equal(ours[0], model.predict(WINE_X))
        assert_near(ours[1], theirs[1], model.transform(WINE_X))
    else:
        wanted = model.transform(WINE_X)
        assert_near(ours[0], theirs[0], getattr(wanted, "toarray", lambda: wanted)())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "model",
    **named(
        [
            impute.SimpleImputer(),
            impute.SimpleImputer(strategy="median"),
            impute.KNNImputer(n_neighbors=3),
        ]
    ),
)
def test_imputer(model):
    model.fit(GAPS)
    ours, theirs = run_both(export(model, GAPS), {"x": GAPS})
    assert_near(ours[0], theirs[0], model.transform(GAPS))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("labels", [WINE_Y, BINARY], ids=["three", "two"])
def test_trees_with_missing_values(labels):
    model = ensemble.HistGradientBoostingClassifier(max_iter=12, random_state=0).fit(GAPS, labels)
    ours, theirs = run_both(export(model, GAPS), {"x": GAPS})
    np.testing.assert_array_equal(ours[0], model.predict(GAPS))
    assert_near(ours[1], theirs[1], model.predict_proba(GAPS))


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_of_columns_with_maps_as_probabilities():
    rng = np.random.default_rng(0)
    words = np.array(["red", "white", "rosé"])[rng.integers(0, 3, len(WINE_X))]
    codes = rng.integers(1, 4, len(WINE_X))
    table = np.empty((len(WINE_X), 3), object)
    table[:, 0], table[:, 1], table[:, 2] = WINE_X[:, 0], words, codes
    columns = compose.ColumnTransformer(
        [
            ("number", preprocessing.StandardScaler(), [0]),
            ("word", preprocessing.OneHotEncoder(handle_unknown="ignore"), [1]),
            ("code", preprocessing.OneHotEncoder(), [2]),
        ]
    )
    model = pipeline.make_pipeline(columns, linear_model.LogisticRegression()).fit(table, NAMES)
    types = [
        ("number", FloatTensorType([None, 1])),
        ("word", StringTensorType([None, 1])),
        ("code", Int64TensorType([None, 1])),
    ]
    onx = skl2onnx.to_onnx(model, initial_types=types, target_opset=18)
    feeds = {
        "number": WINE_X[:, :1],
        "word": words[:, None].astype(object),
        "code": codes[:, None].astype(np.int64),
    }
    (labels, maps), _ = run_both(onx, feeds)
    np.testing.assert_array_equal(labels, model.predict(table))
    assert isinstance(maps, list) and list(maps[0]) == list(model.classes_)
    found = np.array([list(row.values()) for row in maps])
    assert_near(found, None, model.predict_proba(table))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "vectorizer",
    **named(
        [
            feature_extraction.text.TfidfVectorizer(token_pattern="[a-z]+"),
            feature_extraction.text.CountVectorizer(ngram_range=(1, 2), token_pattern="[a-z]+"),
        ]
    ),
)
def test_text(vectorizer):
    texts = np.array(["the wine is red", "the wine is dry and red", "a dry white", "white"] * 3)
    model = pipeline.make_pipeline(vectorizer, linear_model.LogisticRegression())
    model.fit(texts, [0, 0, 1, 1] * 3)
    onx = export(model, texts, [("x", StringTensorType([None]))])
    # ONNX Runtime's StringNormalizer needs a locale that not every machine has
    labels, probabilities = onnxwalk.load(onx).run(None, {"x": texts.astype(object)})
    np.testing.assert_array_equal(labels, model.predict(texts))
    assert_near(probabilities, None, model.predict_proba(texts))


@pytest.mark.filterwarnings("ignore")
def test_dictionaries():
    rows = [{"a": 1.0, "b": 2.0}, {"b": 3.0}]
    model = feature_extraction.DictVectorizer(sparse=False).fit(rows)
    types = [("x", skl2onnx.common.data_types.DictionaryType(StringTensorType([1]),
                                                             FloatTensorType([])))]  # fmt: skip
    onx = skl2onnx.to_onnx(model, initial_types=types, target_opset=18)
    for row, wanted in zip(rows, model.transform(rows), strict=True):
        (found,) = onnxwalk.load(onx).run(None, {"x": row})
        np.testing.assert_array_equal(found, wanted[np.newaxis])


@pytest.mark.filterwarnings("ignore")
def test_mixture():
    model = mixture.GaussianMixture(3, random_state=0).fit(WINE_X)
    ours, theirs = run_both(export(model, WINE_X), {"x": WINE_X})
    np.testing.assert_array_equal(ours[0].ravel(), model.predict(WINE_X))
    assert_near(ours[1], theirs[1], model.predict_proba(WINE_X))
