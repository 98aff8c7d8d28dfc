"""A Keras model as one side: the outputs of its layers, recorded as they are called."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.interpreter.analysis.compare.metrics import is_text
from onnxwalk.interpreter.analysis.compare.sides import Feeds, chunks, name_errors, release_each
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo, TensorType
from onnxwalk.interpreter.optional import require, silence_output
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES

_Shape = tuple[int | None, ...]


class LayerOutput(NamedTuple):
    """An output of a layer: ``name`` is "outer/layer", with "#1" and so on after the first one, or
    "output 0" and so on for an output of the model. ``returned_as``: the output of the model that
    is this tensor, "" if none is."""

    name: str
    layer: str
    shape: _Shape
    has_weights: bool
    returned_as: str


class KerasModel:
    """A Keras model. It is run for as many values at a time as fit in ``memory`` bytes, with
    ``predict``, so that the backend releases the others."""

    def __init__(self, model: Any, label: str, memory: int) -> None:
        """Raises InvalidInputError if the inputs are unknown."""
        self._keras = require("keras")
        self.model, self.label, self._memory = model, label, memory
        if not self.model.inputs:
            raise InvalidInputError(f"{label}: the shapes of the model's inputs are unknown")
        self.inputs = [_tensor_info(tensor) for tensor in self.model.inputs]
        self.overridable_initializers: list[TensorInfo] = []
        self._open: dict[tuple[str, ...], Any] = {}
        self._outputs: list[LayerOutput] | None = None
        self._layers: dict[str, Any] = {}
        self._returned: dict[str, str] = {}

    @classmethod
    def load(cls, path: str, memory: int, threads: int | None = None) -> KerasModel:
        """``threads``: those of TensorFlow, if it isn't imported yet.

        Raises InvalidInputError if the file isn't a model, or Keras isn't installed.
        """
        if not os.path.exists(path):
            raise InvalidInputError(f"{path}: no such file")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if threads:
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
            os.environ["TF_NUM_INTEROP_THREADS"] = "1"
        with silence_output():
            keras = require("keras")
        with name_errors(path), silence_output():
            model = keras.saving.load_model(path, compile=False)
        return cls(model, path, memory)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, in order."""
        return [tensor.name for tensor in self.model.inputs]

    @property
    def layers(self) -> dict[str, Any]:
        """The layer of each of ``layer_outputs``, except the outputs of the model."""
        return {name: layer for name, layer in self._layers.items() if layer is not None}

    def names(self, feeds: Feeds) -> list[str]:
        return [tensor.name for tensor in self.layer_outputs(feeds)]

    def layer_outputs(self, feeds: Feeds) -> list[LayerOutput]:
        """The outputs of the layers in the order of their calls, then those of the model. Shapes
        are those for these feeds, as far as they are known without running the model."""
        if self._outputs is None:
            for tensor in self.model.inputs:
                if tensor.dtype == "string" and not is_text(np.asarray(feeds[tensor.name])):
                    raise InvalidInputError(
                        f"{self.label}: input {tensor.name} accepts text, but the other side "
                        "numbers; save the model without its TextVectorization layer"
                    )
            symbolic = [
                self._keras.KerasTensor(np.shape(feeds[i.name]), dtype=i.dtype, name=i.name)
                for i in self.model.inputs
            ]
            with name_errors(self.label), silence_output():
                outputs = self._keras.src.backend.compute_output_spec(
                    lambda *tensors: self._record(
                        dict(zip(self.input_names, tensors, strict=True)), None
                    ),
                    *symbolic,
                )
            self._outputs = [
                LayerOutput(
                    name,
                    name.partition("#")[0],
                    tuple(tensor.shape),
                    bool(getattr(self._layers[name], "weights", ())),
                    self._returned.get(name, ""),
                )
                for name, tensor in outputs.items()
            ]
        return self._outputs

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        outputs = self.layer_outputs(feeds)
        # Estimates: 1 for open dimensions, four bytes per element.
        sizes = {t.name: 4 * math.prod(d or 1 for d in t.shape) for t in outputs}
        requested = [tensor.name for tensor in outputs if tensor.name in names]
        for part in chunks(requested, sizes, self._memory):
            with name_errors(self.label):
                values = self._run(part, feeds)
            yield from release_each(part, [values.pop(name) for name in part])

    def _run(self, names: list[str], feeds: Feeds) -> dict[str, Any]:
        model = self._open.get(tuple(names)) or self._build_model(names)
        self._open = {tuple(names): model}
        x = {name: np.asarray(feeds[name]) for name in self.input_names}
        batch = max((len(value) for value in x.values() if value.ndim), default=1)
        with silence_output():
            # In one batch: Keras would concatenate values without a batch axis, too.
            values: dict[str, Any] = model.predict(x, batch_size=max(batch, 1), verbose=0)
        return {names[int(key)]: value for key, value in values.items()}

    def _build_model(self, names: list[str]) -> Any:
        """A model whose outputs are these values, by their indices."""
        side = self

        class Recorder(self._keras.Model):  # type: ignore[misc, name-defined]
            def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
                values = side._record(inputs, set(names))
                return {str(i): values[name] for i, name in enumerate(names)}

        return Recorder()

    def _record(self, inputs: Mapping[str, Any], names: Collection[str] | None) -> dict[str, Any]:
        """Call the model and return the tensors of these names, or all of them."""
        tensors: dict[str, Any] = {}
        self._layers = {}
        calls: dict[str, int] = {}

        def add(path: str, layer: Any, result: Any) -> None:
            for tensor in self._keras.tree.flatten(result):
                if not hasattr(tensor, "shape"):
                    continue
                number = calls[path] = calls.get(path, -1) + 1
                name = f"{path}#{number}" if number else path
                if names is None or name in names:
                    tensors[name] = tensor
                    self._layers[name] = layer

        values = [inputs[name] for name in self.input_names]
        structure = self._keras.tree.pack_sequence_as(self._structure, values)
        with self._watch(add):
            result = self.model(structure, training=False)
        for number, tensor in enumerate(self._keras.tree.flatten(result)):
            name = f"output {number}"
            if names is None or name in names:
                if names is None:
                    same = [other for other, each in tensors.items() if each is tensor]
                    self._returned.update(dict.fromkeys(same, name))
                tensors[name] = tensor
                self._layers[name] = None
        return tensors

    @property
    def _structure(self) -> Any:
        """The inputs as the model expects them: a tensor, a list, or a dict."""
        inner = getattr(self.model, "_functional", None) or self.model
        structure = getattr(inner, "_inputs_struct", None)
        inputs = self.model.inputs
        if structure is not None:
            return structure
        return inputs[0] if len(inputs) == 1 else list(inputs)

    @contextlib.contextmanager
    def _watch(self, add: Any) -> Iterator[None]:
        """Call ``add`` with the path and result of each call of a layer in this context, except
        those in the time steps of RNN and TimeDistributed."""
        layers = self._keras.layers
        loops = (layers.RNN, layers.TimeDistributed)
        original = layers.Layer.__call__
        outer: list[Any] = []

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            outer.append(layer)
            try:
                result = original(layer, *args, **kwargs)
            finally:
                outer.pop()
            if outer and not any(isinstance(each, loops) for each in outer):
                add("/".join(each.name for each in [*outer[1:], layer]), layer, result)
            return result

        layers.Layer.__call__ = call
        try:
            yield
        finally:
            layers.Layer.__call__ = original


def _tensor_info(tensor: Any) -> TensorInfo:
    """An input as an ONNX file would declare it."""
    dtype = {"string": "object"}.get(str(tensor.dtype), str(tensor.dtype))
    codes = [code for code, element in ELEMENT_TYPES.items() if element.numpy == dtype]
    kind = TensorType(codes[0] if codes else 0, tuple(tensor.shape))
    return TensorInfo(tensor.name, None, kind.shape, kind)
