"""Fused convolutions, products and activations, held against ONNX Runtime."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import onnxwalk
from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)
from tests.support.prepared import run_prepared

MS = "com.microsoft"


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def case(operator, inputs, attributes=None, expected=None, outputs=1, **more):
    return Case(operator, 1, inputs, attributes or {}, expected, outputs, MS, **more)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X, V = normal(2, 4, 5, 6), f([-3, -1, 0, 0.5, 4, np.inf])
A, B = f([[1, 2], [3, 4]]), f([[5, 6], [7, 8]])
W = normal(6, 2, 3, 3, seed=1)
IN_GEMM = {
    "Relu": {}, "Tanh": {}, "Sigmoid": {}, "Softplus": {}, "Softsign": {},
    "LeakyRelu": {"activation_alpha": 0.3}, "Elu": {"activation_alpha": 0.3},
    "Celu": {"activation_alpha": 0.3}, "ThresholdedRelu": {"activation_alpha": 0.3},
    "Selu": {"activation_alpha": 0.5, "activation_gamma": 2.0},
    "HardSigmoid": {"activation_alpha": 0.5, "activation_beta": 0.25},
    "ParametricSoftplus": {"activation_alpha": 0.5, "activation_beta": 0.25},
}  # fmt: skip
IN_CONV = {
    "Relu": [], "Tanh": [], "Sigmoid": [], "HardSwish": [], "LeakyRelu": [0.3],
    "Clip": [-0.5, 0.5], "HardSigmoid": [0.5, 0.25],
}  # fmt: skip


def with_parameters(name):
    return {"activation": name} | ({"activation_params": IN_CONV[name]} if IN_CONV[name] else {})


# fmt: off
CASES = [
    case("Gelu", [V]),
    case("Gelu", [X]),
    case("BiasGelu", [X, normal(6)]),
    case("BiasGelu", [f([[1, -3]]), f([-1, 3])], expected=[f([[0, 0]])]),
    case("FastGelu", [X, normal(6)]),
    case("FastGelu", [X]),
    case("QuickGelu", [X]),
    case("QuickGelu", [V[:5]], {"alpha": 0.5}),
    case("BiasSplitGelu", [f([[[2, 3, -1000, 999]]]), f([0, 1, 0, 1])],
         expected=[f([[[0, 4000]]])], note="Gelu of what is large is itself or 0"),
    *(case("FusedConv", [X, W, normal(6)], {"group": 2, **with_parameters(name)})
      for name in IN_CONV),
    case("FusedConv", [X, W], {"group": 2, "pads": [1, 1, 1, 1], "strides": [2, 1]}),
    case("FusedConv", [X, W, None, normal(2, 6, 5, 6)], {
        "group": 2, "auto_pad": "SAME_UPPER", "activation": "Relu"}, note="a sum"),
    case("FusedConv", [normal(1, 2, 7), normal(3, 2, 2), normal(3), normal(1, 3, 5)], {
        "dilations": [2], "kernel_shape": [2]}),
    case("FusedConv", [X, W], {"group": 2, "activation": "HardSwish",
                               "activation_params": [1 / 6, 0.5]}),
    case("FusedConv", [f([[[-1, 2]]]), f([[[3]]]), f([1]), f([[[1, -9]]])], {"activation": "Relu"},
         expected=[f([[[0, 0]]])], note="the sum comes before the activation"),
    case("ConvTransposeWithDynamicPads", [X, normal(4, 3, 2, 2), np.array([1, 0, 0, 1]),
                                          normal(3)], {"strides": [2, 2]}),
    case("ConvTransposeWithDynamicPads", [X, normal(4, 6, 2, 2), np.zeros(4, int), None], {
        "group": 2, "output_padding": [1, 0], "strides": [2, 1]}),
    case("ConvTransposeWithDynamicPads", [f([[[1, 2]]]), f([[[1, 10]]])],
         expected=[f([[[1, 12, 20]]])], note="ONNX Runtime requires pads, its schema doesn't"),
    *(case("FusedGemm", [normal(3, 4), normal(4, 5), normal(5)], {"activation": name, **given})
      for name, given in IN_GEMM.items()),
    case("FusedGemm", [A, B, f([1, 10])], {"alpha": 2.0, "beta": 3.0, "transA": 1, "transB": 1},
         expected=[f([[49, 92], [71, 122]])], note="no activation"),
    case("FusedMatMul", [A, B], {"alpha": 0.5, "transA": 1}, expected=[f([[13, 15], [19, 22]])]),
    case("FusedMatMul", [f([1, 2]), A], {"transA": 1, "transB": 1}, expected=[f([5, 11])]),
    case("FusedMatMul", [normal(2, 3, 4), normal(2, 3, 4)], {
        "transBatchA": 1, "transBatchB": 1, "transB": 1}),
    case("FusedMatMul", [A.astype(ml_dtypes.bfloat16), B.astype(ml_dtypes.bfloat16)],
         {"alpha": 0.5}, expected=[f([[9.5, 11], [21.5, 25]], ml_dtypes.bfloat16)]),
    case("TransposeMatMul", [normal(2, 4, 3), normal(2, 4, 5)], {"transA": 1, "alpha": 2.0}),
    case("FusedMatMulActivation", [A, B], {"activation": "LeakyRelu", "activation_alpha": 0.1,
                                           "alpha": -1.0},
         expected=[f([[-1.9, -2.2], [-4.3, -5]])]),
    case("Inverse", [normal(2, 3, 3)], atol=1e-5),
    case("Inverse", [f([A, np.zeros((2, 2))])],
         expected=[f([[[-2, 1], [1.5, -0.5]], np.full((2, 2), np.nan)])], note="one is singular"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)
    prepared = run_prepared(case)
    if prepared is not None:
        assert_same(prepared, run_directly(case))


@st.composite
def convolutions(draw):
    size = st.integers(3, 7)
    group, inner, outer = (draw(st.integers(1, 3)) for _ in range(3))
    shape = [draw(st.integers(1, 2)), group * inner, draw(size), draw(size)]
    kernel = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    attributes = {
        "group": group,
        "strides": [draw(st.integers(1, 2)), draw(st.integers(1, 2))],
        "pads": [draw(st.integers(0, 1)) for _ in range(4)],
    }
    if draw(st.booleans()):
        attributes |= with_parameters(draw(st.sampled_from(sorted(IN_CONV))))
    x, w = normal(*shape, seed=draw(st.integers(0, 9))), normal(group * outer, inner, *kernel)
    bias = normal(len(w)) if draw(st.booleans()) else None
    z = None
    if draw(st.booleans()):
        plain = Case("Conv", 11, [x, w], {k: v for k, v in attributes.items() if "act" not in k})
        z = normal(*run_directly(plain)[0].shape, seed=5)
    return case("FusedConv", [x, w, bias, z], attributes)


@st.composite
def products(draw):
    rank = draw(st.integers(2, 4))
    batch = [draw(st.integers(1, 3)) for _ in range(rank - 2)]
    m, k, n = (draw(st.integers(1, 5)) for _ in range(3))
    attributes = {"alpha": draw(st.sampled_from([1.0, 0.5, -2.0]))}
    sides = []
    for side, (rows, columns) in (("A", (m, k)), ("B", (k, n))):
        x = normal(*batch, rows, columns, seed=draw(st.integers(0, 9)))
        if draw(st.booleans()):
            attributes[f"trans{side}"] = 1
            x = x.swapaxes(-1, -2)
        if rank > 2 and draw(st.booleans()):
            attributes[f"transBatch{side}"] = 1
            x = np.moveaxis(x, -2, 0)
        sides.append(np.ascontiguousarray(x))
    return case("FusedMatMul", sides, attributes)


@settings(max_examples=60, deadline=None)
@given(st.one_of(convolutions(), products()))
def test_like_onnxruntime(case):
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-5)


# fmt: off
REFUSED = [
    (case("FusedConv", [X, W], {"group": 2, "activation": "Gelu"}), "'Gelu' is not one of"),
    (case("FusedConv", [X, W], {"group": 2, "activation": "Clip"}), "Clip needs"),
    (case("FusedConv", [X, W, None, normal(1)], {"group": 2}), "should have the shape"),
    (case("FusedGemm", [A, B], {"activation": "Elu"}), "Elu needs"),
    (case("FusedMatMulActivation", [A, B], {"activation": "Relu", "activation_axis": 1}), "axis 1"),
    (case("BiasGelu", [X, normal(5)]), "should be"),
    (case("BiasSplitGelu", [normal(1, 1, 3), normal(3)]), "even size"),
    (case("Inverse", [normal(2, 3)]), "square"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)


def test_a_residual_of_another_shape_is_not_bound():
    """A plan that is bound to its shapes refuses it as well, though it would broadcast."""
    case_ = case("FusedConv", [normal(1, 1, 2), normal(1, 1, 1), normal(1), normal(1, 1)], {})
    model = one_node_model(case_)
    model.graph.initializer.append(
        numpy_helper.from_array(case_.inputs[3], model.graph.input[3].name)
    )
    for optimize in (True, False):
        session = onnxwalk.load(model, optimize=optimize)
        with pytest.raises(onnxwalk.OperatorError, match="should have the shape"):
            session.run(None, feeds_of(case_))
