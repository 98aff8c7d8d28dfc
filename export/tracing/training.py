"""What a file that can be trained has beside the weights: the nodes that act otherwise in training.

Keras leaves dropout out of inference, and computes BatchNormalization from its moving statistics by
plain arithmetic. In a trainable export both leave a marker and become one ONNX node each, which
inference passes through, and training switches on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from onnxwalk.export.tracing.markers import add_marker
from onnxwalk.export.tracing.record import Record


@dataclass(frozen=True)
class Dropout:
    """The description of a marker with one input: a Dropout node with training_mode false.

    ``noise_shape``: the sizes of what is drawn, ``None`` for those of the input; None as a whole if
    each element is dropped on its own.
    """

    rate: float
    seed: int | None
    noise_shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class BatchNormalization:
    """The description of a marker with x, gamma, beta, moving mean and variance as its inputs."""

    axis: int
    epsilon: float
    momentum: float


def dropout(original: Any, record: Record, layer: Any, inputs: Any, training: Any = False) -> Any:
    """``Dropout.call``."""
    return _mark_dropout(record, layer, inputs, layer.noise_shape)


def spatial_dropout(
    original: Any, record: Record, layer: Any, inputs: Any, training: Any = False
) -> Any:
    """``call`` of the spatial dropouts, which drop whole channels."""
    import tensorflow as tf

    sizes = layer._get_noise_shape(inputs)
    static = tuple(None if tf.is_tensor(size) else size for size in sizes)
    return _mark_dropout(record, layer, inputs, static)


def _mark_dropout(record: Record, layer: Any, inputs: Any, noise_shape: Any) -> Any:
    if not layer.rate or not inputs.dtype.is_floating:
        return inputs
    return mark_dropout(record, inputs, layer.rate, layer.seed, noise_shape)


def mark_dropout(record: Record, x: Any, rate: float, seed: Any, noise_shape: Any) -> Any:
    """Leave the marker of a dropout of x; returns its result."""
    sizes = None if noise_shape is None else tuple(noise_shape)
    description = Dropout(float(rate), seed if isinstance(seed, int) else None, sizes)
    return add_marker(record.markers, description, [x], x.dtype, x.shape)[0]


def batch_normalization(
    original: Any, record: Record, layer: Any, inputs: Any, training: Any = None, mask: Any = None
) -> Any:
    """``BatchNormalization.call``; in float32 at least, as in Keras."""
    import keras
    import tensorflow as tf

    rank = inputs.shape.rank
    if rank is None or rank < 2 or not isinstance(layer.axis, int):
        return original(layer, inputs, training=training, mask=mask)
    if mask is not None:
        record.masked.add(id(layer))
    dtype = keras.backend.result_type(inputs.dtype.name, "float32")
    x, mean, variance = (
        keras.ops.cast(t, dtype) for t in (inputs, layer.moving_mean, layer.moving_variance)
    )
    gamma = keras.ops.cast(layer.gamma, dtype) if layer.scale else tf.ones_like(mean)
    beta = keras.ops.cast(layer.beta, dtype) if layer.center else tf.zeros_like(mean)
    description = BatchNormalization(layer.axis % rank, layer.epsilon, layer.momentum)
    tensors = [x, gamma, beta, mean, variance]
    (y,) = add_marker(record.markers, description, tensors, x.dtype, x.shape)
    return keras.ops.cast(y, layer.compute_dtype)


def normalization(original: Any, record: Record, layer: Any, inputs: Any) -> Any:
    """``Normalization.call``, from the variables: Keras keeps constants that it made of them."""
    import keras

    if layer.input_mean is not None or layer.mean is None:
        return original(layer, inputs)
    kept = layer.mean, layer.variance
    try:
        layer.mean, layer.variance = (
            keras.ops.cast(keras.ops.reshape(v, layer._broadcast_shape), layer.compute_dtype)
            for v in (layer.adapt_mean, layer.adapt_variance)
        )
        return original(layer, inputs)
    finally:
        layer.mean, layer.variance = kept


def drops_inputs_once(cell: Any) -> bool:
    """Whether a recurrent cell drops elements of its input by one mask for all gates and steps."""
    return 0 < (getattr(cell, "dropout", 0) or 0) < 1 and not getattr(
        cell, "dropout_mask_count", None
    )


def find_left_out(model: Any, record: Record) -> list[str]:
    """What Keras does with ``training=True`` and no node of the file does, as phrases."""
    import keras

    found = []
    for layer in model._flatten_layers():
        name = f"layer {getattr(layer, 'path', None) or layer.name} ({type(layer).__name__})"
        whats = [*_left_out(layer, record)]
        if whats == [""]:
            found.append(name)
        elif whats:
            found.append(f"{' and '.join(whats)} of {name}")
    variables = {id(v): v for v in model.trainable_variables}.values()
    for what in ("regularizer", "constraint"):
        found += [f"the {what} of {v.path}" for v in variables if getattr(v, what, None)]
    found += [
        f"the activity regularizer of layer {getattr(layer, 'path', None) or layer.name}"
        for layer in model._flatten_layers()
        if getattr(layer, "activity_regularizer", None) is not None
        and not isinstance(layer, keras.layers.ActivityRegularization)
    ]
    return list(dict.fromkeys(found))


def _left_out(layer: Any, record: Record) -> Iterator[str]:
    """What of a layer is left out; "" for all that it does in training."""
    import keras

    L = keras.layers
    is_whole = type(layer).__module__.startswith(
        ("keras.src.layers.regularization.", "keras.src.layers.preprocessing.")
    )
    handled = (L.Dropout, L.BatchNormalization, L.RNN, L.StackedRNNCells)
    if isinstance(layer, L.BatchNormalization):
        if getattr(layer, "renorm", False):
            yield "the renormalization"
        if layer.trainable and id(layer) in record.masked:
            yield "the mask"
    elif isinstance(layer, L.ActivityRegularization):
        yield ""
    elif isinstance(layer, handled):
        return
    elif is_whole and layer._call_has_training_arg:
        yield ""
    elif isinstance(layer, L.SpectralNormalization):
        yield "the normalization"
    else:
        if _rate(layer, "dropout") and id(layer) not in record.dropped and not _holds(layer):
            yield "dropout"
        if _rate(layer, "recurrent_dropout"):
            yield "recurrent_dropout"
        is_own = not type(layer).__module__.startswith("keras.")
        if is_own and not layer._layers and layer._call_has_training_arg:
            yield ""


def _rate(layer: Any, name: str) -> bool:
    rate = getattr(layer, name, None)
    return isinstance(rate, (int, float)) and 0 < rate < 1


def _holds(layer: Any) -> bool:
    """Whether the layer's dropout is a layer of its own inside of it."""
    import keras

    return any(isinstance(inner, keras.layers.Dropout) for inner in layer._layers)
