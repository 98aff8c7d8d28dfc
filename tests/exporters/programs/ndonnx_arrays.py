"""ndonnx, functions of the array API; NumPy's answers are the framework's"""

import ndonnx as ndx
import numpy as np
import onnx
from writing import write

REQUIREMENTS = ["ndonnx==0.23.0", "spox==0.18.2", "onnx==1.23.2", "numpy==2.4.6"]
REFUSED = 10
KNOWN = {
    "*sort-uint64": "ndonnx casts to int64 or float64, with a warning",
    "*sum-uint64": "ndonnx casts to int64 or float64, with a warning",
    "max-uint64": "ndonnx casts to int64 or float64, with a warning",
    "cumulative_prod-*": "ndonnx multiplies by logarithms: findings/ndonnx-cumulative-prod.sh",
    "logaddexp-*": "ndonnx computes log(exp(x) + exp(y)): findings/ndonnx-cumulative-prod.sh",
    "floor_divide-float*": "floor(x / y): inf / y is inf, NaN in NumPy; -7 / inf is 0, not -1",
    "cos-float64": "ndonnx computes in float32; a number fed is 1e30",
    "tan-float64": "ndonnx computes in float32; a number fed is 1e30",
    "onnxruntime:arg*-special-*": "ONNX Runtime passes over NaN",
    "onnxruntime:sum-int64": "ONNX Runtime sums in double: findings/integer-sums-in-double.sh",
    "onnxruntime:unique-special-*": "ONNX Runtime: findings/unique-nan-swallows.sh",
}
np.seterr(all="ignore")
inf, nan = np.inf, np.nan
floats = np.array([0.0, -0.0, 0.5, 1.5, -2.5, 2.5, 1e-8, -3.7, inf, -inf, nan, 1e30])
others = np.array([1.0, 2.0, -0.5, nan, 3.0, -inf, 1.0, 2.0, inf, 2.0, 1.0, -2.0])
table = np.random.default_rng(0).normal(size=(4, 5))


def build(function, arrays):
    def to(path):
        arguments = {
            f"x{i}": ndx.argument(shape=(None,) * a.ndim, dtype=ndx.from_numpy_dtype(a.dtype))
            for i, a in enumerate(arrays)
        }
        results = function(ndx, *arguments.values())
        results = results if isinstance(results, tuple | list) else [results]
        onnx.save(ndx.build(arguments, {f"y{i}": y for i, y in enumerate(results)}), path)

    return to


def check(name, function, *arrays):
    write(name, build(function, arrays), list(arrays), lambda *xs: function(np, *xs))


UNARY = (
    "abs acos acosh asin asinh atan atanh ceil cos cosh exp expm1 floor isfinite isinf isnan "
    "log log10 "
    "log1p log2 negative reciprocal round sign signbit sin sinh sqrt square tan tanh trunc"
).split()
BINARY = (
    "add atan2 copysign divide equal floor_divide greater hypot less_equal logaddexp maximum "
    "minimum "
    "multiply nextafter not_equal pow remainder subtract"
).split()
INTEGERS = (
    "add bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor divide equal "
    "floor_divide greater less maximum minimum multiply remainder subtract"
).split()
for kind in (np.float32, np.float64):
    for name in UNARY:
        check(
            f"{name}-{np.dtype(kind)}",
            lambda xp, x, name=name: getattr(xp, name)(x),
            floats.astype(kind),
        )
    for name in BINARY:
        check(
            f"{name}-{np.dtype(kind)}",
            lambda xp, x, y, name=name: getattr(xp, name)(x, y),
            floats.astype(kind),
            others.astype(kind),
        )
for kind in (np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64):
    ends = np.iinfo(kind)
    x = np.array([ends.min, ends.min + 1, 7, 7, 0, 5, ends.max, ends.max - 1], kind)
    y = np.array([3, 1, 2, 3, 5, 5, 2, 1], kind)
    signed = np.dtype(kind).kind == "i"
    if signed:
        x[3], y[1] = -7, -2
    for name in INTEGERS:
        shift = "shift" in name
        check(
            f"{name}-{np.dtype(kind)}",
            lambda xp, x, y, name=name: getattr(xp, name)(x, y),
            x,
            np.abs(y) if shift else y,
        )
    for name in (
        "abs",
        "negative",
        "sign",
        "square",
        "bitwise_invert",
        "cumulative_sum",
        "sum",
        "prod",
        "max",
        "min",
        "argmax",
        "sort",
        "argsort",
    ):
        if name in ("abs", "negative") and not signed:
            continue
        more = {"stable": True} if name == "argsort" else {}
        check(
            f"{name}-{np.dtype(kind)}",
            lambda xp, x, name=name, more=more: getattr(xp, name)(x, **more),
            x,
        )
    check(f"take-{np.dtype(kind)}", lambda xp, x, i: xp.take(x, i), x, np.array([0, -1, 3]))
for kind in (np.float32, np.float64):
    t, f = table.astype(kind), floats.astype(kind)
    tag = f"-{np.dtype(kind)}"
    for name in (
        "all any argmax argmin cumulative_sum max mean min prod std sum var cumulative_prod "
        "diff sort flip"
    ).split():
        axis = {"axis": 1}
        check(name + tag, lambda xp, x, name=name: getattr(xp, name)(x, axis=1), t)
        check(f"{name}-special{tag}", lambda xp, x, name=name: getattr(xp, name)(x, axis=0), f)
    check("matmul" + tag, lambda xp, x: xp.matmul(x, xp.permute_dims(x, (1, 0))), t)
    check(
        "tensordot" + tag,
        lambda xp, x: xp.tensordot(x, x, axes=1) if xp is None else xp.vecdot(x, x),
        t,
    )
    check("where" + tag, lambda xp, x, y: xp.where(x > y, x, y), f, others.astype(kind))
    check("clip" + tag, lambda xp, x: xp.clip(x, -1, 2), f)
    check("clip-nan-bound" + tag, lambda xp, x, y: xp.clip(x, y, 2.0), f, others.astype(kind))
    check("unique" + tag, lambda xp, x: tuple(xp.unique_all(xp.round(x))), t)
    check("unique-special" + tag, lambda xp, x: xp.unique_values(x), f)
    check(
        "searchsorted" + tag,
        lambda xp, x, y: xp.searchsorted(xp.sort(x), y, side="right"),
        t[0],
        others[:3].astype(kind),
    )
    check("roll" + tag, lambda xp, x: xp.roll(x, 7, axis=1), t)
    check("repeat" + tag, lambda xp, x: xp.repeat(x, 2, axis=0), t)
    check("tile" + tag, lambda xp, x: xp.tile(x, (2, 1)), t)
    check("tril" + tag, lambda xp, x: (xp.tril(x, k=-1), xp.triu(x, k=1)), t)
    check("nonzero" + tag, lambda xp, x: xp.nonzero(x > 0), t)
    check("slices" + tag, lambda xp, x: (x[::-1, 1:-1], x[..., 0], x[:, ::2], x[-1, :]), t)
    check("mask" + tag, lambda xp, x: x[x > 0], t)
    check("count-nonzero" + tag, lambda xp, x: xp.count_nonzero(x), f)
    for to in ("int32", "int64", "uint8", "bool"):
        check(
            f"astype-{to}{tag}",
            lambda xp, x, to=to: xp.astype(x, getattr(xp, to)),
            np.array([0, 1.5, 2.7, 3], kind),
        )
