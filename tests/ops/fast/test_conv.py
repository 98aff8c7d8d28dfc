"""All fast forms of Conv against the plain operator, on random shapes."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxwalk.ops.ai_onnx.conv import conv, prepare_conv
from onnxwalk.ops.fast import winograd
from onnxwalk.ops.onnxwalk_fused.conv import prepare_fused_conv
from onnxwalk.ops.shared import products
from tests.support.bound import run_bound

f32 = np.float32


def noise(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(f32)


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def exact(x, w, b=None, **attributes):
    """The plain operator in float64."""
    wide = [None if a is None else a.astype(np.float64) for a in (x, w, b)]
    return conv(*wide, **attributes)


def close(found, expected, tolerance=1e-5, among=None):
    """``among``: the magnitude that errors are relative to, by default the largest result."""
    assert found.shape == expected.shape and found.dtype == f32
    largest = np.abs(expected if among is None else among).max(initial=0)
    assert np.abs(found - expected).max(initial=0) <= tolerance * largest + 1e-30


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_like_the_plain_operator(data):
    draw = data.draw
    n, h, w = (draw(st.integers(1, m)) for m in (3, 20, 20))
    channels, outputs = draw(st.sampled_from([1, 2, 3, 5, 16, 24])), draw(st.integers(1, 24))
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)) | st.sampled_from([(3, 3)] * 3))
    groups = draw(st.sampled_from([1, 1, channels, *(g for g in (2, 4) if channels % g == 0)]))
    outputs = channels if groups == channels else -(-outputs // groups) * groups
    weights = noise(outputs, channels // groups, *kernel)
    bias = draw(st.none() | st.just(noise(len(weights), seed=1)))
    attributes = {
        "pads": [draw(st.integers(0, k)) for k in (*kernel, *kernel)],
        "strides": [draw(st.sampled_from([1, 1, 2, 3])) for _ in range(2)],
        "dilations": [draw(st.sampled_from([1, 1, 2])) for _ in range(2)],
        "group": groups,
    }
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, attributes["dilations"], strict=True)]
    pads = attributes["pads"]
    assume(h + pads[0] + pads[2] >= spans[0] and w + pads[1] + pads[3] >= spans[1])
    x = noise(n, channels, h, w, seed=2)
    if draw(st.booleans()):
        x = channels_last(x)
    margin = draw(st.just((0, 0, 0, 0)) | st.tuples(*[st.integers(0, 3)] * 4))
    apply = prepare_conv(weights, bias, **attributes)
    if not hasattr(apply, "bind"):
        assert len(weights) > 1 and (weights == weights[:1]).all()
        return
    found = run_bound(apply.bind, [x], margin=margin)
    assert found is not None
    close(found[0], exact(x, weights, bias, **attributes))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_one_spatial_axis(data):
    draw = data.draw
    n, width, channels = draw(st.integers(1, 3)), draw(st.integers(1, 60)), draw(st.integers(1, 6))
    kernel = draw(st.integers(1, 9))
    weights, bias = noise(draw(st.integers(1, 20)), channels, kernel), None
    attributes = {
        "pads": [draw(st.integers(0, kernel)) for _ in range(2)],
        "strides": [draw(st.integers(1, 3))],
        "dilations": [draw(st.integers(1, 2))],
    }
    assume(width + sum(attributes["pads"]) > (kernel - 1) * attributes["dilations"][0])
    x = noise(n, channels, width, seed=2)
    apply = prepare_conv(weights, bias, **attributes)
    if hasattr(apply, "bind"):
        (found,) = run_bound(apply.bind, [x])
        terms = exact(np.abs(x), np.abs(weights), **attributes)  # a sum of them may be near 0
        close(found, exact(x, weights, bias, **attributes), 1e-6, terms)


ACTIVATIONS = [
    (None, None, lambda y: y),
    ("Relu", None, lambda y: np.maximum(y, 0)),
    ("Clip", [0.0, 6.0], lambda y: np.clip(y, 0, 6)),
    ("LeakyRelu", [0.1], lambda y: np.where(y < 0, 0.1 * y, y)),
    ("Tanh", None, np.tanh),
    ("Sigmoid", None, lambda y: 1 / (1 + np.exp(-y))),
    ("Swish", None, lambda y: y / (1 + np.exp(-y))),
    ("HardSigmoid", [0.2, 0.5], lambda y: np.clip(0.2 * y + 0.5, 0, 1)),
    ("HardSwish", None, lambda y: y * np.clip(y + 3, 0, 6) / 6),
]


@pytest.mark.parametrize(("name", "parameters", "formula"), ACTIVATIONS)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("group", [1, 6, 24])
def test_activations(name, parameters, formula, kernel, group):
    w, b = noise(24, 24 // group, kernel, kernel), noise(24, seed=1)
    x, z = channels_last(noise(2, 24, 9, 7)), channels_last(noise(2, 24, 9, 7, seed=3))
    pads = [kernel // 2] * 4
    apply = prepare_fused_conv(
        w, b, activation=name, activation_params=parameters, pads=pads, group=group
    )
    found = run_bound(apply.bind, [x, z])
    expected = formula(exact(x, w, b, pads=pads, group=group) + z)
    close(found[0], expected)
    close(apply(x, z), expected)


@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (33, 18)])
@pytest.mark.parametrize(("name", "parameters", "formula"), ACTIVATIONS[:3])
@pytest.mark.parametrize("margin", [(0, 0, 0, 0), (1, 2, 3, 4)])
def test_pooling_before_the_activation(channels, size, name, parameters, formula, margin):
    w, b = noise(20, channels, 3, 3), noise(20, seed=1)
    x = noise(3, channels, *size)
    apply = prepare_fused_conv(
        w, b, activation=name, activation_params=parameters, pads=[1] * 4, pool=1
    )
    found = run_bound(apply.bind, [x], margin=margin)
    y = formula(exact(x, w, b, pads=[1] * 4))
    h, v = (extent // 2 * 2 for extent in size)
    expected = y[:, :, :h, :v].reshape(3, 20, h // 2, 2, v // 2, 2).max((3, 5))
    close(found[0], expected)
    close(apply(x), expected)


# ------------------------------------------------------------------------------------- Winograd


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (2, 5), (4, 5), (2, 7)])
def test_filtering_is_exact_but_for_rounding(m, r):
    a, g, b = winograd.matrices(m, r)
    d, w = noise(m + r - 1).astype(np.float64), noise(r, seed=1).astype(np.float64)
    expected = [d[i : i + r] @ w for i in range(m)]
    np.testing.assert_allclose(a @ ((g @ w) * (b @ d)), expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("m", "r", "bound"), [(2, 3, 1e-6), (4, 3, 4e-6), (4, 5, 4e-5), (2, 7, 2e-5)]
)
def test_error_of_a_tile(m, r, bound, monkeypatch):
    """The largest error relative to the largest value, as documented in the module."""
    monkeypatch.setattr(winograd, "best_tile", lambda *_: m)
    x, w = channels_last(noise(2, 64, 24, 24)), noise(32, 64, r, r)
    pads = [r // 2] * 4
    found = run_bound(prepare_conv(w, None, pads=pads).bind, [x])
    close(found[0], exact(x, w, pads=pads), bound)


@pytest.mark.parametrize("spike", [1e3, 1e4, 1e6, np.inf, np.nan])
def test_small_values_next_to_a_spike_keep_their_digits(spike):
    w = noise(32, 32, 3, 3)
    x = noise(1, 32, 24, 24)
    x[0, 5, 11, 11] = spike
    assert winograd.best_tile((1, 32, 24, 24), 32, 3) is not None
    found = run_bound(prepare_conv(w, None, pads=[1] * 4).bind, [channels_last(x)])[0]
    expected = exact(x, w, pads=[1] * 4)
    far = np.ones((24, 24), bool)
    far[10:13, 10:13] = False  # what the spike itself contributes to
    scale = np.abs(expected[..., far]).max()
    assert np.abs(found - expected)[..., far].max() <= 1e-4 * scale
    assert np.isfinite(found[..., far]).all()


def test_spikes_in_the_weights_are_computed_directly():
    w = noise(32, 32, 3, 3)
    w[3, 4, 1, 1] = 1e6
    x = channels_last(noise(1, 32, 24, 24))
    found = run_bound(prepare_conv(w, None, pads=[1] * 4).bind, [x])[0]
    expected = exact(x, w, pads=[1] * 4)
    for channel in range(32):
        close(found[:, channel], expected[:, channel])


def test_direct_products_are_chosen_where_they_are_cheaper(monkeypatch):
    monkeypatch.setattr(products, "has_blas", True)
    assert winograd.best_tile((1, 512, 2, 2), 512, 3) is None
    assert winograd.best_tile((1, 4, 56, 56), 4, 3) is None
    assert winograd.best_tile((1, 64, 56, 56), 64, 3) == 4
    monkeypatch.setattr(products, "has_blas", False)
    assert winograd.best_tile((1, 4, 56, 56), 4, 3) is None
    assert winograd.best_tile((1, 8, 2, 2), 8, 3) is None
    assert winograd.best_tile((2, 24, 9, 7), 24, 3) == 4


def test_equal_filters_give_equal_channels():
    w, b = np.repeat(noise(1, 512, 1, 1), 1000, 0), np.full(1000, 0.5, f32)
    x = noise(1, 512, 13, 13)
    y = prepare_conv(w, b)(x)
    assert (y == y[:, :1]).all()
    close(y, exact(x, w, b))


def test_other_inputs_are_declined():
    w = noise(4, 2, 3, 3, 3)
    assert run_bound(prepare_conv(w).bind, [noise(1, 2, 5, 5, 5)]) is None  # three axes
    for dtype in (np.float16, np.float64):
        apply = prepare_conv(noise(4, 2, 3, 3).astype(dtype))
        assert run_bound(apply.bind, [noise(1, 2, 5, 5).astype(dtype)]) is None


def test_pieces_cover_all_tiles():
    for size, m in itertools.product(range(1, 14), (2, 4)):
        covered = [range(p.start, p.stop) for _, p in winograd._pieces(size, m)]
        assert [i for piece in covered for i in piece] == list(range(size))
