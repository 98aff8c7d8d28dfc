"""``onnxwalk diff``: what is other in one model file than in another."""

from __future__ import annotations

import argparse
import math
from typing import Any

from onnxwalk.interpreter.analysis.diff import as_data, diff
from onnxwalk.interpreter.budget import use_budget
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._limits import add_limits, budget_of
from onnxwalk.interpreter.reader import read_model

_DESCRIPTION = """\
Tell what is other in one model file than in another: header, inputs and outputs, nodes, declared
shapes, weights; also of nodes within nodes. Things are matched by their names; nodes without one,
or with one that others have too, by their first output. Nothing is run: `compare` does that.

Weights are the same if they are bit by bit. The relative difference is max|a-b| / max|b|.

Exit status: 0 if the files say the same (nodes may be in another order), 1 if not, 2 if one
couldn't be read.
"""

_LONGEST = 200  # characters of a line in the tables


def add_parser(commands: Any) -> None:
    """Add ``diff`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "diff",
        help="tell what is other in another model file",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, failure=2)
    parser.add_argument("a", metavar="A", help="an .onnx file")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_limits(parser)


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 1 if the files differ. Raises OnnxWalkError."""
    with use_budget(budget_of(args)):
        found = diff(read_model(args.a), read_model(args.b))
    report = {"a": args.a, "b": args.b, **as_data(found)}
    if args.json:
        _show.print_json(report)
    else:
        _show_text(report)
    return int(not found.equal)


def _show_text(report: dict[str, Any]) -> None:
    _show.line(f"a: {report['a']}")
    _show.line(f"b: {report['b']}")
    for section in ("header", "inputs", "outputs", "nodes", "values"):
        _show_named("declared shapes" if section == "values" else section, report[section])
    _show_weights(report["weights"])
    if report["reordered"]:
        _show.line()
        _show.line("the nodes are in another order")
    _show.line()
    _show.line("the same" if report["equal"] else "they differ")


def _show_named(title: str, found: dict[str, Any]) -> None:
    rows = [("only a", name, _short(text)) for name, text in found["only_a"].items()]
    rows += [("only b", name, _short(text)) for name, text in found["only_b"].items()]
    for name, texts in found["changed"].items():
        rows += [
            ("changed" if not place else "", name if not place else "", _short(text))
            for place, text in enumerate(texts)
        ]
    if rows:
        _show.heading(f"{title} ({found['same']:,} the same)")
        _show.table(("", "", ""), rows, indent=2)


def _show_weights(found: dict[str, Any]) -> None:
    rows = [("only a", name, text, "", "", "") for name, text in found["only_a"].items()]
    rows += [("only b", name, text, "", "", "") for name, text in found["only_b"].items()]
    for name, apart in found["differing"].items():
        types = dict.fromkeys((apart["type_a"], apart["type_b"]))
        most = next(iter(apart["differs_most"]), None)
        where = "" if most is None else f"{most['index']}: {most['a']!s}, there {most['b']!s}"
        rows.append(
            (
                "differs",
                name,
                " / ".join(types),
                _figure(apart["relative"]),
                _figure(apart["absolute"]),
                apart["reason"] or where,
            )
        )
    if rows:
        _show.heading(f"weights ({found['same']:,} the same)")
        columns = ("", "weight", "type", "relative", "absolute", "most")
        _show.table(columns, rows, right=("relative", "absolute"), indent=2)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _figure(number: float) -> str:
    return "–" if math.isinf(number) else f"{number:.1e}"
