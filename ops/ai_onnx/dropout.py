"""Dropout, which only has an effect in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import CONSUMED_INPUTS, op
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.shared import flops
from onnxwalk.ops.shared.cost import elementwise, wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import wide


@op("Dropout", since=12)
def dropout(
    data: np.ndarray,
    ratio: np.ndarray | None = None,
    training_mode: np.ndarray | None = None,
    *,
    seed: int | None = None,
    n_outputs: int = 1,
    rng: np.random.Generator | None = None,
) -> Any:
    """data; in training data·mask / (1 - ratio), with a mask that is False with chance ``ratio``.

    The second output is the mask. Spec: Dropout-12, -13, -22.
    """
    dropped = 0.5 if ratio is None else float(ratio.reshape(()))
    if training_mode is None or not training_mode.reshape(()) or dropped == 0:
        mask = np.ones(data.shape, np.bool_) if n_outputs > 1 else None
        return data, mask
    if seed is not None:
        # The numbers of NumPy's older generator are those of ONNX's own test cases.
        randoms = np.random.RandomState(seed % 2**32).random_sample(data.shape)
    else:
        randoms = np.random.default_rng(rng).random(data.shape)
    return _drop(data, randoms, dropped)


def _drop(data: np.ndarray, randoms: np.ndarray, dropped: float) -> tuple[np.ndarray, np.ndarray]:
    if not 0 <= dropped < 1:
        raise ValueError(f"ratio of Dropout should be in [0, 1), got {dropped}")
    mask = randoms >= dropped
    y = np.where(mask, wide(data) * (1 / (1 - dropped)), 0)
    return y.astype(data.dtype, copy=False), mask


@dropout.bind
def bind_dropout(
    space: Space,
    data: np.ndarray,
    ratio: np.ndarray | None = None,
    training_mode: np.ndarray | None = None,
    **_: Any,
) -> tuple[np.ndarray, np.ndarray] | None:
    """data itself, where training_mode is never true."""
    if training_mode is not None and (not space.is_constant(training_mode) or training_mode.any()):
        return None
    return bind_inactive(space, data)


def bind_inactive(space: Space, data: np.ndarray, **_: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """data itself, if nothing reads the mask."""
    return None if any(space.used_outputs[1:]) else (data, space.unused)


@op("Dropout", since=10, until=12)
def dropout_10(data: np.ndarray, *, ratio: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """data, and a mask that keeps all: there is no training mode. Spec: Dropout-10."""
    return data, np.ones(data.shape, np.bool_)


dropout_10.bind(bind_inactive)


@op("Dropout", since=7, until=10)
def dropout_7(data: np.ndarray, *, ratio: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """data, and a mask of the same dtype that keeps all. Spec: Dropout-7."""
    return data, np.ones_like(data)


dropout_7.bind(bind_inactive)


@op("Dropout", since=6, until=7)
@op("Dropout", since=1, until=6, hints=CONSUMED_INPUTS)
def dropout_1(
    data: np.ndarray, *, is_test: int = 0, ratio: float = 0.5, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """data·mask / (1 - ratio), with a mask of the same dtype that is 0 with chance ``ratio``.

    With is_test=1 data itself. Spec: Dropout-1, -6.
    """
    if is_test:
        return data, np.ones_like(data)
    y, mask = _drop(data, rng.random(data.shape), ratio)
    return y, mask.astype(data.dtype)


@dropout.vjp
def vjp_of_dropout(dy, dmask, *, mask, ratio, training_mode):
    dropped = 0.5 if ratio is None else float(ratio.reshape(()))
    is_training = training_mode is not None and bool(training_mode.reshape(()))
    return _keep(dy, mask, dropped if is_training else 0.0)


@dropout_1.vjp
def vjp_of_dropout_1(dy, dmask, *, mask, is_test, ratio):
    return _keep(dy, mask != 0, 0.0 if is_test else ratio)


def _keep(dy: np.ndarray, mask: np.ndarray, dropped: float) -> np.ndarray:
    return dy * (mask * dy.dtype.type(1 / (1 - dropped)))


@dropout_10.vjp
@dropout_7.vjp
def vjp_of_dropout_7(dy):
    return dy


dropout.no_gradient_of("ratio")


@dropout.cost
def cost_of_dropout(
    data: np.ndarray,
    ratio: np.ndarray | None = None,
    training_mode: np.ndarray | None = None,
    **_: Any,
) -> Cost:
    if training_mode is None or not training_mode.any():
        return Cost(data.size, data.size)
    return _cost_of_training(data)


@dropout_1.cost
def cost_of_dropout_1(data: np.ndarray, *, is_test: int = 0, **_: Any) -> Cost:
    return Cost(data.nbytes, data.size) if is_test else _cost_of_training(data)


def _cost_of_training(data: np.ndarray) -> Cost:
    """Random numbers in double, the mask (in data's dtype before opset 7), data scaled, the
    result."""
    item = wide_itemsize(data.dtype)
    return Cost((9 + 2 * item + 2 * data.itemsize) * data.size + wide_copies(data), 60 * data.size)


dropout_10.cost(elementwise(dtype=np.bool_))


dropout_7.cost(elementwise())


declare(dropout, dropout_10, dropout_7, dropout_1, flops=flops.zero, counts_outputs=False)
