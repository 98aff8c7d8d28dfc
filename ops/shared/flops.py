"""Rules for the number of additions and multiplications: see ``Function.flops``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def zero(outputs: Sequence[Any], *inputs: Any, **_: Any) -> int:
    """Values are only copied or viewed."""
    return 0


def per_output(count: int) -> Callable[..., int]:
    """A fixed number for each value of the first output."""
    return lambda outputs, *inputs, **_: count * outputs[0].size


def per_input(outputs: Sequence[Any], x: np.ndarray, *inputs: Any, **_: Any) -> int:
    """One for each value of the first input, as in a reduction."""
    return x.size


def product(outputs: Sequence[Any], a: np.ndarray, *inputs: Any, **_: Any) -> int:
    """For each value of A·B a multiplication and an addition for each column of A."""
    return 2 * outputs[0].size * a.shape[-1]


def convolution(
    outputs: Sequence[Any], x: np.ndarray, w: np.ndarray, *inputs: Any, **_: Any
) -> int:
    """For each value a product with the kernel, over the channels of a group."""
    return 2 * outputs[0].size * math.prod(w.shape[1:])
