"""Cells and layers as users write them, for the cases of recurrent layers."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("onnxwalk_cases")
class OwnCell(keras.layers.Layer):
    """h' = tanh(x·k + h·r) · sigmoid(h), with two states, one of which is a counter."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.state_size, self.output_size = units, [units, 1], units

    def build(self, shape: Any) -> None:
        self.k = self.add_weight(shape=(shape[-1], self.units), name="k")
        self.r = self.add_weight(shape=(self.units, self.units), name="r")

    def call(self, x: Any, states: Any, training: bool = False) -> Any:
        h, n = states
        h = keras.ops.tanh(x @ self.k + h @ self.r) * keras.ops.sigmoid(h)
        return h + n, [h, n + 0.25]

    def get_initial_state(self, batch_size: Any = None) -> Any:
        zeros = keras.ops.zeros
        return [zeros((batch_size, self.units)) + 0.5, zeros((batch_size, 1))]


class Tuned(keras.layers.LSTMCell):
    """A subclass of Keras's LSTMCell that computes something else: it is not an LSTM node."""

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        h, states = super().call(inputs, states, training=training)
        return 2 * h, states


@keras.saving.register_keras_serializable("onnxwalk_cases")
class Doubled(keras.layers.LSTM):
    """An LSTM with doubled outputs, which a node of two directions would lose."""

    def inner_loop(self, *args: Any, **kwargs: Any) -> Any:
        last, outputs, states = super().inner_loop(*args, **kwargs)
        return 2 * last, 2 * outputs, states
