"""Does every value have a type that the version of its operator takes? Types flow from inputs,
initializers, value_info and attributes through the graph; what isn't known is let pass."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
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
    ValueInfo,
    ValueType,
)
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES
from onnxwalk.ops.schema.types import Signature, formal_at, format_types, signature


class Problem(NamedTuple):
    """A type that doesn't fit; ``valid`` if the spec allows it, but it isn't computed here."""

    text: str
    valid: bool = False


#: the types of a scope's values by name, as ``ops.schema.types`` writes them; ``""``: not known
Types = MutableMapping[str, str]


def type_problems(graph: Graph, context: Context) -> Iterator[Problem]:
    """Everything in a graph, and the graphs within it, whose type its operator doesn't allow."""
    yield from _graph_problems(graph, context, {})


def _graph_problems(graph: Graph, context: Context, types: Types) -> Iterator[Problem]:
    """Adds the types of the graph's values to ``types``, which has those around it."""
    declared = {v.name: v for v in (*graph.value_info.values(), *graph.outputs)}
    types.update((value.name, type_name(value.type)) for value in graph.inputs)
    for value in graph.inputs:
        default = graph.initializers.get(value.name)
        declared_as, is_of = type_name(value.type), _of_constant(default) if default else ""
        if declared_as and is_of and declared_as != is_of:
            yield Problem(f"input '{value.name}' is {declared_as}, but its initializer is {is_of}")
    types.update((name, _of_constant(tensor)) for name, tensor in graph.initializers.items())
    for node in graph.nodes:
        tick()
        bodies: dict[str, Types] = {}
        for name, inner in node.graphs:
            bodies[name] = ChainMap({}, types)
            yield from _graph_problems(inner, context, bodies[name])
        operator, spec = context.operator(node), _signature(node, context)
        assert operator is not None, "resolve() has looked up every operator"
        bound: dict[str, tuple[str, str]] = {}
        if spec is not None:
            yield from _input_problems(node, spec, operator, types, bound)
        found = _body_outputs(node, operator, bodies) or [
            _output(node, spec, operator, i, types, bound) for i in range(len(node.outputs))
        ]
        if spec is not None:
            yield from _output_problems(node, spec, found)
        for position, name in enumerate(node.outputs):
            known = found[position] if position < len(found) else ""
            types[name] = known or _declared(declared.get(name))


def _signature(node: Node, context: Context) -> Signature | None:
    """The types of a built-in operator; what a user registers may take what it likes."""
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
    """Binds each type variable to the first input's type, and to that input's name."""
    lacking = operator.not_computed
    for position, name in enumerate(node.inputs):
        tick()
        kind = types.get(name, "") if name else ""
        formal = formal_at(spec.inputs, position)
        if not kind or formal is None:
            continue
        if kind not in formal.allowed:
            text = f"input '{name}' is {kind}, not {format_types(formal.allowed)}"
            yield Problem(f"{_call(node, spec)}: {text}")
        elif formal.variable:
            if kind in lacking.get(formal.variable, "").split():
                yield Problem(f"{_call(node, spec)}: input '{name}' of type {kind}", valid=True)
            first, of = bound.setdefault(formal.variable, (kind, name))
            if kind != first:
                text = f"input '{name}' is {kind}, but '{of}' is {first}, and they must be alike"
                yield Problem(f"{_call(node, spec)}: {text}")


def _output_problems(node: Node, spec: Signature, found: list[str]) -> Iterator[Problem]:
    if node.outputs and formal_at(spec.outputs, len(node.outputs) - 1) is None:
        most = len(spec.outputs)
        yield Problem(f"{_call(node, spec)}: {len(node.outputs)} outputs, it gives {most} at most")
    for position, (name, kind) in enumerate(zip(node.outputs, found, strict=False)):
        formal = formal_at(spec.outputs, position)
        if kind and formal is not None and kind not in formal.allowed:
            text = f"output '{name}' is {kind}, not {format_types(formal.allowed)}"
            yield Problem(f"{_call(node, spec)}: {text}")


def _call(node: Node, spec: Signature) -> str:
    return f"{node} at version {spec.since}"


def _output(
    node: Node,
    spec: Signature | None,
    operator: Operator,
    position: int,
    types: Types,
    bound: Mapping[str, tuple[str, str]],
) -> str:
    """The type of an output, from its variable, its only possibility, or the operator's rule."""
    if spec is not None:
        formal = formal_at(spec.outputs, position)
        if formal is None:
            return ""
        if formal.variable in bound:
            return bound[formal.variable][0]
        if len(formal.allowed) == 1:
            return next(iter(formal.allowed))
        given = (formal_at(spec.inputs, i) for i, name in enumerate(node.inputs) if name)
        if formal.variable and formal.variable in (other.variable for other in given if other):
            return ""  # that of an input whose type isn't known
    first = types.get(node.inputs[0], "") if node.inputs else ""
    return operator.output_type(first, {k: _typed(v) for k, v in node.attributes.items()})


def _typed(attribute: Any) -> Any:
    """A type in words in place of a tensor or a type."""
    if isinstance(attribute, (Tensor, SparseTensor)):
        return _of_constant(attribute)
    is_type = isinstance(attribute, (TensorType, SequenceType, OptionalType, MapType))
    return type_name(attribute) if is_type else attribute


def _body_outputs(node: Node, operator: Operator, bodies: Mapping[str, Types]) -> list[str]:
    """The types that graphs give to the node's outputs, where all of them agree."""
    start = operator.subgraphs.outputs_from
    if start is None:
        return []
    found = [
        [bodies[name].get(value.name, "") for value in graph.outputs[start:]]
        for name, graph in node.graphs
    ]
    return [kinds[0] if len(set(kinds)) == 1 else "" for kinds in zip(*found, strict=False)]


def _of_constant(tensor: Tensor | SparseTensor) -> str:
    values = tensor.values if isinstance(tensor, SparseTensor) else tensor
    return type_name(TensorType(values.element))


def _declared(value: ValueInfo | None) -> str:
    return type_name(value.type) if value is not None else ""


def type_name(kind: ValueType) -> str:
    """A type as ``ops.schema.types`` writes it; ``""`` if the file doesn't say all of it."""
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
