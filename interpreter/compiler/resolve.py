"""Checks that nodes can be run: the operator is registered, and the call matches its schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnxwalk.interpreter.compiler.assume import DEPRECATED
from onnxwalk.interpreter.compiler.check import combine_problems
from onnxwalk.interpreter.compiler.context import Context, every_node
from onnxwalk.interpreter.compiler.types import type_problems
from onnxwalk.interpreter.errors import UnsupportedModelError
from onnxwalk.interpreter.ir.model import (
    Graph,
    MapType,
    Model,
    Node,
    OpaqueType,
    OptionalType,
    Reference,
    SequenceType,
    SparseTensor,
    Tensor,
    TensorType,
)
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.derived import is_own_domain
from onnxwalk.ops.contract.numbers import Numbers, Words
from onnxwalk.ops.contract.registry import LATEST_OPSET, REQUIRED
from onnxwalk.ops.schema.types import signature

#: ONNX's names of attribute types
_KINDS: dict[type, str] = {
    int: "int",
    float: "float",
    str: "string",
    Tensor: "tensor",
    SparseTensor: "sparse_tensor",
    Graph: "graph",
    **dict.fromkeys((TensorType, SequenceType, OptionalType, MapType, OpaqueType), "type_proto"),
}
_LISTS = frozenset(f"{kind}s" for kind in _KINDS.values())

#: ONNX Runtime's convolutions over channels in blocks. How many are in a block depends on the
#: machine that wrote the file, and the file doesn't say it: 32 channels are 2 of 16 or 4 of 8.
_BLOCKED_DOMAIN = "com.microsoft.nchwc"


def resolve(graph: Graph, model: Model, context: Context) -> None:
    """Raise UnsupportedModelError listing everything that isn't supported, by operator, opset and
    node; or InvalidModelError listing the calls and types that don't match the operator's schema.
    """
    for domain, version in context.opsets.items():
        latest = LATEST_OPSET.get(domain)
        if latest is not None and version > latest:
            raise UnsupportedModelError(
                f"{model.source}: opset {version} of {domain or 'ai.onnx'} is newer than the "
                f"newest that is supported, {latest}"
            )
    missing = unsupported(graph, context)
    if any(name.startswith(f"{_BLOCKED_DOMAIN}.") for name in missing):
        raise UnsupportedModelError(
            f"{model.source}: not supported: operators of {_BLOCKED_DOMAIN}, which ONNX Runtime "
            "writes for one kind of processor: save the model at the optimization level extended "
            "(ORT_ENABLE_EXTENDED) or below"
        )
    if missing:
        listed = "; ".join(
            f"{operator} in {len(nodes)} node{'s'[: len(nodes) > 1]} ({_join_labels(nodes)})"
            for operator, nodes in missing.items()
        )
        raise UnsupportedModelError(f"{model.source}: not supported: {listed}")
    problems = list(_all_call_problems(graph, context))
    types = list(type_problems(graph, context))
    problems += [problem.text for problem in types if not problem.valid]
    if not problems and types:
        listed = "; ".join(problem.text for problem in types)
        raise UnsupportedModelError(f"{model.source}: not supported: {listed}")
    if problems:
        raise combine_problems(model.source, problems)


def unsupported(graph: Graph, context: Context) -> dict[str, list[str]]:
    """Operators that aren't registered, or not any more: "Name (opset 17)" -> the labels of the
    nodes."""
    missing: dict[str, list[str]] = {}
    supported: set[tuple[str, str, int | None]] = set()
    for node in every_node(graph):
        opset = context.opset(node)
        if (call := (node.domain, node.op_type, opset)) in supported:
            continue
        taken_out = DEPRECATED.get((node.domain, node.op_type))
        if taken_out is not None and context.is_builtin(node) and (opset or 0) >= taken_out:
            where = f"{node.operator_name} (opset {opset}; taken out in {taken_out})"
            missing.setdefault(where, []).append(node.label)
        elif is_own_domain(node.domain) or context.operator(node) is None:
            where = f"opset {opset}" if opset is not None else "its domain is not imported"
            names = (node.domain, node.op_type)
            known = [o.since for o in context.registry if (o.domain, o.name) == names]
            hint = f", supported from {known[0]} on" if known and opset is not None else ""
            missing.setdefault(f"{node.operator_name} ({where}{hint})", []).append(node.label)
        else:
            supported.add(call)
    return missing


def _all_call_problems(graph: Graph, context: Context) -> Iterator[str]:
    """What doesn't match the schemas, of all nodes. Most call an operator as another one does."""
    matching: set[tuple[Any, ...]] = set()
    for node in every_node(graph):
        call = None
        if not node.graphs:
            # Equal attributes are one object (``reader.wire``), and all are there until the end.
            attributes = tuple([(name, id(value)) for name, value in node.attributes.items()])
            inputs = tuple(map(bool, node.inputs))
            call = (node.domain, node.op_type, context.opset(node), inputs, attributes)
        if call is None or call not in matching:
            problems = list(_call_problems(node, context))
            yield from problems
            if call is not None and not problems:
                matching.add(call)


def _call_problems(node: Node, context: Context) -> Iterator[str]:
    operator = context.operator(node)
    assert operator is not None
    formal = operator.inputs
    variadic = bool(formal) and formal[-1].variadic
    if len(node.inputs) > len(formal) and not variadic:
        yield f"{node}: {len(node.inputs)} inputs, but {operator} has at most {len(formal)}"
    for position, expected in enumerate(formal):
        missing = position >= len(node.inputs) or not node.inputs[position]
        if missing and not (expected.optional or expected.variadic):
            yield f"{node}: input {position} ({expected.name}) of {operator} is missing"
    for name, value in node.attributes.items():
        values = value.words if isinstance(value, Words) else value
        kinds = set(map(type, values)) if isinstance(values, list | tuple) else {type(value)}
        if name not in operator.attributes:
            known = ", ".join(sorted(operator.attributes)) or "none"
            yield f"{node}: {operator} has no attribute '{name}' (it has: {known})"
        elif context.is_builtin(node) and bytes in kinds:
            yield f"{node}: attribute '{name}' is not UTF-8"
        elif not _is_compatible(kind := _kind(value), type_ := _expected(node, name, context)):
            yield f"{node}: attribute '{name}': expected {type_}, got {kind}"
        elif isinstance(value, Reference):
            yield f"{node}: attribute '{name}' refers to a function's attribute outside a function"
        elif isinstance(value, str) and (opset := context.opset(node)):
            allowed = operator.choices(name, opset)
            if allowed and value not in allowed:
                words = f"one of {', '.join(allowed)} at opset {opset}"
                yield f"{node}: attribute '{name}' must be {words}, not '{value}'"
    yield from _body_problems(node, operator)
    for name, default in operator.attributes.items():
        if default is REQUIRED and name not in node.attributes:
            yield f"{node}: attribute '{name}' of {operator} is missing"


def _body_problems(node: Node, operator: Operator) -> Iterator[str]:
    """Whether each subgraph has enough outputs, if the node's outputs come from there."""
    if operator.subgraphs.outputs_from is None:
        return
    used = max((i for i, name in enumerate(node.outputs, 1) if name), default=0)
    counts = {name: len(graph.outputs) for name, graph in node.graphs}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {n}" for name, n in counts.items())
        yield f"{node}: its branches return different numbers of outputs: {listed}"
        return
    for name, graph in node.graphs:
        returned = max(len(graph.outputs) - operator.subgraphs.outputs_from, 0)
        if returned < used:
            yield f"{node} has {used} outputs, but its {name} returns {returned}"


def _expected(node: Node, name: str, context: Context) -> str:
    """ONNX's name of an attribute's type: from the spec, or from the default of a user's operator;
    ``""`` if unknown."""
    opset = context.opset(node)
    if opset is not None and context.is_builtin(node):
        spec = signature(node.domain, node.op_type, opset)
        return spec.attributes.get(name, "") if spec else ""
    operator = context.operator(node)
    return _kind(operator.attributes[name]) if operator else ""


def _kind(value: Any) -> str:
    """ONNX's name of a value's type: "list" if it is empty, ``""`` if it may be any."""
    if isinstance(value, list | Numbers | Words):
        return f"{_kind(value[0])}s" if value else "list"
    return next((name for kind, name in _KINDS.items() if isinstance(value, kind)), "")


def _is_compatible(kind: str, expected: str) -> bool:
    """Whether an attribute of one type may be used where another is expected."""
    if "list" in (kind, expected):
        return {kind, expected} <= {"list", "", *_LISTS}
    return not kind or not expected or kind == expected


def _join_labels(labels: list[str]) -> str:
    return ", ".join(map(repr, labels[:5])) + (", …" if len(labels) > 5 else "")
