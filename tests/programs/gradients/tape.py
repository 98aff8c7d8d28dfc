"""The gradients of a Keras model, by TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.precision import run_in_float64
from onnxwalk.export.verify import call_keras, run_keras

Arrays = dict[str, NDArray[Any]]


class Model:
    """A Keras model on certain inputs.

    ``feeds``: by names, in the order of the model's inputs. ``seeds``: for each output random
    numbers that its gradient starts from; None if it isn't a float.
    """

    def __init__(self, model: Any, feeds: Arrays, *, with_variables: bool = True) -> None:
        self.feeds = feeds
        self._model = model
        self._variables = model.trainable_variables if with_variables else []
        self._keys = [*feeds, *(v.path for v in self._variables)]
        rng = np.random.default_rng(1)
        self.seeds = [
            np.asarray(rng.normal(size=y.shape)).astype(y.dtype.as_numpy_dtype)
            if y.dtype.is_floating
            else None
            for y in call_keras(model, self._tensors())
        ]

    def outputs(self) -> list[NDArray[Any]]:
        """What Keras computes."""
        return run_keras(self._model, list(self.feeds.values()))

    def gradients(self, seeds: Sequence[Any] | None = None) -> Arrays:
        """The gradients of inputs and trainable variables of the sum of outputs times ``seeds``
        (or others); what none flows to isn't there."""
        found = zip(self._keys, self._differentiate(self._tensors(), seeds), strict=True)
        return {key: gradient.numpy() for key, gradient in found if gradient is not None}

    def in_float64(self) -> Arrays | None:
        """The same of a float32 model, computed in float64; None if TensorFlow can't."""
        keys: list[str] = []

        def run(inputs: list[Any]) -> list[Any]:
            found = dict(zip(self._keys, self._differentiate(inputs), strict=True))
            keys[:] = [key for key, gradient in found.items() if gradient is not None]
            return [found[key] for key in keys]

        found = run_in_float64(run, list(self.feeds.values()))
        return None if found is None else dict(zip(keys, found, strict=True))

    def _tensors(self) -> list[Any]:
        import tensorflow as tf

        return [tf.constant(x) for x in self.feeds.values()]

    def _differentiate(self, inputs: list[Any], seeds: Sequence[Any] | None = None) -> list[Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch([x for x in inputs if x.dtype.is_floating])
            outputs = call_keras(self._model, inputs)
            pairs = zip(outputs, self.seeds if seeds is None else seeds, strict=True)
            products = [tf.reduce_sum(y * s) for y, s in pairs if s is not None]
        sources = [*inputs, *(v.value for v in self._variables)]
        found = tape.gradient(products, sources) if products else [None] * len(sources)
        return [None if g is None else tf.convert_to_tensor(g) for g in found]
