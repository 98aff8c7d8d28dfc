"""What an input declares, and the conversion of arrays to its dtype."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import Dimension, OptionalType, TensorInfo, TensorType, ValueType
from onnxwalk.ops.contract.dtypes import element_type


def tensor_type(info: TensorInfo) -> TensorType | None:
    """The type of a tensor input, optional or not; ``None`` for other types."""
    kind: ValueType = info.type
    if isinstance(kind, OptionalType):
        kind = kind.element
    return kind if isinstance(kind, TensorType) else None


def declared_dtype(info: TensorInfo) -> np.dtype | None:
    """The dtype of a tensor input; ``None`` if it is unknown.

    Raises UnsupportedModelError if the dtype needs a package that isn't installed.
    """
    kind = tensor_type(info)
    try:
        return None if kind is None else kind.dtype
    except NotImplementedError as error:
        raise UnsupportedModelError(f"input '{info.name}': {error}") from None


def declared_shape(info: TensorInfo) -> tuple[Dimension, ...] | None:
    """The shape of a tensor input; ``None`` if not even the rank is known."""
    kind = tensor_type(info)
    return None if kind is None else kind.shape


def lacks_batch(info: TensorInfo, rank: int) -> bool:
    """Whether a value of this rank is one sample of an input whose first dimension is open or 1."""
    shape = declared_shape(info)
    if not shape or rank != len(shape) - 1:
        return False
    return not isinstance(shape[0], int) or shape[0] == 1


def convert(
    array: np.ndarray, dtype: np.dtype | None, where: str | Callable[[int], str]
) -> np.ndarray:
    """Convert an array to ``dtype`` without loss but rounding: integers become floats and float64
    becomes float32, but floats become integers only if all are integral and in range.

    Raises InvalidInputError, whose message begins with ``where``; a function says it of a row.
    """
    if dtype is None or array.dtype == dtype:
        return array
    if dtype.kind == "O":
        if array.dtype.kind in "UST" or (
            array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat)
        ):
            return array
        raise InvalidInputError(f"{_place(where)}: expected strings, got {_kind(array)}")
    if array.dtype.kind in "OUSTVMm" and _family(array.dtype) not in ("float", "int"):
        raise InvalidInputError(f"{_place(where)}: expected {dtype}, got {_kind(array)}")
    target = _family(dtype)
    if _family(array.dtype) == "complex" and target != "complex":
        raise InvalidInputError(f"{_place(where)}: expected {dtype}, got complex numbers")
    with np.errstate(all="ignore"):
        converted = array.astype(dtype)
        if target in ("float", "complex"):
            # Values that are too large become infinite, or NaN in types without infinity.
            wrong = np.isfinite(array) & ~np.isfinite(converted)
        else:
            same = converted.astype(array.dtype) == array
            wrong = ~same | ((converted < 0) != (array < 0))
    if wrong.any():
        index = np.unravel_index(int(np.argmax(wrong)), array.shape)
        first = array[index]
        raise InvalidInputError(
            f"{_place(where, int(index[0]) if index else 0)}: {first} can't be converted to "
            f"{dtype}, the type of the input"
        )
    return converted


def _place(where: str | Callable[[int], str], row: int = 0) -> str:
    return where if isinstance(where, str) else where(row)


def _family(dtype: np.dtype) -> str:
    """ "bool", "int", "float", "complex", or "" for other types."""
    kinds = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}
    if dtype.kind in kinds:
        return kinds[dtype.kind]
    try:
        name = element_type(dtype).name
    except ValueError:
        return ""
    return "float" if "float" in name else "int" if "int" in name else ""


def _kind(array: np.ndarray) -> str:
    return "strings" if array.dtype.kind in "OUST" else str(array.dtype)
