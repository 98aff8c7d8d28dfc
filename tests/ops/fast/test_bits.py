"""Limits and maxima by bits, as where NumPy has no vector instructions: here it is made to."""

import itertools

import numpy as np
import pytest

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast import bits
from tests.ops.fast import test_conv
from tests.support.bound import run_bound

RNG = np.random.default_rng(0)
TINY = np.float32(1e-45)
SPECIAL = [0.0, -0.0, 6.0, -6.0, 7.0, TINY, -TINY, 3.4e38, -3.4e38]
UNUSUAL = [np.nan, -np.nan, np.inf, -np.inf]


@pytest.fixture(autouse=True)
def _without_vectors(monkeypatch):
    monkeypatch.setattr(bits, "has_vectors", False)
    monkeypatch.setattr(bits, "_FEW", 0)


def numbers(dtype, shape, unusual):
    x = RNG.normal(0, 5, shape).astype(dtype)
    x.reshape(-1)[: len(SPECIAL)] = SPECIAL
    if unusual:
        x.reshape(-1)[-len(UNUSUAL) :] = UNUSUAL
    return x


def layouts(x):
    yield x.copy()
    yield np.asfortranarray(x)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unusual", [False, True])
@pytest.mark.parametrize("limits", [(0, np.inf), (0, 6), (-0.0, 6), (1, 2), (-3, 3)])
def test_limits(dtype, unusual, limits):
    given = numbers(dtype, (8, 6, 5), unusual)
    for x, in_place in itertools.product(layouts(given), (False, True)):
        into = x if in_place else np.empty(x.shape, dtype)
        space = Space()
        bits.call_clip(space, x, *limits, into)
        assert (space.calls[0][0] is bits._clip) == (limits[0] >= 0)
        np.testing.assert_array_equal(into, np.clip(given, *map(dtype, limits)))


@pytest.mark.parametrize("unusual", [False, True])
@pytest.mark.parametrize("size", [(6, 4), (7, 5)])
def test_2x2_maxima(unusual, size):
    x = numbers(np.float32, (3, *size, 5), unusual)
    h, w = (n // 2 * 2 for n in size)
    taps = [x[:, i:h:2, j:w:2] for i, j in itertools.product(range(2), range(2))]
    space = Space()
    found = bits.max_pool_2x2(space, x)
    assert space.calls[0][0] is bits._pool
    np.testing.assert_array_equal(found, np.fmax.reduce(taps))
    lowest = np.finfo(np.float32).min
    bits.call_raise(space, found, lowest)
    np.testing.assert_array_equal(found, np.fmax(np.fmax.reduce(taps), lowest))


def test_sizes():
    x = numbers(np.float32, (4, 6), True)
    into = np.empty_like(x)
    bits.sizes_into(x, into)
    np.testing.assert_array_equal(into, np.abs(x))


@pytest.mark.parametrize(("name", "parameters", "formula"), test_conv.ACTIVATIONS[:3])
def test_convolutions(name, parameters, formula):
    for group in (1, 24):
        test_conv.test_activations(name, parameters, formula, 3, group)
    for channels in (3, 16):
        test_conv.test_pooling_before_the_activation(
            channels, (33, 18), name, parameters, formula, (1, 2, 3, 4)
        )


def test_a_replay_sees_what_is_not_finite():
    """A plan that was bound on finite numbers."""

    def bind(space, x):
        y = space.array(x.shape, x.dtype)
        bits.call_clip(space, x, 0, 6, y)
        return y

    x = numbers(np.float32, (5, 40), True)
    np.testing.assert_array_equal(run_bound(bind, [x])[0], np.clip(x, 0, 6))
