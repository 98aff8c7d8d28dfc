"""Rules of how many additions and multiplications a formula takes, each counted as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def zero(outputs: Sequence[Any], *inputs: Any, **_: Any) -> int:
    """Values are only moved, or seen in another way."""
    return 0


def per_output(count: int) -> Callable[..., int]:
    """So many for each value of the first output."""
    return lambda outputs, *inputs, **_: count * outputs[0].size


def per_input(outputs: Sequence[Any], x: np.ndarray, *inputs: Any, **_: Any) -> int:
    """One for each value of the first input, as of a reduction."""
    return x.size


def product(outputs: Sequence[Any], a: np.ndarray, *inputs: Any, **_: Any) -> int:
    """For each value of A·B as many products as A has columns."""
    return 2 * outputs[0].size * a.shape[-1]


def convolution(
    outputs: Sequence[Any], x: np.ndarray, w: np.ndarray, *inputs: Any, **_: Any
) -> int:
    """For each value a product with the kernel, over the channels of a group."""
    return 2 * outputs[0].size * math.prod(w.shape[1:])
