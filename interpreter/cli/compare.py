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
    Rule,
    Sides,
    Tolerance,
    compare,
    compare_weights,
    extract,
    find_cause,
    find_inner_cause,
    open_sides,
)
from onnxwalk.interpreter.cli import _plot, _show
from onnxwalk.interpreter.cli._arguments import (
    add_command,
    add_integer,
    add_repeated,
    non_negative_number,
)
from onnxwalk.interpreter.cli._compared import draw, show
from onnxwalk.interpreter.cli._feeds import add_inputs
from onnxwalk.interpreter.cli._limits import get_limits
from onnxwalk.interpreter.cli._samples import EDGES, generate_samples
from onnxwalk.interpreter.cli._session import add_session
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import check_folder
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
Values of two files are matched by name, outputs by order if none of them have the same name, and
those of a quantized file by the names that they had before: its integers are compared as the real
numbers that they stand for, and its weights with the other's. What has no counterpart is named.

The relative error of a tensor is max|a-b| / max|b|. Two tensors are equal if max|a-b| is at most
ATOL + RTOL max|b|, NaN and infinities are at the same positions, and the shapes are equal; texts
must be identical. Values of a quantized tensor may differ by a step of its scale (--steps).
For each there are also the mean and the percentiles of |a-b|, the cosine of a and b as vectors,
the SQNR, 10·log10(Σb² / Σ(a-b)²) in dB, and the share of the elements beyond the tolerance.

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
    add_repeated(
        parser,
        "--tolerance",
        metavar="NAME=ATOL[,RTOL]",
        help="another tolerance for a value, a layer, an operator or a type, or for all that match "
        "a pattern, as in float16=0.01 or 'attention*=0,0.05'",
    )
    parser.add_argument(
        "--steps",
        type=non_negative_number,
        default=1.0,
        metavar="N",
        help="how many steps of its scale a value of a quantized tensor may differ (default: 1)",
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
    text = "draw the errors of all values in the order of the graph: .svg, .png, .pdf"
    parser.add_argument("--plot", type=Path, metavar="FILE", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command: 1 if the sides differ. Raises OnnxWalkError."""
    if args.extract:
        check_folder(args.extract)
    if args.plot:
        _plot.check(args.plot)
    memory = args.memory * 1_000_000
    tolerance = Tolerance(args.atol, args.rtol, args.steps, _parse_rules(args.tolerance))
    options = {"limits": get_limits(args), "seed": args.seed}
    sides = open_sides(args.a, args.b, memory, threads=args.threads, **options)
    if args.extract and not any(sides.models):
        raise InvalidInputError(f"--extract {args.extract}: one side must be an .onnx file")
    comparison = compare(sides, generate_samples(sides.inputs, args), tolerance, memory)
    cause = find_cause(sides, comparison, tolerance)
    inner = find_inner_cause(sides, comparison, cause, tolerance) if cause else None
    extracted: list[str] = []
    if args.extract and cause and cause.node:
        extracted = extract(sides, comparison, cause, tolerance, args.extract)
    report = _report(sides, comparison, cause, inner, args)
    if args.plot:
        draw(args.plot, report)
    if args.json:
        _show.print_json(report | {"extracted": extracted})
    else:
        show(report, args.top)
        if extracted:
            _show.line(f"written to {args.extract}: outputs {', '.join(extracted)}")
        elif args.extract:
            _show.line(f"{args.extract} was not written: no node differs")
        if args.plot:
            _show.line(f"written to {args.plot}")
    return int(not comparison.equal)


def _parse_rules(texts: Sequence[str]) -> tuple[Rule, ...]:
    rules = []
    for text in texts:
        pattern, _, numbers = text.rpartition("=")
        try:
            parts = [non_negative_number(number) for number in numbers.split(",")]
        except argparse.ArgumentTypeError:
            parts = []
        if not pattern or not 1 <= len(parts) <= 2:
            raise InvalidInputError(
                f"--tolerance {text}: expected NAME=ATOL or NAME=ATOL,RTOL, as in int8=1"
            )
        rules.append(Rule(pattern, parts[0], parts[1] if len(parts) > 1 else None))
    return tuple(rules)


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
    skipped = [
        {"side": "ab"[each.side], "value": each.name, "reason": each.reason}
        for each in comparison.skipped
    ]
    weights = [
        {"a": row.a, "b": row.b, "step": row.step, **row.difference.as_data(spots=False)}
        for row in compare_weights(sides)
    ]
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
        "order": [row.pair[sides.main] for row in comparison.rows],
        "not_compared": skipped,
        "weights": weights,
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
        "axes": None if row.axes is None else list(row.axes),
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
