"""If, Loop and Scan over bodies that are plain functions; complete graphs are tested elsewhere."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.harness import Case, check, run_directly

F = np.float32


def ints(*values):
    return np.array(values, np.int64)


def scalar(value, dtype=np.int64):
    return np.array(value, dtype)


def graph(*types):
    """A body: a function of arrays, with the dtype and shape of each of its outputs."""

    def decorate(function):
        function.output_types = tuple(SimpleNamespace(dtype=d, shape=s) for d, s in types)
        function.reserve = lambda nbytes: None
        function.run_ahead = lambda *arguments: None
        function.attempt = lambda *inputs: None  # as one that fails
        return function

    return decorate


FLOAT, INT, BOOL = (np.dtype(t) for t in (F, np.int64, bool))
TRUE, FALSE = np.array(True), np.array(False)


@graph((FLOAT, ()))
def one():
    return (scalar(1, F),)


@graph((FLOAT, (2,)))
def two():
    return (np.array([2, 2], F),)


BRANCHES = {"then_branch": one, "else_branch": two}


@graph((BOOL, ()), (INT, ()), (INT, (2,)))
def halve(i, cond, n):
    """Goes on until n is 1; gives (i, n) of each iteration."""
    half = n // 2
    return np.asarray(half > 1), half, ints(i, half)


@graph((BOOL, ()), (None, None))
def append(i, cond, sequence):
    return TRUE, [*sequence, i]


@graph((BOOL, ()), (FLOAT, ("n", 3)), (INT, None))
def stop_at_once(i, cond):
    return FALSE, np.full((2, 3), i, F), scalar(cond)


@graph((BOOL, ()), (None, None), (FLOAT, ()))
def keep_optional(i, cond, optional):
    return TRUE, (i if optional is None else optional), scalar(7, F)


LOOPS = [
    Case("If", 7, [TRUE], BRANCHES, [scalar(1, F)]),
    Case("If", 11, [np.array([False])], BRANCHES, [np.array([2, 2], F)]),
    Case("If", 16, [TRUE], BRANCHES, [scalar(1, F)]),
    # while: 20 10 5 2 1
    Case("Loop", 7, [None, TRUE, scalar(20)], {"body": halve},
         [scalar(1), ints([0, 10], [1, 5], [2, 2], [3, 1])], outputs=2),
    # while and for: whichever ends first
    Case("Loop", 11, [scalar(2), TRUE, scalar(20)], {"body": halve},
         [scalar(5), ints([0, 10], [1, 5])], outputs=2),
    Case("Loop", 13, [ints(99), np.array([True]), scalar(4)], {"body": halve},
         [scalar(1), ints([0, 2], [1, 1])], outputs=2),
    # no iteration: the carried value as it was, and nothing of the declared shape
    Case("Loop", 13, [scalar(9), FALSE, scalar(20)], {"body": halve},
         [scalar(20), np.zeros((0, 2), np.int64)], outputs=2),
    Case("Loop", 13, [scalar(0), None], {"body": stop_at_once},
         [np.zeros((0, 0, 3), F), ints()], outputs=2),
    # Loop-1: without a cond "this value is ignored", of the body's; ONNX Runtime ends the loop
    Case("Loop", 13, [scalar(3), None], {"body": stop_at_once},
         [np.stack([np.full((2, 3), i, F) for i in range(3)]), ints(1, 0, 0)],
         outputs=2),
    Case("Loop", 13, [scalar(3), TRUE], {"body": stop_at_once},
         [np.zeros((1, 2, 3), F), ints(1)], outputs=2),
    Case("Loop", 13, [scalar(3), TRUE, []], {"body": append},
         [[scalar(0), scalar(1), scalar(2)]], note="a carried sequence"),
    Case("Loop", 16, [scalar(2), TRUE, None], {"body": keep_optional},
         [scalar(0), np.array([7, 7], F)], outputs=2, note="a carried optional"),
    Case("Loop", 16, [scalar(0), TRUE, None], {"body": keep_optional},
         [None, np.zeros(0, F)], outputs=2, note="an empty optional"),
]  # fmt: skip


@graph((FLOAT, ()), (FLOAT, ()))
def running_sum(total, x):
    return total + x, total + x


@graph((FLOAT, (2,)), (FLOAT, (2,)), (FLOAT, ()))
def weighted(total, x, w):
    return total + w * x, w * x, w


@graph((FLOAT, ("batch",)))
def double(x):
    return (x * 2,)


X = np.arange(6, dtype=F).reshape(3, 2)
W = np.array([1, 10, 100], F)
ZEROS = np.zeros(2, F)
BATCH = np.array([[1, 2, 4], [8, 16, 32]], F)
SCANS = [
    Case("Scan", 9, [ZEROS, X], {"body": running_sum, "num_scan_inputs": 1},
         [np.array([6, 9], F), np.cumsum(X, 0)], outputs=2),
    Case("Scan", 9, [ZEROS, X, W], {"body": weighted, "num_scan_inputs": 2},
         [X.T @ W, X * W[:, None], W], outputs=3),
    # the first input backwards, the first output stacked from the end and on its last axis
    Case("Scan", 11, [ZEROS, X.T, W],
         {"body": weighted, "num_scan_inputs": 2, "scan_input_axes": [-1, 0],
          "scan_input_directions": [1, 0], "scan_output_axes": [1, 0],
          "scan_output_directions": [1, 0]},
         [X[::-1].T @ W, (X[::-1] * W[:, None])[::-1].T, W], outputs=3),
    Case("Scan", 16, [X[:0]], {"body": double, "num_scan_inputs": 1},
         [np.zeros((0, 0), F)], note="no iteration"),
    Case("Scan", 16, [ZEROS, X[:0], W[:0]], {"body": weighted, "num_scan_inputs": 2},
         [ZEROS, X[:0], W[:0]], outputs=3, note="no iteration"),
    Case("Scan", 16, [np.array(9, F), W[:0]], {"body": running_sum, "num_scan_inputs": 1},
         [np.array(9, F), W[:0]], outputs=2, note="no iteration"),
    # as ONNX Runtime gives it, which fills with zeros too
    Case("Scan", 8, [None, ZEROS, BATCH], {"body": running_sum, "num_scan_inputs": 1},
         [np.array([7, 56], F), np.cumsum(BATCH, 1)], outputs=2),
    Case("Scan", 8, [ints(3, 2), ZEROS, BATCH], {"body": running_sum, "num_scan_inputs": 1},
         [np.array([7, 24], F), np.array([[1, 3, 7], [8, 24, 0]], F)], outputs=2),
    Case("Scan", 8, [ints(3, 2), ZEROS, BATCH],
         {"body": running_sum, "num_scan_inputs": 1, "directions": [1]},
         [np.array([7, 24], F), np.array([[4, 6, 7], [16, 24, 0]], F)], outputs=2),
    Case("Scan", 8, [ints(0, 1), ZEROS, BATCH], {"body": running_sum, "num_scan_inputs": 1},
         [np.array([0, 8], F), np.array([[0, 0, 0], [8, 0, 0]], F)], outputs=2),
    Case("Scan", 8, [None, ZEROS[:0], BATCH[:0]], {"body": running_sum, "num_scan_inputs": 1},
         [ZEROS[:0], BATCH[:0]], outputs=2, note="an empty batch"),
]  # fmt: skip

CASES = LOOPS + SCANS


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_many_values_come_out_as_the_body_has(case):
    """A node may leave its last outputs unnamed; they are there all the same."""
    few = Case(case.operator, case.opset, case.inputs, case.attributes, case.expected, outputs=1)
    assert len(run_directly(few)) == 1
    body = case.attributes.get("body")
    if body is not None:
        many = Case(case.operator, case.opset, case.inputs, case.attributes, outputs=99)
        assert len(run_directly(many)) == len(body.output_types) - (case.operator == "Loop")


@graph((BOOL, ()), (None, None))
def growing(i, cond):
    return TRUE, np.zeros(int(i), F)


@graph((None, None))
def grown(x):
    return (np.zeros(int(x), F),)


@pytest.mark.parametrize(
    "operator, opset, inputs, attributes, message",
    [
        ("If", 16, [np.array([True, True])], BRANCHES, "one element"),
        ("Loop", 16, [scalar(3), TRUE], {"body": growing}, "changes between iterations"),
        ("Loop", 16, [ints(1, 2), TRUE], {"body": growing}, "one element"),
        ("Loop", 16, [scalar(0), TRUE], {"body": growing}, "no type"),
        ("Scan", 16, [W], {"body": grown, "num_scan_inputs": 1}, "changes between iterations"),
        (
            "Scan",
            16,
            [W],
            {"body": grown, "num_scan_inputs": 2},
            "num_scan_inputs 2 should be from 1 to",
        ),
        ("Scan", 16, [ZEROS, X, W[:2]], {"body": weighted, "num_scan_inputs": 2}, "length"),
        (
            "Scan",
            16,
            [W],
            {"body": grown, "num_scan_inputs": 1, "scan_input_axes": [0, 1]},
            "1 entries",
        ),
        (
            "Scan",
            8,
            [ints(4, 1), ZEROS, BATCH],
            {"body": running_sum, "num_scan_inputs": 1},
            "from 0 to 3",
        ),
        (
            "Scan",
            8,
            [None, W, BATCH],
            {"body": running_sum, "num_scan_inputs": 1},
            "batch size",
        ),
    ],
)
def test_invalid_input_is_refused(operator, opset, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, opset, inputs, attributes))


def test_an_error_in_the_body_comes_out_as_it_is():
    @graph()
    def failing(*inputs):
        raise ZeroDivisionError("inside")

    for operator, inputs, more in [
        ("Loop", [scalar(1), None], {}),
        ("Scan", [W], {"num_scan_inputs": 1}),
    ]:
        with pytest.raises(ZeroDivisionError, match="inside"):
            run_directly(Case(operator, 16, inputs, {"body": failing, **more}))
