"""Checks that operators accept the types of their inputs. Types are inferred from graph inputs,
initializers, value_info and attributes; values of unknown type pass."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

from onnxwalk.interpreter.budget import tick
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.ir.model import (
    Graph,
    MapType,
    Node,
    OptionalType,
    SequenceType,
    SparseTensor,
    SparseTensorType,
    Tensor,
    TensorType,
    ValueType,
)
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES
from onnxwalk.ops.schema.types import Signature, formal_at, format_types, signature


class Problem(NamedTuple):
    """A type that isn't accepted; ``valid`` if the spec allows it, but it isn't supported here."""

    text: str
    valid: bool = False


#: the types of a scope's values by name, as ``ops.schema.types`` writes them; ``""``: unknown
Types = MutableMapping[str, str]


def type_problems(graph: Graph, context: Context, types: Types | None = None) -> Iterator[Problem]:
    """The values in a graph and its subgraphs whose type their operator doesn't accept. Adds the
    types of the graph's values to ``types``, which has those of outer values."""
    types = {} if types is None else types
    declared = {v.name: v for v in (*graph.value_info.values(), *graph.outputs)}
    types.update((value.name, type_name(value.type)) for value in graph.inputs)
    for value in graph.inputs:
        default = graph.initializers.get(value.name)
        kind, actual = type_name(value.type), _constant_type(default) if default else ""
        if kind and actual and kind != actual:
            yield Problem(f"input '{value.name}' is {kind}, but its initializer is {actual}")
    types.update((name, _constant_type(tensor)) for name, tensor in graph.initializers.items())
    for node in graph.nodes:
        tick()
        bodies: dict[str, Types] = {}
        for name, inner in node.graphs:
            bodies[name] = ChainMap({}, types)
            yield from type_problems(inner, context, bodies[name])
        outputs, problems = _output_types(node, context, types, bodies)
        yield from problems
        for position, name in enumerate(node.outputs):
            known = outputs[position] if position < len(outputs) else ""
            if not known and (info := declared.get(name)) is not None:
                known = type_name(info.type)
            types[name] = known


def _output_types(
    node: Node, context: Context, types: Types, bodies: Mapping[str, Types]
) -> tuple[Sequence[str], Sequence[Problem]]:
    """The types of a node's outputs, and what is wrong with those of its inputs. ``bodies``: the
    types of its subgraphs' values."""
    operator = context.operator(node)
    assert operator is not None, "resolve() has looked up every operator"
    if node.graphs or (node.attributes and operator.chooses_type):
        return _find_output_types(node, operator, context, types, bodies)
    kinds = tuple([types.get(name, "") if name else "" for name in node.inputs])
    call = (node.domain, node.op_type, context.opset(node), kinds, len(node.outputs))
    known = context.output_types.get(call)
    if known is not None:
        return known, ()
    outputs, problems = _find_output_types(node, operator, context, types, bodies)
    if not problems:
        context.output_types[call] = outputs
    return outputs, problems


def _find_output_types(
    node: Node, operator: Operator, context: Context, types: Types, bodies: Mapping[str, Types]
) -> tuple[Sequence[str], Sequence[Problem]]:
    spec = _signature(node, context)
    bound: dict[str, tuple[str, str]] = {}
    problems: list[Problem] = []
    if spec is not None:
        problems += _input_problems(node, spec, operator, types, bound)
    outputs = _body_output_types(node, operator, bodies) or [
        _output_type(node, spec, operator, i, types, bound) for i in range(len(node.outputs))
    ]
    if spec is not None:
        problems += _output_problems(node, spec, outputs)
    return outputs, problems


def _signature(node: Node, context: Context) -> Signature | None:
    """The types of a built-in operator; a user's operator accepts any."""
    opset = context.opset(node)
    if opset is None or not context.is_builtin(node):
        return None
    return signature(node.domain, node.op_type, opset)


def _input_problems(
    node: Node,
    spec: Signature,
    operator: Operator,
    types: Types,
    bound: dict[str, tuple[str, str]],
) -> Iterator[Problem]:
    """Adds each type variable's type, and the name of the input that it is from, to ``bound``."""
    lacking = operator.not_computed
    for position, name in enumerate(node.inputs):
        tick()
        kind = types.get(name, "") if name else ""
        formal = formal_at(spec.inputs, position)
        if not kind or formal is None:
            continue
        if kind not in formal.allowed:
            text = f"input '{name}' is {kind}; expected {format_types(formal.allowed)}"
            yield Problem(f"{_call(node, spec)}: {text}")
        elif formal.variable:
            if kind in lacking.get(formal.variable, "").split():
                yield Problem(f"{_call(node, spec)}: input '{name}' of type {kind}", valid=True)
            first, of = bound.setdefault(formal.variable, (kind, name))
            if kind != first:
                text = f"inputs '{of}' and '{name}' must have one type, got {first} and {kind}"
                yield Problem(f"{_call(node, spec)}: {text}")


def _output_problems(node: Node, spec: Signature, kinds: list[str]) -> Iterator[Problem]:
    if node.outputs and formal_at(spec.outputs, len(node.outputs) - 1) is None:
        most = len(spec.outputs)
        text = f"the node has {len(node.outputs)} outputs, but the operator at most {most}"
        yield Problem(f"{_call(node, spec)}: {text}")
    for position, (name, kind) in enumerate(zip(node.outputs, kinds, strict=False)):
        formal = formal_at(spec.outputs, position)
        if kind and formal is not None and kind not in formal.allowed:
            text = f"output '{name}' is {kind}; expected {format_types(formal.allowed)}"
            yield Problem(f"{_call(node, spec)}: {text}")


def _call(node: Node, spec: Signature) -> str:
    return f"{node} at version {spec.since}"


def _output_type(
    node: Node,
    spec: Signature | None,
    operator: Operator,
    position: int,
    types: Types,
    bound: Mapping[str, tuple[str, str]],
) -> str:
    """The type of an output: of its type variable, its only one, or by the operator's rule."""
    if spec is not None:
        formal = formal_at(spec.outputs, position)
        if formal is None:
            return ""
        if formal.variable in bound:
            return bound[formal.variable][0]
        if len(formal.allowed) == 1:
            return next(iter(formal.allowed))
        inputs = (formal_at(spec.inputs, i) for i, name in enumerate(node.inputs) if name)
        if formal.variable and formal.variable in (other.variable for other in inputs if other):
            return ""  # that of an input of unknown type
    return chosen_type(node, operator, types.get(node.inputs[0], "") if node.inputs else "")


def chosen_type(node: Node, operator: Operator, first: str = "") -> str:
    """The type of the outputs that the node's attributes choose, with the type of the first input
    if it matters; ``""`` if unknown."""
    kind = operator.output_type(first, {k: _type_of(v) for k, v in node.attributes.items()})
    # an attribute of the wrong type, which is refused as such, may have come through a rule
    return kind if isinstance(kind, str) else ""


def _type_of(attribute: Any) -> Any:
    """The name of the type of a tensor or of a type; other attributes unchanged."""
    if isinstance(attribute, (Tensor, SparseTensor)):
        return _constant_type(attribute)
    is_type = isinstance(attribute, (TensorType, SequenceType, OptionalType, MapType))
    return type_name(attribute) if is_type else attribute


def _body_output_types(node: Node, operator: Operator, bodies: Mapping[str, Types]) -> list[str]:
    """The types of the node's outputs by its subgraphs, where all of them agree."""
    start = operator.subgraphs.outputs_from
    if start is None:
        return []
    by_graph = [
        [bodies[name].get(value.name, "") for value in graph.outputs[start:]]
        for name, graph in node.graphs
    ]
    return [kinds[0] if len(set(kinds)) == 1 else "" for kinds in zip(*by_graph, strict=False)]


def _constant_type(tensor: Tensor | SparseTensor) -> str:
    values = tensor.values if isinstance(tensor, SparseTensor) else tensor
    kind = ELEMENT_TYPES.get(values.element)
    return "" if kind is None else kind.name


def type_name(kind: ValueType) -> str:
    """A type as ``ops.schema.types`` writes it; ``""`` if a part of it is unknown."""
    if isinstance(kind, TensorType):
        known = kind.element in ELEMENT_TYPES and not isinstance(kind, SparseTensorType)
        return ELEMENT_TYPES[kind.element].name if known else ""
    if isinstance(kind, (SequenceType, OptionalType)):
        inner = type_name(kind.element)
        outer = "seq" if isinstance(kind, SequenceType) else "optional"
        return f"{outer}({inner})" if inner else ""
    if isinstance(kind, MapType):
        key, value = type_name(TensorType(kind.key)), type_name(kind.value)
        return f"map({key},{value})" if key and value else ""
    return ""
