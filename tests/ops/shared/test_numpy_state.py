"""NumPy's state while operators run."""

import warnings

import numpy as np
import pytest

from onnxwalk.ops.shared import numpy_state


@pytest.mark.parametrize("private", [True, False])
def test_nothing_warns_and_the_state_is_restored(private, monkeypatch):
    if not private:
        monkeypatch.setattr(numpy_state, "_state", None)
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        before, size = np.geterr(), np.getbufsize()
        with numpy_state.computing():
            assert np.getbufsize() == 512
            assert np.isnan(np.zeros(2) / 0).all()
            with numpy_state.computing():
                assert np.isinf(np.exp(np.full(9, 1e3, np.float32))).all()
            np.ones(2) / 0
        assert np.geterr() == before and np.getbufsize() == size
        with pytest.raises(KeyError), numpy_state.computing():
            raise KeyError
        assert np.geterr() == before and np.getbufsize() == size


def test_small_buffers_convert_like_large_ones():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((300, 70)), rng.integers(-9, 9, (300, 70)).astype(np.int16)
    expected = [a.T * b.T, (a[:, ::3] + b[:, ::3]).sum(1), np.add.reduce(b, 1, np.float32)]
    with numpy_state.computing():
        found = [a.T * b.T, (a[:, ::3] + b[:, ::3]).sum(1), np.add.reduce(b, 1, np.float32)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
