"""Rules of operators with subgraphs, which are rules of graphs: If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.ir.model import Node

#: (position, name, gradient): an input (its position; ``None``: a value that a subgraph captures)
#: whose gradient is wanted, and the name of the value that holds it
Wanted: TypeAlias = "tuple[int | None, str, str]"
#: rule(node, the gradient of each output ("": none flows), wanted, context) -> the node that takes
#: its place, which may keep more, and the nodes that compute the wanted gradients
BodyRule: TypeAlias = Callable[
    [Node, Sequence[str], Sequence[Wanted], Context], "tuple[Node, list[Node]]"
]

#: by domain and name of the operator
BODY_RULES: dict[tuple[str, str], BodyRule] = {}
