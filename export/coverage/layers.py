"""``python -m export layers``: every Keras layer exported and held against Keras."""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.export.coverage.layer_cases import Case, all_cases, layer_names
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.quiet import quiet
from onnxwalk.export.tracing.refusals import NO_ONNX_FORM


@dataclass(frozen=True)
class Verdict:
    """What came of one case. Differences are the largest, relative to max(1, max |Keras|)."""

    case: Case
    operators: Counter[str]
    onnxwalk: float | None  # None: it did not run
    onnxruntime: float | None
    refused: str | None  # what the exporter said
    failures: tuple[str, ...]  # what should not be


def judge(case: Case) -> Verdict:
    """Build, export and run one case in Keras, onnxwalk and ONNX Runtime."""
    from onnxwalk.export.conversion.draft import walk
    from onnxwalk.export.convert import convert
    from onnxwalk.export.text import cut_text
    from onnxwalk.export.tracing.trace import trace
    from onnxwalk.export.verify import random_inputs, run_keras

    with quiet() as errors:
        model = case.build()
        try:
            model, _ = cut_text(model)
            traced = trace(model)
            proto = convert(traced, errors=errors)
        except ExportError as error:
            expected = case.refused is not None and re.search(case.refused, str(error))
            failures = () if expected else (f"refused: {error}",)
            return Verdict(case, Counter(), None, None, str(error), failures)
        counts = Counter(node.op_type for node in walk(proto.graph))
        if case.refused is not None:
            return Verdict(case, counts, None, None, None, ("should have been refused",))
        if case.inputs is None:
            feeds = random_inputs(traced)
        else:
            values = case.inputs(np.random.default_rng(0))
            feeds = dict(zip([p.name for p in traced.inputs], values, strict=True))
        wanted = run_keras(model, [feeds[port.name] for port in traced.inputs])
        failed: list[str] = []
        results: list[float | None] = []
        for name, run in (("onnxwalk", _onnxwalk), ("ONNX Runtime", _onnxruntime)):
            try:
                results.append(_largest(traced, run(proto, feeds), wanted))
            except Exception as error:
                results.append(None)
                failed.append(f"{name}: {one_line(error)}")
    return Verdict(case, counts, results[0], results[1], None, tuple(failed))


def unjudged(cases: dict[str, list[Case]]) -> list[str]:
    """Layers of this Keras that have neither a case nor a reason why they can't have one."""
    return sorted(set(layer_names()) - set(cases) - set(NO_ONNX_FORM))


def main(arguments: Sequence[str]) -> int:
    """Judge every case and write the table; the exit status: 1 when something is not right."""
    options = _parser().parse_args(arguments)
    with quiet():
        cases = all_cases()
        left = unjudged(cases)
    unknown = sorted(set(options.layers) - set(cases) - set(NO_ONNX_FORM))
    if unknown:
        print(f"error: no cases for {', '.join(unknown)}", file=sys.stderr)
        return 1
    chosen = {name: cases[name] for name in cases if not options.layers or name in options.layers}
    verdicts: dict[str, list[Verdict]] = {}
    wrong = 0
    for name, of_layer in chosen.items():
        print(f"{name}: {len(of_layer)}", file=sys.stderr)
        for case in of_layer:
            try:
                verdict = judge(case)
            except Exception as error:  # a case that Keras itself can't build or run
                message = f"{type(error).__name__}: {one_line(error)}"
                verdict = Verdict(case, Counter(), None, None, None, (message,))
            verdicts.setdefault(name, []).append(verdict)
            for failure in verdict.failures:
                wrong += 1
                print(f"  {case.label}: {failure}", file=sys.stderr)
    if left and not options.layers:
        print(f"nobody has judged {', '.join(left)}", file=sys.stderr)
    from onnxwalk.export.coverage.layers_table import table

    target = Path(options.output) if options.output else None
    kept = target.read_text("utf-8") if target and target.exists() and options.layers else ""
    text = table(verdicts, kept)
    if target:
        target.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 1 if wrong or (left and not options.layers) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export layers",
        description="Export every Keras layer in its variety, compare with Keras, write a table.",
    )
    parser.add_argument("layers", nargs="*", metavar="LAYER", help="only these (default: all)")
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="where to write it (Markdown); with LAYERs, only their rows change",
    )  # fmt: skip
    return parser


def _largest(traced: Any, actual: list[Any], wanted: list[Any]) -> float:
    from onnxwalk.export.verify import difference

    pairs = zip(traced.outputs, actual, wanted, strict=True)
    return max(difference(port.name, a, w) for port, a, w in pairs)


def _onnxwalk(proto: Any, feeds: dict[str, Any]) -> list[Any]:
    import onnxwalk

    return onnxwalk.load(proto).run(None, feeds)


def _onnxruntime(proto: Any, feeds: dict[str, Any]) -> list[Any]:
    from onnxwalk.interpreter.optional import onnxruntime_session

    return onnxruntime_session(proto.SerializeToString()).run(None, feeds)
