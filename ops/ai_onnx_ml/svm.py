"""SVMClassifier and SVMRegressor, as libsvm computes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx_ml import ML
from onnxwalk.ops.ai_onnx_ml.scores import (
    POST_TRANSFORM,
    as_samples,
    check_same_length,
    class_labels,
    cost_of_scores,
    score_two_classes,
    transform_scores,
)
from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import PER_CALL, multiply_adds
from onnxwalk.ops.shared.numeric import float_power

Floats = Sequence[float] | None


@op("SVMRegressor", domain=ML, since=1)
def svm_regressor(
    x: np.ndarray,
    *,
    coefficients: Floats = None,
    kernel_params: Floats = None,
    kernel_type: str = "LINEAR",
    n_supports: int = 0,
    one_class: int = 0,
    post_transform: str = "NONE",
    rho: Floats = None,
    support_vectors: Floats = None,
) -> np.ndarray:
    """post_transform(Σ coefficientᵢ·K(x, vectorᵢ) + rho), (N, 1) in float32; see ``_kernel`` for K.

    Without support vectors x·coefficients + rho. With one_class=1 the answer is 1 where that is
    positive, else -1. Spec: SVMRegressor-1.
    """
    x = as_samples(x)
    w = np.array(_require("coefficients", coefficients), x.dtype)
    (shift,) = _require_count(1, "rho", rho)
    if n_supports > 0:
        vectors = _shape_vectors(support_vectors, n_supports, x)
        score = products.matmul(
            _kernel(x, vectors, kernel_type, kernel_params), _check_size(w, n_supports)
        )
    else:
        score = products.matmul(x, _check_size(w, x.shape[1]))
    score = (score + x.dtype.type(shift))[:, np.newaxis]
    if one_class:
        if post_transform != "NONE":
            raise ValueError(
                f"post_transform of a one-class SVM should be 'NONE', got {post_transform!r}"
            )
        return np.where(score > 0, np.float32(1), np.float32(-1))
    return transform_scores(score, post_transform).astype(np.float32, copy=False)


@op("SVMClassifier", domain=ML, since=1)
def svm_classifier(
    x: np.ndarray,
    *,
    classlabels_ints: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
    coefficients: Floats = None,
    kernel_params: Floats = None,
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: Floats = None,
    prob_b: Floats = None,
    rho: Floats = None,
    support_vectors: Floats = None,
    vectors_per_class: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The label with the most votes, and the scores after post_transform, in float32.

    Each pair of the E classes is decided by Σ coefficientᵢ·K(x, vectorᵢ) + rho over the support
    vectors of the two: the first one gets the vote where that is positive. The scores are those of
    the pairs (N, E·(E-1)/2), of two classes [-s, s]; or with prob_a and prob_b the probabilities
    of the classes (N, E).

    Without support vectors each class has the score x·coefficients + rho, and the largest wins.
    Spec: SVMClassifier-1; what it does not say is libsvm's and ONNX Runtime's.
    """
    x = as_samples(x)
    labels = class_labels(classlabels_ints, classlabels_strings)
    w = np.array(_require("coefficients", coefficients), x.dtype)
    if not sum(vectors_per_class or ()):
        shift = _require("rho", rho)
        if len(set(shift)) != 1:  # other libraries use the first for all classes
            raise ValueError(f"rho of a linear SVMClassifier should be one value, got {len(shift)}")
        scores = products.matmul(
            x, _check_size(w, labels.size * x.shape[1]).reshape(labels.size, -1).T
        )
        scores += x.dtype.type(shift[0])
        winner = scores.argmax(axis=1)
        return labels[winner], transform_scores(scores, post_transform).astype(
            np.float32, copy=False
        )

    counts = list(vectors_per_class or ())
    check_same_length(vectors_per_class=counts, classlabels=labels)
    kernel = _kernel(x, _shape_vectors(support_vectors, sum(counts), x), kernel_type, kernel_params)
    pairs = list(combinations(range(labels.size), 2))
    table = _check_size(w, (labels.size - 1) * sum(counts)).reshape(labels.size - 1, sum(counts))
    decisions = np.stack(list(_decisions(kernel, table, counts, pairs)), axis=1)
    decisions += np.array(_require_count(len(pairs), "rho", rho), x.dtype)

    votes = np.zeros((len(x), labels.size), np.int64)
    for pair, (i, j) in enumerate(pairs):
        votes[:, i] += decisions[:, pair] > 0
        votes[:, j] += ~(decisions[:, pair] > 0)
    winner = votes.argmax(axis=1)

    if prob_a is not None and len(prob_a):
        a, b = (
            _require_count(len(pairs), name, p)
            for name, p in (("prob_a", prob_a), ("prob_b", prob_b))
        )
        scores = transform_scores(
            _probabilities(decisions, pairs, a, b, labels.size), post_transform
        )
    elif labels.size == 2:
        scores = score_two_classes(decisions, post_transform, complement=False)
    else:
        scores = transform_scores(decisions, post_transform)
    return labels[winner], scores.astype(np.float32, copy=False)


def _decisions(
    kernel: np.ndarray, table: np.ndarray, counts: Sequence[int], pairs: list[tuple[int, int]]
) -> Iterator[np.ndarray]:
    """For each pair of classes Σ coefficient·K. The rows of ``table`` are the coefficients of the
    vectors of a class against each other class, in order, as in libsvm."""
    ends = np.cumsum(counts)
    of = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    for i, j in pairs:
        yield products.matmul(kernel[:, of[i]], table[j - 1, of[i]]) + products.matmul(
            kernel[:, of[j]], table[i, of[j]]
        )


def _kernel(x: np.ndarray, vectors: np.ndarray, kind: str, params: Floats) -> np.ndarray:
    """K(x, v) for all samples and vectors (N, V), with params = (gamma, coef0, degree).

    LINEAR: x·v. POLY: (gamma·x·v + coef0)^degree. SIGMOID: tanh(gamma·x·v + coef0).
    RBF: exp(-gamma·|x - v|²).
    """
    product = products.matmul(x, vectors.T)
    if kind == "LINEAR":
        return product
    gamma, coef0, degree = (x.dtype.type(p) for p in _require_count(3, "kernel_params", params))
    if kind == "POLY":
        return float_power(gamma * product + coef0, degree)
    if kind == "SIGMOID":
        return np.tanh(gamma * product + coef0)
    if kind == "RBF":
        # |x - v|² = |x|² - 2·x·v + |v|², in float64, since much of it cancels
        x, vectors = x.astype(np.float64), vectors.astype(np.float64)
        squares = np.square(x).sum(1)[:, np.newaxis] + np.square(vectors).sum(1)
        distance = np.maximum(squares - 2 * products.matmul(x, vectors.T), 0)
        return np.exp(-float(gamma) * distance).astype(product.dtype)
    raise ValueError(f"kernel_type {kind!r} should be 'LINEAR', 'POLY', 'RBF' or 'SIGMOID'")


def _probabilities(
    decisions: np.ndarray,
    pairs: list[tuple[int, int]],
    a: Sequence[float],
    b: Sequence[float],
    k: int,
) -> np.ndarray:
    """The classes' probabilities from those of the pairs, 1 / (1 + exp(s·a + b)).

    They minimise Σ (r[j, i]·p[i] - r[i, j]·p[j])², as in libsvm: Wu, Lin and Weng, "Probability
    estimates for multi-class classification by pairwise coupling", 2004, algorithm 2.
    """
    wins = 1 / (1 + np.exp(decisions * np.array(a, np.float64) + np.array(b, np.float64)))
    wins = np.clip(wins, 1e-7, 1 - 1e-7)
    n = len(wins)
    r = np.zeros((n, k, k))
    for pair, (i, j) in enumerate(pairs):
        r[:, i, j], r[:, j, i] = wins[:, pair], 1 - wins[:, pair]
    q = -r * r.transpose(0, 2, 1)
    q[:, range(k), range(k)] = np.square(r).sum(axis=1)
    p = np.full((n, k), 1 / k)
    unconverged = np.arange(n)  # the samples that have not converged
    for _ in range(max(100, k)):
        qp = products.matmul(q[unconverged], p[unconverged, :, np.newaxis])[..., 0]
        pqp = (p[unconverged] * qp).sum(axis=1)
        going = abs(qp - pqp[:, np.newaxis]).max(axis=1) >= 0.005 / k
        unconverged, qp, pqp = unconverged[going], qp[going], pqp[going]
        if not unconverged.size:
            break
        own = p[unconverged]
        for t in range(k):
            row = q[unconverged, t]
            step = (pqp - qp[:, t]) / row[:, t]
            own[:, t] += step
            pqp = (pqp + step * (step * row[:, t] + 2 * qp[:, t])) / (1 + step) ** 2
            qp = (qp + step[:, np.newaxis] * row) / (1 + step)[:, np.newaxis]
            own /= (1 + step)[:, np.newaxis]
        p[unconverged] = own
    return p


def _shape_vectors(given: Floats, count: int, x: np.ndarray) -> np.ndarray:
    values = np.array(_require("support_vectors", given), x.dtype)
    return _check_size(values, count * x.shape[1]).reshape(count, x.shape[1])


def _require(name: str, values: Floats) -> Sequence[float]:
    if values is None or not len(values):
        raise ValueError(f"the attribute {name} is missing")
    return values


def _require_count(count: int, name: str, values: Floats) -> Sequence[float]:
    if len(_require(name, values)) != count:
        raise ValueError(f"{name} should have {count} elements, got {len(values or ())}")
    return _require(name, values)


def _check_size(values: np.ndarray, size: int) -> np.ndarray:
    if values.size != size:
        raise ValueError(
            f"expected {size} coefficients or elements of support vectors, got {values.size}"
        )
    return values


# ------------------------------------------------------------------------------------------- costs


@svm_regressor.cost
@svm_classifier.cost
def cost_of_svm(
    x: np.ndarray,
    *,
    coefficients: Floats = None,
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: Floats = None,
    support_vectors: Floats = None,
    classlabels_ints: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
    **_: Any,
) -> Cost:
    """The kernel of all samples and vectors, for RBF with three temporary arrays in double; the
    decision of each pair of classes, and for probabilities a matrix for each sample."""
    count, features = (len(x), x.shape[1]) if x.ndim == 2 else (1, x.size)
    numbers = len(support_vectors or ()) + len(coefficients or ())
    vectors = len(support_vectors or ()) // max(features, 1)
    classes = max(len(classlabels_ints or classlabels_strings or ()), 1)
    pairs = classes * (classes - 1) // 2
    columns = max(pairs, classes)
    cost = cost_of_scores(x, count, columns, post_transform)
    item = 4 if x.dtype == np.float32 else 8
    kernel = count * vectors * (item + 32 if kernel_type == "RBF" else 3 * item)
    doubles = 8 * x.size if kernel_type == "RBF" else 0
    coupled = count * (32 * classes * classes + 64 * pairs) if prob_a else 0
    memory = cost.memory + kernel + doubles + 24 * numbers + count * (4 * item * columns) + coupled
    macs = count * (numbers + 2 * vectors * classes)
    work = cost.work + multiply_adds(macs, np.dtype(np.float64)) + PER_ELEMENT * count * vectors
    work += 200 * numbers + pairs * (6 * PER_CALL + 60 * count)
    if prob_a:
        rounds = max(100, classes)
        work += rounds * classes * (20 * PER_CALL + 60 * count * classes)
    return Cost(memory, work)


declare(
    svm_classifier,
    svm_regressor,
    choices={**POST_TRANSFORM, "kernel_type": "LINEAR POLY RBF SIGMOID"},
)
