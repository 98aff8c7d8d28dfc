"""Data frames as feeds: by column, whoever made them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk import InvalidInputError

FLOAT = T.FLOAT


def session(inputs):
    """A model that returns its inputs, as y_NAME."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"y_{name}"]) for name, _, _ in inputs],
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(f"y_{name}", t, None) for name, t, _ in inputs],
    )
    opsets = [helper.make_opsetid("", 17)]
    return onnxwalk.load(helper.make_model(graph, opset_imports=opsets, ir_version=8))


MATRIX = session([("x", FLOAT, ["n", 2])])
TABLE = session(
    [("age", FLOAT, ["n", 1]), ("city name", T.STRING, ["n", 1]), ("k", T.INT64, ["n"])]
)


class Frame:
    """The least that a data frame is: names of columns, columns by name, a length."""

    def __init__(self, data):
        self._data = {name: np.asarray(values) for name, values in data.items()}
        self.columns = list(data)

    def __getitem__(self, name):
        return self._data[name]

    def __len__(self):
        return len(next(iter(self._data.values())))


class Buffer:
    def __init__(self, array):
        self._array = np.ascontiguousarray(array)
        self.ptr, self.bufsize = self._array.ctypes.data, self._array.nbytes


class Exchanged:
    """A column of the interchange protocol: numbers, or strings with bits for what is there."""

    offset = 0

    def __init__(self, values):
        self._values = values
        self._is_text = isinstance(values[0], str)
        if self._is_text:
            self.dtype = (21, 8, "u", "=")
        else:
            array = np.asarray(values)
            kind = {"i": 0, "u": 1, "f": 2, "b": 20, "M": 22}[array.dtype.kind]
            self.dtype = (kind, array.dtype.itemsize * 8, "", "=")

    describe_null = property(lambda self: (3, 0) if self._is_text else (0, None))

    def size(self):
        return len(self._values)

    def get_chunks(self, n_chunks=None):
        yield self

    def get_buffers(self):
        if not self._is_text:
            return {"data": (Buffer(np.asarray(self._values)), self.dtype)}
        texts = ["" if text is None else text for text in self._values]
        data = np.frombuffer("".join(texts).encode(), np.uint8)
        ends = np.cumsum([0, *(len(text.encode()) for text in texts)]).astype(np.int64)
        there = np.packbits([text is not None for text in self._values], bitorder="little")
        return {
            "data": (Buffer(data), (1, 8, "C", "=")),
            "offsets": (Buffer(ends), (0, 64, "l", "=")),
            "validity": (Buffer(there), (20, 1, "b", "=")),
        }


class ProtocolOnly:
    """A frame that is nothing but exchanged."""

    def __init__(self, data):
        self._data = data

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return self

    def column_names(self):
        return list(self._data)

    def num_rows(self):
        return len(next(iter(self._data.values())))

    def get_column(self, i):
        return Exchanged(list(self._data.values())[i])


def of_pandas(data):
    return pytest.importorskip("pandas", reason="pandas isn't installed").DataFrame(data)


def of_polars(data):
    return pytest.importorskip("polars", reason="Polars isn't installed").DataFrame(data)


def of_arrow(data):
    return pytest.importorskip("pyarrow", reason="pyarrow isn't installed").table(data)


def exchanged_by_arrow(data):
    class Only:
        table = of_arrow(data)

        def __dataframe__(self, **options):
            return self.table.__dataframe__(**options)

    return Only()


def exchanged_by_pandas(data):
    class Only:
        frame = of_pandas(data)

        def __dataframe__(self, **options):
            return self.frame.__dataframe__(**options)

    return Only()


LIBRARIES = (
    Frame,
    ProtocolOnly,
    of_pandas,
    of_polars,
    of_arrow,
    exchanged_by_arrow,
    exchanged_by_pandas,
)
every_library = pytest.mark.parametrize("make", LIBRARIES, ids=lambda make: make.__name__)


@every_library
def test_all_columns_are_the_only_input(make):
    frame = make({"a": [1, 2, 3], "b": [0.5, 1, 2]})
    expected = np.array([[1, 0.5], [2, 1], [3, 2]], np.float32)
    for found in (
        MATRIX.run(frame)[0],
        MATRIX.run(None, frame)[0],
        MATRIX(frame),
        MATRIX.run("y_x", {"x": frame})[0],
    ):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@every_library
def test_columns_go_to_the_inputs_of_their_names(make):
    frame = make({"k": [3, 4], "unused": [1, 2], "city_name": ["Ål", "x"], "age": [1.5, 2.5]})
    for found in (TABLE.run(frame), list(TABLE(frame).values())):
        assert found[0].tolist() == [[1.5], [2.5]] and found[0].dtype == np.float32
        assert found[1].tolist() == [["Ål"], ["x"]]
        assert found[2].tolist() == [3, 4] and found[2].dtype == np.int64


@pytest.mark.parametrize("make", LIBRARIES[2:], ids=lambda make: make.__name__)
def test_missing_values(make):
    frame = make({"age": [1.5, None], "city_name": ["x", None], "k": [3, 4]})
    age, city, _ = TABLE.run(frame)
    np.testing.assert_array_equal(age, [[1.5], [np.nan]])
    assert city.tolist() == [["x"], [""]]
    frame = make({"age": [1.5, 2], "city_name": ["x", "y"], "k": [3, None]})
    with pytest.raises(InvalidInputError, match=r"row 1 .*column 'k', for input 'k': .*missing"):
        TABLE.run(frame)


@every_library
def test_what_does_not_fit_is_named(make):
    with pytest.raises(InvalidInputError, match=r"takes 2 columns, but there are 3: a, b, c"):
        MATRIX.run(make({"a": [1], "b": [2], "c": [3]}))
    with pytest.raises(InvalidInputError, match=r"row 0 .*column 'b', for input 'x': '?q'? is not"):
        MATRIX.run(make({"a": [1], "b": ["q"]}))
    with pytest.raises(InvalidInputError, match=r"missing: input k: int64\[n\]"):
        TABLE.run(make({"age": [1.5], "city_name": ["x"]}))
    with pytest.raises(InvalidInputError, match="no column has the name of an input"):
        TABLE.run(make({"a": [1], "b": [2]}))
    with pytest.raises(InvalidInputError, match=r"1\.5 can't be converted to int64"):
        TABLE.run(make({"age": [1.0], "city_name": ["x"], "k": [1.5]}))


@every_library
def test_no_rows(make):
    if make is ProtocolOnly:
        pytest.skip("the stand-in has no type without values")
    assert MATRIX.run(make({"a": np.zeros(0), "b": np.zeros(0)}))[0].shape == (0, 2)


def test_the_protocol_reads_strings_with_gaps_and_truth():
    frame = ProtocolOnly({"age": [True, False], "city name": ["ü", None], "k": [1, 2]})
    age, city, _ = TABLE.run(frame)
    assert age.tolist() == [[1], [0]] and city.tolist() == [["ü"], [""]]
    with pytest.raises(InvalidInputError, match=r"column 'b': a column of .* has neither"):
        MATRIX.run(ProtocolOnly({"a": [1], "b": np.array(["2024-01-31"], "M8[ns]")}))


def test_records():
    age, city, k = TABLE.run([{"age": 1, "city name": "x", "k": 2}, {"age": None, "k": 3}])
    np.testing.assert_array_equal(age, [[1], [np.nan]])
    assert city.tolist() == [["x"], [""]] and k.tolist() == [2, 3]
    assert MATRIX([{"a": Decimal("1.5"), "b": True}]).tolist() == [[1.5, 1]]
    with pytest.raises(InvalidInputError, match=r"the records, row 1 .* not an object"):
        onnxwalk.interpreter.tables.records.RecordTable([{"a": 1}, [1]], "the records")


def test_a_series_is_a_column():
    pandas = pytest.importorskip("pandas", reason="pandas isn't installed")
    frame = pandas.DataFrame(
        {
            "age": pandas.array([1, None], dtype="Int64"),
            "city": pandas.Categorical(["x", None]),
            "k": pandas.array([True, False], dtype="boolean"),
        }
    )
    found = TABLE.run({"age": frame.age, "city name": frame.city, "k": frame.k})
    np.testing.assert_array_equal(found[0], [[1], [np.nan]])
    assert found[1].tolist() == [["x"], [""]] and found[2].tolist() == [1, 0]
    twice = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(InvalidInputError, match="several columns named 'a'"):
        MATRIX.run(twice)


def test_a_lazy_frame_is_refused_uncomputed():
    polars = pytest.importorskip("polars", reason="Polars isn't installed")
    with pytest.raises(InvalidInputError, match=r"call \.collect\(\)"):
        MATRIX.run(polars.LazyFrame({"a": [1], "b": [2]}))


def test_other_objects_are_refused_as_before():
    for value in (3, [1, 2], "x", object()):
        with pytest.raises(InvalidInputError, match="feeds must be a dict"):
            MATRIX.run(None, value)

    class Array:
        def __array__(self, dtype=None, copy=None):
            return np.ones((1, 2), np.float32)

    assert MATRIX.run({"x": Array()})[0].tolist() == [[1, 1]]
