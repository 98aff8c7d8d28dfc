"""Rules for the types of outputs that no input determines: see ``Function.output_type``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES


def from_attribute(attribute: str) -> Callable[..., str]:
    """The type whose number is an attribute."""
    return lambda first, **attributes: element_name(attributes[attribute])


def from_dtype_or_input(first: str, *, dtype: int | None, **_: Any) -> str:
    """The type with the number ``dtype``, by default that of the first input."""
    return first if dtype is None else element_name(dtype)


def element_name(code: Any) -> str:
    """The name of an element type, from its number; "" if there is none."""
    return ELEMENT_TYPES[code].name if isinstance(code, int) and code in ELEMENT_TYPES else ""


def content_of(kind: str, **_: Any) -> str:
    """The type of the elements of a sequence, or of an optional's value."""
    return kind.partition("(")[2][:-1]


def sequence_of(kind: str, **_: Any) -> str:
    return f"seq({kind})" if kind else ""


def optional_of(kind: str, **_: Any) -> str:
    return f"optional({kind})" if kind else ""
