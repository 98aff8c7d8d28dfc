"""The end of a classifier: post_transform, and the scores of two classes from one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.shared.values import get_single

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
POST_TRANSFORM = {"post_transform": " ".join(TRANSFORMS)}


def transform_scores(scores: np.ndarray, post_transform: str) -> np.ndarray:
    """Each row of scores (N, E) after the transform.

    LOGISTIC: 1 / (1 + exp(-s)). SOFTMAX: exp(s) / Σ exp(s). SOFTMAX_ZERO: the same over the scores
    that aren't 0 (1e-7 at most), which stay 0. PROBIT: the normal distribution's quantile of s.
    """
    if post_transform == "NONE":
        return scores
    if post_transform == "LOGISTIC":
        return 1 / (1 + np.exp(-scores))
    if post_transform in ("SOFTMAX", "SOFTMAX_ZERO"):
        if scores.size == 0:
            return scores
        largest = scores.max(axis=-1, keepdims=True)
        powers = np.exp(scores - largest)
        if post_transform == "SOFTMAX_ZERO":
            powers = np.where(abs(scores) > 1e-7, powers, scores * np.exp(-largest))
        total = powers.sum(axis=-1, keepdims=True)
        # where all are 0, the official reference has 0.5 for each, and ONNX Runtime 0/0
        return np.where(total == 0, scores.dtype.type(0.5), powers / total)
    if post_transform == "PROBIT":
        return np.vectorize(_probit, otypes=[scores.dtype])(scores)
    raise ValueError(f"post_transform {post_transform!r} should be one of {', '.join(TRANSFORMS)}")


def through_transform(dy: np.ndarray, y: np.ndarray, post_transform: str) -> np.ndarray:
    """The gradient of the scores from that of y, what they were transformed to."""
    if post_transform == "NONE":
        return dy
    if post_transform == "LOGISTIC":
        return dy * y * (1 - y)
    if post_transform == "PROBIT":  # over the density at y
        return dy * np.exp(np.square(y) / 2) * y.dtype.type(np.sqrt(2 * np.pi))
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def _probit(p: float) -> float:
    if 0 < p < 1:
        from statistics import NormalDist  # seldom needed: it imports fractions and decimals

        return NormalDist().inv_cdf(p)
    return np.nan if p != 0 and p != 1 else -np.inf if p == 0 else np.inf


def score_two_classes(score: np.ndarray, post_transform: str, *, complement: bool) -> np.ndarray:
    """(N, 2) scores of two classes from the one score (N, 1) that speaks for the second.

    The first class has 1 - s if s is a probability (``complement``, or PROBIT), else -s.
    The spec is silent; ONNX Runtime does this, but without the softmaxes, which are those of the
    official reference here.
    """
    if post_transform == "PROBIT" or (complement and post_transform == "NONE"):
        both = np.concatenate([1 - score, score], axis=1)
    else:
        both = np.concatenate([-score, score], axis=1)
    return transform_scores(both, post_transform)


def class_labels(integers: Sequence[int] | None, strings: Sequence[str] | None) -> np.ndarray:
    """The labels of a classifier, int64 or strings."""
    return get_single("class labels", integers, strings)


def as_samples(x: np.ndarray) -> np.ndarray:
    """The samples (N, F); a vector is one sample. float32 stays, other numbers become float64."""
    if x.ndim == 1:
        x = x[np.newaxis]
    if x.ndim != 2:
        raise ValueError(f"input {x.shape} should be (N, F) or (F)")
    return x if x.dtype == np.float32 else x.astype(np.float64)


def check_same_length(**arrays: Sequence[object] | np.ndarray | None) -> None:
    """Raise ValueError, with all lengths, unless attributes have equal lengths."""
    lengths = {name: len(values) for name, values in arrays.items() if values is not None}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"these should have equal lengths: {listed}")


def cost_of_scores(x: np.ndarray, count: int, columns: int, post_transform: str) -> Cost:
    """Samples, in double unless they are float; labels; the scores (of two classes, if there is one
    column), and their transforms."""
    item, samples = (4, 0) if x.dtype == np.float32 else (8, 8 * x.size)
    scores = count * max(columns, 2)
    copies = 1 if post_transform == "NONE" and columns > 1 else 5
    each = 5000 if post_transform == "PROBIT" else 150  # a function of Python's, for one number
    return Cost(samples + (copies * item + 4) * scores + 24 * count, 30 * x.size + each * scores)
