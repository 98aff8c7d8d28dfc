"""TimeDistributed calls its layer once, on all steps as one large batch.

Keras copies the layer for each step if their number is known, and otherwise maps over the steps
with a loop that has no ONNX form.
"""

from __future__ import annotations

from typing import Any

from onnxwalk.export.tracing.record import Record
from onnxwalk.export.tracing.recurrent import is_stateful


def time_distributed(
    original: Any, record: Record, layer: Any, inputs: Any, training: Any = None, mask: Any = None
) -> Any:
    """``TimeDistributed.call`` reshapes (batch, time, …) to (batch·time, …) and back.

    A layer that returns several tensors, or keeps states between calls, runs as in Keras.
    """
    import tensorflow as tf

    inner, options = layer.layer, {}
    single = hasattr(inputs, "shape") and len(inputs.shape) > 2
    if not single or is_stateful(inner):
        return original(layer, inputs, training=training, mask=mask)
    if mask is not None and inner._call_has_mask_arg:
        options["mask"] = _replace_leading(mask, [-1], 2)
    if inner._call_has_training_arg:
        options["training"] = training
    with tf.name_scope(inner.name):
        result = inner.call(_replace_leading(inputs, [-1], 2), **options)
    if not isinstance(result, tf.Tensor):
        return original(layer, inputs, training=training, mask=mask)
    batch, time = inputs.shape[:2]
    if time is None:
        begin = [tf.shape(inputs)[0] if batch is None else batch, tf.shape(inputs)[1]]
    else:
        begin = [-1, time]
    result = _replace_leading(result, begin, 1)
    result.set_shape((batch, time, *result.shape[2:]))
    return result


def _replace_leading(tensor: Any, begin: list[Any], skip: int) -> Any:
    """The tensor with ``begin`` in place of its first ``skip`` dimensions."""
    import tensorflow as tf

    rest = list(tensor.shape[skip:])
    if None in rest:
        sizes = tf.shape(tensor)
        rest = [sizes[skip + i] if size is None else size for i, size in enumerate(rest)]
    result = tf.reshape(tensor, [*begin, *rest])
    known = [size if isinstance(size, int) and size >= 0 else None for size in (*begin, *rest)]
    result.set_shape(known)
    return result
