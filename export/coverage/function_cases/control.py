"""Functions that take functions: conditions, loops, maps."""

from __future__ import annotations

from typing import Any

import keras

from onnxwalk.export.coverage.function_cases import FunctionCase, Given, calls
from onnxwalk.export.coverage.function_cases.values import MILD, PLAIN

_ONE = Given((3, 4), values=MILD)
_FEW = ("float32", "int32", "float64")


def cases() -> list[FunctionCase]:
    ops = keras.ops
    inside: dict[str, Any] = {"given": [_ONE], "dtypes": _FEW, "inside": True}
    plain: dict[str, Any] = {**inside, "given": [Given((3, 4), values=PLAIN)]}
    return [
        *calls("cond", ("", lambda f, x: f(ops.sum(x) > 0, lambda: x * 2, lambda: x - 1)), **plain),
        *calls("switch", ("", lambda f, x: f(
            ops.cast(ops.minimum(ops.abs(ops.max(x)), 2), "int32"),
            [lambda v: v * 2, lambda v: v - 1, lambda v: v * v], x)), **plain),
        *calls("fori_loop", ("", lambda f, x: f(0, 3, lambda i, v: v + ops.cast(i, v.dtype), x)),
               **inside),
        *calls("while_loop", ("", lambda f, x: f(
            lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), (0, x))[1]),
            ("maximum_iterations=2", lambda f, x: f(
                lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), (0, x),
                maximum_iterations=2)[1]), **inside),
        *calls("map", ("", lambda f, x: f(lambda row: ops.sum(row, axis=0) * 2, x)), **plain),
        *calls("vectorized_map", ("", lambda f, x: f(lambda row: ops.sum(row, axis=0) * 2, x)),
               **plain),
        *calls("vectorize", ("", lambda f, x: f(lambda v: v * 2 + 1)(x)), **plain),
        *calls("scan", *(
            (label, lambda f, x, o=options: f(
                lambda carry, row: (carry + row, carry * 2), x[0] * 0, x, **o))
            for label, options in (("", {}), ("reverse=True", {"reverse": True}))),
            **plain),
        *calls("scan", ("over steps", lambda f, x: f(
            lambda carry, row: (carry + row, carry * 2), x[:, 0] * 0, ops.swapaxes(x, 0, 1))),
            **plain),
        *calls("associative_scan", *(
            (label, lambda f, x, o=options: f(lambda a, b: a + b, x, **o))
            for label, options in (("axis=1", {"axis": 1}),
                                   ("axis=2, reverse=True", {"axis": 2, "reverse": True}))),
            **plain),
        *calls("custom_gradient", ("", lambda f, x: f(
            lambda v: (v * 2, lambda *args, upstream=None: upstream))(x)), **plain),
        *calls("jvp", ("", lambda f, x: f(lambda v: v * v, (x,), (ops.ones_like(x),))), **plain),
    ]  # fmt: skip
