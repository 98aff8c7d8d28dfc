"""Fast forms of normalizations against the plain operators, on random shapes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops.ai_onnx import batch_normalization, normalization
from onnxwalk.ops.contract.registry import registry
from onnxwalk.ops.fast import normalization as fast
from tests.support.bound import run_bound

f32 = np.float32


def noise(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(f32)


def channels_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def close(found, expected):
    assert found.shape == expected.shape and found.dtype == f32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_layer_and_rms_normalization(data):
    draw = data.draw
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    line = shape[axis:]
    x, scale = noise(*shape), noise(*line, seed=1)
    b = draw(st.none() | st.just(noise(*line, seed=2)))
    known = draw(st.sampled_from([(), (1, 2)]))
    attributes = {"axis": axis, "epsilon": draw(st.sampled_from([1e-5, 0.1]))}
    found = run_bound(
        fast.bind_layer_normalization,
        [x, scale, b],
        known=known,
        used_outputs=(True,),
        **attributes,
    )
    close(found[0], normalization.layer_normalization(x, scale, b, **attributes)[0])
    found = run_bound(fast.bind_rms_normalization, [x, scale], known=known[:1], **attributes)
    close(found[0], normalization.rms_normalization(x, scale, **attributes))


@pytest.mark.parametrize("value", [7, 1e6, -3e5, 0.1])
@pytest.mark.parametrize("length", [3, 100, 768, 1000])
def test_constant_rows_are_centred(length, value):
    """The mean of n equal numbers is that number, or as near as the plain operators come."""
    x = np.full((2, length), value, f32)
    scale = np.ones(length, f32)
    found = run_bound(
        fast.bind_layer_normalization, [x, scale, None], known=(1,), used_outputs=(True,), axis=-1
    )[0]
    plain = normalization.layer_normalization(x, scale, None, axis=-1)[0]
    assert np.abs(found).max() <= max(2 * np.abs(plain).max(), 1e-6)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_group_normalization(data):
    draw = data.draw
    groups = draw(st.integers(1, 4))
    channels = groups * draw(st.integers(1, 4))
    shape = (draw(st.integers(1, 3)), channels, *draw(st.lists(st.integers(1, 9), min_size=1)))
    if len(shape) > 5 or np.prod(shape) > 1 << 16:
        shape = shape[:4]
    x, scale, b = noise(*shape), noise(channels, seed=1), noise(channels, seed=2)
    known = draw(st.sampled_from([(), (1, 2)]))
    (found,) = run_bound(
        fast.bind_group_normalization, [x, scale, b], known=known, num_groups=groups
    )
    close(found, normalization.group_normalization(x, scale, b, num_groups=groups))
    (found,) = run_bound(fast.bind_instance_normalization, [x, scale, b], known=known)
    close(found, normalization.instance_normalization(x, scale, b))


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_batch_normalization(data):
    draw = data.draw
    shape = draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
    x = noise(*shape)
    if draw(st.booleans()):
        x = channels_last(x)
    parameters = [noise(shape[1], seed=i) for i in range(3)]
    parameters.append(np.abs(noise(shape[1], seed=4)))
    margin = draw(st.sampled_from([(0, 0, 0, 0), (1, 2, 0, 1)])) if x.ndim == 4 else (0, 0, 0, 0)
    expiring = draw(st.sampled_from([(), (0,)]))
    bind = registry.lookup("", "BatchNormalization", 15).binder
    (found,) = run_bound(
        bind, [x, *parameters], known=(1, 2, 3, 4), margin=margin, expiring=expiring
    )
    close(found, batch_normalization.batch_normalization(x, *parameters))


@pytest.mark.parametrize(
    "shape", [(3, 64, 56, 56), (2, 5, 300, 301), (40, 300, 7, 7), (1500, 10, 3, 5)]
)
def test_several_blocks(shape):
    x, c = noise(*shape), shape[1]
    scale, b, mean, var = noise(c), noise(c, seed=1), noise(c, seed=2), np.abs(noise(c, seed=3))
    bind = registry.lookup("", "BatchNormalization", 15).binder
    for source in (x, channels_last(x)):
        (found,) = run_bound(bind, [source, scale, b, mean, var], known=(1, 2, 3, 4))
        close(found, batch_normalization.batch_normalization(x, scale, b, mean, var))
    (found,) = run_bound(fast.bind_instance_normalization, [x, scale, b])
    close(found, normalization.instance_normalization(x, scale, b))
    groups = 2 if c % 2 == 0 else 5
    (found,) = run_bound(fast.bind_group_normalization, [x, scale, b], num_groups=groups)
    close(found, normalization.group_normalization(x, scale, b, num_groups=groups))
    lines = [noise(*shape[2:], seed=1), noise(*shape[2:], seed=2)]
    found = run_bound(fast.bind_layer_normalization, [x, *lines], known=(1, 2), axis=2)
    close(found[0], normalization.layer_normalization(x, *lines, axis=2)[0])


def test_other_inputs_are_declined():
    x, p = noise(2, 4, 5), noise(4)
    for source, parameters in (
        (x.astype(np.float64), p.astype(np.float64)),
        (channels_last(x), p),
        (x, p[:1]),
    ):
        inputs = [source, parameters, parameters]
        assert run_bound(fast.bind_instance_normalization, inputs) is None
        assert run_bound(fast.bind_layer_normalization, inputs) is None
    by_place = registry.lookup("", "BatchNormalization", 9).binder
    inputs = [x, *[p] * 4]
    assert run_bound(by_place, inputs, known=(1, 2, 3, 4)) is not None
    assert run_bound(by_place, inputs, known=(1, 2, 3, 4), spatial=0) is None
