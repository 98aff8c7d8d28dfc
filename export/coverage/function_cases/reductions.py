"""Functions along axes: sums, extremes, orders, statistics, running results."""

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
from onnxwalk.export.coverage.function_cases.values import (
    ANY,
    MILD,
    PLAIN,
    SMALL,
    SORTABLE,
    Values,
    between,
    ids,
)

_ALL = Given((3, 4), values=ANY)
_SMALL = Given((3, 4), values=SMALL)
_MILD = Given((3, 4), values=MILD)
_SORTED = Given((3, 4), values=SORTABLE)
_WIDE = ("float32", "float16", "int32", "int8", "bool")


def cases() -> list[FunctionCase]:
    return [*_reductions(), *_running(), *_orders(), *_segments(), *_statistics()]


def _reductions() -> list[FunctionCase]:
    axes: list[dict[str, Any]] = [
        {},
        {"axis": -1},
        {"axis": (1, 2), "keepdims": True},
        {"axis": 1},
        {"axis": 0},
    ]
    some: list[dict[str, Any]] = [{}, {"axis": -1}, {"axis": 1, "keepdims": True}]
    return [
        *calls("amax amin max min ptp all any", *axes, dtypes=TYPES, few=_WIDE, given=[_ALL]),
        *calls("max min", {"axis": -1, "initial": 1}, dtypes=NUMBERS, given=[_ALL]),
        *calls("sum prod nansum nanprod nanmax nanmin", *axes, dtypes=TYPES, few=_WIDE,
               given=[_MILD]),
        *calls("mean std var nanmean nanstd nanvar", *axes, dtypes=TYPES, few=_WIDE,
               given=[_SMALL]),
        *calls("prod", {"axis": -1, "dtype": "float32"}, dtypes=("float16", "int8")),
        *calls("count_nonzero", {}, {"axis": -1}, {"axis": (1, 2)}, dtypes=TYPES, given=[_ALL]),
        *calls("argmax argmin nanargmax nanargmin", *some, dtypes=TYPES, few=_WIDE, given=[_ALL]),
        *calls("logsumexp", *axes, dtypes=FLOATS, few=FLOATS, given=[_MILD]),
        # of no row, only TensorFlow infers a size from none
        *calls("median nanmedian", axes[2], dtypes=NUMBERS, few=_WIDE, given=[_SMALL], empty=False),
        *calls("median nanmedian", *axes[:2], *axes[3:], dtypes=NUMBERS, few=_WIDE, given=[_SMALL]),
        *calls("quantile nanquantile", *(
            {"q": 0.4, "axis": -1, "method": method}
            for method in ("linear", "lower", "higher", "midpoint", "nearest")),
            {"q": [0.1, 0.9], "axis": 1, "keepdims": True}, {"q": 0.5}, dtypes=NUMBERS,
            given=[_SMALL], empty=False),
        *calls("percentile nanpercentile", {"q": 40, "axis": -1}, {"q": [10, 90], "axis": 1},
               dtypes=NUMBERS, given=[_SMALL], empty=False),
        *calls("moments", {"axes": [1]}, {"axes": [1, 2], "keepdims": True}, dtypes=FLOATS,
               given=[_MILD]),
        *calls("norm", {}, {"axis": -1}, {"axis": -1, "ord": 1, "keepdims": True},
               {"axis": -1, "ord": 3}, {"axis": -1, "ord": float("inf")},
               {"axis": -1, "ord": -float("inf")}, {"axis": -1, "ord": 0}, {"axis": (1, 2)},
               {"axis": (1, 2), "ord": 1}, {"axis": (1, 2), "ord": float("inf")},
               {"axis": (1, 2), "ord": "fro"}, dtypes=NUMBERS, given=[_SMALL]),
        *calls("norm", {"axis": (1, 2), "ord": "nuc"}, dtypes=["float32"],
               given=[Given((3, 3), values=PLAIN)]),
        *calls("average", {}, {"axis": -1}, {"axis": 1}, dtypes=TYPES, given=[_SMALL]),
        *calls("average", ("weights", lambda f, x, w: f(x, axis=-1, weights=w)), dtypes=FLOATS,
               given=[_MILD, Given((3, 4), values=between(0.1, 1))]),
        *calls("trapezoid", {}, {"dx": 0.5, "axis": 1}, dtypes=NUMBERS, given=[_SMALL]),
        *calls("normalize", {}, {"axis": 1, "order": 1}, {"order": 3}, dtypes=FLOATS,
               given=[_MILD]),
        *calls("trace", {"axis1": 1, "axis2": 2}, {"offset": 1, "axis1": 2, "axis2": 1},
               dtypes=TYPES, given=[_MILD]),
    ]  # fmt: skip


def _running() -> list[FunctionCase]:
    settings: list[dict[str, Any]] = [{"axis": -1}, {"axis": 1}, {}, {"axis": 0}]
    return [
        *calls("cumsum cumprod", *settings, dtypes=TYPES, few=_WIDE, given=[_MILD]),
        # which make the largest number of infinity
        *calls("nancumsum nancumprod", *settings, dtypes=TYPES, few=_WIDE,
               given=[Given((3, 4), values=Values(kinds="mild", within="int16"))]),
        *calls("cumsum cumprod", {"axis": -1, "dtype": "float32"}, dtypes=("int8", "float16"),
               given=[_MILD]),
        *calls("diff", {}, {"n": 2}, {"axis": 1}, dtypes=TYPES, given=[_ALL]),
    ]  # fmt: skip


def _orders() -> list[FunctionCase]:
    ties = Given((3, 4), values=Values(0, 3, nan=False))
    return [
        *calls("sort argsort", {}, {"axis": 1}, {"axis": 0}, dtypes=TYPES, few=_WIDE,
               given=[_SORTED]),
        *calls("sort argsort argmax argmin", {"axis": -1}, dtypes=("float32", "int32", "int8"),
               given=[ties], note="ties"),
        *calls("argsort", {"axis": None}, dtypes=("float32",), given=[_SORTED]),
        *calls("argpartition", {"kth": 2}, {"kth": 1, "axis": 1}, dtypes=NUMBERS,
               given=[Given((3, 4), values=PLAIN)]),
        *calls("top_k", {"k": 2}, {"k": 4}, ("sorted=False", lambda f, x: keras.ops.sort(
            f(x, 2, sorted=False)[0])), dtypes=NUMBERS, few=_WIDE, given=[_SORTED]),
        *calls("in_top_k", ("", lambda f, x, t: f(t[:, 0], x[:, 0], 2)), dtypes=("float32",),
               given=[_ALL, Given((1,), "int32", ids(4))]),
        *calls("unique", {}, {"size": 5}, dtypes=("float32", "int32"), given=[_SORTED]),
        *calls("nonzero", dtypes=TYPES, given=[_ALL]),
    ]  # fmt: skip


def _segments() -> list[FunctionCase]:
    settings: list[dict[str, Any]] = [{"num_segments": 4}, {}]

    def call(options):
        label = ", ".join(f"{k}={v}" for k, v in options.items())
        return label, lambda f, x, i: f(x, i[:, 0], **options)

    return [
        *calls("segment_max segment_min", call(settings[0]), call(settings[1]), dtypes=NUMBERS,
               given=[_SORTED, Given((1,), "int32", ids(4))]),
        *calls("segment_prod segment_sum", call(settings[0]), call(settings[1]), dtypes=NUMBERS,
               given=[_MILD, Given((1,), "int32", ids(4))]),
        *calls("bincount", {}, {"minlength": 6}, dtypes=("int32", "int64", "uint8"),
               given=[Given((5,), values=ids(5))]),
        *calls("bincount", ("weights", lambda f, x, w: f(x, weights=w, minlength=6)),
               dtypes=("int32",), given=[Given((5,), values=ids(5)),
                                         Given((5,), "float32", PLAIN)]),
        *calls("histogram", ("", lambda f, x: f(x[:, 0, 0])),
               ("bins=4, range=(-2, 2)", lambda f, x: f(x[:, 0, 0], bins=4, range=(-2, 2))),
               dtypes=("float32", "int32"), given=[Given((3, 4), values=PLAIN)], empty=False),
    ]  # fmt: skip


def _statistics() -> list[FunctionCase]:
    plain = Given((4,), values=PLAIN)
    return [
        *calls("corrcoef", dtypes=FLOATS, given=[plain]),
        *calls("correlate", ("modes", lambda f, x: [
            f(x[0], x[0, :2], mode=mode) for mode in ("valid", "same", "full")]),
            dtypes=NUMBERS, given=[plain]),
        *calls("psnr", {"max_val": 2.0}, dtypes=FLOATS, given=[plain, plain]),
        *calls("cdist", dtypes=FLOATS, given=[Given((4, 3), values=PLAIN)] * 2),
        *calls("batch_normalization",
               ("", lambda f, x, m: f(x, m[0], m[0] * m[0] + 0.5, axis=-1)),
               ("offset, scale", lambda f, x, m: f(x, m[0], m[0] * m[0] + 0.5, axis=-1,
                                                   offset=m[1], scale=m[2], epsilon=0.1)),
               dtypes=FLOATS, given=[_MILD, Given((4,), values=PLAIN)]),
        *calls("layer_normalization", {}, {"axis": 1}, {"epsilon": 0.1}, dtypes=FLOATS,
               few=FLOATS, given=[Given((3, 4), values=PLAIN)]),
        *calls("rms_normalization", {}, {"axis": 1}, dtypes=FLOATS, few=FLOATS,
               given=[Given((3, 4), values=PLAIN)]),
    ]  # fmt: skip
