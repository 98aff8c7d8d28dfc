"""Gradients of what the iterations of a loop look up in a table, added up once.

The gradient of a Gather is as large as the table. Added up in every iteration, as that of any value
that a body captures, it takes iterations × table. So the body hands out the gradients of what was
looked up, and where, stacked as scan outputs, and one Gather's gradient after the loop adds them to
their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnxwalk.interpreter.compiler.context import Context, names_used
from onnxwalk.interpreter.compiler.gradients.bodies import (
    BodyCall,
    identity,
    shape_and_type,
    sum_of,
)
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN

#: operators whose result has a shape that follows from those of their inputs ...
_ELEMENTWISE = frozenset(
    "Abs Add Cast Clip Div Identity Max Min Mod Mul Neg Sub Where Gather Constant".split()
)
#: ... and those for which the second must be the same in every iteration
_BY_CONSTANTS = frozenset("Reshape Squeeze Unsqueeze".split())


def take_out_lookups(
    nodes: Sequence[Node], gradient: str, body: Graph, context: Context
) -> tuple[tuple[Node, ...], str, list[Node]]:
    """The Gather gradients that ``gradient``, of a captured value, is the sum of, if their indices
    have the same shape in every iteration: the nodes without them, the name of what is left ("" if
    nothing is) and these gradients."""
    made = {name: node for node in nodes for name in node.outputs if name}
    last = made.get(gradient)
    if last is None:
        return tuple(nodes), gradient, []
    is_sum = (last.domain, last.op_type) == (GRADIENT_DOMAIN, "SumOfGradients")
    parts = last.inputs if is_sum else (gradient,)
    stable = _same_shapes(body, context)
    lookups = [made[part] for part in parts if _is_lookup(made.get(part), stable, context)]
    gone = {id(node) for node in lookups}
    if not lookups:
        return tuple(nodes), gradient, []
    left = tuple(part for part in parts if id(made.get(part)) not in gone)
    kept = [node for node in nodes if id(node) not in gone and (not is_sum or node is not last)]
    if len(left) > 1:
        kept.append(sum_of(left, gradient))
    return tuple(kept), (gradient if len(left) > 1 else "".join(left)), lookups


@dataclass
class HandedOut:
    """What a body hands out of its lookups."""

    #: of the body: nodes and further outputs
    nodes: list[Node] = field(default_factory=list)
    inner: list[str] = field(default_factory=list)
    #: of each output the name of the stack, and the axis along which it is stacked
    outer: list[str] = field(default_factory=list)
    axes: list[int] = field(default_factory=list)
    #: the nodes after the loop, and the gradients that they compute, by what is looked up in
    behind: list[Node] = field(default_factory=list)
    pieces: dict[str, list[str]] = field(default_factory=dict)


def hand_out(lookups: Mapping[str, Sequence[Node]], call: BodyCall) -> HandedOut:
    """Stack what Gather gradients read, and compute them of the stacks. ``lookups``: these nodes of
    the body, by the value that is looked up in."""
    found, label = HandedOut(), call.node.label
    for name, nodes in lookups.items():
        if nodes:
            shape = call.unique(f"shape of {name} for {label}")
            found.behind.append(shape_and_type(name, shape))
        for node in nodes:
            dy, _, indices = node.inputs
            stacks = [call.unique(f"every {value} of {label}") for value in (dy, indices)]
            ends = [call.unique(f"{value}, handed out") for value in (dy, indices)]
            found.nodes += map(identity, (dy, indices), ends)
            found.inner += ends
            found.outer += stacks
            found.axes += [node.attributes.get("axis", 0), 0]  # type: ignore[list-item]
            piece = call.unique(f"gradient of {name} by {node.label} of {label}")
            found.behind.append(
                replace(node, inputs=(stacks[0], shape, stacks[1]), outputs=(piece,))
            )
            found.pieces.setdefault(name, []).append(piece)
    return found


def _is_lookup(node: Node | None, stable: set[str], context: Context) -> bool:
    if node is None or node.domain != GRADIENT_DOMAIN or node.op_type != "Gather":
        return False
    # of the built-in rule, whose axis counts from the front, so that the stack has a place
    is_known = context.is_builtin(Node("Gather", (), (), opset=context.opset(node)))
    _, _, indices = node.inputs
    axis = node.attributes.get("axis", 0)
    return is_known and isinstance(axis, int) and axis >= 0 and indices in stable


def _same_shapes(body: Graph, context: Context) -> set[str]:
    """The values of a body that have the same shape in every iteration, as far as can be told: its
    inputs, which are stacked themselves, and what follows from them."""
    own = {name for node in body.nodes for name in node.outputs}
    outer = set().union(*map(names_used, body.nodes)) - own
    fixed = (outer | set(body.initializers)) - {value.name for value in body.inputs}
    stable = {*outer, *fixed, *(value.name for value in body.inputs)}
    for node in body.nodes:
        if node.op_type == "Constant":
            fixed.update(node.outputs)
        is_known = context.is_operator(node, *_ELEMENTWISE) or (
            context.is_operator(node, *_BY_CONSTANTS) and _are_in(node.inputs[1:], fixed)
        )
        if is_known and _are_in(node.inputs, stable):
            stable.update(node.outputs)
    return stable


def _are_in(names: Iterable[str], known: set[str]) -> bool:
    return all(name in known for name in names if name)
