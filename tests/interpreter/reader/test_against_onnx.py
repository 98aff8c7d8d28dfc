"""Every model at hand, parsed by onnx and by our reader, gives equal graphs and tensors."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from onnxwalk.interpreter.reader import read_model
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES
from tests.support.same_as_onnx import assert_same_model

FILES = sorted((Path(onnx.__file__).parent / "backend/test/data").rglob("*.onnx"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_files_that_ship_with_onnx(path):
    assert_same_model(read_model(path), onnx.load(path), str(path.parent))


def test_backend_node_cases():
    cases = load_model_tests(kind="node")
    assert len(cases) > 1000
    for case in cases:
        assert_same_model(read_model(case.model), case.model)


def model_with(*tensors, **kwargs):
    graph = helper.make_graph([], "g", [], [], initializer=list(tensors), **kwargs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


TYPES = [code for code in ELEMENT_TYPES if code != TensorProto.STRING]


@pytest.mark.parametrize("code", TYPES, ids=lambda code: ELEMENT_TYPES[code].name)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("raw", [True, False], ids=["raw_data", "typed"])
def test_every_element_type(code, shape, raw):
    rng = np.random.default_rng(code)
    dtype = helper.tensor_dtype_to_np_dtype(code)
    count = int(np.prod(shape))
    if ELEMENT_TYPES[code].name == "bool":
        values = rng.integers(0, 2, count).astype(bool)
    elif dtype.kind in "iu" and ELEMENT_TYPES[code].bits >= 8:
        info = np.iinfo(dtype)
        values = rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)
    elif ELEMENT_TYPES[code].name.startswith("int"):
        half = 1 << (ELEMENT_TYPES[code].bits - 1)
        values = rng.integers(-half, half, count).astype(dtype)
    elif ELEMENT_TYPES[code].name.startswith("uint"):
        values = rng.integers(0, 1 << ELEMENT_TYPES[code].bits, count).astype(dtype)
    elif dtype.kind == "c":
        values = (rng.normal(size=count) + 1j * rng.normal(size=count)).astype(dtype)
    else:
        values = rng.normal(size=count).astype(dtype)
    array = np.asarray(values).reshape(shape)
    tensor = numpy_helper.from_array(array, "t")
    if not raw:
        field = helper.tensor_dtype_to_field(code)
        stored = typed_values(array, code)
        tensor = TensorProto(name="t", data_type=code, dims=shape)
        getattr(tensor, field).extend(stored)
    proto = model_with(tensor)
    model = read_model(proto)
    assert_same_model(model, proto)
    ours = model.graph.initializers["t"].array
    assert ours.dtype == array.dtype and ours.tobytes() == array.tobytes()


def typed_values(array, code):
    """The numbers that a typed field holds for an array."""
    element = ELEMENT_TYPES[code]
    if element.name.startswith("complex"):
        return np.ravel(array).view(f"f{array.dtype.itemsize // 2}").tolist()
    if element.bits in (2, 4):
        return list(numpy_helper.from_array(array).raw_data)
    if element.in_ml_dtypes or element.name == "float16":
        return np.ravel(array).view(f"u{array.dtype.itemsize}").tolist()
    return np.ravel(array).astype(int if element.name == "bool" else array.dtype).tolist()


def test_strings_and_sparse_tensors():
    strings = numpy_helper.from_array(np.array([["a", "déjà vu"], ["", "語"]], object), "s")
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([1.5, -2], np.float32), "p"),
        numpy_helper.from_array(np.array([[0, 1], [2, 3]], np.int64), "p_i"),
        [3, 4],
    )
    proto = model_with(strings)
    proto.graph.sparse_initializer.append(sparse)
    model = read_model(proto)
    assert_same_model(model, proto)
    dense = model.graph.initializers["p"].to_dense()
    assert dense.shape == (3, 4) and dense[0, 1] == 1.5 and dense[2, 3] == -2
    assert np.count_nonzero(dense) == 2


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40),
    st.lists(st.integers(0, 2**64 - 1), max_size=40),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40),
)
def test_packed_numbers(signed, unsigned, small):
    tensors = [
        helper.make_tensor("a", TensorProto.INT64, [len(signed)], signed),
        helper.make_tensor("b", TensorProto.UINT64, [len(unsigned)], unsigned),
        helper.make_tensor("c", TensorProto.INT32, [len(small)], small),
    ]
    found = read_model(model_with(*tensors)).graph.initializers
    assert found["a"].array.tolist() == signed
    assert found["b"].array.tolist() == unsigned
    assert found["c"].array.tolist() == small


def test_every_attribute_type():
    tensor = numpy_helper.from_array(np.arange(3.0), "t")
    sparse = helper.make_sparse_tensor(
        tensor, numpy_helper.from_array(np.arange(3, dtype=np.int64), "i"), [5]
    )
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "inner", [], [])
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, ["n", None, 3]))
    node = helper.make_node(
        "Everything",
        ["x", "", "z"],
        ["y"],
        domain="mine",
        f=1.5,
        i=-7,
        s="text",
        b=b"\xff\xfe",
        t=tensor,
        g=graph,
        floats=[1.0, float("nan"), float("inf")],
        ints=[-(2**63), 0, 2**63 - 1],
        strings=["a", b"\xff"],
        tensors=[tensor, tensor],
        graphs=[graph, graph],
        sparse=sparse,
        sparses=[sparse],
        kind=kind,
        kinds=[kind, helper.make_map_type_proto(7, kind), helper.make_optional_type_proto(kind)],
    )
    proto = helper.make_model(helper.make_graph([node], "g", [], []))
    proto.metadata_props.add(key="k", value="v")
    proto.doc_string = "about"
    model = read_model(proto)
    assert_same_model(model, proto)
    assert model.graph.nodes[0].attributes["strings"] == ["a", b"\xff"]


def test_weights_are_views_of_the_file(tmp_path):
    weights = np.arange(100000, dtype=np.float32)
    path = tmp_path / "m.onnx"
    onnx.save(model_with(numpy_helper.from_array(weights, "w")), path)
    array = read_model(path).graph.initializers["w"].array
    assert not array.flags.owndata and not array.flags.writeable
    np.testing.assert_array_equal(array, weights)


def test_sources_agree(tmp_path):
    proto = model_with(numpy_helper.from_array(np.arange(4.0), "w"))
    data = proto.SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with open(path, "rb") as file:
        for source in (str(path), path, data, bytearray(data), memoryview(data), file, proto):
            assert_same_model(read_model(source), proto)


def test_external_data(tmp_path):
    weights = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    proto = model_with(numpy_helper.from_array(weights, "w"))
    path = tmp_path / "m.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    model = read_model(path)
    assert_same_model(model, onnx.load(path, load_external_data=False), str(tmp_path))
    np.testing.assert_array_equal(model.graph.initializers["w"].array, weights)
    assert not model.graph.initializers["w"].array.flags.owndata
