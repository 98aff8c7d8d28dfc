"""``onnxwalk diff``: list the differences of two model files."""

from __future__ import annotations

import argparse
from typing import Any

from onnxwalk.interpreter.analysis.diff import as_data, diff
from onnxwalk.interpreter.budget import Budget, use_budget
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import add_command
from onnxwalk.interpreter.cli._limits import add_limits, get_limits
from onnxwalk.interpreter.reader import read_model

_DESCRIPTION = """\
List the differences of two model files: header, inputs and outputs, nodes, declared shapes and
weights, also in subgraphs. All are matched by name; nodes without a unique name by their first
output. The models aren't run; `compare` does that.

Weights are equal if all bits are. The relative difference is max|a-b| / max|b|.

Exit status: 0 if the files are equal (but for the order of nodes), 1 if not, 2 if one couldn't be
read.
"""


def add_parser(commands: Any) -> None:
    """Add ``diff`` to the commands."""
    text = "list the differences of two model files"
    parser = add_command(commands, "diff", run, text, _DESCRIPTION, failure=2)
    parser.add_argument("a", metavar="A", help="an .onnx file")
    parser.add_argument("b", metavar="B", help="another .onnx file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_limits(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command: 1 if the files differ. Raises OnnxWalkError."""
    with use_budget(Budget(get_limits(args))):
        result = diff(read_model(args.a), read_model(args.b))
    report = {"a": args.a, "b": args.b, **as_data(result)}
    if args.json:
        _show.print_json(report)
    else:
        _show_text(report)
    return int(not result.equal)


def _show_text(report: dict[str, Any]) -> None:
    _show.line(f"a: {report['a']}")
    _show.line(f"b: {report['b']}")
    for section in ("header", "inputs", "outputs", "nodes", "values"):
        _show_section("declared shapes" if section == "values" else section, report[section])
    _show_weights(report["weights"])
    if report["reordered"]:
        _show.line()
        _show.line("the nodes are in a different order")
    _show.line()
    _show.line("the files are equal" if report["equal"] else "the files differ")


def _show_section(title: str, section: dict[str, Any]) -> None:
    rows = [("only a", name, _show.shortened(text)) for name, text in section["only_a"].items()]
    rows += [("only b", name, _show.shortened(text)) for name, text in section["only_b"].items()]
    for name, texts in section["changed"].items():
        cells = ("changed", name)
        for text in texts:
            rows.append((*cells, _show.shortened(text)))
            cells = ("", "")
    if rows:
        _show.heading(f"{title} ({section['same']:,} equal)")
        _show.table(("", "", ""), rows, indent=2)


def _show_weights(section: dict[str, Any]) -> None:
    rows = [("only a", name, text, "", "", "") for name, text in section["only_a"].items()]
    rows += [("only b", name, text, "", "", "") for name, text in section["only_b"].items()]
    for name, weight in section["differing"].items():
        types = dict.fromkeys((weight["type_a"], weight["type_b"]))
        most = next(iter(weight["differs_most"]), None)
        where = "" if most is None else f"{most['index']}: {most['a']!s} → {most['b']!s}"
        rows.append(
            (
                "differs",
                name,
                " / ".join(types),
                _show.error_size(weight["relative"]),
                _show.error_size(weight["absolute"]),
                weight["reason"] or where,
            )
        )
    if rows:
        _show.heading(f"weights ({section['same']:,} equal)")
        columns = ("", "weight", "type", "relative", "absolute", "largest difference")
        _show.table(columns, rows, right=("relative", "absolute"), indent=2)
