"""Gather, Scatter, TopK, Unique and their kin, against hand-worked answers and ONNX Runtime."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import Case, check, run_directly

F = np.float32
NAN = np.nan


def ints(*values):
    return np.array(values, np.int64)


def text(*values):
    return np.array(values, object)


def counting(*shape, dtype=F):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


X = counting(2, 3, 4)
GRID = counting(3, 3)
INDEX = ints([1, 0, 2], [0, 2, 1])

GATHER = [
    Case("Gather", 7, [X, ints([0, 2], [1, 1])], {"axis": 1}),
    Case("Gather", 7, [X, np.array(1)], {"axis": 2}, note="rank 0"),
    Case("Gather", 11, [X, ints(-1, 0)], {"axis": -2}),
    Case("Gather", 13, [X.transpose(2, 0, 1), np.array([-1, 3], np.int32)], {"axis": 0}),
    Case("Gather", 13, [text("a", "b"), ints(1, -1, 0)]),
    Case(
        "Gather",
        13,
        [text("a", "b", "c", "d").reshape(2, 2), ints(1)],
        {},
        [text("c", "d").reshape(1, 2)],
    ),
    Case("Gather", 13, [text("a", "b"), np.array(-1)], expected=[np.array("b", object)]),
    Case("Gather", 13, [X, ints()], {"axis": 1}, note="no indices"),
    Case("GatherElements", 11, [GRID, INDEX], {"axis": 0}),
    Case("GatherElements", 11, [GRID, ints([-1], [0])], {"axis": 1}, note="indices are smaller"),
    Case("GatherElements", 13, [X, np.full((2, 3, 6), -2)], {"axis": -1}),
    Case("GatherND", 11, [X, ints([0, 1], [1, -1])]),
    Case("GatherND", 11, [X, ints(1, 2, 3)], note="one element"),
    Case("GatherND", 12, [X, ints([[1], [0]], [[2], [-3]])], {"batch_dims": 1}),
    Case("GatherND", 13, [X, ints([[1, 0]] * 3, [[0, 1]] * 3)[..., :1]], {"batch_dims": 2}),
    Case("GatherND", 13, [text("a", "b"), ints(1)], expected=[np.array("b", object)]),
]

UPDATES = counting(2, 3) + 100
WORDS = text("a", "b")
PAIR = np.array([5, 3], F)
ROWS = counting(2, 4) + 100
SCATTER = [
    Case("Scatter", 9, [GRID, INDEX, UPDATES], {"axis": 0}),
    Case("ScatterElements", 11, [GRID, INDEX, UPDATES], {"axis": -1}),
    Case("Scatter", 11, [GRID, INDEX, UPDATES], {},
         [np.array([[103, 101, 2], [100, 4, 105], [6, 104, 102]], F)]),
    Case("ScatterElements", 13, [GRID, ints([-1], [-3]), UPDATES[:, :1]], {"axis": 1}),
    Case("ScatterElements", 16, [GRID, INDEX * 0, UPDATES], {"reduction": "add"}),
    Case("ScatterElements", 16, [GRID, INDEX * 0, UPDATES], {"reduction": "mul", "axis": 1}),
    Case("ScatterElements", 18, [GRID * 30, INDEX, UPDATES], {"reduction": "max"}),
    Case("ScatterElements", 18, [GRID * 30, INDEX * 0, UPDATES], {"reduction": "min", "axis": 1}),
    Case("ScatterElements", 18, [text("a", "b"), ints(1), text("x")], expected=[text("a", "x")]),
    Case("ScatterElements", 18, [WORDS, ints(1, 1), WORDS], {"reduction": "add"}),
    Case("ScatterElements", 18, [GRID.T, INDEX, UPDATES], note="strided"),
    Case("ScatterND", 11, [X[0], ints([2], [0]), ROWS]),
    Case("ScatterND", 13, [X, ints([0, -1], [1, 0]), ROWS]),
    Case("ScatterND", 16, [X[0], ints([2], [2]), ROWS], {"reduction": "add"}),
    Case("ScatterND", 16, [X[0], ints([2], [2]), ROWS], {"reduction": "mul"}),
    Case("ScatterND", 18, [X, ints([0, 0, 0], [0, 0, 0]), PAIR], {"reduction": "max"}),
    Case("ScatterND", 18, [X, ints([0, 0, 1], [1, 2, 3]), -20 * PAIR], {"reduction": "min"}),
    Case("ScatterND", 18, [X, np.zeros((0, 3), np.int64), np.zeros(0, F)], note="no updates"),
]  # fmt: skip

TIES = np.array([[3, 1, 3, 2, 1], [0, 0, 0, 0, 0]], F)
HOLES = np.array([1, NAN, 3, NAN, 2, np.inf, -np.inf], F)
ROWS_ = np.array([[2, 2], [1, 9], [2, 2], [1, 3], [1, 9]], F)
CHOOSE = [
    Case("TopK", 7, [TIES], {"k": 2}, outputs=2),
    Case("TopK", 7, [X], {"k": 2, "axis": 0}, outputs=2),
    Case("TopK", 10, [TIES, ints(3)], {"axis": 1}, outputs=2),
    *(
        Case("TopK", 11, [x, ints(k)], {"largest": largest}, outputs=2, note=f"largest={largest}")
        for largest in (0, 1)
        for x, k in [(TIES, 4), (HOLES, 5), (HOLES, 1), (TIES.astype(np.int64), 5), (TIES, 0)]
    ),
    Case("TopK", 11, [X, ints(2)], {"axis": -2, "largest": 0}, outputs=2),
    Case("TopK", 11, [np.array([5, -128, 127, -128], np.int8), ints(3)], {"largest": 0}, outputs=2,
         expected=[np.array([-128, -128, 5], np.int8), ints(1, 3, 0)]),
    Case("TopK", 11, [np.array([0, 255, 1], np.uint8), ints(2)], {}, outputs=2,
         expected=[np.array([255, 1], np.uint8), ints(1, 2)]),
    Case("TopK", 24, [np.array([1, NAN, 3, 2], ml_dtypes.bfloat16), ints(3)], {}, outputs=2,
         expected=[np.array([NAN, 3, 2], ml_dtypes.bfloat16), ints(1, 2, 3)]),
    Case("NonZero", 9, [np.array([[1, 0], [NAN, -2]], F)]),
    Case("NonZero", 13, [np.array([True, False, True])]),
    Case("NonZero", 13, [counting(0, 2)]),
    Case("NonZero", 13, [text("", "a")], expected=[ints([1])]),
    # NonZero-9: "for scalar input NonZero produces output shape (0, N) instead of (1, N)";
    # ONNX Runtime's is (1, N)
    Case("NonZero", 13, [np.array(5, F)], expected=[np.zeros((0, 1), np.int64)]),
    Case("NonZero", 13, [np.array(0, F)], expected=[np.zeros((0, 0), np.int64)]),
    Case("Compress", 9, [X, np.array([False, True])], {"axis": 1}),
    Case("Compress", 9, [X, np.array([True, False, True, False, True])]),
    Case("Compress", 11, [X, np.array([True, True, False])], {"axis": -2}),
    Case("Compress", 11, [X, np.array([[True, False], [True, True]])]),
    Case("Compress", 11, [X, np.array([[False], [True]])], {"axis": 1}),
    Case("Compress", 11, [X, np.array(True)], {"axis": 1}),
    Case("Unique", 11, [np.array([2, 1, 1, 3, 4, 3], F)], {"sorted": 0}, outputs=4,
         expected=[
             np.array([2, 1, 3, 4], F), ints(0, 1, 3, 4), ints(0, 1, 1, 2, 3, 2), ints(1, 2, 2, 1),
         ]),
    Case("Unique", 11, [np.array([[1, 3], [2, 3]])], outputs=4),
    Case("Unique", 11, [ROWS_], {"axis": 0}, outputs=4),
    Case("Unique", 11, [ROWS_], {"axis": 0, "sorted": 0}, outputs=4),
    Case("Unique", 11, [ROWS_.T], {"axis": -1}, outputs=4),
    Case("Unique", 11, [text("b", "a", "b")], outputs=4),
    Case("Unique", 11, [text("b", "a", "b", "a", "c", "a").reshape(3, 2)], {"axis": 0}, outputs=4,
         expected=[text("b", "a", "c", "a").reshape(2, 2), ints(0, 2), ints(0, 0, 1), ints(2, 1)]),
    Case("Unique", 11, [np.array(7, F)], outputs=4),
    Case("Unique", 11, [counting(0)], outputs=4),
    Case("Unique", 11, [counting(0, 3)], {"axis": 0}, outputs=4),
    Case("Unique", 11, [counting(3, 0)], {"axis": 0}, outputs=4,
         expected=[counting(1, 0), ints(0), ints(0, 0, 0), ints(3)]),
    # numpy.unique, which the spec refers to, holds NaNs for equal; ONNX Runtime holds them for
    # equal to whatever they are compared with
    Case("Unique", 11, [np.array([NAN, 1, NAN, 0], F)], outputs=4,
         expected=[np.array([0, 1, NAN], F), ints(3, 1, 0), ints(2, 1, 2, 0), ints(1, 1, 2)]),
    Case("ReverseSequence", 10, [counting(4, 3), ints(4, 1, 2)]),
    Case("ReverseSequence", 10, [counting(3, 4, 2), ints(4, 0, 3)],
         {"batch_axis": 0, "time_axis": 1}),
]  # fmt: skip


CASES = GATHER + SCATTER + CHOOSE


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


MESSAGE = "index {} is out of range for axis {} of size {}"


@pytest.mark.parametrize(
    "operator, inputs, attributes, message",
    [
        ("Gather", [X, ints(0, 3)], {"axis": 1}, MESSAGE.format(3, 1, 3)),
        ("Gather", [X.T, ints(-5)], {"axis": 0}, MESSAGE.format(-5, 0, 4)),
        ("Gather", [X, np.array(2)], {"axis": 0}, MESSAGE.format(2, 0, 2)),
        ("Gather", [X, ints(0)], {"axis": 3}, "axis 3"),
        ("GatherElements", [GRID, INDEX + 1], {}, MESSAGE.format(3, 0, 3)),
        ("GatherElements", [GRID[:, :1], INDEX], {}, "are incompatible"),
        ("GatherND", [X, ints([0, 3])], {}, MESSAGE.format(3, 1, 3)),
        ("GatherND", [X, ints([[4]], [[0]])], {"batch_dims": 1}, MESSAGE.format(4, 1, 3)),
        ("GatherND", [X, ints([[0]])], {"batch_dims": 1}, "batch_dims"),
        ("GatherND", [X, np.zeros((2, 3), int)], {"batch_dims": 2}, "batch_dims"),
        ("GatherND", [X, ints([0, 0, 0, 0])], {}, "too long"),
        ("GatherND", [X, np.zeros((2, 2, 0), int)], {"batch_dims": 1}, "at least one number"),
        ("ScatterElements", [GRID, INDEX - 4, UPDATES], {}, MESSAGE.format(-4, 0, 3)),
        ("ScatterElements", [GRID, INDEX, UPDATES[:1]], {}, "should have the same shape"),
        ("ScatterElements", [GRID, INDEX, UPDATES], {"reduction": "sum"}, "'sum'"),
        ("ScatterElements", [GRID, INDEX, UPDATES.astype(int)], {}, "int64"),
        (
            "ScatterElements",
            [WORDS, ints(0), WORDS[:1]],
            {"reduction": "mul"},
            "undefined for strings",
        ),
        ("ScatterND", [X, ints([2]), X[:1]], {}, MESSAGE.format(2, 0, 2)),
        ("ScatterND", [X, ints([1]), X], {}, r"should be \(1, 3, 4\)"),
        ("TopK", [X, ints(5)], {}, "K 5 should be from 0 to the size of the axis, 4"),
        ("TopK", [X, ints(-1)], {}, "K -1"),
        ("Compress", [X, np.array([False] * 3 + [True])], {"axis": 1}, MESSAGE.format(3, 1, 3)),
        ("ReverseSequence", [GRID, ints(1, 4, 1)], {}, "from 0 to 3"),
        ("ReverseSequence", [GRID, ints(1, -1, 1)], {}, "from 0 to 3"),
        ("ReverseSequence", [GRID, ints(1)], {}, r"should be \(3,\)"),
        ("ReverseSequence", [GRID, ints(1, 1, 1)], {"batch_axis": 0}, "should be 0 and 1"),
    ],
)
def test_invalid_input_is_refused(operator, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, 18, inputs, attributes, outputs=2))


@pytest.mark.parametrize("operator", ["ScatterElements", "ScatterND"])
def test_reductions_of_one_version_are_refused_by_another(operator):
    inputs = [GRID, INDEX, UPDATES] if operator == "ScatterElements" else [X, ints([1]), X[:1]]
    for opset, reduction, fine in [(16, "max", False), (16, "mul", True), (18, "max", True)]:
        case = Case(operator, opset, inputs, {"reduction": reduction})
        if fine:
            run_directly(case)
        else:
            with pytest.raises(ValueError, match="reduction"):
                run_directly(case)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_leaves_its_input_alone(reduction):
    data = GRID.copy()
    run_directly(Case("ScatterElements", 18, [data, INDEX, UPDATES], {"reduction": reduction}))
    run_directly(Case("ScatterND", 18, [data, ints([0]), UPDATES[:1]], {"reduction": reduction}))
    np.testing.assert_array_equal(data, GRID)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_small_types_keep_their_dtype(name):
    dtype = np.dtype(getattr(ml_dtypes, name))
    x = np.array([3, 1, 2, 1]).astype(dtype)
    new = np.array([5]).astype(dtype)
    for operator, inputs, expected in [
        ("Gather", [x, ints(-1, 0)], [1, 3]),
        ("GatherElements", [x, ints(-1, 0)], [1, 3]),
        ("GatherND", [x, ints([2])], [2]),
        ("ScatterElements", [x, ints(1), new], [3, 5, 2, 1]),
        ("ScatterND", [x, ints([1]), new], [3, 5, 2, 1]),
        ("Unique", [x], [1, 2, 3]),
        ("Compress", [x, np.array([False, True])], [1]),
    ]:
        (result,) = run_directly(Case(operator, 18, inputs))
        assert result.dtype == dtype, operator
        np.testing.assert_array_equal(result.astype(F), np.array(expected, F))


def test_top_k_of_a_long_axis_is_the_top_of_the_sorted_axis():
    """Many ties, and NaNs in some rows, on an axis long enough for the shortcut to be taken."""
    rng = np.random.default_rng(0)
    for dtype in (F, np.float16, np.int32, np.uint8):
        x = rng.integers(0, 60, (5, 3000)).astype(dtype)
        if np.dtype(dtype).kind == "f":
            x[::2, ::7] = NAN
        for k in (0, 1, 10, 374, 500):
            for largest in (0, 1):
                case = Case("TopK", 11, [x, ints(k)], {"largest": largest}, outputs=2)
                values, indices = run_directly(case)
                for row, found, where in zip(x, values, indices, strict=True):
                    order = np.arange(row.size)
                    keys = row.astype(np.float64)
                    keys = np.where(np.isnan(keys), np.inf, keys)
                    order = np.lexsort((order, -keys if largest else keys))[:k]
                    np.testing.assert_array_equal(where, order)
                    np.testing.assert_array_equal(found, row[order])


# --- random shapes against ONNX Runtime -----------------------------------------------------------

FLOATS = st.sampled_from([np.float32, np.float64, np.int64, np.int32])


@st.composite
def tensors(draw, min_rank=1, min_size=0):
    """A tensor with many equal elements, maybe transposed."""
    shape = draw(st.lists(st.integers(min_size, 4), min_size=min_rank, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    x = rng.integers(-3, 4, shape).astype(draw(FLOATS))
    return np.ascontiguousarray(x.T).T if draw(st.booleans()) else x


def drawn_indices(draw, size, shape):
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    return rng.integers(-size, size, shape).astype(draw(st.sampled_from([np.int32, np.int64])))


@st.composite
def gathers(draw):
    x = draw(tensors(min_size=1))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    shape = draw(st.lists(st.integers(0, 3), max_size=2))
    return Case("Gather", 13, [x, drawn_indices(draw, x.shape[axis], shape)], {"axis": axis})


@st.composite
def element_gathers(draw, scatter=False):
    x = draw(tensors(min_size=1))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    shape = [draw(st.integers(1, n)) for n in x.shape]
    indices = drawn_indices(draw, x.shape[axis], shape)
    if not scatter:
        return Case("GatherElements", 13, [x, indices], {"axis": axis})
    reduction = draw(st.sampled_from(["add", "mul", "max", "min"]))
    updates = counting(*shape, dtype=x.dtype) - 3
    attributes = {"axis": axis, "reduction": reduction}
    return Case("ScatterElements", 18, [x, indices, updates], attributes)


@st.composite
def nd_gathers(draw, scatter=False):
    x = draw(tensors(min_size=1))
    k = draw(st.integers(1, x.ndim))
    count = draw(st.integers(1, 3))
    indices = np.stack([drawn_indices(draw, n, count).astype(int) for n in x.shape[:k]], axis=-1)
    if not scatter:
        return Case("GatherND", 13, [x, indices])
    reduction = draw(st.sampled_from(["none", "add", "mul", "max", "min"]))
    if reduction == "none":  # which of two updates of one place wins is left open
        indices = np.unique(indices % x.shape[:k], axis=0)
    updates = counting(len(indices), *x.shape[k:], dtype=x.dtype) - 3
    return Case("ScatterND", 18, [x, indices, updates], {"reduction": reduction})


@st.composite
def tops(draw):
    x = draw(tensors(min_size=1))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    if x.dtype.kind == "f" and draw(st.booleans()):
        x = np.where(x == 2, x.dtype.type(NAN), x)
    k = ints(draw(st.integers(1, x.shape[axis])))
    attributes = {"axis": axis, "largest": draw(st.integers(0, 1))}
    return Case("TopK", 11, [x, k], attributes, outputs=2)


@st.composite
def uniques(draw):
    x = draw(tensors(min_size=1))
    if x.dtype == np.int32:  # which ONNX Runtime hasn't got
        x = x.astype(np.int8)
    attributes = {"sorted": draw(st.integers(0, 1))}
    if draw(st.booleans()):
        attributes["axis"] = draw(st.integers(-x.ndim, x.ndim - 1))
    return Case("Unique", 11, [x], attributes, outputs=4)


@st.composite
def compressions(draw):
    x = draw(tensors(min_size=1))
    attributes = {}
    length = x.size
    if draw(st.booleans()):
        attributes["axis"] = draw(st.integers(-x.ndim, x.ndim - 1))
        length = x.shape[attributes["axis"]]
    condition = draw(st.lists(st.booleans(), max_size=length))
    return Case("Compress", 11, [x, np.array(condition, bool)], attributes)


@st.composite
def reversals(draw):
    x = draw(tensors(min_rank=2, min_size=1))
    time = draw(st.integers(0, 1))
    lengths = [draw(st.integers(0, x.shape[time])) for _ in range(x.shape[1 - time])]
    attributes = {"time_axis": time, "batch_axis": 1 - time}
    return Case("ReverseSequence", 10, [x, ints(*lengths)], attributes)


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        gathers(),
        element_gathers(),
        element_gathers(scatter=True),
        nd_gathers(),
        nd_gathers(scatter=True),
        tops(),
        uniques(),
        compressions(),
        reversals(),
        tensors().map(lambda x: Case("NonZero", 13, [x.astype(F)])),  # ONNX Runtime has few types
    )
)
def test_agrees_with_onnxruntime(case):
    check(case)
