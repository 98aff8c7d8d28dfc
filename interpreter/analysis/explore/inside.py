"""Nodes within nodes, as the page has them: unrolled, each iteration beside the others.

A value within a graph is called after where it is, "loop/body[3]/h", for no name is taken outside
of its graph. Each iteration begins with a node of its own, which gives the inputs of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxwalk.interpreter.ir.model import Graph
from onnxwalk.interpreter.runtime.trace import Event, Place

Path = tuple[Place, ...]


class Scopes:
    """Which graph a name is of: the innermost that defines it."""

    def __init__(self) -> None:
        self._defined: dict[int, set[str]] = {}

    def of(self, path: Path, name: str) -> Path:
        """Where the name is defined that a node at ``path`` reads."""
        while path and name not in self._names(graph_of(path[-1])):
            path = path[:-1]
        return path

    def full(self, path: Path, name: str) -> str:
        """A value's name on the page; what is constant within a graph is so in all iterations."""
        path = self.of(path, name)
        if path and name in graph_of(path[-1]).initializers and not self.is_given(path, name):
            return "/".join([*(f"{p.node.label}/{p.graph}" for p in path), name])
        return "/".join([*map(str, path), name])

    def is_given(self, path: Path, name: str) -> bool:
        """Whether a name is an input of a graph within a node."""
        path = self.of(path, name)
        return bool(path) and any(value.name == name for value in graph_of(path[-1]).inputs)

    def _names(self, graph: Graph) -> set[str]:
        if id(graph) not in self._defined:
            made = {name for node in graph.nodes for name in node.outputs}
            given = {value.name for value in graph.inputs}
            self._defined[id(graph)] = made | given | set(graph.initializers)
        return self._defined[id(graph)]


def graph_of(place: Place) -> Graph:
    return dict(place.node.graphs)[place.graph]


def beginning(path: Path, scopes: Scopes, numbers: dict[str, int]) -> dict[str, Any] | None:
    """The node that an iteration begins with, before it is known what it gives: what it takes is
    what the node around was given, and what the iteration before has left. ``None`` for a graph
    that takes nothing but values from around it, as the branches of an If."""
    place, around = path[-1], path[:-1]
    graph = graph_of(place)
    if not graph.inputs:
        return None
    taken: list[tuple[str, str]] = []
    graphs, attributes = place.operator.graphs, place.node.attributes
    if place.iteration == 0 or graphs.rereads:
        taken += [("", scopes.full(around, name)) for name in place.node.inputs if name]
    if place.iteration and graphs.carried is not None:
        carried = graphs.carried(len(graph.inputs), **attributes)
        before = (*around, place._replace(iteration=place.iteration - 1))
        taken += [("before", scopes.full(before, v.name)) for v in graph.outputs[:carried]]
    unique = dict.fromkeys((title, numbers[name]) for title, name in taken if name in numbers)
    return {
        "name": "/".join(map(str, path)),
        "op": "Iteration",
        "says": f"iteration {place.iteration} of {place.graph}, {place.node.label}, is given",
        "in": [list(pair) for pair in unique],
        "out": [],
    }


def left(
    event: Event, shown: int, scopes: Scopes, numbers: dict[str, int], read: set[int]
) -> list[tuple[str, str]]:
    """What the shown iterations leave to the node around them: titles and names. Of others than
    the last, what nothing within reads."""
    found = []
    for graph_name, graph in event.node.graphs:
        last = min(event.runs.get(graph_name, 0), shown) - 1
        for k in range(last + 1):
            place = Place(event.node, event.operator, graph_name, k)
            for value in graph.outputs:
                name = scopes.full((*event.path, place), value.name)
                if name in numbers and (k == last or numbers[name] not in read):
                    found.append((str(place).rpartition("/")[2], name))
    return found


def runs(event: Event, shown: int) -> list[list[Any]]:
    """Of each graph of a node: its name, how often it was run, and how many of these are shown."""
    return [[name, n, min(n, shown)] for name, n in event.runs.items()]


def label(place: Place) -> str:
    """What the group of the nodes at one place is called."""
    return "/".join(str(place).split("/")[-2:])


def by_place(paths: Sequence[Path]) -> dict[Path, list[int]]:
    """The numbers of the nodes at each place, the outermost first."""
    found: dict[Path, list[int]] = {}
    for number, path in enumerate(paths):
        found.setdefault(path, []).append(number)
    return dict(sorted(found.items(), key=lambda item: len(item[0])))
