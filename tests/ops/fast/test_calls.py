"""What takes the place of clip and fmax where NumPy has no BLAS, nor vector instructions."""

import numpy as np
import pytest

from onnxwalk.ops.fast import calls

NUMBERS = np.array([-np.inf, -2, -0.0, 0.0, 0.25, 1, 3, np.inf, np.nan], np.float32)


@pytest.mark.parametrize(("low", "high"), [(0, 6), (0, np.inf), (-1, 1), (-np.inf, 2), (3, 1)])
def test_clip(low, high):
    low, high = calls.scalar(low, np.float32), calls.scalar(high, np.float32)
    out = np.empty_like(NUMBERS)
    calls._clip(NUMBERS, low, high, out)
    np.testing.assert_array_equal(out, np.clip(NUMBERS, low, high))


def test_fmax():
    a, b = (x.copy() for x in np.meshgrid(NUMBERS, NUMBERS))
    for n in (8, 9):  # without NaN, and with it
        one, other, out = a[:n, :n], b[:n, :n], np.empty((n, n), np.float32)
        calls._fmax(one, other, out)
        np.testing.assert_array_equal(out, np.fmax(one, other))
    expected = np.fmax(a, b)
    calls._fmax(a, b, a)  # where a number that is written is read again
    np.testing.assert_array_equal(a, expected)


def test_vector_instructions_are_told():
    assert not calls._branches  # of a NumPy with BLAS
