"""Does every value have a type that the version of its operator takes? Types flow from inputs,
initializers, value_info and attributes through the graph; what isn't known is let pass."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping
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
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES
from onnxwalk.ops.schema.types import NOT_COMPUTED, Signature, formal_at, in_words, signature


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
    types.update((value.name, spelled(value.type)) for value in graph.inputs)
    for value in graph.inputs:
        default = graph.initializers.get(value.name)
        declared_as, is_of = spelled(value.type), _of_constant(default) if default else ""
        if declared_as and is_of and declared_as != is_of:
            yield Problem(f"input '{value.name}' is {declared_as}, but its initializer is {is_of}")
    types.update((name, _of_constant(tensor)) for name, tensor in graph.initializers.items())
    for node in graph.nodes:
        tick()
        bodies: dict[str, Types] = {}
        for name, inner in node.graphs:
            bodies[name] = ChainMap({}, types)
            yield from _graph_problems(inner, context, bodies[name])
        spec = _signature(node, context)
        found: list[str] = []
        if spec is not None:
            bound: dict[str, tuple[str, str]] = {}
            yield from _input_problems(node, spec, types, bound)
            found = (_body_outputs(node, bodies) if bodies else []) or [
                _output(node, spec, i, types, bound, context) for i in range(len(node.outputs))
            ]
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
    node: Node, spec: Signature, types: Types, bound: dict[str, tuple[str, str]]
) -> Iterator[Problem]:
    """Binds each type variable to the first input's type, and to that input's name."""
    lacking = NOT_COMPUTED.get((node.domain, node.op_type), {})
    for position, name in enumerate(node.inputs):
        tick()
        kind = types.get(name, "") if name else ""
        formal = formal_at(spec.inputs, position)
        if not kind or formal is None:
            continue
        if kind not in formal.allowed:
            text = f"input '{name}' is {kind}, not {in_words(formal.allowed)}"
            yield Problem(f"{_call(node, spec)}: {text}")
        elif formal.variable:
            if kind in lacking.get(formal.variable, ()):
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
            text = f"output '{name}' is {kind}, not {in_words(formal.allowed)}"
            yield Problem(f"{_call(node, spec)}: {text}")


def _call(node: Node, spec: Signature) -> str:
    return f"{node} at version {spec.since}"


def _output(
    node: Node,
    spec: Signature,
    position: int,
    types: Types,
    bound: Mapping[str, tuple[str, str]],
    context: Context,
) -> str:
    """The type of an output, from its variable, its only possibility, or an attribute."""
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
    if node.op_type in _FROM_FIRST and node.inputs:
        first = types.get(node.inputs[0], "")
        return _FROM_FIRST[node.op_type](first) if first else ""
    told = _from_attributes(node, context)
    if not told and node.op_type in _LIKE_FIRST and node.inputs:
        return types.get(node.inputs[0], "")
    return told


def _element(kind: str) -> str:
    """What a sequence or an optional holds."""
    return kind.partition("(")[2][:-1]


_FROM_FIRST: Mapping[str, Callable[[str], str]] = {
    "SequenceConstruct": "seq({})".format,
    "SplitToSequence": "seq({})".format,
    "SequenceAt": _element,
    "ConcatFromSequence": _element,
    "Optional": "optional({})".format,
    "OptionalGetElement": lambda kind: _element(kind) if kind.startswith("optional(") else kind,
}

#: where no attribute ``dtype`` tells, the output is what the input is
_LIKE_FIRST = {"Bernoulli", "EyeLike", "RandomNormalLike", "RandomUniformLike"}

#: attributes that tell the type of an output which no input tells
_TELLING = ("to", "dtype", "output_dtype", "output_datatype", "stash_type")

#: the attributes of Constant that are no tensors
_CONSTANTS = {"value_int": "int64", "value_ints": "int64", "value_float": "float",
              "value_floats": "float", "value_string": "string",
              "value_strings": "string"}  # fmt: skip


def _from_attributes(node: Node, context: Context) -> str:
    operator = context.operator(node)
    defaults: Mapping[str, Any] = operator.attributes if operator else {}
    for name in _TELLING:
        code = node.attributes.get(name, defaults.get(name))
        if isinstance(code, str):  # Cast before version 6
            return code.lower()
        if isinstance(code, int):
            kind = ELEMENT_TYPES[code].name if code in ELEMENT_TYPES else ""
            return f"seq({kind})" if kind and node.op_type == "SequenceEmpty" else kind
    for name, value in node.attributes.items():
        if name in ("value", "sparse_value") and isinstance(value, (Tensor, SparseTensor)):
            return _of_constant(value)
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name == "type" and node.op_type == "Optional":
            return f"optional({spelled(value)})"
    return "float" if node.op_type == "ConstantOfShape" else ""


def _body_outputs(node: Node, bodies: Mapping[str, Types]) -> list[str]:
    """The types that the bodies of If, Loop and Scan give to the node's outputs."""
    found = []
    for name, graph in node.graphs:
        given = [bodies[name].get(value.name, "") for value in graph.outputs]
        found.append(given[1:] if node.op_type == "Loop" else given)
    if node.op_type == "If" and len(found) == 2:
        return [one if one == other else "" for one, other in zip(*found, strict=False)]
    return found[0] if found and node.op_type in ("Loop", "Scan") else []


def _of_constant(tensor: Tensor | SparseTensor) -> str:
    values = tensor.values if isinstance(tensor, SparseTensor) else tensor
    return spelled(TensorType(values.element))


def _declared(value: ValueInfo | None) -> str:
    return spelled(value.type) if value is not None else ""


def spelled(kind: ValueType) -> str:
    """A type as ``ops.schema.types`` writes it; ``""`` if the file doesn't say all of it."""
    if isinstance(kind, TensorType):
        known = kind.element in ELEMENT_TYPES and not isinstance(kind, SparseTensorType)
        return ELEMENT_TYPES[kind.element].name if known else ""
    if isinstance(kind, (SequenceType, OptionalType)):
        inner = spelled(kind.element)
        outer = "seq" if isinstance(kind, SequenceType) else "optional"
        return f"{outer}({inner})" if inner else ""
    if isinstance(kind, MapType):
        key, value = spelled(TensorType(kind.key)), spelled(kind.value)
        return f"map({key},{value})" if key and value else ""
    return ""
