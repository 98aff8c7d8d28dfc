"""Sequences and optionals, against hand-worked answers and, where it can, ONNX Runtime."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.support.harness import Case, check, run_directly

F = np.float32


def ints(*values):
    return np.array(values, np.int64)


X = np.arange(24, dtype=F).reshape(2, 3, 4)
A, B, C = np.array([1, 2], F), np.array([[3]], F), np.array(4, F)
ABC = [A, B, C]


def add(x, y):
    return (x + y,)


def sum_and_difference(x, y):
    return x + y, x - y


add.output_types = (SimpleNamespace(dtype=np.dtype(F), shape=None),)
sum_and_difference.output_types = add.output_types * 2

FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, None)

CASES = [
    Case("SequenceEmpty", 11, [], {"dtype": 7}, [[]]),
    Case("SequenceConstruct", 11, [A, B, C], {}, [ABC]),
    Case("SequenceLength", 11, [ABC]),
    Case("SequenceLength", 11, [[]], {}, [np.array(0, np.int64)]),
    *(Case("SequenceAt", 11, [ABC, np.array(i)], note=f"{i}") for i in (0, 2, -1, -3)),
    *(Case("SequenceInsert", 11, [[A, B], C, np.array(i)], note=f"{i}") for i in (0, 1, 2, -1, -2)),
    Case("SequenceInsert", 11, [[A, B], C]),
    Case("SequenceInsert", 11, [[], C], {}, [[C]]),
    *(Case("SequenceErase", 11, [ABC, np.array(i)], note=f"{i}") for i in (0, 2, -1, -3)),
    Case("SequenceErase", 11, [ABC]),
    Case("SplitToSequence", 11, [X], {"axis": 1}),
    Case("SplitToSequence", 11, [X], {"axis": -1, "keepdims": 0}),
    # "If input 'split' is specified, this attribute is ignored."
    Case("SplitToSequence", 11, [X, np.array(1)], {"keepdims": 0}, [[X[:1], X[1:]]]),
    Case("SplitToSequence", 11, [X, np.array(3)], {"axis": 2}, note="the last is shorter"),
    Case("SplitToSequence", 11, [X, ints(1, 2)], {"axis": -2}),
    Case("ConcatFromSequence", 11, [[X, X[:1]]], {"axis": 0}),
    Case("ConcatFromSequence", 11, [[X, X]], {"axis": -1, "new_axis": 1}),
    Case("ConcatFromSequence", 11, [[X, X]], {"axis": 0, "new_axis": 1}),
    Case("SequenceMap", 17, [ABC, ABC], {"body": add}, [[A + A, B + B, C + C]]),
    Case("SequenceMap", 17, [ABC, A], {"body": sum_and_difference},
         [[A + A, B + A, C + A], [A - A, B - A, C - A]], outputs=2),
    Case("SequenceMap", 17, [[], A], {"body": sum_and_difference}, [[], []], outputs=2),
    Case("Optional", 15, [A], {}, [A]),
    Case("Optional", 15, [ABC], {}, [ABC]),
    Case("Optional", 15, [], {"type": FLOATS}, [None]),
    Case("OptionalHasElement", 15, [A], {}, [np.array(True)]),
    Case("OptionalHasElement", 15, [None], {}, [np.array(False)]),
    Case("OptionalHasElement", 18, [[]], {}, [np.array(True)], note="an empty sequence is one"),
    Case("OptionalHasElement", 18, [], {}, [np.array(False)]),
    Case("OptionalGetElement", 15, [A], {}, [A]),
    Case("OptionalGetElement", 18, [ABC], {}, [ABC]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize(
    "operator, inputs, attributes, message",
    [
        ("SequenceAt", [ABC, np.array(3)], {}, "position 3 is out of range"),
        ("SequenceAt", [ABC, np.array(-4)], {}, "position -4 is out of range"),
        ("SequenceAt", [[], np.array(0)], {}, "out of range"),
        ("SequenceInsert", [ABC, A, np.array(4)], {}, "out of range"),
        ("SequenceInsert", [ABC, ints(1)], {}, "can't hold both"),
        ("SequenceErase", [[]], {}, "out of range"),
        ("SequenceConstruct", [A, ints(1)], {}, "can't hold both"),
        ("SplitToSequence", [X, np.array(0)], {}, "split 0 should be positive"),
        ("SplitToSequence", [X, ints(1, 2)], {}, "don't add up"),
        ("ConcatFromSequence", [[]], {"axis": 0}, "empty"),
        ("ConcatFromSequence", [[A, B]], {"axis": 0}, "can't concatenate"),
        ("ConcatFromSequence", [[A, A]], {"axis": 2, "new_axis": 1}, "out of range"),
        ("SequenceMap", [ABC, [A]], {"body": add}, "equal length, got 3 and 1"),
        ("OptionalGetElement", [None], {}, "empty optional"),
    ],
)
def test_invalid_input_is_refused(operator, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, 18, inputs, attributes))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 9), max_size=4), st.integers(-5, 5), st.integers(0, 9))
def test_inserting_and_erasing_make_a_new_list(values, position, value):
    sequence = [np.array(v) for v in values]
    before = list(sequence)
    n = len(sequence)
    case = Case("SequenceInsert", 11, [sequence, np.array(value), np.array(position)])
    if -n <= position <= n:
        (result,) = run_directly(case)
        expected = list(values)
        expected.insert(position, value)  # Python's list has the same reading of negatives
        assert [int(v) for v in result] == expected
        at = np.array(position if position >= 0 else n + position)
        (erased,) = run_directly(Case("SequenceErase", 11, [result, at]))
        assert [int(v) for v in erased] == values
        (found,) = run_directly(Case("SequenceAt", 11, [result, at]))
        assert found == value
    else:
        with pytest.raises(ValueError, match="out of range"):
            run_directly(case)
    assert len(sequence) == len(before)
    assert all(one is other for one, other in zip(sequence, before, strict=True))


@st.composite
def splits(draw):
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    x = np.arange(np.prod(shape), dtype=F).reshape(shape)
    x = np.ascontiguousarray(x.T).T if draw(st.booleans()) else x
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    attributes = {"axis": axis, "keepdims": draw(st.integers(0, 1))}
    kind = draw(st.sampled_from(["none", "scalar", "list"]))
    if kind == "none":
        return Case("SplitToSequence", 11, [x], attributes)
    attributes["keepdims"] = 1
    if kind == "scalar":
        split = np.array(draw(st.integers(1, 5)))
    else:
        first = draw(st.integers(0, x.shape[axis]))
        split = ints(first, x.shape[axis] - first)
    return Case("SplitToSequence", 11, [x, split], attributes)


@settings(deadline=None, max_examples=100)
@given(splits())
def test_splitting_agrees_with_onnxruntime_and_is_undone_by_concatenation(case):
    check(case)
    (parts,) = run_directly(case)
    new_axis = int(len(case.inputs) == 1 and not case.attributes["keepdims"])
    attributes = {"axis": case.attributes["axis"], "new_axis": new_axis}
    (whole,) = run_directly(Case("ConcatFromSequence", 11, [parts], attributes))
    np.testing.assert_array_equal(whole, case.inputs[0])
