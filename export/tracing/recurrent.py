"""Recurrent layers leave a marker in the traced graph instead of a loop.

``inner_loop`` of RNN, LSTM and GRU, and the call of Bidirectional, are replaced by functions that
write one ``PyFunc`` operation; the converter writes one ONNX node in its place (see
``conversion.recurrent_nodes``). Because ``inner_loop`` is replaced and not ``call``, initial
states, ``return_state``, ``stateful`` and wrappers keep working as in Keras.
What has no ONNX form (another cell, another activation) runs as Keras wrote it and becomes a Loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.tracing import keras2
from onnxwalk.export.tracing.markers import add_marker
from onnxwalk.export.tracing.record import Record
from onnxwalk.export.tracing.training import drops_inputs_once, mark_dropout

#: (name of the ONNX activation, alpha, beta); None for activations without them
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

    @property
    def gates(self) -> int:
        return {"RNN": 1, "LSTM": 4, "GRU": 3}[self.kind]

    @property
    def gate_order(self) -> list[int]:
        """Keras's number of each of ONNX's gates: i, f, c, o -> i, o, f, c of an LSTM."""
        return [0, 3, 1, 2] if self.kind == "LSTM" else list(range(self.gates))

    @property
    def has_bias(self) -> bool:
        return self.variables[2] is not None

    def weights(self, dtype: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(w, r, b); call it outside of a trace, since it reads the variables."""
        kernel, recurrent = (np.asarray(v.numpy()) for v in self.variables[:2])
        rows = np.zeros((2, self.gates * self.units), dtype=kernel.dtype)
        if self.variables[2] is not None:
            bias = np.asarray(self.variables[2].numpy())
            rows[: 1 if bias.ndim == 1 else 2] = bias
        arrays = [kernel, recurrent, rows]
        places = np.arange(self.gates * self.units).reshape(self.gates, self.units)
        order = places[self.gate_order].reshape(-1)
        arrays = [a[:, order] for a in arrays]
        w, r, b = (
            np.ascontiguousarray(a, dtype=dtype) for a in (arrays[0].T, arrays[1].T, arrays[2])
        )
        return w, r, b.reshape(-1)


@dataclass(frozen=True)
class Recurrence:
    """The description of a marker: inputs (x, mask if masked, states …), outputs (y, states …).

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
    to_train: bool  # the weights keep the variables' dtype, and what is no variable is left out

    @property
    def directions(self) -> int:
        return len(self.layers[0])

    @property
    def variable_ids(self) -> list[int]:
        return _variable_ids(self.layers)


def _or_original(replacement: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement of a method; where it returns None, the original is called."""

    @functools.wraps(replacement)
    def call(original: Any, record: Record, layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = replacement(original, record, layer, *args, **kwargs)
        return original(layer, *args, **kwargs) if result is None else result

    return call


@_or_original
def inner_loop(
    original: Any,
    record: Record,
    layer: Any,
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: Any = False,
) -> Any:
    """``inner_loop`` of RNN, LSTM and GRU: (last output, outputs, states); None if ONNX has no such
    cell."""
    import keras
    import tensorflow as tf

    cells = _to_onnx_cells(layer.cell)
    if cells is None or not _is_float_sequence(sequences) or not _is_step_mask(mask):
        return None
    if record.trainable and len(cells) == 1 and drops_inputs_once(layer.cell):
        record.dropped.add(id(layer.cell))
        sequences = mark_dropout(
            record, sequences, layer.cell.dropout, layer.cell.seed, (None, 1, None)
        )
    states = keras.tree.flatten(initial_state)
    structure = initial_state if keras.tree.is_nested(initial_state) else [initial_state]
    zero_output = bool(layer.zero_output_for_mask)
    layers = tuple((cell,) for cell in cells)
    y, new_states = _add_recurrence(record, layer, layers, zero_output, sequences, mask, states)
    new_states = keras.tree.pack_sequence_as(structure, new_states)
    if layer.return_sequences:
        return y[:, -1], y, new_states
    return y, tf.expand_dims(y, 1), new_states


@_or_original
def bidirectional(
    original: Any,
    record: Record,
    layer: Any,
    sequences: Any,
    initial_state: Any = None,
    mask: Any = None,
    training: Any = None,
) -> Any:
    """``Bidirectional.call`` as one node of two directions; None where that isn't possible."""
    import keras
    import tensorflow as tf

    pair = layer.forward_layer, layer.backward_layer
    known = keras.layers.RNN, keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU
    # a user's subclass may compute more than its cell
    if not all(type(part) in known for part in pair):
        return None
    if not _is_float_sequence(sequences) or not _is_step_mask(mask):
        return None
    forward, backward = (_to_onnx_cells(part.cell) for part in pair)
    if forward is None or backward is None or len(forward) != 1 or len(backward) != 1:
        return None
    f, b = forward[0], backward[0]
    zero_output = bool(pair[0].zero_output_for_mask)
    is_one_node = (
        (f.kind, f.units, f.linear_before_reset) == (b.kind, b.units, b.linear_before_reset)
        and (pair[0].go_backwards, pair[1].go_backwards) == (False, True)
        and zero_output == bool(pair[1].zero_output_for_mask) == bool(layer.return_sequences)
    )
    if not is_one_node:
        return None
    if initial_state is not None:
        states = keras.tree.flatten(initial_state)
    elif layer.stateful:
        states = keras.tree.flatten([part.states for part in pair])
    else:
        batch = tf.shape(sequences)[0]
        states = keras.tree.flatten([part.get_initial_state(batch) for part in pair])
    states = [keras.ops.convert_to_tensor(s, dtype=sequences.dtype.name) for s in states]
    y, new_states = _add_recurrence(record, layer, ((f, b),), zero_output, sequences, mask, states)
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


def is_stateful(layer: Any) -> bool:
    """Whether the layer, or one inside of it, is stateful."""
    return any(getattr(part, "stateful", False) for part in layer._flatten_layers())


def _name(layer: Any, layers: tuple[tuple[Cell, ...], ...], dtype: str, markers: list[Any]) -> str:
    """The layer's path, which is that of the weights; that of an earlier call with the same weights
    if there was one, numbered if others have it."""
    known = [m for m in markers if isinstance(m, Recurrence)]
    for marker in known:
        if marker.dtype == dtype and marker.variable_ids == _variable_ids(layers):
            return marker.name
    path = getattr(layer, "path", None) or layer.name
    names = {m.name for m in known}
    again = sum(name == path or name.startswith(f"{path}_call") for name in names)
    return f"{path}_call{again}" if again else path


def _variable_ids(layers: tuple[tuple[Cell, ...], ...]) -> list[int]:
    return [id(v) for cells in layers for cell in cells for v in cell.variables]


def _add_recurrence(
    record: Record,
    layer: Any,
    layers: tuple[tuple[Cell, ...], ...],
    zero_output: bool,
    sequences: Any,
    mask: Any,
    states: list[Any],
) -> tuple[Any, list[Any]]:
    """Add the marker; returns (y, states) with their static shapes."""
    import tensorflow as tf

    recurrence = Recurrence(
        name=_name(layer, layers, sequences.dtype.name, record.markers),
        layers=layers,
        reverse=len(layers[0]) == 1 and bool(layer.go_backwards),
        masked=mask is not None,
        zero_states=all(map(_is_zero, states)),
        return_sequences=bool(layer.return_sequences),
        zero_output_for_mask=zero_output,
        dtype=sequences.dtype.name,
        to_train=record.trainable,
    )
    inputs = [sequences]
    if mask is not None:
        mask = tf.convert_to_tensor(mask)
        if len(mask.shape) == 3:
            mask = tf.squeeze(mask, -1)
        inputs.append(tf.cast(mask, tf.bool))
    inputs += states
    batch, time = sequences.shape[0], sequences.shape[1]
    width = recurrence.directions * recurrence.layers[-1][0].units
    shapes = [(batch, time, width) if recurrence.return_sequences else (batch, width)]
    shapes += [(batch, state.shape[-1]) for state in states]
    y, *new_states = add_marker(record.markers, recurrence, inputs, sequences.dtype, *shapes)
    return y, new_states


def _to_onnx_cells(cell: Any) -> tuple[Cell, ...] | None:
    """The cells of an RNN layer in ONNX's terms, innermost first; None if ONNX has no such cell."""
    from keras import layers

    parts = cell.cells if type(cell) is layers.StackedRNNCells else [cell]
    found = tuple(known for part in parts if (known := _to_onnx_cell(part)))
    return found if len(found) == len(parts) else None


def _to_onnx_cell(cell: Any) -> Cell | None:
    from keras import layers

    kinds = {layers.SimpleRNNCell: "RNN", layers.LSTMCell: "LSTM", layers.GRUCell: "GRU"}
    kind = kinds.get(type(cell))
    if kind is None:
        return None
    activation = _to_onnx_activation(cell.activation)
    gate = activation if kind == "RNN" else _to_onnx_activation(cell.recurrent_activation)
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


def _to_onnx_activation(function: Any) -> Activation | None:
    """The ONNX activation that equals a Keras one with its default arguments."""
    from keras import activations

    known: dict[Any, Activation] = {
        None: ("Affine", 1.0, 0.0),
        activations.linear: ("Affine", 1.0, 0.0),
        activations.tanh: ("Tanh", None, None),
        activations.sigmoid: ("Sigmoid", None, None),
        activations.relu: ("Relu", None, None),
        activations.hard_sigmoid: ("HardSigmoid", 1 / 6, 0.5),
        keras2.hard_sigmoid: ("HardSigmoid", 0.2, 0.5),
        activations.elu: ("Elu", 1.0, None),
        activations.leaky_relu: ("LeakyRelu", 0.2, None),
        activations.softsign: ("Softsign", None, None),
        activations.softplus: ("Softplus", None, None),
    }
    try:
        return known.get(function)
    except TypeError:  # an unhashable callable
        return None


def _is_float_sequence(sequences: Any) -> bool:
    """Whether this is one 3-D tensor of a dtype that the ONNX operators accept."""
    shape = getattr(sequences, "shape", None)
    return (
        shape is not None
        and len(shape) == 3
        and shape[-1] is not None
        and sequences.dtype.name in ("float32", "float64", "float16", "bfloat16")
    )


def _is_step_mask(mask: Any) -> bool:
    """Whether there is no mask, or one of complete steps: (batch, time) or (batch, time, 1)."""
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
