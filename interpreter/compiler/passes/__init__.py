"""The rewrites: Graph -> Graph, one file for each name in ``PASSES``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator
from typing import TypeAlias

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.drop_unused import drop_unused
from onnxwalk.interpreter.compiler.passes.fold_constants import fold_constants
from onnxwalk.interpreter.compiler.passes.hoist_invariants import hoist_invariants
from onnxwalk.interpreter.compiler.passes.recognize import recognize
from onnxwalk.interpreter.compiler.passes.widened import widened
from onnxwalk.interpreter.ir.model import Graph

Rewrite: TypeAlias = Callable[[Graph, Context], Graph]


def _imported(name: str, *parts: str, file: str = "") -> Rewrite:
    """The rewrite of a file (by default of its name) that is imported for the first graph with an
    operator that has one of ``parts`` in its name: a graph without is left as it is."""

    def rewrite(graph: Graph, context: Context) -> Graph:
        if not any(part in op_type for _, op_type in graph.operators for part in parts):
            return graph
        module = importlib.import_module(f"{__name__}.{file or name}")
        changed: Graph = getattr(module, name)(graph, context)
        return changed

    return rewrite


#: the rewrites by name, in the order of their application
PASSES: dict[str, Rewrite] = {
    "widened": widened,
    "quantized": _imported("quantized", "Quantize", "QLinear"),
    "hoist_invariants": hoist_invariants,
    "fold_constants": fold_constants,
    "recognize": recognize,
    "recognize_recurrence": _imported("recognize_recurrence", "Loop"),
    "merge_pad": _imported("merge_pad", "Pad", file="merge_into_conv"),
    "merge_scale": _imported("merge_scale", "Conv", file="merge_into_conv"),
    "fuse_conv": _imported("fuse_conv", "Conv"),
    "lift_embedding": _imported("lift_embedding", "RNN", "LSTM", "GRU"),
    "mask_pooled": _imported("mask_pooled", "MaxPool"),
    "drop_unused": drop_unused,
}

REWRITES = tuple(PASSES)
#: those that change how values are rounded: the executor "walk" rounds after each node
NOT_WALKED = frozenset({"widened"})
#: those of a graph with gradients, whose nodes must else stay as they are
WITH_GRADIENTS = frozenset({"fold_constants", "mask_pooled", "drop_unused"})


def apply_rewrites(
    graph: Graph, context: Context, rewrites: Collection[str] = REWRITES
) -> Iterator[tuple[str, Graph]]:
    """Apply the named rewrites in turn; yields each one's name and the graph after it."""
    for name, rewrite in PASSES.items():
        if name in rewrites:
            graph = rewrite(graph, context)
            yield name, graph
