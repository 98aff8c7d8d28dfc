"""Checks of arguments that several places of training have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError


def check_count(name: str, value: Any, least: int) -> int:
    """The value as Python's int. Raises InvalidInputError unless it is an integer from ``least``
    on."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidInputError(f"{name} must be an integer from {least} on, not {value!r}")
    return int(value)


def check_patterns(frozen: Any) -> tuple[str, ...]:
    """Patterns of names; one alone is a list of one. Raises InvalidInputError."""
    if isinstance(frozen, str):
        return (frozen,)
    try:
        patterns = tuple(frozen)
    except TypeError:
        patterns = (frozen,)
    if any(not isinstance(pattern, str) for pattern in patterns):
        raise InvalidInputError(f"frozen must be a list of patterns of names, not {frozen!r}")
    return patterns
