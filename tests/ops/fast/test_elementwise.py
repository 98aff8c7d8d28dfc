"""Fast forms of activations against the plain operators."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops.contract.registry import registry
from onnxwalk.ops.fast import error_function
from onnxwalk.ops.fast.blocks import BLOCK_SIZE
from tests.support.bound import run_bound

f32, f64 = np.float32, np.float64

ACTIVATIONS = [
    ("Relu", {}),
    ("Tanh", {}),
    ("Sigmoid", {}),
    ("Swish", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("LeakyRelu", {"alpha": 1.5}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("HardSigmoid", {"beta": 0.4}),
    ("HardSwish", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("Erf", {}),
    ("Exp", {}),
    ("Sqrt", {}),
]


def agree(name, attributes, x, expiring=(), margin=(0, 0, 0, 0)):
    operator = registry.lookup("", name, 24)
    kept = x.copy()
    found = run_bound(operator.binder, [x], expiring=expiring, margin=margin, **attributes)
    np.testing.assert_array_equal(x, kept)
    if found is None:
        assert x.dtype == f64 and name in ("Gelu", "Erf")
        return
    expected = operator.function(x, **attributes)
    assert found[0].dtype == x.dtype and found[0].shape == x.shape
    tolerance = 1e-6 if x.dtype == f32 else 1e-14
    np.testing.assert_allclose(found[0], expected, rtol=3 * tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "attributes"), ACTIVATIONS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_like_the_plain_operator(name, attributes, data):
    draw = data.draw
    shape = draw(st.lists(st.integers(1, 9), max_size=4))
    x = np.random.default_rng(shape).standard_normal(shape) * draw(st.sampled_from([0, 1, 5, 100]))
    x = x.astype(draw(st.sampled_from([f32, f64])))
    if x.ndim == 4 and draw(st.booleans()):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    agree(name, attributes, x, draw(st.sampled_from([(), (0,)])))


@pytest.mark.parametrize(("name", "attributes"), ACTIVATIONS)
@pytest.mark.parametrize("expiring", [(), (0,)])
def test_several_blocks_of_each_memory_order(name, attributes, expiring):
    x = np.random.default_rng(0).standard_normal((3, BLOCK_SIZE // 64, 3, 64)).astype(f32)
    for order in ((0, 1, 2, 3), (0, 3, 1, 2), (2, 0, 3, 1)):
        agree(name, attributes, x.transpose(order), expiring)


@pytest.mark.parametrize(("name", "attributes"), ACTIVATIONS)
def test_special_values(name, attributes):
    x = np.array([0, -0.0, 1e-30, 3.9, -4.1, 9, -9, 88, -88, 1e30, np.inf, np.nan], f32)
    agree(name, attributes, x)
    if name not in ("Gelu", "Swish"):  # 0 · ∞ in one of the forms
        agree(name, attributes, np.array([-1e30, -np.inf], f32))


@pytest.mark.parametrize("name", ["Relu", "Tanh", "Sigmoid", "Swish", "HardSwish"])
def test_zeros_around_the_result(name):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(f32)
    agree(name, {}, x, margin=(1, 2, 0, 1))


@pytest.mark.parametrize("alpha", [0.0, np.nan, np.inf, -np.inf, -1.0])
@pytest.mark.parametrize("name", ["LeakyRelu", "HardSigmoid"])
def test_nan_and_infinite_factors(name, alpha):
    """max(x, alpha·x) isn't LeakyRelu if the product is NaN: 0·inf, or a factor of NaN."""
    x = np.array([-np.inf, -2, -0.0, 0, 2, np.inf, np.nan], f32)
    with np.errstate(all="ignore"):
        agree(name, {"alpha": alpha}, x)


@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize("name", ["Erf", "Gelu"])
def test_both_functions_for_erf(is_quick, name, monkeypatch):
    monkeypatch.setattr(error_function, "tanh_is_quick", is_quick)
    ends = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40, 1e10, -1e10], f32)
    agree(name, {}, np.concatenate([ends, np.linspace(-8, 8, 2 * BLOCK_SIZE, dtype=f32)]))
