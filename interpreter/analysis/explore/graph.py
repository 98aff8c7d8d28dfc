"""A graph as the page has it: attributes in words, the ends of the walk, and what can be folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from onnxwalk.interpreter.analysis.explore.groups import paths
from onnxwalk.interpreter.analysis.explore.inside import Path, by_place, label
from onnxwalk.interpreter.display import type_text
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.interpreter.session import Session
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.registry import REQUIRED

_LONG = 300  # characters of an attribute


def titles(node: Node, operator: Operator) -> list[str]:
    """What the operator calls each of the node's inputs."""
    formal = [i.name for i in operator.inputs]
    if operator.inputs and operator.inputs[-1].variadic:
        formal += [formal[-1]] * len(node.inputs)
    return (formal + [""] * len(node.inputs))[: len(node.inputs)]


def attributes(node: Node, operator: Operator) -> list[list[Any]]:
    """Name, value in words, and 1 if it is the default, which the file needn't mention."""
    given = [[name, _in_words(value), 0] for name, value in node.attributes.items()]
    defaults = [
        [name, _in_words(value), 1]
        for name, value in operator.attributes.items()
        if name not in node.attributes and value is not None and value is not REQUIRED
    ]
    return given + defaults


def _in_words(value: Any) -> str:
    if isinstance(value, Tensor):
        numbers = ", ".join(map(str, value.array.ravel()[:8].tolist()))
        return f"{type_text(value.array)}: {numbers}{', …' if value.array.size > 8 else ''}"
    if isinstance(value, SparseTensor):
        return f"sparse {type_text(value.values.array)}"
    if isinstance(value, Graph):
        counts = Counter(inner.op_type for inner in value.nodes).most_common(8)
        listed = ", ".join(f"{name} ×{n}" if n > 1 else name for name, n in counts)
        return f"a graph of {len(value.nodes)} nodes: {listed}"
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, list):
        text = f"[{', '.join(_in_words(item) for item in value[:40])}"
        text += f", … ({len(value):,} in all)]" if len(value) > 40 else "]"
    else:
        text = str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def ends(
    session: Session, numbers: Mapping[str, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The model's inputs and outputs as steps of the walk, before and after its nodes."""
    entries = [
        {"name": info.name, "op": "Input", "says": str(info), "in": [], "out": [["", number]]}
        for info in session.inputs
        if (number := numbers.get(info.name)) is not None
    ]
    exits = [
        {"name": info.name, "op": "Output", "says": str(info), "in": [["", number]], "out": []}
        for info in session.outputs
        if (number := numbers.get(info.name)) is not None
    ]
    return entries, exits


def fold(nodes: Sequence[dict[str, Any]], where: Sequence[Path]) -> None:
    """Give each node its "group": names of what it is folded into, from the outermost. Nodes within
    others are a group of their own, beside the one that they are within.

    ``where``: of each node, the places that it is within.
    """
    groups: dict[tuple[Path, str], list[str]] = {}
    for path, members in by_place(where).items():
        # The names of nodes within others begin with where they are.
        skipped = len("/".join(map(str, path))) + 1 if path else 0
        names = [nodes[k]["name"][skipped:] for k in members]
        outer = []
        if path:
            outer = [*groups.get((path[:-1], path[-1].node.label), []), label(path[-1])]
        for name, k, inner in zip(names, members, _groups(names, nodes, members), strict=True):
            group = groups[path, name] = [*outer, *inner]
            if group:
                nodes[k]["group"] = group


def _groups(
    names: Sequence[str], nodes: Sequence[dict[str, Any]], members: Sequence[int]
) -> list[tuple[str, ...]]:
    """The groups of nodes that are at one place, by their names and what crosses between them."""
    made: dict[int, int] = {}
    last_use: dict[int, int] = {}
    for k, member in enumerate(members):
        last_use |= {number: k for _, number in nodes[member]["in"]}
        made |= {number: k for _, number in nodes[member]["out"]}
    changes = [0] * (len(members) + 2)
    for number, k in made.items():
        if number in last_use:
            changes[k + 1] += 1
            changes[last_use[number] + 1] -= 1
    crossing, alive = [], 0
    for k in range(len(members)):
        alive += changes[k]
        crossing.append(alive)
    return paths(names, crossing)
