"""Only errors of onnxwalk's own leave ``load`` and ``run``, whatever they are given."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import (
    InvalidInputError,
    InvalidModelError,
    LimitError,
    OnnxWalkError,
    OperatorError,
    ops,
)


def added(**keywords):
    """A session of x + w, both (n, 3)."""
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in "xwy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", infos[:2], infos[2:]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return onnxwalk.load(proto, **keywords)


X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "model", [None, 5, 1.5, [], {}, ("a",), object(), "", "\0", b"", X, "x" * 5000, b"\x00" * 100]
)
def test_what_is_no_model(model):
    with pytest.raises(OnnxWalkError) as raised:
        onnxwalk.load(model)
    assert "\n" not in str(raised.value)
    assert "defect" not in str(raised.value)


@pytest.mark.parametrize(
    "keywords",
    [
        {"optimize": 5},
        {"optimize": "fold_constants"},
        {"optimize": ["nope"]},
        {"optimize": [[]]},
        {"registry": 5},
        {"seed": "a"},
        {"seed": -1},
        {"seed": 1.5},
        {"threads": "2"},
        {"threads": 0},
        {"limits": 1 << 30},
    ],
)
def test_what_load_does_not_take(keywords):
    (name,) = keywords
    with pytest.raises(
        InvalidInputError, match=name if name != "optimize" else "rewrites|optimize"
    ):
        added(**keywords)


@pytest.mark.parametrize(
    "feeds",
    [
        None,
        5,
        "x",
        [X],
        {"x": X},
        {"x": X, "w": None},
        {"x": X, "w": X, "z": X},
        {"x": X, "w": X, 5: X},
        {"x": X, "w": [[1, 2], [3]]},
        {"x": X, "w": "abc"},
        {"x": X, "w": object()},
        {"x": X, "w": X.astype(np.float64)},
        {"x": X, "w": np.ones((3, 3), np.float32)},
        {"x": X, "w": np.ma.masked_array(X, X > 2)},
        {"x": X, "w": np.datetime64("2020")},
        {"x": X, "w": [[10**400, 1, 1], [1, 1, 1]]},
        {"x": X, "w": np.zeros((2, 3), [("a", "f4")])},
    ],
    ids=lambda feeds: str(feeds)[:40],
)
@pytest.mark.parametrize("optimize", [True, False])
def test_what_run_does_not_take(feeds, optimize):
    session = added(optimize=optimize)
    for _ in range(2):
        with pytest.raises(InvalidInputError):
            session.run(None, feeds)


@pytest.mark.parametrize("names", [5, "nope", ["nope"], {"x": X}, [5], [None], [["y"]]])
def test_names_that_are_none(names):
    with pytest.raises(InvalidInputError):
        added().run(names, {"x": X, "w": X})


def unaligned(array):
    return (
        np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    )


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize(
    "x",
    [
        X.astype(">f4"),
        np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::2],
        X[::-1, ::-1],
        np.asfortranarray(X),
        np.broadcast_to(np.float32(2), (2, 3)),
        np.zeros((0, 3), np.float32),
        np.zeros((500, 3), np.float32)[::2],
        unaligned(X),
        read_only(X),
        X.view(type("Subclass", (np.ndarray,), {})),
        X.tolist(),
    ],
    ids="big-endian strided negative fortran repeated empty sparse unaligned read-only "
    "subclass list".split(),
)
def test_arrays_of_every_make(x, optimize):
    session = added(optimize=optimize)
    for _ in range(2):
        (y,) = session.run(None, {"x": x, "w": x})
        np.testing.assert_array_equal(y, np.asarray(x, np.float32) * 2)
        assert type(y) is np.ndarray and y.dtype == np.float32 and y.flags.writeable
        assert not np.shares_memory(y, np.asarray(x))


@pytest.mark.parametrize("optimize", [True, False])
def test_the_callers_settings_of_numpy_change_nothing(optimize):
    huge = np.full((2, 3), 3e38, np.float32)
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        session = added(optimize=optimize)
        for _ in range(2):
            assert np.isinf(session.run(None, {"x": huge, "w": huge})[0]).all()
        tiny = [[1e-300, 1e300, 1], [1, 1, 1]]  # lists take the input's type
        assert np.isinf(session.run(None, {"x": tiny, "w": tiny})[0][0, 1])
        assert np.geterr()["over"] == "raise"


def of_own_operator(function):
    """A session of a node whose operator is this function."""
    registry = onnxwalk.Registry(parent=ops.registry)
    registry.op("Own", since=1, domain="own")(function)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Own", ["x"], ["y"], domain="own", name="it")], "g", info[:1], info[1:]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("own", 1)])
    return onnxwalk.load(proto, registry=registry)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("Unable to allocate"), LimitError),
        (RecursionError("too deep"), LimitError),
        (ZeroDivisionError("division"), OperatorError),
        (IndexError("list index"), OperatorError),
    ],
)
def test_whatever_an_operator_raises(error, kind):
    def own(x):
        raise error

    with pytest.raises(kind, match=r"^node 'it' \(own.Own\), own.Own-1, of float32 \(2, 3\): "):
        of_own_operator(own).run(None, {"x": X})


def test_a_defect_of_ours_says_so():
    session = added()
    session._run = None  # what must not be
    with pytest.raises(OnnxWalkError, match="bug in onnxwalk, please report it"):
        session.run(None, {"x": X, "w": X})


def test_strings_of_attributes_are_text():
    node = helper.make_node(
        "Tokenizer", ["x"], ["y"], domain="com.microsoft", mark=0, mincharnum=1,
        pad_value=b"\xff", separators=[""],
    )  # fmt: skip
    infos = [helper.make_tensor_value_info(n, TensorProto.STRING, None) for n in "xy"]
    graph = helper.make_graph([node], "g", infos[:1], infos[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=opsets)
    with pytest.raises(InvalidModelError, match="attribute 'pad_value' is not UTF-8"):
        onnxwalk.load(proto)


def test_what_is_fed_to_an_input_without_a_type():
    """The file doesn't say what it takes, but the operator does."""
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    values = [onnx.ValueInfoProto(name=name) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    for optimize in (True, False):
        session = onnxwalk.load(helper.make_model(graph, opset_imports=opsets), optimize=optimize)
        assert session.run(None, {"x": X})[0].shape == X.shape
        for _ in range(2):
            with pytest.raises(InvalidInputError, match="input 'x' is complex64; expected"):
                session.run(None, {"x": X.astype(np.complex64)})
        with pytest.raises(InvalidInputError, match=r"'x': ONNX has no type for datetime64"):
            session.run(None, {"x": X.astype("datetime64[s]")})
        with pytest.raises(InvalidInputError, match="'x' is string; expected"):
            session.run(None, {"x": X.astype(str)})


def test_a_message_names_no_thousands_of_inputs():
    graph = helper.make_graph(
        [helper.make_node("Concat", ["x"] * 5000 + ["w"], ["y"], axis=0)],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xw"],
        [onnx.ValueInfoProto(name="y")],
    )
    session = onnxwalk.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    with pytest.raises(OperatorError, match=r"float32 \(2, 3\) and 4,991 more: ") as raised:
        session.run(None, {"x": X, "w": X[0]})
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("optimize", [True, False])
def test_what_fills_a_pad_is_one_number(optimize):
    graph = helper.make_graph(
        [helper.make_node("Pad", ["x", "pads", "value"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [onnx.ValueInfoProto(name="y")],
        [
            numpy_helper.from_array(np.ones(4, np.int64), "pads"),
            numpy_helper.from_array(np.ones(2, np.float32), "value"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    session = onnxwalk.load(proto, optimize=optimize)
    with pytest.raises(OperatorError, match="constant_value must be one element"):
        session.run(None, {"x": X})


def test_an_initializer_is_of_the_type_of_its_input():
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xw"],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.ones(3, np.int8), "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(InvalidModelError, match="input 'w' is float, but its initializer is int8"):
        onnxwalk.load(proto)
