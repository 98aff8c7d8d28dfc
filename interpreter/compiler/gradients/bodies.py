"""What the rules of operators with subgraphs get and share, and nodes that they add."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from onnxwalk.interpreter.compiler.context import Context, captured_names, every_node
from onnxwalk.interpreter.errors import UnsupportedModelError
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN
from onnxwalk.ops.contract.records import record

#: opset of the plain operators that are added
_OPSET = 13


@record(frozen=True)
class BodyCall:
    """A node with subgraphs that is to be differentiated, and the means to do it."""

    node: Node
    #: the name of the gradient of each output; "": nothing flows there
    dys: Sequence[str]
    #: (position, name, gradient): an input (its position; ``None``: a value that a subgraph
    #: captures) whose gradient is wanted, and the name of the value that must hold it
    wanted: Sequence[tuple[int | None, str, str]]
    context: Context
    #: the types of the values around the subgraphs: their ``outer_types``
    types: Mapping[str, str]
    #: unique(name): the name, or one like it that the graph doesn't have
    unique: Callable[[str], str]
    #: is_real(name): whether a value around the subgraphs can have a gradient
    is_real: Callable[[str], bool]
    #: ``differentiate.differentiate``, for the subgraphs
    differentiate: Callable[..., Any]


#: rule(call) -> the node that takes the place of the node, and may keep more; and the nodes that
#: compute the wanted gradients
BodyRule: TypeAlias = Callable[[BodyCall], "tuple[Node, list[Node]]"]


def identity(name: str, result: str) -> Node:
    return Node("Identity", (name,), (result,), name=result, opset=_OPSET)


def zeros(like: str, result: str) -> Node:
    return Node("Zeros", (like,), (result,), name=result, domain=GRADIENT_DOMAIN, opset=1)


def shape_and_type(of: str, result: str) -> Node:
    return Node("ShapeAndType", (of,), (result,), name=result, domain=GRADIENT_DOMAIN, opset=1)


def sum_of(names: Sequence[str], result: str) -> Node:
    if len(names) == 1:
        return identity(names[0], result)
    return Node(
        "SumOfGradients", tuple(names), (result,), name=result, domain=GRADIENT_DOMAIN, opset=1
    )


def with_gradients(
    call: BodyCall, body: Graph, seeds: Mapping[int, str], xs: Sequence[str]
) -> tuple[tuple[Node, ...], list[str]]:
    """The nodes of a body, and those that compute the gradients of ``xs`` from the gradients of its
    outputs, ``seeds`` by their positions; and the names of these gradients, "" where none flows."""
    for node in every_node(body):
        operator = call.context.operator(node)
        if operator is not None and "rng" in operator.reserved:
            raise UnsupportedModelError(
                f"no gradient of {call.node}: its body is computed once more on the way back, and "
                f"{node} draws other random numbers then"
            )
    ends = {i: call.unique(f"output {i + 1} of {body.name} in {call.node.label}") for i in seeds}
    copies = tuple(identity(body.outputs[i].name, end) for i, end in ends.items())
    graph = replace(body, nodes=(*body.nodes, *copies))
    known = {value.name for value in body.inputs} | captured_names(graph)
    read = [x for x in xs if x in known]  # a branch of an If may not read what the other reads
    if not ends or not read:
        return graph.nodes, [""] * len(xs)
    found = call.differentiate(
        graph, call.context, list(ends.values()), read, seeded=True, outer_types=call.types
    )
    given = zip(seeds.values(), found.seeds, strict=True)
    gradients = dict(zip(read, found.gradients, strict=True))
    return (
        (*(identity(*pair) for pair in given), *found.graph.nodes),
        [gradients.get(x, "") for x in xs],
    )
