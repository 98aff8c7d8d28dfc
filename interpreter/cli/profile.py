"""``onnxwalk profile``: where a run spends its time and its memory."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.analysis.profile import NodeProfile, Profile, ceiling, profile
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._execution import add_execution, execution_of
from onnxwalk.interpreter.cli._feeds import add_arguments, made, whole_number
from onnxwalk.interpreter.cli._limits import add_limits, limits_of
from onnxwalk.interpreter.cli.bench import duration
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import write_file
from onnxwalk.interpreter.session import load

_DESCRIPTION = """\
Time every node of a model, and tell what it computes and moves.

The nodes are those that run: what the rewrites made of the file's, on plans bound to the shapes of
the inputs; with --no-optimize the file's own. Times are medians. FLOP counts additions and
multiplications of the formula, bytes every input and output once; ceiling is the share of what this
machine reaches at most for that many of both, measured now by a product and a copy. Memory is that
of the values in between which are alive, weights apart.

Inputs that aren't given are made up, as `run --random` does.
"""


def add_parser(commands: Any) -> None:
    """Add ``profile`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "profile",
        help="time every node of a model",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    add_arguments(parser)
    parser.add_argument(
        "--batch",
        type=whole_number,
        metavar="N",
        help="size of the dimension named batch or N, or of the first one of each input",
    )
    parser.add_argument(
        "--runs",
        type=whole_number,
        default=20,
        metavar="N",
        help="how often it is run (default: 20)",
    )
    parser.add_argument(
        "--top", type=whole_number, default=20, metavar="N", help="nodes to show (default: 20)"
    )
    add_execution(parser)
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="write the last run as Chrome's trace events (.json), for Perfetto or chrome://tracing",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_limits(parser)


def run(args: argparse.Namespace) -> int:
    """Carry out the command. Raises OnnxWalkError."""
    if args.trace and not args.trace.absolute().parent.is_dir():
        raise InvalidInputError(f"{args.trace}: there is no folder {args.trace.parent}")
    session = load(args.model, limits=limits_of(args), **execution_of(args))
    feeds = made(session, args, args.batch)
    found = profile(session, feeds, args.runs)
    flops, bandwidth = ceiling()
    report = _report(args.model, found, flops, bandwidth)
    if args.trace:
        write_file(args.trace, json.dumps(_events(args.model, found)))
    if args.json:
        _show.print_json(report)
    else:
        _show_text(report, args.top)
        if args.trace:
            _show.line(f"written to {args.trace}")
    return 0


def _report(model: str, found: Profile, flops: float, bandwidth: float) -> dict[str, Any]:
    """All that is told, as plain data: nodes in the order in which they run."""
    total = sum(node.seconds for node in found.nodes) or 1e-12
    nodes = [_row(node, total, flops, bandwidth) for node in found.nodes]
    peak = found.peak
    return {
        "model": model,
        "runs": found.runs,
        "seconds": found.seconds,
        "flop": sum(node.operations for node in found.nodes),
        "ceiling": {"flops": flops, "bytes_per_second": bandwidth},
        "nodes": nodes,
        "operators": _operators(found.nodes, total, flops, bandwidth),
        "peak": None
        if peak is None
        else {"after": peak.node.label, "bytes": peak.bytes, "holders": dict(peak.holders)},
    }


def _row(node: NodeProfile, total: float, flops: float, bandwidth: float) -> dict[str, Any]:
    return {
        "node": node.node.label,
        "operator": node.node.op_type,
        "outputs": dict(node.outputs),
        **_figures([node], total, flops, bandwidth),
    }


def _operators(
    nodes: Sequence[NodeProfile], total: float, flops: float, bandwidth: float
) -> list[dict[str, Any]]:
    kinds: dict[str, list[NodeProfile]] = {}
    for node in nodes:
        kinds.setdefault(node.node.op_type, []).append(node)
    rows = [
        {"operator": kind, "nodes": len(members), **_figures(members, total, flops, bandwidth)}
        for kind, members in kinds.items()
    ]
    return sorted(rows, key=lambda row: -row["seconds"])


def _figures(
    nodes: Sequence[NodeProfile], total: float, flops: float, bandwidth: float
) -> dict[str, Any]:
    seconds = sum(node.seconds for node in nodes)
    # What a node takes at least is the longer of computing and moving.
    least = sum(max(n.operations / flops, n.bytes_moved / bandwidth) for n in nodes)
    operations = sum(node.operations for node in nodes)
    return {
        "seconds": seconds,
        "share": seconds / total,
        "calls": sum(node.calls for node in nodes),
        "flop": operations,
        "bytes": sum(node.bytes_moved for node in nodes),
        "flops": operations / seconds if seconds else 0.0,
        "of_ceiling": least / seconds if seconds else 0.0,
    }


def _show_text(report: Mapping[str, Any], top: int) -> None:
    ceilings = report["ceiling"]
    _show.line(
        f"{report['model']}: {duration(report['seconds'])} a run, {_si(report['flop'])}FLOP; "
        f"this machine: {_si(ceilings['flops'])}FLOP/s, {_si(ceilings['bytes_per_second'])}B/s"
    )
    _show.heading("operators")
    columns = ("operator", "nodes", "time", "share", "calls", "FLOP", "moved", "FLOP/s", "ceiling")
    rows = [(o["operator"], str(o["nodes"]), *_cells(o)) for o in report["operators"]]
    _show.table(columns, rows, right=columns[1:], indent=2)
    slowest = sorted(report["nodes"], key=lambda node: -node["seconds"])[:top]
    _show.heading(f"the slowest {_show.count(len(slowest), 'node')} of {len(report['nodes'])}")
    by_node = [
        (n["node"], n["operator"], *_cells(n), ", ".join(n["outputs"].values())) for n in slowest
    ]
    figures = columns[2:]
    _show.table(("node", "operator", *figures, "gives"), by_node, right=figures, indent=2)
    if report["peak"]:
        peak = report["peak"]
        held = ", ".join(f"{n} {_show.size(size)}" for n, size in peak["holders"].items())
        _show.line()
        _show.line(f"memory: {_show.size(peak['bytes'])} at most, after {peak['after']}: {held}")


def _cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        duration(figures["seconds"]),
        f"{figures['share']:.1%}",
        str(figures["calls"]),
        _si(figures["flop"]),
        _show.size(figures["bytes"]),
        _si(figures["flops"]) if figures["flop"] else "",
        f"{figures['of_ceiling']:.0%}" if figures["calls"] else "",
    )


def _si(number: float) -> str:
    """1234567 as "1.23 M"."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g} "


def _events(model: str, found: Profile) -> dict[str, Any]:
    """The last run in the Trace Event Format: a slice for each node, and the memory alive."""
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": f"onnxwalk {model}"}}
    ]
    for node, holding, start, seconds in zip(
        found.nodes, found.memory, found.starts, found.durations, strict=True
    ):
        slot = {"pid": 1, "tid": 1, "ts": start * 1e6}
        events.append(
            {
                "name": node.node.label,
                "cat": node.node.op_type,
                "ph": "X",
                "dur": seconds * 1e6,
                "args": {
                    "operator": node.node.op_type,
                    "flop": node.operations,
                    "bytes": node.bytes_moved,
                    **node.outputs,
                },
                **slot,
            }
        )
        events.append({"name": "values", "ph": "C", "args": {"bytes": holding.bytes}, **slot})
    return {"traceEvents": events, "displayTimeUnit": "ns"}
