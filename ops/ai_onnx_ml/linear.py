"""LinearClassifier and LinearRegressor: X·Wᵀ + b."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx_ml import ML
from onnxwalk.ops.ai_onnx_ml.scores import (
    POST_TRANSFORM,
    as_samples,
    class_labels,
    cost_of_scores,
    score_two_classes,
    through_transform,
    transform_scores,
)
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import multiply_adds


@op("LinearClassifier", domain=ML, since=1)
def linear_classifier(
    x: np.ndarray,
    *,
    classlabels_ints: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
    coefficients: Sequence[float],
    intercepts: Sequence[float] | None = None,
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> tuple[np.ndarray, np.ndarray]:
    """The label of the largest score s = X·Wᵀ + b, and post_transform(s).

    X (N, F), coefficients W (E, F), intercepts b (E); labels (N), float32 scores (N, E). One row of
    coefficients for two labels speaks for the second one: it wins where s > 0, and the scores are
    [1 - s, s]. multi_class says how the model was trained and changes nothing.
    Spec: LinearClassifier-1.
    """
    labels = class_labels(classlabels_ints, classlabels_strings)
    scores = _product(as_samples(x), coefficients, intercepts)
    if scores.shape[1] == 1 and labels.size == 2:
        winner = (scores[:, 0] > 0).astype(np.int64)
        scores = score_two_classes(scores, post_transform, complement=True)
    elif scores.shape[1] == labels.size:
        winner = scores.argmax(axis=1)
        scores = transform_scores(scores, post_transform)
    else:
        raise ValueError(
            f"coefficients should have {labels.size} rows, one for each class label, got "
            f"{scores.shape[1]}"
        )
    return labels[winner], scores.astype(np.float32, copy=False)


@op("LinearRegressor", domain=ML, since=1)
def linear_regressor(
    x: np.ndarray,
    *,
    coefficients: Sequence[float] | None = None,
    intercepts: Sequence[float] | None = None,
    post_transform: str = "NONE",
    targets: int = 1,
) -> np.ndarray:
    """post_transform(X·Wᵀ + b), float32.

    X (N, F), coefficients W (targets, F), intercepts b (targets), Y (N, targets).
    Spec: LinearRegressor-1.
    """
    if coefficients is None:
        raise ValueError("LinearRegressor needs coefficients")
    y = _product(as_samples(x), coefficients, intercepts)
    if y.shape[1] != targets:
        raise ValueError(
            f"coefficients should have one row for each of {targets} targets, got {y.shape[1]}"
        )
    return transform_scores(y, post_transform).astype(np.float32, copy=False)


@linear_regressor.vjp
def vjp_of_linear_regressor(dy, x, *, y, coefficients, post_transform):
    """dS·W with dS the gradient of the scores, through the transform."""
    return _to_samples(through_transform(dy, y, post_transform), x, coefficients)


@linear_classifier.vjp
def vjp_of_linear_classifier(dlabels, dscores, x, *, scores, coefficients, post_transform):
    if dscores is None:  # the labels alone are read, which are no numbers
        return np.zeros_like(x)
    d = through_transform(dscores, scores, post_transform)
    if scores.shape[1] * as_samples(x).shape[1] != len(coefficients):
        d = d[:, 1:] - d[:, :1]  # one score speaks for the second class, and against the first
    return _to_samples(d, x, coefficients)


def _to_samples(d_scores: np.ndarray, x: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    dx = products.matmul(
        d_scores, np.array(coefficients, d_scores.dtype).reshape(d_scores.shape[1], -1)
    )
    return dx.reshape(x.shape)


def _product(
    x: np.ndarray, coefficients: Sequence[float], intercepts: Sequence[float] | None
) -> np.ndarray:
    w = np.array(coefficients, x.dtype)
    features = x.shape[1]
    if features == 0 or w.size % features:
        raise ValueError(f"coefficients ({w.size} values) should be rows of {features} features")
    y = products.matmul(x, w.reshape(-1, features).T)
    if intercepts is not None and len(intercepts):
        if len(intercepts) != y.shape[1]:
            raise ValueError(f"intercepts should have {y.shape[1]} values, got {len(intercepts)}")
        y += np.array(intercepts, x.dtype)
    return y


@linear_classifier.cost
@linear_regressor.cost
def cost_of_linear(
    x: np.ndarray, *, coefficients: Sequence[float] = (), post_transform: str = "NONE", **_: Any
) -> Cost:
    count, features = (len(x), x.shape[1]) if x.ndim == 2 else (1, x.size)
    cost = cost_of_scores(x, count, len(coefficients) // max(features, 1), post_transform)
    work = multiply_adds(count * len(coefficients), np.dtype(np.float64))
    return Cost(cost.memory + 16 * len(coefficients), cost.work + work + 200 * len(coefficients))


declare(linear_classifier, linear_regressor, choices=POST_TRANSFORM)
