"""The fate of each node of the file: kept, fused, folded or removed by the rewrites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxwalk.interpreter.compiler.context import names_used
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.records import record


@record(frozen=True)
class Fate:
    """What the rewrites did with a node.

    ``into``: the nodes of the rewritten graph that do its work: mostly one, and the node itself if
    it is unchanged. ``parts``: all original nodes that the first of these replaces, in their order.
    ``folded``: it is computed once, at load. ``rewrites``: the names of the rewrites that took
    part.
    """

    into: tuple[Node, ...] = ()
    parts: tuple[Node, ...] = ()
    folded: bool = False
    rewrites: tuple[str, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether one node of the same operator does the work of this node alone."""
        return len(self.into) == len(self.parts) == 1 and (
            self.into[0].op_type == self.parts[0].op_type
        )

    def __str__(self) -> str:
        if self.folded:
            return "computed once, at load"
        if not self.into:
            return "removed: no output needs it"
        if self.is_kept:
            return "unchanged"
        return " and ".join(f"{node.op_type} '{node.label}'" for node in self.into)


def find_fates(versions: Sequence[tuple[str, Graph]]) -> dict[Node, Fate]:
    """The fate of each node of the first version of a graph and its subgraphs.

    ``versions``: the graph, and each rewrite's name with its result (``Program.rewrite_stages``).
    """
    first, last = versions[0][1], versions[-1][1]
    makers = [{n: node for node in graph.nodes for n in node.outputs if n} for _, graph in versions]
    names = [name for name, _ in versions]
    readers: dict[str, list[Node]] = {}
    for node in first.nodes:
        for name in names_used(node):
            readers.setdefault(name, []).append(node)
    new = {name for _, graph in versions[1:] for name in graph.initializers}
    new -= set(first.initializers)

    into: dict[Node, list[Node]] = {}
    changed: dict[Node, list[str]] = {}
    folded = set()
    for node in reversed(first.nodes):
        outputs = [name for name in node.outputs if name]
        known = [next((by_name[n] for n in outputs if n in by_name), None) for by_name in makers]
        changed[node] = [
            name
            for name, before, after in zip(names[1:], known, known[1:], strict=False)
            if not _is_same(before, after)
        ]
        into[node] = []
        if known[-1] is not None:
            into[node] = [known[-1]]
        elif new.intersection(outputs):
            folded.add(node)
        else:  # its readers do its work as well
            read = [reader for name in outputs for reader in readers.get(name, ())]
            into[node] = list(dict.fromkeys(target for r in read for target in into[r]))

    parts: dict[Node, list[Node]] = {target: [] for target in last.nodes}
    for node in first.nodes:
        for target in into[node]:
            parts[target].append(node)
    fates: dict[Node, Fate] = {}
    for node in first.nodes:
        together = parts[into[node][0]] if into[node] else []
        rewrites = {name for part in (node, *together) for name in changed[part]}
        fates[node] = Fate(
            tuple(into[node]),
            tuple(together),
            node in folded,
            tuple(name for name in names[1:] if name in rewrites),
        )
        for attribute, _ in node.graphs:
            fates |= find_fates([*_subgraph_versions(node, attribute, versions, makers)])
    return fates


def _subgraph_versions(
    node: Node,
    attribute: str,
    versions: Sequence[tuple[str, Graph]],
    makers: Sequence[dict[str, Node]],
) -> Iterator[tuple[str, Graph]]:
    """The versions of a subgraph, until a rewrite removes it."""
    for (name, _), by_name in zip(versions, makers, strict=True):
        current = next((by_name[n] for n in node.outputs if n in by_name), None)
        graph = dict(current.graphs).get(attribute) if current else None
        if graph is None:
            return
        yield name, graph


def _is_same(before: Node | None, after: Node | None) -> bool:
    """Whether a node is the same, except for its subgraphs."""
    if before is None or after is None or before is after:
        return before is after
    graphs = {name for name, _ in before.graphs}
    return (
        before.op_type == after.op_type
        and before.inputs == after.inputs
        and all(
            value is after.attributes.get(name)
            for name, value in before.attributes.items()
            if name not in graphs
        )
    )
