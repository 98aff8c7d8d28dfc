"""Many calls of one body with one bound plan: the same values as call by call, and nothing kept."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxwalk
from onnxwalk import LimitError, Limits
from onnxwalk.interpreter.runtime.lane import Lane
from tests.support.harness import assert_same, run_onnxruntime
from tests.support.threads import in_threads

F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
WIDTH = 4


def value(name, code=F, shape=None):
    return helper.make_tensor_value_info(name, code, shape)


def loop(nodes, carried="s", code=F):
    """Loop m times over ``nodes``, which compute t and the element e from s, i, and w outside."""
    nodes = [*nodes, helper.make_node("Identity", ["c"], ["d"])]
    body = helper.make_graph(
        nodes, "body", [value("i", I64, []), value("c", BOOL, []), value(carried, code)],
        [value("d", BOOL, []), value("t", code), value("e", code)],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Loop", ["m", "", "x"], ["y", "es"], body=body)], "g",
        [value("m", I64, []), value("x", code), value("w", F, [WIDTH])],
        [value("y", code), value("es", code)],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


SUM = loop(
    [
        helper.make_node("Add", ["s", "w"], ["t"]),
        helper.make_node("Cast", ["i"], ["number"], to=F),
        helper.make_node("Mul", ["t", "number"], ["e"]),
    ]
)


def feeds(trips, rows=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "m": np.array(trips),
        "x": rng.standard_normal((rows, WIDTH), np.float32),
        "w": rng.standard_normal(WIDTH, np.float32),
    }


@pytest.fixture
def lanes(monkeypatch):
    """How many iterations each lane ran."""
    counts = []
    begin, run = Lane.__init__, Lane.run

    def begun(self, *arguments):
        begin(self, *arguments)
        self.number = len(counts)
        counts.append(0)

    def ran(self, *arguments):
        found = run(self, *arguments)
        counts[self.number] += found[0] if found is not None else 0
        return found

    monkeypatch.setattr(Lane, "__init__", begun)
    monkeypatch.setattr(Lane, "run", ran)
    return counts


def test_a_loop_runs_in_a_lane(lanes):
    session = onnxwalk.load(SUM)
    for trips in (1, 2, 3, 50, 50):
        given = feeds(trips, seed=trips)
        assert_same(session.run(None, given), run_onnxruntime(SUM, given))
    assert lanes[-2:] == [50, 50]


def test_results_are_the_bits_of_a_call_by_call(monkeypatch):
    given = feeds(40)
    found = onnxwalk.load(SUM).run(None, given)
    monkeypatch.setattr(Lane, "begin", staticmethod(lambda *_: None))
    for one, other in zip(found, onnxwalk.load(SUM).run(None, given), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_body_gives_is_not_written_over(lanes):
    """Elements are kept by the loop while the lane goes on."""
    keep = loop([helper.make_node("Neg", ["s"], ["t"]), helper.make_node("Identity", ["s"], ["e"])])
    given = feeds(20)
    assert_same(onnxwalk.load(keep).run(None, given), run_onnxruntime(keep, given))
    assert sum(lanes)


def test_shapes_that_change_end_lanes(lanes):
    nodes = [
        helper.make_node("Concat", ["s", "x"], ["t"], axis=0),
        helper.make_node("ReduceSum", ["t"], ["e"], keepdims=0),
    ]
    proto = loop(nodes)
    session = onnxwalk.load(proto)
    for _ in range(3):
        given = feeds(12)
        assert_same(session.run(None, given), run_onnxruntime(proto, given), rtol=1e-4)
    assert len(lanes) <= 9


def test_an_error_in_a_late_iteration_is_named():
    nodes = [
        helper.make_node("Sub", ["last", "i"], ["place"]),
        helper.make_node("Gather", ["s", "place"], ["row"]),
        helper.make_node("Identity", ["s"], ["t"]),
        helper.make_node("Identity", ["row"], ["e"], name="the element"),
    ]
    last = helper.make_node("Constant", [], ["last"], value_int=2)
    proto = loop([last, *nodes])
    given = feeds(3)
    assert_same(onnxwalk.load(proto).run(None, given), run_onnxruntime(proto, given))
    with pytest.raises(onnxwalk.OperatorError, match="Gather"):
        onnxwalk.load(proto).run(None, feeds(9))


def test_limits_hold():
    """Of iterations, and of the memory that elements take; carried values are counted once."""
    with pytest.raises(LimitError, match="max_loop_iterations"):
        onnxwalk.load(SUM, limits=Limits(max_loop_iterations=100)).run(None, feeds(200))
    session = onnxwalk.load(SUM, limits=Limits(max_memory=100 << 20))
    with pytest.raises(LimitError, match="max_memory"):
        session.run(None, feeds(4000, rows=1000))
    wide = loop([helper.make_node("Add", ["s", "w"], ["t"]),
                 helper.make_node("ReduceMax", ["t"], ["e"], keepdims=0)])  # fmt: skip
    _, elements = onnxwalk.load(wide, limits=Limits(max_memory=100 << 20)).run(
        None, feeds(4000, rows=1000)
    )
    assert elements.shape == (4000,)


def test_threads():
    session, failures = onnxwalk.load(SUM), []
    expected = {n: run_onnxruntime(SUM, feeds(30, rows=n)) for n in range(1, 5)}

    def work(start):
        for i in range(20):
            rows = 1 + (start + i) % 4
            found = session.run(None, feeds(30, rows=rows))
            if not all(np.allclose(a, b) for a, b in zip(found, expected[rows], strict=True)):
                failures.append(rows)

    in_threads(work)
    assert not failures


def states_loop(nodes, states, results, condition):
    """Loop at most m times over ``nodes`` with these ``states``, of which the body makes
    ``results``, as long as ``condition``; e are the elements."""
    body = helper.make_graph(
        nodes, "body",
        [value("i", I64, []), value("c", BOOL, []), *(value(s) for s in states)],
        [value(condition, BOOL, []), *(value(r) for r in results), value("e")],
    )  # fmt: skip
    first = [f"{s}0" for s in states]
    last = [f"{s}_last" for s in states]
    graph = helper.make_graph(
        [helper.make_node("Loop", ["m", "true", *first], [*last, "es"], body=body)], "g",
        [value("m", I64, []), value("true", BOOL, []), *(value(s, F, [2, 3]) for s in first)],
        [*(value(s) for s in last), value("es")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


GOES_ON = node("Identity", "c", "d")
BODIES = {
    "states change places": (
        [node("Add", "a b", "e"), node("Identity", "a", "a1"), node("Neg", "b", "b1"), GOES_ON],
        ["a", "b"], ["b1", "a1"], "d",
    ),
    "round about": (
        [
            *(node("Identity", s, f"{s}1") for s in ("p", "q", "r")),
            node("Sub", "p r", "e"), GOES_ON,
        ],
        ["p", "q", "r"], ["q1", "r1", "p1"], "d",
    ),
    "a state stays": (
        [node("Mul", "a b", "e"), node("Identity", "a", "a1"), node("Neg", "b", "b1"), GOES_ON],
        ["a", "b"], ["a1", "b1"], "d",
    ),
    "one result for two states": (
        [node("Add", "a b", "t"), node("Tanh", "t", "e"), GOES_ON],
        ["a", "b"], ["e", "e"], "d",
    ),
    "a condition ends it": (
        [
            node("Constant", "", "half", value_float=0.5), node("Mul", "a half", "e"),
            node("ReduceMax", "e", "most", keepdims=0),
            node("Constant", "", "least", value_float=1e-4), node("Greater", "most least", "d"),
        ],
        ["a"], ["e"], "d",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("trips", [1, 2, 7, 2500])
def test_states_go_where_the_next_iteration_reads_them(case, trips, lanes):
    _, states, *_ = BODIES[case]
    proto = states_loop(*BODIES[case])
    rng = np.random.default_rng(trips)
    given = {f"{s}0": rng.uniform(0.5, 1, (2, 3)).astype(np.float32) for s in states}
    given |= {"m": np.array(trips), "true": np.array(True)}
    session = onnxwalk.load(proto)
    for _ in range(2):
        assert_same(session.run(None, given), run_onnxruntime(proto, given))
    assert (sum(lanes) > 0) == (trips > 1)
    plain = onnxwalk.load(proto, optimize=False)
    for one, other in zip(session.run(None, given), plain.run(None, given), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("backward", [0, 1])
def test_scans_run_in_lanes(lanes, backward):
    body = helper.make_graph(
        [node("Add", "s x", "t"), node("Mul", "t z", "e")], "body",
        [value("s"), value("x"), value("z")], [value("t"), value("e")],
    )  # fmt: skip
    scan = helper.make_node(
        "Scan", ["s0", "xs", "zs"], ["s1", "es"], body=body, num_scan_inputs=2,
        scan_input_axes=[0, 1], scan_input_directions=[backward, 0],
        scan_output_axes=[1], scan_output_directions=[backward],
    )  # fmt: skip
    graph = helper.make_graph(
        [scan], "g", [value("s0", F, [3]), value("xs", F, ["t", 3]), value("zs", F, [3, "t"])],
        [value("s1"), value("es")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxwalk.load(proto)
    rng = np.random.default_rng(0)
    for steps in (1, 40, 40, 1500):
        shapes = {"s0": (3,), "xs": (steps, 3), "zs": (3, steps)}
        given = {k: rng.standard_normal(shape, np.float32) for k, shape in shapes.items()}
        assert_same(session.run(None, given), run_onnxruntime(proto, given), rtol=1e-4, atol=1e-4)
    assert sum(lanes) > 1500
