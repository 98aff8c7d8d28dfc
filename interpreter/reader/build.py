"""Turns protobuf fields into the dataclasses of ``interpreter.ir.model``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import current_budget, take
from onnxwalk.interpreter.errors import InvalidModelError, NotOnnxError, OnnxWalkError
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
from onnxwalk.interpreter.reader.messages import ATTRIBUTE, MODEL, NODE
from onnxwalk.interpreter.reader.source import Source, refuse_other_formats
from onnxwalk.interpreter.reader.tensors import (
    build_sparse_tensor,
    build_tensor,
    floats,
    integers,
)
from onnxwalk.interpreter.reader.wire import all_bytes, parse
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES
from onnxwalk.ops.contract.numbers import LONG, Words, number_list

Fields = dict[str, Any]

_PER_NUMBER = 40  # bytes of a number in a list


def read_model(model: Any) -> Model:
    """Read a model from a path, bytes, a binary file, an ``onnx.ModelProto`` or a ``Source``.

    Raises InvalidModelError, UnsupportedModelError or InvalidInputError, naming the source.
    """
    source = model if isinstance(model, Source) else Source.open(model)
    try:
        refuse_other_formats(source.data)
        if not source.data:
            raise NotOnnxError("the file is empty")
        try:
            fields = parse(source.data, 0, len(source.data), MODEL)
        except InvalidModelError as error:
            raise NotOnnxError(f"not an ONNX model, or a damaged one: {error}") from None
        model = _Builder(source).model(fields)
        if (budget := current_budget()) is not None:  # copies of the file's weights don't count
            budget.give(sum(map(len, model.maps)))
        return model
    except OnnxWalkError as error:
        raise type(error)(f"{source.name}: {error}") from None


def read_node(data: bytes) -> Node:
    """Read a node from the bytes of a NodeProto. Raises as ``read_model``."""
    source = Source(memoryview(data), "node", None)
    return _Builder(source).node(parse(source.data, 0, len(data), NODE))


class _Builder:
    """Builds one model from ``source``, which also opens its external data."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.depth = 0  # of the subgraph that is being built
        # What was built of a message, by its fields' id: equal ones are read as one dictionary.
        self._attributes: dict[int, tuple[str, AttributeValue]] = {}
        self._types: dict[int, tuple[ValueType, tuple[str, ...]]] = {}

    def model(self, fields: Fields) -> Model:
        if "graph" not in fields:
            raise NotOnnxError("it has no graph: not an ONNX model, or a damaged one")
        functions = [self.function(f) for f in fields.get("functions", [])]
        return Model(
            graph=self.graph(fields["graph"]),
            opsets=_opsets(fields),
            ir_version=fields.get("ir_version", 0),
            functions=_unique_dict(((f.domain, f.name, f.overload), f) for f in functions),
            metadata=_string_map(fields, "metadata_props"),
            producer_name=fields.get("producer_name", ""),
            producer_version=fields.get("producer_version", ""),
            domain=fields.get("domain", ""),
            model_version=fields.get("model_version"),
            doc=fields.get("doc_string", ""),
            training=tuple(map(self.training, fields.get("training_info", []))),
            source=self.source.name,
            maps=self.source.maps,
            files=self.source.files,
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
            *(build_tensor(t, self.source) for t in fields.get("initializer", [])),
            *(build_sparse_tensor(t, self.source) for t in fields.get("sparse_initializer", [])),
        ]
        where = f"graph '{fields.get('name', '')}'"
        if any(not tensor.name for tensor in tensors):
            raise InvalidModelError(f"{where}: an initializer has no name")
        return Graph(
            name=fields.get("name", ""),
            nodes=tuple(map(self.node, fields.get("node", []))),
            inputs=tuple(map(self.value_info, fields.get("input", []))),
            outputs=tuple(map(self.value_info, fields.get("output", []))),
            initializers=_unique_dict(((t.name, t) for t in tensors), f"{where}: initializer"),
            value_info={v.name: v for v in map(self.value_info, fields.get("value_info", []))},
            doc=fields.get("doc_string", ""),
            metadata=_string_map(fields, "metadata_props"),
        )

    def value_info(self, fields: Fields) -> ValueInfo:
        """A ValueInfo from the fields of a ValueInfoProto."""
        name = fields.get("name", "")
        kind: ValueType = None
        denotations: tuple[str, ...] = ()
        if (type_fields := fields.get("type")) is not None:
            found = self._types.get(id(type_fields))
            if found is None:
                try:
                    found = value_type(type_fields), _denotations(type_fields)
                except InvalidModelError as error:
                    raise InvalidModelError(f"value '{name}': {error}") from None
                self._types[id(type_fields)] = found
            kind, denotations = found
        return ValueInfo(name, kind, fields.get("doc_string", ""), denotations)

    def training(self, fields: Fields) -> Training:
        initialization, algorithm = fields.get("initialization", {}), fields.get("algorithm", {})
        return Training(self.graph(initialization), self.graph(algorithm))

    def node(self, fields: Fields) -> Node:
        if (budget := current_budget()) is not None:
            budget.count_node()
        outputs = tuple(fields.get("output", ()))
        name = fields.get("name", "")
        op_type = fields.get("op_type", "")
        label = name or (outputs[0] if outputs else "")
        if not op_type:
            raise InvalidModelError(f"node '{label}' has no op_type")
        attributes = {}
        if "attribute" in fields:
            try:
                attributes = _unique_dict(map(self.attribute, fields["attribute"]), "attribute")
            except OnnxWalkError as error:
                raise type(error)(f"node '{label}' ({op_type}): {error}") from None
        return Node(
            op_type,
            tuple(fields.get("input", ())),
            outputs,
            attributes,
            name,
            _normalize_domain(fields.get("domain", "")),
            fields.get("overload", ""),
            fields.get("doc_string", ""),
            _string_map(fields, "metadata_props"),
            None,  # the model's opset
        )

    def function(self, fields: Fields) -> Function:
        return Function(
            domain=_normalize_domain(fields.get("domain", "")),
            name=fields.get("name", ""),
            inputs=tuple(fields.get("input", ())),
            outputs=tuple(fields.get("output", ())),
            nodes=tuple(map(self.node, fields.get("node", []))),
            opsets=_opsets(fields),
            attributes=tuple(fields.get("attribute", ())),
            defaults=_unique_dict(map(self.attribute, fields.get("attribute_proto", []))),
            overload=fields.get("overload", ""),
            doc=fields.get("doc_string", ""),
            value_info={v.name: v for v in map(self.value_info, fields.get("value_info", []))},
        )

    def attribute(self, fields: Fields) -> tuple[str, AttributeValue]:
        found = self._attributes.get(id(fields))
        if found is None:
            found = self._attributes[id(fields)] = self._attribute(fields)
        return found

    def _attribute(self, fields: Fields) -> tuple[str, AttributeValue]:
        name = fields.get("name", "")
        if not name:
            raise InvalidModelError("an attribute has no name")
        if fields.get("ref_attr_name"):
            return name, Reference(fields["ref_attr_name"])
        kind = fields.get("type", 0)
        if not kind:  # before IR version 2 the type is that of the one field that is present
            present = [code for code, field in _ATTRIBUTE_FIELDS.items() if field in fields]
            if len(present) != 1:
                raise InvalidModelError(f"attribute '{name}' has no type and {len(present)} values")
            kind = present[0]
        if kind not in _ATTRIBUTE_FIELDS:
            raise InvalidModelError(f"attribute '{name}': {kind} is not an attribute type of ONNX")
        field = _ATTRIBUTE_FIELDS[kind]
        try:
            if field in ("floats", "ints"):
                return name, _number_list(fields.get(field, ()), field)
            if field == "strings":
                return name, _decode_all(fields.get(field, ()))
            if field in _REPEATED:
                return name, [self.attribute_value(field, v) for v in fields.get(field, ())]
            value = fields.get(field, _ZERO.get(field))
            if value is None:
                raise InvalidModelError("the value is missing")
            return name, self.attribute_value(field, value)
        except OnnxWalkError as error:
            raise type(error)(f"attribute '{name}': {error}") from None

    def attribute_value(self, field: str, value: Any) -> Any:
        """One value of an attribute's field, which isn't "floats" or "ints"."""
        match field:
            case "f" | "i":
                return value
            case "g" | "graphs":
                return self.subgraph(value)
            case "t" | "tensors":
                return build_tensor(value, self.source)
            case "sparse_tensor" | "sparse_tensors":
                return build_sparse_tensor(value, self.source)
            case "tp" | "type_protos":
                return value_type(value)
        return _decode(value)  # "s", "strings"


_FIELDS = "f i s t g floats ints strings tensors graphs sparse_tensor sparse_tensors tp type_protos"
#: the field of an attribute's value, by AttributeProto.AttributeType
_ATTRIBUTE_FIELDS = dict(enumerate(_FIELDS.split(), 1))
_REPEATED = frozenset(field.name for field in ATTRIBUTE.values() if field.repeated)
#: scalars that a writer may omit if they are zero or empty
_ZERO: dict[str, Any] = {"f": 0.0, "i": 0, "s": memoryview(b"")}


def value_type(fields: Fields) -> ValueType:
    """A ValueType from the fields of a TypeProto; ``None`` if it is empty."""
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


def _denotations(fields: Fields) -> tuple[str, ...]:
    """What the dimensions of a tensor stand for, by the fields of a TypeProto; () for nothing."""
    dimensions = fields.get("tensor_type", {}).get("shape", {}).get("dim", [])
    found = tuple(d.get("denotation", "") for d in dimensions)
    return found if any(found) else ()


def _element(fields: Fields, name: str) -> int:
    """A ``TensorProto.DataType`` code; 0 if it is missing."""
    code: int = fields.get(name, 0)
    if code and code not in ELEMENT_TYPES:
        raise InvalidModelError(f"{code} is not a tensor element type of ONNX")
    return code


def _shape(fields: Fields) -> Shape:
    dimensions = [d.get("dim_param") or d.get("dim_value") for d in fields.get("dim", [])]
    if any(isinstance(d, int) and d < -1 for d in dimensions):
        raise InvalidModelError(f"negative dimension in {tuple(dimensions)}")
    # exporters write -1 or "?" for any size that is unknown: this isn't one symbol
    return tuple(None if d in (-1, "?") else d for d in dimensions)


def _number_list(parts: Any, field: str) -> Sequence[Any]:
    numbers = integers(parts) if field == "ints" else floats(parts)
    take(numbers.nbytes if len(numbers) >= LONG else _PER_NUMBER * len(numbers))
    return number_list(numbers)


def _decode(value: memoryview) -> str | bytes:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        return bytes(value)


def _decode_all(values: Sequence[Any]) -> Sequence[str | bytes]:
    parts = [value for value in values if isinstance(value, Words)]
    single = [value for value in values if not isinstance(value, Words)]
    different = dict.fromkeys([*single, *(word for part in parts for word in part.words)])
    known = {value: _decode(value) for value in different}  # equal ones become one object
    if not parts or len(known) > 256:
        return list(map(known.__getitem__, all_bytes(values)))
    code_of = {word: code for code, word in enumerate(known)}
    codes = [
        np.array([code_of[word] for word in value.words], np.uint8)[value.codes]
        if isinstance(value, Words)
        else np.array([code_of[value]], np.uint8)
        for value in values
    ]
    return Words(np.concatenate(codes), tuple(known.values()))


def _normalize_domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _opsets(fields: Fields) -> dict[str, int]:
    imports = fields.get("opset_import", [])
    return {_normalize_domain(o.get("domain", "")): o.get("version", 0) for o in imports}


def _string_map(fields: Fields, name: str) -> dict[str, str]:
    return {entry.get("key", ""): entry.get("value", "") for entry in fields.get(name, ())}


def _unique_dict(pairs: Iterable[tuple[Any, Any]], what: str = "function") -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InvalidModelError(f"{what} '{key}' is defined twice")
        result[key] = value
    return result
