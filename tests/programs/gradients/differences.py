"""Whether gradients are the slopes of what a file computes, by finite differences in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxwalk
from onnxwalk.interpreter.weights import trainable_weights

_STEP = 1e-6
_TOLERANCE = 1e-6
#: directions that are tried for each array
_DIRECTIONS = 4


class Slopes:
    """The slopes of the outputs of a float64 file, times ``seeds``, by its inputs and variables."""

    def __init__(self, proto: Any, feeds: Mapping[str, NDArray[Any]], seeds: Sequence[Any]) -> None:
        self._proto, self._feeds, self._seeds = proto, feeds, seeds

    def agree_with(self, gradients: Mapping[str, NDArray[Any]]) -> bool:
        """Whether these gradients are those of finite differences along random directions."""
        rng = np.random.default_rng(2)
        largest = (np.abs(g).max(initial=0) for g in gradients.values())
        scale = float(max(largest, default=0)) or 1.0
        for name, gradient in gradients.items():
            size = scale * max(1.0, np.sqrt(gradient.size))
            for _ in range(_DIRECTIONS):
                direction = rng.normal(size=gradient.shape)
                up, down = (self._total(name, s * _STEP * direction) for s in (1, -1))
                slope, expected = (up - down) / (2 * _STEP), (gradient * direction).sum()
                if not abs(slope - expected) <= _TOLERANCE * size:  # also if one is NaN
                    return False
        return True

    def _total(self, name: str, change: NDArray[Any]) -> float:
        """The sum of outputs times seeds, with an input or a variable changed."""
        proto, feeds = self._proto, self._feeds
        if name in feeds:
            feeds = {**feeds, name: feeds[name] + change}
        else:
            proto = _with_weight(proto, name, change)
        pairs = zip(onnxwalk.load(proto).run(None, feeds), self._seeds, strict=True)
        return float(sum((y * s).sum() for y, s in pairs if s is not None))


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
