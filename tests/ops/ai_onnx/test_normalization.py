import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwalk.ops import registry
from tests.support.dense_strategies import arrays, check_with_onnxruntime, modestly
from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
    run_onnxwalk,
)

BF16, F16 = ml_dtypes.bfloat16, np.float16
FLOAT, DOUBLE, BFLOAT16 = 1, 11, 16  # TensorProto.DataType


def f(values, dtype=np.float32):
    return np.array(values, dtype)


# Two channels, one with mean 2 and variance 1, one with mean 10 and variance 9.
X = f([[[1, 3], [7, 13]], [[3, 1], [13, 7]]])
MEAN, VAR = f([2, 10]), f([1, 9])
SCALE, B = f([1, 2]), f([0, 5])
Y = f([[[-1, 1], [3, 7]], [[1, -1], [7, 3]]])
EXACT = {"epsilon": 0.0}
TRAINED = {"training_mode": 1, "momentum": 0.75, **EXACT}
#: running = 0.75·input + 0.25·current, with inputs of 0 and 1
RUNNING_MEAN, RUNNING_VAR = f([0.5, 2.5]), f([1, 3])
ZERO, ONE = f([0, 0]), f([1, 1])

BY_HAND = [
    *(
        Case("BatchNormalization", opset, [X, SCALE, B, MEAN, VAR], EXACT, [Y])
        for opset in (7, 9, 14, 15)
    ),
    # training in opset 7 and 9 is having five outputs
    *(
        Case("BatchNormalization", opset, [X, SCALE, B, ZERO, ONE], {"momentum": 0.75, **EXACT},
             [Y, RUNNING_MEAN, RUNNING_VAR, MEAN, VAR], outputs=5, note="training")
        for opset in (7, 9)
    ),
    Case("BatchNormalization", 14, [X, SCALE, B, ZERO, ONE], TRAINED,
         [Y, RUNNING_MEAN, RUNNING_VAR], outputs=3, note="training"),
    Case("BatchNormalization", 15,
         [X.astype(F16), SCALE, B, f(ZERO, np.float64), f(ONE, np.float64)], TRAINED,
         [Y.astype(F16), f(RUNNING_MEAN, np.float64), f(RUNNING_VAR, np.float64)], outputs=3,
         note="mixed dtypes"),
    # spatial=0: one value for each place, not for each channel
    Case("BatchNormalization", 7,
         [f([[[1, 2]], [[3, 6]]]), f([[1, 1]]), f([[0, 1]]), f([[2, 4]]), f([[1, 4]])],
         {"spatial": 0, **EXACT}, [f([[[-1, 0]], [[1, 2]]])]),
    Case("BatchNormalization", 7,
         [f([[[1, 2]], [[3, 6]]]), f([[1, 1]]), f([[0, 1]]), f([[0, 0]]), f([[1, 1]])],
         {"spatial": 0, "momentum": 0.5, **EXACT},
         [f([[[-1, 0]], [[1, 2]]]), f([[1, 2]]), f([[1, 2.5]]), f([[2, 4]]), f([[1, 4]])],
         outputs=5, note="training, spatial=0"),
    # "accepts single dimension input of size N in which case C is assumed to be 1"
    Case("BatchNormalization", 9, [f([1, 3]), f([2]), f([1]), f([2]), f([4])], EXACT, [f([0, 2])]),
    Case("BatchNormalization", 14, [f([1, 3]), f([2]), f([1]), f([0]), f([1])], TRAINED,
         [f([-1, 3]), f([0.5]), f([1])], outputs=3),
    # a flat channel is b, exactly, where x·factor + shift has only the digits of x·factor
    Case("BatchNormalization", 14, [f([[65504], [65504]], F16)] + [f([1], F16), f([0], F16)] * 2,
         TRAINED | {"epsilon": 1e-5, "momentum": 1.0},
         [f([[0], [0]], F16), f([1], F16), f([0], F16)], outputs=3),
    # 60000² overflows in float16
    Case("BatchNormalization", 14, [f([[60000], [-60000]], F16)] + [f([1], F16), f([0], F16)] * 2,
         {"training_mode": 1, "momentum": 1.0}, [f([[1], [-1]], F16), f([1], F16), f([0], F16)],
         outputs=3),
    Case("InstanceNormalization", 6, [X, SCALE, B], EXACT, [Y]),
    Case("InstanceNormalization", 22, [X.astype(BF16), SCALE.astype(BF16), B.astype(BF16)], EXACT,
         [Y.astype(BF16)]),
    Case("LayerNormalization", 17, [f([[1, 3], [7, 13]]), f([1, 2]), f([0, 5])], EXACT,
         [f([[-1, 7], [-1, 7]]), f([[2], [10]]), f([[1], [1 / 3]])], outputs=3),
    Case("LayerNormalization", 17, [f([[1, 3], [1, 3]]), f([[1, 2], [3, 4]])],
         {"axis": 0, **EXACT}, [f([[-1, 2], [-3, 4]]), f([[2]]), f([[1]])], outputs=3),
    Case("LayerNormalization", 17, [f([[1, 3]], F16), f([1, 2], F16)], EXACT,
         [f([[-1, 2]], F16), f([[2]]), f([[1]])], outputs=3),
    Case("LayerNormalization", 17, [f([[1, 3]], BF16), f([1, 2], BF16)],
         {"stash_type": BFLOAT16, **EXACT},
         [f([[-1, 2]], BF16), f([[2]], BF16), f([[1]], BF16)], outputs=3),
    # the statistics of float32 cannot tell these apart; those of double can
    Case("LayerNormalization", 17, [f([1e9, 1e9 + 2], np.float64), f([1, 1], np.float64)],
         {"stash_type": DOUBLE, **EXACT}, [f([-1, 1], np.float64)]),
    # a scale for each group (18), and for each channel (21): the two channels of X are one group
    Case("GroupNormalization", 18, [f([[[1], [3], [7], [13]]]), f([1, 2]), f([0, 5])],
         {"num_groups": 2, **EXACT}, [f([[[-1], [1], [3], [7]]])]),
    Case("GroupNormalization", 18, [f([[[1], [3]]], F16), f([2], F16), f([1], F16)],
         {"num_groups": 1, **EXACT}, [f([[[-1], [3]]], F16)]),
    Case("GroupNormalization", 21,
         [f([[[1], [3], [7], [13]]]), f([1, 2, 3, 4]), f([0, 0, 0, 5])],
         {"num_groups": 2, **EXACT}, [f([[[-1], [2], [-3], [9]]])]),
    Case("GroupNormalization", 21, [f([[[1], [3]]], BF16), f([2, 2], BF16), f([1, 1], BF16)],
         {"num_groups": 1, "stash_type": FLOAT, **EXACT}, [f([[[-1], [3]]], BF16)]),
    Case("GroupNormalization", 21, [f([[[9999], [10001]]]), f([1, 1]), f([0, 0])],
         {"num_groups": 1, **EXACT}, [f([[[-1], [1]]])], note="a small variance at a large mean"),
    Case("RMSNormalization", 23, [f([[1, 7]]), f([1, 2])], EXACT, [f([[0.2, 2.8]])]),
    Case("RMSNormalization", 23, [f([[1, 7]], F16), f([1, 2])], EXACT, [f([[0.2, 2.8]])],
         rtol=1e-3, note="in the dtype of scale"),
    Case("RMSNormalization", 23, [f([[300], [2100]], F16), f([[1], [2]], F16)], {"axis": 0},
         [f([[0.2], [2.8]], F16)], rtol=1e-3),
    Case("MeanVarianceNormalization", 9, [f([[[[1, 3]], [[7, 13]]]])], {},
         [f([[[[-1, 1]], [[-1, 1]]]])]),
    Case("MeanVarianceNormalization", 13, [f([[1, 7], [3, 13]], BF16)], {"axes": [0]},
         [f([[-1, -1], [1, 1]], BF16)]),
    Case("MeanVarianceNormalization", 13, [f([[9999], [10001]])], {"axes": [0]},
         [f([[-1], [1]])], note="a small variance at a large mean"),
    Case("MeanVarianceNormalization", 13, [f([[7, 7]])], {"axes": [-1]}, [f([[0, 0]])]),
    Case("LpNormalization", 7, [f([[3, 4], [0, 0]])], {}, [f([[0.6, 0.8], [0, 0]])]),
    Case("LpNormalization", 22, [f([[-3, 1], [1, 1]])], {"p": 1, "axis": 0},
         [f([[-0.75, 0.5], [0.25, 0.5]])]),
    Case("LpNormalization", 22, [f([300, 400], F16)], {}, [f([0.6, 0.8], F16)], rtol=1e-3),
    # size 3: one channel before and one after; size 2: only one after
    Case("LRN", 7, [f([[[1], [2], [3]]])], {"size": 3, "alpha": 3.0, "beta": 1.0},
         [f([[[1 / 6], [2 / 15], [3 / 14]]])]),
    Case("LRN", 13, [f([[[1], [2], [3]]])], {"size": 2, "alpha": 2.0, "beta": 1.0, "bias": 2.0},
         [f([[[1 / 7], [2 / 15], [3 / 11]]])]),
    Case("LRN", 13, [f([[[1], [2]]])], {"size": 9, "alpha": 9.0, "beta": 1.0},
         [f([[[1 / 6], [2 / 6]]])]),
    Case("LRN", 13, [f([[[300]]], F16)], {"size": 1, "alpha": 1.0, "beta": 0.5},
         [f([[[1]]], F16)], rtol=1e-3),
    # The mask has the dtype of data until opset 10. What it holds is not said before opset 12:
    # "it will contain all ones". (ONNX Runtime gives all zeros in opset 7 and 10, ones from 12.)
    Case("Dropout", 7, [X], {}, [X, np.ones_like(X)], outputs=2),
    Case("Dropout", 10, [X], {}, [X, np.ones(X.shape, bool)], outputs=2),
    Case("Dropout", 10, [X], {"ratio": 0.9}, [X]),
    Case("Dropout", 12, [X, f(0.9)], {}, [X, np.ones(X.shape, bool)], outputs=2),
    Case("Dropout", 13, [X, f(0), np.array(True)], {}, [X, np.ones(X.shape, bool)], outputs=2),
    Case("Dropout", 22, [X.astype(ml_dtypes.float8_e5m2)], {}, [X.astype(ml_dtypes.float8_e5m2)]),
]  # fmt: skip

RANDOM = np.random.default_rng(0).normal(1, 2, (2, 4, 3, 5)).astype(np.float32)
FOUR = f([1, 2, 0.5, -1])
BY_ORT = [
    *(
        Case("BatchNormalization", opset, [RANDOM, FOUR, FOUR, FOUR, np.abs(FOUR)])
        for opset in (7, 9, 14, 15)
    ),
    *(
        Case(
            "BatchNormalization",
            opset,
            [RANDOM, FOUR, FOUR, FOUR, np.abs(FOUR)],
            {"training_mode": 1},
            outputs=3,
            note="training",
        )
        for opset in (14, 15)
    ),
    Case("InstanceNormalization", 7, [RANDOM, FOUR, FOUR]),
    *(
        Case("LayerNormalization", 17, [RANDOM, scale, scale], {"axis": axis}, outputs=3)
        for axis, scale in ((-1, f([1, 2, 3, 4, 5])), (1, RANDOM[0]), (-2, RANDOM[0, 0]))
    ),
    Case("GroupNormalization", 18, [RANDOM, f([1, 2]), f([3, 4])], {"num_groups": 2}),
    Case("GroupNormalization", 21, [RANDOM, FOUR, FOUR], {"num_groups": 2}),
    Case("RMSNormalization", 23, [RANDOM, f([1, 2, 3, 4, 5])]),
    Case("RMSNormalization", 23, [RANDOM, RANDOM[0]], {"axis": 1}),
    *(Case("MeanVarianceNormalization", opset, [RANDOM]) for opset in (9, 13)),
    *(
        Case("LpNormalization", opset, [RANDOM], {"axis": axis, "p": p})
        for opset, axis, p in ((7, -1, 1), (7, 1, 2), (22, 0, 2))
    ),
    *(Case("LRN", opset, [RANDOM], {"size": 3, "alpha": 0.5}) for opset in (7, 13)),
    *(Case("Dropout", opset, [RANDOM]) for opset in (7, 10, 12, 13, 22)),
    Case("Dropout", 13, [RANDOM], outputs=2),
]
CASES = BY_HAND + BY_ORT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("opset", [7, 9])
def test_training_by_five_outputs(opset):
    case = Case("BatchNormalization", opset, [RANDOM, FOUR, FOUR, FOUR, np.abs(FOUR)], outputs=5)
    ours = run_directly(case)
    theirs = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(ours[:4], theirs[:4])
    # The spec calls the fifth the "saved variance"; ONNX Runtime gives 1 / √(variance + ε).
    assert_same(1 / np.sqrt(ours[4] + np.float32(1e-5)), theirs[4])


shapes = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)


def values(dtype, shape):
    return arrays(dtype, shape, special=False, largest=8)


@modestly
@given(
    shape=st.lists(st.integers(0, 4), min_size=2, max_size=4).map(tuple).filter(lambda s: s[1]),
    dtype=st.sampled_from([np.float32, np.float64]),
    opset=st.sampled_from([9, 14, 15]),
    data=st.data(),
)
def test_batch_normalization(shape, dtype, opset, data):
    x = data.draw(values(dtype, shape))
    scale, b, mean, var = (data.draw(values(dtype, shape[1:2])) for _ in range(4))
    check_with_onnxruntime(
        Case("BatchNormalization", opset, [x, scale, b, mean, np.abs(var) + 1], atol=1e-5)
    )


@modestly
@given(shape=shapes, data=st.data())
def test_batch_normalization_in_training(shape, data):
    x = data.draw(values(np.float32, shape))
    scale, b, mean, var = (data.draw(values(np.float32, shape[1:2])) for _ in range(4))
    attributes = {"training_mode": 1, "momentum": 0.7, "epsilon": 1e-2}
    case = Case("BatchNormalization", 15, [x, scale, b, mean, var], attributes, outputs=3)
    check_with_onnxruntime(Case(**{**vars(case), "atol": 1e-4}))


@modestly
@given(shape=shapes, dtype=st.sampled_from([np.float32, np.float64, np.float16]), data=st.data())
def test_layer_normalization(shape, dtype, data):
    x = data.draw(values(dtype, shape))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    scale = data.draw(values(dtype, shape[axis:]))
    b = data.draw(st.none() | values(dtype, scale.shape))
    # In float16, ONNX Runtime scales and shifts in float32 and rounds once, where the spec casts
    # the normalized values back first: two roundings of up to 8·3.5 more.
    short = dtype is np.float16
    check_with_onnxruntime(
        Case(
            "LayerNormalization",
            17,
            [x, scale] if b is None else [x, scale, b],
            {"axis": axis, "epsilon": 1e-2},
            outputs=3,
            rtol=2e-3 if short else 1e-5,
            atol=3e-2 if short else 1e-5,
        )
    )


@modestly
@given(shape=shapes, dtype=st.sampled_from([np.float32, np.float64]), data=st.data())
def test_rms_normalization(shape, dtype, data):
    x = data.draw(values(dtype, shape))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    scale = data.draw(values(dtype, shape[axis:]))
    check_with_onnxruntime(
        Case("RMSNormalization", 23, [x, scale], {"axis": axis, "epsilon": 1e-2}, atol=1e-5)
    )


@modestly
@given(
    shape=shapes.filter(lambda s: len(s) > 2),
    opset=st.sampled_from([18, 21]),
    groups=st.integers(1, 3),
    data=st.data(),
)
def test_groups_and_instances(shape, opset, groups, data):
    n, c, *rest = shape
    c *= groups
    x = data.draw(values(np.float32, (n, c, *rest)))
    scale, b = (data.draw(values(np.float32, (groups if opset < 21 else c,))) for _ in range(2))
    # ONNX Runtime expands GroupNormalization to the mean of the squares less the square of the
    # mean, whose rounding error a small epsilon would enlarge.
    attributes = {"num_groups": groups, "epsilon": 1.0}
    check_with_onnxruntime(Case("GroupNormalization", opset, [x, scale, b], attributes, atol=1e-4))
    scale, b = (data.draw(values(np.float32, (c,))) for _ in range(2))
    check_with_onnxruntime(
        Case("InstanceNormalization", 6, [x, scale, b], {"epsilon": 1e-2}, atol=1e-4)
    )


@modestly
@given(shape=shapes, dtype=st.sampled_from([np.float32, np.float64]), data=st.data())
def test_along_axes(shape, dtype, data):
    x = data.draw(values(dtype, shape))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    p = data.draw(st.integers(1, 2))
    check_with_onnxruntime(Case("LpNormalization", 7, [x], {"axis": axis, "p": p}))
    if x.ndim == 4 and dtype is np.float32:
        size = data.draw(st.sampled_from([1, 3, 5]))  # ONNX Runtime has 4 axes and odd sizes only
        attributes = {"size": size, "alpha": 0.5, "beta": 0.6, "bias": 2.0}
        check_with_onnxruntime(Case("LRN", 13, [x], attributes))


@modestly
@given(data=st.data())
def test_mean_variance_normalization(data):
    # distinct values: of equal ones the variance is 0 here, and rounding error in ONNX Runtime,
    # which takes the mean of the squares less the square of the mean
    shape = data.draw(shapes)
    x = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(np.prod(shape))
    x = x.reshape(shape).astype(np.float32)
    axes = [a for a in range(x.ndim) if shape[a] > 1 and data.draw(st.booleans())]
    if axes:
        check_with_onnxruntime(
            Case("MeanVarianceNormalization", 13, [x], {"axes": axes}, rtol=1e-4, atol=1e-5)
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, F16, BF16])
def test_dropout_in_training(dtype):
    x = np.ones((100, 100), dtype)
    case = Case("Dropout", 13, [x, f(0.25), np.array(True)], outputs=2)
    y, mask = run_directly(case)
    assert y.dtype == dtype and mask.dtype == bool
    assert 0.7 < mask.mean() < 0.8, "each is kept with chance 1 - ratio"
    assert_same(y, np.where(mask, 4 / 3, 0).astype(dtype))
    dropout = registry.lookup("", "Dropout", 13).function
    training = np.array(True)
    assert dropout(x, training_mode=training, seed=3)[1].mean() < 0.6, "the ratio is 1/2 by default"
    once, again, other = (
        dropout(x, training_mode=training, seed=seed, n_outputs=2)[1] for seed in (3, 3, 4)
    )
    assert (once == again).all() and (once != other).any()
    rng = np.random.default_rng(5)
    first, second = (dropout(x, training_mode=training, rng=rng)[1] for _ in range(2))
    assert (first != second).any(), "the session's generator goes on"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("BatchNormalization", 15, [X, SCALE, B, MEAN, VAR], outputs=3), "one output unless"),
        (Case("BatchNormalization", 15, [X, f([1]), f([1]), f([1]), f([1])]), "parameter of shape"),
        (Case("BatchNormalization", 15, [X, SCALE, B, MEAN, f([1])]), "different shapes"),
        (
            Case("BatchNormalization", 9, [X] + [np.ones((2, 2), np.float32)] * 4),
            "scale .* should be",
        ),
        (Case("InstanceNormalization", 22, [f([[1]]), f([1]), f([1])]), "InstanceNormalization"),
        (Case("LayerNormalization", 17, [X, SCALE], {"axis": 3}), "out of range"),
        (Case("LayerNormalization", 17, [X, f([1, 2, 3])]), "broadcast"),
        (Case("LayerNormalization", 17, [X, SCALE], {"stash_type": 7}), "stash_type 7"),
        (Case("GroupNormalization", 21, [X, SCALE, B], {"num_groups": 3}), "num_groups 3"),
        (Case("GroupNormalization", 18, [X, SCALE, B], {"num_groups": 1}), "should be"),
        (Case("MeanVarianceNormalization", 13, [X]), "axis 3 is out of range"),
        (Case("LpNormalization", 22, [X], {"p": 3}), "p of LpNormalization"),
        (Case("LRN", 13, [X], {"size": 0}), "size 0"),
        (Case("Dropout", 13, [X, f(1), np.array(True)]), "ratio of Dropout"),
    ],
    ids=str,
)
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)


def test_no_warning_escapes():
    x = f([[[3e38, -3e38, 3e38]], [[np.inf, np.nan, 0]]])
    one = f([1])
    with np.errstate(all="raise"):
        run_onnxwalk(Case("BatchNormalization", 15, [x, one, one, one, one * 0], EXACT))
        run_onnxwalk(Case("BatchNormalization", 15, [x, one, one, one, one], TRAINED, outputs=3))
        run_onnxwalk(Case("InstanceNormalization", 22, [x, one, one]))
        run_onnxwalk(Case("LayerNormalization", 17, [np.zeros_like(x), f([1, 1, 1])], EXACT))
        run_onnxwalk(Case("GroupNormalization", 21, [x, one, one], {"num_groups": 1}))
        run_onnxwalk(Case("RMSNormalization", 23, [x, f([1, 1, 1])]))
        run_onnxwalk(Case("MeanVarianceNormalization", 13, [x], {"axes": [0, 2]}))
        run_onnxwalk(Case("LpNormalization", 22, [x]))
        run_onnxwalk(Case("LRN", 13, [x], {"size": 3}))
        run_onnxwalk(Case("Dropout", 13, [x, f(0.5), np.array(True)]))
