"""Files: whole or not there, the same bytes that protobuf would write, large ones in two parts."""

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxwalk
from onnxwalk.export.conversion.draft import attach_weights, detach_weights
from onnxwalk.export.errors import ExportError
from onnxwalk.export.write import staged_file, write_model
from onnxwalk.interpreter.reader.wire import varint
from tests.export.test_clean import array, graph, node


def draft():
    model = graph(
        [node("MatMul", "x w", "a"), node("Add", "a b", "y")],
        {"w": array(3, 600), "b": array(600), "unused": np.array([b"text", b""], object)},
    )
    model.metadata_props.add(key="k", value="v")
    return detach_weights(model)


def test_a_file_is_what_protobuf_reads(tmp_path):
    write_model(draft(), tmp_path / "m.onnx")
    read = onnx.load(tmp_path / "m.onnx")
    wanted = attach_weights(draft())
    for model in (read, wanted):
        model.graph.initializer.sort(key=lambda t: t.name)
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")
    assert read == wanted


def test_weights_beside_the_model(tmp_path):
    x = array(2, 4, 5, 3)
    write_model(draft(), tmp_path / "a.onnx")
    write_model(draft(), tmp_path / "b.onnx", largest=4000)
    assert (tmp_path / "b.onnx.data").stat().st_size > 9000
    inside = [t.name for t in onnx.load(tmp_path / "b.onnx", load_external_data=False)
              .graph.initializer if t.data_location != t.EXTERNAL]  # fmt: skip
    assert inside == ["unused"]
    onnx.checker.check_model(str(tmp_path / "b.onnx"))
    ours = onnxwalk.load(tmp_path / "b.onnx")(x)
    theirs = onnxruntime.InferenceSession(tmp_path / "b.onnx").run(None, {"x": x})[0]
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_nothing_is_left_when_something_fails(tmp_path):
    with pytest.raises(RuntimeError), staged_file(draft(), tmp_path / "m.onnx") as path:
        assert path.exists()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with staged_file(draft(), tmp_path / "m.onnx", largest=4000):
        assert not (tmp_path / "m.onnx").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    with (
        pytest.raises(ExportError, match="can't be written"),
        staged_file(draft(), tmp_path / "no/m"),
    ):
        pass
    with staged_file(draft(), None) as path:
        folder = path.parent
    assert not folder.exists()


def test_varint():
    assert [varint(n) for n in (0, 127, 128, 300)] == [b"\0", b"\x7f", b"\x80\x01", b"\xac\x02"]
