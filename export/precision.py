"""A Keras model in float64, to see on which side of a difference the rounding errors are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def run_in_float64(
    run: Callable[[list[Any]], list[Any]], inputs: Sequence[NDArray[Any]]
) -> list[NDArray[Any]] | None:
    """The outputs of a function of TensorFlow's tensors, computed in float64 where it computes in
    float32; other types stay. None if TensorFlow has some of its operations in float32 only."""
    import tensorflow as tf

    from onnxwalk.export.tracing.trace import all_operations

    specs = [tf.TensorSpec(x.shape, tf.as_dtype(x.dtype)) for x in inputs]
    try:
        graph, feeds, fetches = _freeze(run, specs)
        _widen(all_operations(graph))
        for function in graph.library.function:
            for argument in (*function.signature.input_arg, *function.signature.output_arg):
                argument.type = _wide(argument.type)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.graph_util.import_graph_def(graph, name="")
            values = [x.astype(np.float64) if x.dtype == np.float32 else x for x in inputs]
            return list(session.run(fetches, dict(zip(feeds, values, strict=True))))
    except Exception:  # an operation without float64, texts, tables
        return None


def _freeze(
    run: Callable[[list[Any]], list[Any]], specs: Sequence[Any]
) -> tuple[Any, list[str], list[str]]:
    """The graph of a function, with all variables as constants, and its inputs and outputs."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from onnxwalk.export.tracing.trace import restore_captures

    @tf.function(autograph=False)
    def function(*tensors: Any) -> Any:
        return run(list(tensors))

    concrete = function.get_concrete_function(*specs)
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    restore_captures(graph, concrete)
    feeds = [tensor.name for tensor in frozen.inputs][: len(specs)]
    return graph, feeds, [tensor.name for tensor in frozen.outputs]


def _widen(nodes: Iterable[Any]) -> None:
    """Change float32 to float64 in all attributes: types, and the values of constants."""
    import tensorflow as tf

    for node in nodes:
        for attribute in node.attr.values():
            if attribute.HasField("type"):
                attribute.type = _wide(attribute.type)
            elif attribute.HasField("list"):
                attribute.list.type[:] = [_wide(kind) for kind in attribute.list.type]
            elif attribute.HasField("tensor") and _wide(attribute.tensor.dtype) != (
                attribute.tensor.dtype
            ):
                wide = tf.make_ndarray(attribute.tensor).astype(np.float64)
                attribute.tensor.CopyFrom(tf.make_tensor_proto(wide))


def _wide(kind: int) -> int:
    """The number of a type in a graph, float64's for float32."""
    from tensorflow import dtypes

    is_single = kind == dtypes.float32.as_datatype_enum
    return int(dtypes.float64.as_datatype_enum if is_single else kind)
