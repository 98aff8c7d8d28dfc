"""Compare two sides over samples: every value that both have, in the order of the graph."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np

from onnxwalk.interpreter.analysis.compare.keras_side import KerasModel
from onnxwalk.interpreter.analysis.compare.layers import find_layers, match_values, matching_orders
from onnxwalk.interpreter.analysis.compare.lockstep import Pair, lockstep
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Tolerance, difference
from onnxwalk.interpreter.analysis.compare.sides import (
    Feeds,
    OnnxRuntime,
    Optimized,
    Reference,
    Renamed,
    Side,
    Walk,
    is_keras,
)
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.session import Session, load

#: the names of the engines
ENGINES = ("onnxwalk", "plain", "onnxruntime", "reference")


@dataclass
class Row:
    """A value that both sides have: its largest difference over the samples."""

    pair: Pair
    worst: Difference | None = None
    sample: str = ""

    @property
    def equal(self) -> bool:
        """Whether the value is equal within the tolerance in all samples."""
        return self.worst is None or self.worst.equal

    @property
    def rank(self) -> tuple[bool, float]:
        """Values that differ rank higher, and among these larger relative errors."""
        return (not self.equal, self.worst.relative if self.worst else -1.0)


@dataclass
class Sides:
    """Both sides, and the function that matches their values."""

    a: Side
    b: Side
    #: the ONNX models of the sides; ``None`` for a Keras model
    models: tuple[Session | None, Session | None]
    pairs: Callable[[Feeds], list[Pair]]
    #: the number of values of each side
    counts: tuple[int, int] = (0, 0)

    @property
    def session(self) -> Session:
        """The first ONNX model, whose graph gives the order; one side must have one."""
        return next(s for s in self.models if s is not None)

    @property
    def inputs(self) -> HasInputs:
        """The model that declares the inputs of the samples."""
        return self.session if any(self.models) else cast(KerasModel, self.a)

    @property
    def main(self) -> int:
        """The side whose values and nodes are reported, 0 or 1: the first with an ONNX model."""
        return 1 if self.models[0] is None and self.models[1] is not None else 0


@dataclass
class Comparison:
    """The result; ``rows`` are in the order of the graph."""

    rows: list[Row]
    samples: list[str]
    counts: tuple[int, int]
    #: the sample in which the first differing value has its largest difference
    feeds: Feeds = field(default_factory=dict, repr=False)

    @property
    def equal(self) -> bool:
        return all(row.equal for row in self.rows)

    @property
    def first(self) -> Row | None:
        """The first value in the order of the graph that differs."""
        return next((row for row in self.rows if not row.equal), None)

    @property
    def ranked(self) -> list[Row]:
        return sorted(self.rows, key=lambda row: row.rank, reverse=True)


def compare(
    sides: Sides,
    samples: Iterable[tuple[str, Feeds]],
    tolerance: Tolerance,
    memory: int,
) -> Comparison:
    """Run both sides on each sample in parallel, and compare each value as it is computed.

    Raises OnnxWalkError if a side can't run, or if the sides have no value in common.
    """
    comparison: Comparison | None = None
    order: dict[Pair, int] = {}
    best = (math.inf, 0.0)
    for label, feeds in samples:
        if comparison is None:
            pairs = sides.pairs(feeds)
            if not pairs:
                raise InvalidInputError(
                    f"{sides.a.label} and {sides.b.label} have no value in common"
                )
            order = {pair: index for index, pair in enumerate(pairs)}
            comparison = Comparison([Row(pair) for pair in pairs], [], sides.counts)
        comparison.samples.append(label)
        one, other = (partial(side.stream, feeds) for side in (sides.a, sides.b))
        for pair, a, b in lockstep(one, other, list(order), memory):
            index = order[pair]
            row, result = comparison.rows[index], _difference(sides, a, b, tolerance)
            if row.worst is None or (not result.equal, result.relative) > row.rank:
                row.worst, row.sample = result, label
            if not result.equal and (index, -result.relative) < best:
                best, comparison.feeds = (index, -result.relative), feeds
            del a, b
    if comparison is None:
        raise InvalidInputError("no samples to compare on")
    comparison.rows = [row for row in comparison.rows if row.worst is not None]
    if not comparison.rows:
        raise InvalidInputError(f"{sides.a.label} and {sides.b.label} computed no value in common")
    return comparison


def keras_axes(
    sides: Sides, ours: Any, theirs: Any, tolerance: Tolerance
) -> tuple[int, ...] | None:
    """The order of axes in which a value of a file has the shape of the Keras tensor; ``None`` if
    there is none, or neither or both sides are Keras models."""
    are_arrays = isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray)
    if (sides.models[0] is None) == (sides.models[1] is None) or not are_arrays:
        return None
    orders = matching_orders(ours.shape, theirs.shape)
    if len(orders) > 1:  # the shape is ambiguous: take the order with the smallest difference
        orders.sort(key=lambda axes: difference(ours.transpose(axes), theirs, tolerance).relative)
    return orders[0] if orders else None


def _difference(sides: Sides, a: Any, b: Any, tolerance: Tolerance) -> Difference:
    values = [a, b]
    axes = keras_axes(sides, values[sides.main], values[1 - sides.main], tolerance)
    if axes is not None:
        values[sides.main] = values[sides.main].transpose(axes)
    return difference(values[0], values[1], tolerance)


# --- opening and matching the sides


def open_sides(a: str, b: str, memory: int, seed: int | None = None) -> Sides:
    """Open the two sides, each a file, an engine (one of ENGINES, on the file of the other side),
    or ENGINE:FILE. A file is an ONNX model, walked as written, or, by its name, a Keras model.

    ``memory``: bytes of values that may be held at a time. Raises OnnxWalkError.
    """
    parts = [_parse_side(a), _parse_side(b)]
    if all(path is None for _, path in parts):
        raise InvalidInputError(f"{a}, {b}: no file to run; pass one, or {a}:FILE")
    files = [parts[i][1] or str(parts[1 - i][1]) for i in (0, 1)]
    engines = [engine for engine, _ in parts]
    for i in (0, 1):  # a file is walked as plain does, so plain is compared with onnxwalk
        if engines[i] == "plain" and parts[i][1] is None and engines[1 - i] is None:
            engines[1 - i] = "onnxwalk"
    if all(map(is_keras, files)) and any(path is None for _, path in parts):
        raise InvalidInputError(
            f"{files[0]}: an ONNX engine can't run a Keras model; pass the .onnx file, as in "
            f" {next(e for e in engines if e)}:model.onnx"
        )
    for engine, path in zip(engines, files, strict=True):
        if engine and is_keras(path):
            raise InvalidInputError(f"{path}: {engine} can't run a Keras model")
    walks: dict[str, Walk] = {}
    opened: list[Side] = []
    for engine, path in zip(engines, files, strict=True):
        if is_keras(path):
            opened.append(KerasModel.load(path, memory))
            continue
        if path not in walks:
            walks[path] = Walk(load(path, optimize=False, seed=seed), path)
        opened.append(_open_engine(engine, walks[path], memory, seed))
    first, second = opened
    if isinstance(first, KerasModel) and isinstance(second, KerasModel):
        return _match_keras(first, second)
    one, two = (None if is_keras(path) else walks[path].session for path in files)
    models = one, two
    if isinstance(first, KerasModel) or isinstance(second, KerasModel):
        keras = first if isinstance(first, KerasModel) else second
        assert isinstance(keras, KerasModel)
        (walk,) = walks.values()
        return _match_file_with_keras(first, second, keras, walk, models)
    return _match_files(first, second, models)


def keras_and_file(model: Any, file: Any, memory: int) -> Sides:
    """An ONNX file, walked as written, and the Keras model that it was exported from.

    ``file``: whatever ``load`` accepts; ``memory``: as in ``open_sides``. Raises OnnxWalkError.
    """
    keras = KerasModel(model, model.name, memory)
    walk = Walk(load(file, optimize=False), "the file")
    return _match_file_with_keras(walk, keras, keras, walk, (walk.session, None))


def _parse_side(text: str) -> tuple[str | None, str | None]:
    """The engine and the file of a side."""
    if os.path.exists(text):
        return None, text
    if text in ENGINES:
        return text, None
    engine, colon, path = text.partition(":")
    return (engine, path) if colon and engine in ENGINES else (None, text)


def _open_engine(engine: str | None, walk: Walk, memory: int, seed: int | None) -> Side:
    path = walk.label
    if engine == "onnxwalk":
        return Optimized(load(path, seed=seed), f"onnxwalk:{path}")
    if engine == "onnxruntime":
        return OnnxRuntime(walk, f"onnxruntime:{path}", memory)
    if engine == "reference":
        return Reference(walk, f"reference:{path}")
    return walk


def _match_files(a: Side, b: Side, models: tuple[Session | None, Session | None]) -> Sides:
    """Match values by name, and outputs by order if none of them have the same name."""
    one, two = models
    assert one is not None and two is not None
    sides = Sides(a, b, models, lambda feeds: [])
    if one is not two:
        sides.b = Renamed(b, _input_names(one, two, a.label, b.label))

    def pairs(feeds: Feeds) -> list[Pair]:
        left, right = a.names(feeds), sides.b.names(feeds)
        sides.counts = len(left), len(right)
        names = dict.fromkeys(right)
        matches = {name: name for name in left if name in names}
        mine = [info.name for info in one.outputs]
        theirs = [info.name for info in two.outputs]
        if len(mine) == len(theirs) and not set(mine) & set(theirs):
            matches = {n: n for n in matches if n not in mine and n not in theirs}
            pairs = zip(mine, theirs, strict=True)
            matches |= {n: m for n, m in pairs if n in left and m in names}
        layers = find_layers(one.model) or find_layers(two.model)
        return [Pair(n, matches[n], layers.get(n, "")) for n in _sort(one, matches)]

    sides.pairs = pairs
    return sides


def _match_file_with_keras(
    a: Side,
    b: Side,
    keras: KerasModel,
    walk: Walk,
    models: tuple[Session | None, Session | None],
) -> Sides:
    session = walk.session
    renamed = Renamed(keras, _input_names(session, keras, walk.label, keras.label))
    onnx_side = b if a is keras else a
    first, second = (renamed, onnx_side) if a is keras else (onnx_side, renamed)
    sides = Sides(first, second, models, lambda feeds: [])

    def pairs(feeds: Feeds) -> list[Pair]:
        shapes = {n: s.shape for n, s in walk.sizes(feeds).items() if s.shape is not None}
        tensors = keras.layer_outputs(renamed.rename(feeds))
        names = onnx_side.names(feeds)
        matches = match_values(session.model, tensors, shapes)
        counts = len(names), len(tensors)
        sides.counts = (counts[1], counts[0]) if a is keras else counts
        layers = find_layers(session.model)
        return [
            Pair(*((matches[n].name, n) if a is keras else (n, matches[n].name)), layers.get(n, ""))
            for n in _sort(session, set(matches) & set(names))
        ]

    sides.pairs = pairs
    return sides


def _match_keras(a: KerasModel, b: KerasModel) -> Sides:
    """Match layers by name, or by order if names differ but all shapes of outputs are equal: Keras
    numbers the layers of a model that is built again."""
    other = Renamed(b, _input_names(a, b, a.label, b.label))
    sides = Sides(a, other, (None, None), lambda feeds: [])

    def pairs(feeds: Feeds) -> list[Pair]:
        left, right = a.layer_outputs(feeds), b.layer_outputs(other.rename(feeds))
        sides.counts = len(left), len(right)
        names = [tensor.name for tensor in right]
        matches = {t.name: t.name for t in left if t.name in names}
        has_equal_shapes = [t.shape for t in left] == [t.shape for t in right]
        if has_equal_shapes and {t.name for t in left} != set(names):
            matches = {t.name: name for t, name in zip(left, names, strict=True)}
        return [
            Pair(t.name, matches[t.name], t.layer if t.name in a.layers else "")
            for t in left
            if t.name in matches
        ]

    sides.pairs = pairs
    return sides


def _sort(session: Session, names: Iterable[str]) -> list[str]:
    """Sort names of values in the order of the graph."""
    outputs = [name for node in session.model.graph.nodes for name in node.outputs]
    order = {name: index for index, name in enumerate(outputs)}
    return sorted(names, key=lambda name: order.get(name, -1))


def _input_names(one: HasInputs, other: HasInputs, label: str, other_label: str) -> dict[str, str]:
    """The names of one side's inputs on the other side: matched by name, otherwise by order."""
    ours, theirs = ([info.name for info in side.inputs] for side in (one, other))
    if set(ours) == set(theirs):
        return {name: name for name in ours}
    if len(ours) != len(theirs):
        raise InvalidInputError(
            f"different numbers of inputs can't be compared: {label} has "
            f"{', '.join(ours) or 'none'}, {other_label} has {', '.join(theirs) or 'none'}"
        )
    return dict(zip(ours, theirs, strict=True))
