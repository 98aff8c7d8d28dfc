"""Compare the exported model with Keras on random inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.tracing.trace import Trace, get_input_structure

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

#: half of the last bit of a number, relative to it
_ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
#: for models that amplify rounding errors
_MAX_TOLERANCE = 0.5

_BATCH = 6
_TIME = 12
_SIDE = 64


def verify_model(model: Any, proto: Any, trace: Trace, *, seed: int = 0) -> dict[str, float]:
    """Run Keras and the interpreter on random inputs and on those of ``make_edge_inputs``.

    ``proto``: whatever ``onnxwalk.load`` accepts. Returns output name -> largest absolute
    difference, relative to the largest absolute value of Keras's output if that is more than 1.

    Raises ExportError that names the output when shapes or dtypes differ, or when the difference
    is larger than ``TOLERANCES`` and, in short floats, than ``measure_sensitivity``; and when the
    interpreter can't run the model.
    """
    import onnxwalk

    kind = find_lowest_precision(trace)
    largest = {port.name: 0.0 for port in trace.outputs}
    try:
        session = onnxwalk.load(proto)
    except onnxwalk.OnnxWalkError as error:
        raise ExportError(f"the exported model doesn't run: {one_line(error)}") from error
    random = make_random_inputs(trace, seed=seed)
    for feeds in (random, *make_edge_inputs(trace, random)):
        inputs = [feeds[port.name] for port in trace.inputs]
        try:
            expected = run_keras(model, inputs)
        except Exception:
            if feeds is random:
                raise
            continue  # a model need not take a batch of 1, or zeros
        try:
            actual = session.run(None, feeds)
        except onnxwalk.OnnxWalkError as error:
            raise ExportError(f"the exported model doesn't run: {one_line(error)}") from error
        allowed = [TOLERANCES[kind]] * len(expected)
        if kind in _ROUNDING and any(
            max_difference(a, e) > TOLERANCES[kind] for a, e in zip(actual, expected, strict=True)
        ):
            moved = measure_sensitivity(model, inputs, expected, _ROUNDING[kind])
            allowed = [max(TOLERANCES[kind], min(_MAX_TOLERANCE, m)) for m in moved]
        for port, a, e, most in zip(trace.outputs, actual, expected, allowed, strict=True):
            found = check_output(port.name, a, e, most)
            largest[port.name] = max(largest[port.name], found)
    return largest


def measure_sensitivity(
    model: Any, inputs: list[NDArray[Any]], expected: list[NDArray[Any]], step: float
) -> list[float]:
    """How much each of Keras's outputs changes when every weight changes by ± ``step`` of itself.

    Two implementations of a deep network in short floats can't agree better than that: weights
    and intermediate sums are rounded by as much.
    """
    import keras

    rng = np.random.default_rng(0)
    moved = [
        (v, v.value * keras.ops.cast(1 + step * rng.choice([-1, 1], tuple(v.shape)), v.dtype))
        for v in model.variables
        if "float" in str(v.dtype)
    ]
    outputs = run_keras(model, inputs, moved)
    return [max_difference(a, e) for a, e in zip(outputs, expected, strict=True)]


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


def make_edge_inputs(
    trace: Trace, random: dict[str, NDArray[Any]]
) -> list[dict[str, NDArray[Any]]]:
    """A batch of one, and a batch of three: zeros, ones, and ten times the random values.

    Ids are the lowest, the next, and the highest; texts are unchanged. An empty list for models
    with a fixed batch size.
    """
    if any((port.shape or ())[:1] != (None,) for port in trace.inputs):
        return []
    three: dict[str, NDArray[Any]] = {}
    for name, values in random.items():
        rows = values[:3].copy()
        if name in trace.vocabulary:
            top = trace.vocabulary[name] - 1
            rows[0], rows[1], rows[2] = 0, min(1, top), top
        elif rows.dtype.kind not in "bO" and name not in trace.keys:
            rows[0], rows[1] = 0, 1
            if rows.dtype.kind not in "iu":
                rows[2] *= 10
        three[name] = rows
    return [{name: values[:1] for name, values in random.items()}, three]


def check_output(
    name: str, actual: NDArray[Any], expected: NDArray[Any], tolerance: float = TOLERANCE
) -> float:
    """The largest difference of one output. Raises ExportError when it is too large."""
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ExportError(
            f"output {name}: expected {expected.dtype}{list(expected.shape)} as in Keras, "
            f"got {actual.dtype}{list(actual.shape)}"
        )
    if not actual.size:
        return 0.0
    if expected.dtype == object:
        if any(_text(a) != _text(e) for a, e in zip(actual.flat, expected.flat, strict=True)):
            raise ExportError(f"output {name} differs from Keras: nothing was written")
        return 0.0
    largest = max_difference(actual, expected)
    if largest > tolerance:
        raise ExportError(
            f"output {name} differs from Keras by {largest:.3g} (tolerance {tolerance:g}): "
            "nothing was written"
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
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    same = (a == e) | (np.isnan(a) & np.isnan(e))  # infinities and NaN in the same places
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - e))
    finite = np.abs(e[np.isfinite(e)])
    largest = float(np.max(np.nan_to_num(apart, nan=np.inf, posinf=np.inf)))
    return largest / max(1.0, float(finite.max(initial=0.0)))


def run_keras(
    model: Any, inputs: list[NDArray[Any]], weights: list[tuple[Any, Any]] | None = None
) -> list[NDArray[Any]]:
    """Keras's outputs, flattened, for inputs in order; leaves the states of the model alone.

    ``weights``: pairs of a variable and its value in this run.
    """
    import keras
    import tensorflow as tf

    # TensorFlow takes texts as its own tensors only
    given = [tf.constant(x) if x.dtype == object else x for x in inputs]
    structure = keras.tree.pack_sequence_as(get_input_structure(model), given)
    with keras.StatelessScope(weights):
        result = model(structure, training=False)
    # a bfloat16 scalar of TensorFlow is no array to NumPy until it is NumPy's own
    return [np.asarray(output.numpy()) for output in keras.tree.flatten(result)]


def make_random_inputs(trace: Trace, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """A batch of 6 for every input; open time steps and image sides get a fixed size.

    Inputs that feed an Embedding get ids below its size, one row each with padding at the end, at
    the start, in holes, everywhere, and nowhere; inputs of a Masking layer are padded in the same
    way. Other integers are 0 … 9, floats are normally distributed.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, NDArray[Any]] = {}
    for port in trace.inputs:
        if port.shape is None:
            raise ExportError(
                f"input {port.name} has an unknown rank: pass verify=False (--no-verify)"
            )
        shape = tuple(
            (_BATCH if axis == 0 else _TIME if _is_time(port.shape, axis) else _SIDE)
            if size is None
            else size
            for axis, size in enumerate(port.shape)
        )
        values: NDArray[Any]
        if port.name in trace.vocabulary:
            size = trace.vocabulary[port.name]
            values = rng.integers(min(1, size - 1), size, shape)
            values[_padding_mask(rng, shape)] = 0
        elif port.name in trace.keys or port.dtype == "string":
            values = _random_keys(rng, shape, trace.keys.get(port.name, []), port.dtype)
        elif port.dtype == "bool":
            values = rng.integers(0, 2, shape)
        elif port.dtype.startswith(("int", "uint")):
            values = rng.integers(0, 10, shape)
        else:
            values = rng.standard_normal(shape)
            if port.name in trace.masking:
                values[_padding_mask(rng, shape)] = trace.masking[port.name]
        feeds[port.name] = values.astype(object if port.dtype == "string" else port.dtype)
    return feeds


def _is_time(shape: tuple[int | None, ...], axis: int) -> bool:
    """Whether an open dimension counts steps: images leave their width open, too."""
    return len(shape) < 4 or (axis == 1 and None not in shape[2:])


def _random_keys(
    rng: np.random.Generator, shape: tuple[int, ...], known: list[Any], dtype: str
) -> Any:
    """Mostly keys of a lookup, and some that it doesn't know."""
    text = dtype == "string"
    strange = ["", "?", "straße"] if text else [0, -1, 10**6 + 1]
    choice = np.array([*known, *known, *strange], object if text else "int64")
    return rng.choice(choice, shape)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _padding_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """(batch, time) bool, another kind of padding in each row; (batch,) False without time."""
    if len(shape) < 2 or not shape[1]:
        return np.zeros(shape[:1], bool)
    length = shape[1]
    patterns = (
        np.arange(length) >= (length + 1) // 2,  # at the end
        np.arange(length) < length // 3,  # at the start
        rng.random(length) < 0.4,  # holes
        np.ones(length, bool),  # everywhere
        np.zeros(length, bool),
    )
    return np.stack([patterns[row % len(patterns)] for row in range(shape[0])])
