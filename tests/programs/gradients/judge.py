"""The gradients of one Keras model by TensorFlow and by the file that it exports."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

import onnxwalk
from onnxwalk.export.conversion.convert import convert
from onnxwalk.export.conversion.draft import all_nodes
from onnxwalk.export.coverage.layer_cases import Case
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.quiet import quiet
from onnxwalk.export.random_inputs import make_random_inputs
from onnxwalk.export.text import cut_text
from onnxwalk.export.tracing.trace import Trace, trace
from onnxwalk.interpreter.errors import (
    InvalidInputError,
    InvalidModelError,
    OnnxWalkError,
    UnsupportedModelError,
)
from onnxwalk.interpreter.weights import trainable_weights
from tests.programs.gradients.differences import Slopes
from tests.programs.gradients.tape import Arrays, Model
from tests.programs.trainable import finished

#: the largest difference that is accepted in float64, relative to the largest gradient
EXACT = 1e-12
#: or so many times the outputs' own difference, where constants are float32 in the file or in Keras
#: (an attribute of ONNX always is), up to CONSTANTS
OF_OUTPUTS, CONSTANTS = 10, 1e-6
#: in float32: so much of TensorFlow's own error, or this
TIMES, SINGLE = 2, 3e-6


@dataclass(frozen=True)
class Verdict:
    """What became of one case.

    ``kind``: "equal"; "refused" (``why``: the message); "none", if nothing in the model has a
    gradient; "TensorFlow", if its gradient isn't the slope and onnxwalk's is; "not exported" or
    "wrong". ``dtype``: of the comparison. ``error``: the largest difference, relative to the
    largest gradient.
    """

    case: Case
    kind: str
    why: str = ""
    dtype: str = ""
    error: float = 0.0

    @property
    def failures(self) -> tuple[str, ...]:
        return (self.why,) if self.kind == "wrong" else ()


#: of ours, what says that a layer or an operator has no float64; any other error is a fault
_NO_DOUBLE = (ExportError, InvalidModelError, UnsupportedModelError)


def judge_case(case: Case) -> Verdict:
    """A case in float64, or in float32 if the layer has no float64."""
    if case.refused is not None:
        return Verdict(case, "not exported")
    why = ""
    with quiet():
        try:
            with in_float64():
                verdict = _judge(case, "float64")
            if verdict.kind not in ("wrong", "not exported"):
                return verdict
            why = f"in float64 {verdict.why}"
        except Exception as error:  # Keras, TensorFlow or the export has no float64 here
            if isinstance(error, OnnxWalkError) and not isinstance(error, _NO_DOUBLE):
                return Verdict(case, "wrong", f"in float64: {one_line(error)}")
            why = f"no float64: {type(error).__name__}: {one_line(error)}"
        try:
            single = _judge(case, "float32")
        except Exception as error:
            return Verdict(case, "wrong", f"{why}; {type(error).__name__}: {one_line(error)}")
    if single.kind == "equal" and why.startswith("in float64") and verdict.kind == "wrong":
        return verdict
    return Verdict(case, single.kind, single.why or why, "float32", single.error)


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Models that are built inside compute in float64, also those with inputs of float32."""
    import keras

    make = keras.Input

    def wide_input(*args: Any, **options: Any) -> Any:
        if options.get("dtype") == "float32":
            options["dtype"] = "float64"
        return make(*args, **options)

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with mock.patch.object(keras, "Input", wide_input):
            yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def _judge(case: Case, dtype: str) -> Verdict:
    import keras

    keras.utils.set_random_seed(0)
    built, _ = cut_text(finished(case.build()))
    try:
        traced = trace(built, to_train=True)
        proto = convert(traced, errors=[])
    except ExportError as error:
        return Verdict(case, "not exported", one_line(error), dtype)
    model = Model(built, feeds_of(case, traced))
    session = onnxwalk.load(proto)
    try:
        found = file_gradients(session, model.feeds, model.seeds)
    except UnsupportedModelError as error:
        return Verdict(case, "refused", one_line(error), dtype)
    slopes = Slopes(proto, model.feeds, model.seeds)
    try:
        expected = model.gradients()
    except LookupError as error:  # TensorFlow has no gradient of an operator
        if slopes.agree_with(found):
            return Verdict(case, "TensorFlow", one_line(error), dtype)
        raise
    if not any(g.any() for g in (*expected.values(), *found.values())):
        return Verdict(case, "none", "", dtype)
    truth = expected
    if dtype == "float64":
        apart = outputs_apart(session, model)
        if not apart <= CONSTANTS:
            return Verdict(case, "wrong", f"the outputs are {apart:.1e} apart", dtype)
        limit = max(EXACT, min(CONSTANTS, OF_OUTPUTS * apart))
    else:
        truth = model.in_float64() or expected
        limit = max(SINGLE, TIMES * difference(expected, truth))
    keys = truth.keys() | found.keys()
    errors = {key: difference(found, truth, key) for key in keys}
    # a variable may be float32 in a layer of float64, and then its gradient is
    single = {k for k in keys if any(k in g and g[k].dtype == np.float32 for g in (found, truth))}
    if dtype == "float64" and max(errors.values()) > limit and _casts_to_float32(proto):
        dtype, single = "float32", set(keys)
    wrong = [
        k for k, e in errors.items() if not e <= (max(limit, SINGLE) if k in single else limit)
    ]
    error = max((errors[k] for k in keys - single), default=max(errors.values(), default=0.0))
    if not wrong:
        return Verdict(case, "equal", "", dtype, error)
    error = max(errors.values())
    what = f"{', '.join(sorted(wrong))}: {error:.1e} apart, allowed {limit:.1e}"
    is_large = error > (CONSTANTS if dtype == "float64" else SINGLE)
    if is_large and slopes.agree_with(found) and not slopes.agree_with(expected):
        return Verdict(case, "TensorFlow", what, dtype, error)
    return Verdict(case, "wrong", what, dtype, error)


def _casts_to_float32(proto: Any) -> bool:
    """Whether a file of float64 computes something in float32, as TensorFlow does (Resizing)."""
    casts = (n for n in all_nodes(proto.graph) if n.op_type == "Cast")
    return any(a.name == "to" and a.i == 1 for n in casts for a in n.attribute)


def feeds_of(case: Case, traced: Trace) -> Arrays:
    """The inputs of a case, by the names that they have in the file."""
    if case.inputs is None:
        return make_random_inputs(traced)
    values = case.inputs(np.random.default_rng(0))
    return {
        p.name: np.asarray(v).astype(object if p.dtype == "string" else p.dtype)
        for p, v in zip(traced.inputs, values, strict=True)
    }


def file_gradients(
    session: Any, feeds: Arrays, seeds: Sequence[Any], *, with_variables: bool = True
) -> Arrays:
    """As ``Model.gradients``, of the exported file; what no gradient flows to isn't there."""
    weights = trainable_weights(session) if with_variables else ()
    floats = [n for n, x in feeds.items() if x.dtype.kind == "f" or x.dtype == "bfloat16"]
    names = list(dict.fromkeys([*floats, *(w.initializer for w in weights)]))
    found: Arrays = {}
    for output, seed in zip(session.outputs, seeds, strict=True):
        if seed is None:
            continue
        for name, gradient in _gradients(session, output.name, names, feeds, seed).items():
            found[name] = found[name] + gradient if name in found else gradient
    by_name = {name: found[name] for name in floats if name in found}
    read = {w.name: w.read(found[w.initializer]) for w in weights if w.initializer in found}
    return by_name | read


def _gradients(session: Any, of: str, names: list[str], feeds: Arrays, seed: Any) -> Arrays:
    """As ``session.gradients``, by name, without the values that the output doesn't depend on."""
    while names:
        try:
            return dict(zip(names, session.gradients(of, names, feeds, seed=seed), strict=True))
        except InvalidInputError as error:
            unread = re.search(r"(?:doesn't depend on|depends on) '(.*?)'", str(error))
            if unread is None or unread[1] not in names:
                raise
            names = [name for name in names if name != unread[1]]
    return {}


def outputs_apart(session: Any, model: Model) -> float:
    """The largest difference of the outputs of file and Keras, relative to the largest number."""
    pairs = zip(session.run(None, model.feeds), model.outputs(), strict=True)
    return max((difference({"": a}, {"": e}) for a, e in pairs if e.dtype.kind == "f"), default=0.0)


def difference(found: Arrays, truth: Arrays, only: str | None = None) -> float:
    """The largest difference, or that of one array, relative to the largest gradient in the truth;
    where there is no gradient it is 0. Infinite if NaN or infinity are in other places."""
    scale = max((np.abs(_finite(g)).max(initial=0) for g in truth.values()), default=0.0) or 1.0
    worst = 0.0
    for key in [only] if only is not None else truth.keys() | found.keys():
        one, other = (np.asarray(g.get(key, 0), np.float64) for g in (found, truth))
        if one.ndim and other.ndim and one.shape != other.shape:
            return np.inf
        one, other = np.broadcast_arrays(one, other)
        special = ~(np.isfinite(one) & np.isfinite(other))
        if not np.array_equal(one[special], other[special], equal_nan=True):
            return np.inf
        worst = max(worst, float(np.abs(one - other)[~special].max(initial=0)))
    return worst / scale


def _finite(x: Any) -> NDArray[Any]:
    values = np.asarray(x, np.float64)
    return values[np.isfinite(values)]
