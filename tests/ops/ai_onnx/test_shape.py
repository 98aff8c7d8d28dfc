"""Operators that rearrange elements, against hand-worked answers and ONNX Runtime."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops import registry
from tests.support.harness import Case, check, run_directly

F = np.float32


def ints(*values):
    return np.array(values, np.int64)


def text(*values):
    return np.array(values, object)


def counting(*shape, dtype=F):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


X = counting(2, 3, 4)
WORDS = text("a", "b", "c", "d").reshape(2, 2)

RESHAPE = [
    Case("Reshape", 1, [X], {"shape": [4, -1]}, expected=[X.reshape(4, 6)]),
    Case("Reshape", 5, [X, ints(0, -1)], expected=[X.reshape(2, 12)]),
    Case("Reshape", 7, [X, ints(4, 0, 2)]),
    Case("Reshape", 13, [X[:1, :1, :1], ints()], note="to a scalar"),
    Case("Reshape", 13, [WORDS, ints(-1)], expected=[text("a", "b", "c", "d")]),
    Case("Reshape", 13, [X.transpose(2, 0, 1), ints(-1, 3)], note="strided"),
    Case("Reshape", 14, [X, ints(3, -1)]),
    Case("Reshape", 14, [counting(0, 3), ints(3, 0)], {"allowzero": 1}),
    Case("Reshape", 21, [counting(0, 3), ints(0, 1, 3)]),
    *(
        Case("Flatten", opset, [X], {"axis": axis})
        for opset, axis in [(7, 0), (9, 1), (9, 3), (11, -1), (11, -3), (13, 2), (21, -2)]
    ),
    Case("Flatten", 13, [np.array(5, F)], {"axis": 0}, expected=[np.array([[5]], F)]),
    Case("Squeeze", 7, [counting(1, 3, 1, 2)], {"axes": [0, 2]}),
    Case("Squeeze", 7, [counting(1, 3, 1, 2)]),
    Case("Squeeze", 11, [counting(1, 3, 1, 2)], {"axes": [-2]}),
    Case("Squeeze", 13, [counting(1, 3, 1, 2), ints(-2, 0)]),
    Case("Squeeze", 13, [counting(1, 3, 1, 2)]),
    # Squeeze-13 drops all axes of size 1 "if `axes` is not provided"; here it is, and names none.
    # ONNX Runtime drops them all.
    Case("Squeeze", 13, [counting(1, 3, 1, 2), ints()], expected=[counting(1, 3, 1, 2)]),
    Case("Unsqueeze", 7, [X], {"axes": [0, 4]}),
    Case("Unsqueeze", 11, [X], {"axes": [-1, 0]}),
    Case("Unsqueeze", 13, [X, ints(3, 1, -1)]),
    Case("Unsqueeze", 13, [np.array("a", object), ints(0)], expected=[text("a")]),
    Case("Identity", 7, [X]),
    Case("Identity", 14, [[X, X[0]]], expected=[[X, X[0]]], note="a sequence"),
    Case("Identity", 16, [None], expected=[None], note="an empty optional"),
    Case("Shape", 7, [X]),
    Case("Shape", 15, [X], {"start": -2}),
    Case("Shape", 15, [X], {"start": 1, "end": -1}),
    Case("Shape", 15, [X], {"start": -9, "end": 9}),
    Case("Shape", 15, [X], {"start": 2, "end": 1}, expected=[ints()]),
    Case("Shape", 19, [np.array(1.5, F)]),
    Case("Size", 7, [X]),
    Case("Size", 13, [counting(0, 2)], expected=[np.array(0, np.int64)]),
]

# DepthToSpace: 8 channels of one pixel, so that what comes out is the order of the channels
PIXEL = counting(1, 8, 1, 1)
ORDER = [
    Case("Transpose", 7, [X]),
    Case("Transpose", 13, [X], {"perm": [1, 2, 0]}),
    Case("Transpose", 13, [np.array(1, F)]),
    Case("Transpose", 21, [WORDS], expected=[text("a", "c", "b", "d").reshape(2, 2)]),
    Case(
        "DepthToSpace",
        7,
        [PIXEL],
        {"blocksize": 2},
        expected=[np.array([[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]], F)],
    ),
    Case("DepthToSpace", 11, [counting(2, 12, 2, 3)], {"blocksize": 2}),
    Case("DepthToSpace", 11, [counting(2, 12, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    Case("DepthToSpace", 13, [PIXEL], {"blocksize": 1}),
    Case("DepthToSpace", 13, [counting(2, 12, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", 7, [counting(2, 3, 4, 6)], {"blocksize": 2}),
    Case(
        "SpaceToDepth",
        28,
        [np.array([[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]], F)],
        {"blocksize": 2},
        expected=[PIXEL],
    ),
    Case(
        "SpaceToDepth",
        28,
        [np.array([[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]], F)],
        {"blocksize": 2, "mode": "CRD"},
        expected=[PIXEL],
    ),
    Case("Expand", 8, [counting(3, 1), ints(2, 1, 4)]),
    Case("Expand", 13, [counting(3, 1), ints(1)], note="shape is the smaller"),
    Case("Expand", 13, [np.array("a", object), ints(2)], expected=[text("a", "a")]),
    Case("Expand", 13, [counting(1, 2), ints(0, 2)]),
    Case("Tile", 1, [counting(2, 1), F(2), F(1)], expected=[np.array([[0, 0], [1, 1]], F)]),
    Case("Tile", 7, [X, ints(1, 2, 3)]),
    Case("Tile", 13, [X, ints(2, 0, 1)]),
    Case("Tile", 13, [WORDS[0], ints(2)], expected=[text("a", "b", "a", "b")]),
    Case("Tile", 13, [np.array(3, F), ints()], expected=[np.array(3, F)]),
    Case("Trilu", 14, [counting(2, 3, 4)]),
    Case("Trilu", 14, [counting(3, 4), np.array(-1)], {"upper": 0}),
    Case("Trilu", 14, [counting(4, 3), np.array(2)], {"upper": 1}),
    Case("Trilu", 14, [counting(3, 3), np.array(99)], {"upper": 0}),
    Case("Trilu", 14, [WORDS], expected=[text("a", "b", "", "d").reshape(2, 2)]),
]
JOIN = [
    Case("Concat", 1, [X, X], expected=[np.concatenate([X, X], 1)]),
    Case("Concat", 7, [X, X[:, :0], X[:, :1]], {"axis": 1}),
    Case("Concat", 11, [X, X], {"axis": -1}),
    Case("Concat", 13, [WORDS, WORDS], {"axis": 0}),
    Case("Split", 1, [X], {"axis": 1, "split": [1, 2]}, [X[:, :1], X[:, 1:]], 2),
    Case("Split", 1, [X, np.array([1, 1], F)], {}, [X[:1], X[1:]], 2),
    Case("Split", 7, [X], {"axis": 2}, outputs=2),
    Case("Split", 7, [X], {"axis": 1, "split": [0, 3]}, outputs=2),
    Case("Split", 11, [X], {"axis": -1, "split": [3, 1]}, outputs=2),
    Case("Split", 13, [X, ints(1, 2)], {"axis": 1}, outputs=2),
    Case("Split", 13, [X], {"axis": -1}, outputs=4),
    Case("Split", 18, [X, ints(1, 2)], {"axis": -2}, outputs=2),
    Case("Split", 18, [counting(7)], {"num_outputs": 4}, outputs=4, note="last is smaller"),
    Case("Split", 18, [counting(4)], {"num_outputs": 3}, outputs=3, note="last is empty"),
    Case("Split", 18, [counting(6)], {"num_outputs": 3}, outputs=3),
]

FOLD = [0, 1, 2, 1, 0, 1, 2]
MAX = np.iinfo(np.int64).max
CUT = [
    Case("Slice", 7, [X], {"starts": [1, -9], "ends": [9, -1], "axes": [1, 2]}),
    Case("Slice", 7, [X], {"starts": [0, 1], "ends": [1, MAX]}),
    Case("Slice", 10, [X, ints(1, 0), ints(3, 3), ints(1, 2), ints(1, 2)]),
    Case("Slice", 10, [X, ints(-1).astype(np.int32), ints(-9).astype(np.int32)]),
    Case("Slice", 11, [X, ints(-1), ints(-MAX), ints(-1), ints(-2)]),
    Case("Slice", 13, [X, ints(MAX), ints(0), ints(2), ints(-1)]),
    # Slice-13: the start is clamped to [0, size-1] when going backwards; NumPy would take nothing
    Case("Slice", 13, [counting(5), ints(-100), ints(-100), ints(0), ints(-1)], note="clamp"),
    Case(
        "Slice",
        13,
        [counting(5), ints(-100), ints(-100), ints(0), ints(-1)],
        {},
        [np.array([0], F)],
    ),
    # Slice-13: going backwards, `ends` "is clamped to [-1, dims-1]", so this end is the last
    # element and stops it at once; ONNX Runtime takes INT_MAX for "to the beginning"
    Case("Slice", 13, [counting(5), ints(3), ints(MAX), ints(0), ints(-1)], {}, [counting(0)]),
    Case("Slice", 13, [counting(0, 2), ints(5), ints(-5), ints(0), ints(-1)], note="empty"),
    Case("Slice", 13, [WORDS, ints(1), ints(2)]),
    Case("Pad", 1, [counting(2)], {"paddings": [1, 2]}, [np.array([0, 0, 1, 0, 0], F)]),
    Case("Pad", 2, [counting(2)], {"pads": [1, 0], "value": 7.5}, [np.array([7.5, 0, 1], F)]),
    Case("Pad", 7, [X], {"pads": [0, 1, 2, 1, 0, 1], "mode": "edge"}),
    Case("Pad", 7, [X], {"pads": [0, 2, 3, 1, 1, 0], "mode": "reflect"}),
    Case("Pad", 7, [X], {"pads": [0, -1, 2, 1, -1, -3], "value": 2.0}),
    Case("Pad", 11, [X, ints(0, 1, 2, 1, 0, 1), np.array(9, F)]),
    Case("Pad", 11, [X, ints(0, 1, -2, 1, -1, 1)], {"mode": "edge"}),
    Case("Pad", 13, [np.array([True]), ints(1, 1)]),
    Case("Pad", 13, [text("a"), ints(1, 0)], expected=[text("", "a")]),
    Case("Pad", 13, [text("a"), ints(1, 0), np.array("x", object)], expected=[text("x", "a")]),
    Case("Pad", 18, [X, ints(2, 1, 0, 1), None, ints(-1, 0)], {"mode": "reflect"}),
    Case("Pad", 18, [X, ints(2, 1), np.array(5, F), ints(1).astype(np.int32)]),
    Case("Pad", 13, [np.array("a", object), ints()], expected=[np.array("a", object)]),
    Case("Pad", 19, [counting(3), ints(4, 7)], {"mode": "wrap"}),
    Case("Pad", 18, [counting(3), ints(4, 7)], {"mode": "wrap"}, note="as PyTorch writes it"),
    Case("Pad", 11, [counting(3), ints(1, 2)], {"mode": "wrap"}, note="as ONNX Runtime takes it"),
    Case("Pad", 2, [counting(3)], {"pads": [1, 2], "mode": "wrap"}, note="also by attribute"),
    Case("Pad", 19, [counting(5), ints(-2, 6)], {"mode": "wrap"}, note="cut first"),
    Case("Pad", 19, [np.array(2, F), ints()], expected=[np.array(2, F)]),
    # as numpy.pad, which the spec refers to; ONNX Runtime refuses more than one reflection
    Case(
        "Pad", 19, [counting(3), ints(3, 4)], {"mode": "reflect"}, [np.array([1, 2, 1, *FOLD], F)]
    ),
    Case("CenterCropPad", 18, [counting(3, 4), ints(6, 1)]),
    Case("CenterCropPad", 18, [counting(2, 3, 5), ints(2, 4)], {"axes": [2, -2]}),
]

CASES = RESHAPE + ORDER + JOIN + CUT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize(
    "operator, opset, inputs, attributes, message",
    [
        ("Reshape", 13, [counting(2, 3), ints(4, -1)], {}, r"can't reshape \(2, 3\) to \(4, -1\)"),
        ("Reshape", 13, [counting(2, 3), ints(-1, -1)], {}, "can't reshape"),
        ("Reshape", 13, [counting(6), ints(6, 0)], {}, "can't reshape"),
        ("Reshape", 13, [counting(6), ints(-2, -3)], {}, "can't reshape"),
        ("Reshape", 13, [counting(6), ints(-2, -3, 1)], {}, "can't reshape"),
        ("Reshape", 13, [counting(0, 3), ints(0, -1)], {}, "can't reshape"),
        # Reshape-14: "it is invalid for the specified shape to contain both a zero value and -1";
        # ONNX Runtime makes it (0, 0)
        ("Reshape", 14, [counting(0, 3), ints(0, -1)], {"allowzero": 1}, "can't reshape"),
        ("Flatten", 9, [X], {"axis": -1}, "out of range"),
        ("Flatten", 11, [X], {"axis": 4}, "out of range"),
        ("Squeeze", 13, [X, ints(0)], {}, "size is not 1"),
        ("Unsqueeze", 13, [X, ints(0, 0)], {}, "twice"),
        ("Unsqueeze", 13, [X, ints(4)], {}, "out of range"),
        ("Transpose", 13, [X], {"perm": [0, 1, 1]}, "not a permutation"),
        ("Transpose", 13, [X], {"perm": [0, 1, -1]}, "not a permutation"),
        ("Expand", 13, [X, ints(5)], {}, "can't expand"),
        ("Tile", 13, [X, ints(1, 2)], {}, "repeats"),
        ("Tile", 13, [X, ints(1, -1, 1)], {}, "repeats"),
        ("CenterCropPad", 18, [X, ints(1, -1, 1)], {}, "non-negative sizes"),
        ("Concat", 13, [X, X[0]], {"axis": 0}, "can't concatenate"),
        ("Concat", 13, [X, X.astype(np.int32)], {"axis": 0}, "can't concatenate"),
        ("Concat", 13, [X, X[:1]], {"axis": 1}, "can't concatenate"),
        ("Split", 13, [X], {"axis": 1}, "2 equal parts"),
        ("Split", 13, [X, ints(1, 1)], {"axis": 1}, "don't add up"),
        ("Split", 13, [X, ints(4, -1)], {"axis": 1}, "don't add up"),
        ("Split", 18, [X], {}, "either"),
        ("Split", 18, [counting(5)], {"num_outputs": 4}, "can't split"),
        ("Slice", 13, [X, ints(0), ints(1), ints(0), ints(0)], {}, "step"),
        ("Slice", 13, [X, ints(0, 0), ints(1)], {}, "as many"),
        ("Slice", 13, [X, ints(0), ints(1), ints(3)], {}, "out of range"),
        ("Pad", 13, [X, ints(1, 1)], {}, "two for each"),
        ("Pad", 13, [counting(2), ints(-1, -2)], {}, "can't cut"),
        ("Pad", 13, [counting(0), ints(1, 1)], {"mode": "edge"}, "no elements"),
        ("Pad", 13, [X, ints(*[0] * 6)], {"mode": "symmetric"}, "no mode"),
        ("DepthToSpace", 13, [counting(1, 3, 1, 1)], {"blocksize": 2}, "blocksize"),
        ("SpaceToDepth", 13, [counting(1, 1, 3, 2)], {"blocksize": 2}, "blocksize"),
        ("Trilu", 14, [counting(3)], {}, "two axes"),
    ],
)
def test_invalid_input_is_refused(operator, opset, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, opset, inputs, attributes, outputs=2))


@pytest.mark.parametrize(
    "operator, inputs, attributes",
    [
        ("Transpose", [X], {"perm": [2, 0, 1]}),
        ("Reshape", [X, ints(-1)], {}),
        ("Squeeze", [X[:1]], {}),
        ("Unsqueeze", [X, ints(0)], {}),
        ("Slice", [X, ints(1), ints(3), ints(2), ints(1)], {}),
        ("Split", [X, ints(1, 1)], {}),
        ("Expand", [X, ints(5, 1, 1, 1)], {}),
        ("Identity", [X], {}),
    ],
)
def test_the_result_is_a_view(operator, inputs, attributes):
    for result in run_directly(Case(operator, 18, inputs, attributes)):
        assert np.shares_memory(result, X)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4", "uint4", "float4_e2m1fn"])
def test_small_types_keep_their_dtype(name):
    dtype = np.dtype(getattr(ml_dtypes, name))
    x = np.array([[1, 2], [3, 4]]).astype(dtype)
    for operator, inputs, expected in [
        ("Pad", [x, ints(0, 1, 0, 0)], [[0, 1, 2], [0, 3, 4]]),
        ("Tile", [x, ints(1, 2)], [[1, 2, 1, 2], [3, 4, 3, 4]]),
        ("Concat", [x, x], [[1, 2], [3, 4], [1, 2], [3, 4]]),
        ("Trilu", [x], [[1, 2], [0, 4]]),
        ("Slice", [x, ints(1), ints(-9), ints(1), ints(-1)], [[2, 1], [4, 3]]),
    ]:
        attributes = {"axis": 0} if operator == "Concat" else {}
        (result,) = run_directly(Case(operator, 23, inputs, attributes))
        assert result.dtype == dtype
        np.testing.assert_array_equal(result.astype(F), np.array(expected, F))


def test_rank_0_strings_remain_arrays():
    word = np.array("a", object)
    for operator, inputs in [
        ("Slice", [word, ints(), ints(), ints()]),
        ("Pad", [word, ints()]),
        ("Reshape", [text("a"), ints()]),
        ("Squeeze", [text("a")]),
        ("Tile", [word, ints()]),
        ("Transpose", [word]),
    ]:
        (result,) = run_directly(Case(operator, 13, inputs))
        assert isinstance(result, np.ndarray) and result.shape == (), operator
        assert result.dtype == object and result.item() == "a", operator


def test_concat_writes_into_out():
    out = np.empty((4, 3, 4), F)
    result = registry.lookup("", "Concat", 13).function(X, X, axis=0, out=out)
    assert result is out
    np.testing.assert_array_equal(out[2:], X)


# --- random shapes against ONNX Runtime -----------------------------------------------------------

DTYPES = st.sampled_from([np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])


@st.composite
def tensors(draw, min_rank=0, max_rank=4, min_size=0, max_size=4):
    """A tensor of some type and shape, maybe transposed or every other element of a larger one."""
    shape = draw(st.lists(st.integers(min_size, max_size), min_size=min_rank, max_size=max_rank))
    x = counting(*shape, dtype=draw(DTYPES))
    layout = draw(st.sampled_from(["plain", "transposed", "strided"]))
    if layout == "transposed":
        x = np.ascontiguousarray(x.T).T
    elif layout == "strided" and x.ndim:
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    return x


@st.composite
def slices(draw):
    x = draw(tensors(min_rank=1))
    axes = draw(st.lists(st.integers(0, x.ndim - 1), min_size=1, unique=True))
    far = st.one_of(st.integers(-6, 6), st.sampled_from([-MAX, MAX]))
    bounds = [draw(st.lists(far, min_size=len(axes), max_size=len(axes))) for _ in range(2)]
    steps = draw(
        st.lists(st.sampled_from([-3, -2, -1, 1, 2, 3]), min_size=len(axes), max_size=len(axes))
    )
    # an end of INT_MAX going backwards is where ONNX Runtime leaves the spec: see CUT
    bounds[1] = [
        -MAX if end == MAX and step < 0 else end for end, step in zip(bounds[1], steps, strict=True)
    ]
    named = [axis - x.ndim * draw(st.booleans()) for axis in axes]
    return Case("Slice", 13, [x, *(ints(*v) for v in (*bounds, named, steps))])


@st.composite
def pads(draw):
    mode = draw(st.sampled_from(["constant", "edge", "reflect", "wrap"]))
    x = draw(tensors(min_rank=1, min_size=0 if mode == "constant" else 1))
    # at least one element is left, and is reflected once at most: ONNX Runtime asks for both
    most = [n - 1 - n // 2 if mode == "reflect" else 5 for n in x.shape]
    begins = [draw(st.integers(-(n // 2), m)) for n, m in zip(x.shape, most, strict=True)]
    ends = [draw(st.integers(-(max(n - 1, 0) // 2), m)) for n, m in zip(x.shape, most, strict=True)]
    amounts = begins + ends
    return Case("Pad", 19, [x, ints(*amounts)], {"mode": mode})


@st.composite
def joins(draw):
    x = draw(tensors(min_rank=1))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    parts = [x, *(x.take([0] * n if x.shape[axis] else [], axis) for n in (0, 2))]
    return Case("Concat", 13, parts, {"axis": axis})


@st.composite
def permutations(draw):
    x = draw(tensors(min_rank=1))
    return Case("Transpose", 13, [x], {"perm": list(draw(st.permutations(range(x.ndim))))})


@st.composite
def tiles(draw):
    x = draw(tensors(min_rank=1))
    repeats = draw(st.lists(st.integers(0, 3), min_size=x.ndim, max_size=x.ndim))
    return Case("Tile", 13, [x, ints(*repeats)])


@st.composite
def expansions(draw):
    x = draw(tensors())
    sizes = [n if n != 1 else draw(st.integers(0, 3)) for n in x.shape]
    sizes = draw(st.lists(st.integers(1, 2), max_size=2)) + sizes
    return Case("Expand", 13, [x, ints(*sizes)])


@st.composite
def flattenings(draw):
    x = draw(tensors())
    return Case("Flatten", 13, [x], {"axis": draw(st.integers(-x.ndim, x.ndim))})


@st.composite
def splits(draw):
    x = draw(tensors(min_rank=1))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    first = draw(st.integers(0, x.shape[axis]))
    lengths = ints(first, x.shape[axis] - first)
    return Case("Split", 13, [x, lengths], {"axis": axis}, outputs=2)


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        slices(), pads(), joins(), permutations(), tiles(), expansions(), flattenings(), splits()
    )
)
def test_agrees_with_onnxruntime(case):
    check(case)
