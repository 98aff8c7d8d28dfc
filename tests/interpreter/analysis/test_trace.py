"""session.trace: the values in between, and nothing kept that isn't needed."""

import gc
import itertools
import math
import weakref

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxwalk
from tests.interpreter.runtime.test_bound import model, network, node, noise

F, INT64 = TensorProto.FLOAT, TensorProto.INT64


def session_of(nodes, outputs=("y",), **options):
    return onnxwalk.load(model(nodes, [("x", F, ["n"])], list(outputs)), **options)


def test_every_node_of_the_file_with_its_values():
    session = onnxwalk.load(network())
    x = noise(2, 8, 8, 3)
    events = list(session.trace({"x": x}))
    assert [e.node.op_type for e in events] == [n.op_type for n in session.model.graph.nodes]
    assert len(events) == len(session.trace({"x": x}))
    conv = events[1]
    assert set(conv.inputs) == {"nchw", "w1", "b1"} and set(conv.outputs) == {"c1"}
    for event in events:
        for name, value in event.outputs.items():
            (expected,) = session.run([name], {"x": x})
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
        assert event.seconds >= 0


def test_a_bound_run_can_be_read_step_by_step():
    """Every value is right as it is computed, before its memory is used again."""
    session = onnxwalk.load(network())
    x = noise(2, 8, 8, 3)
    bound, arguments = session._runner.bind({"x": noise(2, 8, 8, 3)})
    arguments = [x for _ in arguments]
    found = {}
    for step, values in bound.steps(arguments):
        given = zip(step.node.outputs, values, strict=True)
        found |= {name: value.copy() for name, value in given if value is not None}
    bound.outputs()
    assert {output.name for output in session.outputs} <= set(found) and len(found) > 3
    for name, value in found.items():
        (expected,) = session.run([name], {"x": x})
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_optimized_nodes_are_those_that_the_rewrites_made():
    session = onnxwalk.load(network())
    plain = session.trace({"x": noise(1, 8, 8, 3)})
    fused = session.trace({"x": noise(1, 8, 8, 3)}, optimized=True)
    assert len(fused) < len(plain)
    assert "FusedConv" in [event.node.op_type for event in fused]


def test_a_trace_can_be_read_again_and_left_early():
    session = session_of([node("Exp", "x", "a"), node("Neg", "a", "y")])
    trace = session.trace({"x": np.zeros(3, np.float32)})
    first = next(iter(trace))
    assert first.node.op_type == "Exp" and list(first.outputs) == ["a"]
    assert [event.node.op_type for event in trace] == ["Exp", "Neg"]


def test_only_what_is_alive_is_kept():
    names = ["x", "a", "b", "c", "d", "y"]
    nodes = [node("Exp", one, two) for one, two in itertools.pairwise(names)]
    alive = []
    for event in session_of(nodes).trace({"x": np.zeros(1000, np.float32)}):
        alive += [weakref.ref(value) for value in event.outputs.values()]
        del event
        gc.collect()
        assert sum(value() is not None for value in alive) <= 2


def test_the_callers_state_of_numpy_stays():
    session = session_of([node("Log", "x", "a"), node("Neg", "a", "y")])
    before = np.geterr(), np.getbufsize()
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        for _ in session.trace({"x": np.zeros(2, np.float32)}):
            assert (np.geterr(), np.getbufsize()) == before
            np.ones(1) / np.zeros(1)


def test_an_error_names_the_node_when_it_is_reached():
    nodes = [node("Exp", "x", "a"), node("Reshape", "a s", "y")]
    inputs = [("x", F, ["n"]), ("s", TensorProto.INT64, [2])]
    session = onnxwalk.load(model(nodes, inputs, ["y"]))
    trace = session.trace({"x": np.zeros(3, np.float32), "s": np.array([2, 2])})
    events = iter(trace)
    assert next(events).node.op_type == "Exp"
    with pytest.raises(onnxwalk.OperatorError, match="Reshape"):
        next(events)


def test_feeds_are_checked_at_once():
    session = session_of([node("Exp", "x", "y")])
    with pytest.raises(onnxwalk.InvalidInputError, match="no input is named 'z'"):
        session.trace({"z": np.zeros(3, np.float32)})


# --- within If, Loop, Scan


def looping():
    """h = -x; m times: h = h + x if i > 1 else h - x, and s = h·h; y = |h|, and all s stacked."""
    value = helper.make_tensor_value_info
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["h", "x"], ["r"], name=name)], name, [], [value("r", F, None)]
        )
        for op, name in (("Add", "plus"), ("Sub", "minus"))
    ]
    then, other = branches
    choose = {"then_branch": then, "else_branch": other}
    body = helper.make_graph(
        [
            helper.make_node("Greater", ["i", "one"], ["late"]),
            helper.make_node("If", ["late"], ["h2"], name="choose", **choose),
            helper.make_node("Identity", ["c"], ["c2"]),
            helper.make_node("Mul", ["h2", "h2"], ["s"], name="square"),
        ],
        "body",
        [value("i", INT64, []), value("c", TensorProto.BOOL, []), value("h", F, None)],
        [value("c2", TensorProto.BOOL, []), value("h2", F, None), value("s", F, None)],
    )
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("Loop", ["m", "", "n"], ["last", "ys"], name="loop", body=body),
        helper.make_node("Abs", ["last"], ["y"]),
    ]
    return model(nodes, [("x", F, ["n"]), ("m", INT64, [])], ["y", "ys"], [("one", np.array(1))])


def fed(count, size=3):
    return {"x": np.arange(size, dtype=np.float32), "m": np.array(count)}


@pytest.mark.parametrize("optimized", [False, True])
def test_inside_of_loops_and_branches(optimized):
    session = onnxwalk.load(looping())
    events = list(session.trace(fed(4), optimized=optimized, iterations=math.inf))
    assert [event.named(event.node.name) for event in events if event.node.name] == [
        *("loop/body[0]/choose/else_branch/minus", "loop/body[0]/choose", "loop/body[0]/square"),
        *("loop/body[1]/choose/else_branch/minus", "loop/body[1]/choose", "loop/body[1]/square"),
        *("loop/body[2]/choose/then_branch/plus", "loop/body[2]/choose", "loop/body[2]/square"),
        *("loop/body[3]/choose/then_branch/plus", "loop/body[3]/choose", "loop/body[3]/square"),
        "loop",
    ]
    y, stacked = session.run(None, fed(4))
    squares = [event.outputs["s"] for event in events if event.node.name == "square"]
    np.testing.assert_array_equal(squares, stacked)
    np.testing.assert_array_equal(events[-1].outputs["y"], y)
    (loop,) = [event for event in events if event.node.name == "loop"]
    assert loop.runs == {"body": 4} and loop.path == () and events[-1].runs == {}
    inner = [event for event in events if len(event.path) == 1]
    assert sum(event.seconds for event in inner) <= loop.seconds
    assert all(type(v) is np.ndarray for e in events for v in e.outputs.values())  # no scalars
    minus = events[2]
    assert set(minus.inputs) == {"h", "x"} and [p.iteration for p in minus.path] == [0, 0]


def test_as_many_iterations_as_are_asked_for():
    session = onnxwalk.load(looping())
    assert [len(e.path) for e in session.trace(fed(50))] == [0, 0, 0]
    events = list(session.trace(fed(50), iterations=2))
    assert {event.path[0].iteration for event in events if event.path} == {0, 1}
    assert events[-2].runs == {"body": 50}
    np.testing.assert_array_equal(events[-2].outputs["ys"], session.run(["ys"], fed(50))[0])


def test_what_is_inside_is_let_go_as_well():
    session = onnxwalk.load(looping())
    alive = []
    for event in session.trace(fed(30), iterations=math.inf):
        if event.path:
            alive += [weakref.ref(v) for v in event.outputs.values() if v.ndim]
        del event
        # Of each iteration, s is kept by the Loop itself, to be stacked.
        assert sum(value() is not None for value in alive) <= 30 + 6


def test_a_trace_can_be_left_inside_of_a_loop():
    trace = onnxwalk.load(looping()).trace(fed(10**9), iterations=math.inf)
    event = next(event for event in trace if event.path and event.path[0].iteration == 3)
    assert event.named("late") == "loop/body[3]/late"
    assert trace._plan.steps[1].node.name == "loop"  # and nothing is left running


def test_scan_and_sequence_map_are_walked_too():
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Add", "s v", "t"), node("Identity", "t", "u")],
        "b",
        [value("s", F, []), value("v", F, [])],
        [value("t", F, []), value("u", F, [])],
    )
    each = helper.make_graph(
        [node("Neg", "p", "q")], "e", [value("p", F, None)], [value("q", F, None)]
    )
    nodes = [
        helper.make_node("Scan", ["z", "x"], ["l", "y"], body=body, num_scan_inputs=1),
        helper.make_node("SplitToSequence", ["y"], ["parts"]),
        helper.make_node("SequenceMap", ["parts"], ["w"], body=each),
    ]
    proto = model(nodes, [("x", F, ["n"])], ["y", "w"], [("z", np.array(0, np.float32))])
    events = list(onnxwalk.load(proto).trace({"x": np.float32([1, 2, 3])}, iterations=math.inf))
    sums = [float(event.outputs["t"]) for event in events if "t" in event.outputs]
    assert sums == [1, 3, 6]
    assert [float(e.outputs["q"].sum()) for e in events if "q" in e.outputs] == [-1, -3, -6]


def test_an_error_inside_names_the_inner_node():
    value = helper.make_tensor_value_info
    bad = helper.make_graph(
        [helper.make_node("Reshape", ["x", "s"], ["r"], name="wrong")], "b", [],
        [value("r", F, None)],
    )  # fmt: skip
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=bad, else_branch=bad)]
    proto = model(
        nodes, [("x", F, ["n"])], ["y"], [("yes", np.array(True)), ("s", np.array([2, 2]))]
    )
    session = onnxwalk.load(proto, optimize=False)
    with pytest.raises(onnxwalk.OperatorError, match="'wrong'"):
        list(session.trace({"x": np.zeros(3, np.float32)}, iterations=math.inf))
