"""Products, decompositions and transforms."""

from __future__ import annotations

from typing import Any

import keras

from onnxwalk.export.coverage.function_cases import (
    NUMBERS,
    TYPES,
    FunctionCase,
    Given,
    calls,
)
from onnxwalk.export.coverage.function_cases.values import PLAIN, SMALL

_SQUARE = Given((3, 3), values=PLAIN)
_LONG = ("float32", "float64")


def cases() -> list[FunctionCase]:
    return [*_products(), *_decompositions(), *_transforms(), *_complex()]


def _products() -> list[FunctionCase]:
    same, turned, vector = (Given(s, values=SMALL) for s in ((3, 4), (4, 2), (4,)))
    few = ("float32", "float16", "int32", "int8")
    plain = Given((4,), values=PLAIN)
    return [
        *calls("matmul", dtypes=TYPES, given=[same, turned]),
        *calls("matmul", dtypes=("int8", "float16"), given=[same, Given((4, 2), "int32", SMALL)],
               note="with int32"),
        *calls("matmul dot", ("a vector", lambda f, x, y: f(x, y[0])), dtypes=few,
               given=[same, vector]),
        *calls("dot", ("", lambda f, x, y: f(x, y[0])), dtypes=NUMBERS, given=[same, turned]),
        *calls("inner", ("", lambda f, x, y: f(x[0], y[0])), dtypes=NUMBERS, given=[same, same]),
        *calls("outer vdot", ("", lambda f, x: f(x[0], x[0])), dtypes=NUMBERS,
               given=[Given((4,), values=SMALL)]),
        *calls("tensordot", ("axes=1", lambda f, x, y: f(x, y[0], axes=1)),
               ("axes", lambda f, x, y: f(x, y[0], axes=[[2], [0]])), dtypes=NUMBERS,
               few=few, given=[same, turned]),
        *calls("kron", ("", lambda f, x, y: f(x[0], y[0])), dtypes=NUMBERS,
               given=[_SQUARE, _SQUARE]),
        *calls("cross", {}, dtypes=NUMBERS, given=[Given((2, 3), values=PLAIN)] * 2),
        *calls("cross", {}, dtypes=NUMBERS, given=[Given((2, 2), values=PLAIN)] * 2,
               note="of two dimensions"),
        *calls("einsum", *(
            (equation, lambda f, x, y, e=equation: f(e, x, y))
            for equation in ("bij,bjk->bik", "bij,bjk->bki", "bij,bjk->b")), dtypes=NUMBERS,
            few=few, given=[same, turned]),
        *calls("einsum", *(
            (equation, lambda f, x, e=equation: f(e, x)) for equation in ("bii->bi", "bij->bji",
                                                                          "bij->b")),
            dtypes=NUMBERS, few=few, given=[_SQUARE]),
        *calls("corrcoef", ("wide", lambda f, x: f(x)), dtypes=("float32",), given=[plain]),
    ]  # fmt: skip


def _decompositions() -> list[FunctionCase]:
    def symmetric(label: str = "", **options: Any) -> Any:
        """Of x x' + 1, which is positive definite."""

        def body(f, x):
            return f(
                keras.ops.matmul(x, keras.ops.swapaxes(x, 1, 2)) + keras.ops.eye(3, dtype=x.dtype),
                **options,
            )

        return label, body

    two = [_SQUARE, Given((3, 2), values=PLAIN)]
    return [
        *calls("cholesky", symmetric(), symmetric("upper=True", upper=True), dtypes=_LONG,
               given=[_SQUARE]),
        *calls("cholesky_inverse", ("", lambda f, x: f(x + 4 * keras.ops.eye(3, dtype=x.dtype))),
               dtypes=_LONG, given=[_SQUARE]),
        *calls("det inv logdet slogdet qr eig", symmetric(), dtypes=_LONG,
               given=[_SQUARE]),
        *calls("det inv", ("as it is", lambda f, x: f(x)), dtypes=_LONG, given=[_SQUARE]),
        *calls("lu_factor", ("", lambda f, x: f(x[0])), dtypes=_LONG, given=[_SQUARE]),
        *calls("eigh svd", symmetric(), dtypes=_LONG, given=[_SQUARE]),
        *calls("svd", symmetric("compute_uv=False", compute_uv=False), dtypes=_LONG,
               given=[_SQUARE]),
        *calls("matrix_rank pinv", symmetric(), dtypes=_LONG, given=[_SQUARE]),
        *calls("solve", dtypes=_LONG, given=two),
        *calls("lstsq", ("", lambda f, a, b: f(a[0], b[0])), dtypes=_LONG, given=two),
        *calls("solve_triangular", {"lower": True}, {"lower": False}, dtypes=_LONG, given=two),
    ]  # fmt: skip


def _transforms() -> list[FunctionCase]:
    signal, picture = Given((8,), values=PLAIN), Given((4, 6), values=PLAIN)
    pairs = ([signal, signal], [picture, picture])
    windows: dict[str, Any] = {"sequence_length": 6, "sequence_stride": 3, "fft_length": 8}
    spectrum = Given((7, 5), values=PLAIN)
    return [
        *calls("fft", ("", lambda f, x, y: f((x, y))), dtypes=_LONG, given=pairs[0]),
        *calls("fft2 ifft2", ("", lambda f, x, y: f((x, y))), dtypes=_LONG, given=pairs[1]),
        *calls("rfft", {}, {"fft_length": 5}, {"fft_length": 12}, dtypes=_LONG, given=[signal]),
        *calls("irfft", ("", lambda f, x, y: f((x, y))),
               ("fft_length=10", lambda f, x, y: f((x, y), fft_length=10)), dtypes=_LONG,
               given=pairs[0]),
        *calls("stft", windows, {**windows, "center": False}, {**windows, "window": None},
               dtypes=_LONG, given=[Given((24,), values=PLAIN)]),
        *calls("istft", ("", lambda f, x, y: f((x, y), **windows)), dtypes=_LONG,
               given=[spectrum, spectrum]),
    ]  # fmt: skip


def _complex() -> list[FunctionCase]:
    ops = keras.ops
    pair = [Given((3, 2), values=PLAIN)]
    return [
        *calls("view_as_complex view_as_real", ("there and back", lambda f, x: ops.view_as_real(
            ops.view_as_complex(x))), dtypes=_LONG, given=pair, inside=True),
        *calls("real imag angle conj conjugate", ("of complex numbers", lambda f, x: (
            ops.view_as_real(f(ops.view_as_complex(x))) if "conj" in f.__name__
            else f(ops.view_as_complex(x)))), dtypes=_LONG, given=pair, inside=True),
        *calls("polar", ("", lambda f, x, y: ops.view_as_real(f(ops.abs(x), y))), dtypes=_LONG,
               given=pair * 2, inside=True),
    ]  # fmt: skip
