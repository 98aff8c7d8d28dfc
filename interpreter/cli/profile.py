"""``onnxwalk profile``: measure the time and memory of each node."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.analysis.profile import (
    NodeProfile,
    Profile,
    measure_ceiling,
    profile,
)
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import (
    add_command,
    add_integer,
)
from onnxwalk.interpreter.cli._feeds import add_inputs, build_feeds
from onnxwalk.interpreter.cli._session import add_session, open_session
from onnxwalk.interpreter.files import check_folder, write_file

_DESCRIPTION = """\
Measure the time of every node of a model, and count its operations and bytes.

The nodes are those after the rewrites, in a plan bound to the shapes of the inputs; with
--no-optimize those of the file. Times are medians. FLOP counts additions and multiplications of
the formula, bytes each input and output once. Ceiling is the speed relative to the highest that
this machine reaches in a matrix product or a copy, measured now. Memory is that of the live
intermediate values, without the weights. Nodes inside of subgraphs (of Loop, for instance) are
measured in a walk through all iterations, which takes longer than a run: their shares are of the
time of the node around them, there.

Inputs without --input get random values, as with `run --random`.
"""


def add_parser(commands: Any) -> None:
    """Add ``profile`` to the commands."""
    text = "measure the time of every node of a model"
    parser = add_command(commands, "profile", run, text, _DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    add_inputs(parser)
    text = "size of the dimension named batch or N, or of the first one of each input"
    add_integer(parser, "--batch", text)
    add_integer(parser, "--runs", "number of runs", default=20)
    add_integer(parser, "--top", "nodes to show", default=20)
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="write the last run as Chrome's trace events (.json), for Perfetto or chrome://tracing",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_session(parser, execution=True)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises OnnxWalkError."""
    if args.trace:
        check_folder(args.trace)
    session = open_session(args)
    feeds = build_feeds(session, args, args.batch)
    result = profile(session, feeds, args.runs)
    flops, bandwidth = measure_ceiling()
    report = _report(args.model, result, flops, bandwidth)
    if args.trace:
        write_file(args.trace, json.dumps(_trace_events(args.model, result)))
    if args.json:
        _show.print_json(report)
    else:
        _show_text(report, args.top)
        if args.trace:
            _show.line(f"written to {args.trace}")
    return 0


def _report(model: str, result: Profile, flops: float, bandwidth: float) -> dict[str, Any]:
    """The report as plain data: nodes in the order in which they run."""
    total = sum(node.seconds for node in result.nodes) or 1e-12
    peak = result.peak
    return {
        "model": model,
        "runs": result.runs,
        "seconds": result.seconds,
        "flop": sum(node.flops for node in result.nodes),
        "ceiling": {"flops": flops, "bytes_per_second": bandwidth},
        "nodes": [
            {
                "node": node.node.label,
                "operator": node.node.op_type,
                "outputs": dict(node.outputs),
                **_figures([node], total, flops, bandwidth),
            }
            for node in result.nodes
        ],
        "operators": _operators(result.nodes, total, flops, bandwidth),
        "inside": [
            {
                "node": f"{each.path}/{each.node.label}",
                "operator": each.node.op_type,
                "times": each.times,
                "seconds": each.seconds,
                "share": each.share,
                "flop": each.flops,
                "bytes": each.bytes_moved,
                "outputs": dict(each.outputs),
            }
            for each in result.inside
        ],
        "peak": None
        if peak is None
        else {"after": peak.node.label, "bytes": peak.bytes, "holders": dict(peak.largest)},
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
    # A node needs at least the longer of the times for its operations and for its bytes.
    least = sum(max(n.flops / flops, n.bytes_moved / bandwidth) for n in nodes)
    operations = sum(node.flops for node in nodes)
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
        f"{report['model']}: {_show.duration(report['seconds'])} per run, "
        f"{_si(report['flop'])}FLOP; this machine: {_si(ceilings['flops'])}FLOP/s, "
        f"{_si(ceilings['bytes_per_second'])}B/s"
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
    _show.table(("node", "operator", *figures, "outputs"), by_node, right=figures, indent=2)
    _show_inside(report["inside"], top)
    if report["peak"]:
        peak = report["peak"]
        largest = ", ".join(f"{n} {_show.size(size)}" for n, size in peak["holders"].items())
        _show.line()
        _show.line(f"memory: {_show.size(peak['bytes'])} at most, after {peak['after']}: {largest}")


def _show_inside(inside: Sequence[Mapping[str, Any]], top: int) -> None:
    if not inside:
        return
    slowest = sorted(inside, key=lambda node: -node["seconds"])[:top]
    count = _show.count(len(slowest), "node")
    _show.heading(f"inside of subgraphs, walked through: the slowest {count} of {len(inside)}")
    rows = [
        (
            node["node"],
            node["operator"],
            f"{node['times']:,}",
            _show.duration(node["seconds"]),
            f"{node['share']:.1%}",
            _si(node["flop"]),
            _show.size(node["bytes"]),
            ", ".join(node["outputs"].values()),
        )
        for node in slowest
    ]
    figures = ("times", "time", "share", "FLOP", "moved")
    _show.table(("node", "operator", *figures, "outputs"), rows, right=figures, indent=2)


def _cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _show.duration(figures["seconds"]),
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


def _trace_events(model: str, result: Profile) -> dict[str, Any]:
    """The last run in the Trace Event Format: a slice for each node, and the live memory."""
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": f"onnxwalk {model}"}}
    ]
    for node, memory, start, seconds in zip(
        result.nodes, result.memory, result.starts, result.durations, strict=True
    ):
        position = {"pid": 1, "tid": 1, "ts": start * 1e6}
        events.append(
            {
                "name": node.node.label,
                "cat": node.node.op_type,
                "ph": "X",
                "dur": seconds * 1e6,
                "args": {
                    "operator": node.node.op_type,
                    "flop": node.flops,
                    "bytes": node.bytes_moved,
                    **node.outputs,
                },
                **position,
            }
        )
        events.append({"name": "values", "ph": "C", "args": {"bytes": memory.bytes}, **position})
    return {"traceEvents": events, "displayTimeUnit": "ns"}
