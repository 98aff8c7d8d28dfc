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


def model_of(nodes, inputs, outputs):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    sides = [[helper.make_tensor_value_info(*v) for v in side] for side in (inputs, outputs)]
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "g", *sides)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    "chunks", [((0, 200, 0, 300, 0), 8, 8, 1), ((500,), 3, 2, 1), ((1, 499), (1, 7), (8,), (1,))]
)
def test_chunks(chunks):
    """Without rows, and along other axes."""
    y = onnxwalk.dask.run(MODEL, da.from_array(X, chunks=chunks))
    assert y.chunks == (chunks[0], (10,))
    np.testing.assert_allclose(y.compute(), EXPECTED, atol=1e-6)


def test_arrays_without_rows():
    y = onnxwalk.dask.run(MODEL, da.zeros((0, 8, 8, 1), dtype="float32"))
    assert y.compute().shape == (0, 10) and y.compute().dtype == np.float32


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_chunks_of_unknown_sizes(every):
    x, which = da.from_array(X, chunks=(100, 8, 8, 1)), np.arange(500) % every == every - 1
    y = onnxwalk.dask.run(MODEL, x[da.from_array(which, chunks=100)])
    assert np.isnan(y.shape[0]) and y.shape[1] == 10
    np.testing.assert_allclose(y.compute(), EXPECTED[which], atol=1e-6)


def test_two_arrays():
    edges = [("a", 1, ["n", 3]), ("b", 1, ["n", 3])], [("y", 1, ["n", 3])]
    model = model_of([("Add", ["a", "b"], ["y"])], *edges)
    a = np.arange(30, dtype=np.float32).reshape(10, 3)
    x, other = da.from_array(a, chunks=(4, 3)), da.from_array(a, chunks=(3, 2))
    np.testing.assert_array_equal(onnxwalk.dask.run(model, {"a": x, "b": other}).compute(), 2 * a)
    some = x[da.from_array(np.arange(10) < 9, chunks=4)]
    fewer = x[da.from_array(np.arange(10) < 8, chunks=4)]
    for b, message in [
        (x[:9], r"different numbers of rows: \{'a': 10, 'b': 9\}"),
        (x[:1], "different numbers of rows"),  # which NumPy would repeat
        (some, "input 'b': its number of rows isn't known"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            onnxwalk.dask.run(model, {"a": x, "b": b})
    with pytest.raises(InvalidInputError, match="different numbers of rows"):
        onnxwalk.dask.run(model, {"a": some, "b": fewer}).compute()


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint8", "complex64", "U5", "object"])
def test_another_dtype_is_refused_before_anything_is_computed(dtype):
    x = da.from_array(X, chunks=100).map_blocks(_never, dtype=dtype, meta=np.empty(0, dtype))
    with pytest.raises(InvalidInputError, match=r"expected float32\[batch, 8, 8, 1\], got "):
        onnxwalk.dask.run(MODEL, x)


def _never(block):
    raise AssertionError("it was computed")


def test_arrays_that_cannot_be_split_into_rows():
    x = da.from_array(X.reshape(500, 64), chunks=100)
    odd = x[:, da.from_array(np.ones(64, bool), chunks=64)]
    with pytest.raises(InvalidInputError, match=r"the size of axis 1 isn't known: \(500, nan\)"):
        onnxwalk.dask.run(MODEL, odd)
    with pytest.raises(InvalidInputError, match="without axes has no rows"):
        onnxwalk.dask.run(MODEL, da.zeros((), dtype="float32"))
    with pytest.raises(InvalidInputError, match="expected 4 dimensions"):
        onnxwalk.dask.run(MODEL, x)


def test_a_model_with_a_fixed_number_of_rows():
    edges = [("x", 1, [5, 3])], [("y", 1, [5, 3])]
    model = model_of([("Relu", ["x"], ["y"])], *edges)
    a = np.arange(60, dtype=np.float32).reshape(20, 3)
    for x in (da.from_array(a, chunks=5), da.from_array(a, chunks=10), a):
        np.testing.assert_array_equal(onnxwalk.dask.run(model, x).compute(), a)
    found = onnxwalk.dask.run(model, db.from_sequence(list(a), npartitions=2)).compute()
    np.testing.assert_array_equal(np.stack(found), a)
    with pytest.raises(InvalidInputError, match="expected size 5 in dimension 0"):
        onnxwalk.dask.run(model, da.from_array(a, chunks=4)).compute()


def test_bags_with_empty_partitions_and_of_plain_numbers():
    rows = db.from_delayed([dask.delayed(list)(piece) for piece in (X[:0], X[:20], X[:0])])
    found = onnxwalk.dask.run(MODEL, rows).compute()
    np.testing.assert_allclose(np.stack(found), EXPECTED[:20], atol=1e-6)
    assert onnxwalk.dask.run(MODEL, rows.filter(lambda row: False)).compute() == []
    found = onnxwalk.dask.run(MODEL, db.from_sequence(X[:4].tolist(), npartitions=2)).compute()
    np.testing.assert_allclose(np.stack(found), EXPECTED[:4], atol=1e-6)
    square = model_of([("Mul", ["x", "x"], ["y"])], [("x", 1, ["n"])], [("y", 1, ["n"])])
    numbers = db.from_sequence([1.5, 2, 3.0], npartitions=2)
    assert onnxwalk.dask.run(square, numbers).compute() == [2.25, 4, 9]
    with pytest.raises(InvalidInputError, match="the values don't form an array"):
        onnxwalk.dask.run(square, db.from_sequence([[1.0], 2.0], npartitions=1)).compute()


def test_data_frames_with_empty_partitions_and_other_indexes():
    frames = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    plain = pandas.DataFrame(X[:50].reshape(50, 64)).rename(columns=str)
    for index in (
        pandas.Index([f"r{i:02}" for i in range(50)], name="name"),
        pandas.date_range("2020", periods=50, name="when"),
        pandas.Index(np.arange(50) // 2),
    ):
        frame = frames.from_pandas(plain.set_index(index), npartitions=4, sort=False)
        for least in (0, 0.9, 2):
            found = onnxwalk.dask.run(MODEL, frame[frame["0"] >= least])
            kept = X[:50, 0, 0, 0] >= least
            y = found.compute()
            np.testing.assert_allclose(y.to_numpy(), EXPECTED[:50][kept], atol=1e-6)
            assert list(y.index) == list(index[kept]) and y.index.name == index.name
            assert y.dtypes.equals(found.dtypes) and list(y.columns) == list(found.columns)


def double(rows):
    """y = 2 x of three numbers in a row."""
    edges = [("x", 1, [rows, 3])], [("y", 1, [rows, 3])]
    return model_of([("Add", ["x", "x"], ["y"])], *edges)


NUMBERS = np.arange(30, dtype=np.float32).reshape(10, 3)


@pytest.mark.parametrize("rows", [(5, 0, 5), (0, 10), (0,)])
def test_no_rows_of_a_model_with_a_fixed_number_of_rows(rows):
    """None isn't that number, but a result without rows needs no run."""
    x = NUMBERS[: sum(rows)]
    y = onnxwalk.dask.run(double(5), da.from_array(x, chunks=(rows, 3)))
    assert y.chunks == (rows, (3,))
    np.testing.assert_array_equal(y.compute(), 2 * x)


def test_outputs_whose_shape_depends_on_the_values():
    """y has a column for each number that occurs, and as many rows as x."""
    onnx = pytest.importorskip("onnx")
    nodes = [
        ("Unique", ["x"], ["u"]),
        ("Unsqueeze", ["u", "zero"], ["row"]),
        ("Shape", ["x"], ["shape"]),
        ("Gather", ["shape", "zero"], ["n"]),
        ("Pad", ["n", "after", "fill"], ["times"]),
        ("Tile", ["row", "times"], ["y"]),
    ]
    model = model_of(nodes, [("x", 1, ["n", 3])], [("y", 1, ["n", "k"])])
    for name, value in {"zero": [0], "after": [0, 1], "fill": 1}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    with pytest.raises(InvalidInputError, match=r"rows of shape \(15,\) here and \(1,\) elsewhere"):
        onnxwalk.dask.run(model, da.from_array(NUMBERS, chunks=(5, 3))).compute()
    with pytest.raises(InvalidInputError, match="it depends on the values; choose other outputs"):
        onnxwalk.dask.run(model, da.from_array(NUMBERS, chunks=(10, 3)), batch=4).compute()
    frames, pandas = frame_libraries()
    frame = frames.from_pandas(pandas.DataFrame(NUMBERS, columns=[*"abc"]), npartitions=2)
    with pytest.raises(InvalidInputError, match="have 15 columns, not the 1"):
        onnxwalk.dask.run(model, frame).compute()


def frame_libraries():
    return pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")


def test_an_output_with_always_two_rows():
    """As many as the model is tried on."""
    onnx = pytest.importorskip("onnx")
    edges = [("x", 1, ["n", 3])], [("y", 1, ["m", 3])]
    model = model_of([("Slice", ["x", "start", "end"], ["y"])], *edges)
    for name, value in {"start": [0], "end": [2]}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    for data in (da.from_array(NUMBERS, chunks=5), db.from_sequence(list(NUMBERS), npartitions=2)):
        with pytest.raises(InvalidInputError, match=r"'y' doesn't have one row .* for 5 rows"):
            onnxwalk.dask.run(model, data).compute()


def test_one_chunk_of_unknown_rows_is_not_repeated_for_others():
    """As Dask would do: a has three chunks, b one."""
    edges = [("a", 1, ["n", 3]), ("b", 1, ["n", 3])], [("y", 1, ["n", 3])]
    model = model_of([("Add", ["a", "b"], ["y"])], *edges)
    a, b = (da.from_array(NUMBERS, chunks=(rows, 3)) for rows in (4, 10))
    with pytest.raises(InvalidInputError, match="its number of rows isn't known"):
        onnxwalk.dask.run(model, {"a": a[a[:, 0] >= 0], "b": b[b[:, 0] < 12]})


def test_what_is_nearly_such_data():
    model = double("n")
    with pytest.raises(InvalidInputError, match="data must be a Dask array, bag or data frame"):
        onnxwalk.dask.run(model, dask.delayed(NUMBERS))  # which has all attributes
    with pytest.raises(InvalidInputError, match="input 'x' must be a Dask array, not a ndarray"):
        onnxwalk.dask.run(model, {"x": NUMBERS})
    frames, pandas = frame_libraries()
    data = frames.from_pandas(pandas.DataFrame(NUMBERS, columns=[*"abc"]), npartitions=2)
    with pytest.raises(InvalidInputError, match=r"pass series\.to_frame\(\)"):
        onnxwalk.dask.run(model, data["a"])
    with pytest.raises(InvalidInputError, match="takes 3 columns, but there are 2"):
        onnxwalk.dask.run(model, data[["a", "b"]])


def test_data_frames_of_a_model_with_a_fixed_number_of_rows():
    frames, pandas = frame_libraries()
    index = pandas.Index([f"key {i}" for i in range(10)], name="key")
    frame = pandas.DataFrame(NUMBERS, columns=[*"abc"], index=index)
    data = frames.from_pandas(frame, npartitions=5, sort=False)
    kept = {"key 2", "key 3", "key 7"}
    some = data.map_partitions(lambda part: part[part.index.isin(kept)], meta=data._meta)
    found = onnxwalk.dask.run(double(1), some)
    assert [len(part) for part in dask.compute(*found.to_delayed())] == [0, 2, 0, 1, 0]
    np.testing.assert_array_equal(found.compute().to_numpy(), 2 * NUMBERS[[2, 3, 7]])
    assert found.compute().index.equals(index[[2, 3, 7]])


def test_data_frames_with_columns_of_lists(tmp_path):
    frames, pandas = frame_libraries()
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"row": range(10), "x": NUMBERS.tolist()})
    frame.to_parquet(tmp_path / "x.parquet")
    for options in ({}, {"dtype_backend": "pyarrow"}):
        data = frames.read_parquet(tmp_path / "x.parquet", **options)
        found = onnxwalk.dask.run(double("n"), data)
        assert [*found.columns] == ["y_0", "y_1", "y_2"]
        np.testing.assert_array_equal(found.compute().to_numpy(), 2 * NUMBERS)


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
