"""Open the two sides of a comparison, and match their values."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from onnxwalk.interpreter.analysis.compare.comparison import Sides, Skipped
from onnxwalk.interpreter.analysis.compare.keras_side import KerasModel
from onnxwalk.interpreter.analysis.compare.layers import explain_missing, match_values
from onnxwalk.interpreter.analysis.compare.lockstep import Pair
from onnxwalk.interpreter.analysis.compare.quantized import find_counterparts, find_grids
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
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.names import find_layers
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.session import Session, load

_LIMITS = Limits()

#: the names of the engines
ENGINES = ("onnxwalk", "plain", "onnxruntime", "reference")


def open_sides(
    a: str,
    b: str,
    memory: int,
    *,
    seed: int | None = None,
    threads: int | None = None,
    limits: Limits | None = _LIMITS,
) -> Sides:
    """Open the two sides, each a file, an engine (one of ENGINES, on the file of the other side),
    or ENGINE:FILE. A file is an ONNX model, walked as written, or, by its name, a Keras model.

    ``memory``: bytes of values that may be held at a time; ``threads``: those of other engines;
    ``seed`` and ``limits``: as for ``load``. Raises OnnxWalkError.
    """
    options: dict[str, Any] = {"seed": seed, "limits": limits}
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
            opened.append(KerasModel.load(path, memory, threads))
            continue
        if path not in walks:
            walks[path] = Walk(load(path, optimize=False, **options), path)
        opened.append(_open_engine(engine, walks[path], memory, threads, options))
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
    if os.path.isfile(text):
        return None, text
    if text in ENGINES:  # also where a folder has this name
        return text, None
    engine, colon, path = text.partition(":")
    return (engine, path) if colon and engine in ENGINES else (None, text)


def _open_engine(
    engine: str | None, walk: Walk, memory: int, threads: int | None, options: dict[str, Any]
) -> Side:
    path = walk.label
    if engine == "onnxwalk":
        return Optimized(load(path, **options), f"onnxwalk:{path}")
    if engine == "onnxruntime":
        return OnnxRuntime(walk, f"onnxruntime:{path}", memory, threads)
    if engine == "reference":
        return Reference(walk, f"reference:{path}")
    return walk


def _match_files(a: Side, b: Side, models: tuple[Session | None, Session | None]) -> Sides:
    """Match values by name, and outputs by order if none of them have the same name."""
    one, two = models
    assert one is not None and two is not None
    sides = Sides(a, b, models, lambda feeds: [])
    mine, theirs = find_grids(one.model.graph), find_grids(two.model.graph)
    sides.grids = mine, theirs
    if one is not two:
        sides.b = Renamed(b, _input_names(one, two, a.label, b.label))

    def pairs(feeds: Feeds) -> list[Pair]:
        left, right = a.names(feeds), sides.b.names(feeds)
        sides.counts = len(left), len(right)
        names = dict.fromkeys(right)
        matches = {name: name for name in left if name in names}
        if one is not two:
            graphs = one.model.graph, two.model.graph
            free = [name for name in left if mine.step(name) == 0]
            found = find_counterparts(graphs[1], theirs, graphs[0], right, free, matches)
            matches |= {origin: name for name, origin in found.items()}
            free = [name for name in right if theirs.step(name) == 0]
            found = find_counterparts(graphs[0], mine, graphs[1], left, free, matches)
            used = set(found.values())
            matches = {n: m for n, m in matches.items() if m not in used} | found
        ours, others = ([info.name for info in session.outputs] for session in (one, two))
        if len(ours) == len(others) and not set(ours) & set(others):
            matches = {n: m for n, m in matches.items() if n not in ours and m not in others}
            pairs = zip(ours, others, strict=True)
            matches |= {n: m for n, m in pairs if n in left and m in names}
        sides.unmatched = [
            Skipped(side, name, _reason_of(sides, side))
            for side, own, used in ((0, left, set(matches)), (1, right, set(matches.values())))
            for name in own
            if name not in used
        ]
        layers = find_layers(one.model) or find_layers(two.model)
        return [Pair(n, matches[n], layers.get(n, "")) for n in _sort(one, matches)]

    sides.pairs = pairs
    return sides


def _reason_of(sides: Sides, side: int) -> str:
    one, two = sides.models
    if one is two:
        return f"{(sides.b, sides.a)[side].label} doesn't compute it"
    return f"no value of {(sides.b, sides.a)[side].label} has this name"


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
        matched = {tensor.name for tensor in matches.values()}
        counts = len(names), sum(tensor.returned_as not in matched for tensor in tensors)
        sides.counts = (counts[1], counts[0]) if a is keras else counts
        layers = find_layers(session.model)
        ours, theirs = (1, 0) if a is keras else (0, 1)
        missing = explain_missing(session.model, tensors, shapes, matches)
        between = "Keras has no tensor for it"
        sides.unmatched = [Skipped(theirs, name, reason) for name, reason in missing.items()]
        sides.unmatched += [Skipped(ours, name, between) for name in names if name not in matches]
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
        used, reason = set(matches.values()), "the other model has no layer of this name"
        sides.unmatched = [Skipped(0, t.name, reason) for t in left if t.name not in matches]
        sides.unmatched += [Skipped(1, name, reason) for name in names if name not in used]
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
