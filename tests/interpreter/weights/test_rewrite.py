"""Files with other weights: what changes and what stays, by ONNX and ONNX Runtime."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk

X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
W = np.arange(12, dtype=np.float32).reshape(4, 3)
B = np.zeros(3, np.float32)
NEW = {"w": W + 0.5, "b": B + 2}


def raw(array, name):
    return numpy_helper.from_array(array, name)


def typed(array, name):
    """In float_data."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist())


def save(path, make=raw, dtype=np.float32, **options):
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["then"])], "then", [],
        [helper.make_tensor_value_info("then", TensorProto.FLOAT, None)],
    )  # fmt: skip
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["else"], value=raw(np.ones((2, 3), np.float32), "w"))],
        "else", [], [helper.make_tensor_value_info("else", TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["v"], ["w"], to=TensorProto.FLOAT, name="the cast"),
        helper.make_node("If", ["yes"], ["a"], then_branch=body, else_branch=inner),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    tensors = [make(W.astype(dtype), "v"), make(B, "b"), raw(np.array(True), "yes")]
    tensors[0].doc_string = "a note"
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])], tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"key": "value"})
    onnx.save(model, path, **options)
    return path


def without_values(path):
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        place = tensor.name, list(tensor.dims), tensor.data_type, tensor.doc_string
        tensor.Clear()
        tensor.name, tensor.dims[:], tensor.data_type, tensor.doc_string = place
    return model


def runs(path):
    yield onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0]
    yield onnxwalk.load(path)(X)


@pytest.mark.parametrize("make", [raw, typed])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_new_values_and_all_else_as_it_was(make, dtype, tmp_path):
    path = save(tmp_path / "m.onnx", make, dtype)
    onnxwalk.write_weights(path, tmp_path / "n.onnx", {"v": NEW["w"].astype(dtype), "b": NEW["b"]})
    onnx.checker.check_model(tmp_path / "n.onnx", full_check=True)
    for y in runs(tmp_path / "n.onnx"):
        np.testing.assert_allclose(y, X @ NEW["w"] + NEW["b"], rtol=1e-5)
    assert without_values(tmp_path / "n.onnx") == without_values(path)
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "n.onnx"}


def test_the_same_values_are_the_same_file(tmp_path):
    path = save(tmp_path / "m.onnx")
    onnxwalk.write_weights(path, tmp_path / "n.onnx", {})
    assert (tmp_path / "n.onnx").read_bytes() == path.read_bytes()
    onnxwalk.write_weights(path, tmp_path / "n.onnx", {"v": W, "b": B})
    first, second = onnx.load(path), onnx.load(tmp_path / "n.onnx")
    for a, b in itertools.zip_longest(first.graph.initializer, second.graph.initializer):
        np.testing.assert_array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))


def test_bfloat16_and_a_scalar(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tensors = [
        helper.make_tensor("v", TensorProto.BFLOAT16, [2], [1.0, 2.0]),
        helper.make_tensor("s", TensorProto.DOUBLE, [], [3.0]),
    ]
    nodes = [helper.make_node("Identity", [name], [f"{name}_y"]) for name in ("v", "s")]
    outputs = [
        helper.make_tensor_value_info("v_y", TensorProto.BFLOAT16, [2]),
        helper.make_tensor_value_info("s_y", TensorProto.DOUBLE, []),
    ]
    graph = helper.make_graph(nodes, "g", [], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    new = {"v": np.array([5, 6], ml_dtypes.bfloat16), "s": np.array(7.0)}
    onnxwalk.write_weights(tmp_path / "m.onnx", tmp_path / "m.onnx", new)
    v, s = onnxwalk.load(tmp_path / "m.onnx").run(None, {})
    assert v.tolist() == [5, 6] and s == 7


@pytest.mark.parametrize("name", ["n.onnx", "m.onnx"], ids=["beside", "into the file itself"])
def test_external_data(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where ONNX Runtime looks for what an If reads, whatever the path
    path = save(
        tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="m.onnx.data",
        convert_attribute=True,
    )  # fmt: skip
    before = (tmp_path / "m.onnx.data").read_bytes()
    onnxwalk.write_weights(path, tmp_path / name, {"b": NEW["b"]})
    for y in runs(tmp_path / name):
        np.testing.assert_allclose(y, X @ W + NEW["b"], rtol=1e-5)
    data = "n.onnx.data" if name == "n.onnx" else "m.onnx.1.data"
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.onnx.data", name, data}
    assert (tmp_path / "m.onnx.data").read_bytes() == before
    written = onnx.load(tmp_path / name, load_external_data=False)
    places = [{e.key: e.value for e in t.external_data} for t in written.graph.initializer]
    assert {place["location"] for place in places} == {data}
    assert all(int(place["offset"]) % 4096 == 0 for place in places)
    for file in ("m.onnx", "m.onnx.data"):  # the new file doesn't need the old one's
        if file != name:
            (tmp_path / file).unlink()
    onnx.load(tmp_path / name)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"vv": W}, "there is no initializer 'vv'; did you mean 'v'"),
        ({"v": W.T}, r"initializer 'v' is float32 \(4, 3\), not float32 \(3, 4\)"),
        ({"v": W.astype(np.float64)}, r"is float32 \(4, 3\), not float64 \(4, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(arrays, message, tmp_path):
    path = save(tmp_path / "m.onnx")
    with pytest.raises(onnxwalk.InvalidInputError, match=message):
        onnxwalk.write_weights(path, tmp_path / "n.onnx", arrays)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_texts_are_refused(tmp_path):
    tensor = helper.make_tensor("t", TensorProto.STRING, [1], ["a"])
    value = helper.make_tensor_value_info("y", TensorProto.STRING, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["t"], ["y"])], "g", [], [value],
                              [tensor])  # fmt: skip
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    with pytest.raises(onnxwalk.InvalidInputError, match="'t' is sparse, holds texts, or has"):
        onnxwalk.write_weights(tmp_path / "m.onnx", tmp_path / "n.onnx", {"t": np.array(["b"])})


def test_a_failure_leaves_nothing_behind(tmp_path):
    path = save(tmp_path / "m.onnx")
    with pytest.raises(onnxwalk.InvalidInputError, match=r"n\.onnx: can't be written"):
        onnxwalk.write_weights(path, tmp_path / "absent" / "n.onnx", {"b": NEW["b"]})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(onnxwalk.InvalidInputError):
        onnxwalk.write_weights(path, tmp_path / "folder", {"b": NEW["b"]})
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "folder"}


def test_a_large_graph_keeps_its_order(tmp_path):
    """Lengths of messages of more than one byte, and many tensors."""
    names = [f"w{i}" for i in range(300)]
    nodes = [helper.make_node("Sum", names, ["y"])]
    tensors = [raw(np.full(7, i, np.float32), name) for i, name in enumerate(names)]
    graph = helper.make_graph(
        nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [7])], tensors
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    new = {name: np.full(7, i % 3, np.float32) for i, name in enumerate(names) if i % 2}
    onnxwalk.write_weights(tmp_path / "m.onnx", tmp_path / "n.onnx", new)
    written = onnx.load(tmp_path / "n.onnx")
    assert [t.name for t in written.graph.initializer] == names
    for i, tensor in enumerate(written.graph.initializer):
        assert (numpy_helper.to_array(tensor) == (i % 3 if i % 2 else i)).all()
