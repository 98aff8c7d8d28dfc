"""Checks feeds against the model's declarations: type, rank, dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, UnsupportedModelError, suggest
from onnxwalk.interpreter.ir.model import (
    Graph,
    MapType,
    OptionalType,
    SequenceType,
    TensorInfo,
    TensorType,
    ValueType,
)
from onnxwalk.ops.contract.dtypes import element_type

_STRING = 8  # TensorProto.DataType


class HasInputs(Protocol):
    """The inputs of a Session, or of another engine that is compared with one."""

    inputs: list[TensorInfo]
    overridable_initializers: list[TensorInfo]


class Inputs:
    """The inputs of a graph: ``required``, and the initializers that are ``overridable``."""

    def __init__(
        self, graph: Graph, check_types: Callable[[Mapping[str, TensorType]], None]
    ) -> None:
        """``check_types`` raises InvalidInputError unless operators accept these types of the
        inputs that the file doesn't declare."""
        infos = [TensorInfo.of(value) for value in graph.inputs]
        self.required = [info for info in infos if info.name not in graph.initializers]
        self.overridable = [info for info in infos if info.name in graph.initializers]
        self._known = {info.name: info for info in (*self.required, *self.overridable)}
        self._untyped = [
            name
            for name, info in self._known.items()
            if info.type is None or (isinstance(info.type, TensorType) and not info.type.element)
        ]
        self._check_types = check_types
        self._checked: set[tuple[tuple[str, TensorType], ...]] = set()

    def by_name(self, values: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Feeds from values in the order of the inputs, and others by name, as a Python function
        takes its arguments. Raises InvalidInputError."""
        if len(values) > len(self.required):
            names = ", ".join(info.name for info in self.required) or "none"
            raise InvalidInputError(
                f"expected at most {len(self.required)} input(s) ({names}), got {len(values)}"
            )
        if len(values) == 1 and self._stands_for_all(values[0]):
            feeds = dict(self.of_table(values[0]))
        else:
            feeds = {info.name: x for info, x in zip(self.required, values, strict=False)}
        if twice := [name for name in named if name in feeds]:
            raise InvalidInputError(f"input '{twice[0]}' is given twice: by position and by name")
        return {**feeds, **named}

    def check(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The feeds as arrays, in the order of the inputs. Raises InvalidInputError."""
        if not isinstance(feeds, Mapping):
            feeds = self.of_table(feeds)
        if unknown := [name for name in feeds if name not in self._known]:
            raise InvalidInputError(
                f"no input is named {unknown[0]!r}{suggest(str(unknown[0]), self._known)}"
            )
        if missing := [info for info in self.required if info.name not in feeds]:
            raise InvalidInputError("missing: " + "; ".join(f"input {info}" for info in missing))
        symbols: dict[str, tuple[int, str]] = {}
        values = {
            name: check_feed(name, info.type, feeds[name], symbols)
            for name, info in self._known.items()
            if name in feeds
        }
        if self._untyped:
            self._check_untyped(values)
        return values

    def _stands_for_all(self, value: Any) -> bool:
        """Whether the only value by position has the columns of all inputs."""
        if not self.required or isinstance(self.required[0].type, SequenceType):
            return False
        return _may_be_table(value) and (len(self.required) > 1 or isinstance(value, list))

    def of_table(self, value: Any) -> Mapping[str, Any]:
        """The feeds that a data frame or a list of records stands for. Raises InvalidInputError."""
        from onnxwalk.interpreter.tables.frames import feeds_of  # where it is needed

        feeds = feeds_of(value, self._known, self.required)
        if feeds is None:
            raise InvalidInputError(
                "feeds must be a dict of input names to arrays, a data frame or a list of "
                f"records, not {type(value).__name__}"
            )
        return feeds

    def _check_untyped(self, values: Mapping[str, Any]) -> None:
        types = {
            name: TensorType(_code(name, values[name].dtype))
            for name in self._untyped
            if isinstance(values.get(name), np.ndarray)
        }
        key = tuple(types.items())
        if key not in self._checked:
            self._check_types(types)
            self._checked.add(key)


def split_arguments(
    output_names: str | Sequence[str] | Mapping[str, Any] | None, feeds: Mapping[str, Any] | None
) -> tuple[Any, Any]:
    """Output names and feeds from the short forms ``run(feeds)`` and ``run("y", feeds)``."""
    if feeds is None and (isinstance(output_names, Mapping) or _may_be_table(output_names)):
        return None, output_names
    return [output_names] if isinstance(output_names, str) else output_names, feeds


def check_output_names(output_names: Sequence[str] | None) -> list[str] | None:
    """The names of outputs as a list. Raises InvalidInputError."""
    if output_names is None:
        return None
    if isinstance(output_names, str):  # of a subclass: see ``Session.run``
        return [str(output_names)]
    if isinstance(output_names, Mapping) or not isinstance(output_names, Iterable):
        kind = type(output_names).__name__
        raise InvalidInputError(f"output_names must be a name or a list of names, not {kind}")
    names = list(output_names)
    if others := [name for name in names if not isinstance(name, str)]:
        raise InvalidInputError(f"output_names must be a list of names, not of {others[0]!r}")
    return names


def _code(name: str, dtype: np.dtype) -> int:
    try:
        return element_type(dtype).code
    except ValueError:
        raise InvalidInputError(f"input '{name}': ONNX has no type for {dtype}") from None


def check_feed(
    name: str, declared: ValueType, value: Any, symbols: dict[str, tuple[int, str]]
) -> Any:
    """The value in native byte order, with strings as object arrays of ``str``.

    ``symbols`` collects the size of each symbolic dimension and the input that it is from. Raises
    InvalidInputError naming the input if the type, rank or a dimension is wrong.
    """
    if isinstance(declared, OptionalType):
        return None if value is None else check_feed(name, declared.element, value, symbols)
    if isinstance(declared, SequenceType):
        if not isinstance(value, (list, tuple)):
            raise InvalidInputError(
                f"input '{name}': expected a list for {declared}, got {type(value).__name__}"
            )
        # The elements of a sequence may differ in shape, so that each has its own symbols.
        return [check_feed(f"{name}[{i}]", declared.element, v, {}) for i, v in enumerate(value)]
    if isinstance(declared, MapType):
        if not isinstance(value, dict):
            raise InvalidInputError(
                f"input '{name}': expected a dict for {declared}, got {type(value).__name__}"
            )
        return _map(name, declared, value)
    if declared is None:
        return _untyped(name, value)
    if not isinstance(declared, TensorType):
        raise UnsupportedModelError(f"input '{name}': type {declared} is not supported")
    if value is None:
        raise InvalidInputError(f"input '{name}': expected {declared}, got None")
    if type(value) is not np.ndarray and _may_be_table(value):
        value = _of_frame(name, declared, value)
    array = _array(name, declared, value)
    _check_shape(name, declared, array, symbols)
    return array


def _may_be_table(value: Any) -> bool:
    """Whether a value is a data frame or one of its columns, or a list of records."""
    if isinstance(value, (np.ndarray, np.generic, int, float, str, bytes, tuple, type(None))):
        return False
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], Mapping)
    # What lies behind a property of a value may be costly: its class is asked.
    known = (type(value), *getattr(value, "__dict__", ()))
    signs = ("to_numpy", "__dataframe__", "columns", "collect")
    return any(hasattr(known[0], sign) or sign in known[1:] for sign in signs)


def _of_frame(name: str, declared: TensorType, value: Any) -> Any:
    """All columns of a data frame, or one of them; other values as they are."""
    from onnxwalk.interpreter.tables.frames import feed_of, is_frame, is_series

    if not is_frame(value) and not is_series(value):
        return value
    return feed_of(value, TensorInfo(name, None, declared.shape, declared))


def _map(name: str, declared: MapType, value: dict[Any, Any]) -> dict[Any, Any]:
    """A map with keys of int or str and values that are scalars of the declared type."""
    kind = str if declared.key == _STRING else int
    for key in value:
        if not isinstance(key, str if kind is str else (int, np.integer)):
            raise InvalidInputError(f"input '{name}': key {key!r} is not valid for {declared}")
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
    # The caller chose no dtype for numbers and lists, so they are converted to the declared one.
    if not isinstance(value, (np.ndarray, np.generic)) and (
        array.size == 0 or np.can_cast(array.dtype, dtype, "same_kind")
    ):
        with np.errstate(all="ignore"):
            converted = array.astype(dtype)
        if array.dtype.kind in "iu" and not np.array_equal(converted, array):
            raise InvalidInputError(f"input '{name}': a value is out of range for {declared}")
        return converted
    numeric = array.dtype.kind in "biufc"
    hint = f"; convert it with .astype(numpy.{dtype})" if numeric else ""
    raise InvalidInputError(f"input '{name}': expected {declared}, got {array.dtype}{hint}")


def _untyped(name: str, value: Any) -> Any:
    """A value of an undeclared type, which ``check_types`` checks later."""
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, list):
        return [_untyped(f"{name}[{i}]", v) for i, v in enumerate(value)]
    array = _as_array(name, value)
    if array.dtype.kind not in "OSTU":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == object and not all(isinstance(item, str) for item in array.flat):
        kind = type(value).__name__ if not array.ndim else "an array of objects that aren't all str"
        raise InvalidInputError(f"input '{name}': expected numbers or strings, got {kind}")
    return _strings(name, array)


def _as_array(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "filled"):
        raise InvalidInputError(
            f"input '{name}': masked arrays are not supported; call .filled() first"
        )
    try:
        return np.asarray(value)
    except ValueError:
        raise InvalidInputError(f"input '{name}': the values don't form an array") from None


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
        raise InvalidInputError(f"input '{name}': expected strings, got {kind}")
    return array


def _check_shape(
    name: str, declared: TensorType, array: np.ndarray, symbols: dict[str, tuple[int, str]]
) -> None:
    if declared.shape is None:
        return
    if array.ndim != len(declared.shape):
        raise InvalidInputError(
            f"input '{name}': expected {len(declared.shape)} dimensions for {declared}, "
            f"got {array.ndim}: {array.shape}"
        )
    for axis, (size, expected) in enumerate(zip(array.shape, declared.shape, strict=True)):
        if isinstance(expected, int) and size != expected:
            raise InvalidInputError(
                f"input '{name}': expected size {expected} in dimension {axis} of {declared}, "
                f"got {size}: {array.shape}"
            )
        if isinstance(expected, str):
            known, first = symbols.setdefault(expected, (size, name))
            if size != known:
                raise InvalidInputError(
                    f"input '{name}': dimension {axis} ('{expected}') is {size}, "
                    f"but '{expected}' is {known} in input '{first}'"
                )
