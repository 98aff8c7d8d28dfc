"""Damaged, malformed and hostile files end in InvalidModelError with the offset or the name."""

import gzip
import hashlib
import os
import shutil
import struct

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxwalk import InvalidInputError, InvalidModelError, UnsupportedModelError
from onnxwalk.interpreter.errors import OnnxWalkError
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.reader.source import Source


def small_model():
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="dense", alpha=0.5)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(np.ones((3, 2), np.float32), "w"),
            helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, 2.0]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


DATA = small_model().SerializeToString()


def with_tensor(**fields):
    tensor = TensorProto(name="w", **fields)
    return helper.make_model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString()


@pytest.mark.parametrize("end", range(len(DATA)))
def test_truncated_anywhere(end):
    """Cut off within a field: an error. Cut off between two fields it may still be a model."""
    try:
        read_model(DATA[:end])
    except InvalidModelError as error:
        assert str(error).startswith("model from bytes: ") and "\n" not in str(error)


def test_most_truncations_are_noticed():
    noticed = 0
    for end in range(len(DATA)):
        try:
            read_model(DATA[:end])
        except InvalidModelError:
            noticed += 1
    assert noticed > 0.95 * len(DATA)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(0, 255), st.binary(max_size=4))
def test_any_change_of_bytes_is_read_or_refused(position, value, inserted):
    data = DATA[:position] + bytes([value]) + inserted + DATA[position + 1 :]
    try:
        read_model(data)
    except OnnxWalkError as error:
        assert "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        read_model(data)  # b":\0" is a whole model: one with an empty graph
    except OnnxWalkError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\x3a\xff\xff\xff\xff\x0f\x00", "field 7 at byte 0 is 4294967295 bytes long, 1 are left"),
        (b"\x08" + b"\xff" * 11, "the number at byte 1 is longer than ten bytes"),
        (b"\x08\x80", "the file is cut off in the number at byte 1"),
        (b"\x0b", "wire type 3 at byte 0 is not used by ONNX"),
        (b"\x38\x01", "graph at byte 0 has wire type 0"),
        (b"\x12\x02\xff\xff", "producer_name at byte 0 is not UTF-8"),
        (b"\x08\x07", "it has no graph"),
        (b"\x00\x01", "field number 0 at byte 0"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5 file .* onnxwalk-export"),
        (b"PK\x03\x04" + bytes(50), r"zip archive \(a .keras model.* onnxwalk-export"),
        (bytes(4) + b"ORTM" + bytes(50), ".ort format"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>", "a web page"),
        (b'\xef\xbb\xbf\n{"error":"Invalid username or password."}', "JSON text: an error"),
        (b'{"irVersion": "8", "graph": {}}', r"onnx.load\(path, format='json'\)"),
        (b'ir_version: 8\ngraph {\n  name: "g"\n}\n', r"format='textproto'"),
        (gzip.compress(b"\x08\x07"), "a gzip file: unpack it first"),
        (b"\x10\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32"}}', "a safetensors file"),
    ],
    ids=range(19),
)
def test_malformed_bytes(data, message):
    with pytest.raises(InvalidModelError, match=message):
        read_model(data)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data_type": 1, "dims": [3], "raw_data": b"1234"}, "4 bytes of data, but float of shape"),
        ({"data_type": 1, "dims": [3], "float_data": [1, 2]}, "2 numbers in float_data"),
        ({"data_type": 1, "dims": [-3], "raw_data": b""}, "negative dimension"),
        ({"data_type": 1, "dims": [2**40, 2**40], "raw_data": b"1234"}, "needs"),
        ({"data_type": 99, "dims": [1], "raw_data": b"1234"}, "99 is not a data type"),
        ({"data_type": 8, "dims": [2], "string_data": [b"a"]}, "1 strings for 2 elements"),
        ({"data_type": 8, "dims": [1], "string_data": [b"\xff"]}, "not UTF-8"),
        ({"data_type": 3, "dims": [1], "int32_data": [300]}, "out of range for int8"),
        ({"data_type": 6, "dims": [2], "int64_data": [1, 2]}, "0 numbers in int32_data"),
        ({"data_type": 22, "dims": [3], "raw_data": b"1"}, "1 bytes of data, but int4"),
    ],
    ids=str,
)
def test_tensors_that_contradict_themselves(fields, message):
    with pytest.raises(InvalidModelError, match=f"tensor 'w': .*{message}"):
        read_model(with_tensor(**fields))


@pytest.mark.parametrize(
    "kind",
    [
        helper.make_tensor_type_proto(71, None),
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(71, None)),
        helper.make_map_type_proto(71, helper.make_tensor_type_proto(1, None)),
    ],
    ids=["tensor", "sequence", "map"],
)
def test_types_that_do_not_exist(kind):
    graph = helper.make_graph([], "g", [helper.make_value_info("x", kind)], [])
    with pytest.raises(InvalidModelError, match="value 'x': 71 is not a tensor element type"):
        read_model(helper.make_model(graph))


def test_duplicate_and_missing_names():
    one = numpy_helper.from_array(np.ones(1), "w")
    with pytest.raises(InvalidModelError, match="initializer 'w' is defined twice"):
        read_model(helper.make_model(helper.make_graph([], "g", [], [], [one, one])))
    with pytest.raises(InvalidModelError, match="an initializer has no name"):
        nameless = numpy_helper.from_array(np.ones(1))
        read_model(helper.make_model(helper.make_graph([], "g", [], [], [nameless])))
    node = helper.make_node("Relu", ["x"], ["y"])
    node.op_type = ""
    with pytest.raises(InvalidModelError, match="node 'y' has no op_type"):
        read_model(helper.make_model(helper.make_graph([node], "g", [], [])))


def nested(levels):
    graph = helper.make_graph([], "innermost", [], [])
    for level in range(levels):
        node = helper.make_node("If", ["c"], ["y"], name=f"n{level}")
        attribute = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        attribute.g.CopyFrom(graph)
        graph = helper.make_graph([node], f"g{level}", [], [])
    return graph


def test_nesting_has_an_end():
    assert read_model(helper.make_model(nested(30))).graph.name == "g29"
    # protobuf itself refuses to write deeper, so the bytes are made by hand
    data = b""
    for field in [b"\x32", b"\x2a", b"\x0a"] * 200:  # g, attribute, node
        length = len(data)
        varint = b""
        while length > 127:
            varint += bytes([length & 127 | 128])
            length >>= 7
        data = field + varint + bytes([length]) + data
    deep = b"\x3a" + _varint(len(data)) + data
    with pytest.raises(InvalidModelError, match="nest deeper than 100"):
        read_model(deep)


def _varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def test_unknown_fields_are_skipped():
    extra = b"\xf8\x07\x05" + b"\xfa\x07\x03abc" + b"\xfd\x07" + struct.pack("<f", 1)
    assert read_model(extra + DATA + extra).graph.nodes[0].name == "dense"


@pytest.mark.parametrize("model", [None, 5, ["m.onnx"]], ids=repr)
def test_what_is_no_model(model):
    with pytest.raises(InvalidInputError, match="give a path, bytes, a binary file"):
        read_model(model)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidInputError, match="no such file"):
        read_model(tmp_path / "missing.onnx")
    with pytest.raises(InvalidInputError, match="a folder, not a file"):
        read_model(tmp_path)
    text = tmp_path / "model.txt"
    text.write_text("hello")
    with open(text) as file, pytest.raises(InvalidInputError, match="binary mode"):
        read_model(file)
    with pytest.raises(InvalidInputError):
        read_model("bad\0name")


# --- external data stays inside the model's folder


def external(location, **entries):
    tensor = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return helper.make_model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString()


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "w.bin").write_bytes(np.array([1, 2], np.float32).tobytes())
    (tmp_path / "secret").write_bytes(bytes(8))
    return inside


def read_external(folder, *args, **kwargs):
    path = folder / "m.onnx"
    path.write_bytes(external(*args, **kwargs))
    return read_model(path).graph.initializers["w"].array


def test_external_data_is_read(folder):
    digest = hashlib.sha1((folder / "w.bin").read_bytes()).hexdigest()
    for entries in ({}, {"offset": 0, "length": 8}, {"checksum": digest}):
        assert read_external(folder, "w.bin", **entries).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../secret", {}, "must not leave"),
        ("sub/../../secret", {}, "must not leave"),
        ("..\\secret", {}, "must not leave"),
        ("/etc/passwd", {}, "within the model's folder"),
        ("C:\\secret", {}, "within the model's folder"),
        ("", {}, "within the model's folder"),
        ("missing", {}, "no such file"),
        (".", {}, "within the model's folder"),
        ("w.bin", {"offset": 4}, "4 bytes of data"),
        ("w.bin", {"offset": 4, "length": 8}, "bytes 4 to 12 of 'w.bin', which has 8"),
        ("w.bin", {"offset": 100}, "of 'w.bin', which has 8"),
        ("w.bin", {"offset": -4}, "offset '-4' is not a number"),
        ("w.bin", {"length": "x"}, "length 'x' is not a number"),
        ("w.bin", {"checksum": "00"}, "checksum"),
    ],
    ids=str,
)
def test_external_data_is_refused(folder, location, entries, message):
    with pytest.raises(InvalidModelError, match=f"tensor 'w': .*{message}"):
        read_external(folder, location, **entries)


def test_links_are_not_followed(folder):
    os.symlink(folder.parent / "secret", folder / "soft")
    os.link(folder.parent / "secret", folder / "hard")
    os.symlink(folder.parent, folder / "up")
    for location in ("soft", "hard", "up/secret"):
        with pytest.raises(InvalidModelError, match=r"links are (not )?followed"):
            read_external(folder, location)


def test_links_of_a_cache_are_followed(folder):
    """As huggingface_hub keeps them: model and data are links to files in one other folder."""
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "0123" / "onnx"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "aa").write_bytes(external("w.bin"))
    shutil.copy(folder / "w.bin", blobs / "bb")
    for name, blob in (("model.onnx", "aa"), ("w.bin", "bb")):
        os.symlink(f"../../../blobs/{blob}", snapshot / name)
    model = read_model(snapshot / "model.onnx")
    assert model.graph.initializers["w"].array.tolist() == [1, 2]
    (snapshot / "w.bin").unlink()
    os.symlink(folder.parent / "secret", snapshot / "w.bin")
    with pytest.raises(InvalidModelError, match="only to files next to the model's real file"):
        read_model(snapshot / "model.onnx")


def test_a_link_is_not_followed_where_another_file_is_the_model_now(folder):
    """The model's link leads to another folder after the model has been opened."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model.onnx").write_bytes(b"not the one that was opened")
    shutil.copy(folder / "w.bin", elsewhere / "w.bin")
    (folder / "model.onnx").write_bytes(external("data"))
    os.symlink(elsewhere / "w.bin", folder / "data")
    source = Source.open(folder / "model.onnx")
    (folder / "model.onnx").unlink()
    os.symlink(elsewhere / "model.onnx", folder / "model.onnx")
    with pytest.raises(InvalidModelError, match="only to files next to the model's real file"):
        read_model(source)


@pytest.mark.parametrize("location", ["w.bin", "inner/w.bin"])
def test_what_becomes_a_link_meanwhile_is_not_followed(folder, location, monkeypatch):
    (folder / "inner").mkdir(exist_ok=True)
    for name in ("w.bin", "inner"):
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
        os.symlink(folder.parent, folder / name)
    monkeypatch.setattr("pathlib.Path.is_symlink", lambda path: False)  # as it was a moment ago
    with pytest.raises(InvalidModelError, match="can't be read"):
        read_external(folder, location)


def test_devices_are_not_read(folder):
    os.mkfifo(folder / "fifo")
    with pytest.raises(InvalidModelError, match="not a regular file"):
        read_external(folder, "fifo")


def test_bytes_have_no_folder():
    with pytest.raises(UnsupportedModelError, match=r"tensor 'w' .* load the model by its path"):
        read_model(external("w.bin"))


def test_low_precision_without_ml_dtypes(monkeypatch):
    import sys

    from onnxwalk.ops.contract import dtypes

    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    dtypes.numpy_dtype.cache_clear()
    try:
        with pytest.raises(
            UnsupportedModelError, match=r"'w': .*bfloat16.*pip install -U ml_dtypes"
        ):
            read_model(with_tensor(data_type=16, dims=[1], raw_data=b"\0\0"))
    finally:
        dtypes.numpy_dtype.cache_clear()
