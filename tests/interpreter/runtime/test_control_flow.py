"""If, Loop and Scan as graphs: captured outer values, nesting, sequences; ONNX Runtime agrees."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import InvalidModelError
from tests.support.dense_strategies import arrays, modestly
from tests.support.harness import assert_same, run_onnxruntime

F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name, code=F, shape=None):
    return helper.make_tensor_value_info(name, code, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def node(op_type, inputs, outputs, **attributes):
    return helper.make_node(op_type, inputs.split(","), outputs.split(","), **attributes)


def graph(nodes, inputs, outputs, initializers=()):
    return helper.make_graph(nodes, "g", inputs, outputs, list(initializers))


def model(*args, opset=17):
    return helper.make_model(
        graph(*args), opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )


def check(proto, *feeds):
    """Optimized, as written, and ONNX Runtime: all the same."""
    for feed in feeds:
        expected = run_onnxruntime(proto, feed)
        for optimize in (True, False):
            session = onnxwalk.load(proto, optimize=optimize)
            assert_same(session.run(None, feed), expected)


X = np.array([[1, -2, 3], [0, 5, -6]], np.float32)


def test_if_captures_outer_values_and_weights():
    then = graph([node("MatMul", "x,w", "t"), node("Add", "t,b", "y1")], [], [value("y1")])
    other = graph([node("Neg", "x", "y2")], [], [value("y2")])
    proto = model(
        [
            node("Constant", "", "b", value=constant("", np.float32(0.5))),
            node("If", "c", "y", then_branch=then, else_branch=other),
            node("Relu", "y", "z"),
        ],
        [value("x", F, ["n", 3]), value("c", BOOL, [])],
        [value("z")],
        [constant("w", np.eye(3, dtype=np.float32))],
    )
    proto.graph.node[0].ClearField("input")
    check(proto, {"x": X, "c": np.array(True)}, {"x": X, "c": np.array(False)})


def test_if_hands_on_outer_values():
    then = graph([node("Identity", "x", "same")], [], [value("same")])
    other = graph([], [], [value("late")], [constant("late", np.ones((2, 3), np.float32))])
    proto = model(
        [node("If", "c", "y", then_branch=then, else_branch=other)],
        [value("x"), value("c", BOOL, [])],
        [value("y")],
    )
    check(proto, {"x": X, "c": np.array(True)}, {"x": X, "c": np.array(False)})


def loop_body(extra=(), outputs=()):
    return graph(
        [node("Identity", "go", "go_on"), node("Add", "s,step", "s2"), *extra],
        [value("i", I64, []), value("go", BOOL, []), value("s", F, None)],
        [value("go_on", BOOL, []), value("s2"), *outputs],
    )


@pytest.mark.parametrize("count", [0, 1, 5])
def test_loop_carries_and_stacks(count):
    body = loop_body([node("Mul", "s2,x", "part")], [value("part", F, [2, 3])])
    proto = model(
        [
            node("Exp", "scale", "step"),
            node("Loop", "m,,start", "last,parts", body=body),
        ],
        [value("x", F, [2, 3]), value("scale", F, []), value("m", I64, [])],
        [value("last"), value("parts")],
        [constant("start", np.float32(0))],
    )
    check(proto, {"x": X, "scale": np.array(0.1, np.float32), "m": np.array(count)})


def test_loop_ends_by_its_condition():
    body = graph(
        [node("Mul", "s,two", "s2"), node("Less", "s2,limit", "more")],
        [value("i", I64, []), value("go", BOOL, []), value("s", F, [])],
        [value("more", BOOL, []), value("s2", F, [])],
    )
    proto = model(
        [node("Loop", ",yes,start", "last", body=body)],
        [value("start", F, []), value("limit", F, [])],
        [value("last")],
        [constant("two", np.float32(2)), constant("yes", np.array(True))],
    )
    feeds = {"start": np.array(1, np.float32), "limit": np.array(100, np.float32)}
    check(proto, feeds)
    assert onnxwalk.load(proto).run(None, feeds)[0] == 128


def test_nested_bodies_reach_all_the_way_out():
    inner = graph(
        [node("Add", "x,s", "t1"), node("Mul", "t1,w", "y1")], [], [value("y1", F, [2, 3])]
    )
    other = graph([node("Sub", "x,w", "y2")], [], [value("y2", F, [2, 3])])
    body = graph(
        [
            node("Identity", "go", "go_on"),
            node("Mod", "i,two", "odd"),
            node("Cast", "odd", "c", to=BOOL),
            node("If", "c", "s2", then_branch=inner, else_branch=other),
        ],
        [value("i", I64, []), value("go", BOOL, []), value("s", F, [2, 3])],
        [value("go_on", BOOL, []), value("s2", F, [2, 3])],
    )
    proto = model(
        [node("Loop", "m,,x", "y", body=body)],
        [value("x", F, [2, 3]), value("m", I64, [])],
        [value("y")],
        [constant("w", np.array([1, 2, 3], np.float32)), constant("two", np.array(2))],
    )
    check(proto, *({"x": X, "m": np.array(m)} for m in range(4)))


def test_names_of_siblings_may_repeat():
    def branch(op):
        return graph([node(op, "x", "t"), node("Relu", "t", "r")], [], [value("r")])

    proto = model(
        [
            node("If", "c", "a", then_branch=branch("Neg"), else_branch=branch("Abs")),
            node("If", "c", "b", then_branch=branch("Abs"), else_branch=branch("Neg")),
        ],
        [value("x"), value("c", BOOL, [])],
        [value("a"), value("b")],
    )
    check(proto, {"x": X, "c": np.array(True)}, {"x": X, "c": np.array(False)})


@pytest.mark.parametrize("directions", [[0], [1]])
def test_scan_runs_along_the_first_axis(directions):
    body = graph(
        [node("Add", "s,v", "s2"), node("Mul", "s2,w", "o")],
        [value("s", F, [3]), value("v", F, [3])],
        [value("s2", F, [3]), value("o", F, [3])],
    )
    proto = model(
        [
            node(
                "Scan",
                "start,x",
                "last,all",
                body=body,
                num_scan_inputs=1,
                scan_input_directions=directions,
            )
        ],
        [value("x", F, ["n", 3])],
        [value("last"), value("all")],
        [constant("start", np.zeros(3, np.float32)), constant("w", np.float32([1, 2, 3]))],
    )
    check(proto, {"x": X})


def test_sequences_grow_in_a_loop():
    seq = helper.make_tensor_sequence_value_info
    body = graph(
        [
            node("Identity", "go", "go_on"),
            node("Cast", "i", "f", to=F),
            node("Mul", "x,f", "t"),
            node("SequenceInsert", "s,t", "s2"),
        ],
        [value("i", I64, []), value("go", BOOL, []), seq("s", F, None)],
        [value("go_on", BOOL, []), seq("s2", F, None)],
    )
    proto = model(
        [
            helper.make_node("SequenceEmpty", [], ["empty"], dtype=F),
            node("Loop", "m,,empty", "list", body=body),
            node("ConcatFromSequence", "list", "y", axis=0),
        ],
        [value("x"), value("m", I64, [])],
        [value("y"), seq("list", F, None)],
    )
    check(proto, {"x": X, "m": np.array(3)})


def test_a_failing_body_names_the_inner_node():
    body = loop_body([helper.make_node("Reshape", ["s2", "shape"], ["r"], name="inside")])
    proto = model(
        [node("Loop", "m,,start", "last", body=body)],
        [value("m", I64, []), value("step", F, None)],
        [value("last")],
        [constant("start", np.float32(0)), constant("shape", np.array([7]))],
    )
    session = onnxwalk.load(proto, optimize=False)
    with pytest.raises(onnxwalk.OperatorError, match=r"node 'inside' \(Reshape\)"):
        session.run(None, {"m": np.array(2), "step": np.array(1, np.float32)})


WEIGHTS = [constant("w", np.ones((3, 5), np.float32)), constant("k", np.ones((4, 5), np.float32))]
ROW = [node("Gather", "x,i", "row"), node("MatMul", "row,w", "part")]


def no_trips(nodes, part, shape):
    """A Loop whose body computes "part" from x, i and the carried s by the nodes."""
    body = graph(
        [*nodes, node("Identity", "go", "more"), node("Identity", "s", "s2")],
        [value("i", I64, []), value("go", BOOL, []), value("s")],
        [value("more", BOOL, []), value("s2"), part],
        WEIGHTS,
    )
    return model(
        [node("Loop", "m,,x", "last,parts", body=body)],
        [value("x", F, shape), value("m", I64, [])],
        [value("parts")],
    )


@pytest.mark.parametrize("x", [X, X[:0]], ids=["rows", "no rows"])
@pytest.mark.parametrize("part", [value("part"), helper.make_empty_tensor_value_info("part")])
@pytest.mark.parametrize("nodes", [ROW, [node("Neg", "k", "part")], [node("Relu", "x", "part")]])
def test_a_loop_without_trips_keeps_its_output_s_rank(nodes, part, x):
    """Where the file doesn't declare the shape of what the body gives."""
    check(no_trips(nodes, part, x.shape), {"x": x, "m": np.array(0)})


def test_a_loop_without_trips_knows_what_it_carries():
    """ONNX Runtime gives (0,): the shape that the carried value begins with may change."""
    proto = no_trips([node("MatMul", "s,w", "part")], value("part"), X.shape)
    (parts,) = onnxwalk.load(proto).run(None, {"x": X, "m": np.array(0)})
    assert parts.shape == (0, 2, 5)


def test_a_loop_without_trips_whose_body_fails():
    """Nothing is known then, as nothing is declared; and the run goes on."""
    nodes = [node("Reshape", "x,i", "part")]
    (parts,) = onnxwalk.load(no_trips(nodes, value("part"), X.shape)).run(
        None, {"x": X, "m": np.array(0)}
    )
    assert parts.shape == (0,)


@modestly
@given(
    x=arrays(np.float32, largest=9),
    most=st.none() | st.integers(-1, 4),
    first=st.none() | st.booleans(),
    limit=st.integers(0, 5),
)
def test_any_loop(x, most, first, limit):
    """No trip count, no condition, none of the rounds, any shape, NaN and infinities."""
    assume(most is not None or first is not None)
    proto = doubling(x.shape, most, first)
    if first is None and most > limit + 1:
        # 'input ("trip_count", ""): … cond = ...; // ignored'; ONNX Runtime stops at it
        last, parts = onnxwalk.load(proto).run(None, {"x": x, "limit": np.array(limit)})
        assert_same(parts, np.stack([-(x * np.float32(2**i)) for i in range(most)]))
        assert_same(last, x * np.float32(2**most))
    else:
        check(proto, {"x": x, "limit": np.array(limit)})


def doubling(shape, most, first):
    """A Loop over s = x, s + s, …, as long as the round's number is below ``limit``."""
    body = graph(
        [node("Add", "s,s", "s2"), node("Less", "i,limit", "more"), node("Neg", "s", "part")],
        [value("i", I64, []), value("go", BOOL, []), value("s", F, shape)],
        [value("more", BOOL, []), value("s2", F, shape), value("part", F, shape)],
    )
    given = {"m": most, "c": first}
    names = ",".join(name if known is not None else "" for name, known in given.items())
    return model(
        [node("Loop", f"{names},x", "last,parts", body=body)],
        [value("x", F, shape), value("limit", I64, [])],
        [value("last"), value("parts")],
        [constant(name, known) for name, known in given.items() if known is not None],
    )


@modestly
@given(
    data=st.data(), backwards=st.booleans(), turned=st.booleans(), opset=st.sampled_from([9, 11])
)
def test_any_scan(data, backwards, turned, opset):
    """Along any axis of the input and the output, in both directions; negative from 11 on."""
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    x = data.draw(arrays(np.float32, tuple(shape), largest=9))
    rank = len(shape)
    axes = st.integers(0 if opset == 9 else -rank, rank - 1)
    axis, to = data.draw(axes), data.draw(axes)
    inner = list(shape)
    del inner[axis]
    body = graph(
        [node("Add", "s,v", "s2"), node("Abs", "s2", "o")],
        [value("s", F, inner), value("v", F, inner)],
        [value("s2", F, inner), value("o", F, inner)],
    )
    how = {
        "num_scan_inputs": 1,
        "scan_input_axes": [axis],
        "scan_output_axes": [to],
        "scan_input_directions": [int(backwards)],
        "scan_output_directions": [int(turned)],
    }
    proto = model(
        [node("Scan", "start,x", "last,all", body=body, **how)],
        [value("start", F, inner), value("x", F, shape)],
        [value("last"), value("all")],
        opset=opset,
    )
    check(proto, {"start": np.zeros(inner, np.float32), "x": x})


@modestly
@given(x=arrays(np.float32), condition=st.booleans(), one=st.booleans())
def test_any_if(x, condition, one):
    """Any shape, and a condition of one element in any rank."""
    then = graph([node("Neg", "x", "a")], [], [value("a")])
    other = graph([node("Shape", "x", "n"), node("Cast", "n", "b", to=F)], [], [value("b")])
    shape = [1] if one else []
    proto = model(
        [node("If", "c", "y", then_branch=then, else_branch=other)],
        [value("x", F, x.shape), value("c", BOOL, shape)],
        [value("y")],
    )
    check(proto, {"x": x, "c": np.full(shape, condition)})


@pytest.mark.parametrize("named", [2, 3])
@pytest.mark.parametrize("operator", ["If", "Loop", "Scan"])
def test_more_outputs_than_the_graphs_give(operator, named):
    """Each gives two; what is named beyond that is told at load, and not made up."""
    outputs = [value("p"), value("q")]
    if operator == "If":
        one = graph([node("Neg", "x", "p"), node("Abs", "x", "q")], [], outputs)
        inputs, graphs = "c", {"then_branch": one, "else_branch": one}
    elif operator == "Loop":
        nodes = [node("Identity", "c1", "c2"), node("Neg", "h", "p"), node("Abs", "h", "q")]
        carried = [value("i", I64, []), value("c1", BOOL, []), value("h")]
        body = graph(nodes, carried, [value("c2", BOOL, []), *outputs])
        inputs, graphs = "n,c,x", {"body": body}
    else:
        nodes = [node("Neg", "h", "p"), node("Abs", "s", "q")]
        body = graph(nodes, [value("h"), value("s")], outputs)
        inputs, graphs = "x,x", {"body": body, "num_scan_inputs": 1}
    names = ["y", "z", "extra"][:named]
    proto = model(
        [node(operator, inputs, ",".join(names), **graphs)],
        [value("x")],
        [value(name) for name in names],
        [constant("c", True), constant("n", 2)],
    )
    if named == 2:
        assert len(onnxwalk.load(proto).run(None, {"x": X})) == 2
        return
    come = r"\(" + operator + r"\) has 3 outputs, but its \w+ returns 2"
    with pytest.raises(InvalidModelError, match=come):
        onnxwalk.load(proto)


def test_an_if_of_another_domain_is_not_that_of_onnx():
    mine = onnxwalk.Registry(parent=onnxwalk.ops.registry)

    @mine.op("If", since=1, domain="mine")
    def unless(cond, *, then_branch, else_branch):
        return (else_branch if cond else then_branch)()

    branches = [
        graph([helper.make_node(operator, ["x"], ["inner"])], [], [value("inner")])
        for operator in ("Relu", "Neg")
    ]
    proto = model(
        [helper.make_node("If", ["c"], ["y"], domain="mine", then_branch=branches[0],
                          else_branch=branches[1])],
        [value("x")], [value("y")], [constant("c", True)],
    )  # fmt: skip
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    x = np.array([1, -2], np.float32)
    for optimize in (True, False):
        session = onnxwalk.load(proto, registry=mine, optimize=optimize)
        for _ in range(3):
            assert session.run(None, {"x": x})[0].tolist() == [-1, 2]


def test_a_loop_whose_body_takes_fewer_values_than_it_gets():
    """No rewrite takes it for a layer or for a loop that carries what it doesn't change."""
    body = graph(
        [node("Identity", "c", "d"), node("Identity", "s", "t")],
        [value("i", I64, []), value("c", BOOL, []), value("s")],
        [value("d", BOOL, []), value("t")],
    )
    proto = model(
        [node("Loop", "m,,x,x", "y", body=body)],
        [value("m", I64, []), value("x", F, [2])],
        [value("y")],
    )
    for optimize in (True, False):
        session = onnxwalk.load(proto, optimize=optimize)
        with pytest.raises(onnxwalk.OperatorError, match="the subgraph has 3 inputs, but got 4"):
            session.run(None, {"m": np.array(2), "x": np.ones(2, np.float32)})
