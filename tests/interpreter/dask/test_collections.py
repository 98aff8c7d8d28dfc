"""Models over Dask's collections: by its threads; and what is asked of workers before."""

import logging
from pathlib import Path

import numpy as np
import pytest

import onnxwalk
from onnxwalk.interpreter.errors import InvalidInputError

dask = pytest.importorskip("dask")
import dask.array as da
import dask.bag as db

import onnxwalk.dask
from onnxwalk.interpreter.dask.connection import _quiet, check_workers
from onnxwalk.interpreter.dask.reference import versions

DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo"
MODEL = DEMO / "digits.onnx"
X = np.random.default_rng(0).random((500, 8, 8, 1), np.float32)
EXPECTED = onnxwalk.load(MODEL)(X)


@pytest.fixture(autouse=True)
def _threads():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.mark.parametrize("model", [MODEL, MODEL.read_bytes(), onnxwalk.load(MODEL)])
def test_arrays(model):
    y = onnxwalk.dask.run(model, da.from_array(X, chunks=(150, 4, 8, 1)), batch=64)
    assert y.shape == EXPECTED.shape and y.dtype == np.float32
    assert y.chunks == ((150, 150, 150, 50), (10,))
    np.testing.assert_allclose(y.compute(), EXPECTED, atol=1e-6)
    np.testing.assert_allclose(y[7:9, 3].compute(), EXPECTED[7:9, 3], atol=1e-6)


def test_several_outputs_run_the_model_once():
    x = da.from_array(X, chunks=(200, 8, 8, 1))
    session = onnxwalk.load(MODEL)
    inner = session.graph.nodes[0].outputs[0]
    found = onnxwalk.dask.run(MODEL, x, outputs=["dense_1", inner])
    assert found[inner].shape == (500, *session.run(inner, {"image": X[:1]})[0].shape[1:])
    y, _ = dask.compute(*found.values())
    np.testing.assert_allclose(y, EXPECTED, atol=1e-6)


def test_an_array_in_memory_is_split():
    y = onnxwalk.dask.run(MODEL, X)
    np.testing.assert_allclose(y.compute(), EXPECTED, atol=1e-6)


def test_bags():
    rows = db.from_sequence(list(X), npartitions=3)
    found = onnxwalk.dask.run(MODEL, rows, batch=100).compute()
    np.testing.assert_allclose(np.stack(found), EXPECTED, atol=1e-6)
    rows = db.from_sequence([{"image": x} for x in X[:20]], npartitions=2)
    found = onnxwalk.dask.run(MODEL, rows, outputs=["dense_1"]).compute()
    np.testing.assert_allclose(np.stack(found), EXPECTED[:20], atol=1e-6)


def test_data_frames():
    frames = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.reshape(500, 64), index=np.arange(500) * 2).rename(columns=str)
    found = onnxwalk.dask.run(MODEL, frames.from_pandas(frame, npartitions=3))
    assert list(found.columns) == [f"dense_1_{i}" for i in range(10)]
    assert set(found.dtypes) == {np.dtype("f4")}
    found = found.compute()
    np.testing.assert_allclose(found.to_numpy(), EXPECTED, atol=1e-6)
    np.testing.assert_array_equal(found.index, frame.index)


def test_a_task_has_no_weights():
    import cloudpickle

    x = da.from_array(X, chunks=(100, 8, 8, 1))
    for model in (MODEL, MODEL.read_bytes()):
        y = onnxwalk.dask.run(model, x)
        graph = dict(y.__dask_graph__())
        keys = [key for row in y.__dask_keys__() for key in row]
        sizes = [len(cloudpickle.dumps(graph[key])) for key in keys]
        assert max(sizes) < 4_000 < MODEL.stat().st_size


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 2], "not a list"),
        ({"image": da.zeros((2, 8, 8, 1)), "other": da.zeros(2)}, "no input is named 'other'"),
        ({}, "there is none for 'image'"),
        (np.zeros((0, 8, 8, 1)), "data has no rows"),
    ],
)
def test_other_data(data, message):
    with pytest.raises(InvalidInputError, match=message):
        onnxwalk.dask.run(MODEL, data)


def test_other_arguments():
    x = da.from_array(X)
    with pytest.raises(InvalidInputError, match="batch must be"):
        onnxwalk.dask.run(MODEL, x, batch=0)
    with pytest.raises(InvalidInputError, match="has its options already"):
        onnxwalk.dask.run(onnxwalk.load(MODEL), x, threads=1)
    with pytest.raises(InvalidInputError, match="model must be a path"):
        onnxwalk.dask.run(3, x)
    with pytest.raises(onnxwalk.OnnxWalkError):
        onnxwalk.dask.run("none.onnx", x)
    with pytest.raises(InvalidInputError, match="nothing"):
        onnxwalk.dask.run(MODEL, x, outputs="nothing")


def test_rows_of_a_bag_that_do_not_fit():
    odd = db.from_sequence([X[0], X[0, 0]], npartitions=1)
    with pytest.raises(InvalidInputError, match="the rows differ in shape"):
        onnxwalk.dask.run(MODEL, odd).compute()
    odd = db.from_sequence([{"image": X[0]}, {"other": X[0]}], npartitions=1)
    with pytest.raises(InvalidInputError, match="a row has no value for input image"):
        onnxwalk.dask.run(MODEL, odd).compute()


def test_an_output_of_another_length():
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    infos = [helper.make_tensor_value_info("x", 1, ["rows", 2])]
    graph = helper.make_graph([node], "sum", infos, [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = da.zeros((10, 2), chunks=(5, 2), dtype="float32")
    with pytest.raises(InvalidInputError, match="doesn't have one row for each row"):
        onnxwalk.dask.run(model, x)


def test_another_version_is_refused():
    from onnxwalk.interpreter.dask.reference import refer

    reference, _ = refer(MODEL, {})
    other = type(reference)(reference.path, reference.digest, (), (("numpy", "1.0"),))
    with pytest.raises(InvalidInputError, match=r"the client 1\.0: install numpy==1\.0 there"):
        other.session()
    other = type(reference)(reference.path, "0", (), reference.versions)
    with pytest.raises(InvalidInputError, match="has another file there"):
        other.session()
    other = type(reference)("/none.onnx", "0", (), reference.versions)
    with pytest.raises(InvalidInputError, match=r"/none\.onnx: not found by process"):
        other.session()


class Asked:
    """A client whose workers answer so."""

    def __init__(self, **answers):
        self.answers = answers

    def run(self, function, names, *, on_error):
        assert on_error == "return"
        return self.answers


def test_workers_that_are_lost_while_they_are_asked():
    alike = versions()
    check_workers(Asked(a=OSError("Stream is closed"), b=alike))
    with pytest.raises(InvalidInputError, match=r"worker b has 1\.0 of numpy"):
        check_workers(Asked(a=OSError("Stream is closed"), b={**alike, "numpy": "1.0"}))
    with pytest.raises(RuntimeError, match="no such thing"):
        check_workers(Asked(a=RuntimeError("no such thing")))


def test_dask_s_own_reports_of_lost_connections_are_not_printed():
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        with _quiet():
            assert not log.isEnabledFor(logging.ERROR)
        assert log.isEnabledFor(logging.ERROR)
    finally:
        log.setLevel(before)
