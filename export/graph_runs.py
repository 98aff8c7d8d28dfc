"""What Keras does in a graph, where sizes are known before anything runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.agreement import find_undefined
from onnxwalk.export.tracing.trace import Trace

#: operations whose sizes are looked at before they are run
_CHECKED = {"MaxPool", "MaxPool3D"}


def ends_process(call: Any, trace: Trace, inputs: list[Any]) -> bool:
    """Whether inputs of these sizes, which ``call`` takes as a list, are left alone: not all sizes
    that a graph would refuse are an error that can be caught when they are run."""
    import tensorflow as tf

    is_open = any(None in (port.shape or (None,))[1:] for port in trace.inputs)
    if not is_open or not _CHECKED & {node.op for node in trace.graph.node}:
        return False
    signature = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
    try:
        traced = _function(call).get_concrete_function(*signature)
    except Exception:
        return True
    return any(
        op.type in _CHECKED
        and 0 in op.outputs[0].shape.as_list()
        and 0 not in op.inputs[0].shape.as_list()
        for op in traced.graph.get_operations()
    )


class Compiled(NamedTuple):
    """What XLA gives: the outputs; of each operation that was asked for, what it gives without and
    with XLA, and where it reads what it has no result for (``find_undefined``)."""

    outputs: list[NDArray[Any]]
    inner: list[tuple[NDArray[Any], NDArray[Any]]]
    undefined: list[NDArray[np.bool_]]


def run_compiled(call: Any, inputs: list[Any], kinds: Collection[str] = ()) -> Compiled | None:
    """The outputs by XLA, and what the operations of these ``kinds`` outside of loops and branches
    give; None if XLA can't compile what ``call`` does."""
    import tensorflow as tf

    def both(tensors: list[Any]) -> Any:
        outputs = call(tensors)
        graph = tf.compat.v1.get_default_graph()
        found = [op for op in graph.get_operations() if op.type in kinds]
        kinds_found[:] = [op.type for op in found]
        return outputs, [op.outputs for op in found], [op.inputs[0] for op in found]

    kinds_found: list[str] = []
    given = list(map(tf.constant, inputs))
    try:
        outputs, inner, _ = _function(both, jit_compile=True)(*given)
        _, plain, read = _function(both)(*given)
    except Exception:  # texts, tables, and sizes that depend on values
        return None
    masks = [
        find_undefined(kind, np.asarray(x), np.asarray(results[0]).dtype)
        for kind, x, results in zip(kinds_found, read, plain, strict=True)
    ]
    pairs = zip(tf.nest.flatten(plain), tf.nest.flatten(inner), strict=True)
    return Compiled(
        [np.asarray(output) for output in outputs],
        [(np.asarray(a), np.asarray(b)) for a, b in pairs],
        [mask for mask in masks if mask is not None],
    )


def _function(call: Any, **options: Any) -> Any:
    import tensorflow as tf

    @tf.function(autograph=False, **options)
    def run(*tensors: Any) -> Any:
        return call(list(tensors))

    return run
