"""Subgraphs on the page: unrolled, with all iterations side by side.

The name of a value in a subgraph includes its path, "loop/body[3]/h", because names are unique only
in their graph. Each iteration begins with a node whose outputs are the inputs of the subgraph.
"""

from __future__ import annotations

from typing import Any

from onnxwalk.interpreter.ir.model import Graph
from onnxwalk.interpreter.runtime.trace import Event, Place

Path = tuple[Place, ...]


class Scopes:
    """Resolves names: each belongs to the innermost graph that defines it."""

    def __init__(self) -> None:
        self._defined: dict[int, set[str]] = {}

    def resolve(self, path: Path, name: str) -> Path:
        """The path at which the name is defined that a node at ``path`` reads."""
        while path and name not in self._names(_graph(path[-1])):
            path = path[:-1]
        return path

    def full_name(self, path: Path, name: str) -> str:
        """A value's name on the page; the iterations of a subgraph share its constants."""
        path = self.resolve(path, name)
        if path and name in _graph(path[-1]).initializers and not self.is_input(path, name):
            return "/".join([*(f"{p.node.label}/{p.graph}" for p in path), name])
        return "/".join([*map(str, path), name])

    def is_input(self, path: Path, name: str) -> bool:
        """Whether a name is an input of a subgraph."""
        path = self.resolve(path, name)
        return bool(path) and any(value.name == name for value in _graph(path[-1]).inputs)

    def _names(self, graph: Graph) -> set[str]:
        if id(graph) not in self._defined:
            outputs = {name for node in graph.nodes for name in node.outputs}
            inputs = {value.name for value in graph.inputs}
            self._defined[id(graph)] = outputs | inputs | set(graph.initializers)
        return self._defined[id(graph)]


def _graph(place: Place) -> Graph:
    return dict(place.node.graphs)[place.graph]


def iteration_node(path: Path, scopes: Scopes, numbers: dict[str, int]) -> dict[str, Any] | None:
    """The node with which an iteration begins, as yet without outputs. Its inputs are those of the
    outer node and the results of the iteration before. ``None`` for a subgraph without inputs, as
    the branches of If."""
    place, outer = path[-1], path[:-1]
    graph = _graph(place)
    if not graph.inputs:
        return None
    inputs: list[tuple[str, str]] = []
    graphs, attributes = place.operator.subgraphs, place.node.attributes
    if place.iteration == 0 or graphs.rereads:
        inputs += [("", scopes.full_name(outer, name)) for name in place.node.inputs if name]
    if place.iteration and graphs.carried is not None:
        carried = graphs.carried(len(graph.inputs), **attributes)
        before = (*outer, place._replace(iteration=place.iteration - 1))
        inputs += [("before", scopes.full_name(before, v.name)) for v in graph.outputs[:carried]]
    unique = dict.fromkeys((title, numbers[name]) for title, name in inputs if name in numbers)
    return {
        "name": "/".join(map(str, path)),
        "op": "Iteration",
        "says": f"inputs of iteration {place.iteration} of {place.graph}, {place.node.label}",
        "in": [list(pair) for pair in unique],
        "out": [],
    }


def subgraph_results(
    event: Event, shown: int, scopes: Scopes, numbers: dict[str, int], read: set[int]
) -> list[tuple[str, str]]:
    """The values that a node gets from the shown iterations, as titles and names: those of the
    last one, and of the others what no inner node reads."""
    results = []
    for graph_name, graph in event.node.graphs:
        last = min(event.runs.get(graph_name, 0), shown) - 1
        for k in range(last + 1):
            place = Place(event.node, event.operator, graph_name, k)
            for value in graph.outputs:
                name = scopes.full_name((*event.path, place), value.name)
                if name in numbers and (k == last or numbers[name] not in read):
                    results.append((str(place).rpartition("/")[2], name))
    return results
