"""Checks and converts feeds in the order and with the words of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.ir.model import (
    Dimension,
    Graph,
    MapType,
    OptionalType,
    SequenceType,
    Shape,
    TensorInfo,
    TensorType,
    ValueInfo,
)
from onnxwalk.onnxruntime.status import Fail, InvalidArgument
from onnxwalk.onnxruntime.types import element_code, element_name
from onnxwalk.onnxruntime.values import OrtValue

_STRING = 8


class Feeds:
    """The inputs of a model, and what may be fed for each of them."""

    def __init__(self, graph: Graph) -> None:
        """``graph``: with its inputs as the caller knows them."""
        infos = [TensorInfo.of(value) for value in graph.inputs]
        self.required = [info for info in infos if info.name not in graph.initializers]
        self.overridable = [info for info in infos if info.name in graph.initializers]
        self._types = {info.name: info.type for info in infos}
        self._required = [i.name for i in self.required if not isinstance(i.type, OptionalType)]
        #: what is fed for inputs that may be missing
        self._optional = {
            info.name: None for info in self.required if isinstance(info.type, OptionalType)
        }
        #: of a plain tensor: its dtype, and its size in each dimension, None where it is open
        self._plain: dict[str, tuple[np.dtype | None, tuple[int | None, ...] | None]] = {
            info.name: (info.dtype, _sizes(info.type))
            for info in infos
            if isinstance(info.type, TensorType) and info.dtype != object
        }

    def convert(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The values as a session takes them.

        Raises AttributeError for feeds that aren't a dict, ValueError if some are missing,
        RuntimeError for values of unknown kinds, InvalidArgument for unknown names and for a wrong
        type, rank or size: in this order, and of several inputs the last in byte order first.
        """
        if type(feeds) is dict and self._fit(feeds):
            return {**self._optional, **feeds}
        names = list(feeds.keys())
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"run(): input names must be str, not {name!r}")
        self.check_present(names)
        values = {
            name: self._convert(name, feeds[name]) for name in names if feeds[name] is not None
        }
        for name in sorted(values, reverse=True):
            if name not in self._types:
                raise InvalidArgument.of(f"Invalid input name: {name}")
        for name in sorted(values, reverse=True):
            self._check(name, values[name])
        for name in self._required:
            if name not in values:
                raise Fail.of(f"Missing Input: {name}")
        return {**self._optional, **values}

    def _fit(self, feeds: dict[str, Any]) -> bool:
        """Whether nothing is to be converted, or told: the feeds are the arrays that are declared.
        That most are is seen in a third of the time."""
        for name, value in feeds.items():
            dtype, sizes = self._plain.get(name, (None, None))
            if type(value) is not np.ndarray or value.dtype is not dtype:
                return False
            if sizes and (
                len(sizes) != value.ndim
                or any(e is not None and e != n for e, n in zip(sizes, value.shape, strict=True))
            ):
                return False
        return all(name in feeds for name in self._required)

    def check_present(self, names: Collection[str]) -> None:
        """Raise ValueError if required inputs are missing."""
        if missing := [name for name in self._required if name not in names]:
            raise ValueError(
                f"Required inputs ({missing}) are missing from input feed ({list(names)})."
            )

    def check_ort_values(self, values: Mapping[str, OrtValue]) -> dict[str, Any]:
        """As ``convert``, for ``OrtValue`` only. Raises AttributeError for other values."""
        for value in values.values():
            value._get_c_value()
        return self.convert({name: value.value for name, value in values.items()})

    def _convert(self, name: str, value: Any) -> Any:
        """The value as arrays, lists and dicts in native byte order; raises RuntimeError."""
        plain = self._plain.get(name)
        if plain and type(value) is np.ndarray and value.dtype is plain[0]:
            return value
        kind = self._types.get(name)
        if isinstance(kind, OptionalType):
            kind = kind.element
        if isinstance(value, OrtValue):
            value = value.value
        if isinstance(value, np.ndarray):
            return _strings(name, value) if value.dtype.kind in "USOT" else _array(value)
        if isinstance(value, list):
            return self._list(name, kind, value)
        if isinstance(value, dict) and (isinstance(kind, MapType) or kind is None):
            if not value:
                raise RuntimeError("Size of dictionary is empty, unable to run the prediction.")
            return value
        if hasattr(value, "__iter__") and not isinstance(value, memoryview | np.generic):
            raise RuntimeError(
                f"Input must be a list of dictionaries or a single numpy array for input '{name}'."
            )
        raise RuntimeError(f"Unable to handle object of type {type(value)}")

    def _list(self, name: str, kind: Any, value: list[Any]) -> Any:
        if name and name not in self._types:
            raise RuntimeError(
                f"Failed to find input with name: {name} in the model input def list"
            )
        if isinstance(kind, SequenceType):
            if isinstance(kind.element, MapType):
                return value
            if any(not isinstance(item, np.ndarray | OrtValue) for item in value):
                raise RuntimeError("CreateSequenceOfTensors: Input is not a tensor")
            arrays = [self._convert("", item) for item in value]
            wanted = kind.element.dtype if isinstance(kind.element, TensorType) else None
            if any(array.dtype != wanted for array in arrays):
                raise RuntimeError("TensorSeq: tensor to be added has a different data type.")
            return arrays
        if not isinstance(kind, TensorType) or not kind.element:
            return _array(np.array(value))
        try:  # what the caller wrote without a dtype is cast to the declared one
            if kind.element == _STRING:
                return _strings(name, np.array(value, object))
            return np.array(value, kind.dtype)
        except (ValueError, TypeError, OverflowError):
            raise RuntimeError("Could not create tensor from given input list") from None

    def _check(self, name: str, value: Any) -> None:
        """Raise InvalidArgument unless the type, the rank and the sizes are as declared."""
        kind = self._types[name]
        if isinstance(kind, OptionalType):
            kind = kind.element
        if isinstance(kind, SequenceType | MapType):
            if isinstance(value, np.ndarray):
                raise InvalidArgument.of(
                    f"input with name: '{name}' expected to be of type: "
                    f"{'3' if isinstance(kind, SequenceType) else '2'} but received a tensor"
                )
            return
        if not isinstance(kind, TensorType):
            return
        if not isinstance(value, np.ndarray):
            raise InvalidArgument.of(
                f"input with name: '{name}' expected to be of type: 1 but received a "
                f"{'sequence' if isinstance(value, list) else 'map'}"
            )
        code = element_code(value.dtype)
        if kind.element not in (code, 0):
            raise InvalidArgument.of(
                f"Unexpected input data type. Actual: (tensor({element_name(code)})) , expected: "
                f"(tensor({element_name(kind.element)}))"
            )
        sizes = self._plain[name][1] if name in self._plain else _sizes(kind)
        if not sizes:  # no shape and rank 0 are the same here
            return
        if value.ndim != len(sizes):
            raise InvalidArgument.of(
                f"Invalid rank for input: {name} Got: {value.ndim} Expected: {len(sizes)} Please "
                "fix either the inputs/outputs or the model."
            )
        wrong = [
            f" index: {axis} Got: {size} Expected: {expected}"
            for axis, (size, expected) in enumerate(zip(value.shape, sizes, strict=True))
            if expected is not None and size != expected
        ]
        if wrong:
            raise InvalidArgument.of(
                f"Got invalid dimensions for input: {name} for the following indices\n"
                + "\n".join(wrong)
                + "\n Please fix either the inputs/outputs or the model."
            )


def _sizes(kind: Any) -> tuple[int | None, ...] | None:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return None
    return tuple(size if isinstance(size, int) and size >= 0 else None for size in kind.shape)


def _array(array: np.ndarray) -> np.ndarray:
    """In native byte order: the real one takes the bytes of another order as they are, and computes
    with wrong numbers."""
    if isinstance(array, np.ma.MaskedArray):
        array = array.data
    element_code(array.dtype)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _strings(name: str, array: np.ndarray) -> np.ndarray:
    """As an object array of ``str``. Bytes are decoded as UTF-8, and numbers written as text."""
    if array.dtype.kind == "T":
        raise RuntimeError(f"Numpy_type {array.dtype.num} can't be converted to MLDataType.")
    strings = np.empty(array.shape, object)
    for index, item in np.ndenumerate(array):
        if item is None:
            raise RuntimeError(f"input '{name}': None is not a string")
        strings[index] = item.decode("utf-8") if isinstance(item, bytes) else str(item)
    return strings


def relax(
    graph: Graph, by_name: Mapping[str, int], by_denotation: Mapping[str, int]
) -> tuple[Graph, Graph]:
    """Two copies of a graph: with these sizes for dimensions by their symbol, and by what they
    stand for; and beyond that with the inputs as open as ONNX Runtime takes them, which doesn't
    compare the sizes of one symbol, and takes rank 0 for an unknown rank.

    Raises InvalidArgument if the two, or an input's own size, contradict each other.
    """
    inputs = tuple(_with_sizes(value, by_name, by_denotation) for value in graph.inputs)
    fixed = replace(
        graph,
        inputs=inputs,
        outputs=tuple(_with_sizes(value, by_name, {}) for value in graph.outputs),
    )
    opened = [
        _with_shape(
            v, lambda shape: tuple(None if isinstance(d, str) else d for d in shape) or None
        )
        for v in inputs
    ]
    return fixed, replace(fixed, inputs=tuple(opened))


def _with_sizes(
    value: ValueInfo, by_name: Mapping[str, int], by_denotation: Mapping[str, int]
) -> ValueInfo:
    def change(shape: Shape) -> Shape:
        meanings = value.denotations or ("",) * len(shape)
        return tuple(map(fixed, shape, meanings))

    def fixed(dimension: Dimension, meaning: str) -> Dimension:
        named = by_name.get(dimension) if isinstance(dimension, str) else None
        denoted = by_denotation.get(meaning.lower()) if meaning else None
        if named is not None and denoted is not None and named != denoted:
            raise InvalidArgument.of("Conflicting free dimension overrides.")
        size = named if denoted is None else denoted
        if size is None:
            return dimension
        if isinstance(dimension, int) and dimension != size:
            raise InvalidArgument.of("Invalid free dimension override.")
        return size

    return _with_shape(value, change)


def _with_shape(value: ValueInfo, change: Callable[[Shape], Shape | None]) -> ValueInfo:
    kind = value.type
    if isinstance(kind, TensorType) and kind.shape is not None:
        kind = replace(kind, shape=change(kind.shape))
    return replace(value, type=kind)
