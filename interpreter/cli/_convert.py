"""The numbers of a file become the dtype and rank that a model's input declares."""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import Dimension, OptionalType, TensorInfo, TensorType, ValueType
from onnxwalk.ops.contract.dtypes import element_type


def tensor_type(info: TensorInfo) -> TensorType | None:
    """The tensor that an input takes, in an optional or not; ``None`` for other types."""
    kind: ValueType = info.type
    if isinstance(kind, OptionalType):
        kind = kind.element
    return kind if isinstance(kind, TensorType) else None


def declared_dtype(info: TensorInfo) -> np.dtype | None:
    """The dtype of the tensor that an input takes; ``None`` if the file doesn't say.

    Raises UnsupportedModelError when it needs a package that isn't installed.
    """
    kind = tensor_type(info)
    try:
        return None if kind is None else kind.dtype
    except NotImplementedError as error:
        raise UnsupportedModelError(f"input '{info.name}': {error}") from None


def declared_shape(info: TensorInfo) -> tuple[Dimension, ...] | None:
    """The shape of the tensor that an input takes; ``None`` if not even the rank is known."""
    kind = tensor_type(info)
    return None if kind is None else kind.shape


def lacks_batch(info: TensorInfo, rank: int) -> bool:
    """Whether a value of this rank is one sample of an input whose first dimension is free or 1."""
    shape = declared_shape(info)
    if not shape or rank != len(shape) - 1:
        return False
    return not isinstance(shape[0], int) or shape[0] == 1


def convert(array: np.ndarray, dtype: np.dtype | None, where: str) -> np.ndarray:
    """The array as ``dtype``, if that keeps what the values are: integers become floats and
    float64 becomes float32, but floats become integers only when each is a whole number in range.

    ``where`` begins the message. Raises InvalidInputError.
    """
    if dtype is None or array.dtype == dtype:
        return array
    if dtype.kind == "O":
        if array.dtype.kind in "UST" or (
            array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat)
        ):
            return array
        raise InvalidInputError(f"{where}: {_kind(array)}, the model takes strings")
    if array.dtype.kind in "OUSTVMm" and _family(array.dtype) not in ("float", "int"):
        raise InvalidInputError(f"{where}: {_kind(array)}, the model takes {dtype}")
    wanted, given = _family(dtype), _family(array.dtype)
    if given == "complex" and wanted != "complex":
        raise InvalidInputError(f"{where}: complex numbers, the model takes {dtype}")
    with np.errstate(all="ignore"):
        converted = array.astype(dtype)
        if wanted in ("float", "complex"):
            # The smaller type may have no infinity: then what is too large becomes NaN.
            wrong = np.isfinite(array) & ~np.isfinite(converted)
        else:
            same = converted.astype(array.dtype) == array
            wrong = ~same | ((converted < 0) != (array < 0))
    if wrong.any():
        first = array[wrong].flat[0]
        raise InvalidInputError(f"{where}: {first} is no value of {dtype}, which the model takes")
    return converted


def _family(dtype: np.dtype) -> str:
    """ "bool", "int", "float", "complex" or "" of NumPy's and ml_dtypes' types."""
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
