"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: by hand, and against ONNX Runtime."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
# The three examples of the spec.
X = np.array([[[1, 2], [2, 2], [3, 2]], [[0, 1], [2, 2], [1, 2]]], f32)
TARGET = np.array([[2, 1], [0, 2]])
WEIGHT = np.array([0.2, 0.3, 0.1], f32)
EVEN = np.zeros((2, 4), f32)  # each class has log-probability -log 4
LOG4 = np.log(f32(4))


def noise(*shape, dtype=f32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


# fmt: off
CASES = [
    Case("NegativeLogLikelihoodLoss", 12, [X, TARGET], {"reduction": "none"},
         expected=[np.array([[-3, -2], [0, -2]], f32)]),
    Case("NegativeLogLikelihoodLoss", 12, [X, TARGET, WEIGHT], {"reduction": "sum"},
         expected=[np.array(-1.1, f32)]),
    Case("NegativeLogLikelihoodLoss", 13, [X, TARGET.astype(np.int32), WEIGHT],
         expected=[np.array(-1.1 / 0.7, f32)]),
    Case("NegativeLogLikelihoodLoss", 13, [X, TARGET], {"ignore_index": 0},
         expected=[np.array(-7 / 3, f32)], note="the mean of three"),
    Case("NegativeLogLikelihoodLoss", 13, [X, TARGET - 9 * (TARGET == 1), WEIGHT],
         {"ignore_index": -8, "reduction": "none"},
         expected=[np.array([[-0.3, 0], [0, -0.2]], f32)]),
    Case("NegativeLogLikelihoodLoss", 22, [X.astype(bf16), TARGET], {"reduction": "sum"},
         expected=[np.array(-7, bf16)]),
    Case("NegativeLogLikelihoodLoss", 13, [X.astype(f16), TARGET], {"reduction": "sum"},
         expected=[np.array(-7, f16)]),
    Case("SoftmaxCrossEntropyLoss", 12, [EVEN, np.array([0, 3])],
         expected=[np.array(LOG4), np.full((2, 4), -LOG4)], outputs=2),
    Case("SoftmaxCrossEntropyLoss", 13, [EVEN.astype(bf16), np.array([0, 3])],
         expected=[np.array(LOG4, bf16)]),
    Case("SoftmaxCrossEntropyLoss", 12, [noise(2, 3, 4), np.zeros((2, 4), np.int64), noise(3)]),
    Case("SoftmaxCrossEntropyLoss", 13, [1000 * noise(2, 3, 4), np.ones((2, 4), np.int32)],
         outputs=2, note="no overflow"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_like_onnxruntime(data):
    draw = data.draw
    inner = draw(st.lists(st.integers(1, 4), max_size=2))
    n, classes = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.standard_normal((n, classes, *inner)).astype(f32)
    target = rng.integers(0, classes, (n, *inner)).astype(draw(st.sampled_from(["i4", "i8"])))
    attributes = {"reduction": draw(st.sampled_from(["none", "sum", "mean"]))}
    if draw(st.booleans()):
        attributes["ignore_index"] = -1
        target.flat[1:][rng.random(target.size - 1) < 0.4] = -1
    weight = rng.uniform(0.1, 1, classes).astype(f32) if draw(st.booleans()) else None
    name = draw(st.sampled_from(["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"]))
    case = Case(name, 13, [x, target, weight], attributes, outputs=1 + (name[0] == "S"))
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "inputs, attributes, message",
    [
        ([X, TARGET[:1]], {}, "target"),
        ([X, TARGET + 1], {}, "0 to 2"),
        ([X, TARGET - 1], {"ignore_index": 5}, "0 to 2"),
        ([X, TARGET, WEIGHT[:2]], {}, "weight"),
        ([X, TARGET], {"reduction": "max"}, "'max'"),
    ],
)
def test_refused(inputs, attributes, message):
    for name in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"):
        with pytest.raises(ValueError, match=message):
            run_directly(Case(name, 13, inputs, attributes))
