"""Where a file parts from the Keras model that it was exported from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxwalk.interpreter.analysis.compare import Tolerance, compare, find_cause, keras_and_file

#: of the values that one side holds while the other computes
_MEMORY = 256_000_000


def find_parting(model: Any, file: Any, feeds: Mapping[str, Any], tolerance: float) -> str:
    """The first place, in the order of the graph, where the two differ: "layer relu (ReLU)" or
    "node net/Where_1 (Where)". "" where that can't be found: the comparison needs a model whose
    inputs are known, and that ``predict`` takes.

    ``file``: whatever ``onnxwalk.load`` accepts.
    """
    try:
        sides = keras_and_file(model, file, _MEMORY)
        bound = Tolerance(tolerance, tolerance)
        comparison = compare(sides, [("", feeds)], bound, _MEMORY)
        cause = find_cause(sides, comparison, bound)
    except Exception:  # the difference is what is reported; where it begins is an addition
        return ""
    if cause is None:
        return ""
    layer = cause.row.pair.layer
    if layer:
        kinds = {each.name: type(each).__name__ for each in model._flatten_layers()}
        kind = kinds.get(layer.rpartition("/")[2])
        return f"layer {layer}" + (f" ({kind})" if kind else "")
    return f"node {cause.node.label} ({cause.node.op_type})" if cause.node else ""
