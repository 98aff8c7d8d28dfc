"""Tables from one value to another: LabelEncoder, CategoryMapper, OneHotEncoder.

Spec: https://onnx.ai/onnx/operators/, domain ai.onnx.ml.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx_ml import ML
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import PER_ITEM
from onnxwalk.ops.shared.values import get_single

# ------------------------------------------------------------------------------------ LabelEncoder


@op("LabelEncoder", domain=ML, since=4)
def label_encoder(
    x: np.ndarray,
    *,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: np.ndarray | None = None,
    keys_floats: Sequence[float] | None = None,
    keys_int64s: Sequence[int] | None = None,
    keys_strings: Sequence[str] | None = None,
    keys_tensor: np.ndarray | None = None,
    values_floats: Sequence[float] | None = None,
    values_int64s: Sequence[int] | None = None,
    values_strings: Sequence[str] | None = None,
    values_tensor: np.ndarray | None = None,
) -> np.ndarray:
    """values[i] where x is keys[i], else the default; the last of equal keys counts.

    Any NaN is the key NaN. Spec: LabelEncoder-4.
    """
    keys = get_single("keys", keys_floats, keys_int64s, keys_strings, keys_tensor)
    values = get_single("values", values_floats, values_int64s, values_strings, values_tensor)
    if default_tensor is None:
        default = _choose_default(values.dtype, default_float, default_int64, default_string)
    else:
        default = np.ravel(default_tensor)
        if default.size != 1 or default.dtype != values.dtype:
            raise ValueError(
                f"default_tensor should be one element of {values.dtype}, as the values, got "
                f"{default.size} of {default.dtype}"
            )
    return translate(x, keys, values, default)


@op("LabelEncoder", domain=ML, since=2, until=4)
def label_encoder_2(
    x: np.ndarray,
    *,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    keys_floats: Sequence[float] | None = None,
    keys_int64s: Sequence[int] | None = None,
    keys_strings: Sequence[str] | None = None,
    values_floats: Sequence[float] | None = None,
    values_int64s: Sequence[int] | None = None,
    values_strings: Sequence[str] | None = None,
) -> np.ndarray:
    """values[i] where x is keys[i], else the default; the first of equal keys counts.

    Floats are compared bit by bit: a NaN is found, and -0 isn't 0. Which of equal keys counts, the
    spec leaves open. Spec: LabelEncoder-2.
    """
    keys = get_single("keys", keys_floats, keys_int64s, keys_strings)
    values = get_single("values", values_floats, values_int64s, values_strings)
    default = _choose_default(values.dtype, default_float, default_int64, default_string)
    if keys.dtype == x.dtype == np.float32:
        keys, x = keys.view(np.int32), x.view(np.int32)
    return translate(x, keys[::-1], values[::-1], default)


@op("LabelEncoder", domain=ML, since=1, until=2)
def label_encoder_1(
    x: np.ndarray,
    *,
    classes_strings: Sequence[str] | None = None,
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> np.ndarray:
    """Strings to their index in classes_strings, or indices to strings; else the default.

    Spec: LabelEncoder-1.
    """
    classes = get_single("classes", classes_strings)
    return _translate_strings(
        x, np.arange(classes.size, dtype=np.int64), classes, default_int64, default_string
    )


@op("CategoryMapper", domain=ML, since=1)
def category_mapper(
    x: np.ndarray,
    *,
    cats_int64s: Sequence[int] | None = None,
    cats_strings: Sequence[str] | None = None,
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> np.ndarray:
    """cats_int64s[i] where x is cats_strings[i], or the other way round; else the default.

    Spec: CategoryMapper-1.
    """
    numbers, strings = (
        get_single("cats_int64s", cats_int64s),
        get_single("cats_strings", cats_strings),
    )
    return _translate_strings(x, numbers, strings, default_int64, default_string)


def _translate_strings(
    x: np.ndarray, numbers: np.ndarray, strings: np.ndarray, number: int, string: str
) -> np.ndarray:
    if x.dtype.kind == "O":
        return translate(x, strings, numbers, number)
    return translate(x, numbers, strings, string)


def _choose_default(dtype: np.dtype, number: float, integer: int, string: str) -> Any:
    """The default that has the type of the values."""
    return {"O": string, "i": integer, "f": number}[dtype.kind]


# ------------------------------------------------------------------------------------------ tables


def translate(x: np.ndarray, keys: np.ndarray, values: np.ndarray, default: Any) -> np.ndarray:
    """values[i] for the last i where keys[i] is x, else the default."""
    if len(keys) != len(values):
        raise ValueError(
            f"keys and values should have equal lengths, got {len(keys)} and {len(values)}"
        )
    index, found = find_keys(x, keys)
    y = np.empty(x.shape, values.dtype)
    y[...] = values[index]
    y[~found] = default
    return y


def find_keys(x: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each element of x the last index where keys has it, and whether it does; NaN is NaN."""
    if x.dtype != keys.dtype:
        raise ValueError(f"the input ({x.dtype}) and the keys ({keys.dtype}) differ in type")
    if x.dtype.kind == "O":
        table = {key: i for i, key in enumerate(keys)}
        index = np.array([table.get(value, -1) for value in x.flat], np.int64).reshape(x.shape)
        return index, index >= 0
    order = keys.argsort(kind="stable")  # NaN comes last, and searchsorted finds it there
    sorted_keys = keys[order]
    position = np.maximum(np.searchsorted(sorted_keys, x, "right") - 1, 0)
    nearest = sorted_keys[position]
    return order[position], (nearest == x) | ((nearest != nearest) & (x != x))


# ----------------------------------------------------------------------------------- OneHotEncoder


@op("OneHotEncoder", domain=ML, since=1)
def one_hot_encoder(
    x: np.ndarray,
    *,
    cats_int64s: Sequence[int] | None = None,
    cats_strings: Sequence[str] | None = None,
    zeros: int = 1,
) -> np.ndarray:
    """y[…, i] = 1 where x is the i-th category, else 0; float32, of one axis more than x.

    Numbers are cut to integers first. Other values are all zeros, or an error if zeros=0.
    Spec: OneHotEncoder-1.
    """
    categories = get_single("cats", cats_int64s, cats_strings)
    index, found = find_keys(x if x.dtype.kind == "O" else x.astype(np.int64), categories)
    if not zeros and not found.all():
        raise ValueError(f"{x[~found][0]!r} is not among the categories, and zeros is 0")
    y = np.zeros((*x.shape, categories.size), np.float32)
    np.put_along_axis(y, index[..., np.newaxis], found[..., np.newaxis].astype(np.float32), -1)
    return y


# ------------------------------------------------------------------------------------------- costs


@label_encoder.cost
@label_encoder_2.cost
@label_encoder_1.cost
@category_mapper.cost
def cost_of_label_encoder(x: np.ndarray, **attributes: Any) -> Cost:
    """For each element the index of its key, with three temporary arrays, and the value; the keys,
    sorted."""
    keys = sum(np.size(v) for v in attributes.values() if not isinstance(v, str))
    text = x.dtype.kind == "O"
    each = 60 if text else 3 * x.itemsize + 36
    rounds = 1 + keys.bit_length()
    return Cost(each * x.size + 200 * keys, (150 + 10 * rounds) * x.size + PER_ITEM * keys)


@one_hot_encoder.cost
def cost_of_one_hot_encoder(
    x: np.ndarray, *, cats_int64s: Any = None, cats_strings: Any = None, **_: Any
) -> Cost:
    keys = len(cats_int64s or cats_strings or ())
    cost = cost_of_label_encoder(x, keys=cats_int64s or cats_strings or ())
    return Cost(cost.memory + (4 * keys + 40) * x.size, cost.work + (5 * keys + 100) * x.size)


# of labels
declare(
    label_encoder,
    label_encoder_2,
    label_encoder_1,
    category_mapper,
    one_hot_encoder,
    vjp=no_gradient,
)
