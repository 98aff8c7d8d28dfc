"""What the rules of operators with subgraphs get, and nodes that they add: see ``control``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN
from onnxwalk.ops.contract.records import record


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

#: opset of the plain operators that are added
_OPSET = 13


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
