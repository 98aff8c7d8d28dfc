"""Values of inputs from JSON: nested lists, and literals on the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.tables.convert import convert, declared_dtype, declared_shape

#: how ``to_jsonable`` writes the numbers that JSON lacks
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def load_json(path: Path, origin: str) -> Any:
    """The value in a JSON file. Raises InvalidInputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{origin}: not a JSON file, or damaged: {error}") from error


def parse_literal(info: TensorInfo, text: str) -> np.ndarray | None:
    """The value that a text stands for, of the input's rank: 16000, true, 1e-3, [1, 2], "a".

    ``None`` if it is no JSON. Raises InvalidInputError for one that the input doesn't take.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    array = parse_array(info, value, text)
    rank = len(declared_shape(info) or ())
    return array.reshape((1,) * (rank - array.ndim) + array.shape) if rank > array.ndim else array


def parse_array(info: TensorInfo, value: Any, origin: str) -> np.ndarray:
    """Nested lists as an array of the input's dtype. Raises InvalidInputError."""
    dtype = declared_dtype(info)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "U" and dtype is not None and dtype.kind != "O":
            array = np.asarray(_parse_not_finite(value))
        if array.dtype.kind == "U":  # asarray makes strings of numbers that stand among strings
            array = np.asarray(value, dtype=object)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{origin}: the lists for input '{info.name}' differ in length or depth"
        ) from None
    if array.dtype == object and not all(isinstance(item, str) for item in array.flat):
        raise InvalidInputError(
            f"{origin}: the lists for input '{info.name}' contain more than numbers or strings"
        )
    if array.size == 0 and dtype is not None:
        return array.astype(dtype)
    return convert(array, dtype, f"{origin} for input '{info.name}'")


def _parse_not_finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_parse_not_finite(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
