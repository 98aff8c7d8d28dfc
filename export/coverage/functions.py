"""``python -m export functions``: export every function of Keras and compare it with Keras."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from onnxwalk.export.conversion.opsets import DEFAULT_OPSET, OLDEST_OPSET, newest_opset
from onnxwalk.export.coverage.command import has_unknown_names, judge_all, table_parser, write_table
from onnxwalk.export.coverage.function_cases import FunctionCase, all_cases
from onnxwalk.export.coverage.functions_table import format_table
from onnxwalk.export.coverage.judge_functions import find_uncovered_functions, judge_function
from onnxwalk.export.quiet import quiet


def main(arguments: Sequence[str]) -> int:
    """Run every case and write the table; returns 1 if a case fails or a function has none."""
    options = table_parser(
        "functions", "FUNCTION",
        "Export all functions of keras.ops, keras.activations and keras.losses, and compare.",
    ).parse_args(arguments)  # fmt: skip
    with quiet():
        cases = all_cases()
        left = [] if options.names else find_uncovered_functions(cases)
    if has_unknown_names(options.names, cases):
        return 1
    chosen = {
        name: with_other_opsets(cases[name]) for name in options.names or cases if name in cases
    }
    verdicts, wrong = judge_all(chosen, judge_function)
    if left:
        print(f"no cases for {', '.join(left)}", file=sys.stderr)
    write_table(options, verdicts, format_table)
    return 1 if wrong or left else 0


def with_other_opsets(cases: Sequence[FunctionCase]) -> list[FunctionCase]:
    """The cases at the default opset, and the first at the oldest and the newest too."""
    others = {OLDEST_OPSET, newest_opset()} - {DEFAULT_OPSET}
    return [*cases, *(replace(cases[0], opset=opset) for opset in sorted(others))]
