"""Maps, which are Python dicts here: ZipMap, DictVectorizer, CastMap.

A map's values are NumPy scalars of its value type, so that a float stays one; strings are str.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.cast import convert
from onnxwalk.ops.ai_onnx_ml import ML
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import PER_ITEM
from onnxwalk.ops.shared.values import get_single


@op("ZipMap", domain=ML, since=1)
def zip_map(
    x: np.ndarray,
    *,
    classlabels_int64s: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
) -> list[dict[Any, Any]]:
    """For each row of x (N, C) a map from the C labels to its values; a vector is one row.

    Spec: ZipMap-1.
    """
    labels = get_single("class labels", classlabels_int64s, classlabels_strings).tolist()
    if x.ndim not in (1, 2) or x.shape[-1] != len(labels):
        raise ValueError(f"x {x.shape} should have {len(labels)} columns, one for each class label")
    return [dict(zip(labels, row, strict=True)) for row in x.reshape(-1, len(labels))]


@op("DictVectorizer", domain=ML, since=1)
def dict_vectorizer(
    x: Mapping[Any, Any],
    *,
    int64_vocabulary: Sequence[int] | None = None,
    string_vocabulary: Sequence[str] | None = None,
) -> np.ndarray:
    """y[i] = x[vocabulary[i]], zero (or "") for keys that x lacks: (1, size of the vocabulary).

    Keys that aren't in the vocabulary are passed over. The spec has no such keys, and a vector y;
    files come from scikit-learn's DictVectorizer, which has both as they are here, as ONNX Runtime.

    Spec: DictVectorizer-1, ONNX Runtime 1.32.
    """
    vocabulary = get_single("vocabulary", int64_vocabulary, string_vocabulary).tolist()
    values = _as_array(x.values())
    missing = "" if values.dtype.kind == "O" else values.dtype.type(0)
    known = dict(zip(x, values, strict=True))
    return np.array([[known.get(key, missing) for key in vocabulary]], values.dtype)


@op("CastMap", domain=ML, since=1)
def cast_map(
    x: Mapping[int, Any], *, cast_to: str = "TO_FLOAT", map_form: str = "DENSE", max_map: int = 1
) -> np.ndarray:
    """The values of a map in the order of its keys: (1, number of keys).

    With map_form="SPARSE", y[0, key] = x[key], zero (or "") for the other keys: (1, max_map).
    Spec: CastMap-1; the shape, and six digits after the point of a float that becomes a string,
    are ONNX Runtime's.
    """
    keys = sorted(x)
    values = _cast_values(_as_array([x[key] for key in keys]), cast_to)
    if map_form == "DENSE":
        return values[np.newaxis]
    if map_form != "SPARSE":
        raise ValueError(f"map_form {map_form!r} should be 'DENSE' or 'SPARSE'")
    if keys and not 0 <= keys[0] <= keys[-1] < max_map:
        raise ValueError(
            f"keys {keys[0]} to {keys[-1]} should be from 0 to max_map - 1, {max_map - 1}"
        )
    y = np.full((1, max_map), "" if values.dtype.kind == "O" else 0).astype(values.dtype)
    y[0, keys] = values
    return y


def _as_array(given: Any) -> np.ndarray:
    """A map's values; float32 for an empty map and for Python floats."""
    values = list(given)
    if values and isinstance(values[0], str):
        return np.array(values, object)
    if values and isinstance(values[0], (np.generic, int)):
        return np.array(values)
    return np.array(values, np.float32)


def _cast_values(values: np.ndarray, cast_to: str) -> np.ndarray:
    if cast_to == "TO_FLOAT":
        return convert(values, np.dtype(np.float32))
    if cast_to == "TO_INT64":
        return convert(values, np.dtype(np.int64))
    if cast_to != "TO_STRING":
        raise ValueError(f"cast_to {cast_to!r} should be 'TO_FLOAT', 'TO_STRING' or 'TO_INT64'")
    return np.array([v if isinstance(v, str) else f"{v:f}" for v in values], object)


# ------------------------------------------------------------------------------------------- costs


@zip_map.cost
def cost_of_zip_map(x: np.ndarray, **_: Any) -> Cost:
    """A dictionary for each row, with a NumPy scalar for each of its elements."""
    rows = len(x) if x.ndim == 2 else 1
    return Cost(240 * (rows + x.size), PER_ITEM * rows + 800 * x.size)


@dict_vectorizer.cost
def cost_of_dict_vectorizer(x: Mapping[Any, Any], **attributes: Any) -> Cost:
    count = len(x) + sum(len(names) for names in attributes.values() if names is not None)
    return Cost(300 * count, PER_ITEM * count)


@cast_map.cost
def cost_of_cast_map(x: Mapping[int, Any], *, max_map: int = 1, **_: Any) -> Cost:
    """The values, and their text; the row of the result, integers at first."""
    return Cost(400 * len(x) + 16 * max(max_map, 0), 5 * PER_ITEM * len(x) + 20 * max(max_map, 0))


cast_map.choices({"cast_to": "TO_FLOAT TO_STRING TO_INT64", "map_form": "DENSE SPARSE"})


# maps have none
declare(zip_map, dict_vectorizer, cast_map, vjp=no_gradient)
