"""Whether gradients are the slopes of what a file computes, by finite differences in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxwalk
from onnxwalk.interpreter.weights import trainable_weights

#: the first has less rounding, the second crosses fewer kinks: one of them is to agree
_STEPS = (1e-6, 1e-8)
_TOLERANCE = 1e-6
#: directions that are tried for each array
_DIRECTIONS = 4


class Slopes:
    """The slopes of the outputs of a file, times ``seeds``, by its inputs and variables; a file of
    float32 is computed in float64."""

    def __init__(self, proto: Any, feeds: Mapping[str, NDArray[Any]], seeds: Sequence[Any]) -> None:
        self._proto, self._seeds = _in_float64(proto), seeds
        single = {name: x for name, x in feeds.items() if x.dtype == np.float32}
        self._feeds = {**feeds, **{name: x.astype(np.float64) for name, x in single.items()}}

    def agree_with(self, gradients: Mapping[str, NDArray[Any]]) -> bool:
        """Whether these gradients are those of finite differences along random directions."""
        rng = np.random.default_rng(2)
        largest = (np.abs(g).max(initial=0) for g in gradients.values())
        scale = float(max(largest, default=0)) or 1.0
        for name, gradient in gradients.items():
            size = scale * max(1.0, np.sqrt(gradient.size))
            for _ in range(_DIRECTIONS):
                direction = rng.normal(size=gradient.shape)
                expected = (gradient * direction).sum()
                slopes = (self._slope(name, direction, step) for step in _STEPS)
                if not any(abs(s - expected) <= _TOLERANCE * size for s in slopes):
                    return False  # also if one is NaN
        return True

    def _slope(self, name: str, direction: NDArray[Any], step: float) -> float:
        up, down = (self._total(name, sign * step * direction) for sign in (1, -1))
        return (up - down) / (2 * step)

    def _total(self, name: str, change: NDArray[Any]) -> float:
        """The sum of outputs times seeds, with an input or a variable changed."""
        proto, feeds = self._proto, self._feeds
        if name in feeds:
            feeds = {**feeds, name: feeds[name] + change}
        else:
            proto = _with_weight(proto, name, change)
        pairs = zip(onnxwalk.load(proto).run(None, feeds), self._seeds, strict=True)
        return float(sum((y * s).sum() for y, s in pairs if s is not None))


def _in_float64(proto: Any) -> Any:
    """A copy of the model in which inputs, weights, constants and casts of float32 are float64."""
    from onnx import ModelProto, TensorProto, numpy_helper

    copy = ModelProto()
    copy.CopyFrom(proto)
    constants = [a.t for n in copy.graph.node for a in n.attribute if a.HasField("t")]
    for tensor in (*copy.graph.initializer, *constants):
        if tensor.data_type == TensorProto.FLOAT:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    casts = [a for n in copy.graph.node if n.op_type == "Cast" for a in n.attribute]
    for attribute in casts:
        if attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.DOUBLE
    for value in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return copy


def _with_weight(proto: Any, name: str, change: NDArray[Any]) -> Any:
    """A copy of the model with a variable changed."""
    from onnx import ModelProto, numpy_helper

    (weight,) = (w for w in trainable_weights(onnxwalk.load(proto)) if w.name == name)
    copy = ModelProto()
    copy.CopyFrom(proto)
    (tensor,) = (t for t in copy.graph.initializer if t.name == weight.initializer)
    array = numpy_helper.to_array(tensor).copy()
    weight.write(array, weight.read(array) + change)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return copy
