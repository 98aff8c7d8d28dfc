"""What Keras does in a graph, where sizes are known before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def run_compiled(call: Any, inputs: list[Any]) -> list[NDArray[Any]] | None:
    """The outputs by XLA; None if that can't compile what ``call`` does."""
    import tensorflow as tf

    try:
        outputs = _function(call, jit_compile=True)(*map(tf.constant, inputs))
        return [np.asarray(output) for output in outputs]
    except Exception:  # texts, tables, and sizes that depend on values
        return None


def _function(call: Any, **options: Any) -> Any:
    import tensorflow as tf

    @tf.function(autograph=False, **options)
    def run(*tensors: Any) -> Any:
        return call(list(tensors))

    return run
