"""Operators that create tensors: Constant, Range, OneHot, and random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.dtypes import element_type, numpy_dtype
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import flops, products, types
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import fill_cost
from onnxwalk.ops.shared.values import as_int, as_ints, as_scalar

# --- constants ------------------------------------------------------------------------------------


@op("Constant", since=12)
def constant(
    *,
    value=None,
    sparse_value=None,
    value_int=None,
    value_ints=None,
    value_float=None,
    value_floats=None,
    value_string=None,
    value_strings=None,
):
    """The only attribute that is set, as a tensor: int64, float32 or strings. Spec: Constant-12.

    A ``sparse_value`` arrives dense, as every operator expects it.
    """
    given = {name: attribute for name, attribute in locals().items() if attribute is not None}
    if len(given) != 1:
        raise ValueError(f"Constant needs exactly one attribute, got {sorted(given) or 'none'}")
    ((name, attribute),) = given.items()
    if name in ("value", "sparse_value"):
        return _check_tensor(attribute, name)
    dtype = {"int": np.int64, "float": np.float32, "string": object}[name[6:].rstrip("s")]
    array = np.array(attribute, dtype)
    if dtype is object and not all(isinstance(text, str) for text in array.flat):
        raise ValueError(f"{name} is not valid UTF-8")
    return array


def _check_tensor(attribute: Any, name: str = "value") -> np.ndarray:
    """The attribute, if it is a tensor; else ValueError."""
    if not isinstance(attribute, np.ndarray):
        raise ValueError(f"{name} should be a tensor, got {type(attribute).__name__}")
    return attribute


@op("Constant", since=11)
def constant_11(*, value=None, sparse_value=None):
    """A tensor that the model carries, maybe in sparse form. Spec: Constant-11."""
    return constant(value=value, sparse_value=sparse_value)


@op("Constant", since=1)
def constant_1(*, value):
    """A tensor that the model carries. Spec: Constant-1."""
    return _check_tensor(value)


@op("ConstantOfShape", since=9)
def constant_of_shape(input, *, value=None):
    """A tensor of shape ``input``, all of the one element in ``value``. Spec: ConstantOfShape-9."""
    shape = as_ints(input)
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape} has a negative dimension")
    if value is None:
        return np.zeros(shape, np.float32)
    return np.full(shape, as_scalar(value, "value"), value.dtype)


declare(constant, constant_11, constant_1, cost=lambda **attributes: Cost(0))


@constant_of_shape.cost
def cost_of_constant_of_shape(input: np.ndarray, *, value: np.ndarray | None = None) -> Cost:
    return fill_cost(as_ints(input), np.float32 if value is None else value.dtype)


@op("EyeLike", since=9)
def eye_like(input, *, dtype=None, k=0):
    """Ones on the k-th diagonal, zeros elsewhere, in the shape of a matrix. Spec: EyeLike-9."""
    if input.ndim != 2:
        raise ValueError(f"EyeLike needs a matrix, not shape {input.shape}")
    rows, columns = input.shape
    y = np.zeros(input.shape, input.dtype if dtype is None else numpy_dtype(dtype))
    first, last = max(0, -k), min(rows, columns - k)
    if first < last:
        row = np.arange(first, last)
        y[row, row + k] = 1
    return y


@eye_like.cost
def cost_of_eye_like(input: np.ndarray, *, dtype: int | None = None, **_: Any) -> Cost:
    ones = 24 * min(input.shape)
    cost = fill_cost(input.shape, input.dtype if dtype is None else numpy_dtype(dtype))
    return Cost(cost.memory + ones, cost.work)


@op("Range", since=11)
def range_(start, limit, delta):
    """start + i·delta for i below ceil((limit - start) / delta). Spec: Range-11."""
    return _make_range(start, limit, delta)


@op("Range", since=27)
def range_27(start, limit, delta, *, stash_type=1):
    """Range that computes 16-bit floats in the type ``stash_type``. Spec: Range-27."""
    dtype = start.dtype
    if element_type(dtype).name not in ("float16", "bfloat16"):
        return _make_range(start, limit, delta)
    wide = numpy_dtype(stash_type)
    return _make_range(*(x.astype(wide) for x in (start, limit, delta))).astype(dtype)


def _make_range(start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
    count = _count_range(start, limit, delta)
    if count > 1 << 60:
        raise ValueError(f"a Range of {count} elements is too long")
    places = np.arange(count).astype(start.dtype, copy=False)
    places *= delta.reshape(())
    places += start.reshape(())
    return places


@range_.cost
@range_27.cost
def cost_of_range(
    start: np.ndarray, limit: np.ndarray, delta: np.ndarray, *, stash_type: int = 1
) -> Cost:
    """The indices in 64 bits, then in the dtype of the result."""
    count = _count_range(start, limit, delta)
    if element_type(start.dtype).name in ("float16", "bfloat16"):
        wide = numpy_dtype(stash_type)
        count = max(count, _count_range(*(x.astype(wide) for x in (start, limit, delta))))
    own = 0 if start.dtype == np.int64 else max(start.itemsize, 4)
    return Cost((8 + own) * count, 30 * count)


def _count_range(start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> int:
    first, stop, step = (
        as_scalar(x, name) for x, name in ((start, "start"), (limit, "limit"), (delta, "delta"))
    )
    if step == 0:
        raise ValueError("the delta of a Range should not be 0")
    dtype = start.dtype
    if dtype.kind in "iu":
        count = max(-((first - stop) // step), 0)
    else:
        if not np.isfinite([float(first), float(stop), float(step)]).all():
            raise ValueError(f"a Range from {first} to {stop} by {step} is undefined")
        # the difference is taken in the tensors' own type, as ONNX Runtime does
        difference = (limit - start).reshape(-1)[0]
        steps = float(difference) / float(step)
        if not np.isfinite(steps):
            raise ValueError(f"a Range from {first} to {stop} by {step} is infinite")
        count = max(math.ceil(steps), 0)
    return count


@range_.vjp
@range_27.vjp
def vjp_of_range(dy, *, start_shape, delta_shape):
    """start + i·delta"""
    d_start, d_delta = dy.sum(), products.matmul(dy, np.arange(len(dy), dtype=dy.dtype))
    return d_start.reshape(start_shape), None, d_delta.reshape(delta_shape)


declare(range_, range_27, no_gradient_of="limit")


@op("OneHot", since=11)
def one_hot(indices, depth, values, *, axis=-1):
    """``values`` = [off, on]: on where the new ``axis`` has the index, off elsewhere.

    Shapes: indices (a, b), axis 1 gives (a, depth, b). Negative indices count from the end; an
    index outside [-depth, depth-1] is nowhere. Spec: OneHot-11.
    """
    indices, count = _as_int64(indices), _check_depth(depth)
    return _one_hot(np.where(indices < 0, indices + count, indices), count, values, axis)


@op("OneHot", since=9, until=11)
def one_hot_9(indices, depth, values, *, axis=-1):
    """OneHot where a negative index is nowhere. Spec: OneHot-9."""
    return _one_hot(_as_int64(indices), _check_depth(depth), values, axis)


@one_hot.vjp
def vjp_of_one_hot(dy, indices, depth, *, axis):
    return _gather_values(dy, one_hot(indices, depth, _OFF_ON, axis=axis))


@one_hot_9.vjp
def vjp_of_one_hot_9(dy, indices, depth, *, axis):
    return _gather_values(dy, one_hot_9(indices, depth, _OFF_ON, axis=axis))


declare(one_hot, one_hot_9, no_gradient_of="indices depth")
_OFF_ON = np.array([False, True])


def _gather_values(dy: np.ndarray, is_on: np.ndarray) -> tuple[None, None, np.ndarray]:
    """The gradient of [off, on]."""
    return None, None, np.stack([dy[~is_on].sum(), dy[is_on].sum()])


def _check_depth(depth: np.ndarray) -> int:
    count = as_int(depth, "depth")
    if not 0 <= count < 1 << 63:
        raise ValueError(f"depth {count} should be from 0 to 2⁶³ - 1")
    return count


def _as_int64(indices: np.ndarray) -> np.ndarray:
    return indices.astype(np.int64)


def _one_hot(indices: np.ndarray, depth: int, values: np.ndarray, axis: int) -> np.ndarray:
    rank = indices.ndim + 1
    if values.shape != (2,):
        raise ValueError(f"values must be [off, on], not shape {values.shape}")
    axis = normalize_axis(axis, rank)
    classes = np.arange(depth).reshape((-1,) + (1,) * (rank - 1 - axis))
    off, on = values[:1], values[1:]
    return np.where(np.expand_dims(indices, axis) == classes, on, off)


@one_hot.cost
@one_hot_9.cost
def cost_of_one_hot(indices: np.ndarray, depth: np.ndarray, values: np.ndarray, **_: Any) -> Cost:
    """The indices as non-negative ones; the classes; where both are equal; the result."""
    classes = max(as_int(depth, "depth"), 0)
    count = indices.size * classes
    return Cost(25 * indices.size + 8 * classes + (1 + values.itemsize) * count, 10 * count)


# --- random numbers -------------------------------------------------------------------------------


def _get_generator(seed: float | None, rng: np.random.Generator) -> np.random.Generator:
    """The session's generator, or for a node with a seed a new one, so that the same seed yields
    the same numbers at each call."""
    if seed is None:
        return rng
    return np.random.default_rng(int(np.float64(seed).view(np.uint64)))


def _float_dtype(code: int | None, like: np.ndarray | None = None) -> np.dtype:
    dtype = like.dtype if code is None and like is not None else numpy_dtype(code or 1)
    if element_type(dtype).name not in ("float", "double", "float16", "bfloat16"):
        raise ValueError(f"random numbers should be floating-point, not {element_type(dtype).name}")
    return dtype


def _draw_normal(shape, dtype, mean, scale, generator) -> np.ndarray:
    return _rescale(generator.standard_normal(shape, _random_dtype(dtype)), scale, mean, dtype)


def _draw_uniform(shape, dtype, low, high, generator) -> np.ndarray:
    return _rescale(generator.random(shape, _random_dtype(dtype)), high - low, low, dtype)


def _random_dtype(dtype: np.dtype) -> type[np.floating]:
    return np.float64 if dtype == np.float64 else np.float32


def _rescale(draws, factor: float, start: float, dtype: np.dtype) -> np.ndarray:
    """draws·factor + start, in place."""
    y = np.asarray(draws)
    y *= y.dtype.type(factor)
    y += y.dtype.type(start)
    return y.astype(dtype, copy=False)


def _cost_of_random(shape: Sequence[int], dtype: np.dtype) -> Cost:
    drawn = np.dtype(_random_dtype(dtype))
    rounded = 0 if drawn == dtype else dtype.itemsize
    return Cost((drawn.itemsize + rounded) * size(shape), 60 * size(shape))


@op("RandomNormal", since=1)
def random_normal(*, shape, dtype=1, mean=0.0, scale=1.0, seed=None, rng):
    """Normal random numbers of this mean and standard deviation. Spec: RandomNormal-1."""
    return _draw_normal(shape, _float_dtype(dtype), mean, scale, _get_generator(seed, rng))


@op("RandomNormalLike", since=1)
def random_normal_like(input, *, dtype=None, mean=0.0, scale=1.0, seed=None, rng):
    """RandomNormal in the shape, and unless ``dtype`` is given the type, of a tensor.

    Spec: RandomNormalLike-1.
    """
    dtype = _float_dtype(dtype, input)
    return _draw_normal(input.shape, dtype, mean, scale, _get_generator(seed, rng))


@op("RandomUniform", since=1)
def random_uniform(*, shape, dtype=1, low=0.0, high=1.0, seed=None, rng):
    """Random numbers spread evenly from ``low`` to ``high``. Spec: RandomUniform-1."""
    return _draw_uniform(shape, _float_dtype(dtype), low, high, _get_generator(seed, rng))


@op("RandomUniformLike", since=1)
def random_uniform_like(input, *, dtype=None, low=0.0, high=1.0, seed=None, rng):
    """RandomUniform in the shape, and unless ``dtype`` is given the type, of a tensor.

    Spec: RandomUniformLike-1.
    """
    dtype = _float_dtype(dtype, input)
    return _draw_uniform(input.shape, dtype, low, high, _get_generator(seed, rng))


@random_normal.cost
@random_uniform.cost
def cost_of_random(*, shape: Sequence[int], dtype: int = 1, **_: Any) -> Cost:
    return _cost_of_random(shape, _float_dtype(dtype))


@random_normal_like.cost
@random_uniform_like.cost
def cost_of_random_like(input: np.ndarray, *, dtype: int | None = None, **_: Any) -> Cost:
    return _cost_of_random(input.shape, _float_dtype(dtype, input))


@op("Bernoulli", since=15)
def bernoulli(input, *, dtype=None, seed=None, rng):
    """1 with the probability in ``input``, else 0. Spec: Bernoulli-15."""
    ones = _get_generator(seed, rng).random(input.shape) < input
    return np.asarray(ones).astype(input.dtype if dtype is None else numpy_dtype(dtype))


@bernoulli.cost
def cost_of_bernoulli(input: np.ndarray, *, dtype: int | None = None, **_: Any) -> Cost:
    """Random numbers in double, their comparison with the input, and the result."""
    own = input.dtype if dtype is None else numpy_dtype(dtype)
    return Cost((9 + own.itemsize) * input.size, 60 * input.size)


@op("Multinomial", since=7)
def multinomial(input, *, dtype=6, sample_size=1, seed=None, rng):
    """Class indices drawn with probability softmax(input): (batch, class) to (batch, sample_size).

    Spec: Multinomial-7.
    """
    if input.ndim != 2 or not input.shape[1]:
        raise ValueError(f"Multinomial needs shape (batch, classes), not {input.shape}")
    logits = input.astype(np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    if np.isnan(weights).any():
        raise ValueError("Multinomial: the log-probabilities of a row are NaN, +inf or all -inf")
    cumulated = weights.cumsum(axis=1)
    total = cumulated[:, -1:]
    draws = _get_generator(seed, rng).random((len(input), sample_size)) * total
    draws = np.minimum(draws, np.nextafter(total, 0))  # the product may round up to the total
    classes = np.empty(draws.shape, numpy_dtype(dtype))
    for row in range(len(input)):
        # the first class whose cumulative weight is above the draw, so never one of weight 0
        classes[row] = np.searchsorted(cumulated[row], draws[row], side="right")
    return classes


@multinomial.cost
def cost_of_multinomial(input: np.ndarray, *, sample_size: int = 1, **_: Any) -> Cost:
    """Logits, weights and cumulative weights in double; random numbers, twice; the result."""
    drawn = len(input) * max(sample_size, 0)
    memory = 33 * input.size + 24 * drawn + 16 * sample_size
    return Cost(memory, 100 * input.size + 500 * drawn + 10_000 * len(input))


declare(
    constant, constant_11, constant_1, constant_of_shape, eye_like, range_,
    range_27, one_hot, one_hot_9, flops=flops.zero,
)  # fmt: skip
declare(random_normal, random_uniform, multinomial, output_type=types.from_attribute("dtype"))
declare(
    random_normal_like, random_uniform_like, bernoulli, eye_like,
    output_type=types.from_dtype_or_input,
)  # fmt: skip
constant_of_shape.output_type(lambda first, *, value: "float" if value is None else value)


@constant.output_type
@constant_11.output_type
@constant_1.output_type
def type_of_constant(first: str, **attributes):
    """The type of the only attribute that is set."""
    (name, value), *_ = [item for item in attributes.items() if item[1] is not None]
    named = {"value_int": "int64", "value_float": "float", "value_string": "string"}
    return named.get(name.removesuffix("s"), value)


declare(
    constant, constant_11, constant_1, constant_of_shape, eye_like, random_normal,
    random_normal_like, random_uniform, random_uniform_like, bernoulli, multinomial,
    vjp=no_gradient,
)  # fmt: skip
