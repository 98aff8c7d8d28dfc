"""One call of a function exported, run, and compared with Keras, element by element."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.coverage.function_cases import FLOATS, FunctionCase, function_names
from onnxwalk.export.coverage.function_cases.values import to_numpy
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.quiet import quiet
from onnxwalk.export.verify import find_lowest_precision, run_keras

Arrays = Sequence[NDArray[Any]]

#: dtype of the lowest precision in a model -> the largest difference of an element, relative to
#: Keras's if that is more than 1; everything else has to be equal
TOLERANCES = {"float64": 1e-9, "float32": 2e-5, "float16": 1e-2, "bfloat16": 5e-2, "int8": 2e-5}

#: what is fed to every case that can take it
EMPTY = "no row"


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


class Reference:
    """What Keras answers to what a case is fed with.

    Raises whatever Keras does for random values; of other feeds, those that it can't take are left
    out.
    """

    def __init__(self, case: FunctionCase) -> None:
        self.case, self.feeds = case, case.feeds()
        self.model = case.build()
        self.expected = {"random values": run_keras(self.model, self.feeds["random values"])}
        for fed in self.feeds:
            try:
                self.expected.setdefault(fed, run_keras(self.model, self.feeds[fed]))
            except Exception:
                continue

    def predict(self) -> None:
        """Raises what Keras does in a graph."""
        self.model.predict(self.feeds["random values"], verbose=0)

    def takes_nothing(self) -> bool:
        """Whether TensorFlow can run an empty batch in a graph that doesn't know the batch's size,
        as the traced one."""
        import tensorflow as tf

        values = self.feeds[EMPTY]
        signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in values]
        graph = tf.function(lambda *x: self.model(list(x)), input_signature=signature)
        try:
            graph(*values)
        except Exception:
            return False
        return True

    @cached_property
    def _other(self) -> tuple[str, Any]:
        """The model in float64; in float32 if it is in that already."""
        case = self.case
        dtype = "float32" if case.dtype == "float64" else "float64"
        given = [replace(g, dtype=dtype) if g.dtype == case.dtype else g for g in case.given]
        return dtype, replace(case, dtype=dtype, given=tuple(given)).build()

    def in_other_floats(self, fed: str) -> list[NDArray[Any]]:
        """What Keras answers in the other float type, as the case's type."""
        dtype, model = self._other
        own = to_numpy(self.case.dtype)
        values = [x.astype(dtype) if x.dtype == own else x for x in self.feeds[fed]]
        return run_keras(model, values)

    def find_difference(self, fed: str, actual: Arrays, tolerance: float) -> str | None:
        """In words, the first element that Keras doesn't give; None if there is none.

        It may be as in float64 instead; and as in float32 where only float64 gives NaN.
        """
        wanted = self.expected[fed]
        difference = find_difference(actual, wanted, self.feeds[fed], tolerance)
        if difference and self.case.dtype in FLOATS:
            other = self.in_other_floats(fed)
            difference = find_difference(actual, wanted, self.feeds[fed], tolerance, other)
        return difference


def judge_function(case: FunctionCase) -> FunctionVerdict:
    """Build, export and run one case in Keras, onnxwalk and ONNX Runtime."""
    import onnxwalk
    from onnxwalk.export.conversion.convert import convert
    from onnxwalk.export.tracing.trace import trace
    from onnxwalk.interpreter.optional import onnxruntime_session

    with quiet() as errors:
        try:
            reference = Reference(case)
        except Exception as error:
            return FunctionVerdict(case, impossible=one_line(error))
        try:
            traced = trace(reference.model)
            proto = convert(traced, opset=case.opset, errors=errors)
            session = onnxwalk.load(proto)
        except ExportError as error:
            try:
                reference.predict()
            except Exception as own:
                return FunctionVerdict(case, impossible=one_line(own))
            return FunctionVerdict(case, refused=one_line(error))
        except onnxwalk.OnnxWalkError as error:
            return FunctionVerdict(case, failures=(f"doesn't load: {one_line(error)}",))
        names = [port.name for port in traced.inputs]
        tolerance = TOLERANCES[find_lowest_precision(traced)]

        def compare(engine: Any, feeds: Iterable[str]) -> tuple[str, ...]:
            found = []
            for fed in feeds:
                try:
                    values = dict(zip(names, reference.feeds[fed], strict=True))
                    error = reference.find_difference(fed, engine.run(None, values), tolerance)
                except Exception as failure:
                    error = one_line(failure)
                if error:
                    found.append(f"{fed}: {error}")
            return tuple(found)

        feeds = list(reference.expected)
        failures = compare(session, feeds)
        if any(failure.startswith(EMPTY) for failure in failures) and not reference.takes_nothing():
            failures = tuple(failure for failure in failures if not failure.startswith(EMPTY))
        try:
            other = compare(
                onnxruntime_session(proto.SerializeToString()),
                [fed for fed in feeds if fed != EMPTY],  # it isn't asked for nothing
            )
        except Exception as error:
            other = (one_line(error),)
    return FunctionVerdict(case, failures, onnxruntime="; ".join(other) or None)


def find_difference(
    actual: Arrays,
    expected: Arrays,
    fed: Arrays,
    tolerance: float,
    other: Arrays | None = None,
) -> str | None:
    """In words, the first element that isn't the expected one; None if all are.

    ``other``: what is right too; of float64 only where the expected element is NaN.
    """
    for number, (a, e) in enumerate(zip(actual, expected, strict=True)):
        if a.shape != e.shape or a.dtype != e.dtype:
            return f"{a.dtype}{list(a.shape)} instead of {e.dtype}{list(e.shape)}"
        right = _are_near(a, e, tolerance)
        if other is not None and e.dtype.kind not in "iub":
            also = _are_near(a, other[number].astype(e.dtype), tolerance)
            right |= also & np.isnan(e) if e.dtype == np.float64 else also
        if not right.all():
            place = tuple(int(i) for i in np.argwhere(~right)[0])
            where = f" of output {number}" if len(expected) > 1 else ""
            inputs = [str(x[place]) for x in fed if x.shape == e.shape]
            of = f", for {', '.join(inputs)}" if inputs else ""
            return (
                f"{a[place]} instead of {e[place]} at {list(place)}{where}{of} "
                f"({np.sum(~right)} of {right.size})"
            )
    return None


def _are_near(a: NDArray[Any], e: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """Which elements are the same, or finite and near."""
    if e.dtype.kind in "iub":
        return np.asarray(a == e)
    x, y = a.astype(np.float64), e.astype(np.float64)
    with np.errstate(all="ignore"):
        near = np.isfinite(y) & (np.abs(x - y) <= tolerance * np.maximum(1, np.abs(y)))
    return np.asarray((x == y) | (np.isnan(x) & np.isnan(y)) | near)


def find_uncovered_functions(cases: dict[str, list[FunctionCase]]) -> list[str]:
    """Public functions of the installed Keras without a case."""
    return sorted(set(function_names()) - set(cases))
