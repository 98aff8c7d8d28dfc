"""A Model becomes a Plan. Everything that can be decided before the first input is decided here.

check    every value is defined once, before it is used
inline   calls of model-local functions become the functions' nodes
resolve  every node has an operator, and fits its schema
REWRITES Graph -> Graph, each in a file of its own, each can be switched off by name
compile  names become slots, attributes are bound, lifetimes are decided
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from onnxwalk.interpreter.compiler.check import check, check_graph
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.inline import inline_functions
from onnxwalk.interpreter.compiler.lower import compile_graph, output_infos
from onnxwalk.interpreter.compiler.passes.drop_unused import drop_unused
from onnxwalk.interpreter.compiler.passes.fold_constants import fold_constants
from onnxwalk.interpreter.compiler.passes.fuse_conv import fuse_conv
from onnxwalk.interpreter.compiler.passes.lift_embedding import lift_embedding
from onnxwalk.interpreter.compiler.passes.merge_into_conv import merge_pad, merge_scale
from onnxwalk.interpreter.compiler.passes.recognize import recognize
from onnxwalk.interpreter.compiler.resolve import resolve
from onnxwalk.interpreter.ir.model import Graph, Model
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.ops.shared.numpy_state import computing

__all__ = ["REWRITES", "Context", "build_plan", "checked_graph", "rewritten", "wanted"]

Rewrite = Callable[[Graph, Context], Graph]

#: the rewrites in the order in which they are applied
REWRITES: dict[str, Rewrite] = {
    "fold_constants": fold_constants,
    "recognize": recognize,
    "merge_pad": merge_pad,
    "merge_scale": merge_scale,
    "fuse_conv": fuse_conv,
    "lift_embedding": lift_embedding,
    "drop_unused": drop_unused,
}


def checked_graph(model: Model, context: Context) -> Graph:
    """The model's graph, known to be well formed, free of function calls and runnable.

    Raises InvalidModelError or UnsupportedModelError with all that is wrong.
    """
    check(model)
    graph = inline_functions(model)
    if model.functions:  # what comes out of a body may have a name that is there already
        check_graph(graph, model.source)
    resolve(graph, model, context)
    return graph


def build_plan(
    graph: Graph,
    context: Context,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    rewrites: Collection[str] = tuple(REWRITES),
) -> Plan:
    """The plan that computes ``outputs`` from ``inputs``: names of any values of the graph.

    Without rewrites the plan is the graph as written, node by node.
    """
    graph = wanted(graph, inputs, outputs)
    with computing():  # what is computed here are values too
        *_, (_, last) = [("", graph), *rewritten(graph, context, rewrites)]
        return compile_graph(last, context, inputs=inputs, optimize=bool(rewrites))


def wanted(graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
    """The graph with these inputs and outputs."""
    given = set(inputs)
    return replace(
        graph,
        inputs=tuple(value for value in graph.inputs if value.name in given),
        outputs=output_infos(graph, outputs),
    )


def rewritten(
    graph: Graph, context: Context, rewrites: Collection[str] = tuple(REWRITES)
) -> Iterator[tuple[str, Graph]]:
    """Each rewrite by its name, and the graph after it."""
    for name, rewrite in REWRITES.items():
        if name in rewrites:
            graph = rewrite(graph, context)
            yield name, graph
