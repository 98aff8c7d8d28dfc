"""Lists of many numbers or strings, packed or not, are read at once, as if one by one."""

from __future__ import annotations

import pickle
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
from onnxwalk.ops.contract.numbers import Numbers, Words

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


MODES = "LEAF BRANCH_LEQ BRANCH_LT BRANCH_GTE BRANCH_GT BRANCH_EQ BRANCH_NEQ".split()


@pytest.mark.parametrize(
    "words",
    [MODES, ["LEAF", "BRANCH_LEQ"], ["ab", "ba", "bb"], ["aa", "ab", "bb"], ["", "x"], ["same"],
     ["J", "LEAF"], ["\u00e9t\u00e9", "b"], [f"w{i}" for i in range(16)],
     [str(i) for i in range(40)], ["x" * 127, "y"], ["x" * 128, "y"]],
    ids=lambda words: words[-1][:8] or "empty",
)  # fmt: skip
def test_long_lists_of_few_words(words):
    """Also where the tag's byte, "J", is one of a word's, and where no byte tells words apart."""
    rng = np.random.default_rng(0)
    for count in (200, 5000, 200_000):
        values = [words[i] for i in rng.integers(0, len(words), count)]
        assert list(read_list(values)) == values
        late = [*values, "another", *values, "another"]  # a word that the first ones don't have
        assert list(read_list(late)) == late


def test_words_are_a_list():
    values = [MODES[i] for i in np.random.default_rng(0).integers(0, 7, 5000)]
    read = read_list(values)
    assert isinstance(read, Words) and read == values and values == read
    assert read[3] == values[3] and read[-1] == values[-1] and list(read[5:8]) == values[5:8]
    assert np.array(read, object).tolist() == values and np.array(read).tolist() == values
    assert read != values[1:] and read != "text" and read != [*values[:-1], ""]
    assert hash(read) == hash(read_list(values)) and pickle.loads(pickle.dumps(read)) == values
    assert read_list([b"\xff", *[b"\xfe"] * 5000])[:2] == [b"\xff", b"\xfe"]  # isn't UTF-8


def test_a_tensor_of_many_equal_strings():
    values = [MODES[i] for i in np.random.default_rng(0).integers(0, 7, 5000)]
    tensor = helper.make_tensor("t", TensorProto.STRING, [50, 100], [v.encode() for v in values])
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    read = read_node(node.SerializeToString()).attributes["value"].array
    assert read.shape == (50, 100) and read.reshape(-1).tolist() == values


def test_a_forest_of_all_modes():
    """As ONNX Runtime reads it."""
    rng = np.random.default_rng(0)
    depth, trees = 7, 12
    size, inner = (2 << depth) - 1, (1 << depth) - 1
    node, tree = np.tile(np.arange(size), trees), np.repeat(np.arange(trees), size)
    leaf = node >= inner
    values = np.where(leaf, 0, np.round(rng.standard_normal(tree.size), 1)).astype(np.float32)
    modes = np.where(leaf, "LEAF", np.array(MODES)[rng.integers(1, 7, leaf.size)]).tolist()
    model = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=tree, nodes_nodeids=node, nodes_values=values, nodes_modes=modes,
        nodes_featureids=np.where(leaf, 0, rng.integers(0, 5, tree.size)),
        nodes_truenodeids=np.where(leaf, 0, 2 * node + 1),
        nodes_falsenodeids=np.where(leaf, 0, 2 * node + 2),
        target_treeids=tree[leaf], target_nodeids=node[leaf],
        target_ids=np.zeros(leaf.sum(), np.int64),
        target_weights=rng.standard_normal(leaf.sum()).astype(np.float32),
    )  # fmt: skip
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [model], "g", [value("x", TensorProto.FLOAT, [None, 5])], [value("y", 1, [None, 1])]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    session = onnxwalk.load(data)
    assert isinstance(session.model.graph.nodes[0].attributes["nodes_modes"], Words)
    feeds = {"x": np.round(rng.standard_normal((50, 5)), 1).astype(np.float32)}
    theirs = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)
    np.testing.assert_allclose(session.run(None, feeds)[0], theirs[0], rtol=1e-5, atol=1e-5)
    unknown = data.replace(b"BRANCH_LEQ", b"BRANCH_LEX", 1)
    with pytest.raises(onnxwalk.OnnxWalkError, match="unknown mode 'BRANCH_LEX'"):
        onnxwalk.load(unknown).run(None, feeds)
