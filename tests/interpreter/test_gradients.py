"""``session.gradients`` and ``Gradient`` nodes: of which values, and what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import InvalidInputError, InvalidModelError, UnsupportedModelError
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.gradients.differentiate import differentiate
from onnxwalk.interpreter.compiler.lower import lower
from onnxwalk.interpreter.ir.model import Graph, Node, TensorType, ValueInfo
from onnxwalk.interpreter.runtime.walk import execute
from onnxwalk.ops.contract.facts import no_gradient
from onnxwalk.ops.contract.registry import Registry

W = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
X = np.array([[1, -1], [2, 3]], np.float32)
TRAINING = "ai.onnx.preview.training"


def model(nodes, *, inputs=("x",), outputs=("y",), domains=(), **initializers):
    """A model of nodes, each (operator, inputs, outputs, attributes)."""
    made = [
        helper.make_node(op, i.split(), o.split(), name=f"{op}-{n}", **attributes)
        for n, (op, i, o, attributes) in enumerate(nodes)
    ]
    constants = [numpy_helper.from_array(np.asarray(v), n) for n, v in initializers.items()]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        constants,
    )
    opsets = [helper.make_opsetid(domain, n) for domain, n in (("", 17), *domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


SQUARES = [
    ("MatMul", "x w", "h", {}),
    ("Mul", "h h", "squares", {}),
    ("ReduceSum", "squares", "y", {"keepdims": 0}),
]
NAMES = ("optimized", "plain")


def load(nodes, kind="optimized", **keywords):
    return onnxwalk.load(model(nodes, **keywords), optimize=kind == "optimized")


@pytest.mark.parametrize("kind", NAMES)
def test_inputs_initializers_and_values_in_between(kind):
    session = load(SQUARES, kind, w=W)
    for x in (X, X + 1, X[:1], X):  # bound, repeated, and bound anew for another shape
        h = x @ W
        for names in (["x", "w", "h"], ["h", "w"]):
            expected = {"x": 2 * h @ W.T, "w": 2 * x.T @ h, "h": 2 * h}
            for name, found in zip(names, session.gradients("y", names, {"x": x}), strict=True):
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, expected[name], rtol=1e-6)


@pytest.mark.parametrize("kind", NAMES)
def test_the_results_are_the_callers(kind):
    session = load(SQUARES, kind, w=W)
    first, *_ = session.gradients("y", ["x"], {"x": X})
    kept = first.copy()
    first[...] = 7
    (again,) = session.gradients("y", ["x"], {"x": X})
    np.testing.assert_array_equal(again, kept)


@pytest.mark.parametrize("kind", NAMES)
def test_a_seed_is_what_the_value_is_multiplied_by(kind):
    session = load(SQUARES, kind, w=W)
    seed = np.array([[1, 0, 2], [0, 0, -1]], np.float32)
    (found,) = session.gradients("h", ["x"], {"x": X}, seed=seed)
    np.testing.assert_allclose(found, seed @ W.T)
    (found,) = session.gradients("h", ["h"], {"x": X}, seed=seed.tolist())
    np.testing.assert_array_equal(found, seed)


def test_a_run_is_what_it_was():
    session, other = load(SQUARES, w=W), load(SQUARES, w=W)
    session.gradients("y", ["w"], {"x": X})
    np.testing.assert_array_equal(session.run({"x": X})[0], other.run({"x": X})[0])
    (copied,) = pickle.loads(pickle.dumps(session)).gradients("y", ["x"], {"x": X})
    np.testing.assert_array_equal(copied, session.gradients("y", ["x"], {"x": X})[0])


def test_only_what_is_in_between_is_differentiated():
    """The operator without a rule is neither between x and y nor refused."""
    nodes = [("NonZero", "x", "places", {}), ("Mul", "x x", "y", {})]
    (found,) = load(nodes, outputs=("y", "places")).gradients("y", ["x"], {"x": np.float32(3)})
    assert found == 6


@pytest.mark.parametrize("frozen", ["x", "w"])
def test_what_only_serves_an_unwanted_gradient_is_not_kept(frozen):
    """With frozen weights the input of a layer isn't, and the weights aren't without its input."""
    session = load(SQUARES, w=W)
    (wanted,) = {"x", "w"} - {frozen}
    found = differentiate(session.graph, session._program.context, ["y"], [wanted])
    (node,) = (n for n in found.graph.nodes if n.op_type == "MatMul" and n.domain)
    assert frozen in node.inputs and wanted not in node.inputs


def test_outputs_that_nothing_flows_back_to():
    nodes = [
        ("Split", "x", "a b", {"axis": 1}),
        ("Mul", "a a", "s", {}),
        ("ReduceSum", "s", "y", {"keepdims": 0}),
    ]
    (found,) = load(nodes).gradients("y", ["x"], {"x": X})
    np.testing.assert_array_equal(found, [[2, 0], [4, 0]])


@pytest.mark.parametrize(
    ("of", "xs", "feeds", "seed", "message"),
    [
        ("z", ["x"], {"x": X}, None, "no value is named 'z'"),
        ("squares", ["xx"], {"x": X}, None, "no value is named 'xx'; did you mean 'x'"),
        ("x", ["y"], {"x": X}, None, "'x' doesn't depend on 'y'"),
        ("y", ["n"], {"x": X}, None, "'n' is int64: only floating-point numbers have gradients"),
        ("y", "x", {"x": X}, None, "a list of names"),
        ("y", ["x"], {}, None, "missing: input x"),
        ("y", ["x"], {"x": X}, np.ones(3, np.float64), "expected float32.*, got float64"),
    ],
)
def test_what_is_refused_before_a_run(of, xs, feeds, seed, message):
    session = load([*SQUARES, ("Shape", "x", "n", {})], outputs=("y", "n"), w=W)
    with pytest.raises(InvalidInputError, match=message):
        session.gradients(of, xs, feeds, seed=seed)


def test_a_value_that_is_no_scalar_needs_a_seed_of_its_shape():
    session = load(SQUARES, w=W)
    with pytest.raises(
        InvalidInputError, match=r"^'h': .* shape \(2, 3\) is no scalar: pass seed="
    ):
        session.gradients("h", ["x"], {"x": X})
    with pytest.raises(InvalidInputError, match=r"^'h': the seed is float32 \(3,\), but the value"):
        session.gradients("h", ["x"], {"x": X}, seed=np.ones(3, np.float32))
    with pytest.raises(
        InvalidInputError, match=r"^the seed of 'h': expected float32.*, got float64;"
    ):
        session.gradients("h", ["x"], {"x": X}, seed=np.ones((2, 3)))


def test_gradients_of_sequences():
    """A sequence has a list of gradients, and its seed is a list."""
    nodes = [
        ("Tanh", "x", "t", {}),
        ("SequenceConstruct", "x t x", "s", {}),
        ("SequenceAt", "s one", "y", {}),
    ]
    session = load(nodes, one=np.array(1))
    (found,) = session.gradients("y", ["s"], {"x": X}, seed=X)
    assert isinstance(found, list)
    np.testing.assert_array_equal(found, [X * 0, X, X * 0])
    (found,) = session.gradients("s", ["x"], {"x": X}, seed=[X, X * 0, X])
    np.testing.assert_allclose(found, 2 * X)
    with pytest.raises(InvalidInputError, match=r"'s': .* a sequence of 3, .* pass seed=, a list"):
        session.gradients("s", ["x"], {"x": X})
    with pytest.raises(InvalidInputError, match=r"'s': the seed is a sequence of 1"):
        session.gradients("s", ["x"], {"x": X}, seed=[X])
    with pytest.raises(InvalidInputError, match=r"the seed of 's': expected a list"):
        session.gradients("s", ["x"], {"x": X}, seed=X)


def test_rounding_has_no_gradient():
    session = load([("Floor", "x", "f", {}), ("ReduceSum", "f", "y", {"keepdims": 0})])
    with pytest.raises(InvalidInputError, match="only through operators without a gradient: Floor"):
        session.gradients("y", ["x"], {"x": X})


def test_every_operator_without_a_rule_is_named():
    mine = Registry(parent=onnxwalk.registry)
    for name in ("Swirl", "Twirl"):
        mine.op(name, since=1, domain="my.domain")(lambda x: x * 1)
    nodes = [
        ("Swirl", "x", "a", {"domain": "my.domain"}),
        ("Twirl", "a", "b", {"domain": "my.domain"}),
        ("Swirl", "b", "y", {"domain": "my.domain"}),
    ]
    session = onnxwalk.load(model(nodes, domains=[("my.domain", 1)]), registry=mine)
    expected = r"no rule for my.domain.Swirl \('Swirl-2', 'Swirl-0'\); my.domain.Twirl"
    with pytest.raises(UnsupportedModelError, match=expected) as error:
        session.gradients("y", ["x"], {"x": X}, seed=X)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", NAMES)
def test_a_rule_and_a_forward_that_keeps_more(kind):
    mine = Registry(parent=onnxwalk.registry)
    calls = []

    @mine.op("Swirl", since=1, domain="my.domain")
    def swirl(x, *rest, strength=2.0):
        calls.append("plain")
        return np.sin(strength * x) + sum(rest)

    @swirl.forward_keeping("cosine")
    def swirl_and_cosine(x, *rest, strength):
        calls.append("keeping")
        return (np.sin(strength * x) + sum(rest),), (strength * np.cos(strength * x),)

    @swirl.vjp
    def vjp_of_swirl(dy, *, cosine, rest_shape, wanted):
        assert len(wanted) == 3 and len(rest_shape) == 2
        return dy * cosine, dy, dy

    nodes = [("Swirl", "x a b", "y", {"domain": "my.domain"})]
    session = onnxwalk.load(
        model(nodes, domains=[("my.domain", 1)], a=X, b=X),
        registry=mine,
        optimize=kind == "optimized",
    )
    dx, db = session.gradients("y", ["x", "b"], {"x": X}, seed=X)
    np.testing.assert_allclose(dx, X * 2 * np.cos(2 * X), rtol=1e-6)
    np.testing.assert_array_equal(db, X)
    assert set(calls) == {"keeping"}


def test_a_rule_has_a_cost_and_a_binder_of_its_own():
    mine = Registry(parent=onnxwalk.registry)
    calls = []

    @mine.op("Swirl", since=1, domain="my.domain")
    def swirl(x, y):
        return x * y

    @swirl.vjp
    def vjp_of_swirl(dz, x, *, y_shape, wanted):
        calls.append("called")
        return None, (dz * x).sum(0).reshape(y_shape)

    @vjp_of_swirl.cost
    def cost_of_vjp_of_swirl(dz, x, *, y_shape, wanted):
        assert y_shape == (2,) and wanted == (False, True)
        return onnxwalk.ops.Cost(1000 * x.size)

    @vjp_of_swirl.bind
    def bind_vjp_of_swirl(space, dz, x, *, y_shape, wanted):
        assert y_shape == (2,) and wanted == (False, True)
        product, dy = space.scratch(x.shape, x.dtype), space.array(y_shape, x.dtype)
        space.call(np.multiply, dz, x, product)
        space.call(np.sum, product, 0, None, dy)
        return None, dy

    nodes = [("Swirl", "x y", "z", {"domain": "my.domain"})]
    made = model(nodes, inputs=("x", "y"), outputs=("z",), domains=[("my.domain", 1)])
    session = onnxwalk.load(made, registry=mine)
    for x in (X, 2 * X, X[:1]):
        feeds = {"x": x, "y": np.ones(2, np.float32)}
        (found,) = session.gradients("z", ["y"], feeds, seed=x)
        np.testing.assert_allclose(found, (x * x).sum(0))
    assert not calls
    limited = onnxwalk.load(made, registry=mine, limits=onnxwalk.Limits(max_memory=1 << 20))
    x = np.ones((2000, 2), np.float32)
    with pytest.raises(onnxwalk.LimitError, match=r"gradient of Swirl-0.*needs up to 3\.8"):
        limited.gradients("z", ["y"], {"x": x, "y": np.ones(2, np.float32)}, seed=x)


def test_a_rule_reads_what_its_operator_has():
    mine = Registry()

    @mine.op("Swirl", since=1)
    def swirl(x, *, strength=2.0):
        return x

    swirl.vjp(lambda dy, w: dy)
    with pytest.raises(ValueError, match="has no input, output or attribute 'w'"):
        _ = mine.lookup("", "Swirl", 1).vjp
    clash = mine.op("Clash", since=1)(lambda x, y: x)
    clash.vjp(lambda dy, x: dy)
    with pytest.raises(ValueError, match="'y' is the name of an input"):
        _ = mine.lookup("", "Clash", 1).vjp
    none = mine.op("None", since=1)(lambda x: x)
    none.vjp(no_gradient)
    assert mine.lookup("", "None", 1).vjp is None and mine.lookup("", "None", 1).has_no_gradient


@pytest.mark.parametrize("domain", ["onnxwalk.gradient", "onnxwalk.forward.com.microsoft"])
def test_no_file_has_nodes_of_these_domains(domain):
    nodes = [("Mul", "x x", "y", {"domain": domain})]
    with pytest.raises(UnsupportedModelError, match=domain):
        onnxwalk.load(model(nodes, domains=[(domain, 1)]))


# -------------------------------------------------------------------------------------- Gradient


def gradient(inputs, outputs, **attributes):
    return ("Gradient", inputs, outputs, {"domain": TRAINING, **attributes})


def with_gradient(node, **keywords):
    nodes = [("Mul", "x x", "h", {}), ("Mul", "h w", "z", {}), node]
    return load(nodes, outputs=("z", "g"), domains=[(TRAINING, 1)], w=np.float32(5), **keywords)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (gradient("x", "g", xs=["x"], y="z"), 5 * 2 * 3),
        (gradient("x h", "g", xs=["x", "h"], y="h"), 0),
        (gradient("h x", "g", xs=["h"], zs=["x"], y="z"), 5),
        (gradient("w", "g", xs=["x"], y="z"), 5 * 2 * 5),  # at another value of x
        (gradient("w h", "g", xs=["h"], zs=["w"], y="z"), 9),  # and of both
    ],
    ids=["all the way", "cut", "constants", "another value", "other values"],
)
def test_a_gradient_node(node, expected, kind):
    try:
        session = with_gradient(node, kind=kind)
    except InvalidModelError as error:  # a value that y doesn't depend on, once it is cut
        assert expected == 0 and "doesn't depend on" in str(error)
        return
    z, g = session.run({"x": np.float32(3)})
    assert (z, g) == (45, expected)


def test_gradient_nodes_that_make_no_sense():
    for node, message in (
        (gradient("x x", "g", xs=["x"], y="z"), "has 2 inputs, but names 1"),
        (gradient("x", "g", xs=["x"], y="q"), "no value is named 'q'"),
    ):
        with pytest.raises(InvalidModelError, match=message):
            with_gradient(node)


# ------------------------------------------------------------------------------------- subgraphs


def test_a_subgraph_by_several_values_and_what_is_outside_of_it():
    """As the rules of If, Loop and Scan do it: a seed for each output, and nothing flows to b."""
    one = TensorType(1)
    nodes = (
        Node("Mul", ("a", "outside"), ("p",), opset=14),
        Node("Add", ("p", "a"), ("q",), opset=14),
        Node("Floor", ("b",), ("r",), opset=13),
    )
    inputs, outputs = (ValueInfo("a", one), ValueInfo("b", one)), (ValueInfo("p"), ValueInfo("q"))
    context = Context(onnxwalk.registry, {"": 17}, np.random.default_rng(0))
    found = differentiate(
        Graph("body", nodes, inputs, outputs),
        context,
        ["p", "q"],
        ["a", "outside", "b"],
        seeded=True,
        outer_types={"outside": "float"},
    )
    assert found.gradients == ("gradient of a", "gradient of outside", "")
    assert found.seeds == ("seed of p", "seed of q")
    graph = replace(found.graph, outputs=tuple(map(ValueInfo, found.gradients[:2])))
    plan = lower(graph, context, inputs=["a", "b", "outside", *found.seeds], bind=False)
    a, outside, dp, dq = map(np.float32, (2, 5, 1, 10))
    assert execute(plan, [a, a, outside, dp, dq]) == [11 * 5 + 10, 11 * 2]


def user_operator():
    """A registry with an operator of its own, and a session of y = Swirl(x)."""
    registry = onnxwalk.Registry(parent=onnxwalk.registry)

    @registry.op("Swirl", since=1, domain="my.domain")
    def swirl(x, *, strength=0.5):
        return np.sin(x + np.float32(strength) * x * x)

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 16, "my.domain" : 1]>'
        "case (float[2, 2] x) => (float[2, 2] y) { y = my.domain.Swirl(x) }"
    )
    return swirl, onnxwalk.load(model.SerializeToString(), registry=registry)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda dy, x: dy[:1], r"Swirl-1 gives \(1, 2\) for input 0, which is \(2, 2\)"),
        (lambda dy, x: 1.0, r"gives \(\) for input 0"),
        (lambda dy, x: [dy], r"gives \[\(2, 2\)\] for input 0"),
        (lambda dy, x: (dy, dy, dy), "gives 3 gradients for 1 input"),
        (lambda dy, x: None, "has no gradient of input 0"),
    ],
)
def test_wrong_results_of_a_rule_are_named(rule, message):
    swirl, session = user_operator()
    swirl.vjp(rule)
    x = np.ones((2, 2), np.float32)
    with pytest.raises(onnxwalk.OperatorError, match=message):
        session.gradients("y", ["x"], {"x": x}, seed=x)


def test_a_rule_that_is_registered_after_it_was_missed():
    swirl, session = user_operator()
    x = np.ones((2, 2), np.float32)
    with pytest.raises(onnxwalk.UnsupportedModelError, match=r"no rule for my\.domain\.Swirl"):
        session.gradients("y", ["x"], {"x": x}, seed=x)

    @swirl.vjp
    def vjp_of_swirl(dy, x, *, strength):  # float64, which the gradient isn't
        return dy * np.cos(x + strength * x * x) * (1 + np.float64(2 * strength) * x)

    (found,) = session.gradients("y", ["x"], {"x": x}, seed=x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.cos(1.5) * 2, rtol=1e-6)
