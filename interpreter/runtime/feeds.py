"""What the caller feeds is held against what the model declares: type, rank, dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import MapType, OptionalType, SequenceType, TensorType, ValueType

_STRING = 8  # TensorProto.DataType


def check_feed(
    name: str, declared: ValueType, value: Any, symbols: dict[str, tuple[int, str]]
) -> Any:
    """The value as the walk takes it: native byte order, strings as object arrays of ``str``.

    ``symbols`` collects the size of each symbolic dimension and the input that it came from.
    Raises InvalidInputError naming the input when the type, rank or a dimension doesn't fit.
    """
    if isinstance(declared, OptionalType):
        return None if value is None else check_feed(name, declared.element, value, symbols)
    if isinstance(declared, SequenceType):
        if not isinstance(value, (list, tuple)):
            raise InvalidInputError(
                f"input '{name}' is a {declared}: give a list, not {type(value).__name__}"
            )
        # The elements of a sequence may differ in shape, so their symbols bind nothing.
        return [check_feed(f"{name}[{i}]", declared.element, v, {}) for i, v in enumerate(value)]
    if isinstance(declared, MapType):
        if not isinstance(value, dict):
            raise InvalidInputError(
                f"input '{name}' is a {declared}: give a dict, not {type(value).__name__}"
            )
        return _map(name, declared, value)
    if declared is None:
        return _untyped(name, value)
    if not isinstance(declared, TensorType):
        raise UnsupportedModelError(f"input '{name}' is of type {declared}")
    if value is None:
        raise InvalidInputError(f"input '{name}' is None; it is {declared}")
    array = _array(name, declared, value)
    _check_shape(name, declared, array, symbols)
    return array


def _map(name: str, declared: MapType, value: dict[Any, Any]) -> dict[Any, Any]:
    """A map whose keys are int or str and whose values are scalars of the declared type."""
    kind = str if declared.key == _STRING else int
    for key in value:
        if not isinstance(key, str if kind is str else (int, np.integer)):
            raise InvalidInputError(
                f"input '{name}' is a {declared}: key {key!r} is {type(key).__name__}"
            )
    if not isinstance(declared.value, TensorType):
        return {kind(key): v for key, v in value.items()}
    converted = _array(name, declared.value, list(value.values()))
    return dict(zip(map(kind, value), converted, strict=True))


def _array(name: str, declared: TensorType, value: Any) -> np.ndarray:
    try:
        dtype = declared.dtype
    except NotImplementedError as error:
        raise UnsupportedModelError(f"input '{name}': {error}") from None
    array = _as_array(name, value)
    if dtype is None:
        return array
    if dtype.kind == "O":
        return _strings(name, array)
    if array.dtype.newbyteorder("=") == dtype:
        return array.astype(dtype, copy=False)
    # Numbers and lists have no dtype of their own that the caller chose: the declared one is meant.
    if not isinstance(value, (np.ndarray, np.generic)) and (
        array.size == 0 or np.can_cast(array.dtype, dtype, "same_kind")
    ):
        with np.errstate(all="ignore"):
            converted = array.astype(dtype)
        if array.dtype.kind in "iu" and not np.array_equal(converted, array):
            raise InvalidInputError(f"input '{name}': a value doesn't fit {declared}")
        return converted
    numeric = array.dtype.kind in "biufc"
    hint = f"; convert it with .astype(numpy.{dtype})" if numeric else ""
    raise InvalidInputError(f"input '{name}' is {array.dtype}, the model takes {declared}{hint}")


def _untyped(name: str, value: Any) -> Any:
    """A value whose type the file leaves out; whether operators take that is seen later."""
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, list):
        return [_untyped(f"{name}[{i}]", v) for i, v in enumerate(value)]
    array = _as_array(name, value)
    if array.dtype.kind not in "OSTU":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == object and not all(isinstance(item, str) for item in array.flat):
        what = type(value).__name__ if not array.ndim else "an array of objects that aren't all str"
        raise InvalidInputError(f"input '{name}' is {what}: give an array of numbers or strings")
    return _strings(name, array)


def _as_array(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "filled"):
        raise InvalidInputError(
            f"input '{name}' is a masked array: give what .filled() makes of it"
        )
    try:
        return np.asarray(value)
    except ValueError:
        raise InvalidInputError(f"input '{name}': the values form no rectangular array") from None


def _strings(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "UT":
        return array.astype(object)
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8").astype(object)
        except UnicodeDecodeError:
            raise InvalidInputError(f"input '{name}': a string is not UTF-8") from None
    if array.dtype != object or not all(isinstance(item, str) for item in array.flat):
        kind = array.dtype if array.dtype != object else "objects that are not all str"
        raise InvalidInputError(f"input '{name}' is {kind}, the model takes strings")
    return array


def _check_shape(
    name: str, declared: TensorType, array: np.ndarray, symbols: dict[str, tuple[int, str]]
) -> None:
    if declared.shape is None:
        return
    if array.ndim != len(declared.shape):
        raise InvalidInputError(
            f"input '{name}' has {array.ndim} dimensions {array.shape}, "
            f"the model takes {len(declared.shape)}: {declared}"
        )
    for axis, (size, wanted) in enumerate(zip(array.shape, declared.shape, strict=True)):
        if isinstance(wanted, int) and size != wanted:
            raise InvalidInputError(
                f"input '{name}' has {size} in dimension {axis}, the model takes {wanted}: "
                f"{array.shape} for {declared}"
            )
        if isinstance(wanted, str):
            known, first = symbols.setdefault(wanted, (size, name))
            if size != known:
                raise InvalidInputError(
                    f"input '{name}' has {size} in dimension {axis} ('{wanted}'), "
                    f"but '{wanted}' is {known} in input '{first}'"
                )
