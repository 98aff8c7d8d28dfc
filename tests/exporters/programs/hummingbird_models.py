"""scikit-learn through Hummingbird, whose PyTorch modules are exported by TorchScript"""

import hummingbird.ml
import numpy as np
import torch
from sklearn import (
    cluster,
    decomposition,
    ensemble,
    impute,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from writing import write

REQUIREMENTS = [
    "hummingbird-ml==0.4.12",
    "torch==2.13.0",
    "scikit-learn==1.9.1",
    "onnxruntime==1.32.0",
    "onnx==1.16.1",
    "onnxscript==0.5.7",
    "numpy==2.4.6",
]
REFUSED = 9
KNOWN = {
    "LogisticRegression": "one against the rest, no softmax: findings/hummingbird-logistic.sh",
    "LogisticRegression-labels": "no softmax: findings/hummingbird-logistic.sh",
    "LogisticRegressionCV": "no softmax: findings/hummingbird-logistic.sh",
    "Stacking": "its LogisticRegression: findings/hummingbird-logistic.sh",
    "SVC-sigmoid*": "another kernel: findings/hummingbird-settings.sh",
    "MinMaxScaler-clip": "numbers aren't clipped: findings/hummingbird-settings.sh",
    "HistGradientBoostingRegressor-poisson": "no exp: findings/hummingbird-settings.sh",
    "SGDClassifier-huber": "x[mask, :] = 1 sets one column of each row in TorchScript's export",
    "*[gt]-nan": "NaN goes to the right in each tree, whatever the tree has learnt",
}

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 4)).astype(np.float32)
target = x[:, 0] * 2 - x[:, 1] + np.sin(x[:, 3])
three = np.digitize(target, [-1.5, 1.5])
new = rng.normal(size=(50, 4)).astype(np.float32)
empty = new.copy()
empty[::3, 1] = np.nan
with_empty = x.copy()
with_empty[::5, 1] = np.nan
E, L, P = ensemble, linear_model, preprocessing
few = {"n_estimators": 9}

CLASSIFIERS = {
    "LogisticRegression": L.LogisticRegression(),
    "LogisticRegressionCV": L.LogisticRegressionCV(),
    "SGDClassifier": L.SGDClassifier(),
    "SGDClassifier-log": L.SGDClassifier(loss="log_loss"),
    "SGDClassifier-huber": L.SGDClassifier(loss="modified_huber"),
    "Perceptron": L.Perceptron(),
    "RidgeClassifier": L.RidgeClassifier(),
    "LinearSVC": svm.LinearSVC(),
    "SVC": svm.SVC(),
    "SVC-poly": svm.SVC(kernel="poly", degree=2),
    "SVC-sigmoid": svm.SVC(kernel="sigmoid"),
    "NuSVC": svm.NuSVC(nu=0.2),
    "DecisionTree": tree.DecisionTreeClassifier(max_depth=5),
    "ExtraTree": tree.ExtraTreeClassifier(max_depth=5),
    "RandomForest": E.RandomForestClassifier(**few),
    "ExtraTrees": E.ExtraTreesClassifier(**few),
    "GradientBoosting": E.GradientBoostingClassifier(**few),
    "HistGradientBoosting": E.HistGradientBoostingClassifier(max_iter=9),
    "Bagging": E.BaggingClassifier(n_estimators=5),
    "Stacking": E.StackingClassifier([("a", naive_bayes.GaussianNB())]),
    "GaussianNB": naive_bayes.GaussianNB(),
    "BernoulliNB": naive_bayes.BernoulliNB(binarize=0.3),
    "MLP": neural_network.MLPClassifier((8,), max_iter=100),
    "KNeighbors": neighbors.KNeighborsClassifier(3),
    "Pipeline": pipeline.make_pipeline(P.StandardScaler(), decomposition.PCA(3), L.Perceptron()),
}
REGRESSORS = {
    "LinearRegression": L.LinearRegression(),
    "Ridge": L.Ridge(),
    "Lasso": L.Lasso(0.1),
    "Tweedie": L.TweedieRegressor(power=0),
    "Poisson": L.TweedieRegressor(power=1),
    "LinearSVR": svm.LinearSVR(),
    "SVR": svm.SVR(),
    "DecisionTreeRegressor": tree.DecisionTreeRegressor(max_depth=5),
    "ExtraTreesRegressor": E.ExtraTreesRegressor(**few),
    "RandomForestRegressor": E.RandomForestRegressor(**few),
    "GradientBoostingRegressor": E.GradientBoostingRegressor(**few),
    "HistGradientBoostingRegressor": E.HistGradientBoostingRegressor(max_iter=9),
    "HistGradientBoostingRegressor-poisson": E.HistGradientBoostingRegressor(
        max_iter=9, loss="poisson"
    ),
    "MLPRegressor": neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=100),
}
TRANSFORMERS = {
    "StandardScaler": P.StandardScaler(),
    "MinMaxScaler": P.MinMaxScaler(),
    "MinMaxScaler-clip": P.MinMaxScaler(clip=True),
    "MaxAbsScaler": P.MaxAbsScaler(),
    "RobustScaler": P.RobustScaler(),
    "RobustScaler-unit": P.RobustScaler(unit_variance=True),
    "Normalizer": P.Normalizer(),
    "Normalizer-max": P.Normalizer("max"),
    "Binarizer": P.Binarizer(threshold=0.3),
    "PolynomialFeatures": P.PolynomialFeatures(2),
    "KBinsDiscretizer": P.KBinsDiscretizer(4, encode="ordinal"),
    "KBinsDiscretizer-onehot": P.KBinsDiscretizer(4, encode="onehot-dense"),
    "PCA": decomposition.PCA(2),
    "PCA-whiten": decomposition.PCA(2, whiten=True),
    "KernelPCA": decomposition.KernelPCA(2, kernel="rbf"),
    "TruncatedSVD": decomposition.TruncatedSVD(2),
    "FastICA": decomposition.FastICA(2),
    "PowerTransformer": P.PowerTransformer(),
}


def seeded(model):
    """The model with a seed, and those within it."""
    names = [name for name in model.get_params() if name.endswith("random_state")]
    return model.set_params(**dict.fromkeys(names, 0))


def exported(model):
    def to(path):
        module = hummingbird.ml.convert(model, "torch", x[:1]).model
        torch.onnx.export(module, (torch.tensor(new),), path, opset_version=17, dynamo=False)

    return to


def predicted(model):
    """Labels and probabilities; scores, where there are none, have another form in the module."""

    def answer(rows):
        probabilities = getattr(model, "predict_proba", lambda rows: None)
        return [model.predict(rows), probabilities(rows)]

    return answer


for tag, labels in (("", three), ("-two", (target > 0).astype(int)), ("-labels", three * 3 + 5)):
    for name, model in CLASSIFIERS.items():
        if not tag or name in ("LogisticRegression", "RandomForest", "SVC", "SVC-sigmoid"):
            seeded(model).fit(x, labels)
            write(f"{name}{tag}", exported(model), [new], predicted(model))
for name, model in REGRESSORS.items():
    seeded(model).fit(x, np.exp(target / 2) if "oisson" in name else target)
    write(name, exported(model), [new], lambda rows, model=model: model.predict(rows)[:, None])
for name, model in TRANSFORMERS.items():
    seeded(model).fit(x)
    write(name, exported(model), [new], model.transform)
means = seeded(cluster.KMeans(3, n_init=2)).fit(x)
write("KMeans", exported(means), [new], means.predict)
imputer = impute.SimpleImputer(strategy="median").fit(with_empty)
write("SimpleImputer-nan", exported(imputer), [empty], imputer.transform)
for name, model in {
    "HistGradientBoosting-nan": E.HistGradientBoostingClassifier(max_iter=9),
    "RandomForest-nan": E.RandomForestClassifier(**few),
}.items():
    seeded(model).fit(with_empty, three)
    write(name, exported(model), [empty], predicted(model))
forest = CLASSIFIERS["RandomForest"].fit(x, three)
write(
    "backend-onnx",
    lambda path: hummingbird.ml.convert(forest, "onnx", x[:1]).save(path),
    [new],
    predicted(forest),
)
