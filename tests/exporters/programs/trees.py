"""LightGBM and XGBoost through onnxmltools, and CatBoost's own export"""

import catboost
import lightgbm
import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from writing import write

REQUIREMENTS = [
    "onnxmltools==1.16.0",
    "lightgbm==4.7.0",
    "xgboost==3.2.0",
    "catboost==1.2.10",
    "skl2onnx==1.20.0",
    "scikit-learn==1.9.1",
    "onnx==1.23.2",
    "numpy==2.4.6",
]
REFUSED = 3
KNOWN = {
    "lightgbm-forest": "onnxmltools: findings/lightgbm-forest-hundred.sh",
    "lightgbm-linear": "onnxmltools: findings/lightgbm-links.sh",
    "xgboost-rf-three": "onnxmltools: findings/xgboost-forest-classes.sh",
    "xgboost-cox": "onnxmltools: findings/xgboost-objectives.sh",
    "catboost-poisson": "CatBoost: findings/catboost-losses.sh",
}
rng = np.random.default_rng(0)
x = rng.normal(size=(200, 4)).astype(np.float32)
target = x[:, 0] * 2 - x[:, 1] + np.sin(x[:, 3])
labels = {"two": (target > 0).astype(int), "three": np.digitize(target, [-1.5, 1.5])}
new = rng.normal(size=(40, 4)).astype(np.float32)
empty = new.copy()
empty[::3, 1] = np.nan
with_empty = x.copy()
with_empty[::5, 1] = np.nan
types = [("x", FloatTensorType([None, 4]))]


def saved(onx, path):
    with open(path, "wb") as target:
        target.write(onx.SerializeToString())


def lgb(model):
    return lambda path: saved(
        onnxmltools.convert_lightgbm(model, initial_types=types, zipmap=False), path
    )


def xgb(model):
    return lambda path: saved(onnxmltools.convert_xgboost(model, initial_types=types), path)


def cat(model):
    return lambda path: model.save_model(path, format="onnx")


def column(model):
    return lambda x: np.asarray(model.predict(x), np.float32).reshape(-1, 1)


def both(model):
    return lambda x: [np.asarray(model.predict(x)).ravel(), model.predict_proba(x)]


few = {"n_estimators": 9}
quiet = {"verbose": -1}
for name, settings in {
    "l2": {},
    "poisson": {"objective": "poisson"},
    "tweedie": {"objective": "tweedie"},
    "quantile": {"objective": "quantile"},
    "dart": {"boosting_type": "dart"},
    "forest": {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "linear": {"linear_tree": True},
}.items():
    y = np.exp(target / 2) if name in ("poisson", "tweedie") else target
    model = lightgbm.LGBMRegressor(**few, **quiet, **settings).fit(with_empty, y)
    write(f"lightgbm-{name}", lgb(model), [[new], [empty]], column(model))
for name, y in labels.items():
    model = lightgbm.LGBMClassifier(**few, **quiet).fit(with_empty, y)
    write(f"lightgbm-{name}", lgb(model), [[new], [empty]], both(model))
    model = xgboost.XGBClassifier(**few).fit(with_empty, y)
    write(f"xgboost-{name}", xgb(model), [[new], [empty]], both(model))
    model = catboost.CatBoostClassifier(iterations=9, verbose=0, allow_writing_files=False)
    model.fit(with_empty, y)
    write(f"catboost-{name}", cat(model), [[new], [empty]], both(model))
for name, settings in {
    "l2": {},
    "l1": {"objective": "reg:absoluteerror"},
    "poisson": {"objective": "count:poisson"},
    "gamma": {"objective": "reg:gamma"},
    "cox": {"objective": "survival:cox"},
    "forest": {"num_parallel_tree": 3},
    "dart": {"booster": "dart"},
    "linear": {"booster": "gblinear"},
    "lossguide": {"grow_policy": "lossguide", "max_leaves": 7},
}.items():
    y = np.exp(target / 2) if name in ("poisson", "gamma", "cox") else target
    model = xgboost.XGBRegressor(**few, **settings).fit(with_empty, y)
    write(f"xgboost-{name}", xgb(model), [[new], [empty]], column(model))
model = xgboost.XGBRFClassifier(n_estimators=5).fit(x, labels["three"])
write("xgboost-rf-three", xgb(model), [new], both(model))
for name, settings in {
    "l2": {},
    "depthwise": {"grow_policy": "Depthwise"},
    "poisson": {"loss_function": "Poisson"},
    "quantile": {"loss_function": "Quantile:alpha=0.8"},
}.items():
    y = np.exp(target / 2) if name == "poisson" else target
    model = catboost.CatBoostRegressor(
        iterations=9, verbose=0, allow_writing_files=False, **settings
    )
    model.fit(with_empty, y)
    write(f"catboost-{name}", cat(model), [[new], [empty]], column(model))
