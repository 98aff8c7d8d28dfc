"""Values in the types that files can hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def to_jsonable(value: Any) -> Any:
    """The value in the types of JSON: arrays as nested lists, complex numbers as [re, im], and NaN
    and infinities, which JSON lacks, as the strings "NaN", "Infinity" and "-Infinity"."""
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        array = widened(value)
        return array.tolist() if array.dtype.kind in "biuOU" else to_jsonable(array.tolist())
    if isinstance(value, np.generic):
        return to_jsonable(np.asarray(value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, complex):
        return [to_jsonable(value.real), to_jsonable(value.imag)]
    if isinstance(value, (str, int, float)) or value is None:
        return value
    return str(value)


def widened(array: np.ndarray) -> np.ndarray:
    """An array of an ml_dtypes type in a NumPy type that holds all its values."""
    if array.dtype.kind in "biufcOUST":
        return array
    return array.astype(np.int8 if "int" in array.dtype.name else np.float32)


def storable(array: np.ndarray) -> np.ndarray:
    """The array in a type that .npy and .npz files can hold without pickle."""
    return array.astype(str) if array.dtype == object else widened(array)


def dtype_name(dtype: np.dtype) -> str:
    """NumPy's name of a dtype, but "string" for all types of text."""
    return "string" if dtype.kind in "OUST" else dtype.name
