"""When a file and Keras disagree: the one rule, for random numbers and for special values.

Numbers may differ by ``TOLERANCES`` of the largest in their row; texts and integers may not; NaN,
infinity and -infinity have to be in the same places. What is left is a difference unless Keras
itself doesn't decide the number, which is so in five cases:

rounding   Keras's own result moves as far, or becomes NaN or infinite, when its weights and inputs
           change by a few of their last bits; or, in float32, the file's number does when all inner
           values do. (A step of ``round``, a deep network in float16, the sum of 1e25 and -1e25
           and 3, the spectrum of 1000s everywhere, which is 0 but for what sums round.) Where the
           model has steps, whole numbers among the inputs stay, since steps are at such numbers on
           purpose, unless they are so large that sums round them.
kernels    The model has an operator of ``UNSETTLED``, and TensorFlow gives this output otherwise
           when it compiles the model with XLA: in any row of the feed, since kernels that don't
           agree on NaN do so by chance for some; in this row where it is only about
           ``UNSETTLED_IN_ROWS``. Or that operator itself gives other results in this row, or it
           reads what has no result: see ``find_undefined``.
denormal   A whole number or boolean, in a row in which the file computes with denormal numbers,
           those below 1.2e-38 in float32. TensorFlow takes them for 0, also compiled with XLA
           (x > 0 is False, x == 0 True, 1 / x infinite), NumPy and ONNX Runtime don't. None are
           fed; exp(-100) is one.
range      The difference is gone when the large finite values that were fed are smaller: beyond
           the square root of the largest float 2^10 times below that, and, for NaN or an infinity
           on one side alone, from 50 on by 2. (In which order a sum is computed decides whether it
           overflows.) Or, with numbers beyond that root, the file's nodes, one by one, give what
           Keras gives. (Rewrites avoid what overflows in a normalization.)
precision  Keras's own errors in float32 are larger than the tolerance, and the file's are not: it
           gives the number that Keras gives in float64. (LayerNormalization of a row of 1000s
           computes x / σ + (β - μ / σ), that is, β + 31623 - 31623: Keras is 0.002 from Keras in
           float64, the file less than 1e-7.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import ExportError
from onnxwalk.export.tracing.trace import Trace, all_operations

Arrays = list[NDArray[Any]]

#: dtype of the lowest precision in a model -> the largest difference that is accepted, relative
#: to the largest absolute value (or 1)
TOLERANCES = {
    "float64": 1e-6,  # Keras computes some constants in float32 even so
    "float32": 1e-4,
    "float16": 2e-2,  # 10 bits, rounded after every operation, and Keras sums in another order
    "bfloat16": 1e-1,  # 7 bits; single layers differ by up to 2e-2
    "int8": 2e-2,  # a last bit's difference can round to the next of 127 steps
}
TOLERANCE = TOLERANCES["float32"]

#: by how much of themselves numbers change to see what rounding does: half of the last bit in short
#: floats, where each is rounded as often as in Keras; some bits in those where sums take most of it
_STEPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float64": 2.0**-48}
_STEP = 2.0**-20  # of the others
#: TensorFlow operators whose kernels don't agree with each other on special values
UNSETTLED = {
    "Softmax",  # of a row with NaN: NaN where it is NaN, 0 or NaN elsewhere, by vector registers
    "LogSoftmax",
    "Max",  # of NaN and numbers
    "Min",
    "ArgMax",
    "ArgMin",
    "Cast",  # of NaN, infinities and numbers out of range to an integer
    "TopKV2",  # also sort and argsort: where NaN goes depends on what is beside it
    "Maximum",  # of 0 and -0, whose sign 1 / x shows
    "Minimum",
    "Relu",
    "Relu6",
    "Erf",  # of infinity in float64
}
#: of these, those that can only change a number's class: infinite, NaN, or an infinity's sign
UNSETTLED_CLASSES = {"Maximum", "Minimum", "Relu", "Relu6", "Erf"}
#: of these, those for which each row counts by itself
UNSETTLED_IN_ROWS = {"Cast", *UNSETTLED_CLASSES}
#: TensorFlow operators, beside casts, whose result jumps from one float to the next
_STEPPED = set(
    "ArgMax ArgMin Bucketize Ceil Equal Floor FloorDiv FloorMod Greater GreaterEqual Less "
    "LessEqual LowerBound Mod NotEqual Rint Round Sign TopKV2 TruncateMod UpperBound Where".split()
)
#: for models that amplify rounding errors
_MAX_TOLERANCE = 0.5
#: from where on whole numbers among the inputs are changed, too
_LARGE = 2.0**20


def find_lowest_precision(trace: Trace) -> str:
    """The dtype of lowest precision in the traced graph, one of ``TOLERANCES``."""
    from tensorflow import dtypes

    kinds = {
        dtypes.as_dtype(attribute.type).name
        for node in trace.graph.node
        for attribute in node.attr.values()
        if attribute.type and attribute.type < 100
    }
    order = ("bfloat16", "float16", "int8", "float32", "float64")
    return next((kind for kind in order if kind in kinds), "float32")


def find_unsettled(trace: Trace) -> set[str]:
    """The operators of ``UNSETTLED`` in the graph."""
    from tensorflow import dtypes

    return {
        node.op
        for node in all_operations(trace.graph)
        if node.op in UNSETTLED
        and (node.op != "Cast" or dtypes.as_dtype(node.attr["DstT"].type).is_integer)
    }


def find_undefined(kind: str, x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_] | None:
    """Where an operator of this kind, whose result is of ``dtype``, reads what it has no defined
    result for; ``None`` for other kinds.

    NaN has no place in an order: where it goes depends on how long the row is and what stands
    beside it, with XLA and without. A number that an integer type doesn't hold is cut off or
    wrapped around by where in the array it is.
    """
    if kind == "TopKV2" and is_float(x):
        return np.isnan(x)
    if kind == "Cast" and is_float(x) and dtype.kind in "iu":
        wide, limits = x.astype(np.float64), np.iinfo(dtype)
        with np.errstate(invalid="ignore"):
            return np.asarray(~((wide > limits.min - 1.0) & (wide < limits.max + 1.0)))
    return None


def has_steps(trace: Trace) -> bool:
    """Whether an operator of the graph jumps between two floats that are close to each other."""
    from tensorflow import dtypes

    def is_floating(node: Any, attribute: str) -> bool:
        return bool(dtypes.as_dtype(node.attr[attribute].type).is_floating)

    def is_step(node: Any) -> bool:
        if node.op == "Cast":
            return is_floating(node, "SrcT") and not is_floating(node, "DstT")
        return node.op == "InTopKV2" or (node.op in _STEPPED and is_floating(node, "T"))

    return any(map(is_step, all_operations(trace.graph)))


def check_type(name: str, actual: NDArray[Any], expected: NDArray[Any]) -> None:
    """Raises ExportError if shapes or dtypes differ."""
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ExportError(
            f"output {name}: expected {expected.dtype}{list(expected.shape)} as in Keras, "
            f"got {actual.dtype}{list(actual.shape)}"
        )


def check_output(
    name: str, actual: NDArray[Any], expected: NDArray[Any], tolerance: float = TOLERANCE
) -> float:
    """The largest difference of one output. Raises ExportError when it is too large."""
    check_type(name, actual, expected)
    if not actual.size:
        return 0.0
    if expected.dtype == object:
        if find_differences(actual, expected, np.zeros(actual.shape)).any():
            raise ExportError(f"output {name} differs from Keras")
        return 0.0
    largest = max_difference(actual, expected)
    if largest > tolerance:
        raise ExportError(
            f"output {name} differs from Keras by {largest:.3g} (tolerance {tolerance:g})"
        )
    return largest


def max_difference(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest absolute difference of two arrays of numbers of the same shape, relative to the
    largest finite value expected if that is more than 1; infinite where one alone is infinite or
    NaN, and where the shapes differ; 0 for texts."""
    if actual.shape != expected.shape:
        return np.inf
    if not actual.size or expected.dtype == object:
        return 0.0
    largest = float(np.max(find_distances(actual, expected)))
    return largest / float(find_scale(expected, by_row=False).max())


def find_differences(
    actual: NDArray[Any], expected: NDArray[Any], allowed: NDArray[Any]
) -> NDArray[np.bool_]:
    """Where two arrays of the same shape differ by more than ``allowed``."""
    if expected.dtype == object:
        pairs = zip(actual.flat, expected.flat, strict=True)
        unequal = np.array([_text(a) != _text(e) for a, e in pairs], bool).reshape(actual.shape)
    elif is_float(expected):
        return np.asarray(find_distances(actual, expected) > allowed)
    else:
        unequal = np.asarray(actual != expected)  # float64 can't tell all integers apart
    return np.asarray(unequal & ~np.isinf(allowed))


def find_allowed(
    expected: NDArray[Any],
    tolerance: float,
    moved: Arrays | None = None,
    *,
    by_row: bool = False,
) -> NDArray[Any]:
    """How far each number may be from Keras's: ``tolerance``, or as far as Keras's own results
    ``moved`` with the last bits of what it was given; infinitely where they changed altogether.

    ``by_row``: relative to the largest number in each row, instead of in all.
    """
    if not is_float(expected):
        changed = [find_differences(m, expected, np.zeros(m.shape)) for m in moved or []]
        return np.where(np.any([np.zeros(expected.shape, bool), *changed], axis=0), np.inf, 0.0)
    scale = find_scale(expected, by_row=by_row)
    allowed = np.broadcast_to(tolerance * scale, expected.shape)
    if moved:
        far = np.max([find_distances(m, expected) for m in moved], axis=0)
        axes = _axes(far, by_row=by_row)
        in_row = np.max(np.where(np.isinf(far), 0.0, far), axis=axes, keepdims=True, initial=0.0)
        allowed = np.maximum(allowed, np.minimum(in_row, _MAX_TOLERANCE * scale))
        allowed = np.maximum(allowed, 2 * far)
    return allowed


def is_settled(
    expected: NDArray[Any], compiled: NDArray[Any], allowed: NDArray[Any], *, by_row: bool
) -> NDArray[np.bool_]:
    """Whether ``compiled``, Keras's results by XLA, are those expected: in each row, or in all."""
    if compiled.shape != expected.shape:
        return np.zeros(expected.shape, bool)
    unlike = find_differences(compiled, expected, allowed)
    some = np.any(unlike, axis=_axes(unlike, by_row=by_row), keepdims=True)
    return np.broadcast_to(~some, expected.shape)


def is_inexact(
    actual: NDArray[Any],
    expected: NDArray[Any],
    exact: NDArray[Any],
    tolerance: float,
    *,
    by_row: bool,
) -> NDArray[np.bool_]:
    """Where ``actual`` isn't ``exact`` either, Keras's results in float64, rounded to the type of
    those expected. Everywhere for what isn't floating."""
    if not is_float(expected) or exact.shape != expected.shape:
        return np.ones(expected.shape, bool)
    with np.errstate(all="ignore"):
        rounded = exact.astype(expected.dtype)
    return find_differences(actual, rounded, find_allowed(rounded, tolerance, by_row=by_row))


def is_class_difference(actual: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
    """Where one of two arrays alone is NaN, infinity or -infinity."""
    if not is_float(expected) or actual.shape != expected.shape:
        return np.zeros(expected.shape, bool)
    return np.isinf(find_distances(actual, expected))


def nudge_weights(model: Any, kind: str, seed: int) -> list[tuple[Any, Any]]:
    """Pairs of a floating variable of the model and its value, changed by ± some last bits: all
    numbers of a variable in the same direction for seed 0, since a constant that is rounded
    otherwise (a scale that was multiplied into a kernel) does so, each in its own for others."""
    import keras

    rng = np.random.default_rng(seed)
    step = _STEPS.get(kind, _STEP)

    def change(shape: tuple[int, ...]) -> Any:
        return 1 + step * rng.choice([-1, 1], shape if seed else (1,) * len(shape))

    return [
        (v, v.value * keras.ops.cast(change(tuple(v.shape)), v.dtype))
        for v in model.variables
        if "float" in str(v.dtype)
    ]


def nudge(values: NDArray[Any], kind: str, seed: int, *, whole: bool) -> NDArray[Any]:
    """Floating inputs changed by ± some last bits; of whole numbers the large ones only, or all if
    ``whole``."""
    if not is_float(values):
        return values
    rng = np.random.default_rng(seed)
    wide = values.astype(np.float64)
    keeps = ~np.isfinite(wide)
    if not whole:
        keeps |= (wide == np.round(wide)) & (np.abs(wide) < _LARGE)
    with np.errstate(all="ignore"):
        changed = wide * (1 + _STEPS.get(kind, _STEP) * rng.choice([-1, 1], values.shape))
        most = _largest_finite(values)
        return np.where(keeps, values, np.clip(changed, -most, most).astype(values.dtype))


def shrink(values: NDArray[Any], *, overflow: bool) -> NDArray[Any]:
    """The same with smaller large values, see ``range`` above; only with those that overflow when
    they are squared if ``overflow``. The array itself if it has none."""
    if not is_float(values):
        return values
    wide = values.astype(np.float64)
    size, root = np.abs(wide), np.sqrt(_largest_finite(values))
    is_large = np.isfinite(wide) & (size > (root if overflow else 50))
    if not is_large.any():
        return values
    below = 2.0**-10 * root / _largest_finite(values)
    factor = np.where(size > root, below, 0.5)
    return np.where(is_large, wide * factor, wide).astype(values.dtype)


def find_distances(actual: NDArray[Any], expected: NDArray[Any]) -> NDArray[Any]:
    """|actual - expected|; infinite where one alone is NaN or infinite, and for other texts."""
    if expected.dtype == object:
        return np.where(find_differences(actual, expected, np.zeros(actual.shape)), np.inf, 0.0)
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    with np.errstate(all="ignore"):
        apart = np.where(same, 0.0, np.abs(a - e))
    finite = np.isfinite(a) & np.isfinite(e)
    biggest = np.finfo(np.float64).max
    return np.where(finite | same, np.minimum(apart, biggest), np.inf)


def find_scale(expected: NDArray[Any], *, by_row: bool) -> NDArray[Any]:
    """The largest finite size in each row, or in all; at least 1."""
    if expected.dtype == object:
        return np.ones((1,) * expected.ndim)
    sizes = np.abs(expected.astype(np.float64))
    sizes = np.where(np.isfinite(sizes), sizes, 0.0)
    axes = _axes(sizes, by_row=by_row)
    return np.asarray(np.max(sizes, axis=axes, keepdims=True, initial=1.0))


def _axes(values: NDArray[Any], *, by_row: bool) -> tuple[int, ...]:
    return tuple(range(1 if by_row else 0, values.ndim))


def find_denormal(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which numbers are so small that TensorFlow takes them for 0, in float32 and float64."""
    if values.dtype not in (np.float32, np.float64):
        return np.zeros(values.shape, bool)
    return np.asarray((values != 0) & (np.abs(values) < np.finfo(values.dtype).tiny))


def is_float(values: NDArray[Any]) -> bool:
    """Whether these are floating-point numbers."""
    return "float" in values.dtype.name


def _largest_finite(values: NDArray[Any]) -> float:
    from ml_dtypes import finfo

    return float(finfo(values.dtype).max)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
