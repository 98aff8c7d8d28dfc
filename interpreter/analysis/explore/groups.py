"""Which nodes belong together, by their names: what a page folds to keep a large graph readable.

Exporters name nodes model/layer/Operation. Where that leaves too many side by side, layers whose
names begin alike up to a number (block_1_expand, block_1_project) are one family if the walk goes
through them in one go; and what is still too long is cut where the fewest values cross.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

#: more than so many side by side are put into groups
MOST = 30

Path = tuple[str, ...]


@dataclass
class _Item:
    """A node, or a group if it has ``inner`` items; ``nodes`` are numbers in the walk, in order."""

    name: str
    nodes: list[int]
    inner: list[_Item] = field(default_factory=list)


def paths(names: Sequence[str], crossing: Sequence[int]) -> list[Path]:
    """For each node the groups that it is in, from the outermost; groups of one node are none.

    ``names`` in the order of the walk; ``crossing``: how many values are alive before each node.
    """
    layers = [tuple(name.split("/")[:-1]) for name in names]
    if len({layer[0] for layer in layers if layer}) == 1:  # the model's own name
        layers = [layer[1:] for layer in layers]
    found: list[Path] = [()] * len(names)

    def tell(items: list[_Item], above: Path) -> None:
        for item in items:
            if item.inner:
                tell(item.inner, (*above, item.name))
            else:
                found[item.nodes[0]] = above

    tell(_arranged(_by_layer(range(len(names)), layers, 0, crossing), crossing), ())
    return found


def _by_layer(
    nodes: Sequence[int], layers: Sequence[Path], depth: int, crossing: Sequence[int]
) -> list[_Item]:
    """Nodes that share the first ``depth`` parts of their layers, by the next part."""
    parts: dict[str, list[int]] = {}
    for node in nodes:
        layer = layers[node]
        name = layer[depth] if len(layer) > depth else f"/{node}"  # no layer has a / in its name
        parts.setdefault(name, []).append(node)
    items = []
    for name, members in parts.items():
        item = _Item(name, members)
        if len(members) > 1:
            inner = _by_layer(members, layers, depth + 1, crossing)
            while len(inner) == 1:  # a/b where a has nothing else
                item.name += f"/{inner[0].name}"
                inner = inner[0].inner
            item.inner = _arranged(inner, crossing)
        else:
            item.name = "/".join(layers[members[0]][depth:]) or name
        items.append(item)
    return items


def _arranged(items: list[_Item], crossing: Sequence[int], level: int = 0) -> list[_Item]:
    """Never too many side by side: families first, then pieces of the walk."""
    if len(items) <= MOST:
        return items
    families: dict[str, list[_Item]] = {}
    for item in items:
        name = _family(item.name, level) or f"/{item.nodes[0]}"
        families.setdefault(name, []).append(item)
    heads = []
    for name, members in families.items():
        if len(members) > 1 and _is_one_go(_nodes(members)):
            if any(member.name == name for member in members):
                name += "…"  # Conv1 and Conv1_relu
            heads.append(_Item(name, _nodes(members), _arranged(members, crossing, level + 1)))
        else:
            heads += members
    return _cut(heads, crossing) if len(heads) > MOST else heads


def _cut(items: list[_Item], crossing: Sequence[int]) -> list[_Item]:
    """Pieces of the walk, and pieces of pieces."""
    items = sorted(items, key=lambda item: item.nodes[0])
    size = max(MOST, -(-3 * len(items) // (2 * MOST)))  # a piece may be a third shorter
    pieces = []
    start = 0
    while start < len(items):
        stop = start + size
        if stop < len(items):
            window = range(stop - size // 3, stop + 1)
            stop = min(window, key=lambda i: (crossing[items[i].nodes[0]], -i))
        piece = items[start:stop]
        start = stop
        nodes = _nodes(piece)
        name = f"nodes {nodes[0] + 1}–{nodes[-1] + 1}"
        inner = piece if len(piece) <= MOST else _cut(piece, crossing)
        pieces.append(piece[0] if len(piece) == 1 else _Item(name, nodes, inner))
    return pieces


def _family(name: str, level: int) -> str | None:
    """The name up to its first number, or a later one: block_1_expand is of block_1."""
    ends = [match.end() for match in re.finditer(r"\d+[a-z]?(?![A-Za-z0-9])", name)]
    return name[: ends[level]] if len(ends) > level else None


def _is_one_go(nodes: list[int]) -> bool:
    """Whether the walk goes through these without doing much else meanwhile."""
    return nodes[-1] - nodes[0] < 1.5 * len(nodes) + 3


def _nodes(items: Sequence[_Item]) -> list[int]:
    return sorted(node for item in items for node in item.nodes)
