"""A model as it is trained: its weights as arrays that change, and the plans that read them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from onnxwalk.interpreter.compiler.gradients.differentiate import differentiate
from onnxwalk.interpreter.compiler.program import Program
from onnxwalk.interpreter.display import describe
from onnxwalk.interpreter.errors import InvalidInputError, NotFiniteError
from onnxwalk.interpreter.ir.model import Graph, Tensor, TensorType, ValueInfo
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.resident import ResidentPlan
from onnxwalk.interpreter.training.losses import LossGraph, labels_misfit
from onnxwalk.interpreter.training.modes import in_training
from onnxwalk.interpreter.training.pieces import Piece
from onnxwalk.ops.shared.numpy_state import computing

#: the ends of messages
_BROKEN = "weight '{}' holds NaN or infinities by now; a lower learning rate may help"
_KEPT = "the weights are those before this step; a lower learning rate may help"


class Network:
    """The weights of a model, and the plans of a step and of an evaluation.

    ``weights``: by initializer, arrays of our own that a step changes in place: those of
    ``pieces``, and the moving statistics. ``rng``: what the random operators draw from.
    """

    def __init__(
        self,
        program: Program,
        losses: LossGraph,
        pieces: Sequence[Piece],
        *,
        frozen: Iterable[str],
        recorded: frozenset[str] | None,
        source: str,
        executor: str,
        limits: Limits | None,
    ) -> None:
        """``losses``: the graph with its loss. ``frozen``, ``recorded``: as for ``in_training``.

        Raises UnsupportedModelError naming all operators that have no rule of a gradient.
        """
        self.losses, self.pieces, self.source = losses, pieces, source
        self.rng = np.random.default_rng()
        context = replace(program.context, seed=self.rng)
        options: dict[str, Any] = {"executor": executor, "limits": limits}
        with computing():
            graph, statistics = in_training(losses.graph, context, frozenset(frozen), recorded)
            names = [piece.initializer for piece in pieces]
            found = differentiate(graph, context, [losses.loss], names, source=source)
            self._statistics = statistics
            changing = [*names, *statistics]
            self.weights = {
                name: np.array(_tensor(losses.graph, name).array, order="C") for name in changing
            }
            forward = program.with_graph(_with_inputs(losses.graph, changing), context)
            backward = program.with_graph(
                _with_inputs(found.graph, changing), context, has_gradients=True
            )
            self.inputs = [
                v.name for v in losses.graph.inputs
                if v.name not in losses.graph.initializers
            ]  # fmt: skip
            predictions = [losses.output] if losses.output else []
            outputs = [losses.loss, *predictions]
            self._backward = self._plan(
                backward, [*outputs, *found.gradients, *statistics.values()], options
            )
            self._forward = self._plan(forward, outputs, options)
        self._first_gradient = len(outputs)

    def _plan(
        self, program: Program, outputs: Sequence[str], options: Mapping[str, Any]
    ) -> ResidentPlan:
        plan = program.plan([*self.inputs, *self.weights], list(outputs))
        slots = dict(zip([*self.inputs, *self.weights], plan.inputs, strict=True))
        resident = {slots[name]: array for name, array in self.weights.items()}
        return ResidentPlan(plan, resident, rng=self.rng, **options)

    @property
    def nbytes(self) -> int:
        """The memory of what is kept for further steps, beyond the weights."""
        return self._backward.nbytes + self._forward.nbytes

    def trained(self) -> list[np.ndarray]:
        """The parts that are trained, in the order of the gradients, as views of ``weights``."""
        return [part for p in self.pieces for part in p.of(self.weights[p.initializer])]

    def step(
        self, feeds: Mapping[str, np.ndarray], number: int
    ) -> tuple[float, np.ndarray | None, list[np.ndarray]]:
        """The loss, the predictions and the gradients of all trained parts, for a batch; sets the
        moving statistics. What is returned is valid until the next step.

        Raises NotFiniteError if the loss or a gradient isn't finite: then nothing has changed.
        ``number``: of the step, for the message.
        """
        state = copy.deepcopy(self.rng.bit_generator.state)
        arguments = [feeds[name] for name in self.inputs]
        loss, *values = self._backward.run(arguments)
        self._check_labels(feeds, values)
        predictions, values = values[: self._first_gradient - 1], values[self._first_gradient - 1 :]
        gradients = [part for p, g in zip(self.pieces, values, strict=False) for part in p.of(g)]
        loss = float(np.asarray(loss).reshape(()))
        if not np.isfinite(loss) or not all(map(_is_finite, gradients)):
            self.rng.bit_generator.state = state
            self._name_first(arguments, loss, number)
        for name, value in zip(self._statistics, values[len(self.pieces) :], strict=True):
            np.copyto(self.weights[name], value)
        return loss, predictions[0] if predictions else None, gradients

    def check_finite(self, steps: int) -> None:
        """Raise NotFiniteError if a weight isn't finite after so many steps."""
        if name := self.first_not_finite():
            raise NotFiniteError(f"{self.source}: after step {steps}: {_BROKEN.format(name)}")

    def first_not_finite(self) -> str:
        """The first weight that holds NaN or infinities; "" if none does."""
        with computing():
            return next((n for n, w in self.weights.items() if not _is_finite(w)), "")

    def evaluate(self, feeds: Mapping[str, np.ndarray]) -> tuple[float, np.ndarray | None]:
        """The loss and the predictions of a batch, as in inference."""
        loss, *predictions = self._forward.run([feeds[name] for name in self.inputs])
        self._check_labels(feeds, predictions)
        return float(np.asarray(loss).reshape(())), predictions[0] if predictions else None

    def _check_labels(self, feeds: Mapping[str, Any], values: Sequence[Any]) -> None:
        """Raise InvalidInputError if labels have another shape than the predictions, the first of
        the values: broadcast to each other, they would give a loss that means nothing."""
        losses = self.losses
        if not losses.labels or not losses.output:
            return
        labels, shape = feeds[losses.labels], np.shape(values[0])
        if labels.shape != losses.labels_shape(shape):
            raise InvalidInputError(labels_misfit(losses, labels, shape))

    def _name_first(self, arguments: Sequence[Any], loss: float, number: int) -> NoReturn:
        """Raise NotFiniteError naming the node where numbers stopped being finite."""
        what = "the loss" if not np.isfinite(loss) else "a gradient"
        value = f"{loss}" if not np.isfinite(loss) else "not finite"
        begin = f"{self.source}: step {number}: {what} is {value}"
        if name := self.first_not_finite():
            raise NotFiniteError(f"{begin}: {_BROKEN.format(name)}")
        for name, x in zip(self.inputs, arguments, strict=True):
            if _any(np.isnan, [x]) or _any(np.isinf, [x]):
                raise NotFiniteError(f"{begin}: input '{name}' holds NaN or infinities")
        infinite = ""
        for step, inputs, outputs in self._backward.walk(arguments):
            if _any(np.isnan, outputs) and not _any(np.isnan, inputs):
                given = ", ".join(map(describe, inputs))
                after = f", after infinities from {infinite}" if infinite else ""
                raise NotFiniteError(
                    f"{begin}; NaN first comes from {step.node}, of {given}{after}; {_KEPT}"
                )
            if not infinite and _any(np.isinf, outputs) and not _any(np.isinf, inputs):
                infinite = str(step.node)
        if infinite:
            begin += f"; infinities first come from {infinite}"
        raise NotFiniteError(f"{begin}; {_KEPT}")


def _tensor(graph: Graph, name: str) -> Tensor:
    tensor = graph.initializers[name]
    assert isinstance(tensor, Tensor), "check_weights has looked"
    return tensor


def _with_inputs(graph: Graph, names: Sequence[str]) -> Graph:
    """The graph with initializers as inputs, so that they aren't constants."""
    given = {value.name for value in graph.inputs}
    kept = {n: t for n, t in graph.initializers.items() if n not in names}
    tensors = [_tensor(graph, name) for name in names]
    added = tuple(
        ValueInfo(t.name, TensorType(t.element, t.shape)) for t in tensors if t.name not in given
    )
    return replace(graph, inputs=(*graph.inputs, *added), initializers=kept)


def _is_finite(gradient: np.ndarray) -> bool:
    """Whether all elements are finite: quickly, by the sum of their squares, where that is."""
    flat = gradient.reshape(-1) if gradient.flags.c_contiguous else None
    if flat is not None and flat.dtype.char in "fd" and np.isfinite(np.dot(flat, flat)):
        return True
    return bool(np.isfinite(gradient).all())


def _any(test: Callable[[np.ndarray], np.ndarray], values: Iterable[Any]) -> bool:
    return any(test(x).any() for x in _floats(values))


def _floats(values: Iterable[Any]) -> Iterator[np.ndarray]:
    for x in values:
        if isinstance(x, np.ndarray) and x.dtype.kind in "fV":
            yield x
        elif isinstance(x, list | tuple):
            yield from _floats(x)
