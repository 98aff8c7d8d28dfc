"""QLinear…: equal to ONNX Runtime where it is known how it rounds, or where every step is exact;
else at most one step away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core._multiarray_umath import __cpu_features__ as features
from onnx import helper, numpy_helper

import onnxwalk
from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    int8_weights,
    one_node_model,
    run_directly,
    run_onnxruntime,
)

MS = "com.microsoft"
#: whether the processor multiplies and adds with one rounding
HAS_FMA = any(features.get(name) for name in ("FMA3", "ASIMD"))
EVERY = np.arange(256, dtype=np.uint8)
SIGNED = EVERY.view(np.int8)


def s(value):
    return np.array(value, np.float32)


def u8(value):
    return np.array(value, np.uint8)


def i8(value):
    return np.array(value, np.int8)


def case(operator, inputs, attributes=None, expected=None, **more):
    return Case(operator, 1, inputs, attributes or {}, expected, 1, MS, **more)


def noise(*shape, dtype=np.uint8, seed=0):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(dtype)
    return int8_weights(x) if dtype == np.int8 else x


IMAGE, SIGNED_IMAGE = noise(2, 3, 6, 5), noise(2, 3, 6, 5, dtype=np.int8)
CONV = [noise(4, 3, 2, 2, dtype=np.int8, seed=1), s(0.25), i8(0), s(16), u8(99)]

# fmt: off
CASES = [
    case("QLinearAdd", [EVERY, s(0.5), u8(3), EVERY[::-1].copy(), s(2), u8(4), s(1), u8(5)]),
    # 0.5 + 1 rounds to 2, where a QuantizeLinear (0 + 1) would have given 1
    case("QLinearAdd", [u8([1, 3]), s(0.5), None, u8([0, 0]), s(1), None, s(1), u8(1)],
         expected=[u8([2, 2])], note="rounds with the zero point in"),
    case("QLinearAdd", [noise(2, 3, 4, dtype=np.int8), s(0.5), i8(-3), noise(3, 1, dtype=np.int8),
                        s(0.25), i8(7), s(2), i8(-5)], note="broadcasting"),
    case("QLinearAdd", [SIGNED, s(0.5), i8(0), i8([4]), s(2), i8(0), s(1), i8(0)]),
    case("QLinearMul", [EVERY, s(0.5), u8(3), EVERY[::-1].copy(), s(0.5), u8(4), s(8), u8(5)]),
    case("QLinearMul", [u8([1, 3]), s(0.5), None, u8([1, 1]), s(1), None, s(1), u8(1)],
         expected=[u8([2, 2])]),
    case("QLinearMul", [SIGNED, s(0.5), i8(1), i8([[3], [-3]]), s(1), i8(0), s(2), i8(-1)]),
    case("QLinearLeakyRelu", [EVERY, s(0.1), u8(100), s(0.07), u8(9)], {"alpha": 0.3}),
    case("QLinearLeakyRelu", [SIGNED, s(0.1), None, s(0.1), i8(0)]),
    case("QLinearLeakyRelu", [u8([9, 11]), s(1), u8(10), s(0.25), u8(1)], {"alpha": 0.5},
         expected=[u8([0, 5])]),
    case("QLinearSigmoid", [EVERY, s(0.05), u8(128), s(1 / 256), u8(0)]),
    case("QLinearSigmoid", [SIGNED, s(0.05), i8(0), s(1 / 256), i8(-128)]),
    case("QLinearSigmoid", [u8([5]), s(3), u8(5), s(1 / 256)], expected=[u8([128])]),
    case("QLinearSoftmax", [noise(2, 9), s(0.1), u8(3), s(1 / 256), u8(0)], {"opset": 13}),
    case("QLinearSoftmax", [noise(2, 4, 4), s(0.1), u8(3), s(1 / 256), u8(0)],
         {"opset": 11, "axis": 1}, note="flattened"),
    case("QLinearSoftmax", [noise(2, 4, 3), s(0.05), u8(3), s(1 / 256), u8(0)],
         {"opset": 13, "axis": 1}),
    case("QLinearSoftmax", [u8([[7, 7]]), s(3), None, s(1 / 256), u8(1)], {"opset": 13},
         expected=[u8([[129, 129]])]),
    case("QLinearWhere", [np.array([True, False, True]), u8([1, 2, 3]), s(1), u8(0),
                          u8([[10], [20]]), s(0.5), u8(2), s(1), u8(1)],
         expected=[u8([[2, 5, 4], [2, 10, 4]])]),
    case("QLinearWhere", [EVERY % 2 == 0, SIGNED, s(0.5), i8(3), SIGNED, s(0.3), i8(-4), s(0.7),
                          i8(2)]),
    case("QLinearConcat", [s(0.5), u8(4), noise(2, 3), s(0.25), u8(9), noise(2, 4), s(1), u8(0)],
         {"axis": 1}),
    case("QLinearConcat", [s(0.3), i8(4), noise(2, 3, dtype=np.int8), s(0.7), i8(9)], {"axis": -2}),
    case("QLinearConcat", [s(2), u8(1), u8([1, 2]), s(3), u8(1), u8([9]), s(2), u8(0)], {"axis": 0},
         expected=[u8([1, 3, 10])]),
    case("QLinearAveragePool", [IMAGE, s(0.5), u8(7), s(0.25), u8(3)], {
        "kernel_shape": [2, 2], "strides": [2, 1]}),
    case("QLinearAveragePool", [SIGNED_IMAGE, s(0.5), i8(7), s(0.5), i8(3)], {
        "kernel_shape": [2, 2], "pads": [1, 1, 0, 0], "count_include_pad": 1}),
    case("QLinearAveragePool", [IMAGE, s(0.5), u8(0), s(0.25), u8(0)], {
        "kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "channels_last": 1}),
    case("QLinearAveragePool", [IMAGE, s(0.5), u8(7), s(0.25), u8(3)], {
        "kernel_shape": [4, 2], "auto_pad": "SAME_UPPER"}),
    case("QLinearAveragePool", [u8([[[1, 3, 5, 9]]]), s(0.5), None, s(0.25)], {
        "kernel_shape": [2], "strides": [2]}, expected=[u8([[[4, 14]]])]),
    # in float32 0.75 / 0.1 is 7.5, a half, which goes to the even 8; in float64 it is less
    case("QLinearAveragePool", [u8([[[1, 3, 5]]]), s(0.25), u8(0), s(0.1), u8(0)], {
        "kernel_shape": [1]}, expected=[u8([[[2, 8, 12]]])]),
    case("QLinearGlobalAveragePool", [IMAGE, s(0.5), u8(7), s(0.25), u8(3)]),
    case("QLinearGlobalAveragePool", [SIGNED_IMAGE, s(0.5), i8(7), s(0.25), i8(3)],
         {"channels_last": 1}),
    case("QLinearReduceMean", [u8([[1, 3], [5, 9]]), s(0.5), u8(1), s(0.25), u8(2)],
         {"axes": [1], "keepdims": 1}, expected=[u8([[4], [14]])]),
    case("QLinearReduceMean", [i8([[1, 3], [5, 9]]), s(0.5), None, s(0.5)],
         {"axes": [0, -1], "keepdims": 0}, expected=[i8(4)]),
    case("QLinearConv", [IMAGE, s(0.5), u8(120), *CONV], {"pads": [1, 0, 0, 1]}),
    case("QLinearConv", [np.ascontiguousarray(np.moveaxis(IMAGE, 1, -1)), s(0.5), u8(120), *CONV,
                         np.array([9, -99, 999, 0], np.int32)],
         {"channels_last": 1, "strides": [2, 1]}),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


def exact(draw):
    """A scale that is a power of two: products, sums and quotients are exact in any order."""
    return s(2.0 ** draw(st.integers(-3, 3)))


def rough(draw):
    return s(draw(st.floats(0.015625, 3, width=32)))


@st.composite
def nodes(draw, scale):
    dtype = np.dtype(draw(st.sampled_from([np.uint8, np.int8])))
    seed = draw(st.integers(0, 9))

    def zero():
        return np.array(draw(st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max)), dtype)

    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    x = noise(*shape, dtype=dtype, seed=seed)
    names = ["QLinearAdd", "QLinearMul", "QLinearLeakyRelu", "QLinearConcat", "QLinearWhere"]
    name = draw(st.sampled_from([*names, "QLinearAveragePool", "QLinearGlobalAveragePool"]))
    first, last = [scale(draw), zero()], [scale(draw), zero()]
    if name in ("QLinearAdd", "QLinearMul"):
        other = [size if draw(st.booleans()) else 1 for size in shape]
        other = noise(*other[draw(st.integers(0, len(other) - 1)) :], dtype=dtype, seed=seed + 1)
        return case(name, [x, *first, other, scale(draw), zero(), *last])
    if name == "QLinearLeakyRelu":
        return case(name, [x, *first, *last], {"alpha": draw(st.sampled_from([0.25, 0.5]))})
    if name == "QLinearConcat":
        y = noise(*shape, dtype=dtype, seed=seed + 1)
        axis = draw(st.integers(-len(shape), len(shape) - 1))
        return case(name, [*last, x, *first, y, scale(draw), zero()], {"axis": axis})
    if name == "QLinearWhere":
        condition = noise(*shape, seed=3) > 99
        y = noise(*shape, dtype=dtype, seed=seed + 1)
        return case(name, [condition, x, *first, y, scale(draw), zero(), *last])
    # 1, 2 or 4 values: a mean that is exact
    x = noise(2, draw(st.integers(1, 3)), 4, 2, dtype=dtype, seed=seed)
    attributes = {"channels_last": 0}
    if name == "QLinearAveragePool":
        attributes["kernel_shape"] = [draw(st.sampled_from([1, 2, 4])), 2]
    return case(name, [x, *first, *last], attributes)


@settings(max_examples=150, deadline=None)
@given(nodes(exact))
def test_equal_where_every_step_is_exact(case):
    assert_same(run_directly(case), run_onnxruntime(one_node_model(case), feeds_of(case)))


@settings(max_examples=100, deadline=None)
@given(nodes(rough))
def test_one_step_away_at_most(case):
    ours, theirs = run_directly(case)[0], run_onnxruntime(one_node_model(case), feeds_of(case))[0]
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert np.abs(ours.astype(int) - theirs).max(initial=0) <= 1


# fmt: off
REFUSED = [
    (case("QLinearAdd", [EVERY, s([1, 2]), u8(0), EVERY, s(1), u8(0), s(1)]), "one value"),
    (case("QLinearAdd", [EVERY, s(1), i8(0), EVERY, s(1), u8(0), s(1)]), "zero point \\(int8\\)"),
    (case("QLinearAdd", [EVERY, s(1), u8(0), SIGNED, s(1), i8(0), s(1)]), "B \\(int8\\)"),
    (case("QLinearConcat", [s(1), u8(0), EVERY, s(1)], {"axis": 0}), "expected a scale"),
    (case("QLinearReduceMean", [EVERY, s(1), u8(0), s(1)], {"axes": [1], "keepdims": 1}), "range"),
]
# fmt: on


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)


def steps_apart(name, domain, inputs):
    """How far the bytes of a node are from ONNX Runtime's, at most. Large inputs are fed, small
    ones are initializers."""
    names = [f"i{k}" for k in range(len(inputs))]
    fed = {n: x for n, x in zip(names, inputs, strict=True) if x.size > 1000}
    graph = helper.make_graph(
        [helper.make_node(name, names, ["y"], domain=domain)], "g",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
         for n, x in fed.items()],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(x, n) for n, x in zip(names, inputs, strict=True) if n not in fed],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (expected,) = run_onnxruntime(proto, fed)
    worst = 0
    for optimize in (True, False):
        (found,) = onnxwalk.load(proto, optimize=optimize).run(None, fed)
        worst = max(worst, int(np.abs(found.astype(int) - expected.astype(int)).max()))
    return worst


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("name", ["QLinearAdd", "QLinearMul"])
def test_all_pairs_of_bytes_have_onnx_runtimes_bits(name, dtype):
    """Also at odd scales, where a few pairs are near the middle of two steps: the order in which
    ONNX Runtime rounds decides them (with FMA instructions; without, within a step)."""
    limits = np.iinfo(dtype)
    every = np.arange(limits.min, limits.max + 1)
    a, b = (x.ravel().astype(dtype) for x in np.meshgrid(every, every))
    rng = np.random.default_rng(0)
    for _ in range(25):
        zeros = rng.integers(limits.min, limits.max + 1, 3).astype(dtype)
        scales = rng.uniform(0.01, 0.1, 3).astype(np.float32)
        scales[2] *= 8 if name == "QLinearMul" else 1
        given = [x.reshape(()) for pair in zip(scales, zeros, strict=True) for x in pair]
        inputs = [a, *given[:2], b, *given[2:]]
        apart = steps_apart(name, "com.microsoft", inputs)
        assert apart <= (name == "QLinearAdd" and not HAS_FMA)


def test_convolutions_have_onnx_runtimes_bits_at_any_scale():
    """Where the order in which scales are rounded decides to which step a sum goes: such sums are
    searched, and made by the bias alone."""
    rng = np.random.default_rng(0)
    x_scale, y_scale, found = s(0.027829738), s(0.3349567), []
    for scale in rng.uniform(0.0002, 0.001, 1000).astype(np.float32):
        factor = x_scale * scale / y_scale
        other = np.float32(np.float64(x_scale) * scale / y_scale)
        sums = np.rint((np.arange(-100, 100) + 0.5) / factor).astype(np.int32)
        differ = np.rint(sums.astype(np.float32) * factor) != np.rint(sums * other)
        found += [(scale, total) for total in sums[differ]]
    scales, sums = (np.array(values) for values in zip(*found, strict=True))
    assert len(sums) > 10
    inputs = [
        np.full((1, 1, 32, 32), 7, np.uint8), x_scale, u8(7),
        np.ones((len(sums), 1, 1, 1), np.int8), scales, np.zeros(len(sums), np.int8),
        y_scale, u8(124), sums.astype(np.int32),
    ]  # fmt: skip
    assert steps_apart("QLinearConv", "", inputs) == 0
