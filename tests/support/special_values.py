"""Where ONNX Runtime 1.32 answers otherwise for NaN, infinities, halves, ends of types, or nothing.

Each row has cases with both answers: the case's own, which is right, and ONNX Runtime's.
``SUPPORT.md`` lists the rows; ``tests/ops/test_special_values.py`` holds both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from tests.support.harness import Case

NAN, INF = np.nan, np.inf
LOWEST = np.finfo(np.float32).min


@dataclass(frozen=True)
class SpecialValue:
    """What ONNX Runtime does; for each case its answer: the first outputs, or a part of the error.

    Answers in types that ONNX Runtime doesn't hand out, of 8 bits or fewer, are in float32.
    """

    what: str
    shown: list[tuple[Case, list[Any] | str]]

    @property
    def case(self) -> Case:
        """The first case, whose operator and opset are those of the row."""
        return self.shown[0][0]


def f(*values: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array(values, dtype)


def ints(*values: int, dtype: Any = np.int64) -> np.ndarray:
    return np.array(values, dtype)


def row(what: str, *shown: tuple[Case, list[Any] | str]) -> SpecialValue:
    return SpecialValue(what, list(shown))


def max_pool(values: np.ndarray, expected: Any, theirs: Any, outputs: int = 1) -> Any:
    """The maximum of all of an image, and with two outputs its place."""
    x = values[None, None]
    attributes = {"kernel_shape": list(values.shape)}
    shape = (1, 1, *[1] * values.ndim)
    ours, others = (
        [f(value).reshape(shape) if k == 0 else ints(value).reshape(shape)
         for k, value in enumerate(answer)]
        for answer in (expected, theirs)
    )  # fmt: skip
    return Case("MaxPool", 12, [x], attributes, ours, outputs), others


def arg(operator: str, x: np.ndarray, expected: int, theirs: int) -> Any:
    return Case(operator, 13, [x], {}, [ints(expected)]), [ints(theirs)]


def cast(to: int, values: np.ndarray, expected: Any, theirs: np.ndarray, **attributes: int) -> Any:
    return Case("Cast", 21, [values], {"to": to, **attributes}, [expected]), [theirs]


def recurrent(operator: str, x: np.ndarray, expected: Any, theirs: Any, h: Any = None) -> Any:
    """One cell, weights of 1, a bias of 0: outputs Y (T, 1, 1, 1) and Y_h, for an LSTM Y_c."""
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[operator]
    ones = np.ones((1, gates, 1), np.float32)
    inputs = [x.reshape(-1, 1, 1), ones, ones, np.zeros((1, 2 * gates), np.float32), None]
    states = [] if h is None else [f(value).reshape(1, 1, 1) for value in h]
    if not states:
        inputs.pop()
    answers = [
        [f(*answer[0]).reshape(-1, 1, 1, 1), *(f(v).reshape(1, 1, 1) for v in answer[1:])]
        for answer in (expected, theirs)
    ]
    case = Case(operator, 14, [*inputs, *states], {"hidden_size": 1}, answers[0], len(answers[0]))
    return case, answers[1]


def scatter(operator: str, indices: np.ndarray, reduction: str) -> Any:
    inputs = [f(NAN, 0), indices, f(1)]
    return Case(operator, 18, inputs, {"reduction": reduction}, [f(NAN, 0)]), [f(1, 0)]


def grid_sample(padding_mode: str, place: float, expected: float, theirs: float) -> Any:
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    inputs = [x, f(place, 0).reshape(1, 1, 1, 2)]
    answers = ([f(value).reshape(1, 1, 1, 1)] for value in (expected, theirs))
    ours, others = answers
    return Case("GridSample", 20, inputs, {"padding_mode": padding_mode}, ours), others


FLAT = np.full((1, 1, 2, 2), 100, np.float32)
EMPTY = np.zeros((2, 0), np.float32)
STRINGS = np.array(["", "a,b"], object)
HALVES = f(0.5, 1.5, 2.4, -0.5, -1.5)

SPECIAL_VALUES = [
    row("in float32 keeps a NaN at the end of an image's window, and with Indices passes over it; "
        "other NaNs are passed over, as here",
        max_pool(f(1, 2, 3, NAN).reshape(2, 2), [3], [NAN]),
        max_pool(f(1, 2, 3, NAN).reshape(2, 2), [NAN, 3], [3, 2], outputs=2),
        max_pool(f(NAN, 2, 3, 4).reshape(2, 2), [NAN, 0], [NAN, 0], outputs=2)),
    row("passes over NaN, and gives the lowest number for nothing but NaN or -infinity",
        (Case("GlobalMaxPool", 7, [f(NAN, 2, 1)[None, None]], {}, [f(NAN)[None, None]]),
         [f(2)[None, None]]),
        (Case("GlobalMaxPool", 7, [f(-INF, -INF)[None, None]], {}, [f(-INF)[None, None]]),
         [f(LOWEST)[None, None]])),
    row("takes all numbers after a NaN for equal to it",
        (Case("Unique", 11, [f(NAN, 1, 2)], {}, [f(1, 2, NAN), ints(1, 2, 0), ints(2, 0, 1),
              ints(1, 1, 1)], 4), [f(NAN), ints(0), ints(0, 0, 0), ints(3)]),
        (Case("Unique", 11, [f(NAN, 1, NAN)], {"sorted": 0}, [f(NAN, 1)]), [f(NAN)])),
    row("passes over a NaN that isn't the first element",
        arg("ArgMax", f(1, NAN, 2), 1, 2), arg("ArgMax", f(1, 2, NAN), 2, 1)),
    row("passes over a NaN that isn't the first element",
        arg("ArgMin", f(1, NAN, 2), 1, 0), arg("ArgMin", f(1, 2, NAN), 2, 0)),
    row("gives no 1 for a row with NaN that comes first, and passes over other NaNs",
        (Case("Hardmax", 13, [f(NAN, 3, 3)], {}, [f(1, 0, 0)]), [f(0, 0, 0)]),
        (Case("Hardmax", 13, [f(1, NAN, 3)], {}, [f(0, 1, 0)]), [f(0, 0, 1)])),
    row('splits "" at a delimiter into nothing; as in Python it is one empty string',
        (Case("StringSplit", 20, [STRINGS], {"delimiter": ","},
              [np.array([["", ""], ["a", "b"]], object), ints(1, 2)], 2),
         [np.array([["", ""], ["a", "b"]], object), ints(0, 2)])),
    row("gives the largest number for infinity in E4M3FNUZ and E5M2FNUZ, as from opset 24 on",
        cast(TensorProto.FLOAT8E4M3FNUZ, f(INF, -INF),
             f(NAN, NAN, dtype=ml_dtypes.float8_e4m3fnuz), f(240, -240)),
        cast(TensorProto.FLOAT8E5M2FNUZ, f(INF, -INF),
             f(NAN, NAN, dtype=ml_dtypes.float8_e5m2fnuz), f(57344, -57344))),
    row("gives 448 for 480 to just under 496 in E4M3FN without saturation: above 448 is NaN",
        cast(TensorProto.FLOAT8E4M3FN, f(464, 470, 480, 495.9, 496, -480),
             f(448, NAN, NAN, NAN, NAN, NAN, dtype=ml_dtypes.float8_e4m3fn),
             f(448, NAN, 448, 448, NAN, -448), saturate=0)),
    row("rounds to the nearest number of 4 bits, halves away from 0, where it cuts off for INT8",
        cast(TensorProto.INT4, HALVES, f(0, 1, 2, 0, -1, dtype=ml_dtypes.int4), f(1, 2, 2, -1, -2)),
        cast(TensorProto.UINT4, HALVES[:3], f(0, 1, 2, dtype=ml_dtypes.uint4), f(1, 2, 2)),
        cast(TensorProto.INT8, HALVES, f(0, 1, 2, 0, -1, dtype=np.int8),
             f(0, 1, 2, 0, -1, dtype=np.int8))),
    row("takes a limit that is NaN for none: Min(max, Max(input, min)) is NaN",
        (Case("Clip", 13, [f(-2, 0, 2), np.array(NAN, np.float32), np.array(1, np.float32)], {},
              [f(NAN, NAN, NAN)]), [f(-2, 0, 1)])),
    row("gives 0 as the mean of nothing: 0/0 is NaN",
        (Case("ReduceMean", 18, [EMPTY, ints(1)], {"keepdims": 0}, [f(NAN, NAN)]), [f(0, 0)])),
    row("passes over a NaN that isn't the first element",
        (Case("ReduceLogSumExp", 18, [f(-INF, NAN)], {"keepdims": 0}, [np.array(NAN, np.float32)]),
         [np.array(-INF, np.float32)])),
    row("passes over a NaN that isn't the first element",
        (Case("ReduceMin", 18, [f(1, NAN, 2)], {"keepdims": 0}, [np.array(NAN, np.float32)]),
         [np.array(1, np.float32)])),
    row("goes through double for integers: above 2⁵³ digits are lost, and an overflow is "
        "the lowest number",
        (Case("Pow", 15, [ints(7, 3, -1), ints(23, 41, 2**53 + 1)], {},
              [ints(8922003266371364727, -420491770248316829, -1)]),
         [ints(-(2**63), -(2**63), 1)]),
        (Case("Pow", 15, [ints(3, dtype=np.int32), ints(20, dtype=np.int32)], {},
              [ints(-808182895, dtype=np.int32)]), [ints(-(2**31), dtype=np.int32)])),
    row("gives 0 for NaN in float16, and NaN in float32",
        (Case("Sign", 13, [f(NAN, -2, dtype=np.float16)], {}, [f(NAN, -1, dtype=np.float16)]),
         [f(0, -1, dtype=np.float16)]),
        (Case("Sign", 13, [f(NAN, -2)], {}, [f(NAN, -1)]), [f(NAN, -1)])),
    row("gives 0 for -18 and below: it is right to 1e-7 only",
        (Case("Sigmoid", 13, [f(-20, -18)], {}, [f(2.0611537e-09, 1.5229979e-08)], atol=0),
         [f(0, 0)])),
    row("computes in float32 for doubles",
        (Case("Shrink", 9, [f(0.5, -0.5, 0.1, dtype=np.float64)], {"bias": 0.25, "lambd": 0.1},
              [f(0.25, -0.25, 0.1 * 0, dtype=np.float64)]), [f(0.25, -0.25, 0, dtype=np.float64)]),
        (Case("Shrink", 9, [f(1 + 2.0**-40, dtype=np.float64)], {"bias": 0.0, "lambd": 0.5},
              [f(1 + 2.0**-40, dtype=np.float64)], rtol=0, atol=0), [f(1, dtype=np.float64)])),
    row("loses a NaN when a bias is given",
        recurrent("LSTM", f(NAN), [[NAN], NAN, NAN], [[0.7615942], 0.7615942, 1])),
    row("loses a NaN when a bias is given",
        recurrent("GRU", f(NAN), [[NAN], NAN], [[0], 0])),
    row("answers 0 as the last state of an empty sequence, whatever the initial state",
        recurrent("RNN", f(), [[], 0.5], [[], 0], h=[0.5])),
    row("answers 0 as the last state of an empty sequence, whatever the initial state",
        recurrent("LSTM", f(), [[], 0.5], [[], 0], h=[0.5, 0.25])),
    row("keeps no NaN of the data when another number comes (max, min)",
        scatter("ScatterElements", ints(0), "max"), scatter("ScatterElements", ints(0), "min")),
    row("keeps no NaN of the data when another number comes (max, min)",
        scatter("ScatterND", ints(0)[:, None], "max"),
        scatter("ScatterND", ints(0)[:, None], "min")),
    row("reads somewhere in the image at NaN, at infinity, and far outside",
        grid_sample("zeros", NAN, NAN, 2), grid_sample("zeros", INF, 0, 2),
        grid_sample("border", 1e20, 6, 4), grid_sample("border", INF, 6, 4)),
    row("refuses to reflect further than the input is wide, and an input of one element",
        (Case("Pad", 19, [f(0, 1, 2), ints(0, 5)], {"mode": "reflect"},
              [f(0, 1, 2, 1, 0, 1, 2, 1)]), "exceeds maximum allowed"),
        (Case("Pad", 19, [f(7), ints(1, 2)], {"mode": "reflect"}, [f(7, 7, 7, 7)]),
         "requires axis length >= 2")),
    row("passes over NaN when it looks for the range",
        (Case("DynamicQuantizeLinear", 11, [f(255, NAN, 0)], {},
              [ints(0, 0, 0, dtype=np.uint8), np.array(NAN, np.float32), np.array(0, np.uint8)], 3),
         [ints(255, 0, 0, dtype=np.uint8), np.array(1, np.float32), np.array(0, np.uint8)])),
    row("divides 0 by 0 where all is equal: the spec adds 1e-9",
        (Case("MeanVarianceNormalization", 13, [FLAT], {}, [np.zeros_like(FLAT)]),
         [np.full_like(FLAT, NAN)])),
    row("puts a single pixel at the end with align_corners; PyTorch, which the spec follows, at 0",
        (Case("AffineGrid", 20, [f(1, 0, 0, 0, 1, 0).reshape(1, 2, 3), ints(1, 1, 1, 1)],
              {"align_corners": 1}, [np.zeros((1, 1, 1, 2), np.float32)]),
         [np.ones((1, 1, 1, 2), np.float32)])),
    row("refuses an empty batch",
        (Case("Attention", 23, [np.zeros((0, 1, length, 4), np.float32) for length in (3, 5, 5)],
              {}, [np.zeros((0, 1, 3, 4), np.float32)]), "ComputeOutputShapeForAttention")),
    row("compares floats as values: no NaN is found, and -0 is 0",
        (Case("LabelEncoder", 2, [f(NAN, -0.0, 1)],
              {"keys_floats": [NAN, 0.0, 1.0], "values_int64s": [1, 2, 3], "default_int64": -5},
              [ints(1, -5, 3)], domain="ai.onnx.ml"), [ints(-5, 2, 3)])),
]  # fmt: skip
