"""Group nodes by their names, so that a page can fold the parts of a large graph.

Exporters name nodes model/layer/Operation. If that leaves too many groups on one level, layers with
a common prefix up to a number (block_1_expand, block_1_project) form a family, provided that they
are consecutive; what is still too long is cut where the fewest values cross.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

#: the most items on one level
MAX_ITEMS = 30

Path = tuple[str, ...]


@dataclass
class _Item:
    """A node, or a group if it has ``inner`` items; ``nodes`` are sorted positions in the walk."""

    name: str
    nodes: list[int]
    inner: list[_Item] = field(default_factory=list)


def find_groups(names: Sequence[str], crossing: Sequence[int]) -> list[Path]:
    """The groups of each node, from the outermost; a group has more than one node.

    ``names``: in the order of the walk; ``crossing``: the number of live values before each node.
    """
    layers = [tuple(name.split("/")[:-1]) for name in names]
    if len({layer[0] for layer in layers if layer}) == 1:  # the name of the model
        layers = [layer[1:] for layer in layers]
    groups: list[Path] = [()] * len(names)

    def assign(items: list[_Item], outer: Path) -> None:
        for item in items:
            if item.inner:
                assign(item.inner, (*outer, item.name))
            else:
                groups[item.nodes[0]] = outer

    assign(_limit_items(_group_by_layer(range(len(names)), layers, 0, crossing), crossing), ())
    return groups


def _group_by_layer(
    nodes: Sequence[int], layers: Sequence[Path], depth: int, crossing: Sequence[int]
) -> list[_Item]:
    """Group nodes with common first ``depth`` parts of their layers by the next part."""
    parts: dict[str, list[int]] = {}
    for node in nodes:
        layer = layers[node]
        name = layer[depth] if len(layer) > depth else f"/{node}"  # no layer has a / in its name
        parts.setdefault(name, []).append(node)
    items = []
    for name, members in parts.items():
        item = _Item(name, members)
        if len(members) > 1:
            inner = _group_by_layer(members, layers, depth + 1, crossing)
            while len(inner) == 1:  # a/b if a contains only b
                item.name += f"/{inner[0].name}"
                inner = inner[0].inner
            item.inner = _limit_items(inner, crossing)
        else:
            item.name = "/".join(layers[members[0]][depth:]) or name
        items.append(item)
    return items


def _limit_items(items: list[_Item], crossing: Sequence[int], level: int = 0) -> list[_Item]:
    """Reduce a level to ``MAX_ITEMS``: by families, then by sections of the walk."""
    if len(items) <= MAX_ITEMS:
        return items
    families: dict[str, list[_Item]] = {}
    for item in items:
        name = _family_name(item.name, level) or f"/{item.nodes[0]}"
        families.setdefault(name, []).append(item)
    grouped = []
    for name, members in families.items():
        if len(members) > 1 and _is_consecutive(_nodes(members)):
            if any(member.name == name for member in members):
                name += "…"  # Conv1 and Conv1_relu
            inner = _limit_items(members, crossing, level + 1)
            grouped.append(_Item(name, _nodes(members), inner))
        else:
            grouped += members
    return _cut(grouped, crossing) if len(grouped) > MAX_ITEMS else grouped


def _cut(items: list[_Item], crossing: Sequence[int]) -> list[_Item]:
    """Cut the walk into sections, and these again."""
    items = sorted(items, key=lambda item: item.nodes[0])
    size = max(MAX_ITEMS, -(-3 * len(items) // (2 * MAX_ITEMS)))  # sections may be a third shorter
    sections = []
    start = 0
    while start < len(items):
        stop = start + size
        if stop < len(items):
            window = range(stop - size // 3, stop + 1)
            stop = min(window, key=lambda i: (crossing[items[i].nodes[0]], -i))
        section = items[start:stop]
        start = stop
        nodes = _nodes(section)
        name = f"nodes {nodes[0] + 1}–{nodes[-1] + 1}"
        inner = section if len(section) <= MAX_ITEMS else _cut(section, crossing)
        sections.append(section[0] if len(section) == 1 else _Item(name, nodes, inner))
    return sections


def _family_name(name: str, level: int) -> str | None:
    """The name up to its first number, or a later one: block_1 for block_1_expand."""
    ends = [match.end() for match in re.finditer(r"\d+[a-z]?(?![A-Za-z0-9])", name)]
    return name[: ends[level]] if len(ends) > level else None


def _is_consecutive(nodes: list[int]) -> bool:
    """Whether the walk runs these nodes with few others in between."""
    return nodes[-1] - nodes[0] < 1.5 * len(nodes) + 3


def _nodes(items: Sequence[_Item]) -> list[int]:
    return sorted(node for item in items for node in item.nodes)
