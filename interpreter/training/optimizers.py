"""The optimizers: ONNX's own operators, of ai.onnx.preview.training, with Keras's names.

Each one's ``update`` gives, to the bit, what its operator gives (``ops.ai_onnx_preview.training``),
in place. Where Keras computes something else, the docstring says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.ops.fast.optimizers import (
    adagrad_step,
    adam_step,
    momentum_step,
    plain_step,
    update,
)

#: a learning rate, or a function of the number of steps done so far (0 for the first)
Rate: TypeAlias = "float | Callable[[int], float]"


@dataclass(frozen=True)
class Optimizer:
    """What the optimizers have in common.

    ``learning_rate``: a number, or a function that returns it for a step (0, 1, …).
    ``norm_coefficient``: the weight decay that ONNX's operators have: so much of each weight is
    added to its gradient.
    """

    learning_rate: Rate = 0.01
    norm_coefficient: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        """Raises InvalidInputError for values out of range."""
        for part in fields(self):
            value = getattr(self, part.name)
            if part.name == "nesterov":
                if not isinstance(value, bool | np.bool_):
                    raise InvalidInputError(
                        f"{type(self).__name__}: nesterov must be True or False, not {value!r}"
                    )
                continue
            if part.name == "learning_rate" and callable(value):
                continue
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not is_number or not 0 <= value < math.inf:
                raise InvalidInputError(
                    f"{type(self).__name__}: {part.name} must be a number from 0 on, not {value!r}"
                )
            if part.name in ("momentum", "beta_1", "beta_2") and value >= 1:
                raise InvalidInputError(
                    f"{type(self).__name__}: {part.name} must be below 1, not {value!r}"
                )

    def rate(self, step: int) -> float:
        """The learning rate of a step. Raises InvalidInputError if a function gives no number."""
        if not callable(self.learning_rate):
            return float(self.learning_rate)
        found = self.learning_rate(step)
        try:
            rate = float(found)
        except (TypeError, ValueError):
            rate = math.nan
        if not 0 <= rate < math.inf:
            raise InvalidInputError(
                f"the learning rate of step {step} must be a number from 0 on, not {found!r}"
            )
        return rate

    def state(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """What is kept of a weight from step to step, before the first one."""
        raise NotImplementedError

    def update(
        self, step: int, weights: Sequence[np.ndarray], gradients: Sequence[np.ndarray],
        states: Sequence[tuple[np.ndarray, ...]],
    ) -> None:  # fmt: skip
        """Move the weights and what is kept of them, in place; ``step``: how many were done."""
        function = self._step(self.rate(step), step)
        for weight, gradient, state in zip(weights, gradients, states, strict=True):
            update(function, weight, gradient, *state)

    def _step(self, rate: float, step: int) -> Callable[..., None]:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The class and all values, for a checkpoint; a function as "a function"."""
        found = {"class": type(self).__name__}
        for part in fields(self):
            value = getattr(self, part.name)
            found[part.name] = "a function" if callable(value) else np.asarray(value).item()
        return found


@dataclass(frozen=True)
class SGD(Optimizer):
    """Momentum-1; without a momentum, x' = x - R·g.

    In Keras v' = α·v - R·g, x' = x + v'; the operator's v doesn't hold the rate, which is the same
    as long as the rate doesn't change.
    """

    learning_rate: Rate = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def state(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.zeros_like(weight),) if self.momentum else ()

    def _step(self, rate: float, step: int) -> Callable[..., None]:
        norm = self.norm_coefficient
        if not self.momentum:
            return partial(plain_step, rate=rate, norm_coefficient=norm)
        return partial(
            momentum_step,
            rate=rate, alpha=self.momentum, scale=1.0, nesterov=self.nesterov,
            norm_coefficient=norm,
        )  # fmt: skip


@dataclass(frozen=True)
class Momentum(SGD):
    """SGD with the momentum that is usual."""

    momentum: float = 0.9


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam-1, whose T is 1 in the first step, as in Keras.

    ``norm_coefficient_post``: the share of each weight that is taken away after the step, which
    isn't multiplied by the rate as Keras's ``weight_decay`` is.
    """

    learning_rate: Rate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    norm_coefficient_post: float = field(default=0.0, kw_only=True)

    def state(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        return np.zeros_like(weight), np.zeros_like(weight)

    def _step(self, rate: float, step: int) -> Callable[..., None]:
        first, second = (np.float64(beta) ** (step + 1) for beta in (self.beta_1, self.beta_2))
        return partial(
            adam_step,
            rate=float(rate * np.sqrt(1 - second) / (1 - first)),
            alpha=self.beta_1, beta=self.beta_2, epsilon=self.epsilon,
            norm_coefficient=self.norm_coefficient,
            norm_coefficient_post=self.norm_coefficient_post,
        )  # fmt: skip


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad-1: √h + ε below the gradient, where Keras has √(h + ε)."""

    learning_rate: Rate = 0.001
    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7

    def state(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.full_like(weight, self.initial_accumulator_value),)

    def _step(self, rate: float, step: int) -> Callable[..., None]:
        return partial(
            adagrad_step, rate=rate, epsilon=self.epsilon, norm_coefficient=self.norm_coefficient
        )


OPTIMIZERS: dict[str, type[Optimizer]] = {c.__name__: c for c in (SGD, Momentum, Adam, Adagrad)}


def find_optimizer(optimizer: Any) -> Optimizer:
    """An optimizer, or the one of a name in any case, with its defaults. Raises
    InvalidInputError."""
    if isinstance(optimizer, Optimizer) and type(optimizer) is not Optimizer:
        return optimizer
    by_name = {name.lower(): kind for name, kind in OPTIMIZERS.items()}
    if isinstance(optimizer, type) and optimizer in OPTIMIZERS.values():
        return optimizer()
    if not isinstance(optimizer, str):
        raise InvalidInputError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {optimizer!r}"
        )
    if optimizer.lower() not in by_name:
        raise InvalidInputError(
            f"unknown optimizer {optimizer!r}{suggest(optimizer.lower(), by_name)}"
        )
    return by_name[optimizer.lower()]()
