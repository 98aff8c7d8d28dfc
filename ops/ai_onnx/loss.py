"""Loss functions: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import in_float32, wide


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
    classes = input.shape[1]
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"weight {weight.shape} should be ({classes},)")
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f"reduction {reduction!r} is not none, sum or mean")
    is_counted = np.ones(target.shape, bool) if ignore_index is None else target != ignore_index
    chosen = np.where(is_counted, target, 0)
    if ((chosen < 0) | (chosen >= classes)).any():
        raise ValueError(f"targets should be 0 to {classes - 1}, or ignore_index")
    if not classes:
        return np.zeros(target.shape if reduction == "none" else (), input.dtype)
    weights_of_targets = np.ones((), input.dtype) if weight is None else weight[chosen]
    weights_of_targets = np.where(is_counted, weights_of_targets, input.dtype.type(0))
    picked = np.take_along_axis(input, np.expand_dims(chosen, 1), 1)[:, 0]
    loss = np.where(is_counted, -picked * weights_of_targets, input.dtype.type(0))
    if reduction == "none":
        return loss
    return np.asarray(loss.sum() / weights_of_targets.sum() if reduction == "mean" else loss.sum())


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
