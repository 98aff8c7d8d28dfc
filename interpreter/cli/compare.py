"""``onnxwalk compare``: where two models, or two engines on one model, part."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.analysis.compare import (
    ENGINES,
    Cause,
    Comparison,
    Difference,
    Inside,
    Row,
    Sides,
    Spot,
    Tolerance,
    compare,
    extract,
    find_cause,
    find_inside,
    open_sides,
)
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._feeds import add_arguments, whole_number
from onnxwalk.interpreter.cli._samples import EDGES, samples
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import Node

_DESCRIPTION = f"""\
Run two sides on the same samples, compare every value that both have, and name the first one in
the order of the graph that differs, with the node that made it.

A and B are each one of
  FILE.onnx          run node by node as the file has it: every value is there
  FILE.keras, .h5    matched layer by layer, by the record that the exporter left in the file of
                     the other side; two of them by the names of their layers, or by their order
  an engine          on the other side's file: onnxruntime, reference (onnx's evaluator),
                     onnxwalk (as `run` does it: rewritten and optimized) or
                     plain (onnxwalk without optimization, as `run --no-optimize`)
  ENGINE:FILE.onnx   an engine on a file of its own
`compare FILE onnxwalk` and `compare FILE plain` are the same: with and without optimization.
Values of two files are matched by their names, outputs by their order if all have other names.

The relative error of a value is max|a-b| / max|b| over the whole tensor. It is equal if max|a-b|
is at most ATOL + RTOL max|b|, NaN and infinities are at the same places, and shapes agree; texts
have to be the same.

Samples are made up (numbers from 0 to 1, whole ones from 0 to 9) where --input doesn't give all
inputs. Edge cases are {", ".join(EDGES)}; whole numbers are zeros and ones only.

Exit status: 0 if all is equal, 1 if not, 2 if it couldn't be compared.
"""


def add_parser(commands: Any) -> None:
    """Add ``compare`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "compare",
        help="tell where two models or engines part",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, failure=2)
    engines = ", ".join(ENGINES)
    parser.add_argument("a", metavar="A", help=f"a file, an engine ({engines}), or ENGINE:FILE")
    parser.add_argument("b", metavar="B", help="the same; what A is measured by")
    parser.add_argument(
        "--samples", type=whole_number, default=3, metavar="N", help="made-up samples (default: 3)"
    )
    parser.add_argument(
        "--edge", action="store_true", help=f"also compare on {', '.join(EDGES)} as inputs"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the first made-up sample (default: 0)"
    )
    add_arguments(parser)
    parser.add_argument(
        "--batch",
        type=whole_number,
        metavar="N",
        help="size of the dimension named batch or N, or of the first one of each input; of what "
        "--input gives, N rows make a sample",
    )
    parser.add_argument(
        "--atol", type=_tolerance, default=1e-6, metavar="T", help="see above (default: 1e-6)"
    )
    parser.add_argument(
        "--rtol",
        type=_tolerance,
        metavar="T",
        help="see above (default: 1e-3 for floats, 1e-6 for float64, 2e-2 for float16, 1e-1 for "
        "bfloat16, 0 for whole numbers)",
    )
    parser.add_argument(
        "--memory",
        type=whole_number,
        default=256,
        metavar="MB",
        help="of values that an engine is asked for at a time, or that wait for the other side "
        "(default: 256)",
    )
    parser.add_argument(
        "--top", type=whole_number, default=10, metavar="N", help="values to show (default: 10)"
    )
    parser.add_argument(
        "--extract",
        type=Path,
        metavar="FILE",
        help="write the smallest model that shows the first difference: the node, its inputs as "
        "data, and what the other side gave",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 1 if the sides differ. Raises OnnxWalkError."""
    if args.extract and not args.extract.absolute().parent.is_dir():
        raise InvalidInputError(f"{args.extract}: there is no folder {args.extract.parent}")
    memory = args.memory * 1_000_000
    tolerance = Tolerance(args.atol, args.rtol)
    sides = open_sides(args.a, args.b, memory, args.seed)
    if args.extract and not any(sides.models):
        raise InvalidInputError(f"--extract {args.extract}: two Keras models have no nodes")
    found = compare(sides, samples(sides.takes, args), tolerance, memory)
    cause = find_cause(sides, found, tolerance)
    inside = find_inside(sides, found, cause, tolerance) if cause else None
    written: list[str] = []
    if args.extract and cause and cause.node:
        written = extract(sides, found, cause, tolerance, args.extract)
    report = _report(sides, found, cause, inside, args)
    if args.json:
        _show.print_json(report | {"extracted": written})
    else:
        _show_text(report, args.top)
        if written:
            _show.line(f"written to {args.extract}: outputs {', '.join(written)}")
        elif args.extract:
            _show.line(f"{args.extract} is not written: there is no difference to show")
    return int(not found.equal)


def _report(
    sides: Sides,
    found: Comparison,
    cause: Cause | None,
    inside: Inside | None,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """All that is told, as plain data; values are ranked by their relative errors."""
    makers = [
        {n: node for node in s.model.graph.nodes for n in node.outputs} if s else {}
        for s in sides.models
    ]
    nodes = makers[sides.leader]
    rows = []
    for row in found.ranked:
        name = row.pair[sides.leader]
        rows.append(_row(row, name, nodes.get(name)))
    return {
        "a": sides.a.label,
        "b": sides.b.label,
        "equal": found.equal,
        "samples": found.samples,
        "atol": args.atol,
        "rtol": args.rtol,
        "values": {"a": found.counts[0], "b": found.counts[1], "compared": len(found.rows)},
        "differing": sum(not row.equal for row in found.rows),
        "first": None if cause is None else _first(cause, inside),
        "compared": rows,
    }


def _row(row: Row, name: str, node: Node | None) -> dict[str, Any]:
    worst = row.worst
    assert worst is not None
    return {
        "value": name,
        "a": row.pair.a,
        "b": row.pair.b,
        "layer": row.pair.layer or None,
        "node": node.label if node else None,
        "operator": node.op_type if node else None,
        "equal": worst.equal,
        "relative": worst.relative,
        "absolute": worst.absolute,
        "reason": worst.reason or None,
        "type_a": worst.a,
        "type_b": worst.b,
        "sample": row.sample,
    }


def _first(cause: Cause, inside: Inside | None) -> dict[str, Any]:
    worst = cause.row.worst
    assert worst is not None
    return {
        **_row(cause.row, cause.name, cause.node),
        "nodes": [{"node": n.label, "operator": n.op_type} for n in cause.nodes],
        "inputs": dict(cause.inputs),
        "differs_most": [_spot(spot) for spot in worst.spots],
        "weights": {name: _apart(apart) for name, apart in cause.weights.items()},
        "changes": list(cause.changes),
        "inside": None if inside is None else _within(inside),
    }


def _within(inside: Inside) -> dict[str, Any]:
    worst = inside.worst
    return {
        "node": inside.where,
        "operator": inside.node.op_type,
        "value": inside.name,
        "same": inside.same,
        **_apart(worst),
        "inputs": dict(inside.inputs),
        "weights": {name: _apart(apart) for name, apart in inside.weights.items()},
    }


def _apart(apart: Difference) -> dict[str, Any]:
    return {
        "relative": apart.relative,
        "absolute": apart.absolute,
        "type_a": apart.a,
        "type_b": apart.b,
        "reason": apart.reason or None,
        "differs_most": [_spot(spot) for spot in apart.spots],
    }


def _spot(spot: Spot) -> dict[str, Any]:
    return {"index": list(spot.index), "a": spot.a, "b": spot.b}


# --- for people


def _show_text(report: dict[str, Any], top: int) -> None:
    values, shown = report["values"], report["compared"][:top]
    _show.line(f"a: {report['a']}, {_show.count(values['a'], 'value')}")
    _show.line(f"b: {report['b']}, {_show.count(values['b'], 'value')}")
    _show.line(
        f"{values['compared']:,} compared on {_show.count(len(report['samples']), 'sample')}: "
        + ", ".join(report["samples"])
    )
    if report["first"]:
        _show_first(report["first"])
    _show.heading(f"the largest relative errors, {len(shown)} of {values['compared']:,}")
    by_layer = any(row["layer"] for row in shown)
    columns = ["value", *(["layer"] if by_layer else []), "operator", "relative", "absolute"]
    _show.table(
        [*columns, "type", "sample", ""],
        [
            [
                row["value"],
                *([row["layer"] or ""] if by_layer else []),
                row["operator"] or "",
                _figure(row["relative"]),
                _figure(row["absolute"]),
                row["type_a"] if row["type_a"] == row["type_b"] else _both(row),
                row["sample"],
                "" if row["equal"] else f"DIFFERENT {row['reason'] or ''}".rstrip(),
            ]
            for row in shown
        ],
        right=("relative", "absolute"),
        indent=2,
    )
    _show.line()
    _show.line(
        "equal within the tolerance"
        if report["equal"]
        else f"{report['differing']:,} of {values['compared']:,} values differ"
    )


def _both(row: dict[str, Any]) -> str:
    return f"{row['type_a']} / {row['type_b']}"


def _show_first(first: dict[str, Any]) -> None:
    where = [f"node '{first['node']}' ({first['operator']})"] if first["node"] else []
    where += [f"layer '{first['layer']}'"] if first["layer"] else []
    _show.heading(f"first difference: {', '.join(where) or 'no node'}")
    rows = [("value", first["a"] if first["a"] == first["b"] else f"{first['a']} / {first['b']}")]
    rows += _about(first)
    rows.append(("sample", first["sample"]))
    if len(first["nodes"]) > 1:
        made = ", ".join(f"{n['node']} ({n['operator']})" for n in first["nodes"])
        rows.append(("made by", made))
    rows += _operands(first["inputs"])
    for change in first["changes"]:
        rows.append(("changed", change))
    _show.table(("", ""), rows, indent=2)
    _show_spots("value", first["differs_most"])
    _show_weights(first["weights"])
    if first["inside"]:
        _show_inside(first["inside"])


def _show_inside(inside: dict[str, Any]) -> None:
    _show.heading(f"within it, first: node '{inside['node']}' ({inside['operator']})")
    same = _show.count(inside["same"], "value")
    rows = [("value", inside["value"]), *_about(inside), ("before it", f"{same} the same")]
    _show.table(("", ""), [*rows, *_operands(inside["inputs"])], indent=2)
    _show_spots("value", inside["differs_most"])
    _show_weights(inside["weights"])


def _about(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The types, the error and the reason of a difference, as rows of a table."""
    rows = [
        ("type", found["type_a"] if found["type_a"] == found["type_b"] else _both(found)),
        ("error", f"{_figure(found['relative'])} relative, {_figure(found['absolute'])} absolute"),
    ]
    return rows + ([("", found["reason"])] if found["reason"] else [])


def _operands(inputs: dict[str, str]) -> list[tuple[str, str]]:
    texts = [f"{name}: {text}" for name, text in inputs.items()]
    return [("" if place else "out of", text) for place, text in enumerate(texts)]


def _show_weights(weights: dict[str, Any]) -> None:
    for name, weight in weights.items():
        what = weight["reason"] or f"{_figure(weight['relative'])} relative"
        _show.line(f"  weight '{name}' is another: {what}")
        _show_spots("weight", weight["differs_most"])


def _show_spots(what: str, spots: Sequence[dict[str, Any]]) -> None:
    if spots:
        rows = [(str(spot["index"]), _element(spot["a"]), _element(spot["b"])) for spot in spots]
        _show.table((f"{what} at", "a", "b"), rows, right=("a", "b"), indent=4)


def _element(value: Any) -> str:
    return repr(value) if isinstance(value, (str, bytes)) else str(value)


def _figure(number: float) -> str:
    return "–" if math.isinf(number) else "0" if number == 0 else f"{number:.1e}"


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return value
