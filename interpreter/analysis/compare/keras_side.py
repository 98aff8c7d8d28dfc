"""A Keras model as one side: what its layers hand on, caught as they are called."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.interpreter.analysis.compare.sides import Feeds, chunks, explained, handed_out
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo, TensorType
from onnxwalk.interpreter.optional import require, silence_output
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES

_Shape = tuple[int | None, ...]


class Handed(NamedTuple):
    """A tensor that a layer hands on: ``name`` is "outer/layer", with "#1" and so on for others
    than its first; or "output 0" and so on for the model's own."""

    name: str
    layer: str
    shape: _Shape
    has_weights: bool


class KerasModel:
    """A Keras model. Inner values are had by running it for as many of them at a time as
    ``memory`` bytes hold, through ``predict``, so that the backend lets go of the others."""

    def __init__(self, path: str, memory: int) -> None:
        """Raises InvalidInputError for what is no model, or when Keras isn't installed."""
        if not os.path.exists(path):
            raise InvalidInputError(f"{path}: no such file")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with silence_output():
            self._keras = require("keras")
        self.label, self._memory = path, memory
        with explained(path), silence_output():
            self.model = self._keras.saving.load_model(path, compile=False)
        if not self.model.inputs:
            raise InvalidInputError(f"{path}: the model has no inputs of known shapes")
        self.inputs = [_info(tensor) for tensor in self.model.inputs]
        self.overridable_initializers: list[TensorInfo] = []
        self._open: dict[tuple[str, ...], Any] = {}
        self._handed: list[Handed] | None = None

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, in order."""
        return [tensor.name for tensor in self.model.inputs]

    @property
    def layers(self) -> dict[str, Any]:
        """The layer behind each tensor that ``handed`` tells of but the model's outputs."""
        return {name: layer for name, layer in self._layers.items() if layer is not None}

    def names(self, feeds: Feeds) -> list[str]:
        return [tensor.name for tensor in self.handed(feeds)]

    def handed(self, feeds: Feeds) -> list[Handed]:
        """What the layers hand on, in the order of their calls, then the model's outputs: shapes
        are those for these feeds, as far as they are known without computing."""
        if self._handed is None:
            for tensor in self.model.inputs:
                if (
                    tensor.dtype == "string"
                    and np.asarray(feeds[tensor.name]).dtype.kind not in "OUST"
                ):
                    raise InvalidInputError(
                        f"{self.label}: input {tensor.name} takes text, the other side numbers: "
                        "save the model from the ids on, without its TextVectorization"
                    )
            given = [
                self._keras.KerasTensor(np.shape(feeds[i.name]), dtype=i.dtype, name=i.name)
                for i in self.model.inputs
            ]
            with explained(self.label), silence_output():
                found = self._keras.src.backend.compute_output_spec(
                    lambda *tensors: self._all(
                        dict(zip(self.input_names, tensors, strict=True)), None
                    ),
                    *given,
                )
            self._handed = [
                Handed(
                    name,
                    name.partition("#")[0],
                    tuple(tensor.shape),
                    bool(getattr(self._layers[name], "weights", ())),
                )
                for name, tensor in found.items()
            ]
        return self._handed

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        handed = self.handed(feeds)
        # Whatever is open has the shape of one; four bytes an element.
        sizes = {t.name: 4 * math.prod(d or 1 for d in t.shape) for t in handed}
        wanted = [tensor.name for tensor in handed if tensor.name in names]
        for part in chunks(wanted, sizes, self._memory):
            with explained(self.label):
                found = self._run(part, feeds)
            yield from handed_out(part, [found.pop(name) for name in part])

    def _run(self, names: list[str], feeds: Feeds) -> dict[str, Any]:
        inner = self._open.get(tuple(names)) or self._inside(names)
        self._open = {tuple(names): inner}
        x = {name: np.asarray(feeds[name]) for name in self.input_names}
        batch = max((len(value) for value in x.values() if value.ndim), default=1)
        with silence_output():
            # In one batch, or Keras would put together what has no batch in it.
            found: dict[str, Any] = inner.predict(x, batch_size=max(batch, 1), verbose=0)
        return {names[int(key)]: value for key, value in found.items()}

    def _inside(self, names: list[str]) -> Any:
        """A model whose outputs are these values, under their numbers."""
        side = self

        class Inside(self._keras.Model):  # type: ignore[misc, name-defined]
            def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
                found = side._all(inputs, set(names))
                return {str(i): found[name] for i, name in enumerate(names)}

        return Inside()

    def _all(self, inputs: Mapping[str, Any], names: Collection[str] | None) -> dict[str, Any]:
        """Call the model and catch the tensors of these names, or all of them."""
        found: dict[str, Any] = {}
        self._layers: dict[str, Any] = {}
        calls: dict[str, int] = {}

        def catch(path: str, layer: Any, result: Any) -> None:
            for tensor in self._keras.tree.flatten(result):
                if not hasattr(tensor, "shape"):
                    continue
                number = calls[path] = calls.get(path, -1) + 1
                name = f"{path}#{number}" if number else path
                if names is None or name in names:
                    found[name] = tensor
                    self._layers[name] = layer

        given = [inputs[name] for name in self.input_names]
        structure = self._keras.tree.pack_sequence_as(self._structure, given)
        with self._watched(catch):
            result = self.model(structure, training=False)
        for number, tensor in enumerate(self._keras.tree.flatten(result)):
            name = f"output {number}"
            if names is None or name in names:
                found[name] = tensor
                self._layers[name] = None
        return found

    @property
    def _structure(self) -> Any:
        """The inputs as the model takes them: a tensor, a list, a dict."""
        inner = getattr(self.model, "_functional", None) or self.model
        structure = getattr(inner, "_inputs_struct", None)
        inputs = self.model.inputs
        if structure is not None:
            return structure
        return inputs[0] if len(inputs) == 1 else list(inputs)

    @contextlib.contextmanager
    def _watched(self, catch: Any) -> Iterator[None]:
        """Until its end every call of a layer within the model is told to ``catch``, with the names
        of the layers around it. What a layer calls step by step, in a loop of its own, is not."""
        layers = self._keras.layers
        loops = (layers.RNN, layers.TimeDistributed)
        original = layers.Layer.__call__
        around: list[Any] = []

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            around.append(layer)
            try:
                result = original(layer, *args, **kwargs)
            finally:
                around.pop()
            if around and not any(isinstance(outer, loops) for outer in around):
                path = "/".join(outer.name for outer in [*around[1:], layer])
                catch(path, layer, result)
            return result

        layers.Layer.__call__ = call
        try:
            yield
        finally:
            layers.Layer.__call__ = original


def _info(tensor: Any) -> TensorInfo:
    """An input as a file would declare it."""
    dtype = {"string": "object"}.get(str(tensor.dtype), str(tensor.dtype))
    codes = [code for code, element in ELEMENT_TYPES.items() if element.numpy == dtype]
    kind = TensorType(codes[0] if codes else 0, tuple(tensor.shape))
    return TensorInfo(tensor.name, None, kind.shape, kind)
