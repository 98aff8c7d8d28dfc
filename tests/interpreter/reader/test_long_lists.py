"""Lists of many numbers or strings, packed or not, are read at once, as if one by one."""

from __future__ import annotations

import struct

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import onnxwalk
from onnxwalk.interpreter.reader.build import read_node
from onnxwalk.ops.contract.numbers import Numbers

INT64 = st.one_of(st.integers(0, 200), st.integers(-(2**63), 2**63 - 1))
FLOAT = st.floats(width=32, allow_nan=False)
STRING = st.one_of(st.sampled_from(["LEAF", "BRANCH_LEQ", ""]), st.text(max_size=300))


def read_list(values):
    node = helper.make_node("Op", ["x"], ["y"], values=values, end=3)
    read = read_node(node.SerializeToString())
    assert read.attributes["end"] == 3
    return read.attributes["values"]


@pytest.mark.parametrize("values", [INT64, FLOAT, STRING], ids=["ints", "floats", "strings"])
def test_every_length(values):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(values, min_size=1, max_size=300), st.integers(1, 8))
    def check(items, times):
        assert list(read_list(items * times)) == items * times

    check()


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def node_of(fields: bytes, kind: int) -> bytes:
    """A NodeProto with one attribute "values" of this type."""
    attribute = b"\x0a\x06values" + fields + b"\xa0\x01" + varint(kind)
    return b"\x22\x02Op" + b"\x2a" + varint(len(attribute)) + attribute


@pytest.mark.parametrize("count", [63, 64, 65, 200, 5000, 300_000])
@pytest.mark.parametrize("packed", [False, True])
def test_packed_and_unpacked(count, packed):
    rng = np.random.default_rng(count)
    ints = rng.integers(-(2**63), 2**63 - 1, count) >> rng.integers(0, 64, count)
    floats = rng.standard_normal(count).astype(np.float32)
    for values, kind, tag, encode in (
        (ints.tolist(), 7, 0x40, varint),
        (floats.tolist(), 6, 0x3D, lambda x: struct.pack("<f", x)),
    ):
        encoded = [encode(value) for value in values]
        body = b"".join(encoded)
        if packed:
            fields = bytes([tag & 0xF8 | 2]) + varint(len(body)) + body
        else:
            fields = b"".join(bytes([tag]) + item for item in encoded)
        read = read_node(node_of(fields, kind)).attributes["values"]
        assert list(read) == values
        assert isinstance(read, Numbers if count >= 1024 else list)


def test_a_list_that_is_cut_off_is_an_error():
    fields = b"".join(b"\x40" + varint(10**12) for _ in range(200))
    for end in range(1, 8):
        with pytest.raises(onnxwalk.InvalidModelError):
            read_node(node_of(fields, 7)[:-end])
    endless = b"\x40" + b"\xff" * 11
    with pytest.raises(onnxwalk.InvalidModelError, match="longer than ten bytes"):
        read_node(node_of(fields + endless, 7))


def test_fields_of_other_tags_in_between():
    one = b"".join(b"\x40" + varint(i) for i in range(100))
    other = b"".join(b"\x3d" + struct.pack("<f", i) for i in range(100))
    fields = one + other + one
    assert list(read_node(node_of(fields, 7)).attributes["values"]) == [*range(100), *range(100)]
    assert list(read_node(node_of(fields, 6)).attributes["values"]) == list(range(100))


def test_numbers_are_a_list():
    array = np.arange(2000, dtype=np.int64)
    numbers = Numbers(array)
    assert numbers == list(range(2000)) and list(range(2000)) == numbers
    assert numbers[3] == 3 and type(numbers[3]) is int and numbers[-1] == 1999
    assert list(numbers[5:8]) == [5, 6, 7] and len(numbers) == 2000
    assert np.array(numbers, np.float32).dtype == np.float32
    assert np.array(Numbers(array.astype(np.float32))).dtype == np.float64
    assert numbers != [1] and numbers != "text" and hash(numbers) == hash(Numbers(array.copy()))
    assert set(map(type, numbers)) == {int}


def test_a_label_encoder_with_many_keys():
    keys = np.random.default_rng(0).permutation(5000)
    node = helper.make_node(
        "LabelEncoder",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        keys_int64s=keys.tolist(),
        values_floats=(keys * 0.5).tolist(),
    )
    x = helper.make_tensor_value_info("x", TensorProto.INT64, [None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=8
    )
    onnx.checker.check_model(model)
    feeds = {"x": np.array([0, 17, 4999, 5000])}
    ours = onnxwalk.load(model).run(None, feeds)
    theirs = ort.InferenceSession(model.SerializeToString()).run(None, feeds)
    np.testing.assert_array_equal(ours, theirs)
