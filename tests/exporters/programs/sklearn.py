"""scikit-learn through skl2onnx: estimators and pipelines"""

import numpy as np
from skl2onnx import to_onnx
from sklearn import (
    calibration,
    cluster,
    compose,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_selection,
    gaussian_process,
    impute,
    kernel_approximation,
    linear_model,
    mixture,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    random_projection,
    svm,
    tree,
)
from writing import write

REQUIREMENTS = [
    "skl2onnx==1.20.0",
    "scikit-learn==1.9.1",
    "onnxmltools==1.16.0",
    "lightgbm==4.7.0",
    "xgboost==3.2.0",
    "catboost==1.2.10",
    "onnx==1.23.2",
    "numpy==2.4.6",
]
REFUSED = 9
KNOWN = {
    "SGDClassifier-huber": "skl2onnx decides by probabilities: findings/sklearn-sgd-argmax.sh",
    "LinearDiscriminantAnalysis-two": "skl2onnx: findings/sklearn-lda-two-classes.sh",
    "onnxruntime:NuSVC": "1.2e-4 apart, of which we are the nearer",
    "Radius": "ArrayFeatureExtractor of -1, for rows without neighbours; no runtime takes it",
    "QuadraticDiscriminantAnalysis": "the same labels as a row, (1, N)",
    "GaussianMixture": "the same numbers as a column, (N, 1)",
    "IsolationForest": "the same numbers as a column, (N, 1)",
    "LocalOutlierFactor": "the same numbers as a column, (N, 1)",
    "OneClassSVM": "the same numbers as a column, (N, 1)",
    "LinearSVC-two": "scores as a column, (N, 1)",
    "SGDClassifier-two": "scores of both classes, where scikit-learn gives those of one",
    "KMeans-transform": "labels first, then distances, of which transform gives the latter",
}


def no_scores(x):
    """Scores of which scikit-learn has another form than the file are not compared."""


rng = np.random.default_rng(0)
x = rng.normal(size=(120, 4)).astype(np.float32)
x[:, 2] = x[:, 2] * 30 + 100
target = (x[:, 0] * 2 - x[:, 1] + np.sin(x[:, 3])).astype(np.float32)
three = np.digitize(target, [-1.5, 1.5])
two = (target > 0).astype(int)
words = np.array(["red", "green", "blue"])[three]
new = rng.normal(size=(30, 4)).astype(np.float32)
new[:, 2] = new[:, 2] * 30 + 100

L, E, P, N = linear_model, ensemble, preprocessing, naive_bayes
classifiers = {
    "LogisticRegression": L.LogisticRegression(max_iter=500),
    "LogisticRegressionCV": L.LogisticRegressionCV(max_iter=500),
    "RidgeClassifier": L.RidgeClassifier(),
    "Perceptron": L.Perceptron(),
    "SGDClassifier": L.SGDClassifier(),
    "SGDClassifier-huber": L.SGDClassifier(loss="modified_huber"),
    "PassiveAggressive": L.PassiveAggressiveClassifier(),
    "LinearSVC": svm.LinearSVC(),
    "SVC": svm.SVC(),
    "SVC-poly": svm.SVC(kernel="poly", degree=2),
    "SVC-sigmoid": svm.SVC(kernel="sigmoid"),
    "NuSVC": svm.NuSVC(nu=0.2),
    "DecisionTree": tree.DecisionTreeClassifier(max_depth=5),
    "ExtraTree": tree.ExtraTreeClassifier(max_depth=5),
    "RandomForest": E.RandomForestClassifier(9),
    "ExtraTrees": E.ExtraTreesClassifier(9),
    "GradientBoosting": E.GradientBoostingClassifier(n_estimators=9),
    "HistGradientBoosting": E.HistGradientBoostingClassifier(max_iter=9),
    "AdaBoost": E.AdaBoostClassifier(n_estimators=9),
    "Bagging": E.BaggingClassifier(n_estimators=5),
    "Voting-soft": E.VotingClassifier(
        [("a", L.LogisticRegression()), ("b", N.GaussianNB())],
        voting="soft",
        flatten_transform=False,
    ),
    "Stacking": E.StackingClassifier(
        [("a", tree.DecisionTreeClassifier(max_depth=3)), ("b", N.GaussianNB())]
    ),
    "GaussianNB": N.GaussianNB(),
    "BernoulliNB": N.BernoulliNB(),
    "KNeighbors": neighbors.KNeighborsClassifier(3),
    "Radius": neighbors.RadiusNeighborsClassifier(60.0),
    "NearestCentroid": neighbors.NearestCentroid(),
    "LinearDiscriminantAnalysis": discriminant_analysis.LinearDiscriminantAnalysis(),
    "QuadraticDiscriminantAnalysis": discriminant_analysis.QuadraticDiscriminantAnalysis(),
    "MLP": neural_network.MLPClassifier((8,), max_iter=100),
    "Calibrated": calibration.CalibratedClassifierCV(L.LogisticRegression()),
    "Pipeline-scaled": pipeline.make_pipeline(
        P.StandardScaler(), decomposition.PCA(3), L.LogisticRegression()
    ),
    "Pipeline-selected": pipeline.make_pipeline(
        P.MinMaxScaler(), feature_selection.SelectKBest(k=2), N.ComplementNB()
    ),
}
regressors = {
    "LinearRegression": L.LinearRegression(),
    "Ridge": L.Ridge(),
    "Lasso": L.Lasso(0.1),
    "ElasticNet": L.ElasticNet(0.1),
    "BayesianRidge": L.BayesianRidge(),
    "ARD": L.ARDRegression(),
    "Huber": L.HuberRegressor(max_iter=500),
    "TheilSen": L.TheilSenRegressor(),
    "RANSAC": L.RANSACRegressor(),
    "Lars": L.Lars(),
    "Quantile": L.QuantileRegressor(),
    "Tweedie": L.TweedieRegressor(power=0),
    "SVR": svm.SVR(),
    "NuSVR": svm.NuSVR(),
    "LinearSVR": svm.LinearSVR(),
    "DecisionTreeRegressor": tree.DecisionTreeRegressor(max_depth=5),
    "RandomForestRegressor": E.RandomForestRegressor(9),
    "GradientBoostingRegressor": E.GradientBoostingRegressor(n_estimators=9),
    "HistGradientBoostingRegressor": E.HistGradientBoostingRegressor(max_iter=9),
    "AdaBoostRegressor": E.AdaBoostRegressor(n_estimators=5),
    "BaggingRegressor": E.BaggingRegressor(n_estimators=5),
    "VotingRegressor": E.VotingRegressor(
        [("a", L.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))]
    ),
    "StackingRegressor": E.StackingRegressor(
        [("a", L.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))]
    ),
    "KNeighborsRegressor": neighbors.KNeighborsRegressor(3),
    "MLPRegressor": neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=100),
    "PLS": cross_decomposition.PLSRegression(2),
    "TransformedTarget": compose.TransformedTargetRegressor(L.Ridge(), func=None),
}
transformers = {
    "StandardScaler": P.StandardScaler(),
    "MinMaxScaler-clip": P.MinMaxScaler(clip=True),
    "MaxAbsScaler": P.MaxAbsScaler(),
    "RobustScaler": P.RobustScaler(),
    "Normalizer": P.Normalizer(),
    "Normalizer-max": P.Normalizer("max"),
    "Binarizer": P.Binarizer(threshold=0.5),
    "PolynomialFeatures": P.PolynomialFeatures(3, interaction_only=True),
    "PowerTransformer": P.PowerTransformer(),
    "QuantileTransformer": P.QuantileTransformer(n_quantiles=20),
    "KBinsDiscretizer": P.KBinsDiscretizer(4, encode="ordinal"),
    "KBinsDiscretizer-onehot": P.KBinsDiscretizer(4, encode="onehot-dense"),
    "SplineTransformer": P.SplineTransformer(),
    "SimpleImputer": impute.SimpleImputer(strategy="median"),
    "KNNImputer": impute.KNNImputer(n_neighbors=2),
    "PCA-whiten": decomposition.PCA(2, whiten=True),
    "KernelPCA": decomposition.KernelPCA(2, kernel="rbf"),
    "TruncatedSVD": decomposition.TruncatedSVD(2),
    "IncrementalPCA": decomposition.IncrementalPCA(2),
    "FastICA": decomposition.FastICA(2),
    "Nystroem": kernel_approximation.Nystroem(n_components=5),
    "GaussianRandomProjection": random_projection.GaussianRandomProjection(2),
    "VarianceThreshold": feature_selection.VarianceThreshold(0.5),
    "KMeans-transform": cluster.KMeans(3, n_init=2),
    "FeatureUnion": pipeline.make_union(P.StandardScaler(), decomposition.PCA(2)),
}


def seeded(model):
    """The model with a seed, and those within it."""
    names = [name for name in model.get_params() if name.endswith("random_state")]
    return model.set_params(**dict.fromkeys(names, 0))


def file(model, example, **options):
    def to(path):
        onx = to_onnx(model, example, target_opset={"": 20, "ai.onnx.ml": 3}, **options)
        with open(path, "wb") as target:
            target.write(onx.SerializeToString())

    return to


#: those that are converted for two classes and for texts as labels, too
again = (
    "LogisticRegression SVC LinearSVC RandomForest GaussianNB KNeighbors "
    "LinearDiscriminantAnalysis HistGradientBoosting MLP SGDClassifier"
).split()
for data, labels in (("", three), ("-two", two), ("-words", words)):
    for name, model in classifiers.items():
        if data and name not in again:
            continue
        seeded(model).fit(x, labels)
        decide = getattr(model, "predict_proba", None) or getattr(
            model, "decision_function", lambda x: None
        )
        options = {
            "options": {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else {}
        }
        if name in ("SVC", "SVC-poly", "SVC-sigmoid", "NuSVC", "NearestCentroid") and not hasattr(
            model, "predict_proba"
        ):
            decide = no_scores
        write(
            f"{name}{data}",
            file(model, x[:1], **options),
            [new],
            lambda x, model=model, decide=decide: [model.predict(x), decide(x)],
        )
for name, model in regressors.items():
    seeded(model).fit(x, target)

    def shaped(x, model=model):
        return np.asarray(model.predict(x)).reshape(-1, 1).astype(np.float32)

    write(name, file(model, x[:1]), [new], shaped)
for name, model in transformers.items():
    seeded(model).fit(x)
    write(name, file(model, x[:1]), [new], model.transform)

# in float64: sums of a kernel of 1e5 cancel out, of which float32 leaves one digit
process = gaussian_process.GaussianProcessRegressor(alpha=0.1).fit(x, target)
wide = new.astype(np.float64)
write("GaussianProcess", file(process, wide[:1]), [wide], lambda x: process.predict(x)[:, None])

empty = new.copy()
empty[::3, 1] = np.nan
imputer = impute.SimpleImputer().fit(empty)
write("SimpleImputer-nan", file(imputer, empty[:1]), [empty], imputer.transform)
for name, model in {
    "KMeans": cluster.KMeans(3, n_init=2),
    "GaussianMixture": mixture.GaussianMixture(2),
    "IsolationForest": E.IsolationForest(n_estimators=9),
    "OneClassSVM": svm.OneClassSVM(),
    "LocalOutlierFactor": neighbors.LocalOutlierFactor(novelty=True),
}.items():
    seeded(model).fit(x)
    write(name, file(model, x[:1]), [new], model.predict)
texts = np.array([["red", "a"], ["green", "b"], ["blue", "a"], ["red", "c"]])
for name, model in {
    "OneHotEncoder": P.OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "OrdinalEncoder": P.OrdinalEncoder(),
}.items():
    seeded(model).fit(texts)
    write(name, file(model, texts[:1]), [texts], model.transform)
