"""ai.onnx.preview.training: one step of an optimizer (Adagrad, Adam, Momentum), and Gradient.

Several tensors can be moved by one node. ``inputs`` are all of these, then all their gradients,
then all their first accumulators, and so on; the outputs are all new tensors, then all new
accumulators. R is the learning rate, T the number of steps done so far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, no_cost
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import total_bytes
from onnxwalk.ops.shared.values import as_float, as_int

TRAINING = "ai.onnx.preview.training"


def _step_each(
    inputs: tuple[np.ndarray, ...],
    kinds: int,
    step: Callable[..., tuple[np.ndarray, ...]],
) -> tuple[np.ndarray, ...]:
    """``step`` of each tensor and what belongs to it; the results by kind."""
    count, rest = divmod(len(inputs), kinds)
    if rest or not count:
        raise ValueError(
            f"expected {kinds} inputs for each tensor to be optimized, got {len(inputs)} inputs"
        )
    for x, *others in (inputs[i::count] for i in range(count)):
        if any(other.shape != x.shape or other.dtype != x.dtype for other in others):
            raise ValueError(
                f"the inputs for a tensor of {x.dtype} {x.shape} should have its type and shape, "
                f"got {[(str(o.dtype), o.shape) for o in others]}"
            )
    results = [
        [y.astype(group[0].dtype, copy=False) for y in step(*group)]
        for group in (inputs[i::count] for i in range(count))
    ]
    return tuple(y for kind in zip(*results, strict=True) for y in kind)


@op("Adagrad", domain=TRAINING, since=1)
def adagrad(
    r: np.ndarray,
    t: np.ndarray,
    *inputs: np.ndarray,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> tuple[np.ndarray, ...]:
    """h' = h + g², x' = x - r·g / (√h' + ε), with r = R / (1 + T·decay_factor).

    g is the gradient plus norm_coefficient·x. inputs: x …, g …, h …; outputs: x' …, h' ….
    Spec: Adagrad-1.
    """
    decay = 1 + as_int(t, "T") * decay_factor
    if decay == 0:
        raise ValueError(f"a decay_factor of {decay_factor:g} makes the rate infinite")
    rate = as_float(r, "R") / decay

    def step(x: np.ndarray, g: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
        g = norm_coefficient * x + g
        h = h + g * g
        return x - rate * g / (np.sqrt(h) + epsilon), h

    return _step_each(inputs, 3, step)


@op("Adam", domain=TRAINING, since=1)
def adam(
    r: np.ndarray,
    t: np.ndarray,
    *inputs: np.ndarray,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[np.ndarray, ...]:
    """v' = α·v + (1 - α)·g, h' = β·h + (1 - β)·g², x' = (1 - post)·(x - r·v' / (√h' + ε)).

    r = R·√(1 - βᵀ) / (1 - αᵀ), or R where T is 0; g is the gradient plus norm_coefficient·x; post
    is norm_coefficient_post. inputs: x …, g …, v …, h …; outputs: x' …, v' …, h' ….
    Spec: Adam-1.
    """
    rate, steps = as_float(r, "R"), as_int(t, "T")
    if steps > 0:
        first, second = np.float64(alpha) ** steps, np.float64(beta) ** steps
        if first == 1:
            raise ValueError(f"an alpha of {alpha:g} makes the rate infinite")
        rate = float(rate * np.sqrt(1 - second) / (1 - first))

    def step(x: np.ndarray, g: np.ndarray, v: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
        g = norm_coefficient * x + g
        v = alpha * v + (1 - alpha) * g
        h = beta * h + (1 - beta) * g * g
        x = x - rate * v / (np.sqrt(h) + epsilon)
        return (1 - norm_coefficient_post) * x, v, h

    return _step_each(inputs, 4, step)


@op("Momentum", domain=TRAINING, since=1)
def momentum(
    r: np.ndarray,
    t: np.ndarray,
    *inputs: np.ndarray,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> tuple[np.ndarray, ...]:
    """v' = α·v + β·g, x' = x - R·v', or with mode="nesterov" x' = x - R·(g + α·v').

    β counts as 1 where T is 0; g is the gradient plus norm_coefficient·x.
    inputs: x …, g …, v …; outputs: x' …, v' …. Spec: Momentum-1.
    """
    if mode not in ("standard", "nesterov"):
        raise ValueError(f"mode {mode!r} of Momentum should be 'standard' or 'nesterov'")
    rate = as_float(r, "R")
    scale = beta if as_int(t, "T") > 0 else 1.0

    def step(x: np.ndarray, g: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        g = norm_coefficient * x + g
        v = alpha * v + scale * g
        return x - rate * (g + alpha * v if mode == "nesterov" else v), v

    return _step_each(inputs, 3, step)


@adagrad.cost
@adam.cost
@momentum.cost
def cost_of_step(r: np.ndarray, t: np.ndarray, *inputs: np.ndarray, **_: Any) -> Cost:
    """As many results as inputs (there is none for a gradient), and what the step of one tensor
    is computed with: up to four more of its size."""
    largest = max((x.nbytes for x in inputs), default=0)
    return Cost(total_bytes(inputs) + 4 * largest, 30 * sum(x.size for x in inputs))


momentum.choices({"mode": "nesterov standard"})


@op("Gradient", domain=TRAINING, since=1)
def gradient(
    *Inputs: np.ndarray, xs: list[str], y: str, zs: list[str] | None = None
) -> tuple[np.ndarray, ...]:
    """∂y/∂x for each of the values named xs, at the inputs, which are the values of xs and zs.

    It is a statement about its graph, not a function of its inputs: when a model is loaded, nodes
    that compute the gradients take its place. Where y isn't a scalar, they are those of its sum.
    Spec: Gradient-1.
    """
    raise NotImplementedError("Gradient can only be computed as a node of a graph")


gradient.cost(no_cost)
