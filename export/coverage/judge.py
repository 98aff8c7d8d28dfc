"""One case of a layer exported, run, and compared with Keras."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.export.coverage.layer_cases import Case, layer_names
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.quiet import quiet
from onnxwalk.export.tracing.refusals import NO_ONNX_FORM
from onnxwalk.interpreter.optional import onnxruntime_session


@dataclass(frozen=True)
class Verdict:
    """What came of one case. Differences are the largest, relative to max(1, max |Keras|)."""

    case: Case
    operators: Counter[str]
    onnxwalk: float | None  # None: it did not run
    onnxruntime: float | None
    refused: str | None  # what the exporter said
    failures: tuple[str, ...]  # what should not be


def judge_case(case: Case) -> Verdict:
    """Build, export and run one case in Keras, onnxwalk and ONNX Runtime."""
    from onnxwalk.export.conversion.convert import convert
    from onnxwalk.export.conversion.draft import all_nodes
    from onnxwalk.export.text import cut_text
    from onnxwalk.export.tracing.trace import trace
    from onnxwalk.export.verify import make_random_inputs, run_keras

    with quiet() as errors:
        model = case.build()
        try:
            model, _ = cut_text(model)
            traced = trace(model)
            proto = convert(traced, errors=errors)
        except ExportError as error:
            foreseen = case.refused is not None and re.search(case.refused, str(error))
            failures = () if foreseen else (f"refused: {error}",)
            return Verdict(case, Counter(), None, None, str(error), failures)
        counts = Counter(node.op_type for node in all_nodes(proto.graph))
        if case.refused is not None:
            return Verdict(case, counts, None, None, None, ("should have been refused",))
        if case.inputs is None:
            feeds = make_random_inputs(traced)
        else:
            values = case.inputs(np.random.default_rng(0))
            feeds = dict(zip([p.name for p in traced.inputs], values, strict=True))
        expected = run_keras(model, [feeds[port.name] for port in traced.inputs])
        failed: list[str] = []
        results: list[float | None] = []
        for name, run in (("onnxwalk", _run_onnxwalk), ("ONNX Runtime", _run_onnxruntime)):
            try:
                results.append(_max_difference(traced, run(proto, feeds), expected))
            except Exception as error:
                results.append(None)
                failed.append(f"{name}: {one_line(error)}")
    return Verdict(case, counts, results[0], results[1], None, tuple(failed))


def find_uncovered_layers(cases: dict[str, list[Case]]) -> list[str]:
    """Layers of this Keras that have neither a case nor a reason why they can't have one."""
    return sorted(set(layer_names()) - set(cases) - set(NO_ONNX_FORM))


def _max_difference(traced: Any, actual: list[Any], expected: list[Any]) -> float:
    from onnxwalk.export.verify import check_output

    pairs = zip(traced.outputs, actual, expected, strict=True)
    return max(check_output(port.name, a, w) for port, a, w in pairs)


def _run_onnxwalk(proto: Any, feeds: dict[str, Any]) -> list[Any]:
    import onnxwalk

    return onnxwalk.load(proto).run(None, feeds)


def _run_onnxruntime(proto: Any, feeds: dict[str, Any]) -> list[Any]:
    return onnxruntime_session(proto.SerializeToString()).run(None, feeds)
