"""``python -m onnxwalk.export layers``: export every Keras layer and compare it with Keras."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from onnxwalk.export.coverage.command import has_unknown_names, judge_all, table_parser, write_table
from onnxwalk.export.coverage.judge import Verdict, find_uncovered_layers, judge_case
from onnxwalk.export.coverage.layer_cases import Case, all_cases
from onnxwalk.export.coverage.layers_table import format_table
from onnxwalk.export.errors import one_line
from onnxwalk.export.quiet import quiet
from onnxwalk.export.tracing.refusals import NO_ONNX_FORM


def main(arguments: Sequence[str]) -> int:
    """Run every case and write the table; returns 1 if a case fails or a layer has none."""
    options = table_parser(
        "layers", "LAYER", "Export all Keras layers in many configurations and compare with Keras."
    ).parse_args(arguments)
    with quiet():
        cases = all_cases()
        left = [] if options.names else find_uncovered_layers(cases)
    if has_unknown_names(options.names, [*cases, *NO_ONNX_FORM]):
        return 1
    chosen = {name: cases[name] for name in cases if not options.names or name in options.names}
    verdicts, wrong = judge_all(chosen, judge_or_fail)
    if left:
        print(f"no cases for {', '.join(left)}", file=sys.stderr)
    write_table(options, verdicts, format_table)
    return 1 if wrong or left else 0


def judge_or_fail(case: Case) -> Verdict:
    try:
        return judge_case(case)
    except Exception as error:  # a case that Keras itself can't build or run
        message = f"{type(error).__name__}: {one_line(error)}"
        return Verdict(case, Counter(), None, None, None, (message,))
