"""What is trained: initializers, or parts of them, without those that are frozen."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.interpreter.compiler.context import names_used
from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.ir.model import Graph, Model, Tensor
from onnxwalk.interpreter.weights import Weight, read_weights, trainable_weights

_MOST_SHOWN = 5


@dataclass(frozen=True)
class Piece:
    """An initializer of which ``parts`` are trained: slices, or () for all of it."""

    initializer: str
    parts: tuple[tuple[slice, ...], ...] = ((),)

    def of(self, array: np.ndarray) -> list[np.ndarray]:
        """The parts of the initializer, or of its gradient, as views."""
        places: list[Any] = [(*part, ...) for part in self.parts]  # of scalars views, too
        return [array[place] for place in places]


def find_pieces(model: Model, graph: Graph, loss: str, frozen: Sequence[str]) -> tuple[Piece, ...]:
    """What is to be trained of the weights that a loss depends on.

    ``frozen``: patterns of the names of weights or of the layers around them, which aren't.
    Where the loss doesn't depend on a weight there is a warning.

    Raises InvalidInputError for a pattern that fits nothing, and if nothing is left.
    """
    weights = [w for w in trainable_weights(model) if w.initializer in graph.initializers]
    if not weights:
        raise InvalidInputError(
            f"{model.source}: the graph has nothing to train: no "
            "floating-point initializer is the weight of an operator (values of Constant nodes and "
            "quantized weights aren't trained)"
        )
    kept = [w for w in weights if not _is_frozen(w, frozen)]
    _check_patterns(model, frozen)
    if not kept:
        raise InvalidInputError(
            f"{model.source}: nothing to train: all {len(weights)} weights are frozen"
        )
    used = reached(graph, loss)
    unused = [w.name for w in kept if w.initializer not in used]
    if len(unused) == len(kept):
        raise InvalidInputError(
            f"{model.source}: nothing to train: the loss depends on none of the weights"
        )
    if unused:
        listed = ", ".join(unused[:_MOST_SHOWN]) + ", …" * (len(unused) > _MOST_SHOWN)
        warnings.warn(f"the loss doesn't depend on {listed}: not trained", stacklevel=4)
    return tuple(_join(w for w in kept if w.initializer in used))


def frozen_names(model: Model, frozen: Sequence[str]) -> set[str]:
    """The initializers whose names, or those of their variables, fit a pattern."""
    found = {n for n in model.graph.initializers if any(matches(n, p) for p in frozen)}
    for weight in read_weights(model) or ():
        if any(matches(weight.name, pattern) for pattern in frozen):
            found.add(weight.initializer)
    return found


def reached(graph: Graph, loss: str) -> set[str]:
    """The values that one depends on."""
    found = {loss}
    for node in reversed(graph.nodes):
        if not found.isdisjoint(node.outputs):
            found |= names_used(node)
    return found


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern fits a name or whole parts of it, as "dense*" and "dense_1/bias" do
    "model/dense_1/bias". (Parts end at "/", or at "." as in the names of PyTorch.)"""
    edges = [i for i, c in enumerate(name) if c in "/."]
    return any(
        fnmatch.fnmatchcase(name[start:end], pattern)
        for start in (0, *(edge + 1 for edge in edges))
        for end in (*edges, len(name))
        if start < end
    )


def _names(weight: Weight) -> tuple[str, ...]:
    return tuple(dict.fromkeys((weight.name, weight.initializer)))


def _is_frozen(weight: Weight, frozen: Sequence[str]) -> bool:
    return any(matches(name, pattern) for name in _names(weight) for pattern in frozen)


def _check_patterns(model: Model, frozen: Sequence[str]) -> None:
    names = [w.name for w in read_weights(model) or ()] + list(model.graph.initializers)
    for pattern in frozen:
        if not any(matches(name, pattern) for name in names):
            hint = suggest(pattern, [w.name for w in trainable_weights(model)])
            raise InvalidInputError(f"frozen: no weight is named {pattern!r}{hint}")


def _join(weights: Iterable[Weight]) -> list[Piece]:
    """One piece for each initializer."""
    parts: dict[str, dict[str, tuple[slice, ...]]] = {}
    for weight in weights:
        parts.setdefault(weight.initializer, {})[repr(weight.part)] = weight.part
    return [
        Piece(name, ((),) if () in found.values() else tuple(found.values()))
        for name, found in parts.items()
    ]


def check_weights(graph: Graph, pieces: Sequence[Piece]) -> None:
    """Raise InvalidInputError for a weight that holds NaN or infinities."""
    for piece in pieces:
        tensor = graph.initializers[piece.initializer]
        if not isinstance(tensor, Tensor):
            raise InvalidInputError(f"weight '{piece.initializer}' is sparse: it can't be trained")
        if not np.isfinite(tensor.array).all():
            raise InvalidInputError(f"weight '{piece.initializer}' holds NaN or infinities already")
