"""Takes what never changes out of the values that a loop carries.

Exporters carry weights from iteration to iteration: the body returns them as it got them. The body
reads them from outside instead, where it is known which of them are constants.
"""

from __future__ import annotations

from functools import partial

from onnxwalk.interpreter.compiler.context import Context, same_nodes
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.records import replace


def hoist_invariants(graph: Graph, context: Context) -> Graph:
    """Loops, also in subgraphs, without the carried values that their bodies don't change; the
    graph itself if there are none."""
    if not graph.has_graphs:
        return graph
    nodes: list[Node] = []
    for node in graph.nodes:
        inner = node.with_graphs(partial(hoist_invariants, context=context))
        hoisted = _hoist(inner) if context.is_operator(node, "Loop") else None
        nodes += hoisted or [inner]
    return graph if same_nodes(nodes, graph.nodes) else replace(graph, nodes=tuple(nodes))


def _hoist(loop: Node) -> list[Node] | None:
    """The loop, and the nodes that pass on the values it doesn't change; ``None``: all change."""
    body: Graph = loop.attributes["body"]
    carried = range(len(loop.inputs) - 2)
    if len(body.inputs) != 2 + len(carried) or len(body.outputs) <= len(carried):
        return None  # a run has the message
    sources = {n.outputs[0]: n.inputs[0] for n in body.nodes if n.is_one_of("Identity")}
    invariant = {
        k
        for k in carried
        if loop.inputs[2 + k]
        and sources.get(body.outputs[1 + k].name, body.outputs[1 + k].name)
        == body.inputs[2 + k].name
    }
    if not invariant or not set(loop.inputs).isdisjoint(_defined(body)):
        return None
    if all(k in invariant for k in range(len(loop.outputs))):
        return None  # what is left of the loop is whether it ends, and nothing would run it
    left = [k for k in carried if k not in invariant]
    aliases = [
        Node("Identity", (loop.inputs[2 + k],), (body.inputs[2 + k].name,)) for k in invariant
    ]
    new_body = replace(
        body,
        nodes=(*aliases, *body.nodes),
        inputs=(*body.inputs[:2], *(body.inputs[2 + k] for k in left)),
        outputs=(
            body.outputs[0],
            *(body.outputs[1 + k] for k in left),
            *body.outputs[1 + len(carried) :],
        ),
    )
    given = dict(enumerate(loop.outputs))
    new_loop = replace(
        loop,
        inputs=(*loop.inputs[:2], *(loop.inputs[2 + k] for k in left)),
        outputs=(*(given.get(k, "") for k in left), *loop.outputs[len(carried) :]),
        attributes={**loop.attributes, "body": new_body},
    )
    passed = [
        Node("Identity", (loop.inputs[2 + k],), (given[k],)) for k in invariant if given.get(k)
    ]
    return [new_loop, *passed]


def _defined(graph: Graph) -> set[str]:
    """The names that a graph or one within it defines."""
    names = {value.name for value in graph.inputs} | set(graph.initializers)
    for node in graph.nodes:
        names.update(node.outputs, *(_defined(inner) for _, inner in node.graphs))
    return names
