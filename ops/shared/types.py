"""Rules of which type an output has that no input's type says: see ``Function.output_type``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES


def from_attribute(attribute: str) -> Callable[..., str]:
    """The attribute has the type, by its number."""
    return lambda first, **attributes: element_name(attributes[attribute])


def from_dtype_or_input(first: str, *, dtype: int | None, **_: Any) -> str:
    """The type that ``dtype`` names, or that of the first input."""
    return first if dtype is None else element_name(dtype)


def element_name(code: Any) -> str:
    """The name of the type with this number."""
    return ELEMENT_TYPES[code].name if isinstance(code, int) and code in ELEMENT_TYPES else ""


def content_of(kind: str, **_: Any) -> str:
    """What a sequence or an optional holds."""
    return kind.partition("(")[2][:-1]


def sequence_of(kind: str, **_: Any) -> str:
    return f"seq({kind})" if kind else ""


def optional_of(kind: str, **_: Any) -> str:
    return f"optional({kind})" if kind else ""
