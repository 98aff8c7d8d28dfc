"""Random weights for comparisons: initial ones are often all zeros or ones."""

from __future__ import annotations

from typing import Any

import numpy as np


def randomize(model: Any, seed: int = 0, scale: float = 1.0) -> Any:
    """Matrices keep the scale of the activations, biases are not zero; returns the model.

    Moving variances and the like, by name, stay positive.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if "variance" in variable.name or "gamma" in variable.name:
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) < 2 or variable.name == "bias":
            values = rng.normal(0, 0.2, shape)
        elif variable.name == "embeddings":
            values = rng.normal(0, 1, shape)
        else:
            values = rng.normal(0, scale * np.sqrt(1.5 / np.prod(shape[:-1])), shape)
        variable.assign(values.astype("float32"))
    return model


def randomize_as_trained(model: Any, seed: int = 0) -> None:
    """Set the weights of an image model to values as after training.

    Kernels keep the scale of the activations, and BatchNormalization has the statistics of the real
    ones: otherwise the output of a deep model is the same for every picture, and errors look like
    rounding.
    """
    import keras

    rng = np.random.default_rng(seed)
    norms = []
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Normalization):
            continue
        if isinstance(layer, keras.layers.BatchNormalization):
            norms.append((layer, layer.momentum))
            layer.momentum = 0.0
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            values = _as_trained(variable, rng)
            if values is not None:
                variable.assign(values.astype(variable.dtype))
    if norms:
        model(random_images(model, rng), training=True)
    for layer, momentum in norms:
        layer.momentum = momentum


def random_images(model: Any, rng: np.random.Generator) -> Any:
    """Two random pictures (2, height, width, channels) float32; 224 where the model is open."""
    shape = [224 if size is None else size for size in model.input_shape[1:]]
    return rng.uniform(0, 255, (2, *shape)).astype("float32")


def _as_trained(variable: Any, rng: np.random.Generator) -> Any:
    shape, name = tuple(variable.shape), variable.name
    if not str(variable.dtype).startswith(("float", "bfloat")) or "moving" in name:
        return None
    if "gamma" in name:
        return rng.uniform(0.5, 1.5, shape)
    if "kernel" not in name or len(shape) < 2:
        return rng.normal(0, 0.2, shape)
    depthwise = "depthwise" in variable.path and "pointwise" not in name
    incoming = np.prod(shape[:2]) if depthwise and len(shape) == 4 else np.prod(shape[:-1])
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / incoming))
