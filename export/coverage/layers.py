"""``python -m export layers``: export every Keras layer and compare it with Keras."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from onnxwalk.export.coverage.judge import Verdict, find_uncovered_layers, judge_case
from onnxwalk.export.coverage.layer_cases import all_cases
from onnxwalk.export.coverage.layers_table import format_table
from onnxwalk.export.errors import one_line
from onnxwalk.export.quiet import quiet
from onnxwalk.export.tracing.refusals import NO_ONNX_FORM


def main(arguments: Sequence[str]) -> int:
    """Run every case and write the table; returns 1 if a case fails or a layer has none."""
    options = _parser().parse_args(arguments)
    with quiet():
        cases = all_cases()
        left = find_uncovered_layers(cases)
    unknown = sorted(set(options.layers) - set(cases) - set(NO_ONNX_FORM))
    if unknown:
        print(f"error: no cases for {', '.join(unknown)}", file=sys.stderr)
        return 1
    chosen = {name: cases[name] for name in cases if not options.layers or name in options.layers}
    verdicts: dict[str, list[Verdict]] = {}
    wrong = 0
    for name, layer_cases in chosen.items():
        print(f"{name}: {len(layer_cases)}", file=sys.stderr)
        for case in layer_cases:
            try:
                verdict = judge_case(case)
            except Exception as error:  # a case that Keras itself can't build or run
                message = f"{type(error).__name__}: {one_line(error)}"
                verdict = Verdict(case, Counter(), None, None, None, (message,))
            verdicts.setdefault(name, []).append(verdict)
            for failure in verdict.failures:
                wrong += 1
                print(f"  {case.label}: {failure}", file=sys.stderr)
    if left and not options.layers:
        print(f"no cases for {', '.join(left)}", file=sys.stderr)
    target = Path(options.output) if options.output else None
    previous_table = (
        target.read_text("utf-8") if target and target.exists() and options.layers else ""
    )
    text = format_table(verdicts, previous_table)
    if target:
        target.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 1 if wrong or (left and not options.layers) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="onnxwalk-export layers",
        description="Export all Keras layers in many configurations and compare with Keras.",
    )
    parser.add_argument("layers", nargs="*", metavar="LAYER", help="only these (default: all)")
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="Markdown file to write; with LAYERs, only their rows change",
    )  # fmt: skip
    return parser
