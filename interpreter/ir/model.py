"""The contents of an ONNX file as plain immutable data: Model, Graph, Node, Tensor, types.

Nothing is checked or interpreted here; a name that the file omits is ``""``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.display import as_text, count_operators, join_lines, type_text
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, numpy_dtype
from onnxwalk.ops.contract.records import record, replace

#: a dimension: fixed, symbolic ("batch"), or unknown
Dimension: TypeAlias = int | str | None
Shape: TypeAlias = tuple[Dimension, ...]


@record(frozen=True)
class TensorType:
    """A tensor of ``element`` (a ``TensorProto.DataType`` code; 0: unknown).

    ``shape`` is ``None`` when not even the rank is known.
    """

    element: int
    shape: Shape | None = None

    @property
    def dtype(self) -> np.dtype | None:
        """NumPy's dtype; ``None`` if unknown. Raises as ``ops.contract.dtypes.numpy_dtype``."""
        return numpy_dtype(self.element) if self.element else None

    def __str__(self) -> str:
        name = ELEMENT_TYPES[self.element].name if self.element in ELEMENT_TYPES else "unknown"
        name = {"float": "float32", "double": "float64"}.get(name, name)  # as in NumPy
        if self.shape is None:
            return f"{name}[...]"
        return f"{name}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@record(frozen=True)
class SparseTensorType(TensorType):
    """A sparse tensor."""

    def __str__(self) -> str:
        return f"sparse {super().__str__()}"


@record(frozen=True)
class SequenceType:
    """A list of values of one type."""

    element: ValueType

    def __str__(self) -> str:
        return f"sequence({self.element})"


@record(frozen=True)
class OptionalType:
    """A value of one type, or none."""

    element: ValueType

    def __str__(self) -> str:
        return f"optional({self.element})"


@record(frozen=True)
class MapType:
    """A dictionary from ``key`` (a ``TensorProto.DataType`` code) to values of one type."""

    key: int
    value: ValueType

    def __str__(self) -> str:
        name = ELEMENT_TYPES[self.key].name if self.key in ELEMENT_TYPES else "unknown"
        return f"map({name}, {self.value})"


@record(frozen=True)
class OpaqueType:
    """A type that only its domain defines."""

    domain: str
    name: str

    def __str__(self) -> str:
        return f"opaque({self.domain}.{self.name})"


ValueType: TypeAlias = "TensorType | SequenceType | OptionalType | MapType | OpaqueType | None"


@record(frozen=True, eq=False)
class Tensor:
    """A constant. ``array`` is a read-only view of the file's memory wherever the format allows."""

    name: str
    element: int
    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __repr__(self) -> str:
        return f"Tensor {self.name}: {type_text(self.array)}"


@record(frozen=True, eq=False)
class SparseTensor:
    """A constant in coordinate form: ``values`` (n,) at ``indices`` (n,) linear or (n, rank)."""

    values: Tensor
    indices: Tensor
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.values.name

    def to_dense(self) -> np.ndarray:
        """The dense array of ``shape``. Raises IndexError on an index outside of it."""
        dense = np.zeros(self.shape, self.values.array.dtype)
        indices = self.indices.array
        limits = dense.size if indices.ndim == 1 else np.array(self.shape)
        if indices.size and ((indices < 0).any() or (indices >= limits).any()):
            raise IndexError(f"an index is outside of the shape {self.shape}")
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = self.values.array
        else:
            dense[tuple(indices.T)] = self.values.array
        return dense


@record(frozen=True)
class Reference:
    """The value of an attribute in a function's body that refers to the function's attribute."""

    name: str


#: a node's attribute: int, float, str (bytes if not UTF-8), Tensor, SparseTensor, Graph,
#: ValueType or a list of one of these; inside a function also Reference
AttributeValue: TypeAlias = Any


@record(frozen=True, eq=False)
class Node:
    """One call of an operator or of a model-local function."""

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    name: str = ""
    domain: str = ""
    overload: str = ""
    doc: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    opset: int | None = None  # if it isn't the model's: of nodes from a function's body

    @functools.cached_property
    def graphs(self) -> tuple[tuple[str, Graph], ...]:
        """The graphs among the attributes, by attribute name. Cached, as every stage asks."""
        found: list[tuple[str, Graph]] = []
        for name, value in self.attributes.items():
            kind = type(value)
            if kind is Graph:
                found.append((name, value))
            elif kind is list and value and type(value[0]) is Graph:
                found += [(name, item) for item in value]  # all of one type; trees have long ones
        return tuple(found)

    def with_graphs(self, change: Callable[[Graph], Graph]) -> Node:
        """The node with ``change`` applied to each of its graphs; itself if that changes none."""
        if not self.graphs:
            return self
        attributes = dict(self.attributes)
        for name in dict(self.graphs):
            value = attributes[name]
            attributes[name] = list(map(change, value)) if type(value) is list else change(value)
        new = replace(self, attributes=attributes)
        same = all(a is b for (_, a), (_, b) in zip(new.graphs, self.graphs, strict=True))
        return self if same else new

    @property
    def label(self) -> str:
        """The node's name, or that of its first output if it has none."""
        return self.name or next((name for name in self.outputs if name), "")

    @property
    def operator_name(self) -> str:
        """The operator with its domain, if that isn't ai.onnx."""
        return f"{self.domain}.{self.op_type}" if self.domain else self.op_type

    def is_one_of(self, *names: str, domain: str = "") -> bool:
        """Whether the node is one of these operators of a domain; ``""``: ai.onnx."""
        return self.op_type in names and self.domain == domain

    def __str__(self) -> str:
        return f"node '{self.label}' ({self.operator_name})"

    __repr__ = __str__


@record(frozen=True, eq=False)
class ValueInfo:
    """The name and type of a value.

    ``denotations``: what each dimension of a tensor stands for ("DATA_BATCH"), "" where the file
    doesn't say; () if it says nothing.
    """

    name: str
    type: ValueType = None
    doc: str = ""
    denotations: tuple[str, ...] = ()


@record(frozen=True)
class TensorInfo:
    """An input or output: ``shape`` keeps symbols, as ("batch", 32, 32, 3); unknown: ``None``.

    ``dtype`` and ``shape`` are ``None`` if unknown, and for sequences, optionals and maps, which
    have only a ``type``.
    """

    name: str
    dtype: np.dtype | None
    shape: Shape | None
    type: ValueType = None

    @classmethod
    def of(cls, value: ValueInfo) -> TensorInfo:
        """From a graph's declaration of an input or output."""
        kind = value.type
        if not isinstance(kind, TensorType):
            return cls(value.name, None, None, kind)
        try:
            return cls(value.name, kind.dtype, kind.shape, kind)
        except NotImplementedError:  # a type of ml_dtypes: reported where it is used
            return cls(value.name, None, kind.shape, kind)

    def __str__(self) -> str:
        return f"{self.name}: {self.type if self.type is not None else 'unknown'}"


@record(frozen=True, eq=False)
class Graph:
    """Nodes in the order of the file, which must be a topological one."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    initializers: Mapping[str, Tensor | SparseTensor] = field(default_factory=dict)
    value_info: Mapping[str, ValueInfo] = field(default_factory=dict)
    doc: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def operators(self) -> frozenset[tuple[str, str]]:
        """Domain and name of the operators of the nodes, without those of subgraphs. Cached: stages
        ask it first, and most find that there is nothing to do."""
        return frozenset([(node.domain, node.op_type) for node in self.nodes])

    @functools.cached_property
    def has_graphs(self) -> bool:
        """Whether a node has subgraphs."""
        return any(node.graphs for node in self.nodes)

    def summary(self) -> list[tuple[str, str]]:
        """Rows of name and text: inputs, outputs, sizes and operators."""
        inputs = [TensorInfo.of(v) for v in self.inputs if v.name not in self.initializers]
        tensors = [t.array for t in self.initializers.values() if isinstance(t, Tensor)]
        count, size = sum(a.size for a in tensors), sum(a.nbytes for a in tensors)
        return [
            ("inputs", join_lines(inputs)),
            ("outputs", join_lines(map(TensorInfo.of, self.outputs))),
            ("nodes", f"{len(self.nodes):,}"),
            ("parameters", f"{count:,} ({size / 1e6:,.1f} MB)"),
            ("operators", count_operators(node.op_type for node in self.nodes)),
        ]

    def __repr__(self) -> str:
        return as_text(f"Graph: {self.name}", self.summary())


@record(frozen=True, eq=False)
class Function:
    """An operator that the model defines itself, by a body of nodes."""

    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    opsets: Mapping[str, int]
    attributes: tuple[str, ...] = ()  # those without a default
    defaults: Mapping[str, AttributeValue] = field(default_factory=dict)
    overload: str = ""
    doc: str = ""
    value_info: Mapping[str, ValueInfo] = field(default_factory=dict)


@record(frozen=True, eq=False)
class Training:
    """One step of a training algorithm, which inference doesn't use."""

    initialization: Graph
    algorithm: Graph


@record(frozen=True, eq=False)
class Model:
    """The contents of a file. ``source`` names it in messages."""

    graph: Graph
    opsets: Mapping[str, int]
    ir_version: int = 0
    functions: Mapping[tuple[str, str, str], Function] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    producer_name: str = ""
    producer_version: str = ""
    domain: str = ""
    model_version: int | None = None
    doc: str = ""
    training: tuple[Training, ...] = ()
    source: str = "model"
    maps: tuple[memoryview, ...] = field(default=(), repr=False)  # the file and its external data
    #: their paths, and what ``reader.source.stamp`` said of each when it was opened
    files: tuple[tuple[str, tuple[int, ...]], ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        versions = ", ".join(f"{domain or 'ai.onnx'} {n}" for domain, n in self.opsets.items())
        rows = [("opsets", versions or "ai.onnx 1"), *self.graph.summary()]
        return as_text(f"Model: {self.source}", rows)
