"""Loss functions: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.softmax import vjp_of_log_softmax
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import in_float32, wide
from onnxwalk.ops.shared.places import as_places


@op("NegativeLogLikelihoodLoss", since=12)
@in_float32
def negative_log_likelihood_loss(
    input, target, weight=None, *, ignore_index=None, reduction="mean"
):
    """loss[n, d] = -x[n, target[n, d], d]·weight[target[n, d]], and 0 where target is ignore_index

    x (N, C, D1 … Dk) log-probabilities, target (N, D1 … Dk), weight (C). ``reduction``: none, or
    the sum, or the mean: sum(loss) / sum(weight[target]) over what isn't ignored.

    Spec: NegativeLogLikelihoodLoss-12, -13, -22.
    """
    if input.ndim < 2 or target.shape != (input.shape[0], *input.shape[2:]):
        raise ValueError(f"x {input.shape} and target {target.shape} should be (N, C, …), (N, …)")
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f"reduction {reduction!r} is not none, sum or mean")
    is_counted, chosen, weights = _weigh_targets(input, target, weight, ignore_index)
    if not input.shape[1]:
        return np.zeros(target.shape if reduction == "none" else (), input.dtype)
    picked = np.take_along_axis(input, np.expand_dims(chosen, 1), 1)[:, 0]
    loss = np.where(is_counted, -picked * weights, input.dtype.type(0))
    if reduction == "none":
        return loss
    return np.asarray(loss.sum() / weights.sum() if reduction == "mean" else loss.sum())


def _weigh_targets(
    input: np.ndarray, target: np.ndarray, weight: np.ndarray | None, ignore_index: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each target whether it isn't ignored, its class (else 0), and its weight (else 0)."""
    classes = input.shape[1]
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"weight {weight.shape} should be ({classes},)")
    is_counted = np.ones(target.shape, bool) if ignore_index is None else target != ignore_index
    chosen = np.where(is_counted, target, 0)
    if ((chosen < 0) | (chosen >= classes)).any():
        raise ValueError(f"targets should be 0 to {classes - 1}, or ignore_index")
    weights = np.ones((), input.dtype) if weight is None or not classes else weight[chosen]
    return is_counted, chosen, np.where(is_counted, weights, input.dtype.type(0))


@negative_log_likelihood_loss.vjp
def vjp_of_negative_log_likelihood(
    dy, input, target, weight=None, *, y, ignore_index, reduction, wanted
):
    """-weight at the target, 0 elsewhere; over the sum of the weights, for the mean of them."""
    is_counted, chosen, weights = _weigh_targets(input, target, weight, ignore_index)
    dx, d_weight = np.zeros_like(input), None
    if input.size:
        scale = dy / weights.sum() if reduction == "mean" else dy
        np.put_along_axis(dx, np.expand_dims(chosen, 1), np.expand_dims(-scale * weights, 1), 1)
        if wanted[2]:
            loss = -np.take_along_axis(input, np.expand_dims(chosen, 1), 1)[:, 0]
            change = np.where(is_counted, scale * (loss - (y if reduction == "mean" else 0)), 0)
            d_weight = np.bincount(
                as_places(chosen).reshape(-1), change.reshape(-1), input.shape[1]
            )
            d_weight = d_weight.astype(weight.dtype)
    return dx, None, d_weight


@op("SoftmaxCrossEntropyLoss", since=12)
def softmax_cross_entropy_loss(
    scores, labels, weights=None, *, ignore_index=None, reduction="mean"
):
    """NegativeLogLikelihoodLoss of log_prob = log(softmax(scores)) along the classes; and log_prob

    Shapes as there. Spec: SoftmaxCrossEntropyLoss-12, SoftmaxCrossEntropyLoss-13.
    """
    if scores.ndim < 2:
        raise ValueError(f"scores {scores.shape} should be (N, C, …)")
    x = wide(scores)
    shifted = x - x.max(1, keepdims=True, initial=-np.inf)
    log_prob = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    loss = negative_log_likelihood_loss(
        log_prob,
        labels,
        None if weights is None else wide(weights),
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return loss.astype(scores.dtype, copy=False), log_prob.astype(scores.dtype, copy=False)


@softmax_cross_entropy_loss.vjp
def vjp_of_softmax_cross_entropy(
    dloss, dlog_prob, scores, labels, weights=None, *, loss, log_prob, ignore_index, reduction,
    wanted,
):  # fmt: skip
    """Through NegativeLogLikelihoodLoss, then through LogSoftmax."""
    d_weights = None
    if dloss is not None:
        keywords = {"y": loss, "ignore_index": ignore_index, "reduction": reduction}
        through_loss, _, d_weights = vjp_of_negative_log_likelihood(
            dloss, log_prob, labels, weights, wanted=wanted, **keywords
        )
        dlog_prob = through_loss if dlog_prob is None else dlog_prob + through_loss
    return vjp_of_log_softmax(dlog_prob, y=log_prob, axis=1), None, d_weights


@negative_log_likelihood_loss.cost
def cost_of_loss(input: np.ndarray, target: np.ndarray, *_: Any, **__: Any) -> Cost:
    """For each target its class, weight and loss, twice, and masks."""
    item = wide_itemsize(input.dtype)
    return Cost(wide_copies(input) + (40 + 5 * item) * target.size, 100 * target.size)


@softmax_cross_entropy_loss.cost
def cost_of_cross_entropy(scores: np.ndarray, labels: np.ndarray, *_: Any, **__: Any) -> Cost:
    """The shifted scores, their exponentials, and the log-probabilities, which are a result."""
    item = wide_itemsize(scores.dtype)
    memory = wide_copies(scores) + 2 * item * scores.size + (40 + 9 * item) * labels.size
    rounded = scores.nbytes if wide_copies(scores) else 0
    return Cost(memory + rounded, 100 * scores.size)


declare(
    negative_log_likelihood_loss,
    softmax_cross_entropy_loss,
    choices={"reduction": "none sum mean"},
)
