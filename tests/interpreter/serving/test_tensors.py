"""Tensors of the protocol in JSON and in bytes."""

import json
import math
import re

import numpy as np
import pytest

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.serving import tensors

BFLOAT16 = pytest.importorskip("ml_dtypes").bfloat16
VALUES = {
    "BOOL": np.array([[True, False], [False, True]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "UINT64": np.array([2**64 - 1, 0], np.uint64),
    "INT64": np.array([-(2**63), 2**63 - 1, 2**53 + 1]),
    "FP16": np.array([[1.5, np.inf, np.nan]], np.float16),
    "BF16": np.array([3.0, -np.inf, 1e30], BFLOAT16),
    "FP32": np.array([0.1, -np.inf, np.nan, 3e38], np.float32),
    "FP64": np.array([0.1, 1e308]),
    "BYTES": np.array([["", "é\n"], ["日本", '"']], object),
}


@pytest.mark.parametrize("datatype", VALUES)
def test_both_forms_there_and_back(datatype):
    array = VALUES[datatype]
    shape = array.shape
    text = json.dumps(tensors.to_json(array), allow_nan=False)
    for back in (
        tensors.from_json("x", datatype, shape, json.loads(text)),
        tensors.from_json("x", datatype, shape, _nested(json.loads(text), shape)),
        tensors.from_bytes("x", datatype, shape, tensors.to_bytes(array)),
    ):
        assert back.dtype == array.dtype and back.flags.writeable
        np.testing.assert_array_equal(back, array)
    if datatype != "BF16":  # NumPy's own types may come in the other order
        big_endian = array.astype(array.dtype.newbyteorder(">"))
        assert tensors.to_bytes(big_endian) == tensors.to_bytes(array)


def _nested(values, shape):
    return np.array(values, object).reshape(shape).tolist()


def test_nothing_in_it():
    for datatype in VALUES:
        for data in ([], [[], []]):
            array = tensors.from_json("x", datatype, (2, 0), data)
            assert array.shape == (2, 0) and array.dtype == VALUES[datatype].dtype
        assert tensors.from_bytes("x", datatype, (0,), b"").shape == (0,)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP32", (2,), [1, "a"], '"a" is not a value of FP32'),
        ("FP32", (2,), [1, None], "null is not a value of FP32"),
        ("FP32", (2,), [1, True], "true is not a value of FP32"),
        ("FP32", (2,), [1, {"a": 1}], '{"a": 1} is not a value of FP32'),
        ("FP32", (1,), [1e39], "a number is too large for FP32"),
        ("FP64", (1,), [10**400], "a number is too large for FP64"),
        ("INT32", (2,), [1, 2.0], "2.0 is not a value of INT32"),
        ("INT32", (2,), [1, "NaN"], '"NaN" is not a value of INT32'),
        ("INT8", (1,), [128], "a number is too large for INT8"),
        ("UINT8", (1,), [-1], "a number is too large for UINT8"),
        ("BOOL", (2,), [True, 1], "1 is not a value of BOOL"),
        ("BYTES", (2,), ["a", 1], "1 is not a value of BYTES"),
        ("BYTES", (1,), ["\ud800"], '"\\ud800" is not a value of BYTES'),
        ("BYTES", (1,), [["a"] * 3, ["b"]], "the lists in data have different lengths"),
        ("FP32", (2, 2), [[1, 2], [3]], "the lists in data have different lengths"),
        ("FP32", (2, 2), [[1, 2, 3, 4]], "have shape [1, 4], which isn't [2, 2], nor is it"),
        ("FP32", (2, 2), [1, 2, 3], "nor is it flat with 4 values"),
        ("FP32", (1,), "1", "data must be a list"),
        ("FP32", (1,), None, "data must be a list"),
    ],
)
def test_what_is_refused_in_json(datatype, shape, data, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)) as caught:
        tensors.from_json("x", datatype, shape, data)
    assert str(caught.value).startswith("input 'x': ")


def test_a_long_string_among_numbers_costs_no_memory():
    """NumPy would make room for as long a string in place of each number."""
    data = ["x" * 100_000, *range(100_000)]
    with pytest.raises(InvalidInputError, match="x… is not a value of FP32"):
        tensors.from_json("x", "FP32", (len(data),), data)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP32", (2,), b"1234", r"FP32 \[2\] has 8 bytes, got 4"),
        ("BYTES", (1,), b"\x05\0\0\0ab", "string 0 is cut off"),
        ("BYTES", (2,), b"\x01\0\0\0a\x01\0", "the last string is cut off"),
        ("BYTES", (1,), b"\x01\0\0\0\xff", "string 0 is not UTF-8"),
        ("BYTES", (2,), b"\x01\0\0\0a", "expected 2 strings, got 1"),
    ],
)
def test_what_is_refused_in_bytes(datatype, shape, data, message):
    with pytest.raises(InvalidInputError, match=message):
        tensors.from_bytes("x", datatype, shape, data)


@pytest.mark.parametrize("shape", [None, "2", [-1], [1.0], [True], [[1]], [1] * 65])
def test_a_shape_that_is_refused(shape):
    with pytest.raises(InvalidInputError, match="input 'x': shape"):
        tensors.check_shape("x", shape)


def test_classes():
    scores = np.array([[0.25, 0.5, 0.25], [math.nan, -1, 2]], np.float32)
    best = tensors.classify(scores, 2, ["cat", "dog"])
    assert best.tolist() == [
        ["0.500000:1:dog", "0.250000:0:cat"],
        ["2.000000:2", "-1.000000:1:dog"],
    ]
    assert tensors.classify(np.array([3, 7], np.int64), 9, []).tolist() == ["7:1", "3:0"]
    for wrong in (np.array(["a"], object), np.array(1.0)):
        with pytest.raises(InvalidInputError):
            tensors.classify(wrong, 1, [])


def test_maps_are_rows():
    rows, columns = tensors.rows_of_maps([{0: 0.25, 1: 0.75}, {0: 1.0, 1: 0.0}])
    assert columns == ["0", "1"] and rows.tolist() == [[0.25, 0.75], [1.0, 0.0]]
    assert tensors.rows_of_maps([])[0].shape == (0, 0)
    with pytest.raises(InvalidInputError):
        tensors.rows_of_maps([{"a": 1.0}, {"b": 1.0}])
