"""The exporter's record of a file that can be trained: one entry for each variable of Keras.

It is JSON in the file's metadata, under ``WEIGHTS_KEY``::

    {"weights": [{"name": "lstm/lstm_cell/kernel", "shape": [8, 16], "initializer": "lstm/W",
                  "layout": [["blocks", 1, [0, 3, 1, 2]], ["transpose", [1, 0]],
                             ["reshape", [1, 16, 8]]],
                  "part": [[0, 1], [0, 16], [0, 8]], "gates": "iofc", "trainable": true}, …],
     "training": [{"node": "model/drop/Dropout", "operator": "Dropout", …}, …],
     "left_out": ["layer noise (GaussianNoise)", …]}

``layout`` is that of ``interpreter.weights.layout``. ``part``: where the variable lies in the
initializer, a start and an end for each axis; without it, it is all of it. ``initializer`` is null
for variables that inference doesn't read. ``statistic``: a moving mean or variance, which training
sets without a gradient. ``training`` says what a node needs to act as in training: an input or an
attribute ``training_mode``, the variables that further outputs are the new values of, the seed of
the first of its masks. ``left_out``: what Keras does in training and no node does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidModelError
from onnxwalk.interpreter.ir.model import Model, Tensor
from onnxwalk.interpreter.weights.layout import Layout, arrange, restore, shape_after

#: the key in a file's metadata
WEIGHTS_KEY = "onnxwalk.weights"


@dataclass(frozen=True)
class Weight:
    """A variable and where it is in the file; without a record, an initializer or a part of one.

    ``name``: the variable's path in Keras, or the initializer's name. ``shape``: the variable's.
    ``initializer``: "" if the file has none for it. ``part``: where in the initializer the weight
    lies, a slice for each axis; () for all of it. ``gates``: the order of the gates in the file.
    """

    name: str
    initializer: str
    shape: tuple[int, ...]
    layout: Layout = ()
    part: tuple[slice, ...] = ()
    gates: str = ""
    trainable: bool = True
    statistic: bool = False

    def read(self, initializer: np.ndarray) -> np.ndarray:
        """The variable's values, of its shape, out of the initializer's."""
        return restore(initializer[self.part], self.layout, self.shape)

    def write(self, initializer: np.ndarray, values: np.ndarray) -> None:
        """Set the variable's values in the array of the initializer."""
        initializer[self.part] = arrange(values, self.layout)

    def entry(self) -> dict[str, Any]:
        """The weight in the record."""
        found: dict[str, Any] = {
            "name": self.name,
            "shape": list(self.shape),
            "initializer": self.initializer or None,
            "layout": [list(step) for step in self.layout],
            "part": [[s.start, s.stop] for s in self.part],
            "gates": self.gates,
            "trainable": self.trainable,
            "statistic": self.statistic,
        }
        always = ("name", "shape", "initializer", "trainable")
        return {key: value for key, value in found.items() if key in always or value}


def write_record(
    weights: Sequence[Weight], training: Sequence[Mapping[str, Any]], left_out: Sequence[str]
) -> str:
    """The text of the record."""
    return json.dumps(
        {
            "weights": [weight.entry() for weight in weights],
            "training": list(training),
            "left_out": list(left_out),
        }
    )


def read_weights(model: Model) -> tuple[Weight, ...] | None:
    """Every variable in a file's record; None if it has no record.

    Raises InvalidModelError for a record that doesn't fit the file.
    """
    text = model.metadata.get(WEIGHTS_KEY)
    if text is None:
        return None
    try:
        entries = json.loads(text)["weights"]
        weights = tuple(map(_weight, entries))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(model, error) from None
    for weight in weights:
        if weight.initializer:
            _check(weight, model)
    return weights


def read_training_nodes(model: Model) -> frozenset[str] | None:
    """The names of the nodes that act otherwise in training; ``None`` if the file has no record.

    Raises InvalidModelError for a record that can't be read.
    """
    text = model.metadata.get(WEIGHTS_KEY)
    if text is None:
        return None
    try:
        return frozenset(str(entry["node"]) for entry in json.loads(text).get("training", ()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(model, error) from None


def _unreadable(model: Model, error: Exception) -> InvalidModelError:
    return InvalidModelError(
        f"{model.source}: the record of weights ({WEIGHTS_KEY} in the metadata) can't be "
        f"read: {type(error).__name__}: {error}"
    )


def _weight(entry: Mapping[str, Any]) -> Weight:
    return Weight(
        name=str(entry["name"]),
        initializer=str(entry["initializer"] or ""),
        shape=tuple(map(int, entry["shape"])),
        layout=tuple(map(_step, entry.get("layout", ()))),
        part=tuple(slice(int(start), int(stop)) for start, stop in entry.get("part", ())),
        gates=str(entry.get("gates", "")),
        trainable=bool(entry["trainable"]),
        statistic=bool(entry.get("statistic", False)),
    )


def _step(step: Any) -> tuple[Any, ...]:
    kind, *numbers = step
    return (kind, *(tuple(map(int, n)) if isinstance(n, list) else int(n) for n in numbers))


def _check(weight: Weight, model: Model) -> None:
    """Raise InvalidModelError unless the weight's values have their place in the initializer."""
    tensor = model.graph.initializers.get(weight.initializer)
    where = f"{model.source}: weight '{weight.name}' of the record"
    if not isinstance(tensor, Tensor):
        raise InvalidModelError(f"{where}: the file has no initializer '{weight.initializer}'")
    try:
        shape = weight.shape
        for step in weight.layout:
            shape = shape_after(shape, step)
    except ValueError as error:
        raise InvalidModelError(f"{where}: {error}") from None
    place = tensor.array[weight.part].shape if len(weight.part) <= len(tensor.shape) else None
    if place != shape:
        raise InvalidModelError(
            f"{where}: initializer '{weight.initializer}' has shape {tensor.shape}, of which "
            f"{place} is the weight's, not {shape}"
        )
