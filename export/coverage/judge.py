"""One case of a layer exported, run, and compared with Keras."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from onnxwalk.export.coverage.layer_cases import Case, layer_names
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.quiet import quiet
from onnxwalk.export.tracing.refusals import NO_ONNX_FORM
from onnxwalk.interpreter.optional import onnxruntime_session


@dataclass(frozen=True)
class Verdict:
    """The result of one case. Differences are the largest, relative to max(1, max |Keras|)."""

    case: Case
    operators: Counter[str]
    onnxwalk: float | None  # None: it did not run
    onnxruntime: float | None
    refused: str | None  # the error message of the exporter
    failures: tuple[str, ...]  # what is wrong, one entry each


def judge_case(case: Case, *, special: bool = True) -> Verdict:
    """Build, export and run one case in Keras, onnxwalk and ONNX Runtime.

    ``special``: hold onnxwalk against Keras on special values, too, as ``verify="full"`` does.
    """
    import onnxwalk
    from onnxwalk.export.conversion.convert import convert
    from onnxwalk.export.conversion.draft import all_nodes
    from onnxwalk.export.text import cut_text
    from onnxwalk.export.tracing.trace import trace
    from onnxwalk.export.verify import check_output, make_random_inputs, run_keras, verify_model

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
        for name, load in (
            ("onnxwalk", onnxwalk.load),
            ("ONNX Runtime", lambda model: onnxruntime_session(model.SerializeToString())),
        ):
            try:
                outputs = zip(traced.outputs, load(proto).run(None, feeds), expected, strict=True)
                results.append(max(check_output(port.name, a, e) for port, a, e in outputs))
            except Exception as error:
                results.append(None)
                failed.append(f"{name}: {one_line(error)}")
        if special and not failed:
            try:
                verify_model(model, proto, traced, mode="full")
            except ExportError as error:
                failed.append(f"special values: {one_line(error)}")
    return Verdict(case, counts, results[0], results[1], None, tuple(failed))


def find_uncovered_layers(cases: dict[str, list[Case]]) -> list[str]:
    """Layers of the installed Keras that are neither in ``cases`` nor in ``NO_ONNX_FORM``."""
    return sorted(set(layer_names()) - set(cases) - set(NO_ONNX_FORM))
