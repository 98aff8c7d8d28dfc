"""The graph on the page: texts of attributes, inputs and outputs of the model, and groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from onnxwalk.interpreter.analysis.explore.groups import find_groups
from onnxwalk.interpreter.analysis.explore.inside import Path
from onnxwalk.interpreter.display import type_text
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.interpreter.session import Session
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.numbers import Numbers, Words
from onnxwalk.ops.contract.registry import REQUIRED

_MAX_LENGTH = 300  # characters of an attribute


def input_titles(node: Node, operator: Operator) -> list[str]:
    """The operator's names of the node's inputs."""
    formal = [i.name for i in operator.inputs]
    if operator.inputs and operator.inputs[-1].variadic:
        formal += [formal[-1]] * len(node.inputs)
    return (formal + [""] * len(node.inputs))[: len(node.inputs)]


def describe_attributes(node: Node, operator: Operator) -> list[list[Any]]:
    """Name and text of each attribute, and 1 if it is a default that isn't in the file."""
    explicit = [[name, _value_text(value), 0] for name, value in node.attributes.items()]
    defaults = [
        [name, _value_text(value), 1]
        for name, value in operator.attributes.items()
        if name not in node.attributes and value is not None and value is not REQUIRED
    ]
    return explicit + defaults


def _value_text(value: Any) -> str:
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
    if isinstance(value, list | Numbers | Words):
        text = f"[{', '.join(_value_text(item) for item in value[:40])}"
        text += f", … ({len(value):,} in all)]" if len(value) > 40 else "]"
    else:
        text = str(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"


def model_ends(
    session: Session, numbers: Mapping[str, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The inputs and outputs of the model, as nodes of the page before and after the others."""
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


def assign_groups(nodes: Sequence[dict[str, Any]], paths: Sequence[Path]) -> None:
    """Set the "group" of each node: the names of the groups around it, from the outermost. The
    nodes of an iteration are a group next to the node that they are inside.

    ``paths``: the subgraph and iteration of each node.
    """
    by_path: dict[Path, list[int]] = {}
    for k, path in enumerate(paths):
        by_path.setdefault(path, []).append(k)
    groups: dict[tuple[Path, str], list[str]] = {}
    for path, members in sorted(by_path.items(), key=lambda item: len(item[0])):
        # The names of inner nodes begin with their path.
        skipped = len("/".join(map(str, path))) + 1 if path else 0
        names = [nodes[k]["name"][skipped:] for k in members]
        outer = []
        if path:
            label = "/".join(str(path[-1]).split("/")[-2:])
            outer = [*groups.get((path[:-1], path[-1].node.label), []), label]
        for name, k, inner in zip(names, members, _groups(names, nodes, members), strict=True):
            group = groups[path, name] = [*outer, *inner]
            if group:
                nodes[k]["group"] = group


def _groups(
    names: Sequence[str], nodes: Sequence[dict[str, Any]], members: Sequence[int]
) -> list[tuple[str, ...]]:
    """The groups of nodes on one level, by their names and the values that cross between them."""
    producers: dict[int, int] = {}
    last_use: dict[int, int] = {}
    for k, member in enumerate(members):
        last_use |= {number: k for _, number in nodes[member]["in"]}
        producers |= {number: k for _, number in nodes[member]["out"]}
    changes = [0] * (len(members) + 2)
    for number, k in producers.items():
        if number in last_use:
            changes[k + 1] += 1
            changes[last_use[number] + 1] -= 1
    return find_groups(names, list(accumulate(changes[: len(members)])))
