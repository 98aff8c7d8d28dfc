"""Preprocessing of numbers: Scaler, Normalizer, Binarizer, Imputer, FeatureVectorizer,
ArrayFeatureExtractor."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx_ml import ML
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import reshape_bytes
from onnxwalk.ops.shared.gradients import add_elements, cost_of_adding
from onnxwalk.ops.shared.places import as_places


@op("Scaler", domain=ML, since=1)
def scaler(
    x: np.ndarray, *, offset: Sequence[float] | None = None, scale: Sequence[float] | None = None
) -> np.ndarray:
    """(x - offset)·scale, float32; both have one value, or one for each feature of x (N, F) or (F).

    Spec: Scaler-1.
    """
    if offset is None or scale is None or len(offset) != len(scale):
        raise ValueError("Scaler needs an offset and a scale of the same length")
    if len(scale) != 1 and (x.ndim not in (1, 2) or x.shape[-1] != len(scale)):
        raise ValueError(f"offset and scale ({len(scale)} values) and x {x.shape} are incompatible")
    wide = x if x.dtype == np.float32 else x.astype(np.float64)
    y = (wide - np.array(offset, wide.dtype)) * np.array(scale, wide.dtype)
    return y.astype(np.float32, copy=False)


@scaler.vjp
def vjp_of_scaler(dy, *, x_dtype, scale):
    return (dy * np.array(scale, dy.dtype)).astype(x_dtype, copy=False)


@op("Normalizer", domain=ML, since=1)
def normalizer(x: np.ndarray, *, norm: str = "MAX") -> np.ndarray:
    """Each row of x (N, C), or x (C), over its norm; unchanged where that is 0; float32.

    MAX: max(x), so that a negative row changes its sign. L1: Σ |x|. L2: √Σ x².
    The spec has Σ x for L1 and no sign for L2, which neither ONNX Runtime nor the official
    reference follows. Spec: Normalizer-1.
    """
    if x.ndim not in (1, 2):
        raise ValueError(f"x {x.shape} of Normalizer should be (N, C) or (C)")
    wide = x if x.dtype == np.float32 else x.astype(np.float64)
    divisor = _norm(wide, norm)
    y = np.where(divisor == 0, wide, wide / divisor)
    return y.astype(np.float32, copy=False)


def _norm(x: np.ndarray, norm: str) -> np.ndarray:
    """Of each row."""
    if norm == "MAX":
        return x.max(axis=-1, keepdims=True) if x.size else x
    if norm == "L1":
        return abs(x).sum(axis=-1, keepdims=True)
    if norm == "L2":
        return np.sqrt(np.square(x).sum(axis=-1, keepdims=True))
    raise ValueError(f"norm {norm!r} of Normalizer should be 'MAX', 'L1' or 'L2'")


@normalizer.vjp
def vjp_of_normalizer(dy, x, *, norm):
    """(dy - n'·Σ dy·y) / n, n' the slope of the norm; dy where the norm is 0."""
    wide = x if x.dtype == np.float32 else x.astype(np.float64)
    divisor = _norm(wide, norm)
    safe = np.where(divisor == 0, 1, divisor)
    slope = np.sign(wide) if norm == "L1" else wide / safe
    if norm == "MAX":  # of equal ones an equal share, as of ReduceMax
        slope = (wide == divisor) / (wide == divisor).sum(axis=-1, keepdims=True)
    along = (dy * wide).sum(axis=-1, keepdims=True) / safe
    return np.where(divisor == 0, dy, (dy - slope * along) / safe)


@op("Binarizer", domain=ML, since=1)
def binarizer(x: np.ndarray, *, threshold: float = 0.0) -> np.ndarray:
    """1 where x > threshold, else 0 (of a nan, too), in the dtype of x. Spec: Binarizer-1."""
    return (x > x.dtype.type(threshold) if x.dtype.kind == "f" else x > threshold).astype(x.dtype)


@op("Imputer", domain=ML, since=1)
def imputer(
    x: np.ndarray,
    *,
    imputed_value_floats: Sequence[float] | None = None,
    imputed_value_int64s: Sequence[int] | None = None,
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> np.ndarray:
    """imputed_value where x is replaced_value (nan is nan), else x.

    There is one imputed value, or one for each feature of x (…, F); floats if x holds floats,
    integers if it holds integers. Spec: Imputer-1.
    """
    floats = x.dtype.kind == "f"
    imputed = imputed_value_floats if floats else imputed_value_int64s
    if imputed is None or not len(imputed):
        name = "imputed_value_floats" if floats else "imputed_value_int64s"
        raise ValueError(f"Imputer of {x.dtype} needs {name}")
    if len(imputed) != 1 and (x.ndim == 0 or x.shape[-1] != len(imputed)):
        raise ValueError(f"imputed values ({len(imputed)}) and x {x.shape} are incompatible")
    if not floats:
        lowest, highest = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
        if min(imputed) < lowest or max(imputed) > highest:
            raise ValueError(f"imputed values {list(imputed)} are out of range for {x.dtype}")
        return np.where(x == replaced_value_int64, np.array(imputed, x.dtype), x)
    replaced = x.dtype.type(np.float32(replaced_value_float))
    missing = np.isnan(x) if np.isnan(replaced) else x == replaced
    return np.where(missing, np.array(imputed, np.float32).astype(x.dtype), x)


@imputer.vjp
def vjp_of_imputer(dy, x, *, replaced_value_float):
    """What was replaced has none."""
    replaced = x.dtype.type(np.float32(replaced_value_float))
    return np.where(np.isnan(x) if np.isnan(replaced) else x == replaced, 0, dy)


@op("FeatureVectorizer", domain=ML, since=1)
def feature_vectorizer(*x: np.ndarray, inputdimensions: Sequence[int] | None = None) -> np.ndarray:
    """The inputs (N, Cᵢ) side by side, as float32; a vector is one row, further axes are columns.

    inputdimensions are the numbers of columns that go into the result: of an input that has more,
    the first ones; one that has fewer is filled up with zeros, as in ONNX Runtime and the official
    reference. Spec: FeatureVectorizer-1.
    """
    if not x or any(one.ndim < 1 for one in x):
        raise ValueError(
            f"the inputs should be vectors or matrices, got shapes {[one.shape for one in x]}"
        )
    columns: list[np.ndarray] = [one.reshape(_rows_and_columns(one)) for one in x]
    sizes = [one.shape[1] for one in columns] if inputdimensions is None else inputdimensions
    if len(sizes) != len(columns) or min(sizes) < 0:
        raise ValueError(
            f"inputdimensions {list(sizes)} should be a number of columns for each of the "
            f"{len(columns)} inputs"
        )
    if len({len(one) for one in columns}) > 1:
        raise ValueError(
            f"the inputs should have equal numbers of rows, got {[len(one) for one in columns]}"
        )
    y = np.zeros((len(columns[0]), sum(sizes)), np.float32)
    for one, end, count in zip(columns, itertools.accumulate(sizes), sizes, strict=True):
        count, begin = min(count, one.shape[1]), end - count
        y[:, begin : begin + count] = one[:, :count]
    return y


@feature_vectorizer.vjp
def vjp_of_feature_vectorizer(dy, *, x_shape, x_dtype, inputdimensions):
    """To each input its columns; what was left out has none."""
    found = []
    end = 0
    for i, (shape, dtype) in enumerate(zip(x_shape, x_dtype, strict=True)):
        rows, columns = (1, shape[0]) if len(shape) == 1 else (shape[0], size(shape[1:]))
        count = columns if inputdimensions is None else inputdimensions[i]
        dx = np.zeros((rows, columns), dtype)
        used = min(count, columns)
        dx[:, :used] = dy[:, end : end + used]
        found.append(dx.reshape(shape))
        end += count
    return tuple(found)


def _rows_and_columns(x: np.ndarray) -> tuple[int, int]:
    return (1, x.size) if x.ndim == 1 else (len(x), size(x.shape[1:]))


@op("ArrayFeatureExtractor", domain=ML, since=1)
def array_feature_extractor(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z[…, i] = x[…, y[i]], y being flattened; of a vector x one row, (1, size of y).

    Spec: ArrayFeatureExtractor-1.
    """
    if x.ndim == 0 or y.size == 0:
        raise ValueError(f"can't extract {y.size} features from x {x.shape}")
    if y.min() < 0 or y.max() >= x.shape[-1]:
        raise ValueError(f"features {y.min()} to {y.max()} are out of range for x {x.shape}")
    z = x.take(as_places(np.ravel(y)), axis=-1)
    return z[np.newaxis] if x.ndim == 1 else z


@array_feature_extractor.vjp
def vjp_of_array_feature_extractor(dz, y, *, x_shape):
    places = np.arange(size(x_shape)).reshape(x_shape).take(as_places(np.ravel(y)), axis=-1)
    return add_elements(dz, places, x_shape)


# ------------------------------------------------------------------------------------------- costs


vjp_of_array_feature_extractor.cost(lambda dz, y, *, x_shape: cost_of_adding(dz, x_shape, dz.shape))


@vjp_of_normalizer.cost
def cost_of_vjp_of_normalizer(dy, x, **_):
    return Cost(60 * x.size + 40 * size(x.shape[:1]), 300 * x.size)


@scaler.cost
@normalizer.cost
def cost_of_scaler(x: np.ndarray, **_: Any) -> Cost:
    """x and two more arrays of its size, in double unless it is float; the result in float."""
    each = 14 if x.dtype == np.float32 else 32
    return Cost(each * x.size + 32 * size(x.shape[:1]), 60 * x.size)


@binarizer.cost
def cost_of_binarizer(x: np.ndarray, **_: Any) -> Cost:
    return Cost((1 + x.itemsize) * x.size, 20 * x.size)


@imputer.cost
def cost_of_imputer(x: np.ndarray, **_: Any) -> Cost:
    return Cost((1 + x.itemsize) * x.size, 30 * x.size)


@feature_vectorizer.cost
def cost_of_feature_vectorizer(
    *x: np.ndarray, inputdimensions: Sequence[int] | None = None
) -> Cost:
    shapes = [_rows_and_columns(one) for one in x]
    sizes = [columns for _, columns in shapes] if inputdimensions is None else inputdimensions
    count = shapes[0][0] * sum(sizes)
    return Cost(4 * count + sum(map(reshape_bytes, x)), 20 * (count + sum(one.size for one in x)))


@array_feature_extractor.cost
def cost_of_array_feature_extractor(x: np.ndarray, y: np.ndarray) -> Cost:
    count = size(x.shape[:-1]) * y.size
    return Cost(x.itemsize * count + 8 * y.size, 20 * count)


normalizer.choices({"norm": "MAX L1 L2"})
binarizer.vjp(no_gradient)
