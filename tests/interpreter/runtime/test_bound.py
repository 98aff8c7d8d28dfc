"""Plans bound to shapes: replays, changing shapes, threads, memory, errors."""

import gc
import itertools
import weakref

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import ops
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.interpreter.runtime.cache import _MOST_IDLE
from tests.support.threads import in_threads

F, I64 = TensorProto.FLOAT, TensorProto.INT64
f32 = np.float32


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def model(nodes, inputs, outputs, constants=(), opset=20):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, c, s) for n, c, s in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def noise(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(f32)


def network():
    """A convolution with what stands around it, a residual, a pool, a dense layer."""
    return model(
        [
            node("Transpose", "x", "nchw", perm=[0, 3, 1, 2]),
            node("Conv", "nchw w1 b1", "c1", pads=[1, 1, 1, 1]),
            node("Relu", "c1", "r1"),
            node("Conv", "r1 w2", "c2", pads=[1, 1, 1, 1]),
            node("Add", "c2 r1", "sum"),
            node("Relu", "sum", "r2"),
            node("MaxPool", "r2", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", "p", "g"),
            node("Flatten", "g", "flat"),
            node("Gemm", "flat w3 b3", "logits", transB=1),
            node("Softmax", "logits", "y"),
        ],
        [("x", F, ["n", "h", "w", 3])],
        ["y", "logits"],
        [
            ("w1", noise(16, 3, 3, 3)),
            ("b1", noise(16, seed=1)),
            ("w2", noise(16, 16, 3, 3, seed=2) / 12),
            ("w3", noise(5, 16, seed=3)),
            ("b3", noise(5, seed=4)),
        ],
    )


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_replays_of_several_shapes_are_as_the_plain_walk():
    fast, plain = onnxwalk.load(network()), onnxwalk.load(network(), optimize=False)
    rng = np.random.default_rng(0)
    for _ in range(3):
        for shape in ((1, 8, 8, 3), (3, 8, 8, 3), (2, 9, 13, 3), (1, 40, 33, 3)):
            x = rng.normal(size=shape).astype(f32)
            same(fast.run(None, {"x": x}), plain.run(None, {"x": x}))
            inner = ["c1", "r1", "sum", "p"]
            same(fast.run(inner, {"x": x}), plain.run(inner, {"x": x}))


def test_feeds_of_any_layout_and_byte_order():
    session = onnxwalk.load(network())
    x = noise(2, 8, 8, 3)
    expected = session.run(None, {"x": x})
    wide = np.zeros((2, 8, 8, 6), f32)
    wide[..., ::2] = x
    readonly = x.copy()
    readonly.flags.writeable = False
    for feed in (np.asfortranarray(x), wide[..., ::2], x[::-1][::-1], readonly, x.astype(">f4")):
        for found, wanted in zip(session.run(None, {"x": feed}), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_what_was_returned_is_the_callers():
    session = onnxwalk.load(network())
    x = noise(2, 8, 8, 3)
    first = session.run(["y", "logits", "nchw"], {"x": x})
    kept = [array.copy() for array in first]
    session.run(["y", "logits", "nchw"], {"x": noise(2, 8, 8, 3, seed=9)})
    same(first, kept)
    for array in first:
        array[...] = 7
    same(session.run(["y", "logits", "nchw"], {"x": x}), kept)
    assert (x != 7).all()


def test_eight_threads_on_one_session():
    session = onnxwalk.load(network())
    feeds = [noise(1 + i % 3, 8, 8, 3, seed=i) for i in range(8)]
    expected = [session.run(None, {"x": x}) for x in feeds]
    failures = []

    def work(number):
        for _ in range(20):
            found = session.run(None, {"x": feeds[number]})
            for one, other in zip(found, expected[number], strict=True):
                if not np.array_equal(one, other):
                    failures.append(number)

    in_threads(work)
    assert not failures


def test_no_plan_is_handed_out_twice():
    """A thread may hold the list of idle plans while another puts a new one into it."""
    session = onnxwalk.load(network())
    feeds = {"x": noise(2, 8, 8, 3)}
    session.run(None, feeds)
    plans = session._runner._bound
    ((key, seen_by_another),) = plans._idle.items()
    plan, arguments = session._runner.prepare(None, feeds)
    plans.bind(key, plan, ["x"], arguments)
    taken = []
    for idle in (seen_by_another, plans._idle[key]):
        while idle:
            taken.append(idle.pop())
    assert len(taken) == len({id(bound) for bound in taken}) == 2


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 0, 8, 3), (2, 8, 0, 3)])
def test_nothing_is_computed_of_nothing(shape):
    """No binder has to know of empty arrays."""
    proto = model(
        [
            node("BatchNormalization", "x s s s s", "b", epsilon=1e-3),
            node("Relu", "b", "r"),
            node("Softmax", "r", "y", axis=-1),
        ],
        [("x", F, None)],
        ["y"],
        [("s", np.ones(shape[1], f32))],
    )
    session = onnxwalk.load(proto)
    for _ in range(2):
        assert session.run(None, {"x": np.zeros(shape, f32)})[0].shape == shape


def held(session):
    return sum(b.nbytes for bounds in session._runner._bound._idle.values() for b in bounds)


def test_memory_is_given_back_when_shapes_change():
    session = onnxwalk.load(network())
    session.run(None, {"x": noise(64, 64, 64, 3)})
    assert held(session) > 1 << 24
    for size in range(8, 100):
        session.run(None, {"x": noise(size, 64, 8, 3)})
        newest = session._runner._bound._idle[next(reversed(session._runner._bound._idle))]
        assert held(session) <= _MOST_IDLE + sum(b.nbytes for b in newest)


# ------------------------------------------------------------------ shapes that depend on data


def data_dependent():
    return model(
        [
            node("NonZero", "x", "places"),
            node("Cast", "places", "floats", to=F),
            node("Add", "floats one", "more"),
            node("ReduceSum", "more axes", "y", keepdims=0),
            node("Mul", "x one", "z"),
        ],
        [("x", F, ["n"])],
        ["y", "more", "z"],
        [("one", np.array(1, f32)), ("axes", np.array([1]))],
    )


def test_shapes_that_depend_on_data():
    fast = onnxwalk.load(data_dependent())
    plain = onnxwalk.load(data_dependent(), optimize=False)
    rng = np.random.default_rng(0)
    for _ in range(20):
        x = rng.integers(0, 2, 6).astype(f32)
        same(fast.run(None, {"x": x}), plain.run(None, {"x": x}))


def test_a_reshape_to_a_fed_shape():
    reshape = model(
        [node("Reshape", "x shape", "a"), node("Relu", "a", "y")],
        [("x", F, ["n"]), ("shape", I64, ["r"])],
        ["y"],
    )
    session = onnxwalk.load(reshape)
    x = noise(12)
    for shape in ([3, 4], [2, 6], [4, 3], [3, 4], [12, 1]):
        found = session.run(None, {"x": x, "shape": np.array(shape)})[0]
        np.testing.assert_array_equal(found, np.maximum(x, 0).reshape(shape))


def test_sequences_hold_values_of_their_own():
    """A list may not be overwritten by what is computed after it."""
    sequence = model(
        [
            node("Relu", "x", "a"),
            node("SequenceConstruct", "a a", "s"),
            node("Neg", "a", "b"),
            node("Exp", "b", "c"),
            node("Add", "c c", "d"),
            node("SequenceAt", "s zero", "e"),
            node("Add", "d e", "y"),
        ],
        [("x", F, ["n"])],
        ["y"],
        [("zero", np.array(0))],
    )
    session = onnxwalk.load(sequence)
    for seed in range(3):
        x = noise(1000, seed=seed)
        a = np.maximum(x, 0)
        found = session.run(None, {"x": x})[0]
        np.testing.assert_allclose(found, 2 * np.exp(-a) + a, rtol=1e-6)


# ----------------------------------------------------------------------------------- errors


def test_an_error_in_a_replay_names_the_node():
    gather = model(
        [node("Gather", "table ids", "rows"), node("Relu", "rows", "y")],
        [("ids", I64, ["n"])],
        ["y"],
        [("table", noise(5, 2))],
    )
    gather.graph.node[0].name = "look up"
    session = onnxwalk.load(gather)
    for _ in range(2):
        session.run(None, {"ids": np.array([1, -5, 4])})
        with pytest.raises(onnxwalk.OperatorError, match="'look up'"):
            session.run(None, {"ids": np.array([1, 2, 5])})


@pytest.mark.fast_forms_fail
def test_a_faulty_bound_form_is_told_and_does_no_harm():
    mine = ops.Registry(parent=ops.registry)

    @mine.op("Twice", since=1, domain="mine")
    def twice(x):
        return x + x

    @twice.bind
    def bind_twice(space, x):
        raise RuntimeError("no such thing")

    proto = model([node("Twice", "x", "y", domain="mine")], [("x", F, ["n"])], ["y"])
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    session = onnxwalk.load(proto, registry=mine)
    with pytest.warns(RuntimeWarning, match="please report"):
        assert session.run(None, {"x": np.ones(2, f32)})[0].tolist() == [2, 2]


def test_a_chain_keeps_few_arrays():
    """Buffers are used again: memory doesn't grow with the number of nodes."""
    names = ["x", *(f"v{i}" for i in range(200))]
    nodes = [node("Exp", a, b) for a, b in itertools.pairwise(names)]
    session = onnxwalk.load(model(nodes, [("x", F, ["n"])], [names[-1]]))
    session.run(None, {"x": np.zeros(1 << 16, f32)})
    assert held(session) <= 4 << 18


def test_steps_know_their_calls():
    session = onnxwalk.load(network())
    session.run(None, {"x": noise(1, 8, 8, 3)})
    (bound,) = next(iter(session._runner._bound._idle.values()))
    assert isinstance(bound, Bound) and len(bound.ranges) == len(bound.plan.steps)
    assert bound.ranges[-1].stop == len(bound.calls)
    # Everything in this network has a bound form: nothing is called as a plain operator.
    assert not [f for f, _ in bound.calls if getattr(f, "__name__", "") == "_call"]


def test_lists_and_numbers_are_bound_as_arrays_are():
    session = onnxwalk.load(network())
    x = noise(1, 8, 8, 3)
    expected = session.run(None, {"x": x})
    for _ in range(3):
        same(session.run(None, {"x": x.tolist()}), expected)
    assert len(session._runner._bound._idle) == 1


def test_a_loop_over_a_growing_sequence():
    """Its body sees other shapes each time; and one that sees the same is bound."""
    body = helper.make_graph(
        [
            node("Concat", "so_far one", "longer", axis=0),
            node("Identity", "go_on", "again"),
            node("ReduceSum", "longer", "total", keepdims=0),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", I64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("so_far", F, ["n"]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("longer", F, ["m"]),
            helper.make_tensor_value_info("total", F, []),
        ],
    )
    proto = model(
        [helper.make_node("Loop", ["times", "", "x"], ["all", "totals"], body=body)],
        [("times", I64, []), ("x", F, ["n"])],
        ["all", "totals"],
        [("one", np.ones(1, f32))],
    )
    fast, plain = onnxwalk.load(proto), onnxwalk.load(proto, optimize=False)
    for times in (3, 3, 5, 1, 5):
        feeds = {"times": np.array(times), "x": np.zeros(2, f32)}
        same(fast.run(None, feeds), plain.run(None, feeds))
        assert fast.run(["all"], feeds)[0].shape == (2 + times,)


@pytest.mark.parametrize("network", ["bound", "not bound", "branches"])
def test_a_plan_that_is_let_go_is_gone_at_once(network):
    """No cycle keeps its memory until Python looks for one: the limits count it as free."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(operator, "x", "z")], name, [], [onnx.ValueInfoProto(name="z")]
        )
        for name, operator in (("then", "Relu"), ("else", "Neg"))
    }
    nodes = {
        "bound": [node("MatMul", "x x", "y")],
        "not bound": [node("NonZero", "x", "at"), node("Neg", "at", "y")],
        "branches": [
            node("ReduceMax", "x", "most", keepdims=0),
            node("Cast", "most", "c", to=TensorProto.BOOL),
            node("If", "c", "y", **branches),
        ],
    }
    session = onnxwalk.load(model(nodes[network], [("x", F, [3, 3])], ["y"]))
    gc.collect()
    gc.disable()
    try:
        session.run(None, {"x": noise(3, 3)})
        ((bound,),) = session._runner._bound._idle.values()
        kept = weakref.ref(bound)
        del bound
        session._runner._bound.clear()
        assert kept() is None
    finally:
        gc.enable()
