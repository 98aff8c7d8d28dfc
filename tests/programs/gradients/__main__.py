"""Gradients of exported files against TensorFlow's, for every layer of Keras.

    python -m tests.programs.gradients [LAYER …] [--part K/N] [-o docs/GRADIENTS.md]
    python -m tests.programs.gradients --applications [NAME …] [-o docs/GRADIENTS.md]

Every configuration of ``export/coverage/layer_cases`` that exports: the gradients of its inputs and
weights by the file against ``tf.GradientTape`` on the same numbers, in float64. ``--part 1/8``:
every eighth layer, from the second on. ``--applications``: models of ``keras.applications`` in
float32. Rows that weren't computed stay as they are in the file. Exit status 1 if one is wrong.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from onnxwalk.export.coverage.layer_cases import all_cases
from onnxwalk.export.quiet import quiet
from tests.programs.gradients import applications, table
from tests.programs.gradients.judge import judge_case
from tests.programs.gradients.page import format_page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.gradients", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--part", default="0/1", metavar="K/N", help="every N-th, from the K-th on")
    parser.add_argument("--applications", action="store_true", help="whole models, not layers")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the page to write")
    options = parser.parse_args(arguments)
    part, parts = map(int, options.part.split("/"))
    run = _applications if options.applications else _layers
    return run(options.names, slice(part, None, parts), options.output)


def _layers(names: Sequence[str], part: slice, output: Path | None) -> int:
    with quiet():
        cases = all_cases()
    if unknown := sorted(set(names) - set(cases)):
        print(f"error: no cases for {', '.join(unknown)}", file=sys.stderr)
        return 1
    gc.collect()
    gc.freeze()
    wrong = 0
    for name in [name for name in cases if not names or name in names][part]:
        verdicts = []
        for case in cases[name]:
            verdict = judge_case(case)
            verdicts.append(verdict)
            if verdict.kind in ("wrong", "refused", "TensorFlow"):
                wrong += verdict.kind == "wrong"
                print(f"{verdict.kind}: {name}, {case.label}: {verdict.why}", flush=True)
        row = table.format_row(name, verdicts)
        print(row, flush=True)
        _update(output, lambda layers, models, row=row, name=name: layers.update({name: row}))
    return int(wrong > 0)


def _applications(names: Sequence[str], part: slice, output: Path | None) -> int:
    wrong = 0
    for name in (names or applications.NAMES)[part]:
        measured = applications.measure(name)
        wrong += not measured.is_right
        row = measured.row()
        print(row, flush=True)
        _update(output, lambda layers, models, row=row, name=name: models.update({name: row}))
    return int(wrong > 0)


def _update(
    output: Path | None, change: Callable[[dict[str, str], dict[str, str]], object]
) -> None:
    """Write the page with other rows; it is read just before, since two parts may run at once."""
    if output is None:
        return
    text = output.read_text("utf-8") if output.exists() else ""
    layers, models = table.rows_of(text), applications.rows_of(text)
    change(layers, models)
    output.write_text(format_page(layers, models), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
