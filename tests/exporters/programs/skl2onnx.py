"""scikit-learn through skl2onnx."""

import numpy as np
import sklearn.cluster as cluster
import sklearn.discriminant_analysis as da
import sklearn.ensemble as ensemble
import sklearn.linear_model as linear
import sklearn.naive_bayes as bayes
import sklearn.neighbors as neighbors
import sklearn.preprocessing as pre
import sklearn.svm as svm
import sklearn.tree as tree
from skl2onnx import to_onnx
from sklearn.decomposition import PCA, FastICA, TruncatedSVD
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from writing import write

REQUIREMENTS = ["skl2onnx==1.19.1", "scikit-learn==1.7.2", "onnx==1.19.1", "numpy==2.3.5"]

rng = np.random.default_rng(0)
x = rng.normal(size=(120, 5)).astype(np.float32)
classes = np.digitize(x[:, 0] + x[:, 1] * x[:, 2], [-0.5, 0.5])
targets = x @ np.arange(1, 6) + np.sin(x[:, 0])

CLASSIFIERS = [
    linear.LogisticRegression(), linear.RidgeClassifier(), linear.Perceptron(),
    linear.SGDClassifier(loss="log_loss", random_state=0), linear.PassiveAggressiveClassifier(),
    tree.DecisionTreeClassifier(max_depth=5), tree.ExtraTreeClassifier(random_state=0),
    ensemble.RandomForestClassifier(10, random_state=0), ensemble.ExtraTreesClassifier(10),
    ensemble.GradientBoostingClassifier(n_estimators=10), ensemble.AdaBoostClassifier(),
    ensemble.HistGradientBoostingClassifier(max_iter=10), ensemble.BaggingClassifier(),
    bayes.GaussianNB(), bayes.BernoulliNB(), da.LinearDiscriminantAnalysis(),
    da.QuadraticDiscriminantAnalysis(), neighbors.KNeighborsClassifier(),
    svm.SVC(probability=True, random_state=0), svm.NuSVC(), svm.LinearSVC(),
    MLPClassifier((8,), random_state=0), GaussianMixture(2, random_state=0),
]  # fmt: skip
REGRESSORS = [
    linear.LinearRegression(), linear.Ridge(), linear.Lasso(), linear.ElasticNet(),
    linear.HuberRegressor(), linear.BayesianRidge(), linear.TheilSenRegressor(random_state=0),
    tree.DecisionTreeRegressor(max_depth=5), ensemble.RandomForestRegressor(10),
    ensemble.GradientBoostingRegressor(n_estimators=10), ensemble.AdaBoostRegressor(),
    ensemble.HistGradientBoostingRegressor(max_iter=10), neighbors.KNeighborsRegressor(),
    svm.SVR(), svm.NuSVR(), MLPRegressor((8,), random_state=0), GaussianProcessRegressor(),
]  # fmt: skip
TRANSFORMERS = [
    pre.StandardScaler(), pre.MinMaxScaler(), pre.MaxAbsScaler(), pre.RobustScaler(),
    pre.Normalizer(), pre.Binarizer(), pre.PolynomialFeatures(2), pre.PowerTransformer(),
    pre.KBinsDiscretizer(3), PCA(3), FastICA(3, random_state=0), TruncatedSVD(3),
    VarianceThreshold(), SelectKBest(k=3), SimpleImputer(), cluster.KMeans(3, random_state=0),
]  # fmt: skip


def save(model, answer, name=""):
    write(
        name or type(model).__name__,
        lambda path: open(path, "wb").write(to_onnx(model, x[:1]).SerializeToString()),
        [x[:40]],
        answer,
    )


def labels_and_scores(model):
    scores = hasattr(model, "predict_proba") and not isinstance(model, GaussianMixture)
    return lambda a: [model.predict(a), *([model.predict_proba(a)] if scores else [])]


for model in CLASSIFIERS:
    model.fit(x, classes)
    save(model, labels_and_scores(model))
for model in REGRESSORS:
    model.fit(x, targets)
    save(model, lambda a, m=model: m.predict(a).reshape(len(a), -1))
for model in TRANSFORMERS:
    model.fit(np.abs(x) if isinstance(model, bayes.MultinomialNB) else x, classes)
    if isinstance(model, cluster.KMeans):
        save(model, lambda a, m=model: [m.predict(a), m.transform(a)])
    else:
        save(model, lambda a, m=model: np.asarray(getattr(m.transform(a), "todense", lambda: m.transform(a))()))
pipeline = make_pipeline(
    SimpleImputer(), make_union(pre.StandardScaler(), PCA(2)), linear.LogisticRegression()
).fit(x, classes)
save(pipeline, labels_and_scores(pipeline), "pipeline_union")
