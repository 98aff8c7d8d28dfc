"""``inspect --deep``: the types of all values, what layers hold and compute, the weights, and what
the rewrites make of the graph."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._convert import declared_shape
from onnxwalk.interpreter.cli._random import make_up
from onnxwalk.interpreter.compiler.context import every_node
from onnxwalk.interpreter.compiler.provenance import find_fates
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.ir.model import Graph, SparseTensor, Tensor
from onnxwalk.interpreter.session import Session

#: sizes to try for open dimensions: of the first axis, and of the others
_SIZES = ((2, 32), (2, 64), (2, 224), (1, 1), (2, 8))

#: a value's type and shape by its name; a sequence has no shape
Types = dict[str, tuple[str, "tuple[Any, ...] | None"]]


def deep(session: Session, dims: Mapping[str, int], shapes: Sequence[str]) -> dict[str, Any]:
    """All that is told, as plain data. ``session`` must be as the file has it (optimize=False);
    ``dims`` are sizes of symbolic dimensions, ``shapes`` those of ``--shape``.

    Raises InvalidInputError where no inputs can be made up that the model runs on.
    """
    types, costs = _walked(session, dims, shapes)
    versions = session._program.rewrite_stages()
    return {
        "values": [
            {"name": name, "type": dtype, "shape": None if shape is None else list(shape)}
            for name, (dtype, shape) in types.items()
        ],
        "layers": _layers(session, costs),
        "weights": list(_weights(session)),
        "duplicates": _duplicates(session),
        "rewrites": list(_rewrites(versions)),
        "fates": list(_fates(versions)),
    }


# ------------------------------------------------------------------ types and shapes, by walking


def _walked(
    session: Session, dims: Mapping[str, int], shapes: Sequence[str]
) -> tuple[Types, dict[str, int]]:
    """The types of all values, and the operations of each node by the name of its first output.

    The model is run with made-up inputs of some sizes, then with each open dimension a little
    larger, with each twice as large, and with all twice as large: how a size follows tells what it
    is of the dimensions.
    """
    symbols = _symbols(session)
    base, first, costs = _first_walk(session, symbols, dims, shapes)
    walks = [(base, first)]
    for symbol in symbols:
        for steps in ((1, 2), (base[symbol],)):
            for step in steps:
                try:
                    sizes = {**base, symbol: base[symbol] + step}
                    walks.append((sizes, _walk(session, sizes, shapes)[0]))
                    break
                except OnnxWalkError:
                    continue  # a size that this model doesn't take
    if len(symbols) > 1:
        with contextlib.suppress(OnnxWalkError):
            doubled = {symbol: 2 * size for symbol, size in base.items()}
            walks.append((doubled, _walk(session, doubled, shapes)[0]))
    found: Types = {}
    for name, (dtype, shape) in first.items():
        each = [(sizes, types[name][1]) for sizes, types in walks if name in types]
        if shape is None or any(s is None or len(s) != len(shape) for _, s in each):
            found[name] = dtype, None
            continue
        found[name] = (
            dtype,
            tuple(
                _dimension([(sizes, s[axis]) for sizes, s in each if s is not None])
                for axis in range(len(shape))
            ),
        )
    return found, costs


def _symbols(session: Session) -> list[str]:
    """The open dimensions of the inputs; those without a name are called after their place."""
    found = []
    for info in session.inputs:
        for axis, size in enumerate(declared_shape(info) or ()):
            if not isinstance(size, int):
                found.append(size or f"{info.name}.{axis}")
    return list(dict.fromkeys(found))


def _first_walk(
    session: Session, symbols: Sequence[str], dims: Mapping[str, int], shapes: Sequence[str]
) -> tuple[dict[str, int], Types, dict[str, int]]:
    firsts = {
        (declared_shape(i) or (None,))[0] or f"{i.name}.0" for i in session.inputs
    }  # fmt: skip
    problem: OnnxWalkError | None = None
    tried: list[dict[str, int]] = []
    for batch, other in _SIZES:
        base = {s: dims.get(s, batch if s in firsts else other) for s in symbols}
        if base in tried:
            continue
        tried.append(base)
        try:
            return base, *_walk(session, base, shapes)
        except OnnxWalkError as error:
            problem = problem or error
    raise InvalidInputError(
        f"{session.model.source}: the model doesn't run on made-up inputs; give sizes with --dim "
        f"or --shape: {problem}"
    )


def _walk(
    session: Session, sizes: Mapping[str, int], shapes: Sequence[str]
) -> tuple[Types, dict[str, int]]:
    given = list(shapes)
    named = {text.rpartition("=")[0] for text in shapes}
    for info in session.inputs:
        declared = declared_shape(info)
        if declared is not None and info.name not in named:
            shape = [
                d if isinstance(d, int) else sizes[d or f"{info.name}.{axis}"]
                for axis, d in enumerate(declared)
            ]
            given.append(f"{info.name}={','.join(map(str, shape))}")
    feeds = {name: f.rows.pieces(1 << 62) for name, f in make_up(session, {}, given, 0).items()}
    values = {name: next(iter(pieces)) for name, pieces in feeds.items()}
    types: Types = {name: _type(value) for name, value in values.items()}
    costs = {}
    for event in session.trace(values):
        types |= {name: _type(value) for name, value in event.outputs.items()}
        inputs = [event.inputs.get(name) for name in event.node.inputs]
        costs[event.node.outputs[0]] = event.operator.flops(
            inputs, list(event.outputs.values()), event.node.attributes
        )
    return types, costs


def _type(value: Any) -> tuple[str, tuple[int, ...] | None]:
    if isinstance(value, np.ndarray):
        return _show.dtype_name(value.dtype), value.shape
    return ("sequence" if isinstance(value, list) else "nothing"), None


def _dimension(seen: Sequence[tuple[Mapping[str, int], int]]) -> int | str:
    """A size as a number, or as what it is of the open dimensions: "batch", "2·length + 1",
    "batch·length"; "f(length)" for what is neither a sum nor a product.

    ``seen``: sizes of the open dimensions, and what this one was; the first pair is the base.
    """
    (base, size), *others = seen
    slopes: dict[str, Fraction] = {}
    for sizes, other in others:
        moved = [symbol for symbol in sizes if sizes[symbol] != base[symbol]]
        if len(moved) == 1 and other != size:
            slopes[moved[0]] = Fraction(other - size, sizes[moved[0]] - base[moved[0]])
    if not slopes:
        return size if all(other == size for _, other in others) else "f(…)"
    rest = size - sum(slope * base[symbol] for symbol, slope in slopes.items())
    share = Fraction(size, math.prod(base[symbol] for symbol in slopes))
    if rest.denominator == 1 and all(
        rest + sum(k * sizes[symbol] for symbol, k in slopes.items()) == other
        for sizes, other in seen
    ):
        return _sum(slopes, int(rest))
    if all(share * math.prod(sizes[symbol] for symbol in slopes) == other for sizes, other in seen):
        return _times("·".join(slopes), share)
    return f"f({', '.join(slopes)})"


def _times(name: str, share: Fraction) -> str:
    text = name if share.numerator == 1 else f"{share.numerator}·{name}"
    return text if share.denominator == 1 else f"{text}/{share.denominator}"


def _sum(slopes: Mapping[str, Fraction], rest: int) -> str:
    text = " + ".join(_times(name, slope) for name, slope in slopes.items())
    return f"{text} {'+' if rest > 0 else '−'} {abs(rest)}" if rest else text


# ------------------------------------------------------------------------------ layers and weights


def _layers(session: Session, costs: Mapping[str, int]) -> list[dict[str, Any]]:
    """Parameters, operations and nodes by the part of the nodes' names before the last slash."""
    rows: dict[str, dict[str, Any]] = {}
    counted: set[str] = set()
    weights = _constants(session)
    for node in session.graph.nodes:
        layer = node.label.rpartition("/")[0] or node.label
        row = rows.setdefault(layer, {"layer": layer, "nodes": 0, "parameters": 0, "flop": 0})
        row["nodes"] += 1
        row["flop"] += costs.get(node.outputs[0], 0)
        for name in node.inputs:
            if name in weights and name not in counted:
                counted.add(name)
                row["parameters"] += weights[name].size
    return list(rows.values())


def _constants(session: Session) -> dict[str, np.ndarray]:
    """The initializers, of sparse ones the values that are stored, and what Constant nodes hold."""
    tensors = dict(session.graph.initializers)
    for node in session.graph.nodes:
        held = node.attributes.get("value") or node.attributes.get("sparse_value")
        if node.is_one_of("Constant") and isinstance(held, Tensor | SparseTensor):
            tensors[node.outputs[0]] = held
    return {
        name: (tensor.values if isinstance(tensor, SparseTensor) else tensor).array
        for name, tensor in tensors.items()
    }


def _weights(session: Session) -> Iterator[dict[str, Any]]:
    """Each weight with its type, shape and what its numbers are like."""
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
    """Names of weights that hold the same, where that is more than a few numbers."""
    same: dict[tuple[Any, ...], list[str]] = {}
    for name, array in _constants(session).items():
        if array.dtype != object and array.size > 16:
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            same.setdefault((array.dtype.str, array.shape, digest), []).append(name)
    return [names for names in same.values() if len(names) > 1]


# ---------------------------------------------------------------------------------------- rewrites


def _rewrites(versions: Sequence[tuple[str, Graph]]) -> Iterator[dict[str, Any]]:
    """What each rewrite takes away and puts there, counted by operator."""
    counts = [Counter(node.op_type for node in every_node(graph)) for _, graph in versions]
    for (name, _), before, after in zip(versions[1:], counts, counts[1:], strict=False):
        yield {
            "rewrite": name,
            "nodes": sum(after.values()),
            "removed": dict(before - after),
            "added": dict(after - before),
        }


def _fates(versions: Sequence[tuple[str, Graph]]) -> Iterator[dict[str, Any]]:
    """What became of each node of the file."""
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


def show(found: Mapping[str, Any], most: int) -> None:
    """Print it as tables; ``most``: rows of each, the largest first where that makes sense."""
    layers = sorted(found["layers"], key=lambda row: -max(row["parameters"], row["flop"]))
    _show.heading("layers")
    columns = ("layer", "nodes", "parameters", "FLOP")
    rows = [
        (r["layer"], str(r["nodes"]), f"{r['parameters']:,}", f"{r['flop']:,}")
        for r in _first(layers, most)
    ]
    _show.table(columns, rows, right=columns[1:], indent=2)
    _rest(layers, most)

    _show.heading("values")
    values = [(v["name"], _spelled(v)) for v in _first(found["values"], most)]
    _show.table(("", ""), values, indent=2)
    _rest(found["values"], most)

    _show.heading("weights")
    figures = ("min", "max", "mean", "std", "zeros", "not finite")
    weights = [_weight_row(w) for w in _first(found["weights"], most)]
    _show.table(("weight", "type", *figures), weights, right=figures, indent=2)
    _rest(found["weights"], most)
    for names in found["duplicates"]:
        _show.line(f"  the same: {', '.join(names)}")

    _show.heading("rewrites")
    changes = [
        (r["rewrite"], str(r["nodes"]), _counted(r["removed"]), _counted(r["added"]))
        for r in found["rewrites"]
    ]
    _show.table(("", "nodes", "removed", "added"), changes, right=("nodes",), indent=2)

    changed = [fate for fate in found["fates"] if fate["changed"]]
    _show.heading(
        f"what becomes of nodes ({len(found['fates']) - len(changed):,} stay as they are)"
    )
    became: dict[str, Counter[str]] = {}
    for fate in changed:
        became.setdefault(fate["became"], Counter())[fate["operator"]] += 1
    lines = [(text, _counted(parts)) for text, parts in _first(list(became.items()), most)]
    _show.table(("", "does the work of"), lines, indent=2)
    _rest(list(became), most)


def _first(rows: Sequence[Any], most: int) -> Sequence[Any]:
    return list(itertools.islice(rows, most))


def _rest(rows: Sequence[Any], most: int) -> None:
    if len(rows) > most:
        _show.line(f"  … and {len(rows) - most:,} more: --top {len(rows)} or --json")


def _spelled(value: Mapping[str, Any]) -> str:
    if value["shape"] is None:
        return value["type"]
    return f"{value['type']}[{', '.join(map(str, value['shape']))}]"


def _weight_row(weight: Mapping[str, Any]) -> tuple[str, ...]:
    figures = [
        f"{weight[key]:.3g}" if key in weight else "" for key in ("min", "max", "mean", "std")
    ]
    zeros = f"{weight['zeros']:.0%}" if weight.get("zeros") else ""
    return (
        weight["name"],
        _spelled(weight),
        *figures,
        zeros,
        str(weight.get("not_finite") or ""),
    )


def _counted(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in operators.items())
