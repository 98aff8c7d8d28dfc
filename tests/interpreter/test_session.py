"""load and Session: names, types, shapes, overrides, inner values, ownership, threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import (
    InvalidInputError,
    InvalidModelError,
    OperatorError,
    UnsupportedModelError,
)

F, I64, BOOL, STRING = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.BOOL,
    TensorProto.STRING,
)


def value(name, code=F, shape=None):
    return helper.make_tensor_value_info(name, code, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, initializers=(), opset=17, **kwargs):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **kwargs)


def dense():
    return model(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"], name="multiply"),
            helper.make_node("Add", ["product", "b"], ["sum"], name="add"),
            helper.make_node("Relu", ["sum"], ["y"], name="relu"),
        ],
        [value("x", F, ["batch", 3])],
        [value("y", F, ["batch", 2])],
        [
            constant("w", np.arange(6, dtype=np.float32).reshape(3, 2)),
            constant("b", np.array([-10, 1], np.float32)),
        ],
    )


X = np.array([[1, 2, 3], [0, -1, 0]], np.float32)
Y = np.array([[6, 23], [0, 0]], np.float32)


@pytest.fixture(params=[True, False], ids=["optimized", "as written"])
def optimize(request):
    return request.param


def test_run_and_call(optimize):
    session = onnxwalk.load(dense(), optimize=optimize)
    assert str(session.inputs[0]) == "x: float32[batch, 3]"
    assert session.inputs[0].shape == ("batch", 3) and session.inputs[0].dtype == np.float32
    assert [o.name for o in session.outputs] == ["y"]
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], Y)
    np.testing.assert_array_equal(session(X), Y)
    (y,) = session.run(["y"], {"x": X.tolist()})
    np.testing.assert_array_equal(y, Y)


def test_inner_values(optimize):
    session = onnxwalk.load(dense(), optimize=optimize)
    product, w, x, y = session.run(["product", "w", "x", "y"], {"x": X})
    np.testing.assert_array_equal(product, X @ w)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, r"missing: input x: float32\[batch, 3\]"),
        ({"z": X}, "no input is named 'z'; known: x"),
        (
            {"x": X.astype(np.float64)},
            r"'x': expected float32\[batch, 3\], got float64; .*\.astype\(numpy.float32\)",
        ),
        ({"x": X.astype(np.int64)}, "'x': expected .*, got int64"),
        ({"x": X[0]}, "expected 2 dimensions .*, got 1"),
        ({"x": X[:, :2]}, "expected size 3 in dimension 1 .*, got 2"),
        ({"x": None}, "None"),
        ({"x": [[1, 2, 3], [4, 5]]}, "don't form an array"),
        ({"x": "text"}, "expected float32"),
        ({"x": [[1j, 0, 0]]}, "complex"),
        (X, "feeds must be a dict"),
        (None, "feeds must be a dict"),
    ],
    ids=range(12),
)
def test_feeds_that_do_not_fit(feeds, message):
    session = onnxwalk.load(dense())
    with pytest.raises(InvalidInputError, match=message) as caught:
        session.run(None, feeds)
    assert "\n" not in str(caught.value)


def test_symbols_must_agree():
    both = model(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [value("a", F, ["n"]), value("b", F, ["n"])],
        [value("y")],
    )
    session = onnxwalk.load(both)
    one, two = np.ones(1, np.float32), np.ones(2, np.float32)
    assert session(two, two).tolist() == [2, 2]
    with pytest.raises(InvalidInputError, match="but 'n' is 1 in input 'a'"):
        session(one, two)


def test_a_question_mark_is_no_symbol():
    # some exporters write it for every dimension that they don't know
    unknown = model(
        [helper.make_node("Relu", ["a"], ["y"])], [value("a", F, ["?", "?"])], [value("y")]
    )
    session = onnxwalk.load(unknown)
    assert session.inputs[0].shape == (None, None)
    assert session(np.ones((1, 2), np.float32)).shape == (1, 2)


def test_every_memory_of_a_feed():
    session = onnxwalk.load(dense())
    padded = np.zeros((4, 6), np.float32)
    padded[::2, ::2] = X
    readonly = X.copy()
    readonly.flags.writeable = False
    for x in (padded[::2, ::2], np.asfortranarray(X), X.astype(">f4"), readonly, X[::-1][::-1]):
        np.testing.assert_array_equal(session(x), Y)
    assert session(X[:0]).shape == (0, 2)


def test_initializers_that_are_inputs_can_be_overridden(optimize):
    proto = dense()
    proto.graph.input.append(value("b", F, [2]))
    session = onnxwalk.load(proto, optimize=optimize)
    assert [i.name for i in session.inputs] == ["x"]
    assert [i.name for i in session.overridable_initializers] == ["b"]
    np.testing.assert_array_equal(session(X), Y)
    zero = session.run(None, {"x": X, "b": np.zeros(2, np.float32)})[0]
    np.testing.assert_array_equal(zero, [[16, 22], [0, 0]])
    np.testing.assert_array_equal(session(X), Y), "the override lasts one run"
    with pytest.raises(InvalidInputError, match=r"expected size 2 in dimension 0 .*, got 3"):
        session.run(None, {"x": X, "b": np.zeros(3, np.float32)})


def test_outputs_are_the_callers(optimize):
    """No output shares memory with a feed, a weight, another output or a later run."""
    proto = model(
        [
            helper.make_node("Identity", ["x"], ["same"]),
            helper.make_node("Reshape", ["x", "shape"], ["flat"]),
            helper.make_node("Relu", ["x"], ["fresh"]),
            helper.make_node("Transpose", ["fresh"], ["view"]),
            helper.make_node("Identity", ["w"], ["weight"]),
            helper.make_node("Constant", [], ["attribute"], value=constant("", [1.0, 2.0])),
        ],
        [value("x", F, [2, 3])],
        [value(n) for n in ("same", "flat", "fresh", "view", "weight", "w", "x", "attribute")],
        [constant("w", np.ones(3, np.float32)), constant("shape", np.array([-1]))],
    )
    session = onnxwalk.load(proto, optimize=optimize)
    x = X.copy()
    first = session.run(None, {"x": x})
    for output in first:
        output += 1
    np.testing.assert_array_equal(x, X)
    second = session.run(None, {"x": x})
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before, after + 1)
        assert not np.shares_memory(before, after)


def test_outputs_of_sequences_are_the_callers(optimize):
    """What comes out of a fed sequence, or is one, shares no memory with what was fed."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(F, None))
    proto = model(
        [
            helper.make_node("Identity", ["parts"], ["same"]),
            helper.make_node("SequenceAt", ["parts", "zero"], ["first"]),
        ],
        [helper.make_value_info("parts", kind)],
        [value("first"), onnx.ValueInfoProto(name="same"), onnx.ValueInfoProto(name="parts")],
        [constant("zero", np.array(0))],
    )
    parts = [X.copy(), Y.copy()]
    first, same, again = onnxwalk.load(proto, optimize=optimize).run(None, {"parts": parts})
    for output in (first, *same, *again):
        output += 1
    np.testing.assert_array_equal(parts[0], X)
    np.testing.assert_array_equal(first, X + 1)
    np.testing.assert_array_equal(again[1], Y + 1)


def test_scalars_come_out_as_arrays():
    total = model(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], [value("x")], [value("y")]
    )
    y = onnxwalk.load(total)(X)
    assert isinstance(y, np.ndarray) and y.shape == () and y.dtype == np.float32
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),  # known before the run
        helper.make_node("MatMul", ["s", "s"], ["y"]),
    ]
    y = onnxwalk.load(model(nodes, [value("x")], [value("y", I64)]))(X)
    assert isinstance(y, np.ndarray) and y.shape == () and y == 13


def test_unsupported_operators_are_all_named():
    proto = model(
        [
            helper.make_node("Mystery", ["x"], ["a"], name="one"),
            helper.make_node("Mystery", ["a"], ["b"], name="two"),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("Other", ["c"], ["y"], domain="elsewhere"),
        ],
        [value("x")],
        [value("y")],
    )
    with pytest.raises(UnsupportedModelError) as caught:
        onnxwalk.load(proto)
    assert str(caught.value) == (
        "model from ModelProto: not supported: Mystery (opset 17) in 2 nodes ('one', 'two'); "
        "elsewhere.Other (its domain is not imported) in 1 node ('y')"
    )


def test_newer_opsets_are_refused():
    with pytest.raises(UnsupportedModelError, match="opset 99"):
        onnxwalk.load(model([], [value("x")], [value("x")], opset=99))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("Relu", ["x"], ["y"], slope=1.0), "has no attribute 'slope'"),
        (helper.make_node("Relu", ["x", "x"], ["y"]), "2 inputs, but ai.onnx.Relu-6 has at most 1"),
        (helper.make_node("MatMul", ["x"], ["y"]), "input 1 .* is missing"),
        (helper.make_node("MatMul", ["x", ""], ["y"]), "input 1 .* is missing"),
        (helper.make_node("EyeLike", [], ["y"]), "input 0 .* is missing"),
        (helper.make_node("Cast", ["x"], ["y"]), "attribute 'to' of .* is missing"),
        (helper.make_node("Softmax", ["x"], ["y"], axis=1.5), "'axis': expected int, got float"),
        (helper.make_node("Concat", ["x"], ["y"], axis="1"), "'axis': expected int, got string"),
        (
            helper.make_node("Transpose", ["x"], ["y"], perm=[0.0, 1.0]),
            "'perm': expected ints, got floats",
        ),
        (helper.make_node("Transpose", ["x"], ["y"], perm=1), "'perm': expected ints, got int"),
        (
            helper.make_node("ConstantOfShape", ["x"], ["y"], value=1.0),
            "'value': expected tensor, got float",
        ),
        (helper.make_node("Relu", ["z"], ["y"]), "input 'z' is not defined"),
        (helper.make_node("Relu", ["y"], ["y"]), "depend on each other in a circle: 'y'"),
        (helper.make_node("Relu", ["x"], ["x"]), "output 'x' is defined twice"),
    ],
    ids=range(14),
)
def test_invalid_nodes(node, message):
    with pytest.raises(InvalidModelError, match=message) as caught:
        onnxwalk.load(model([node], [value("x")], [value("y")]))
    assert "\n" not in str(caught.value)


def test_everything_invalid_is_named_at_once():
    nodes = [helper.make_node("Relu", [f"missing{i}"], [f"y{i}"]) for i in range(3)]
    with pytest.raises(InvalidModelError) as caught:
        onnxwalk.load(model(nodes, [], [value("nowhere")]))
    for name in ("missing0", "missing1", "missing2", "nowhere"):
        assert f"'{name}'" in str(caught.value)


def test_an_operator_that_refuses_is_named(optimize):
    session = onnxwalk.load(
        model(
            [helper.make_node("Gather", ["x", "i"], ["y"], name="look up", axis=1)],
            [value("x"), value("i", I64, None)],
            [value("y")],
        ),
        optimize=optimize,
    )
    with pytest.raises(OperatorError) as caught:
        session(X, np.array([3]))
    text = str(caught.value)
    assert "node 'look up' (Gather), ai.onnx.Gather-" in text
    assert "float32 (2, 3), int64 (1,)" in text and "3" in text and "\n" not in text


def test_constants_that_an_operator_refuses(optimize):
    """What can't be prepared at load is left to the run, which names the node."""
    session = onnxwalk.load(
        model(
            [helper.make_node("RNN", ["x", "w", "r"], ["y"], name="recurrent", hidden_size=2)],
            [value("x", F, [5, 1, 3])],
            [value("y")],
            [
                constant("w", np.ones((1, 2, 3), np.float32)),
                constant("r", np.ones((1, 7, 7), np.float32)),
            ],
        ),
        optimize=optimize,
    )
    with pytest.raises(OperatorError, match="'recurrent'"):
        session(np.ones((5, 1, 3), np.float32))


def test_outputs_without_a_name(optimize):
    """An optional output that isn't asked for may be left out, or be there without a name."""
    normalize = helper.make_node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y", ""])
    nothing = helper.make_node("Relu", ["x"], [])
    proto = model(
        [normalize, nothing],
        [value("x", F, [2, 3])],
        [value("y")],
        [constant("w", np.ones(3, np.float32))],
    )
    y = onnxwalk.load(proto, rewrites=["fold_constants"] if optimize else False)(X)
    np.testing.assert_allclose(y, X, atol=1e-5)


@pytest.mark.parametrize("fed", [True, False])
def test_more_outputs_than_there_are(fed, optimize):
    inputs = [value("x", I64, [2])]
    nodes = [
        helper.make_node("Shape", ["x"], ["known"]),
        helper.make_node("Split", ["x" if fed else "known"], ["a", "b", "c"], num_outputs=2),
    ]
    split = model(nodes, inputs, [value("c", I64)], opset=18)
    with pytest.raises(OperatorError, match="operator returned 2 outputs, but the node has 3"):
        onnxwalk.load(split, optimize=optimize)(np.array([1, 2]))


def test_strings():
    session = onnxwalk.load(
        model(
            [helper.make_node("Identity", ["x"], ["y"])], [value("x", STRING, ["n"])], [value("y")]
        )
    )
    for x in (["a", "é"], np.array(["a", "é"]), np.array(["a", "é"], object)):
        y = session(x)
        assert y.dtype == object and y.tolist() == ["a", "é"]
    with pytest.raises(InvalidInputError, match="expected strings"):
        session(np.array([1, 2]))
    with pytest.raises(InvalidInputError, match="not all str"):
        session(np.array(["a", 2], object))
    with pytest.raises(InvalidInputError, match="a string is not UTF-8"):
        session(np.array([b"\xff"]))


def test_functions_are_inlined(optimize):
    """Nested calls, attributes by reference with and without default, outer names kept apart."""
    scale = helper.make_function(
        "local",
        "Scale",
        ["x"],
        ["y"],
        [
            helper.make_node("Elu", ["x"], ["t"]),
            helper.make_node("Relu", ["t"], ["y"], name="inner"),
        ],
        [helper.make_opsetid("", 17)],
        ["alpha"],
    )
    scale.node[0].attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    twice = helper.make_function(
        "local",
        "Twice",
        ["x", "unused"],
        ["y", "same"],
        [
            helper.make_node("Scale", ["x"], ["t"], domain="local", name="first", alpha=0.5),
            helper.make_node("Add", ["t", "x"], ["y"]),
            helper.make_node("Identity", ["x"], ["same"]),
        ],
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
    )
    proto = model(
        [
            helper.make_node("Twice", ["x"], ["t", "copy"], domain="local", name="call"),
            helper.make_node("Twice", ["t"], ["y"], domain="local", name="call"),
        ],
        [value("x")],
        [value("y"), value("copy")],
        functions=[scale, twice],
    )
    session = onnxwalk.load(proto, optimize=optimize)
    y, copy = session.run(None, {"x": X})
    t = np.maximum(X, 0) + X
    np.testing.assert_array_equal(y, np.maximum(t, 0) + t)
    np.testing.assert_array_equal(copy, X)
    np.testing.assert_array_equal(session.run(["call/t"], {"x": X})[0], np.maximum(X, 0))


def test_functions_whose_nodes_are_not_in_order():
    function = helper.make_function(
        "local",
        "F",
        ["x"],
        ["y"],
        [helper.make_node("Neg", ["later"], ["y"]), helper.make_node("Neg", ["x"], ["later"])],
        [helper.make_opsetid("", 17)],
    )
    proto = model(
        [helper.make_node("F", ["x"], ["y"], domain="local")],
        [value("x")],
        [value("y")],
        functions=[function],
    )
    with pytest.raises(
        InvalidModelError, match=r"function local.F: .* input 'later' is used before it is computed"
    ):
        onnxwalk.load(proto, strict=True)


def function(name, calls, **keywords):
    """A function of the domain "local" whose one node is a call of another."""
    node = helper.make_node(calls, ["x"], ["y"], domain="local")
    opset = helper.make_opsetid("local", 1)
    return helper.make_function("local", name, ["x"], ["y"], [node], [opset], **keywords)


@pytest.mark.parametrize(
    ("functions", "named"),
    [
        ([function("F", "F")], "local.F$"),
        ([function("F", "G"), function("G", "H"), function("H", "G")], "local.G, local.H$"),
    ],
)
def test_functions_that_call_themselves(functions, named):
    node = helper.make_node("F", ["x"], ["y"], domain="local")
    proto = model([node], [value("x")], [value("y")], functions=functions)
    with pytest.raises(InvalidModelError, match=f"functions that call themselves: {named}"):
        onnxwalk.load(proto)


def test_functions_are_held_to_the_same_as_graphs():
    body = [helper.make_node("Add", ["x", "nowhere"], ["y"])]
    broken = helper.make_function("local", "F", ["x"], ["y"], body, [helper.make_opsetid("", 17)])
    node = helper.make_node("F", ["x"], ["y"], domain="local")
    proto = model([node], [value("x")], [value("y")], functions=[broken])
    with pytest.raises(InvalidModelError, match=r"function local.F: .* 'nowhere' is not defined"):
        onnxwalk.load(proto)


def test_threads_share_a_session():
    session = onnxwalk.load(dense())
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=(n % 7, 3)).astype(np.float32) for n in range(200)]
    expected = [session(x) for x in feeds]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(pool.map(session, feeds), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_warning_whatever_the_caller_has_set(recwarn):
    session = onnxwalk.load(
        model([helper.make_node("Exp", ["x"], ["y"])], [value("x")], [value("y")])
    )
    with np.errstate(all="raise"):
        assert session(np.array([1000], np.float32)).tolist() == [np.inf]
    assert not recwarn.list


def test_values_are_let_go_at_their_last_use():
    """A chain of large values needs memory for two of them, not for all."""
    import tracemalloc

    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(30)]
    session = onnxwalk.load(model(nodes, [value("v0")], [value("v30")]))
    x = np.ones(1_000_000, np.float32)
    tracemalloc.start()
    session(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * x.nbytes
