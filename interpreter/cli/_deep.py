"""``inspect --deep``: the types of all values, parameters and FLOPs of layers, statistics of
weights, and the effects of the rewrites."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._random import random_feeds
from onnxwalk.interpreter.compiler.context import every_node
from onnxwalk.interpreter.compiler.provenance import find_fates
from onnxwalk.interpreter.constants import own_tensors
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.ir.model import Graph, SparseTensor
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.tables.convert import declared_shape

#: sizes to try for open dimensions: of the first axis, and of the others
_SIZES = ((2, 32), (2, 64), (2, 224), (1, 1), (2, 8))

#: type and shape of values by name; the shape of a sequence is ``None``
Types = dict[str, tuple[str, "tuple[Any, ...] | None"]]


@dataclass(frozen=True)
class Inputs:
    """What a model is run on: ``feeds``, and random numbers for its other inputs. ``dims``: sizes
    of symbolic dimensions; ``shapes``: the texts of ``--shape``."""

    feeds: Mapping[str, Feed]
    dims: Mapping[str, int]
    shapes: Sequence[str]
    seed: int = 0


def analyze(session: Session, inputs: Inputs) -> dict[str, Any]:
    """The report as plain data. ``session`` must be loaded with optimize=False.

    Raises InvalidInputError if the model doesn't run on these inputs.
    """
    types, flops = _infer_types(session, inputs)
    versions = session._program.rewrite_stages()
    return {
        "values": [
            {"name": name, "type": dtype, "shape": None if shape is None else list(shape)}
            for name, (dtype, shape) in types.items()
        ],
        "layers": _layers(session, flops),
        "weights": list(_weights(session)),
        "duplicates": _duplicates(session),
        "rewrites": list(_rewrites(versions)),
        "fates": list(_fates(versions)),
    }


# ------------------------------------------------------------------ types and shapes, by running


def _infer_types(session: Session, inputs: Inputs) -> tuple[Types, dict[str, int]]:
    """The types of all values, and the FLOPs of each node by the name of its first output.

    The model is run on random inputs of some sizes, then with each open dimension a little larger,
    with each twice as large, and with all twice as large. The sizes of a value in these runs show
    how they depend on the open dimensions. Those of inputs that are given have the sizes given.
    """
    given = {name: feed.read() for name, feed in inputs.feeds.items()}
    known = _sizes_of(session, given)
    inputs = replace(inputs, dims={**inputs.dims, **known})
    symbols = [symbol for symbol in _symbols(session) if symbol not in known]
    base, first, flops = _first_walk(session, symbols, inputs, given)
    walks = [(base, first)]
    for symbol in symbols:
        for steps in ((1, 2), (base[symbol],)):
            for step in steps:
                try:
                    sizes = {**base, symbol: base[symbol] + step}
                    walks.append((sizes, _walk(session, sizes, inputs, given)[0]))
                    break
                except OnnxWalkError:
                    continue  # this model rejects the size
    if len(symbols) > 1:
        with contextlib.suppress(OnnxWalkError):
            doubled = {symbol: 2 * size for symbol, size in base.items()}
            walks.append((doubled, _walk(session, doubled, inputs, given)[0]))
    inferred: Types = {}
    for name, (dtype, shape) in first.items():
        seen = [(sizes, types[name][1]) for sizes, types in walks if name in types]
        if shape is None or any(s is None or len(s) != len(shape) for _, s in seen):
            inferred[name] = dtype, None
            continue
        dimensions = (
            _dimension([(sizes, s[axis]) for sizes, s in seen if s is not None])
            for axis in range(len(shape))
        )
        inferred[name] = dtype, tuple(dimensions)
    return inferred, flops


def _symbols(session: Session) -> list[str]:
    """The open dimensions of the inputs; one without a name is called "input.axis"."""
    return list(
        dict.fromkeys(
            size or f"{info.name}.{axis}"
            for info in session.inputs
            for axis, size in enumerate(declared_shape(info) or ())
            if not isinstance(size, int)
        )
    )


def _sizes_of(session: Session, given: Mapping[str, Any]) -> dict[str, int]:
    """The sizes of the open dimensions of the inputs that are given."""
    return {
        size or f"{info.name}.{axis}": length
        for info in session.inputs
        if info.name in given
        for axis, (size, length) in enumerate(
            zip(declared_shape(info) or (), np.shape(given[info.name]), strict=False)
        )
        if not isinstance(size, int)
    }


def _first_walk(
    session: Session, symbols: Sequence[str], inputs: Inputs, given: Mapping[str, Any]
) -> tuple[dict[str, int], Types, dict[str, int]]:
    firsts = {(declared_shape(i) or (None,))[0] or f"{i.name}.0" for i in session.inputs}
    problem: OnnxWalkError | None = None
    tried: list[dict[str, int]] = []
    for batch, other in _SIZES:
        base = {s: inputs.dims.get(s, batch if s in firsts else other) for s in symbols}
        if base in tried:
            continue
        tried.append(base)
        try:
            return base, *_walk(session, base, inputs, given)
        except OnnxWalkError as error:
            problem = problem or error
    raise InvalidInputError(
        f"{session.model.source}: the model doesn't run on random inputs; pass sizes with --dim or "
        f"--shape, or values with --input: {problem}"
    )


def _walk(
    session: Session, sizes: Mapping[str, int], inputs: Inputs, given: Mapping[str, Any]
) -> tuple[Types, dict[str, int]]:
    texts = list(inputs.shapes)
    named = {*given, *(text.rpartition("=")[0] for text in inputs.shapes)}
    sizes = {**inputs.dims, **sizes}
    for info in session.inputs:
        declared = declared_shape(info)
        if declared is not None and info.name not in named:
            shape = [
                d if isinstance(d, int) else sizes[d or f"{info.name}.{axis}"]
                for axis, d in enumerate(declared)
            ]
            texts.append(f"{info.name}={','.join(map(str, shape))}")
    added = random_feeds(session, inputs.feeds, texts, inputs.seed)
    values = {**given, **{name: feed.read() for name, feed in added.items()}}
    types: Types = {name: _type(value) for name, value in values.items()}
    flops = {}
    for event in session.trace(values):
        types |= {name: _type(value) for name, value in event.outputs.items()}
        arguments = [event.inputs.get(name) for name in event.node.inputs]
        flops[event.node.outputs[0]] = event.operator.flops(
            arguments, list(event.outputs.values()), event.node.attributes
        )
    return types, flops


def _type(value: Any) -> tuple[str, tuple[int, ...] | None]:
    if isinstance(value, np.ndarray):
        return _show.dtype_name(value.dtype), value.shape
    kind = (
        "sequence" if isinstance(value, list) else "map" if isinstance(value, dict) else "nothing"
    )
    return kind, None


def _dimension(seen: Sequence[tuple[Mapping[str, int], int]]) -> int | str:
    """A size as a number or in terms of the open dimensions: "batch", "2·length + 1",
    "batch·length", or "f(length)" if it is neither a sum nor a product.

    ``seen``: the sizes of the open dimensions and this size, for each run; the base comes first.
    """
    (base, size), *others = seen
    slopes: dict[str, Fraction] = {}
    for sizes, other in others:
        varied = [symbol for symbol in sizes if sizes[symbol] != base[symbol]]
        if len(varied) == 1 and other != size:
            slopes[varied[0]] = Fraction(other - size, sizes[varied[0]] - base[varied[0]])
    if not slopes:
        return size if all(other == size for _, other in others) else "f(…)"
    rest = size - sum(slope * base[symbol] for symbol, slope in slopes.items())
    factor = Fraction(size, math.prod(base[symbol] for symbol in slopes))
    if rest.denominator == 1 and all(
        rest + sum(k * sizes[symbol] for symbol, k in slopes.items()) == other
        for sizes, other in seen
    ):
        return _format_sum(slopes, int(rest))
    if all(
        factor * math.prod(sizes[symbol] for symbol in slopes) == other for sizes, other in seen
    ):
        return _format_product("·".join(slopes), factor)
    return f"f({', '.join(slopes)})"


def _format_product(name: str, factor: Fraction) -> str:
    text = name if factor.numerator == 1 else f"{factor.numerator}·{name}"
    return text if factor.denominator == 1 else f"{text}/{factor.denominator}"


def _format_sum(slopes: Mapping[str, Fraction], rest: int) -> str:
    text = " + ".join(_format_product(name, slope) for name, slope in slopes.items())
    return f"{text} {'+' if rest > 0 else '−'} {abs(rest)}" if rest else text


# ------------------------------------------------------------------------------ layers and weights


def _layers(session: Session, flops: Mapping[str, int]) -> list[dict[str, Any]]:
    """Parameters, FLOPs and nodes by layer: the part of a node's name before the last slash."""
    rows: dict[str, dict[str, Any]] = {}
    counted: set[str] = set()
    weights = _constants(session)
    for node in session.graph.nodes:
        layer = node.label.rpartition("/")[0] or node.label
        row = rows.setdefault(layer, {"layer": layer, "nodes": 0, "parameters": 0, "flop": 0})
        row["nodes"] += 1
        row["flop"] += flops.get(node.outputs[0], 0)
        for name in node.inputs:
            if name in weights and name not in counted:
                counted.add(name)
                row["parameters"] += weights[name].size
    return list(rows.values())


def _constants(session: Session) -> dict[str, np.ndarray]:
    """Initializers and the values of Constant nodes; of sparse ones the stored elements."""
    tensors = own_tensors(session.graph)
    return {
        name: (tensor.values if isinstance(tensor, SparseTensor) else tensor).array
        for name, tensor in tensors.items()
    }


def _weights(session: Session) -> Iterator[dict[str, Any]]:
    """Type, shape and statistics of each weight."""
    for name, array in _constants(session).items():
        row: dict[str, Any] = {
            "name": name,
            "type": _show.dtype_name(array.dtype),
            "shape": list(array.shape),
        }
        if array.dtype.kind in "biufV" and array.size:
            numbers = _show.widened(array).astype(np.float64)
            finite = numbers[np.isfinite(numbers)]
            row["zeros"] = float((numbers == 0).mean())
            row["not_finite"] = int(numbers.size - finite.size)
            if finite.size:
                row |= {
                    "min": float(finite.min()),
                    "max": float(finite.max()),
                    "mean": float(finite.mean()),
                    "std": float(finite.std()),
                }
        yield row


def _duplicates(session: Session) -> list[list[str]]:
    """Groups of equal weights, by name; small ones are left out."""
    same: dict[tuple[Any, ...], list[str]] = {}
    for name, array in _constants(session).items():
        if array.dtype != object and array.size > 16:
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            same.setdefault((array.dtype.str, array.shape, digest), []).append(name)
    return [names for names in same.values() if len(names) > 1]


# ---------------------------------------------------------------------------------------- rewrites


def _rewrites(versions: Sequence[tuple[str, Graph]]) -> Iterator[dict[str, Any]]:
    """The nodes that each rewrite removes and adds, counted by operator."""
    counts = [Counter(node.op_type for node in every_node(graph)) for _, graph in versions]
    for (name, _), before, after in zip(versions[1:], counts, counts[1:], strict=False):
        yield {
            "rewrite": name,
            "nodes": sum(after.values()),
            "removed": dict(before - after),
            "added": dict(after - before),
        }


def _fates(versions: Sequence[tuple[str, Graph]]) -> Iterator[dict[str, Any]]:
    """The provenance of each node of the file."""
    for node, fate in find_fates(versions).items():
        yield {
            "node": node.label,
            "operator": node.op_type,
            "became": str(fate),
            "changed": not fate.is_kept,
            "with": [part.label for part in fate.parts if part is not node],
            "rewrites": list(fate.rewrites),
        }


# ------------------------------------------------------------------------------------------ as text


def show(report: Mapping[str, Any], top: int) -> None:
    """Print the report as tables of at most ``top`` rows; the layers are sorted by size."""
    layers = sorted(report["layers"], key=lambda row: -max(row["parameters"], row["flop"]))
    _show.heading("layers")
    columns = ("layer", "nodes", "parameters", "FLOP")
    rows = [
        (r["layer"], str(r["nodes"]), f"{r['parameters']:,}", f"{r['flop']:,}")
        for r in layers[:top]
    ]
    _show.table(columns, rows, right=columns[1:], indent=2)
    _show_rest(layers, top)

    _show.heading("values")
    values = [(v["name"], _type_text(v)) for v in report["values"][:top]]
    _show.table(("", ""), values, indent=2)
    _show_rest(report["values"], top)

    _show.heading("weights")
    figures = ("min", "max", "mean", "std", "zeros", "not finite")
    weights = [_weight_row(w) for w in report["weights"][:top]]
    _show.table(("weight", "type", *figures), weights, right=figures, indent=2)
    _show_rest(report["weights"], top)
    for names in report["duplicates"]:
        _show.line(f"  equal: {', '.join(names)}")

    _show.heading("rewrites")
    changes = [
        (r["rewrite"], str(r["nodes"]), _list_counts(r["removed"]), _list_counts(r["added"]))
        for r in report["rewrites"]
    ]
    _show.table(("", "nodes", "removed", "added"), changes, right=("nodes",), indent=2)

    changed = [fate for fate in report["fates"] if fate["changed"]]
    unchanged = len(report["fates"]) - len(changed)
    _show.heading(f"replaced nodes ({unchanged:,} are unchanged)")
    became: dict[str, Counter[str]] = {}
    for fate in changed:
        became.setdefault(fate["became"], Counter())[fate["operator"]] += 1
    lines = [(text, _list_counts(parts)) for text, parts in list(became.items())[:top]]
    _show.table(("", "replaces"), lines, indent=2)
    _show_rest(list(became), top)


def _show_rest(rows: Sequence[Any], top: int) -> None:
    if len(rows) > top:
        _show.line(f"  … and {len(rows) - top:,} more: --top {len(rows)} or --json")


def _type_text(value: Mapping[str, Any]) -> str:
    if value["shape"] is None:
        return value["type"]
    return f"{value['type']}[{', '.join(map(str, value['shape']))}]"


def _weight_row(weight: Mapping[str, Any]) -> tuple[str, ...]:
    figures = [
        f"{weight[key]:.3g}" if key in weight else "" for key in ("min", "max", "mean", "std")
    ]
    zeros = f"{weight['zeros']:.0%}" if weight.get("zeros") else ""
    not_finite = str(weight.get("not_finite") or "")
    return (weight["name"], _type_text(weight), *figures, zeros, not_finite)


def _list_counts(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in operators.items())
