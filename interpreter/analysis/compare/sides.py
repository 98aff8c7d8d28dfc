"""What gives the values of one side: onnxwalk's walk through a file, its optimized run of it, or
another engine."""

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
    """What a value takes; ``shape`` is ``None`` for sequences and the like."""

    shape: tuple[int, ...] | None
    nbytes: int


class Within(NamedTuple):
    """What there is within a node: the names of all values, and the nodes as they are computed."""

    names: set[str]
    events: Iterator[Event]


class Side(Protocol):
    """One side of a comparison."""

    #: what it is called in messages and reports
    label: str

    def names(self, feeds: Feeds) -> list[str]:
        """The values that it gives for feeds like these."""
        ...

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        """The named values, one after the other as they are computed; the caller may hold them.

        Raises OnnxWalkError.
        """
        ...


class Walk:
    """A file, node by node as written: every value is there. Any model, in little memory."""

    def __init__(self, session: Session, label: str) -> None:
        self.session, self.label = session, label
        self._sizes: dict[str, Size] | None = None

    def names(self, feeds: Feeds) -> list[str]:
        return _computed(self.session, self.session.trace(feeds)._plan)

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        wanted = set(names)
        for event in self.session.trace(feeds):
            found = [name for name in event.outputs if name in wanted]
            for name in found:
                yield name, event.outputs[name]
            wanted.difference_update(found)
            if not wanted:
                return
            del event

    def inside(self, feeds: Feeds, name: str) -> Within:
        """What is computed within the node that makes a value, all iterations of it."""
        return _inside(self.session.trace(feeds, iterations=math.inf), name)

    def sizes(self, feeds: Feeds) -> dict[str, Size]:
        """What each value takes, by a walk through all of the model, which is done once."""
        if self._sizes is None:
            self._sizes = {}
            for event in self.session.trace(feeds):
                for name, value in event.outputs.items():
                    self._sizes[name] = Size(getattr(value, "shape", None), nbytes(value))
                del event
        return self._sizes


class Optimized:
    """A file as ``session.run`` runs it: rewritten, and bound to the shapes of the feeds. Values
    that are gone, because nodes were fused, are not given."""

    def __init__(self, session: Session, label: str) -> None:
        self.session, self.label = session, label

    def names(self, feeds: Feeds) -> list[str]:
        return _computed(self.session, self.session.trace(feeds, optimized=True)._plan)

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        wanted = set(names)
        for outputs in self._steps(feeds):
            for name, value in outputs.items():
                if name in wanted and value is not None:
                    # The memory is used again, for what comes later or by the next run.
                    yield name, value.copy() if isinstance(value, np.ndarray) else value

    def inside(self, feeds: Feeds, name: str) -> Within:
        """As ``Walk.inside``, of the nodes as they are rewritten."""
        return _inside(self.session.trace(feeds, optimized=True, iterations=math.inf), name)

    def _steps(self, feeds: Feeds) -> Iterator[dict[str, Any]]:
        found = None
        with contextlib.suppress(Exception):  # the walk says what is wrong, as in session.run
            found = self.session._runner.bind(feeds)
        if found is None:  # strings, sequences: these runs are walks
            for event in self.session.trace(feeds, optimized=True):
                yield event.outputs
            return
        bound, arguments = found
        for step, values in bound.steps(arguments):
            yield {n: v for n, v in zip(step.node.outputs, values, strict=False) if n}


class Chunked:
    """An engine that gives inner values only as outputs: it is run again and again, for as many of
    them at a time as ``memory`` bytes hold; at the end for the model's own outputs, as it is."""

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
        keep = len(parts) <= 2  # each holds the weights once more: no more than that
        for part in [*parts, *([outputs] if outputs else [])]:
            key = tuple(part)
            run = self._open.get(key) or self._explained(self.opened, part)
            if keep:
                self._open[key] = run
            values = self._explained(run, feeds)
            del run
            yield from handed_out(part, values)

    def opened(self, names: Sequence[str]) -> Callable[[Feeds], list[Any]]:
        """A function that runs the model for these values."""
        raise NotImplementedError

    def _explained(self, function: Callable[[Any], Any], argument: Any) -> Any:
        with explained(self.label):
            return function(argument)


class OnnxRuntime(Chunked):
    """ONNX Runtime, with its own optimizations around the outputs asked for."""

    def opened(self, names: Sequence[str]) -> Callable[[Feeds], list[Any]]:
        onnx = require("onnx")
        path = self.walk.session.model.source
        model: str | bytes = path
        if set(names) - {info.name for info in self.walk.session.outputs}:
            proto = onnx.load(path, load_external_data=False)
            known = {v.name: v for v in (*proto.graph.output, *proto.graph.value_info)}
            asked = [known.get(name) or onnx.ValueInfoProto(name=name) for name in names]
            del proto.graph.output[:]
            proto.graph.output.extend(asked)
            model = proto.SerializeToString()
        session = onnxruntime_session(model, folder=os.path.dirname(os.path.abspath(path)))
        return lambda feeds: session.run(list(names), dict(feeds))


class Reference:
    """onnx's ReferenceEvaluator. It keeps all values of a run itself."""

    def __init__(self, walk: Walk, label: str) -> None:
        self.walk, self.label = walk, label
        self._evaluator: Any = None

    def names(self, feeds: Feeds) -> list[str]:
        return self.walk.names(feeds)

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        evaluator = require("onnx.reference").ReferenceEvaluator
        with explained(self.label):
            if self._evaluator is None:
                self._evaluator = evaluator(self.walk.session.model.source)
            results = self._evaluator.run(None, dict(feeds), intermediate=True)
        present = [name for name in results if name in names]
        values = [results[name] for name in present]
        del results
        yield from handed_out(present, values)


class Renamed:
    """A side whose inputs are called otherwise than those that the samples are made for."""

    def __init__(self, side: Side, names: Mapping[str, str]) -> None:
        self.side, self.label, self._names = side, side.label, names

    def names(self, feeds: Feeds) -> list[str]:
        return self.side.names(self.own(feeds))

    def stream(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        return self.side.stream(self.own(feeds), names)

    @property
    def inside(self) -> Any:
        """As ``Walk.inside``; ``None`` if the side has none."""
        inside = getattr(self.side, "inside", None)
        return inside and (lambda feeds, name: inside(self.own(feeds), name))

    def own(self, feeds: Feeds) -> dict[str, Any]:
        return {self._names.get(name, name): value for name, value in feeds.items()}


def chunks(names: Sequence[str], sizes: Mapping[str, int], memory: int) -> list[list[str]]:
    """The names in order, in groups of values that take no more than ``memory`` bytes together;
    one that takes more is alone."""
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


def handed_out(names: Sequence[str], values: list[Any]) -> Iterator[tuple[str, Any]]:
    """Names with their values; each value is let go when the next is asked for."""
    values.reverse()
    for name in names:
        yield name, values.pop()


@contextlib.contextmanager
def explained(label: str) -> Iterator[None]:
    """Whatever another engine raises, as one line that names it."""
    try:
        yield
    except OnnxWalkError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise InvalidInputError(f"{label}: {type(error).__name__}: {text}") from error


def _inside(trace: Trace, name: str) -> Within:
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

    return Within(names - {""}, events())


def _computed(session: Session, plan: Plan) -> list[str]:
    """The values of the file that the steps of a plan give, in their order."""
    own = {name for node in session.model.graph.nodes for name in node.outputs}
    return [
        name
        for step in plan.steps
        for name, slot in zip(step.node.outputs, step.outputs, strict=False)
        if name in own and slot != NOTHING
    ]


def is_keras(path: str) -> bool:
    """Whether a file is a Keras model, by its name."""
    return Path(path).suffix.lower() in (".keras", ".h5", ".hdf5")
