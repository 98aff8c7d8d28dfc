"""Can every node be run? All operators are looked up, and every call is held against its schema,
before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnxwalk.interpreter.compiler.check import invalid
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
from onnxwalk.ops import Operator, Registry
from onnxwalk.ops.contract.registry import FUSED_DOMAIN, LATEST_OPSET, REQUIRED
from onnxwalk.ops.schema.types import signature

#: ONNX's names of the types of attributes. What refers to a function's attribute may be any.
_KINDS: dict[type, str] = {
    int: "int",
    float: "float",
    str: "string",
    Tensor: "tensor",
    SparseTensor: "sparse_tensor",
    Graph: "graph",
    TensorType: "type_proto",
    SequenceType: "type_proto",
    OptionalType: "type_proto",
    MapType: "type_proto",
    OpaqueType: "type_proto",
}
_LISTS = frozenset(f"{kind}s" for kind in _KINDS.values())


def resolve(graph: Graph, model: Model, context: Context) -> None:
    """Raise UnsupportedModelError listing everything that isn't supported, by operator, opset and
    node; or InvalidModelError listing the calls and the types that don't fit their operator's
    schema."""
    for domain, version in context.opsets.items():
        latest = LATEST_OPSET.get(domain)
        if latest is not None and version > latest:
            raise UnsupportedModelError(
                f"{model.source}: opset {version} of {domain or 'ai.onnx'} is newer than the "
                f"newest one known here, {latest}"
            )
    missing = unsupported(graph, context)
    if missing:
        listed = "; ".join(
            f"{operator} in {len(nodes)} node{'s'[: len(nodes) > 1]} ({_some(nodes)})"
            for operator, nodes in missing.items()
        )
        raise UnsupportedModelError(f"{model.source}: not supported: {listed}")
    problems = [p for node in every_node(graph) for p in _call_problems(node, context)]
    types = list(type_problems(graph, context))
    problems += [problem.text for problem in types if not problem.valid]
    if not problems and types:
        listed = "; ".join(problem.text for problem in types)
        raise UnsupportedModelError(f"{model.source}: not supported: {listed}")
    if problems:
        raise invalid(model.source, problems)


def unsupported(graph: Graph, context: Context) -> dict[str, list[str]]:
    """Operators that nothing registered implements: "Name (opset 17)" -> the nodes that use it."""
    missing: dict[str, list[str]] = {}
    for node in every_node(graph):
        if node.domain == FUSED_DOMAIN or context.operator(node) is None:
            opset = context.opset(node)
            where = f"opset {opset}" if opset is not None else "its domain is not imported"
            known = _versions(context.registry, node)
            hint = f", supported from {known[0]} on" if known and opset is not None else ""
            missing.setdefault(f"{node.operator_name} ({where}{hint})", []).append(node.label)
    return missing


def _call_problems(node: Node, context: Context) -> Iterator[str]:
    operator = context.operator(node)
    assert operator is not None
    formal = operator.inputs
    variadic = bool(formal) and formal[-1].variadic
    if len(node.inputs) > len(formal) and not variadic:
        yield f"{node}: {len(node.inputs)} inputs, {operator} takes {len(formal)} at most"
    for position, expected in enumerate(formal):
        absent = position >= len(node.inputs) or not node.inputs[position]
        if absent and not (expected.optional or expected.variadic):
            yield f"{node}: input {position} ({expected.name}) of {operator} is missing"
    for name, value in node.attributes.items():
        if name not in operator.attributes:
            known = ", ".join(sorted(operator.attributes)) or "none"
            yield f"{node}: {operator} has no attribute '{name}' (it has: {known})"
        elif context.is_builtin(node) and any(isinstance(v, bytes) for v in _listed(value)):
            yield f"{node}: attribute '{name}' is not UTF-8"
        elif not _fits(kind := _kind(value), wanted := _wanted(node, name, context)):
            yield f"{node}: attribute '{name}' is of type {kind}, not {wanted}"
        elif isinstance(value, Reference):
            yield f"{node}: attribute '{name}' refers to a function's, outside of one"
        elif isinstance(value, str):
            opset = context.opset(node)
            allowed = operator.choices(name, opset) if opset else None
            if allowed and value not in allowed:
                yield (
                    f"{node}: attribute '{name}' is '{value}'; at opset {opset} it may be "
                    f"{', '.join(allowed)}"
                )
    yield from _body_problems(node, operator)
    for name, default in operator.attributes.items():
        if default is REQUIRED and name not in node.attributes:
            yield f"{node}: attribute '{name}' of {operator} is missing"


def _body_problems(node: Node, operator: Operator) -> Iterator[str]:
    """Has each graph as many outputs as the node names, if it is where these come from?"""
    if operator.subgraphs.outputs_from is None:
        return
    named = max((i for i, name in enumerate(node.outputs, 1) if name), default=0)
    for name, graph in node.graphs:
        given = len(graph.outputs) - operator.subgraphs.outputs_from
        if given < named:
            yield f"{node}: {named} outputs, of its {name} come {max(given, 0)}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _wanted(node: Node, name: str, context: Context) -> str:
    """The type of an attribute as ONNX names it: the spec's, or that of the default that a user's
    operator has; ``""`` if neither tells."""
    opset = context.opset(node)
    if opset is not None and context.is_builtin(node):
        spec = signature(node.domain, node.op_type, opset)
        return spec.attributes.get(name, "") if spec else ""
    operator = context.operator(node)
    return _kind(operator.attributes[name]) if operator else ""


def _kind(value: Any) -> str:
    """The type of a value as ONNX names it: ``list`` if it is empty, ``""`` if it may be any."""
    if isinstance(value, list):
        return f"{_kind(value[0])}s" if value else "list"
    return next((name for kind, name in _KINDS.items() if isinstance(value, kind)), "")


def _fits(kind: str, wanted: str) -> bool:
    """Whether an attribute of one type may stand where another is wanted."""
    if "list" in (kind, wanted):
        return {kind, wanted} <= {"list", "", *_LISTS}
    return not kind or not wanted or kind == wanted


def _versions(registry: Registry, node: Node) -> list[int]:
    return [o.since for o in registry if (o.domain, o.name) == (node.domain, node.op_type)]


def _some(labels: list[str]) -> str:
    return ", ".join(map(repr, labels[:5])) + (", …" if len(labels) > 5 else "")
