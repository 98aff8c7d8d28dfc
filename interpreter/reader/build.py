"""Fields become the dataclasses of ``interpreter.ir.model``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import current_budget
from onnxwalk.interpreter.errors import InvalidModelError, OnnxWalkError
from onnxwalk.interpreter.ir.model import (
    AttributeValue,
    Function,
    Graph,
    MapType,
    Model,
    Node,
    OpaqueType,
    OptionalType,
    Reference,
    SequenceType,
    Shape,
    SparseTensor,
    SparseTensorType,
    Tensor,
    TensorType,
    Training,
    ValueInfo,
    ValueType,
)
from onnxwalk.interpreter.reader.messages import MODEL, NODE
from onnxwalk.interpreter.reader.source import Source, refuse_other_formats
from onnxwalk.interpreter.reader.tensors import build_sparse_tensor, build_tensor, integers
from onnxwalk.interpreter.reader.wire import parse
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES

Fields = dict[str, Any]

#: bytes of a number in a list
_PER_NUMBER = 40


def read_model(model: Any) -> Model:
    """The Model in a path, bytes, binary file or ``onnx.ModelProto``.

    Raises InvalidModelError, UnsupportedModelError or InvalidInputError, naming the source.
    """
    source = Source.open(model)
    try:
        refuse_other_formats(source.data)
        if not source.data:
            raise InvalidModelError("the file is empty")
        model = _Builder(source).model(_parse(source.data))
        if (
            budget := current_budget()
        ) is not None:  # weights that have to be copied are the file's
            budget.give(sum(map(len, model.maps)))
        return model
    except OnnxWalkError as error:
        raise type(error)(f"{source.name}: {error}") from None


def _parse(data: memoryview) -> Fields:
    try:
        return parse(data, 0, len(data), MODEL)
    except InvalidModelError as error:
        raise InvalidModelError(f"not an ONNX model, or a damaged one: {error}") from None


def read_node(data: bytes) -> Node:
    """The Node in the bytes of a NodeProto. Raises as ``read_model``."""
    source = Source(memoryview(data), "node", None)
    return _Builder(source).node(parse(source.data, 0, len(data), NODE))


class _Builder:
    """Builds one model; holds the source because tensors may lie in files beside it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.depth = 0  # of the graph that is being built, within others

    def model(self, fields: Fields) -> Model:
        if "graph" not in fields:
            raise InvalidModelError("no graph in it: not an ONNX model, or a damaged one")
        functions = [self.function(f) for f in fields.get("functions", [])]
        return Model(
            graph=self.graph(fields["graph"]),
            opsets=_opsets(fields),
            ir_version=fields.get("ir_version", 0),
            functions=_unique(((f.domain, f.name, f.overload), f) for f in functions),
            metadata=_entries(fields, "metadata_props"),
            producer_name=fields.get("producer_name", ""),
            producer_version=fields.get("producer_version", ""),
            domain=fields.get("domain", ""),
            model_version=fields.get("model_version", 0),
            doc=fields.get("doc_string", ""),
            training=tuple(
                Training(
                    self.graph(t.get("initialization", {})), self.graph(t.get("algorithm", {}))
                )
                for t in fields.get("training_info", [])
            ),
            source=self.source.name,
            maps=self.source.maps,
        )

    def subgraph(self, fields: Fields) -> Graph:
        self.depth += 1
        if (budget := current_budget()) is not None:
            budget.check_nesting(self.depth, "graphs")
        graph = self.graph(fields)
        self.depth -= 1
        return graph

    def graph(self, fields: Fields) -> Graph:
        tensors: list[Tensor | SparseTensor] = [
            build_tensor(t, self.source) for t in fields.get("initializer", [])
        ]
        tensors += [
            build_sparse_tensor(t, self.source) for t in fields.get("sparse_initializer", [])
        ]
        where = f"graph '{fields.get('name', '')}'"
        if any(not tensor.name for tensor in tensors):
            raise InvalidModelError(f"{where}: an initializer has no name")
        return Graph(
            name=fields.get("name", ""),
            nodes=tuple(self.node(n) for n in fields.get("node", [])),
            inputs=tuple(value_info(v) for v in fields.get("input", [])),
            outputs=tuple(value_info(v) for v in fields.get("output", [])),
            initializers=_unique(((t.name, t) for t in tensors), f"{where}: initializer"),
            value_info={v.name: v for v in map(value_info, fields.get("value_info", []))},
            doc=fields.get("doc_string", ""),
            metadata=_entries(fields, "metadata_props"),
        )

    def training(self, fields: Fields) -> Training:
        return Training(
            *(self.graph(fields.get(name, {})) for name in ("initialization", "algorithm"))
        )

    def node(self, fields: Fields) -> Node:
        if (budget := current_budget()) is not None:
            budget.count_node()
        outputs = tuple(fields.get("output", ()))
        name = fields.get("name", "")
        op_type = fields.get("op_type", "")
        if not op_type:
            label = name or (outputs[0] if outputs else "")
            raise InvalidModelError(f"node '{label}' has no op_type")
        try:
            attributes = _unique(map(self.attribute, fields.get("attribute", [])), "attribute")
        except OnnxWalkError as error:
            label = name or (outputs[0] if outputs else "")
            raise type(error)(f"node '{label}' ({op_type}): {error}") from None
        return Node(
            op_type=op_type,
            inputs=tuple(fields.get("input", ())),
            outputs=outputs,
            attributes=attributes,
            name=name,
            domain=_domain(fields.get("domain", "")),
            overload=fields.get("overload", ""),
            doc=fields.get("doc_string", ""),
            metadata=_entries(fields, "metadata_props"),
        )

    def function(self, fields: Fields) -> Function:
        return Function(
            domain=_domain(fields.get("domain", "")),
            name=fields.get("name", ""),
            inputs=tuple(fields.get("input", ())),
            outputs=tuple(fields.get("output", ())),
            nodes=tuple(self.node(n) for n in fields.get("node", [])),
            opsets=_opsets(fields),
            attributes=tuple(fields.get("attribute", ())),
            defaults=_unique(map(self.attribute, fields.get("attribute_proto", []))),
            overload=fields.get("overload", ""),
            doc=fields.get("doc_string", ""),
            value_info={v.name: v for v in map(value_info, fields.get("value_info", []))},
        )

    def attribute(self, fields: Fields) -> tuple[str, AttributeValue]:
        name = fields.get("name", "")
        if not name:
            raise InvalidModelError("an attribute has no name")
        if fields.get("ref_attr_name"):
            return name, Reference(fields["ref_attr_name"])
        kind = fields.get("type", 0)
        if not kind:  # files before IR version 2 don't say: the field that is there tells
            present = [code for code, (field, _) in _ATTRIBUTE_KINDS.items() if field in fields]
            if len(present) != 1:
                raise InvalidModelError(f"attribute '{name}' has no type and {len(present)} values")
            kind = present[0]
        if kind not in _ATTRIBUTE_KINDS:
            raise InvalidModelError(f"attribute '{name}': {kind} is not an attribute type of ONNX")
        field, repeated = _ATTRIBUTE_KINDS[kind]
        read = _ATTRIBUTE_READERS.get(field)
        try:
            if field in ("floats", "ints"):
                return name, _numbers(fields.get(field, ()), field)
            if repeated:
                values = fields.get(field, ())
                return name, [read(self, value) if read else value for value in values]
            value = fields.get(field, _ZERO.get(field))
            if value is None:
                raise InvalidModelError("the value is missing")
            return name, read(self, value) if read else value
        except OnnxWalkError as error:
            raise type(error)(f"attribute '{name}': {error}") from None


#: AttributeProto.AttributeType: the field that holds the value, and whether it repeats
_ATTRIBUTE_KINDS = {
    1: ("f", False),
    2: ("i", False),
    3: ("s", False),
    4: ("t", False),
    5: ("g", False),
    6: ("floats", True),
    7: ("ints", True),
    8: ("strings", True),
    9: ("tensors", True),
    10: ("graphs", True),
    11: ("sparse_tensor", False),
    12: ("sparse_tensors", True),
    13: ("tp", False),
    14: ("type_protos", True),
}
#: scalars that a writer may leave out when they are zero or empty
_ZERO: dict[str, Any] = {"f": 0.0, "i": 0, "s": memoryview(b"")}

_ATTRIBUTE_READERS: dict[str, Any] = {
    "s": lambda builder, value: _text(value),
    "strings": lambda builder, value: _text(value),
    "t": lambda builder, value: build_tensor(value, builder.source),
    "tensors": lambda builder, value: build_tensor(value, builder.source),
    "sparse_tensor": lambda builder, value: build_sparse_tensor(value, builder.source),
    "sparse_tensors": lambda builder, value: build_sparse_tensor(value, builder.source),
    "g": _Builder.subgraph,
    "graphs": _Builder.subgraph,
    "tp": lambda builder, value: value_type(value),
    "type_protos": lambda builder, value: value_type(value),
}


def value_info(fields: Fields) -> ValueInfo:
    """A ValueInfo from the fields of a ValueInfoProto."""
    try:
        type_ = value_type(fields["type"]) if "type" in fields else None
    except InvalidModelError as error:
        raise InvalidModelError(f"value '{fields.get('name', '')}': {error}") from None
    return ValueInfo(fields.get("name", ""), type_, fields.get("doc_string", ""))


def value_type(fields: Fields) -> ValueType:
    """A ValueType from the fields of a TypeProto; ``None`` when it says nothing."""
    for field, kind in (("tensor_type", TensorType), ("sparse_tensor_type", SparseTensorType)):
        if field in fields:
            tensor = fields[field]
            shape = _shape(tensor["shape"]) if "shape" in tensor else None
            return kind(_element(tensor, "elem_type"), shape)
    if "sequence_type" in fields:
        return SequenceType(value_type(fields["sequence_type"].get("elem_type", {})))
    if "optional_type" in fields:
        return OptionalType(value_type(fields["optional_type"].get("elem_type", {})))
    if "map_type" in fields:
        map_type = fields["map_type"]
        return MapType(_element(map_type, "key_type"), value_type(map_type.get("value_type", {})))
    if "opaque_type" in fields:
        opaque = fields["opaque_type"]
        return OpaqueType(opaque.get("domain", ""), opaque.get("name", ""))
    return None


def _element(fields: Fields, name: str) -> int:
    """A ``TensorProto.DataType`` code; 0 if the file doesn't say."""
    code: int = fields.get(name, 0)
    if code and code not in ELEMENT_TYPES:
        raise InvalidModelError(f"{code} is not a tensor element type of ONNX")
    return code


def _shape(fields: Fields) -> Shape:
    dimensions = [d.get("dim_param") or d.get("dim_value") for d in fields.get("dim", [])]
    if any(isinstance(d, int) and d < -1 for d in dimensions):
        raise InvalidModelError(f"negative dimension in {tuple(dimensions)}")
    # exporters write -1 or "?" for unknown: a name that stands for any number of sizes
    return tuple(None if d in (-1, "?") else d for d in dimensions)


def _numbers(parts: Any, field: str) -> list[Any]:
    if (budget := current_budget()) is not None:
        budget.take(_PER_NUMBER * sum(np.size(part) for part in parts))
    if field == "ints":
        return integers(parts).tolist()
    return [x for part in parts for x in (part.tolist() if hasattr(part, "tolist") else [part])]


def _text(value: memoryview) -> str | bytes:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        return bytes(value)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _opsets(fields: Fields) -> dict[str, int]:
    imports = fields.get("opset_import", [])
    return {_domain(o.get("domain", "")): o.get("version", 0) for o in imports}


def _entries(fields: Fields, name: str) -> dict[str, str]:
    return {entry.get("key", ""): entry.get("value", "") for entry in fields.get(name, [])}


def _unique(pairs: Iterable[tuple[Any, Any]], what: str = "function") -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InvalidModelError(f"{what} '{key}' is there twice")
        result[key] = value
    return result
