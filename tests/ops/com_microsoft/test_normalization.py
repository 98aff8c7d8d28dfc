"""Layer normalization with residuals and embeddings, held against ONNX Runtime."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops import registry
from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)

MS = "com.microsoft"


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def case(operator, inputs, attributes=None, expected=None, outputs=1, domain=MS, **more):
    return Case(operator, 1, inputs, attributes or {}, expected, outputs, domain, **more)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def quantized(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


X, G = normal(2, 3, 4), normal(4, seed=1)
IDS = np.array([[1, 0, 2], [0, 1, 1]], np.int32)
MASK = np.array([[1, 0, 1], [0, 0, 0]], np.int32)
SCALES = [f(0.1), f(0.2), None, f(0.3), f(0.4)]
ZEROS = [None if z is None else np.array(z, np.uint8) for z in (120, 99, None, 3, 200)]

# fmt: off
CASES = [
    case("SkipLayerNormalization", [X, normal(2, 3, 4, seed=2), G, normal(4), normal(4, seed=3)],
         {"epsilon": 1e-5}, outputs=4),
    case("SkipLayerNormalization", [X, X[:1], G], outputs=1),
    case("SkipLayerNormalization", [X, X[0], G, G], {"epsilon": 0.1}, outputs=1),
    case("SkipLayerNormalization", [f([[1, 3]]), f([[1, 3]]), f([1, 10]), f([0, 1]), f([1, -1])],
         {"epsilon": 3.0}, outputs=4,
         expected=[f([[-0.5, 6]]), f([[4]]), f([[0.5]]), f([[3, 5]])]),
    case("SkipLayerNormalization", [X.astype(np.float16)] * 2 + [G.astype(np.float16)],
         {"epsilon": 1e-3}, rtol=2e-3, atol=1e-3),
    case("SkipSimplifiedLayerNormalization", [X, X, G, G], {"epsilon": 1e-5}, outputs=4),
    case("SkipSimplifiedLayerNormalization", [f([[1, 2]]), f([[0, 5]]), f([1, 10])],
         {"epsilon": 0.0}, expected=[f([[0.2, 14]])], atol=1e-5, outputs=1),
    case("SimplifiedLayerNormalization", [X, G], domain="", outputs=2),
    case("SimplifiedLayerNormalization", [X, normal(3, 4)], {"axis": 1, "epsilon": 0.5}, domain=""),
    case("SimplifiedLayerNormalization", [f([[1, 7]], ml_dtypes.bfloat16),
                                          f([1, 10], ml_dtypes.bfloat16)], {"epsilon": 0.0},
         [f([[0.2, 14]], ml_dtypes.bfloat16)], domain="", atol=1e-3, rtol=4e-3),
    case("EmbedLayerNormalization", [IDS, IDS, normal(3, 8), normal(4, 8), normal(3, 8, seed=3),
                                     normal(8), normal(8, seed=4), MASK], outputs=3),
    case("EmbedLayerNormalization", [IDS, None, normal(3, 8), normal(4, 8), None, normal(8),
                                     normal(8), MASK, np.array([[2, 0, 3]], np.int32)],
         {"mask_index_type": 1, "epsilon": 1e-3}, outputs=3),
    case("EmbedLayerNormalization", [IDS, None, normal(3, 8), normal(4, 8), None, normal(8),
                                     normal(8)], {"mask_index_type": 0}, outputs=3),
    case("QEmbedLayerNormalization", [IDS, None, quantized(3, 8), quantized(3, 8, seed=1), None,
                                      quantized(8), quantized(8, seed=2), MASK, *SCALES, *ZEROS],
         outputs=2, atol=1e-4),
    case("QEmbedLayerNormalization", [IDS, IDS, quantized(3, 8), quantized(3, 8, seed=1),
                                      quantized(3, 8, seed=5), quantized(8), quantized(8, seed=2),
                                      None, *SCALES[:2], f(0.5), *SCALES[3:], *ZEROS[:2],
                                      np.array(7, np.uint8), *ZEROS[3:]], outputs=2, atol=1e-4),
    case("BiasDropout", [f([[1, 2]]), f([10, 20]), f([[100, 200]])], outputs=2,
         expected=[f([[111, 222]]), np.array([[True, True]])]),
    case("BiasDropout", [f([[1, 2]]), f([10, 20]), None, f(0.5), np.array(False)],
         expected=[f([[11, 22]])]),
    case("BiasDropout", [f([[1, 2]]), f([10, 20]), None, f(0.5)], expected=[f([[11, 22]])]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@st.composite
def residuals(draw):
    batch, length, features = (draw(st.integers(1, 5)) for _ in range(3))
    features += 1
    shape = (batch, length, features) if draw(st.booleans()) else (batch * length, features)
    x = normal(*shape, seed=draw(st.integers(0, 9))) * 3
    skips = [shape, (1, *shape[1:]), shape[1:]][: 3 if len(shape) == 3 else 1]
    skip = normal(*draw(st.sampled_from(skips)), seed=11)
    gamma, beta, bias = (normal(features, seed=seed) for seed in (12, 13, 14))
    beta, bias = (v if draw(st.booleans()) else None for v in (beta, bias))
    name = draw(st.sampled_from(["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"]))
    rest = [beta, bias] if name == "SkipLayerNormalization" else [bias]
    epsilon = draw(st.sampled_from([1e-5, 1e-2]))
    return case(name, [x, skip, gamma, *rest], {"epsilon": epsilon}, outputs=4)


@settings(max_examples=50, deadline=None)
@given(residuals())
def test_like_onnxruntime(case):
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=2e-4)


def test_dropout_drops_and_scales():
    x = np.ones((100, 100), np.float32)
    inputs = [x, f([1.0]), x, f(0.25), np.array(True)]
    y, mask = run_directly(case("BiasDropout", inputs, {"seed": 3}, outputs=2))
    assert_same(y, np.where(mask, np.float32(2 / 0.75 + 1), np.float32(1)))
    assert 0.7 < mask.mean() < 0.8


# fmt: off
EMBEDDED = [normal(3, 8), normal(4, 8), None, normal(8), normal(8)]
REFUSED = [
    (case("SkipLayerNormalization", [X, normal(3, 1, 4), G]), "are incompatible"),
    (case("SkipLayerNormalization", [X, X, normal(3)]), "should be"),
    (case("SimplifiedLayerNormalization", [X, G], {"stash_type": 11}, domain=""), "stash_type 11"),
    (case("EmbedLayerNormalization", [IDS + 1, None, *EMBEDDED]), "ids from 1 to 3"),
    (case("EmbedLayerNormalization", [IDS, IDS, *EMBEDDED]), "should both be set"),
    (case("EmbedLayerNormalization", [IDS, None, *EMBEDDED, MASK[:1]]), "mask"),
    (case("BiasDropout", [X, normal(5)]), "broadcast"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)


@pytest.mark.filterwarnings("error")
def test_the_mean_of_nothing_is_no_warning():
    function = registry.lookup("", "SimplifiedLayerNormalization", 1).function
    with np.errstate(all="ignore"):  # as operators are called
        results = function(X[..., :0], G[:0])
    results = results if isinstance(results, tuple) else (results,)
    assert results[0].shape == (2, 3, 0)
