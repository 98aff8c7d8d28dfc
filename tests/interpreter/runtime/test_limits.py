"""Limits: each is kept before what it limits is there, and the message says which and where.

``python -m tests.programs.faults`` runs hostile files in processes of their own and watches their
memory and time; here it is what a session refuses, and that what is allowed is the same as without
limits.
"""

import dataclasses
import time
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import InvalidInputError, LimitError, Limits
from onnxwalk.interpreter.limits import format_bytes, parse_bytes

MIB = 1 << 20


def model(nodes, initializers=(), inputs=(), outputs=("y",), functions=(), opset=18):
    """Inputs are float tensors of any shape; types of outputs aren't said."""
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "g", floats, results, list(initializers))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=10, functions=list(functions)
    ).SerializeToString()


def constant(name, values, dtype=np.int64):
    return numpy_helper.from_array(np.array(values, dtype), name)


def tile(size):
    """x (1,) becomes y (size,)."""
    return model([helper.make_node("Tile", ["x", "s"], ["y"])], [constant("s", [size])], ["x"])


def loop(nodes, trips=None, scan=()):
    """``nodes`` compute "out" from "in" for ever, or ``trips`` times."""
    true = [helper.make_node("Identity", ["c"], ["again"])]
    floats = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("out", *scan)]
    body = helper.make_graph(
        [*true, *nodes],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("in", TensorProto.FLOAT, None),
        ],
        [helper.make_tensor_value_info("again", TensorProto.BOOL, []), *floats],
    )
    many = "" if trips is None else "m"
    node = helper.make_node("Loop", [many, "t", "x"], ["y", *scan], body=body)
    constants = [constant("t", True, bool), constant("m", trips or 0)]
    return model([node], constants, ["x"], ["y", *scan])


ONE = {"x": np.ones(1, np.float32)}
COUNT = [helper.make_node("Add", ["in", "in"], ["out"])]


def refused(data, match, feeds=None, optimize=True, **limits):
    """Loading and running raises a LimitError of one line that matches."""
    with pytest.raises(LimitError, match=match) as raised:
        session = onnxwalk.load(data, optimize=optimize, limits=Limits(**limits))
        session.run(None, ONE if feeds is None else feeds)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("optimize", [True, False])
def test_memory_is_refused_before_it_is_there(optimize):
    tracemalloc.start()
    try:
        refused(
            tile(100 * MIB),
            r"^node 'y' \(Tile\), ai.onnx.Tile-6, of float32 \(1,\), int64 \(1,\): "
            r"needs up to 4\d\d MiB, .* in use, .* kept for Python: max_memory is 50 MiB$",
            optimize=optimize,
            max_memory=50 * MIB,
        )
        assert tracemalloc.get_traced_memory()[1] < 10 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("optimize", [True, False])
def test_memory_is_counted_over_the_steps(optimize):
    """Each of these values is alive to the end; any of them alone would be allowed."""
    names = [f"v{i}" for i in range(20)]
    nodes = [helper.make_node("Expand", ["x", "s"], [name]) for name in names]
    data = model(nodes, [constant("s", [MIB])], ["x"], names)
    refused(data, "max_memory is 40 MiB", optimize=optimize, max_memory=40 * MIB)
    onnxwalk.load(data, optimize=optimize, limits=Limits(max_memory=250 * MIB)).run(None, ONE)


@pytest.mark.parametrize("optimize", [True, False])
def test_memory_that_is_let_go_counts_no_more(optimize):
    nodes = [helper.make_node("Expand", ["x", "s"], ["v0"])]
    nodes += [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(50)]
    data = model(nodes, [constant("s", [MIB])], ["x"], ["v50"])
    session = onnxwalk.load(data, optimize=optimize, limits=Limits(max_memory=60 * MIB))
    for _ in range(3):
        np.testing.assert_array_equal(session.run(None, ONE)[0], np.ones(MIB, np.float32))


@pytest.mark.parametrize("optimize", [True, False])
def test_a_view_that_stands_for_much_is_not_copied_out(optimize):
    """Expand repeats without copying; what the caller gets would be all of it."""
    nodes = [helper.make_node("Expand", ["x", "s"], ["y"])]
    for inputs, constants in ((["x"], []), ([], [constant("x", [1.0], np.float32)])):
        data = model(nodes, [*constants, constant("s", [1 << 32])], inputs)
        refused(
            data, r"copy of output float32 \(4294967296,\): needs up to 16 GiB",
            ONE if inputs else {}, optimize=optimize, max_memory=50 * MIB,
        )  # fmt: skip


@pytest.mark.parametrize("stride", [1 << 26, 1 << 40])
def test_a_bound_plan_is_not_begun_for_what_is_refused_or_has_no_end(stride):
    """One Python object for each place of a stride would take hours, and more memory than there
    is; by default there is no limit on time."""
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[1, stride])
    data = model([node], [constant("w", [[[[2.0]]]], np.float32)], ["x"])
    x = np.ones((1, 1, 1, 2), np.float32)
    if stride > 1 << 30:
        refused(data, "needs up to 8 TiB", {"x": x}, max_memory=1 << 30)
    else:
        tracemalloc.start()
        (y,) = onnxwalk.load(data, limits=Limits(max_memory=1 << 31)).run(None, {"x": x})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert y.shape == (1, 1, 1, stride + 1) and y.sum() == 4 and peak < 3.1 * y.nbytes


def test_the_calls_of_a_bound_plan_are_counted():
    """Each of 20,000 samples takes several calls, and views: far more than its 16 bytes."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    data = model([node], [constant("w", np.ones((1, 1, 3, 3)), np.float32)], ["x"])
    session = onnxwalk.load(data)
    x = np.ones((20_000, 1, 2, 2), np.float32)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    (y,) = session.run(None, {"x": x})
    really = tracemalloc.get_traced_memory()[0] - before - y.nbytes
    tracemalloc.stop()
    counted = session._runner._bound.nbytes
    assert really / 2 < counted < 2 * really
    assert (y == 4).all()


def test_what_a_plan_keeps_does_not_refuse_the_next_run():
    """The plan has the result's memory; with that, there isn't enough to compute it once more."""
    stride = 10 * MIB // 4
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[1, stride])
    data = model([node], [constant("w", [[[[2.0]]]], np.float32)], ["x"])
    session = onnxwalk.load(data, limits=Limits(max_memory=28 * MIB, max_seconds=60))
    x = np.ones((1, 1, 1, 2), np.float32)
    for _ in range(4):
        (y,) = session.run(None, {"x": x})
        assert y.sum() == 4
        assert session._runner._bound.nbytes > y.nbytes


def test_many_shapes_are_let_go():
    """Plans for other shapes that the session keeps make room."""
    data = model([helper.make_node("Erf", ["x"], ["e"]), helper.make_node("Neg", ["e"], ["y"])],
                 [], ["x"])  # fmt: skip
    session = onnxwalk.load(data, limits=Limits(max_memory=60 * MIB))
    for size in range(MIB, MIB + 40):
        (y,) = session.run(None, {"x": np.zeros(size, np.float32)})
        assert y.shape == (size,)


@pytest.mark.parametrize("optimize", [True, False])
def test_what_a_loop_collects_is_counted(optimize):
    nodes = [*COUNT, helper.make_node("RandomUniform", [], ["s"], shape=[MIB // 8])]
    data = loop(nodes, scan=["s"])
    refused(data, "max_memory is 20 MiB", optimize=optimize, max_memory=20 * MIB)


@pytest.mark.parametrize("optimize", [True, False])
def test_views_that_a_loop_collects_count_as_what_they_become(optimize):
    """The body gives one number as a view of a million: little, until it is stacked."""
    nodes = [
        helper.make_node("Identity", ["in"], ["out"]),
        helper.make_node("Expand", ["in", "s"], ["wide"]),
    ]
    data = onnx.ModelProto.FromString(loop(nodes, 30, scan=["wide"]))
    data.graph.initializer.append(constant("s", [1 << 20]))
    refused(data, "max_memory is 100 MiB", optimize=optimize, max_memory=100 * MIB)
    refused(data, r"max_seconds is 0\.02", optimize=optimize, max_seconds=0.02)


def test_a_state_that_grows_is_refused():
    data = loop([helper.make_node("Concat", ["in", "in"], ["out"], axis=0)])
    refused(data, "node '(out|y)'.*max_memory is 20 MiB", max_memory=20 * MIB)


@pytest.mark.parametrize("optimize", [True, False])
def test_a_tensor_may_be_too_large_alone(optimize):
    refused(
        tile(MIB), "output of 4 MiB: max_tensor_bytes is 1 MiB",
        optimize=optimize, max_tensor_bytes=MIB,
    )  # fmt: skip


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("bodies", [False, True], ids=["alone", "in a loop"])
def test_a_tensor_may_be_too_large_alone_where_its_memory_is_planned(optimize, bodies):
    """Of operators that are bound, too."""
    nodes = [helper.make_node("Softmax", ["x"], ["y"])]
    data = model(nodes, [], ["x"])
    if bodies:
        body = [helper.make_node("Softmax", ["in"], ["out"])]
        data = loop(body, trips=2)
    session = onnxwalk.load(data, optimize=optimize, limits=onnxwalk.Limits(max_tensor_bytes=100))
    session(np.ones(25, np.float32))
    with pytest.raises(onnxwalk.LimitError, match="output of 104 bytes: max_tensor_bytes is 100"):
        session(np.ones(26, np.float32))


@pytest.mark.parametrize("optimize", [True, False])
def test_time(optimize):
    start = time.monotonic()
    refused(loop(COUNT), "^node .* time limit reached: max_seconds is 0.2",
            optimize=optimize, max_seconds=0.2)  # fmt: skip
    assert time.monotonic() - start < 5


def test_a_call_that_would_take_too_long_is_not_begun():
    nodes = [helper.make_node("Expand", ["x", "s"], ["a"]),
             helper.make_node("MatMul", ["a", "a"], ["y"])]  # fmt: skip
    data = model(nodes, [constant("s", [8000, 8000])], ["x"])
    start = time.monotonic()
    refused(
        data, r"\(MatMul\).*may take .* s, but .* s are left: max_seconds is 30",
        max_seconds=30,
    )  # fmt: skip
    assert time.monotonic() - start < 25


def test_the_time_is_for_each_run():
    session = onnxwalk.load(tile(8), limits=Limits(max_seconds=0.5))
    for _ in range(4):
        time.sleep(0.2)
        session.run(None, ONE)


@pytest.mark.parametrize("optimize", [True, False])
def test_iterations(optimize):
    refused(loop(COUNT), "more iterations than max_loop_iterations allows: 100",
            optimize=optimize, max_loop_iterations=100)  # fmt: skip
    session = onnxwalk.load(
        loop(COUNT, trips=100), optimize=optimize, limits=Limits(max_loop_iterations=100)
    )
    for _ in range(3):  # for each run
        session.run(None, ONE)


def test_by_default_an_endless_loop_ends():
    refused(loop([helper.make_node("Identity", ["in"], ["out"])]), "max_loop_iterations")


def relus(count):
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    return model(nodes, [], ["v0"], [f"v{count}"])


def doubling(levels):
    """Each function calls the next twice."""
    functions = []
    for level in range(levels):
        inner, domain = (f"f{level + 1}", "local") if level + 1 < levels else ("Relu", "")
        nodes = [
            helper.make_node(inner, ["x"], ["t"], domain=domain),
            helper.make_node(inner, ["t"], ["y"], domain=domain),
        ]
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
        functions.append(helper.make_function("local", f"f{level}", ["x"], ["y"], nodes, opsets))
    call = helper.make_node("f0", ["x"], ["y"], domain="local")
    return model([call], [], ["x"], functions=functions)


def test_nodes():
    refused(relus(1001), "more nodes than max_nodes allows: 1,000", max_nodes=1000)
    onnxwalk.load(relus(1000), limits=Limits(max_nodes=1000))


def test_nodes_of_functions_count_at_each_call():
    refused(doubling(60), "more nodes than max_nodes allows: 10,000", max_nodes=10_000)
    onnxwalk.load(doubling(5), limits=Limits(max_nodes=10_000)).run(None, ONE)


def nested(depth):
    """If within If within If …"""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["r"])], "g", [], [onnx.ValueInfoProto(name="r")]
    )
    other = graph
    for level in range(depth):
        node = helper.make_node("If", ["t"], [f"r{level}"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "g", [], [onnx.ValueInfoProto(name=f"r{level}")])
    data = [constant("t", True, bool)]
    return model(list(graph.node), data, ["x"], [graph.output[0].name])


def test_a_limit_that_no_node_reaches_alone_names_the_file(tmp_path):
    path = tmp_path / "many.onnx"
    path.write_bytes(doubling(60))
    with pytest.raises(LimitError, match=r"/many\.onnx: more nodes than max_nodes allows: 100"):
        onnxwalk.load(path, limits=Limits(max_nodes=100))


def test_nesting():
    refused(nested(5), "graphs nest deeper than max_nesting allows: 4", max_nesting=4)
    onnxwalk.load(nested(4), limits=Limits(max_nesting=4)).run(None, ONE)
    refused(doubling(9), "calls of functions nest deeper than max_nesting allows: 8", max_nesting=8)


def test_strings():
    nodes = [helper.make_node("StringConcat", [f"v{i}"] * 2, [f"v{i + 1}"]) for i in range(30)]
    data = model(nodes, [helper.make_tensor("v0", TensorProto.STRING, [1], [b"ab"])], [],
                 ["v30"], opset=20)  # fmt: skip
    refused(data, "max_string_bytes is 1 MiB", {}, max_string_bytes=MIB)


def test_a_string_that_is_repeated_without_copies_is_counted_once():
    nodes = [
        helper.make_node("Expand", ["v", "s"], ["many"]),
        helper.make_node("Slice", ["many", "zero", "one"], ["y"]),
    ]
    constants = [helper.make_tensor("v", TensorProto.STRING, [1], [b"abc"]),
                 constant("s", [1 << 40]), constant("zero", [0]), constant("one", [1])]  # fmt: skip
    for optimize in (True, False):
        session = onnxwalk.load(model(nodes, constants), optimize=optimize)
        assert session.run(None, {})[0].tolist() == ["abc"]


def test_many_tiny_messages_are_refused_while_they_are_read():
    """Two bytes of a file can become an object of hundreds."""
    node = b"\x0a\x00"  # a NodeProto in a GraphProto
    graph = node * 500_000
    length = b""
    n = len(graph)
    while n:
        length += bytes([n & 0x7F | (0x80 if n > 0x7F else 0)])
        n >>= 7
    refused(b"\x3a" + length + graph, "max_memory is 20 MiB", max_memory=20 * MIB)


def test_a_sparse_tensor_is_refused_before_it_is_dense():
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["s"], ["y"])], "g", [], [onnx.ValueInfoProto(name="y")]
    )
    sparse = onnx.SparseTensorProto(values=values, indices=indices, dims=[1 << 20, 1 << 20])
    graph.sparse_initializer.append(sparse)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    refused(proto, "needs up to 4 TiB", {}, max_memory=20 * MIB)


def test_constants_are_not_folded_into_large_ones():
    """Loading is quick and small; the run, where it is asked for, is refused."""
    nodes = [helper.make_node("Tile", ["x", "s"], ["y"])]
    data = model(nodes, [constant("x", [1.0], np.float32), constant("s", [1 << 32])])
    session = onnxwalk.load(data, limits=Limits(max_memory=100 * MIB))
    with pytest.raises(LimitError, match="needs up to 16 GiB"):
        session.run(None, {})


def test_without_limits_there_are_none():
    session = onnxwalk.load(nested(20), limits=None)
    np.testing.assert_array_equal(session.run(None, ONE)[0], ONE["x"])
    assert session.limits is None


def test_the_defaults_are_documented_and_generous():
    limits = Limits()
    assert limits.max_memory is not None and limits.max_memory >= 1 << 28
    assert limits.max_seconds is None
    assert {f.name for f in dataclasses.fields(Limits)} == {
        "max_memory", "max_tensor_bytes", "max_seconds", "max_loop_iterations", "max_nodes",
        "max_nesting", "max_string_bytes",
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {"max_memory": "1GiB"},
        {"max_seconds": -1},
        {"max_nodes": 1.5},
        {"max_seconds": float("nan")},
        {"max_nesting": True},
    ],
)
def test_what_is_no_limit_is_refused(given):
    with pytest.raises(InvalidInputError, match=next(iter(given))):
        Limits(**given)


def test_limits_must_be_limits():
    with pytest.raises(InvalidInputError, match="limits must be Limits"):
        onnxwalk.load(tile(3), limits={"max_memory": 1})


def test_trace_keeps_to_the_limits():
    session = onnxwalk.load(tile(100 * MIB), limits=Limits(max_memory=50 * MIB))
    with pytest.raises(LimitError, match="max_memory is 50 MiB"):
        list(session.trace(ONE))


def test_the_time_of_a_trace_is_that_of_its_steps():
    """What its reader does in between doesn't count; a step that takes too long isn't begun."""
    steps = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    session = onnxwalk.load(model(steps, (), ["x"]), limits=Limits(max_seconds=0.3))
    names = []
    for event in session.trace(ONE):
        names += event.outputs
        time.sleep(0.4)
    assert names == ["a", "y"]
    session = onnxwalk.load(loop(COUNT), limits=Limits(max_seconds=0.3))
    with pytest.raises(LimitError, match=r"max_seconds is 0\.3"):
        list(session.trace(ONE, iterations=10))


@pytest.mark.parametrize(
    ("text", "value"),
    [("100", 100), ("2GiB", 2 << 30), ("1.5 MB", 1_500_000), ("3kib", 3072), ("7 B", 7)],
)
def test_sizes(text, value):
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "x", "2XB", "-1", "nan GiB", "1e999"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)


def test_sizes_to_read():
    assert [format_bytes(n) for n in (12, 2048, 1.5 * MIB, 1 << 42)] == [
        "12 bytes", "2 KiB", "1.5 MiB", "4 TiB",
    ]  # fmt: skip
