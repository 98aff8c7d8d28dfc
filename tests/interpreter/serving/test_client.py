"""``onnxwalk serve`` with Triton's own client."""

import contextlib

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from tests.interpreter.cli.conftest import save
from tests.interpreter.serving.conftest import DEMO, same

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
triton = pytest.importorskip("tritonclient.http")
ml_dtypes = pytest.importorskip("ml_dtypes")

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)
DATATYPES = {
    "BOOL": np.array([[True, False]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-5, 7]], np.int16),
    "INT32": np.array([[-5], [7]], np.int32),
    "INT64": np.array([[2**53 + 1]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[2**64 - 1]], np.uint64),
    "FP16": np.array([[0.1, np.inf]], np.float16),
    "BF16": np.array([[0.1, -3]], ml_dtypes.bfloat16),
    "FP32": np.array([[0.1, np.nan, -np.inf]], np.float32),
    "FP64": np.array([[0.1, 1e300]]),
    "BYTES": np.array([["é", ""], ["日本語", "a\n"]], object),
}
ONNX_TYPES = [
    T.BOOL, T.INT8, T.INT16, T.INT32, T.INT64, T.UINT8, T.UINT16, T.UINT32, T.UINT64, T.FLOAT16,
    T.BFLOAT16, T.FLOAT, T.DOUBLE, T.STRING,
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for datatype, code in zip(DATATYPES, ONNX_TYPES, strict=True):
        same(folder / f"{datatype}.onnx", [code])
    for version in (1, 2, 10):
        (folder / "plus" / str(version)).mkdir(parents=True)
        node = helper.make_node("Add", ["x", "c"], ["y"])
        types = [("x", T.FLOAT, ["n"])], [("y", T.FLOAT, ["n"])]
        constant = {"c": np.float32(version)}
        save(folder / "plus" / str(version) / "model.onnx", [node], *types, constant)
    same(folder / "two.onnx", [T.FLOAT, T.STRING])
    return folder


@pytest.fixture(scope="module")
def server(serve, folder):
    return serve(
        DEMO / "digits.onnx",
        f"reviews={DEMO / 'lstm.onnx'}",
        folder / "plus",
        folder / "two.onnx",
        f"two:7={folder / 'two.onnx'}",
        *(folder / f"{datatype}.onnx" for datatype in DATATYPES),
    )


@pytest.fixture(scope="module")
def client(server):
    with contextlib.closing(triton.InferenceServerClient(f"{server.host}:{server.port}")) as it:
        yield it


def tensor(name, array, datatype="FP32", **options):
    found = triton.InferInput(name, list(array.shape), datatype)
    return found.set_data_from_numpy(array, **options)


def refused(call, *args, **named):
    with pytest.raises(triton.InferenceServerException) as caught:
        call(*args, **named)
    return caught.value.status(), caught.value.message()


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("digits") and client.is_model_ready("plus", "2")
    assert not client.is_model_ready("cats") and not client.is_model_ready("plus", "3")
    assert client.get_server_metadata() == {
        "name": "onnxwalk",
        "version": onnxwalk.__version__,
        "extensions": ["binary_tensor_data", "classification", "model_repository"],
    }
    assert client.get_model_metadata("digits") == {
        "name": "digits",
        "versions": ["1"],
        "platform": "onnxwalk_onnx",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8, 1]}],
        "outputs": [{"name": "dense_1", "datatype": "FP32", "shape": [-1, 10]}],
    }
    assert client.get_model_metadata("plus")["versions"] == ["1", "2", "10"]
    index = {(m["name"], m["version"], m["state"]) for m in client.get_model_repository_index()}
    assert {("digits", "1", "READY"), ("two", "1", "READY"), ("two", "7", "READY")} <= index


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_inference(client, binary, compression):
    expected = onnxwalk.load(DEMO / "digits.onnx")(IMAGES)
    result = client.infer(
        "digits",
        [tensor("image", IMAGES, binary_data=binary)],
        outputs=[triton.InferRequestedOutput("dense_1", binary_data=binary)],
        request_id="number 7",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    np.testing.assert_array_equal(result.as_numpy("dense_1"), expected)
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"]) == ("digits", "1")
    assert answer["id"] == "number 7"
    without = client.infer("digits", [tensor("image", IMAGES)])  # all outputs, in binary
    np.testing.assert_array_equal(without.as_numpy("dense_1"), expected)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("binary", [True, False])
def test_every_type(client, datatype, binary):
    array = DATATYPES[datatype]
    given = binary or datatype == "BF16"  # the client sends no bfloat16 in JSON
    result = client.infer(
        datatype,
        [tensor("x", array, datatype, binary_data=given)],
        outputs=[triton.InferRequestedOutput("same_x", binary_data=binary)],
    )
    found = result.as_numpy("same_x")
    if datatype == "BYTES" and binary:
        found = np.vectorize(bytes.decode, otypes=[object])(found)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_versions(client):
    x = tensor("x", np.zeros(1, np.float32))
    for asked, given in (("", "10"), ("1", "1"), ("2", "2"), ("10", "10")):
        result = client.infer("plus", [x], model_version=asked)
        assert result.as_numpy("y") == float(given)
        assert result.get_response()["model_version"] == given
    status, message = refused(client.infer, "plus", [x], model_version="3")
    assert (status, message) == ("404", "model 'plus' has no version '3'; it has 1, 2, 10")


def test_classes(client):
    ids = np.ones((2, 16), np.int32)
    asked = [triton.InferRequestedOutput("dense_3", class_count=2)]
    result = client.infer("reviews", [tensor("ids", ids, "INT32")], outputs=asked)
    scores = onnxwalk.load(DEMO / "lstm.onnx")(ids)
    best = result.as_numpy("dense_3")
    assert best.shape == (2, 2)
    value, index = best[0, 0].decode().split(":")[:2]
    assert int(index) == scores[0].argmax() and float(value) == pytest.approx(scores[0].max(), 1e-5)


def test_only_what_is_asked_for(client):
    words = np.array([["a"]], object)
    inputs = [tensor("x", np.ones((1, 1), np.float32)), tensor("x1", words, "BYTES")]
    asked = [triton.InferRequestedOutput("same_x1", binary_data=False)]
    result = client.infer("two", inputs, outputs=asked)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["same_x1"]
    assert result.as_numpy("same_x1").tolist() == [["a"]]


def test_what_is_refused(client):
    def digits(*inputs, **more):
        return refused(client.infer, "digits", list(inputs), **more)

    image = tensor("image", IMAGES)
    assert digits(tensor("picture", IMAGES))[1] == "no input is named 'picture'; known: image"
    assert digits(image, image)[1] == "input 'image' was given twice"
    assert "image' is FP32, got FP64" in digits(tensor("image", IMAGES.astype(float), "FP64"))[1]
    wrong = tensor("image", IMAGES[:, :4])
    assert "expected size 8 in dimension 1" in digits(wrong)[1]
    assert digits(image, outputs=[triton.InferRequestedOutput("dense")]) == (
        "400",
        "no output is named 'dense'; did you mean 'dense_1'?",
    )
    for more, named in (
        ({"sequence_id": 3}, "sequence_id"),
        ({"priority": 1}, "priority"),
        ({"parameters": {"temperature": 1}}, "temperature"),
    ):
        assert f"has no parameter '{named}'" in digits(image, **more)[1]
    shared = triton.InferInput("image", [1], "FP32")
    shared.set_shared_memory("region", 4)
    assert "has no parameter 'shared_memory_region'" in digits(shared)[1]
    assert refused(client.infer, "digit", [image]) == (
        "404",
        "no model is named 'digit'; did you mean 'digits'?",
    )
    for call in (client.get_model_config, client.get_inference_statistics):
        status, message = refused(call, "digits")
        assert status == "404" and message.startswith("this server has no address /v2/models/")
    for call in (client.load_model, client.unload_model):
        assert "those that the server was started with" in refused(call, "digits")[1]


def test_an_operator_that_refuses_names_its_node(serve, tmp_path):
    node = helper.make_node("Gather", ["table", "ids"], ["y"], name="words")
    types = [("ids", T.INT64, ["n"])], [("y", T.FLOAT, ["n"])]
    table = {"table": np.ones(4, np.float32)}
    server = serve(save(tmp_path / "gather.onnx", [node], *types, table))
    with contextlib.closing(triton.InferenceServerClient(f"{server.host}:{server.port}")) as it:
        ids = tensor("ids", np.array([9]), "INT64")
        status, message = refused(it.infer, "gather", [ids])
    assert status == "400" and "words" in message


def test_a_timeout_is_kept(client):
    image = tensor("image", IMAGES)
    assert client.infer("digits", [image], timeout=10_000_000).as_numpy("dense_1").shape == (3, 10)


def test_maps_of_a_classifier_are_columns(serve, tmp_path):
    pytest.importorskip("skl2onnx")
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3)).astype(np.float32)
    y = np.array(["cat", "dog", "bird"])[rng.integers(0, 3, 50)]
    fitted = LogisticRegression().fit(x, y)
    proto = to_onnx(fitted, x[:1], target_opset=18)
    (tmp_path / "animals.onnx").write_bytes(proto.SerializeToString())
    server = serve(tmp_path / "animals.onnx")
    with contextlib.closing(triton.InferenceServerClient(f"{server.host}:{server.port}")) as it:
        names = [output["name"] for output in it.get_model_metadata("animals")["outputs"]]
        assert names == ["output_label", "output_probability"]
        rows = [tensor("X", x[:4])]
        result = it.infer("animals", rows)
        assert result.as_numpy(names[0]).tolist() == [s.encode() for s in fitted.predict(x[:4])]
        expected = fitted.predict_proba(x[:4])
        np.testing.assert_allclose(result.as_numpy(names[1]), expected, atol=1e-5)
        asked = [triton.InferRequestedOutput(names[1], class_count=1)]
        best = it.infer("animals", rows, outputs=asked).as_numpy(names[1])
        assert [b.decode().split(":")[2] for b in best[:, 0]] == fitted.predict(x[:4]).tolist()
