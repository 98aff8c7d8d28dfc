"""Recurrent layers leave a marker in the traced graph instead of a loop.

While ``marked_recurrence`` is active, ``inner_loop`` of RNN, LSTM and GRU, and the call of
Bidirectional, write one ``PyFunc`` operation with a token. The converter looks the token up and
writes one ONNX node (see ``recurrent_nodes``). Because ``inner_loop`` is replaced and not
``call``, initial states, ``return_state``, ``stateful`` and wrappers keep working as in Keras.
What has no ONNX form (another cell, another activation) runs as Keras wrote it and becomes a Loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOKEN = "onnxwalk-recurrent-"

#: ONNX activation -> (alpha, beta), only for those that take them
Activation = tuple[str, float | None, float | None]


@dataclass(frozen=True)
class Cell:
    """One cell in ONNX's terms.

    w (gates*units, features), r (gates*units, units), b (2*gates*units,) of the compute dtype.
    """

    kind: str  # "RNN", "LSTM" or "GRU"
    units: int
    activations: tuple[Activation, ...]
    linear_before_reset: bool
    variables: tuple[Any, Any, Any]  # kernel, recurrent kernel, bias or None

    def weights(self, dtype: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(w, r, b); outside of any trace, as it reads the variables."""
        kernel, recurrent, bias = (
            None if v is None else np.asarray(v.numpy()) for v in self.variables
        )
        gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[self.kind]
        rows = np.zeros((2, gates * self.units), dtype=kernel.dtype)
        if bias is not None:
            rows[: 1 if bias.ndim == 1 else 2] = bias
        arrays = kernel, recurrent, rows
        if self.kind == "LSTM":  # i, f, c, o -> i, o, f, c
            i, f, c, o = np.split(np.arange(4 * self.units), 4)
            order = np.concatenate([i, o, f, c])
            arrays = tuple(a[:, order] for a in arrays)
        w, r, b = (
            np.ascontiguousarray(a, dtype=dtype) for a in (arrays[0].T, arrays[1].T, arrays[2])
        )
        return w, r, b.reshape(-1)


@dataclass(frozen=True)
class Marker:
    """One ``PyFunc``: its inputs are (x, mask if masked, states …), its outputs (y, states …).

    x (batch, time, features); mask (batch, time); each state (batch, units), direction by
    direction; y (batch, time, directions*units) or (batch, directions*units).
    """

    name: str
    layers: tuple[tuple[Cell, ...], ...]  # layer by layer, the cell of each direction
    reverse: bool  # a single direction that starts at the end
    masked: bool
    zero_states: bool  # the initial states are zero, so they can be left out
    return_sequences: bool
    zero_output_for_mask: bool
    dtype: str

    @property
    def directions(self) -> int:
        return len(self.layers[0])


def marker_of(token: bytes | str, markers: Sequence[Marker]) -> Marker | None:
    """The marker that a PyFunc's token means, or ``None`` when the PyFunc isn't ours."""
    text = token.decode() if isinstance(token, bytes) else token
    return markers[int(text[len(_TOKEN) :])] if text.startswith(_TOKEN) else None


@contextmanager
def marked_recurrence() -> Iterator[list[Marker]]:
    """Recurrent layers called inside leave markers; yields the list that they are added to."""
    from keras import layers

    markers: list[Marker] = []
    replaced: list[tuple[type, str, Any]] = []

    def replace(owner: type, name: str, make: Any) -> None:
        original = owner.__dict__[name]
        replaced.append((owner, name, original))
        setattr(owner, name, make(original))

    def inner_loop(original: Any) -> Any:
        def marked(self, sequences, initial_state, mask, training=False):
            result = _single(self, sequences, initial_state, mask, markers)
            if result is not None:
                return result
            return original(self, sequences, initial_state, mask, training=training)

        return marked

    def call(original: Any) -> Any:
        def marked(self, sequences, initial_state=None, mask=None, training=None):
            result = _bidirectional(self, sequences, initial_state, mask, markers)
            if result is not None:
                return result
            return original(
                self, sequences, initial_state=initial_state, mask=mask, training=training
            )

        return marked

    try:
        for owner in (layers.RNN, layers.LSTM, layers.GRU):
            replace(owner, "inner_loop", inner_loop)
        replace(layers.Bidirectional, "call", call)
        yield markers
    finally:
        for owner, name, original in replaced:
            setattr(owner, name, original)


def keeps_states(layer: Any) -> bool:
    """Whether the layer, or one inside of it, is stateful."""
    return any(getattr(part, "stateful", False) for part in layer._flatten_layers())


def _single(
    layer: Any, sequences: Any, initial_state: Any, mask: Any, markers: list[Marker]
) -> Any:
    """(last output, outputs, states) of one RNN layer as ``inner_loop`` returns them, or None."""
    import keras
    import tensorflow as tf

    cells = _cells(layer.cell)
    if cells is None or not _plain(sequences) or not _of_steps(mask):
        return None
    states = keras.tree.flatten(initial_state)
    structure = initial_state if keras.tree.is_nested(initial_state) else [initial_state]
    y, new_states = _mark(
        Marker(
            name=_name(layer, markers),
            layers=tuple((cell,) for cell in cells),
            reverse=bool(layer.go_backwards),
            masked=mask is not None,
            zero_states=all(map(_is_zero, states)),
            return_sequences=bool(layer.return_sequences),
            zero_output_for_mask=bool(layer.zero_output_for_mask),
            dtype=sequences.dtype.name,
        ),
        sequences,
        mask,
        states,
        markers,
    )
    new_states = keras.tree.pack_sequence_as(structure, new_states)
    if layer.return_sequences:
        return y[:, -1], y, new_states
    return y, tf.expand_dims(y, 1), new_states


def _bidirectional(layer: Any, sequences: Any, initial_state: Any, mask: Any, markers: Any) -> Any:
    """What Bidirectional.call returns, from one node of two directions; None where it can't be."""
    import keras
    import tensorflow as tf

    pair = layer.forward_layer, layer.backward_layer
    known = keras.layers.RNN, keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU
    # a user's subclass may do more than its cell says
    if not all(type(part) in known for part in pair) or not _plain(sequences):
        return None
    if not _of_steps(mask):
        return None
    forward, backward = (_cells(part.cell) for part in pair)
    if forward is None or backward is None or len(forward) != 1 or len(backward) != 1:
        return None
    f, b = forward[0], backward[0]
    zero_output = bool(pair[0].zero_output_for_mask)
    same = (
        (f.kind, f.units, f.linear_before_reset) == (b.kind, b.units, b.linear_before_reset)
        and (pair[0].go_backwards, pair[1].go_backwards) == (False, True)
        and zero_output == bool(pair[1].zero_output_for_mask) == bool(layer.return_sequences)
    )
    if not same:
        return None
    if initial_state is not None:
        states = keras.tree.flatten(initial_state)
    elif layer.stateful:
        states = keras.tree.flatten([part.states for part in pair])
    else:
        batch = tf.shape(sequences)[0]
        states = keras.tree.flatten([part.get_initial_state(batch) for part in pair])
    states = [keras.ops.convert_to_tensor(s, dtype=sequences.dtype.name) for s in states]
    y, new_states = _mark(
        Marker(
            name=_name(layer, markers),
            layers=((f, b),),
            reverse=False,
            masked=mask is not None,
            zero_states=all(map(_is_zero, states)),
            return_sequences=bool(layer.return_sequences),
            zero_output_for_mask=zero_output,
            dtype=sequences.dtype.name,
        ),
        sequences,
        mask,
        states,
        markers,
    )
    output: Any = y
    if layer.merge_mode != "concat":
        left, right = tf.split(y, 2, axis=-1)
        output = {
            "sum": lambda: left + right,
            "ave": lambda: (left + right) / 2,
            "mul": lambda: left * right,
            None: lambda: (left, right),
        }[layer.merge_mode]()
    if not layer.return_state:
        return output
    return (*(output if isinstance(output, tuple) else (output,)), *new_states)


def _name(layer: Any, markers: list[Marker]) -> str:
    """The layer's path, numbered when the layer is called again."""
    path = getattr(layer, "path", None) or layer.name
    again = sum(m.name == path or m.name.startswith(f"{path}_call") for m in markers)
    return f"{path}_call{again}" if again else path


def _mark(
    marker: Marker, sequences: Any, mask: Any, states: list[Any], markers: list[Marker]
) -> tuple[Any, list[Any]]:
    """Write the PyFunc; returns (y, states) with their static shapes."""
    import tensorflow as tf

    inputs = [sequences]
    if mask is not None:
        mask = tf.convert_to_tensor(mask)
        if len(mask.shape) == 3:
            mask = tf.squeeze(mask, -1)
        inputs.append(tf.cast(mask, tf.bool))
    inputs += states
    batch, time = sequences.shape[0], sequences.shape[1]
    width = marker.directions * marker.layers[-1][0].units
    shapes = [(batch, time, width) if marker.return_sequences else (batch, width)]
    shapes += [(batch, state.shape[-1]) for state in states]
    outputs = tf.raw_ops.PyFunc(
        input=inputs, token=f"{_TOKEN}{len(markers)}", Tout=[sequences.dtype] * len(shapes)
    )
    markers.append(marker)
    y, *new_states = (tf.ensure_shape(o, s) for o, s in zip(outputs, shapes, strict=True))
    return y, new_states


def _cells(cell: Any) -> tuple[Cell, ...] | None:
    """The cells of an RNN layer in ONNX's terms, innermost first; None if ONNX has no such cell."""
    from keras import layers

    parts = cell.cells if type(cell) is layers.StackedRNNCells else [cell]
    found = [_cell(part) for part in parts]
    return None if None in found else tuple(found)


def _cell(cell: Any) -> Cell | None:
    from keras import layers

    kinds = {layers.SimpleRNNCell: "RNN", layers.LSTMCell: "LSTM", layers.GRUCell: "GRU"}
    kind = kinds.get(type(cell))
    if kind is None:
        return None
    activation = _activation(cell.activation)
    gate = activation if kind == "RNN" else _activation(cell.recurrent_activation)
    if activation is None or gate is None:
        return None
    order = {
        "RNN": (activation,),
        "GRU": (gate, activation),
        "LSTM": (gate, activation, activation),
    }
    return Cell(
        kind,
        cell.units,
        order[kind],
        kind == "GRU" and bool(cell.reset_after),
        (cell.kernel, cell.recurrent_kernel, cell.bias if cell.use_bias else None),
    )


def _activation(function: Any) -> Activation | None:
    """The ONNX activation that equals a Keras one with its default arguments."""
    from keras import activations

    known: dict[Any, Activation] = {
        None: ("Affine", 1.0, 0.0),
        activations.linear: ("Affine", 1.0, 0.0),
        activations.tanh: ("Tanh", None, None),
        activations.sigmoid: ("Sigmoid", None, None),
        activations.relu: ("Relu", None, None),
        activations.hard_sigmoid: ("HardSigmoid", 1 / 6, 0.5),
        activations.elu: ("Elu", 1.0, None),
        activations.leaky_relu: ("LeakyRelu", 0.2, None),
        activations.softsign: ("Softsign", None, None),
        activations.softplus: ("Softplus", None, None),
    }
    try:
        return known.get(function)
    except TypeError:  # an unhashable callable
        return None


def _plain(sequences: Any) -> bool:
    """One 3-D tensor of a dtype that the ONNX operators take."""
    shape = getattr(sequences, "shape", None)
    return (
        shape is not None
        and len(shape) == 3
        and shape[-1] is not None
        and sequences.dtype.name in ("float32", "float64", "float16", "bfloat16")
    )


def _of_steps(mask: Any) -> bool:
    """No mask, or one that says of whole steps whether they count: (batch, time) or (…, 1)."""
    shape = None if mask is None else tuple(mask.shape)
    return shape is None or len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)


def _is_zero(tensor: Any) -> bool:
    """Whether a tensor of the graph is known to be zero, whatever its batch size."""
    import tensorflow as tf

    value = tf.get_static_value(tensor)
    if value is not None:
        return not np.any(value)
    operation = getattr(tensor, "op", None)
    if operation is None:
        return False
    if operation.type in ("Cast", "Identity", "BroadcastTo"):
        return _is_zero(operation.inputs[0])
    return operation.type == "ZerosLike" or (
        operation.type == "Fill" and _is_zero(operation.inputs[1])
    )
