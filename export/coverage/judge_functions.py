"""One call of a function exported, run, and compared with Keras, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.coverage.function_cases import FLOATS, FunctionCase, function_names
from onnxwalk.export.coverage.function_cases.values import to_numpy
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.quiet import quiet

#: dtype of the lowest precision in a model -> the largest difference of an element, relative to
#: Keras's if that is more than 1; everything else has to be equal
TOLERANCES = {"float64": 1e-9, "float32": 2e-5, "float16": 1e-2, "bfloat16": 5e-2, "int8": 2e-5}


@dataclass(frozen=True)
class FunctionVerdict:
    """The result of one case: right, refused, wrong, or none since Keras itself can't do it."""

    case: FunctionCase
    failures: tuple[str, ...] = ()  # what is wrong, one entry for what was fed
    refused: str | None = None  # the error message of the exporter
    impossible: str | None = None  # the error message of Keras
    onnxruntime: str | None = None  # what is different there; None: nothing

    @property
    def is_right(self) -> bool:
        return not self.failures and self.refused is None and self.impossible is None


def judge_function(case: FunctionCase) -> FunctionVerdict:
    """Build, export and run one case in Keras, onnxwalk and ONNX Runtime."""
    import onnxwalk
    from onnxwalk.export.conversion.convert import convert
    from onnxwalk.export.tracing.trace import trace
    from onnxwalk.export.verify import find_lowest_precision, run_keras
    from onnxwalk.interpreter.optional import onnxruntime_session

    with quiet() as errors:
        feeds = case.feeds()
        try:
            model = case.build()
            expected = {"random values": run_keras(model, feeds["random values"])}
        except Exception as error:
            return FunctionVerdict(case, impossible=one_line(error))
        for fed, values in feeds.items():
            try:
                expected[fed] = run_keras(model, values)
            except Exception:
                continue  # Keras takes no empty batch here, say
        try:
            traced = trace(model)
            proto = convert(traced, opset=case.opset, errors=errors)
            session = onnxwalk.load(proto)
        except ExportError as error:
            try:
                model.predict(feeds["random values"], verbose=0)
            except Exception as own:
                return FunctionVerdict(case, impossible=one_line(own))
            return FunctionVerdict(case, refused=one_line(error))
        except onnxwalk.OnnxWalkError as error:
            return FunctionVerdict(case, failures=(f"doesn't load: {one_line(error)}",))

        def in_float64(fed: str) -> Sequence[NDArray[Any]]:
            other = widen(case)
            wide = [
                x.astype(other.dtype) if x.dtype == to_numpy(case.dtype) else x for x in feeds[fed]
            ]
            return run_keras(other.build(), wide)

        names = [port.name for port in traced.inputs]
        tolerance = TOLERANCES[find_lowest_precision(traced)]

        exact = {}

        def compare(engine: Any, chosen: Any) -> list[str]:
            found = []
            for fed in chosen:
                wanted = expected[fed]
                try:
                    actual = engine.run(None, dict(zip(names, feeds[fed], strict=True)))
                    error = find_difference(actual, wanted, feeds[fed], tolerance)
                    if error and case.dtype in FLOATS:
                        if fed not in exact:
                            exact[fed] = in_float64(fed)
                        error = find_difference(actual, wanted, feeds[fed], tolerance, exact[fed])
                except Exception as failure:
                    error = one_line(failure)
                if error:
                    found.append(f"{fed}: {error}")
            return found

        if "no row" in expected and compare(session, ["no row"]):
            try:  # where sizes are open, TensorFlow can't always do that
                run_open(model, feeds["no row"])
            except Exception:
                del expected["no row"]
        failures = compare(session, expected)
        try:
            some = [fed for fed in expected if fed != "no row"]  # which ends the process at times
            other = compare(onnxruntime_session(proto.SerializeToString()), some)
        except Exception as error:
            other = [one_line(error)]
    return FunctionVerdict(case, tuple(failures), onnxruntime="; ".join(other) if other else None)


def run_open(model: Any, values: Sequence[NDArray[Any]]) -> Any:
    """The model's outputs in a graph that knows nothing of the batch's size, as in the trace."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in values]
    return tf.function(lambda *x: model(list(x)), input_signature=signature)(*values)


def widen(case: FunctionCase) -> FunctionCase:
    """The case in float64; in float32 if it is in that already."""
    other = "float32" if case.dtype == "float64" else "float64"
    given = [replace(g, dtype=other) if g.dtype == case.dtype else g for g in case.given]
    return replace(case, dtype=other, given=tuple(given))


def find_difference(
    actual: Sequence[NDArray[Any]],
    expected: Sequence[NDArray[Any]],
    fed: Sequence[NDArray[Any]],
    tolerance: float,
    exact: Sequence[NDArray[Any]] | None = None,
) -> str | None:
    """In words, the first element that isn't Keras's; None if all are."""
    for number, (a, e) in enumerate(zip(actual, expected, strict=True)):
        if a.shape != e.shape or a.dtype != e.dtype:
            return f"{a.dtype}{list(a.shape)} instead of {e.dtype}{list(e.shape)}"
        with np.errstate(all="ignore"):
            if e.dtype.kind in "iub":
                wrong = a != e
            else:
                x, y = a.astype(np.float64), e.astype(np.float64)
                near = np.abs(x - y) <= tolerance * np.maximum(1, np.abs(y))
                same = (x == y) | (np.isnan(x) & np.isnan(y))
                wrong = ~(same | (near & np.isfinite(y)))
                if exact is not None:
                    if e.dtype == np.float64:  # in float32 for where float64 alone is NaN
                        wrong_alone = np.isnan(y)
                    y = exact[number].astype(e.dtype).astype(np.float64)
                    near = np.abs(x - y) <= tolerance * np.maximum(1, np.abs(y))
                    fits = (x == y) | (np.isnan(x) & np.isnan(y)) | (near & np.isfinite(y))
                    wrong &= ~(fits & wrong_alone) if e.dtype == np.float64 else ~fits
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            of = (
                [
                    x[place] if x.shape == e.shape else x[place[:1]]
                    for x in fed
                    if x.shape[:1] == e.shape[:1]
                ]
                if e.ndim
                else []
            )
            where = f" of output {number}" if len(expected) > 1 else ""
            return (
                f"{a[place]} instead of {e[place]} at {list(place)}{where}, "
                f"for {', '.join(str(v).replace(chr(10), '') for v in of)} ({wrong.sum()} of {wrong.size})"
            )
    return None


def find_uncovered_functions(cases: dict[str, list[FunctionCase]]) -> list[str]:
    """Public functions of the installed Keras without a case."""
    return sorted(set(function_names()) - set(cases))
