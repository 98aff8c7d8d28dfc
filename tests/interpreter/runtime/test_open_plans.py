"""Plans for inputs of which some have other shapes in every run, such as the past of a decoder."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.interpreter.runtime.cache import OpenKey
from onnxwalk.ops.shared.numpy_state import computing
from tests.support.harness import all_cases, feeds_of, one_node_model
from tests.support.threads import in_threads

WIDTH = 24


def decoder(layers=2):
    """Attention over a past that grows, between dense layers of a fixed shape."""
    rng = np.random.default_rng(0)
    nodes, constants = [], {}

    def node(operator, *inputs, name=None, **attributes):
        name = name or f"v{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(value):
        constants[name := f"c{len(constants)}"] = np.asarray(value)
        return name

    def dense(x):
        return node("MatMul", x, constant(rng.normal(0, 0.2, (WIDTH, WIDTH)).astype(np.float32)))

    inputs, outputs, x = [("x", [1, 1, WIDTH])], [], "x"
    for i in range(layers):
        inputs.append((f"past{i}", [1, "p", WIDTH]))
        outputs.append((f"present{i}", [1, "t", WIDTH]))
        query = dense(x)
        keys = node("Concat", f"past{i}", dense(x), name=f"present{i}", axis=1)
        scores = node("MatMul", query, node("Transpose", keys, perm=[0, 2, 1]))
        count = node("Cast", node("Gather", node("Shape", keys), constant(1)), to=TensorProto.FLOAT)
        weights = node("Softmax", node("Div", scores, count), axis=-1)
        x = node("Add", x, dense(node("MatMul", weights, keys)))
        for _ in range(12):
            x = node("Tanh", dense(x))
    outputs.append(("y", [1, 1, WIDTH]))
    node("Identity", x, name="y")

    def values(ports):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ports]

    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "decoder", values(inputs), values(outputs), initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def feeds(length, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"x": (1, 1, WIDTH), **{f"past{i}": (1, length, WIDTH) for i in range(2)}}
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def open_plans(session):
    idle = session._runner._bound._idle
    return [bound for key in idle if isinstance(key, OpenKey) for bound in idle[key]]


def test_one_plan_serves_all_lengths_with_the_same_bits():
    session = onnxwalk.load(decoder())
    for length in (5, 6, 7, 9, 1, 6, 300):
        found = session.run(None, feeds(length, seed=length))
        alone = onnxwalk.load(decoder()).run(None, feeds(length, seed=length))
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_array_equal(one, other)
    (bound,) = open_plans(session)
    assert bound.is_mostly_bound
    assert len(session._runner._bound._idle) == 2  # and that of the first length


def test_results_are_the_callers():
    session = onnxwalk.load(decoder())
    kept = []
    for length in range(4, 10):
        given = feeds(length)
        found = session.run(None, given)
        kept.append((found, [x.copy() for x in found]))
        for x in given.values():
            x[...] = np.nan
    for found, copies in kept:
        for one, other in zip(found, copies, strict=True):
            np.testing.assert_array_equal(one, other)


def test_threads():
    session, failures = onnxwalk.load(decoder()), []
    expected = {n: onnxwalk.load(decoder()).run(None, feeds(n)) for n in range(1, 9)}

    def work(start):
        for i in range(24):
            length = 1 + (start + i) % 8
            found = session.run(None, feeds(length))
            if not all(map(np.array_equal, found, expected[length])):
                failures.append(length)

    in_threads(work)
    assert not failures


def test_errors_are_those_of_any_run():
    session = onnxwalk.load(decoder())
    for length in (3, 4, 5):
        session.run(None, feeds(length))
    wrong = feeds(6) | {"past1": np.zeros((1, 6, WIDTH + 1), np.float32)}
    with pytest.raises(onnxwalk.InvalidInputError, match="past1"):
        session.run(None, wrong)
    session.run(None, feeds(6))


def test_where_most_depends_on_a_shape_plans_are_for_single_shapes():
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Neg", ["e"], ["y"])]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    session = onnxwalk.load(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    )
    for size in (3, 4, 5, 3, 4, 5, 5):
        (y,) = session.run(None, {"x": np.ones(size, np.float32)})
        np.testing.assert_array_equal(y, np.full(size, -np.exp(np.float32(1))))
    assert not open_plans(session)
    assert len(session._runner._bound._idle) == 3


def cases_of_arrays():
    """One case of each operator and version whose inputs are arrays of numbers."""
    chosen = {}
    for case in all_cases():
        arrays = [x for x in case.inputs if x is not None]
        if any(callable(value) for value in case.attributes.values()):
            continue
        if arrays and all(isinstance(x, np.ndarray) and x.dtype.kind in "fiub" for x in arrays):
            chosen.setdefault((case.domain, case.operator, case.opset), case)
    return list(chosen.values())


def test_every_operator_gives_the_same_in_an_open_plan():
    """The first input is declared to have had another shape before."""
    checked = 0
    for case in cases_of_arrays():
        session = onnxwalk.load(one_node_model(case), seed=0)
        plan, arguments = session._runner.prepare(None, feeds_of(case))
        if any("rng" in step.operator.reserved for step in plan.steps):
            continue
        with computing():
            check_open_plan(plan, arguments, str(case))
        checked += 1
    assert checked > 200


def check_open_plan(plan, arguments, message):
    exact = Bound(plan, arguments)
    expected = exact.outputs()
    before = [None if shape is None else (*shape, 7) for shape in exact.shapes]
    opened = Bound(plan, arguments, before=before)
    for _ in range(2):
        for one, other in zip(opened.outputs(), expected, strict=True):
            assert bits_of(one) == bits_of(other), message
        opened.run(arguments)


def bits_of(value):
    if isinstance(value, list):
        return [bits_of(item) for item in value]
    if isinstance(value, dict):
        return {key: bits_of(item) for key, item in value.items()}
    return value.dtype, value.shape, value.tobytes()


def test_the_decoder_is_valid():
    onnx.checker.check_model(decoder(), full_check=True)
