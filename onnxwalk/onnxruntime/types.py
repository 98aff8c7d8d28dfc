"""ONNX Runtime's names of types, and the two classes that describe a model: ``NodeArg`` and
``ModelMetadata``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.ir.model import (
    Dimension,
    Graph,
    MapType,
    Model,
    OptionalType,
    SequenceType,
    Shape,
    SparseTensorType,
    TensorInfo,
    TensorType,
    ValueType,
)
from onnxwalk.interpreter.session import Session
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, element_type, numpy_dtype

__all__ = [
    "ModelMetadata",
    "NodeArg",
    "element_code",
    "element_name",
    "infer_shapes",
    "numpy_dtype",
    "type_name",
    "type_of_value",
]

#: ModelMetadata.version of a model that has none
_NO_VERSION = 2**63 - 1


def element_name(code: int) -> str:
    """The name of a TensorProto.DataType code: "float", "int64", …"""
    return ELEMENT_TYPES[code].name if code in ELEMENT_TYPES else "undefined"


def element_code(dtype: np.dtype) -> int:
    """The TensorProto.DataType code of a dtype. Raises RuntimeError if ONNX has none."""
    if dtype.kind in "USOT":
        return 8
    try:
        return element_type(dtype).code
    except ValueError:
        raise RuntimeError(f"Numpy_type {dtype.num} can't be converted to MLDataType.") from None


def type_name(kind: ValueType) -> str:
    """A type in ONNX Runtime's words: "tensor(float)", "seq(map(string,tensor(float)))"."""
    if isinstance(kind, SparseTensorType):
        return f"sparse_tensor({element_name(kind.element)})"
    if isinstance(kind, TensorType):
        return f"tensor({element_name(kind.element)})"
    if isinstance(kind, SequenceType):
        return f"seq({type_name(kind.element)})"
    if isinstance(kind, OptionalType):
        return f"optional({type_name(kind.element)})"
    if isinstance(kind, MapType):
        return f"map({element_name(kind.key)},{type_name(kind.value)})"
    return str(kind) if kind is not None else ""


def type_of_value(value: Any) -> str:
    """The type of a value of a run, as ``type_name`` writes types."""
    if isinstance(value, np.ndarray | np.generic):
        return f"tensor({element_name(element_code(value.dtype))})"
    if isinstance(value, list):
        return f"seq({type_of_value(value[0]) if value else 'tensor(float)'})"
    if isinstance(value, dict):
        key, item = next(iter(value.items()), (0, np.float32(0)))
        return f"map({'string' if isinstance(key, str) else 'int64'},{type_of_value(item)})"
    data_type = getattr(value, "data_type", None)  # of a SparseTensor
    return data_type() if data_type else ""


class NodeArg:
    """An input or output of a model: ``name``, ``type`` and ``shape``.

    In a shape an open dimension is its symbol, or None if it has none; a tensor without a known
    shape has [], as have sequences and maps.
    """

    __slots__ = ("_name", "_shape", "_type")

    def __init__(self) -> None:
        raise TypeError("NodeArg: No constructor defined!")

    @classmethod
    def of(cls, info: TensorInfo) -> NodeArg:
        """From the input or output of a session."""
        arg = cls.__new__(cls)
        arg._name, arg._type = info.name, type_name(info.type)
        kind = info.type.element if isinstance(info.type, OptionalType) else info.type
        shape = kind.shape if isinstance(kind, TensorType) else None
        arg._shape = [
            None if size == "" or (isinstance(size, int) and size < 0) else size
            for size in shape or ()
        ]
        return arg

    _name: str
    _type: str
    _shape: list[int | str | None]

    @property
    def name(self) -> str:
        return self._name

    @property
    def type(self) -> str:
        return self._type

    @property
    def shape(self) -> list[int | str | None]:
        return list(self._shape)

    def __str__(self) -> str:
        return f"NodeArg(name={self._name!r}, type={self._type!r}, shape={self._shape!r})"


def infer_shapes(session: Session, declared: Graph) -> list[TensorInfo]:
    """The outputs of a graph, with what can be inferred of the shapes that it declares.

    As in ONNX Runtime a number that is inferred replaces a symbol, a symbol only an unknown size,
    and of two numbers, or two ranks, that contradict each other nothing is left; but outputs that
    are all declared with numbers are believed, and nothing is inferred.
    """
    infos = [TensorInfo.of(value) for value in declared.outputs]
    if all(isinstance(size, int) for info in infos for size in (info.shape or (None,))):
        return infos
    return [
        replace(info, type=replace(info.type, shape=_merge(info.type.shape, shape)))
        if isinstance(info.type, TensorType) and shape is not None
        else info
        for info, shape in zip(infos, session.infer_output_shapes(declared.inputs), strict=True)
    ]


def _merge(declared: Shape | None, inferred: Shape) -> Shape | None:
    if declared is None:
        return inferred
    if len(declared) != len(inferred):
        return None
    return tuple(map(_merge_size, declared, inferred))


def _merge_size(declared: Dimension, inferred: Dimension) -> Dimension:
    if isinstance(inferred, int):
        return None if isinstance(declared, int) and declared != inferred else inferred
    return inferred if declared is None or declared == "" else declared


class ModelMetadata:
    """What a file says about itself."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int

    def __init__(self) -> None:
        raise TypeError("ModelMetadata: No constructor defined!")

    @classmethod
    def of(cls, model: Model) -> ModelMetadata:
        """From a model as it was read."""
        meta = cls.__new__(cls)
        meta.producer_name, meta.domain = model.producer_name, model.domain
        meta.graph_name, meta.graph_description = model.graph.name, model.graph.doc
        meta.description = model.doc
        meta.version = _NO_VERSION if model.model_version is None else model.model_version
        meta.custom_metadata_map = model.metadata
        return meta

    @property
    def custom_metadata_map(self) -> dict[str, str]:
        """A copy each time."""
        return dict(self._metadata)

    @custom_metadata_map.setter
    def custom_metadata_map(self, metadata: Any) -> None:
        self._metadata = dict(metadata)
