"""session.trace: the values in between, and nothing kept that isn't needed."""

import gc
import itertools
import weakref

import numpy as np
import pytest
from onnx import TensorProto

import interpreter
from tests.interpreter.test_bound import model, network, node, noise

F = TensorProto.FLOAT


def session_of(nodes, outputs=("y",), **options):
    return interpreter.load(model(nodes, [("x", F, ["n"])], list(outputs)), **options)


def test_every_node_of_the_file_with_its_values():
    session = interpreter.load(network())
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
    session = interpreter.load(network())
    x = noise(2, 8, 8, 3)
    bound, arguments = session.bound({"x": noise(2, 8, 8, 3)})
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
    session = interpreter.load(network())
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
    session = interpreter.load(model(nodes, inputs, ["y"]))
    trace = session.trace({"x": np.zeros(3, np.float32), "s": np.array([2, 2])})
    events = iter(trace)
    assert next(events).node.op_type == "Exp"
    with pytest.raises(interpreter.OperatorError, match="Reshape"):
        next(events)


def test_feeds_are_checked_at_once():
    session = session_of([node("Exp", "x", "y")])
    with pytest.raises(interpreter.InvalidInputError, match="no input is named 'z'"):
        session.trace({"z": np.zeros(3, np.float32)})
