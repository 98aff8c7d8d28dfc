"""Two sides compared over samples: every value that both have, in the order of the graph."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np

from onnxwalk.interpreter.analysis.compare.keras_side import KerasModel
from onnxwalk.interpreter.analysis.compare.layers import fitting_orders, layer_of, matched
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

#: the engines, by the names by which a side asks for them
ENGINES = ("onnxwalk", "plain", "onnxruntime", "reference")


@dataclass
class Row:
    """A value that both sides have: the largest difference over the samples, and in which."""

    pair: Pair
    worst: Difference | None = None
    sample: str = ""

    @property
    def equal(self) -> bool:
        """Whether it was the same within the tolerance in every sample."""
        return self.worst is None or self.worst.equal

    @property
    def rank(self) -> tuple[bool, float]:
        """What differs ranks above what doesn't, and then the larger relative error."""
        return (not self.equal, self.worst.relative if self.worst else -1.0)


@dataclass
class Sides:
    """Both sides, and what the values are matched by."""

    a: Side
    b: Side
    #: the models behind the sides, whose nodes are named; ``None`` for a Keras model
    models: tuple[Session | None, Session | None]
    pairs: Callable[[Feeds], list[Pair]]
    #: how many values each side has
    counts: tuple[int, int] = (0, 0)

    @property
    def session(self) -> Session:
        """The one whose graph tells the order; one side has to be a file."""
        return next(s for s in self.models if s is not None)

    @property
    def takes(self) -> HasInputs:
        """What samples are made for."""
        return self.session if any(self.models) else cast(KerasModel, self.a)

    @property
    def leader(self) -> int:
        """The side whose nodes are named, 0 or 1: the first that has some."""
        return 1 if self.models[0] is None and self.models[1] is not None else 0


@dataclass
class Comparison:
    """What was found. ``rows`` are in the order of the graph."""

    rows: list[Row]
    samples: list[str]
    counts: tuple[int, int]
    #: the feeds of the sample in which the first value that differs differs most
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
    """Run both sides on each sample, in lock-step, and compare each value as it comes.

    Raises OnnxWalkError when a side can't run, or when the sides have no value in common.
    """
    found: Comparison | None = None
    order: dict[Pair, int] = {}
    best = (math.inf, 0.0)
    for label, feeds in samples:
        if found is None:
            pairs = sides.pairs(feeds)
            if not pairs:
                raise InvalidInputError(
                    f"{sides.a.label} and {sides.b.label} have no value in common"
                )
            order = {pair: place for place, pair in enumerate(pairs)}
            found = Comparison([Row(pair) for pair in pairs], [], sides.counts)
        found.samples.append(label)
        one, other = (partial(side.stream, feeds) for side in (sides.a, sides.b))
        for pair, a, b in lockstep(one, other, list(order), memory):
            place = order[pair]
            row, apart = found.rows[place], _difference(sides, a, b, tolerance)
            if row.worst is None or (not apart.equal, apart.relative) > row.rank:
                row.worst, row.sample = apart, label
            if not apart.equal and (place, -apart.relative) < best:
                best, found.feeds = (place, -apart.relative), feeds
            del a, b
    if found is None:
        raise InvalidInputError("there is no sample to compare with")
    found.rows = [row for row in found.rows if row.worst is not None]
    if not found.rows:
        raise InvalidInputError(f"{sides.a.label} and {sides.b.label} gave no value in common")
    return found


def keras_axes(
    sides: Sides, ours: Any, theirs: Any, tolerance: Tolerance
) -> tuple[int, ...] | None:
    """The order of axes in which a file's value is a Keras model's; ``None`` without Keras, and
    where none fits."""
    arrays = isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray)
    if (sides.models[0] is None) == (sides.models[1] is None) or not arrays:
        return None
    orders = fitting_orders(ours.shape, theirs.shape)
    if len(orders) > 1:  # the shape doesn't tell: the order that fits does
        orders.sort(key=lambda axes: difference(ours.transpose(axes), theirs, tolerance).relative)
    return orders[0] if orders else None


def _difference(sides: Sides, a: Any, b: Any, tolerance: Tolerance) -> Difference:
    values = [a, b]
    axes = keras_axes(sides, values[sides.leader], values[1 - sides.leader], tolerance)
    if axes is not None:
        values[sides.leader] = values[sides.leader].transpose(axes)
    return difference(values[0], values[1], tolerance)


# --- which sides there are


def open_sides(a: str, b: str, memory: int, seed: int | None = None) -> Sides:
    """The two sides that the texts name: a file, an engine (one of ENGINES, for the file of the
    other side), or ENGINE:FILE. A file alone is an ONNX model, walked as written, or, by its name,
    a Keras model.

    ``memory``: bytes of values that may be held at a time. Raises OnnxWalkError.
    """
    parts = [_parsed(a), _parsed(b)]
    if all(path is None for _, path in parts):
        raise InvalidInputError(f"{a}, {b}: of which file? Name one, or {a}:FILE")
    files = [parts[i][1] or str(parts[1 - i][1]) for i in (0, 1)]
    engines = [engine for engine, _ in parts]
    for i in (0, 1):  # against plain alone a file is what plain is to be compared with
        if engines[i] == "plain" and parts[i][1] is None and engines[1 - i] is None:
            engines[1 - i] = "onnxwalk"
    if all(map(is_keras, files)) and any(path is None for _, path in parts):
        raise InvalidInputError(
            f"{files[0]}: a Keras model, which an ONNX engine can't run: name the .onnx file, "
            f"as in {next(e for e in engines if e)}:model.onnx"
        )
    for engine, path in zip(engines, files, strict=True):
        if engine and is_keras(path):
            raise InvalidInputError(f"{path}: a Keras model, which {engine} can't run")
    walks: dict[str, Walk] = {}
    opened: list[Side] = []
    for engine, path in zip(engines, files, strict=True):
        if is_keras(path):
            opened.append(KerasModel(path, memory))
            continue
        if path not in walks:
            walks[path] = Walk(load(path, optimize=False, seed=seed), path)
        opened.append(_engine(engine, walks[path], memory, seed))
    first, second = opened
    if isinstance(first, KerasModel) and isinstance(second, KerasModel):
        return _of_keras(first, second)
    found = tuple(None if is_keras(path) else walks[path].session for path in files)
    models = (found[0], found[1])
    if isinstance(first, KerasModel) or isinstance(second, KerasModel):
        keras = first if isinstance(first, KerasModel) else second
        assert isinstance(keras, KerasModel)
        (walk,) = walks.values()
        return _with_keras(first, second, keras, walk, models)
    return _of_files(first, second, models)


def _parsed(text: str) -> tuple[str | None, str | None]:
    """The engine and the file that a side's text names."""
    if os.path.exists(text):
        return None, text
    if text in ENGINES:
        return text, None
    engine, colon, path = text.partition(":")
    return (engine, path) if colon and engine in ENGINES else (None, text)


def _engine(engine: str | None, walk: Walk, memory: int, seed: int | None) -> Side:
    path = walk.label
    if engine == "onnxwalk":
        return Optimized(load(path, seed=seed), f"onnxwalk:{path}")
    if engine == "onnxruntime":
        return OnnxRuntime(walk, f"onnxruntime:{path}", memory)
    if engine == "reference":
        return Reference(walk, f"reference:{path}")
    return walk


def _of_files(a: Side, b: Side, models: tuple[Session | None, Session | None]) -> Sides:
    """Values are matched by their names; outputs by their order where none has the name of one."""
    one, two = models
    assert one is not None and two is not None
    sides = Sides(a, b, models, lambda feeds: [])
    if one is not two:
        sides.b = Renamed(b, _input_names(one, two, a.label, b.label))

    def pairs(feeds: Feeds) -> list[Pair]:
        left, right = a.names(feeds), sides.b.names(feeds)
        sides.counts = len(left), len(right)
        there = set(right)
        same = {name: name for name in left if name in there}
        mine = [info.name for info in one.outputs]
        other = [info.name for info in two.outputs]
        if len(mine) == len(other) and not set(mine) & set(other):
            taken = set(other) | set(mine)
            same = {n: m for n, m in same.items() if not taken & {n, m}}
            same |= {n: m for n, m in zip(mine, other, strict=True) if n in left and m in there}
        layers = layer_of(one.model) or layer_of(two.model)
        return [Pair(n, same[n], layers.get(n, "")) for n in _in_order(one, same)]

    sides.pairs = pairs
    return sides


def _with_keras(
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
        handed = keras.handed(renamed.own(feeds))
        given = onnx_side.names(feeds)
        there = set(given)
        found = {n: t for n, t in matched(session.model, handed, shapes).items() if n in there}
        counts = len(given), len(handed)
        sides.counts = (counts[1], counts[0]) if a is keras else counts
        layers = layer_of(session.model)
        return [
            Pair(
                *((found[n].name, n) if a is keras else (n, found[n].name)),
                layers.get(n, ""),
            )
            for n in _in_order(session, found)
        ]

    sides.pairs = pairs
    return sides


def _of_keras(a: KerasModel, b: KerasModel) -> Sides:
    """Layers are matched by their names; by their order, if they have others and the shapes of what
    they hand on are the same: a model that is built again counts its layers on."""
    other = Renamed(b, _input_names(a, b, a.label, b.label))
    sides = Sides(a, other, (None, None), lambda feeds: [])

    def pairs(feeds: Feeds) -> list[Pair]:
        left, right = a.handed(feeds), b.handed(other.own(feeds))
        sides.counts = len(left), len(right)
        names = [tensor.name for tensor in right]
        alike = [t.shape for t in left] == [t.shape for t in right]
        if alike and {t.name for t in left} != set(names):
            return [
                Pair(t.name, name, t.layer if t.name in a.layers else "")
                for t, name in zip(left, names, strict=True)
            ]
        return [
            Pair(t.name, t.name, t.layer if t.name in a.layers else "")
            for t in left
            if t.name in names
        ]

    sides.pairs = pairs
    return sides


def _in_order(session: Session, names: Iterable[str]) -> list[str]:
    made = [name for node in session.model.graph.nodes for name in node.outputs]
    order = {name: place for place, name in enumerate(made)}
    return sorted(names, key=lambda name: order.get(name, -1))


def _input_names(one: HasInputs, other: HasInputs, label: str, other_label: str) -> dict[str, str]:
    """What the inputs of one side are called on the other: the same, or they go by their order."""
    ours, theirs = ([info.name for info in takes.inputs] for takes in (one, other))
    if set(ours) == set(theirs):
        return {name: name for name in ours}
    if len(ours) != len(theirs):
        raise InvalidInputError(
            f"{other_label} takes {', '.join(theirs) or 'no inputs'}, {label} "
            f"{', '.join(ours) or 'none'}: they can't be compared"
        )
    return dict(zip(ours, theirs, strict=True))
