"""``onnxwalk compare``: find where two models, or two engines on one model, differ."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.analysis.compare import (
    ENGINES,
    Cause,
    Comparison,
    InnerCause,
    Row,
    Sides,
    Tolerance,
    compare,
    extract,
    find_cause,
    find_inner_cause,
    open_sides,
)
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import (
    add_command,
    add_integer,
    check_folder,
    non_negative_number,
)
from onnxwalk.interpreter.cli._feeds import add_inputs
from onnxwalk.interpreter.cli._samples import EDGES, generate_samples
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import Node

_DESCRIPTION = f"""\
Run two sides on the same samples, compare every value that both have, and report the first one in
the order of the graph that differs, with the node that computes it.

A and B are each one of
  FILE.onnx          run node by node as in the file: all values are compared
  FILE.keras, .h5    matched layer by layer, by the record of layers that the exporter writes into
                     the .onnx file; two Keras models by the names or the order of their layers
  an engine          on the file of the other side: onnxruntime, reference (onnx's evaluator),
                     onnxwalk (as `run`, with all rewrites) or plain (as `run --no-optimize`)
  ENGINE:FILE.onnx   an engine on another file
`compare FILE onnxwalk` and `compare FILE plain` are the same: with and without optimization.
Values of two files are matched by name, outputs by order if none of them have the same name.

The relative error of a tensor is max|a-b| / max|b|. Two tensors are equal if max|a-b| is at most
ATOL + RTOL max|b|, NaN and infinities are at the same positions, and the shapes are equal; texts
must be identical.

Samples are random (floats from 0 to 1, integers from 0 to 9) for all inputs without --input. Edge
cases are {", ".join(EDGES)}; for integers zeros and ones only.

Exit status: 0 if all values are equal, 1 if not, 2 if they couldn't be compared.
"""


def add_parser(commands: Any) -> None:
    """Add ``compare`` to the commands."""
    text = "find where two models or engines differ"
    parser = add_command(commands, "compare", run, text, _DESCRIPTION, failure=2)
    engines = ", ".join(ENGINES)
    parser.add_argument("a", metavar="A", help=f"a file, an engine ({engines}), or ENGINE:FILE")
    parser.add_argument("b", metavar="B", help="the same; the reference for A")
    add_integer(parser, "--samples", "number of random samples", default=3)
    parser.add_argument(
        "--edge", action="store_true", help=f"also compare on {', '.join(EDGES)} as inputs"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the first sample (default: 0)"
    )
    add_inputs(parser)
    text = (
        "size of the dimension named batch or N, or of the first one of each input; with --input, "
        "the rows of a sample"
    )
    add_integer(parser, "--batch", text)
    parser.add_argument(
        "--atol",
        type=non_negative_number,
        default=1e-6,
        metavar="T",
        help="see above (default: 1e-6)",
    )
    parser.add_argument(
        "--rtol",
        type=non_negative_number,
        metavar="T",
        help="see above (default: 1e-3 for floats, 1e-6 for float64, 2e-2 for float16, 1e-1 for "
        "bfloat16, 0 for integers)",
    )
    text = "memory for the values that an engine returns at a time, or that wait for the other side"
    add_integer(parser, "--memory", text, default=256, metavar="MB")
    add_integer(parser, "--top", "values to show", default=10)
    parser.add_argument(
        "--extract",
        type=Path,
        metavar="FILE",
        help="write the smallest model that shows the first difference: the node, its inputs as "
        "constants, and the result of the other side",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command: 1 if the sides differ. Raises OnnxWalkError."""
    if args.extract:
        check_folder(args.extract)
    memory = args.memory * 1_000_000
    tolerance = Tolerance(args.atol, args.rtol)
    sides = open_sides(args.a, args.b, memory, args.seed)
    if args.extract and not any(sides.models):
        raise InvalidInputError(f"--extract {args.extract}: one side must be an .onnx file")
    comparison = compare(sides, generate_samples(sides.inputs, args), tolerance, memory)
    cause = find_cause(sides, comparison, tolerance)
    inner = find_inner_cause(sides, comparison, cause, tolerance) if cause else None
    extracted: list[str] = []
    if args.extract and cause and cause.node:
        extracted = extract(sides, comparison, cause, tolerance, args.extract)
    report = _report(sides, comparison, cause, inner, args)
    if args.json:
        _show.print_json(report | {"extracted": extracted})
    else:
        _show_text(report, args.top)
        if extracted:
            _show.line(f"written to {args.extract}: outputs {', '.join(extracted)}")
        elif args.extract:
            _show.line(f"{args.extract} was not written: no node differs")
    return int(not comparison.equal)


def _report(
    sides: Sides,
    comparison: Comparison,
    cause: Cause | None,
    inner: InnerCause | None,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """The report as plain data; values are ranked by their relative errors."""
    session = sides.models[sides.main]
    nodes = {n: v for v in session.model.graph.nodes for n in v.outputs} if session else {}
    rows = []
    for row in comparison.ranked:
        name = row.pair[sides.main]
        rows.append(_row(row, name, nodes.get(name)))
    return {
        "a": sides.a.label,
        "b": sides.b.label,
        "equal": comparison.equal,
        "samples": comparison.samples,
        "atol": args.atol,
        "rtol": args.rtol,
        "values": {
            "a": comparison.counts[0],
            "b": comparison.counts[1],
            "compared": len(comparison.rows),
        },
        "differing": sum(not row.equal for row in comparison.rows),
        "first": None if cause is None else _first(cause, inner),
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
        **worst.as_data(spots=False),
        "sample": row.sample,
    }


def _first(cause: Cause, inner: InnerCause | None) -> dict[str, Any]:
    worst = cause.row.worst
    assert worst is not None
    return {
        **_row(cause.row, cause.name, cause.node),
        "nodes": [{"node": n.label, "operator": n.op_type} for n in cause.nodes],
        "inputs": dict(cause.inputs),
        "differs_most": worst.as_data()["differs_most"],
        "weights": {name: weight.as_data() for name, weight in cause.weights.items()},
        "changes": list(cause.changes),
        "inside": None if inner is None else _inner(inner),
    }


def _inner(inner: InnerCause) -> dict[str, Any]:
    return {
        "node": inner.path,
        "operator": inner.node.op_type,
        "value": inner.name,
        "same": inner.equal_count,
        **inner.difference.as_data(),
        "inputs": dict(inner.inputs),
        "weights": {name: weight.as_data() for name, weight in inner.weights.items()},
    }


# --- text


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
                _show.error_size(row["relative"]),
                _show.error_size(row["absolute"]),
                _types(row),
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


def _types(row: dict[str, Any]) -> str:
    return " / ".join(dict.fromkeys((row["type_a"], row["type_b"])))


def _show_first(first: dict[str, Any]) -> None:
    where = [f"node '{first['node']}' ({first['operator']})"] if first["node"] else []
    where += [f"layer '{first['layer']}'"] if first["layer"] else []
    _show.heading(f"first difference: {', '.join(where) or 'no node'}")
    rows = [("value", " / ".join(dict.fromkeys((first["a"], first["b"]))))]
    rows += _error_rows(first)
    rows.append(("sample", first["sample"]))
    if len(first["nodes"]) > 1:
        nodes = ", ".join(f"{n['node']} ({n['operator']})" for n in first["nodes"])
        rows.append(("computed by", nodes))
    rows += _input_rows(first["inputs"])
    rows += [("changed", change) for change in first["changes"]]
    _show.table(("", ""), rows, indent=2)
    _show_spots("value", first["differs_most"])
    _show_weights(first["weights"])
    if first["inside"]:
        _show_inner(first["inside"])


def _show_inner(inner: dict[str, Any]) -> None:
    _show.heading(f"first difference inside it: node '{inner['node']}' ({inner['operator']})")
    equal = _show.count(inner["same"], "value")
    rows = [("value", inner["value"]), *_error_rows(inner), ("before it", f"{equal} equal")]
    _show.table(("", ""), [*rows, *_input_rows(inner["inputs"])], indent=2)
    _show_spots("value", inner["differs_most"])
    _show_weights(inner["weights"])


def _error_rows(difference: dict[str, Any]) -> list[tuple[str, str]]:
    """The types, the error and the reason of a difference, as rows of a table."""
    relative, absolute = (_show.error_size(difference[key]) for key in ("relative", "absolute"))
    rows = [("type", _types(difference)), ("error", f"{relative} relative, {absolute} absolute")]
    return rows + ([("", difference["reason"])] if difference["reason"] else [])


def _input_rows(inputs: dict[str, str]) -> list[tuple[str, str]]:
    texts = [f"{name}: {text}" for name, text in inputs.items()]
    return [("" if index else "inputs", text) for index, text in enumerate(texts)]


def _show_weights(weights: dict[str, Any]) -> None:
    for name, weight in weights.items():
        error = weight["reason"] or f"{_show.error_size(weight['relative'])} relative"
        _show.line(f"  weight '{name}' differs: {error}")
        _show_spots("weight", weight["differs_most"])


def _show_spots(noun: str, spots: Sequence[dict[str, Any]]) -> None:
    if spots:
        rows = [(str(spot["index"]), _element(spot["a"]), _element(spot["b"])) for spot in spots]
        _show.table((f"{noun} at", "a", "b"), rows, right=("a", "b"), indent=4)


def _element(value: Any) -> str:
    return repr(value) if isinstance(value, (str, bytes)) else str(value)
