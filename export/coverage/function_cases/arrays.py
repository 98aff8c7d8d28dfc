"""Functions that move, cut, join, index and create arrays."""

from __future__ import annotations

from typing import Any

import keras

from onnxwalk.export.coverage.function_cases import (
    FLOATS,
    NUMBERS,
    TYPES,
    FunctionCase,
    Given,
    calls,
)
from onnxwalk.export.coverage.function_cases.values import ANY, PLAIN, ids

_ONE = Given((3, 4))
_TWO = (_ONE, _ONE)
_FEW = ("float32", "int8", "bool")


def cases() -> list[FunctionCase]:
    return [*_shapes(), *_joins(), *_indices(), *_creation(), *_facts()]


def _shapes() -> list[FunctionCase]:
    options: dict[str, Any] = {"dtypes": TYPES, "few": _FEW, "given": [_ONE]}
    plain: dict[str, Any] = {**options, "given": [Given((4, 4))]}
    return [
        *calls("broadcast_to", ("rows", lambda f, x: f(x[:1], (2, 3, 4))), **options),
        *calls("expand_dims", {"axis": 1}, {"axis": (0, -1)}, **options),
        *calls("squeeze", ("", lambda f, x: f(x[:, :1], axis=1)), **options),
        *calls("flip", {}, {"axis": 1}, {"axis": (1, 2)}, **options),
        *calls("fliplr flipud", **options),
        *calls("moveaxis", {"source": 1, "destination": 2}, {"source": (0, 1),
               "destination": (2, 0)}, **options),
        *calls("pad", {"pad_width": ((0, 0), (1, 2), (0, 1))},
               {"pad_width": ((0, 0), (1, 1), (2, 2)), "constant_values": 5},
               {"pad_width": ((0, 0), (1, 2), (0, 1)), "mode": "reflect"},
               {"pad_width": ((0, 0), (1, 2), (0, 1)), "mode": "symmetric"}, **options),
        *calls("ravel", **options),
        *calls("repeat", {"repeats": 2, "axis": 1}, {"repeats": 2},
               {"repeats": [1, 2, 0], "axis": 1}, **options),
        *calls("reshape", {"newshape": (-1, 6)}, {"newshape": (-1, 2, 2, 3)}, **options),
        *calls("roll", {"shift": 1, "axis": 1}, {"shift": -2}, {"shift": (1, 2), "axis": (1, 2)},
               **options),
        *calls("rot90", {"axes": (1, 2)}, {"k": 2, "axes": (1, 2)}, **options),
        *calls("slice", {"start_indices": (0, 1, 2), "shape": (1, 2, 2)}, **options),
        *calls("swapaxes", {"axis1": 1, "axis2": 2}, **options),
        *calls("tile", {"repeats": (1, 2, 2)}, {"repeats": 2}, **options),
        *calls("transpose", {}, {"axes": (0, 2, 1)}, **options),
        # which needs every size
        *calls("rearrange", ("h w -> w h", lambda f, x: f(x[0], "h w -> w h")),
               ("h w -> (h w)", lambda f, x: f(x[0], "h w -> (h w)")), **options),
        *calls("tril triu", {}, {"k": 1}, {"k": -1}, **plain),
        *calls("diag", ("vector", lambda f, x: f(x[0, 0], k=1)),
               ("matrix", lambda f, x: f(x[0])), **plain),
        *calls("diagflat", ("", lambda f, x: f(x[0, 0], k=1)), **plain),
        *calls("diagonal", {"axis1": 1, "axis2": 2}, {"offset": -1, "axis1": 1, "axis2": 2},
               **plain),
        *calls("depth_to_space", {"block_size": 2}, **{**options, "given": [Given((2, 2, 8))]}),
        *calls("space_to_depth", {"block_size": 2}, **{**options, "given": [Given((4, 4, 2))]}),
        *calls("extract_sequences", {"sequence_length": 4, "sequence_stride": 2}, dtypes=FLOATS,
               given=[Given((12,))]),
        *calls("vander", ("", lambda f, x: [f(x[0, 0]), f(x[0, 0], N=3, increasing=True)]),
               dtypes=NUMBERS, given=[Given((4, 4), values=PLAIN)]),
    ]  # fmt: skip


def _joins() -> list[FunctionCase]:
    options: dict[str, Any] = {"dtypes": TYPES, "few": _FEW, "given": [_ONE, _ONE]}
    mixed: dict[str, Any] = {
        "dtypes": ("int8", "float16", "bool"),
        "given": [_ONE, Given((3, 4), "int32")],
    }
    halves = [("2", lambda f, x: f(x, 2)), ("[1]", lambda f, x: f(x, [1]))]
    one: dict[str, Any] = {**options, "given": [Given((4, 4, 2))]}
    return [
        *calls("append", {"axis": 1}, {}, **options),
        *calls("concatenate stack", *((f"axis={a}", lambda f, *x, a=a: f(x, axis=a))
                                      for a in (1, -1, 0)), **options),
        *calls("concatenate stack", ("with int32", lambda f, *x: f(x, axis=1)), **mixed),
        *calls("dstack hstack vstack", ("", lambda f, *x: f(x)), **options),
        *calls("array_split", {"indices_or_sections": 3, "axis": 1}, **one),
        *calls("split", {"indices_or_sections": 2, "axis": 1},
               {"indices_or_sections": [1, 3], "axis": 1}, **one),
        *calls("hsplit dsplit", *halves, **one),
        *calls("vsplit", ("[1]", lambda f, x: f(x[:2], [1])), **one),
        *calls("unstack", {"axis": 1}, **one),
        *calls("meshgrid", ("", lambda f, x, y: f(x[0, 0], y[0, 0])),
               ("indexing=ij", lambda f, x, y: f(x[0, 0], y[0, 0], indexing="ij")), **options),
    ]  # fmt: skip


def _indices() -> list[FunctionCase]:
    one: dict[str, Any] = {"dtypes": TYPES, "few": _FEW}
    where = Given((2,), "int32", ids(3))
    places = Given((2, 1), "int32", ids(3))
    return [
        *calls("get_item", ("", lambda f, x: f(x, (slice(None), slice(None, None, 2), -1))),
               given=[_ONE], **one),
        *calls("take", {"axis": 1}, {"axis": -1}, {}, given=[_ONE, where], **one),
        *calls("take", ("numbers", lambda f, x: f(x, [0, -1], axis=1)), given=[_ONE], **one),
        *calls("take_along_axis", {"axis": 1}, given=[_ONE, Given((2, 4), "int32", ids(3))], **one),
        *calls("scatter", ("", lambda f, i, v: f(i[0], v[0, :2], (3, 4))), given=[places, _ONE],
               dtypes=NUMBERS),
        *calls("scatter_update", ("", lambda f, x, i: f(x[0], i[0], x[0, :2])), *(
            (f"reduction={r}", lambda f, x, i, r=r: f(x[0], i[0], x[0, :2], reduction=r))
            for r in ("add", "max", "min", "mul")), given=[_ONE, places], dtypes=NUMBERS,
            few=("float32", "int32")),
        *calls("slice_update", ("", lambda f, x: f(x, [0, 1, 1], x[:1, :2, :2] * 0 + 1)),
               given=[_ONE], dtypes=NUMBERS),
        *calls("one_hot", {"num_classes": 4}, {"num_classes": 4, "axis": 1},
               {"num_classes": 4, "dtype": "int32"}, dtypes=("int32", "int64", "uint8", "int8"),
               given=[Given((3,), values=ANY)]),
        *calls("multi_hot", {"num_classes": 4}, {"num_classes": 4, "dtype": "int32"},
               dtypes=("int32", "int64", "uint8"), given=[Given((3,), values=ids(4))]),
        *calls("unravel_index", {"shape": (3, 4)}, dtypes=("int32", "int64"),
               given=[Given((2,), values=ids(12))]),
    ]  # fmt: skip


def _creation() -> list[FunctionCase]:
    """What is created takes part in a sum, so that it is in the model."""
    numbers: dict[str, Any] = {
        "given": [Given((1, 1))],
        "dtypes": ("float32", "int32", "float64"),
        "inside": True,
    }

    def plus(label, *args, **options):
        return label, lambda f, x: x + keras.ops.cast(f(*args, **options), x.dtype)

    like: dict[str, Any] = {"given": [_ONE], "dtypes": TYPES, "few": _FEW}
    windows: dict[str, Any] = {"given": [Given((1,))], "dtypes": ("float32",), "inside": False}
    return [
        *calls("arange", plus("", 5), plus("start, step", 1, 9, 2), plus("floats", 0.0, 1.0, 0.3),
               **numbers),
        *calls("eye", plus("", 4), plus("k=1", 4, 3, k=1), **numbers),
        *calls("identity", plus("", 4), **numbers),
        *calls("tri", plus("", 4), plus("k=1", 4, 3, k=1), **numbers),
        *calls("full", plus("", (2, 3), 7), **numbers),
        *calls("zeros ones", plus("", (2, 3)), **numbers),
        *calls("empty", ("", lambda f, x: keras.ops.shape(f((2, 3)))[0] + x), **numbers),
        *calls("linspace", plus("", 0, 1, num=5), plus("no endpoint", 0, 1, num=5, endpoint=False),
               **numbers),
        *calls("linspace", ("tensors", lambda f, x, y: f(x, y, num=4)), given=_TWO,
               dtypes=("float32",)),
        *calls("logspace geomspace", plus("", 1, 3, num=5), **numbers),
        *calls("bartlett blackman hamming hanning", plus("", 6), **windows),
        *calls("kaiser", plus("", 6, beta=3.0), **windows),
        *calls("full_like", {"fill_value": 7}, {"fill_value": 2, "dtype": "int32"}, **like),
        *calls("zeros_like ones_like", {}, {"dtype": "int32"}, **like),
        *calls("empty_like", ("", lambda f, x: keras.ops.ones_like(f(x))), **like),
    ]  # fmt: skip


def _facts() -> list[FunctionCase]:
    """Functions whose results are Python's: they are in the model as numbers."""
    ops = keras.ops
    inside: dict[str, Any] = {"given": [_ONE], "dtypes": ("float32", "int32"), "inside": True}
    return [
        *calls("shape", ("", lambda f, x: ops.reshape(x, (f(x)[0], f(x)[2], f(x)[1]))), **inside),
        *calls("size", ("", lambda f, x: x + ops.cast(f(x), x.dtype)), **inside),
        *calls("ndim", ("", lambda f, x: x + f(x)), **inside),
        *calls("dtype", ("", lambda f, x: ops.cast(ops.ones((1, 3, 4)), f(x)) + x), **inside),
        *calls("is_tensor", ("", lambda f, x: x + int(f(x))), **inside),
        *calls("convert_to_numpy", ("of a constant", lambda f, x: x + f(ops.ones((), x.dtype))),
               given=[_ONE], dtypes=("float32", "int32"), inside=False),
    ]  # fmt: skip
