"""The sides of a comparison: onnxwalk's walk, its optimized run, or another engine."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from onnxwalk.interpreter.analysis.compare.metrics import nbytes
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.ir.plan import NOTHING, Plan
from onnxwalk.interpreter.optional import onnxruntime_session, require
from onnxwalk.interpreter.runtime.trace import Event, Trace
from onnxwalk.interpreter.session import Session

Feeds = Mapping[str, Any]


class Size(NamedTuple):
    """The shape and bytes of a value; ``shape`` is ``None`` for other values than tensors."""

    shape: tuple[int, ...] | None
    nbytes: int


class InnerTrace(NamedTuple):
    """The names of all values in the subgraphs of a node, and the events of their nodes."""

    names: set[str]
    events: Iterator[Event]


class Side(Protocol):
    """One side of a comparison."""

    #: its name in messages and reports
    label: str

    def names(self, feeds: Feeds) -> list[str]:
        """The values that the side computes for feeds of these shapes."""
        ...

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        """The named values in the order of computation; the caller may keep them.

        Raises OnnxWalkError.
        """
        ...


class Walk:
    """A file, run node by node as written: all values of any model, in little memory."""

    def __init__(self, session: Session, label: str) -> None:
        self.session, self.label = session, label
        self._sizes: dict[str, Size] | None = None

    def names(self, feeds: Feeds) -> list[str]:
        return _list_values(self.session, self.session.trace(feeds)._plan)

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        remaining = set(names)
        for event in self.session.trace(feeds):
            for name in event.outputs:
                if name in remaining:
                    yield name, event.outputs[name]
            remaining -= event.outputs.keys()
            if not remaining:
                return
            del event

    def inside(self, feeds: Feeds, name: str) -> InnerTrace:
        """The trace inside the node that computes a value, with all iterations."""
        return _trace_inside(self.session.trace(feeds, iterations=math.inf), name)

    def sizes(self, feeds: Feeds) -> dict[str, Size]:
        """The size of each value, by a walk through the model, which is done once."""
        if self._sizes is None:
            self._sizes = {}
            for event in self.session.trace(feeds):
                for name, value in event.outputs.items():
                    self._sizes[name] = Size(getattr(value, "shape", None), nbytes(value))
                del event
        return self._sizes


class Optimized:
    """A file as ``session.run`` runs it: rewritten, and bound to the shapes of the feeds. Values
    inside fused nodes don't exist here."""

    def __init__(self, session: Session, label: str) -> None:
        self.session, self.label = session, label

    def names(self, feeds: Feeds) -> list[str]:
        return _list_values(self.session, self.session.trace(feeds, optimized=True)._plan)

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        requested = set(names)
        for outputs in self._steps(feeds):
            for name, value in outputs.items():
                if name in requested and value is not None:
                    # Later steps or the next run overwrite the memory.
                    yield name, value.copy() if isinstance(value, np.ndarray) else value

    def inside(self, feeds: Feeds, name: str) -> InnerTrace:
        """As ``Walk.inside``, for the rewritten nodes."""
        return _trace_inside(self.session.trace(feeds, optimized=True, iterations=math.inf), name)

    def _steps(self, feeds: Feeds) -> Iterator[dict[str, Any]]:
        binding = None
        with contextlib.suppress(Exception):  # the walk raises the error, as in session.run
            binding = self.session._runner.bind(feeds)
        if binding is None:  # strings and sequences can't be bound
            for event in self.session.trace(feeds, optimized=True):
                yield event.outputs
            return
        bound, arguments = binding
        for step, values in bound.steps(arguments):
            yield {n: v for n, v in zip(step.node.outputs, values, strict=False) if n}


class Chunked:
    """An engine that returns intermediate values only as outputs of the model: it is run for as
    many of them at a time as fit in ``memory`` bytes, and last for the outputs of the model."""

    def __init__(self, walk: Walk, label: str, memory: int) -> None:
        self.walk, self.label, self._memory = walk, label, memory
        self._open: dict[tuple[str, ...], Callable[[Feeds], list[Any]]] = {}

    def names(self, feeds: Feeds) -> list[str]:
        return self.walk.names(feeds)

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        sizes = {name: size.nbytes for name, size in self.walk.sizes(feeds).items()}
        outputs = [info.name for info in self.walk.session.outputs if info.name in names]
        inner = [name for name in names if name not in outputs]
        parts = chunks(inner, sizes, self._memory)
        keep = len(parts) <= 2  # each has a copy of the weights
        for part in [*parts, *([outputs] if outputs else [])]:
            key = tuple(part)
            with name_errors(self.label):
                run = self._open.get(key) or self.open(part)
                if keep:
                    self._open[key] = run
                values = run(feeds)
                del run
            yield from release_each(part, values)

    def open(self, names: Sequence[str]) -> Callable[[Feeds], list[Any]]:
        """A function that runs the model and returns these values."""
        raise NotImplementedError


class OnnxRuntime(Chunked):
    """ONNX Runtime, with its optimizations between the requested outputs."""

    def __init__(self, walk: Walk, label: str, memory: int, threads: int | None = None) -> None:
        super().__init__(walk, label, memory)
        self._threads = threads

    def open(self, names: Sequence[str]) -> Callable[[Feeds], list[Any]]:
        onnx = require("onnx")
        path = self.walk.session.model.source
        model: str | bytes = path
        if set(names) - {info.name for info in self.walk.session.outputs}:
            proto = onnx.load(path, load_external_data=False)
            known = {v.name: v for v in (*proto.graph.output, *proto.graph.value_info)}
            requested = [known.get(name) or onnx.ValueInfoProto(name=name) for name in names]
            del proto.graph.output[:]
            proto.graph.output.extend(requested)
            model = proto.SerializeToString()
        folder = os.path.dirname(os.path.abspath(path))
        session = onnxruntime_session(model, threads=self._threads, folder=folder)
        return lambda feeds: session.run(list(names), dict(feeds))


class Reference:
    """onnx's ReferenceEvaluator, which keeps all values of a run in memory."""

    def __init__(self, walk: Walk, label: str) -> None:
        self.walk, self.label = walk, label
        self._evaluator: Any = None

    def names(self, feeds: Feeds) -> list[str]:
        return self.walk.names(feeds)

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        evaluator = require("onnx.reference").ReferenceEvaluator
        with name_errors(self.label):
            if self._evaluator is None:
                self._evaluator = evaluator(self.walk.session.model.source)
            results = self._evaluator.run(None, dict(feeds), intermediate=True)
        present = [name for name in results if name in names]
        values = [results[name] for name in present]
        del results
        yield from release_each(present, values)


class Renamed:
    """A side whose inputs have other names than those in the samples."""

    def __init__(self, side: Side, names: Mapping[str, str]) -> None:
        self.side, self.label, self._names = side, side.label, names

    def names(self, feeds: Feeds) -> list[str]:
        return self.side.names(self.rename(feeds))

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        return self.side.stream(self.rename(feeds), names)

    @property
    def inside(self) -> Any:
        """``Walk.inside``, or ``None`` if the side has no such method."""
        inside = getattr(self.side, "inside", None)
        return inside and (lambda feeds, name: inside(self.rename(feeds), name))

    def rename(self, feeds: Feeds) -> dict[str, Any]:
        """The feeds by the names of this side's inputs."""
        return {self._names.get(name, name): value for name, value in feeds.items()}


def chunks(names: Sequence[str], sizes: Mapping[str, int], memory: int) -> list[list[str]]:
    """Split the names, in order, into groups of values of at most ``memory`` bytes together; a
    larger value is a group of its own."""
    parts: list[list[str]] = []
    free = 0
    for name in names:
        size = sizes.get(name, 0)
        if not parts or size > free:
            parts.append([])
            free = memory
        parts[-1].append(name)
        free -= size
    return parts


def release_each(names: Sequence[str], values: list[Any]) -> Iterator[tuple[str, Any]]:
    """Names with their values; each value is released when the next one is requested."""
    values.reverse()
    for name in names:
        yield name, values.pop()


@contextlib.contextmanager
def name_errors(label: str) -> Iterator[None]:
    """Turn errors of another engine into an InvalidInputError of one line that names it."""
    try:
        yield
    except OnnxWalkError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise InvalidInputError(f"{label}: {type(error).__name__}: {text}") from error


def _trace_inside(trace: Trace, name: str) -> InnerTrace:
    plans = [
        body
        for step in trace._plan.steps
        if name in step.node.outputs
        for body, _ in step.bodies.values()
    ]
    names: set[str] = set()
    while plans:
        for step in plans.pop().steps:
            names.update(step.node.outputs)
            plans += [body for body, _ in step.bodies.values()]

    def events() -> Iterator[Event]:
        for event in trace:
            if event.path and name in event.path[0].node.outputs:
                yield event
            elif not event.path and name in event.outputs:
                return
            del event

    return InnerTrace(names - {""}, events())


def _list_values(session: Session, plan: Plan) -> list[str]:
    """The values of the file that a plan computes, in order."""
    in_file = {name for node in session.model.graph.nodes for name in node.outputs}
    return [
        name
        for step in plan.steps
        for name, slot in zip(step.node.outputs, step.outputs, strict=False)
        if name in in_file and slot != NOTHING
    ]


def is_keras(path: str) -> bool:
    """Whether the name of a file is that of a Keras model."""
    return Path(path).suffix.lower() in (".keras", ".h5", ".hdf5")
