"""Fast forms of what the transformer optimizer fuses, against the plain operators."""

import numpy as np
import pytest

from onnxwalk.ops.com_microsoft import activation, attention, nbits, normalization
from onnxwalk.ops.contract.facts import Facts
from onnxwalk.ops.fast import attention as fast
from tests.support.bound import run_bound

f32 = np.float32


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(f32)


def agree(function, inputs, *, used=(True,), **attributes):
    bind = Facts.of(function)["bind"]
    found = run_bound(bind, inputs, used_outputs=used, **attributes)
    assert found is not None
    expected = function(*inputs, **attributes)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for is_used, a, e in zip(used, found, expected, strict=False):
        if is_used:
            assert a.dtype == e.dtype and a.shape == e.shape
            np.testing.assert_allclose(a, e, rtol=2e-5, atol=2e-6)


MASKS = {
    "none": None,
    "counts": np.array([5, 2], np.int32),
    "ends and starts": np.array([5, 4, 1, 0], np.int32),
    "keys": np.array([[1, 1, 0, 1, 1], [1, 0, 0, 0, 0]], np.int32),
    "queries and keys": np.tril(np.ones((2, 5, 5), np.int32)),
}


@pytest.mark.parametrize("at_once", [1 << 17, 50, 1])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("more", [{}, {"unidirectional": 1}, {"scale": 0.3}, {"bias": True}])
def test_attention(mask, more, at_once, monkeypatch):
    monkeypatch.setattr(fast, "_AT_ONCE", at_once)
    more = dict(more)
    added = normal(1, 4, 5, 5, seed=3) if more.pop("bias", False) else None
    inputs = [normal(2, 5, 8), normal(8, 24, seed=1), normal(24, seed=2), MASKS[mask], None, added]
    agree(attention.attention, inputs, num_heads=4, **more)


def test_attention_of_wide_values_and_special_numbers():
    x = normal(1, 3, 8)
    x[0, 1, 2] = np.inf
    weights = normal(8, 8 + 8 + 16, seed=1)
    with np.errstate(all="ignore"):
        agree(attention.attention, [x, weights], num_heads=2, qkv_hidden_sizes=[8, 8, 16])
        agree(attention.attention, [1e4 * normal(1, 3, 8), weights[:, :24]], num_heads=2)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("bias", [None, normal(24, seed=4)])
def test_multi_head_attention(mask, bias):
    parts = [normal(2, 5, 8, seed=i) for i in range(3)]
    agree(attention.multi_head_attention, [*parts, bias, MASKS[mask]], num_heads=2)


@pytest.mark.parametrize("bias", [None, normal(7, seed=5)])
def test_gelus(bias):
    x = 3 * normal(3, 5, 7)
    agree(activation.fast_gelu, [x, bias])
    agree(activation.bias_gelu, [x, normal(7, seed=6)])
    agree(activation.gelu, [x])
    agree(activation.quick_gelu, [x])
    agree(activation.quick_gelu, [x], alpha=-0.5)


@pytest.mark.parametrize("used", [(True,), (True, False, False, True)])
@pytest.mark.parametrize("bias", [None, normal(7, seed=5)])
def test_skip_normalization(bias, used):
    x, skip, gamma, beta = normal(2, 5, 7), normal(2, 5, 7, seed=1), normal(7, seed=2), normal(7)
    agree(normalization.skip_layer_normalization, [x, skip, gamma, beta, bias], used=used)
    agree(normalization.skip_simplified_layer_normalization, [x, skip, gamma, bias], used=used)


@pytest.mark.parametrize("limit", [None, 1 << 20])
def test_weights_of_four_bits(limit):
    """Unpacked once, or where the limit is lower, rows at a time in each run."""
    rng = np.random.default_rng(0)
    depth, columns = 640, 500
    packed = rng.integers(0, 256, (columns, depth // 32, 16), np.uint8)
    scales = rng.uniform(0.5, 1, (columns, depth // 32)).astype(f32)
    sizes = {"K": depth, "N": columns, "bits": 4, "block_size": 32}
    apply = nbits.prepare_matmul_nbits(packed, scales, None, None, normal(columns), **sizes)
    x, taken = normal(2, 3, depth), []

    def bind(space, x):
        def reserve(nbytes):
            if limit is not None and nbytes > limit:
                raise MemoryError
            taken.append(nbytes)

        space.arena.reserve = reserve
        return apply.bind(space, x)

    found = run_bound(bind, [x])
    low, high = packed & 15, packed >> 4
    steps = np.stack([low, high], -1).reshape(columns, depth // 32, 32).astype(np.float64) - 8
    weights = (steps * scales[..., None]).reshape(columns, depth)
    expected = x.astype(np.float64) @ weights.T + normal(columns)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(apply(x), expected, rtol=1e-4, atol=1e-3)
    assert (4 * depth * columns in taken) == (limit is None)
