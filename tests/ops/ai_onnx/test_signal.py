"""DFT, STFT, windows and the mel scale: by hand, and against ONNX Runtime and NumPy."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)

f32, f16, bf16 = np.float32, np.float16, ml_dtypes.bfloat16


def noise(*shape, seed=0, dtype=f32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def scalar(value, dtype=np.int64):
    return np.array(value, dtype)


ROW = np.array([[[1], [2], [3]]], f32)  # sums to 6
HALF = np.array([[[3, 0], [1, 1]]], f32)  # a one-sided spectrum

# fmt: off
CASES = [
    # 17 goes along axis 1 by default, 20 along the last but one: here 2
    Case("DFT", 17, [noise(2, 3, 4, 1)]),
    Case("DFT", 17, [noise(2, 3, 4, 2), scalar(5)], {"axis": -2, "inverse": 1}),
    Case("DFT", 17, [noise(2, 3, 4, 1)], {"axis": 2, "onesided": 1}),
    Case("DFT", 20, [noise(2, 3, 4, 1)]),
    # Nothing, filled up with zeros; ONNX Runtime takes no empty input.
    *(
        Case("DFT", 20, [noise(1, 0, parts), scalar(4)], {"inverse": inverse, "onesided": onesided},
             expected=[np.zeros(shape, f32)])
        for parts, inverse, onesided, shape in (
            (2, 1, 1, (1, 4, 1)), (2, 1, 0, (1, 4, 2)), (2, 0, 0, (1, 4, 2)), (1, 0, 1, (1, 3, 2)),
        )
    ),
    Case("DFT", 20, [noise(2, 3, 4, 2), None, scalar(1)]),
    Case("DFT", 20, [ROW, scalar(2)], expected=[np.array([[[3, 0], [-1, 0]]], f32)]),
    Case("DFT", 20, [ROW.astype(f16)], {"onesided": 1},
         expected=[np.array([[[6, 0], [-1.5, np.sqrt(0.75)]]], f16)], rtol=1e-3),
    Case("DFT", 20, [ROW.astype(bf16)], {"onesided": 1},
         expected=[np.array([[[6, 0], [-1.5, np.sqrt(0.75)]]], bf16)]),
    # (3, 1+i, 1-i)/3 goes back to ...; by default N = 2·(2 - 1)
    Case("DFT", 20, [HALF], {"onesided": 1, "inverse": 1}, expected=[np.array([[[2], [1]]], f32)]),
    Case("DFT", 20, [HALF, scalar(3)], {"onesided": 1, "inverse": 1},
         expected=[np.fft.irfft([3, 1 + 1j], 3).astype(f32).reshape(1, 3, 1)]),
    Case("DFT", 20, [noise(2, 3, 1, dtype=np.float64), scalar(7, np.int32)]),
    Case("STFT", 17, [noise(2, 10, 1), scalar(3), noise(4)]),
    Case("STFT", 17, [noise(2, 10, 1), scalar(3), None, scalar(5)], {"onesided": 0}),
    Case("STFT", 17, [noise(2, 10, 1), scalar(2), noise(4), scalar(4)]),
    Case("STFT", 17, [noise(2, 10), scalar(3), noise(4)], note="without an axis of parts"),
    Case("STFT", 17, [noise(2, 10, dtype=np.float64), scalar(3), None, scalar(5)], {"onesided": 0}),
    # two channels would do for the parts of a complex signal: it is real all the same
    Case("STFT", 17, [noise(10, 2), scalar(1), noise(2)], {"onesided": 0}),
    Case("STFT", 17, [ROW, scalar(1)], expected=[np.array(
        [[[[6, 0], [-1.5, np.sqrt(0.75)]]]], f32)], note="one frame"),
    *[Case(name, 17, [scalar(size, dtype)], {"periodic": periodic})
      for name in ("HannWindow", "HammingWindow", "BlackmanWindow")
      for size, dtype, periodic in ((5, np.int32, 1), (6, np.int64, 0), (0, np.int64, 1))],
    Case("HannWindow", 17, [scalar(4)], {"output_datatype": TensorProto.UINT8},
         expected=[np.array([0, 0, 1, 0], np.uint8)]),
    Case("HannWindow", 17, [scalar(1)], {"periodic": 0}, expected=[np.array([np.nan], f32)]),
    Case("MelWeightMatrix", 17, [scalar(8), scalar(16), scalar(8192), scalar(0, f32),
                                 scalar(8192 / 2, f32)]),
    Case("MelWeightMatrix", 17, [scalar(3), scalar(9), scalar(8000), scalar(100, f32),
                                 scalar(3000, f32)], {"output_datatype": TensorProto.DOUBLE}),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_dft_like_onnxruntime(data):
    draw = data.draw
    shape = draw(st.lists(st.integers(1, 6), min_size=2, max_size=3))
    parts, onesided = draw(st.sampled_from([(1, 0), (2, 0), (1, 1)]))
    dtype = draw(st.sampled_from([f32, np.float64]))
    axis = draw(st.integers(0, len(shape) - 1))
    length = scalar(draw(st.integers(2, 9))) if draw(st.booleans()) else None
    inverse = draw(st.integers(0, 1)) if not onesided else 0
    attributes = {"inverse": inverse, "onesided": onesided}
    x = noise(*shape, parts, dtype=dtype)
    case = Case("DFT", 20, [x, length, scalar(axis)], attributes)
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_stft_like_onnxruntime(data):
    draw = data.draw
    length = draw(st.integers(2, 8))
    x = noise(draw(st.integers(1, 2)), length + draw(st.integers(0, 9)), 1)
    window = noise(length) if draw(st.booleans()) else None
    inputs = [x, scalar(draw(st.integers(1, 4))), window, scalar(length)]
    case = Case("STFT", 17, inputs, {"onesided": draw(st.integers(0, 1))})
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "operator, inputs, attributes, message",
    [
        ("DFT", [ROW, None, scalar(-1)], {}, "needs another axis"),
        ("DFT", [ROW, scalar(0)], {}, "positive"),
        ("DFT", [HALF], {"onesided": 1}, "real input"),
        ("DFT", [ROW], {"onesided": 1, "inverse": 1}, "complex input"),
        ("DFT", [noise(2, 3)], {}, "should be"),
        ("STFT", [HALF, scalar(1)], {}, "real signal"),
        ("STFT", [ROW, scalar(1), noise(2), scalar(3)], {}, "window"),
        ("STFT", [ROW, scalar(0)], {}, "the length of the signal"),
        ("STFT", [ROW, scalar(1), None, scalar(4)], {}, "the length of the signal"),
    ],
)
def test_refused(operator, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, 20, inputs, attributes))
