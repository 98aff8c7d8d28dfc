"""Opset 1 to 6, which neither ONNX Runtime loads nor ONNX's own suite covers.

The expected values are worked out from the spec's words. Each case but those of
``consumed_inputs``, which changed nothing, would be wrong or refused under the newer meaning.
"""

import numpy as np
import pytest

from tests.support.harness import Case, check, run_directly

INF, NAN = np.inf, np.nan
CONSUMED = {"consumed_inputs": [0, 0]}


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def old(name, opset, inputs, y, *, dtype=np.float32, out=None, outputs=1, **attributes):
    """A case of inputs of one dtype; ``out`` is another one of the output."""
    expected = [f(v, out or dtype) for v in (y if outputs > 1 else [y])]
    return Case(name, opset, [f(x, dtype) for x in inputs], attributes, expected, outputs)


A = [[1, 2], [3, 4]]
TRUTH = [[True, False], [True, False]]
#: x, what the function makes of it
ELEMENTWISE = {
    "Abs": ([-2, 3], [2, 3]),
    "Ceil": ([-1.5, 1.2], [-1, 2]),
    "Elu": ([-INF, 3], [-1, 3]),
    "Exp": ([0, -INF], [1, 0]),
    "Floor": ([-1.5, 1.2], [-2, 1]),
    "HardSigmoid": ([-9, 0, 9, 1], [0, 0.5, 1, 0.7]),
    "LeakyRelu": ([-100, 3], [-1, 3]),
    "Log": ([1, 0], [0, -INF]),
    "Neg": ([-2, 3], [2, -3]),
    "Reciprocal": ([2, -4], [0.5, -0.25]),
    "Relu": ([-2, 3], [0, 3]),
    "Sigmoid": ([0, INF], [0.5, 1]),
    "Sqrt": ([4, 9], [2, 3]),
    "Tanh": ([0, INF], [0, 1]),
}
COMPARED = {"dtype": np.float32, "out": np.bool_}
LOGICAL = {"dtype": np.bool_}


def batch_norm(opset, outputs, y, **attributes):
    """Two channels, (2, 2, 1); the batch's means are 2 and 0, its variances 1 and 4."""
    inputs = [[[[1], [2]], [[3], [-2]]], [1, 2], [0, 1], [4, 4], [4, 4]]
    if opset < 6:
        attributes["consumed_inputs"] = [0, 0, 0, 1, 1]
    return old("BatchNormalization", opset, inputs, y, outputs=outputs, epsilon=0.0, **attributes)


BY_BATCH = [[[-1], [3]], [[1], [-1]]]
BY_GIVEN = [[[-1.5], [-1]], [[-0.5], [-5]]]
# running = given·0.75 + batch's·0.25
STATISTICS = [[3.5, 3], [3.25, 4], [2, 0], [1, 4]]
PLACES = [[[1], [2]], [[3], [-2]]]

CASES = [
    *(old(name, 1, [x], y, consumed_inputs=[0]) for name, (x, y) in ELEMENTWISE.items()),
    *(old(name, 1, [[1, 5], [3, 1]], y, **CONSUMED)
      for name, y in {"Max": [3, 5], "Min": [1, 1], "Sum": [4, 6], "Mean": [2, 3]}.items()),
    # "1-dim": from axis 0 on, b belongs to the rows. NumPy's rule has it belong to the columns.
    *(old(name, opset, [A, [10, 20]], y, axis=0, broadcast=1)
      for opset in (1, 6)
      for name, y in {
          "Add": [[11, 12], [23, 24]],
          "Sub": [[-9, -8], [-17, -16]],
          "Mul": [[10, 20], [60, 80]],
          "Div": [[0.1, 0.2], [0.15, 0.2]],
      }.items()),
    *(old(name, 1, [A, A], y, **CONSUMED)
      for name, y in {"Add": [[2, 4], [6, 8]], "Sub": [[0, 0], [0, 0]],
                      "Mul": [[1, 4], [9, 16]], "Div": [[1, 1], [1, 1]]}.items()),
    old("Pow", 1, [A, [2, 1]], [[1, 4], [3, 4]], axis=0, broadcast=1),
    old("Greater", 1, [A, [1, 4]], [[False, True], [False, False]], axis=0, broadcast=1,
        **COMPARED),
    old("Less", 1, [A, [2, 4]], [[True, False], [True, False]], axis=0, broadcast=1, **COMPARED),
    old("Equal", 1, [A, [1, 4]], [[True, False], [False, True]], axis=0, broadcast=1,
        dtype=np.int32, out=np.bool_),
    old("And", 1, [TRUTH, [True, False]], [[True, False], [False, False]], axis=0, broadcast=1,
        **LOGICAL),
    old("Or", 1, [TRUTH, [False, True]], [[True, False], [True, True]], axis=0, broadcast=1,
        **LOGICAL),
    old("Xor", 1, [TRUTH, [False, True]], [[True, False], [False, True]], axis=0, broadcast=1,
        **LOGICAL),
    # the spec's examples: a scalar, one element, a suffix, a middle part
    old("Add", 6, [A, 10], [[11, 12], [13, 14]], broadcast=1, dtype=np.int64),
    old("Add", 6, [A, [[10]]], [[11, 12], [13, 14]], broadcast=1),
    old("Add", 6, [A, [10, 20]], [[11, 22], [13, 24]], broadcast=1),
    old("Mul", 6, [np.ones((2, 3, 4, 5)), np.arange(12).reshape(3, 4)],
        np.ones((2, 3, 4, 5)) * np.arange(12).reshape(3, 4, 1), axis=1, broadcast=1),
    # slopes of channels; from 7 on they would be those of the last axis
    old("PRelu", 1, [[[[-1, -2], [-3, 4]]], [2, 10]], [[[-2, -4], [-30, 4]]], **CONSUMED),
    old("PRelu", 6, [[[[-1, -2], [-3, 4]]], [2, 10]], [[[-2, -4], [-30, 4]]]),
    old("PRelu", 6, [[[[-1, -2], [-3, 4]]], [2]], [[[-2, -4], [-6, 4]]]),
    # its defaults have five digits only
    old("Selu", 1, [[2e6, -INF]], [2101399.898529053, -1.7580312], consumed_inputs=[0]),
    old("Clip", 1, [[-INF, 0, 7]], [-3.4028235e38, 0, 1], max=1.0, consumed_inputs=[0]),
    # float16's own limits; those of Clip-6 would be those of float32
    old("Clip", 1, [[-INF, 0, INF]], [-65504, 0, 65504], dtype=np.float16),
    old("Gemm", 1, [A, A, [[1, 1], [2, 2]]], [[8, 11], [17, 24]]),
    old("Gemm", 6, [A, A, [1, 2]], [[4.5, 7], [8.5, 13]], broadcast=1, alpha=0.5),
    old("InstanceNormalization", 1, [[[[1, 3]]], [2], [1]], [[[-1, 3]]], epsilon=0.0,
        consumed_inputs=[0]),
    # one output is training all the same, unless is_test is set
    *(batch_norm(opset, 1, BY_BATCH) for opset in (1, 6)),
    *(batch_norm(opset, 5, [BY_BATCH, *STATISTICS], momentum=0.75) for opset in (1, 6)),
    *(batch_norm(opset, 1, BY_GIVEN, is_test=1) for opset in (1, 6)),
    # spatial=0: one mean for each place
    old("BatchNormalization", 6, [[[[1, 2]], [[5, 2]]], *[[[v, v]] for v in (1, 0, 0, 1)]],
        [[[1, 2]], [[5, 2]]], epsilon=0.0, is_test=1, spatial=0),
    *(old("Dropout", opset, [A], [A, np.ones((2, 2))], outputs=2, **attributes)
      for opset in (1, 6) for attributes in ({"ratio": 0.0}, {"is_test": 1})),
    old("Dropout", 1, [A], A, is_test=1, consumed_inputs=[0]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


def test_dropout_trains_by_default():
    x = np.full(10_000, 3, np.float32)
    y, mask = run_directly(Case("Dropout", 6, [x], {"ratio": 0.25}, outputs=2))
    np.testing.assert_allclose(y, np.where(mask, 4, 0))
    assert mask.dtype == np.float32 and 0.73 < mask.mean() < 0.77


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (old("Add", 6, [A, [1, 2]], A), "broadcast is not set"),
        (old("Add", 6, [A, [1, 2, 3]], A, broadcast=1), "does not match consecutive axes"),
        (old("Add", 6, [[1, 2], A], A, broadcast=1), "does not match consecutive axes"),
        (old("Add", 6, [A, A[:1]], A, broadcast=1, axis=1), "from axis 1 on"),
        (old("Gemm", 6, [A, A, [1, 2]], A), "unless broadcast is set"),
        (
            old("PRelu", 6, [[A], [1, 2, 3]], A),
            "slope \\(3,\\) should have one value for each channel",
        ),
        (old("BatchNormalization", 6, [[A], *[[1]] * 4], A), "scale .* should be"),
        (old("Dropout", 6, [A], A, ratio=1.0), "ratio of Dropout"),
    ],
    ids=str,
)
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)
