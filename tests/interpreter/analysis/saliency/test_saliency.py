"""``onnxwalk.saliency``: what is explained, by which values, what these add up to, refusals."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

import onnxwalk
from onnxwalk import InvalidInputError, UnsupportedModelError
from onnxwalk.interpreter.analysis.saliency import Explainer
from onnxwalk.interpreter.text import LABELS_KEY

RANDOM = np.random.default_rng(0)
W = RANDOM.normal(size=(4, 3))
X = RANDOM.normal(size=(2, 4))
TABLE = RANDOM.normal(size=(9, 4))


def load(nodes, inputs, outputs=("y",), metadata=None, optimize=None, **initializers):
    """A session of nodes, each (operator, inputs, outputs, attributes); the inputs and their
    shapes are float64 unless a third item says otherwise."""
    made = [helper.make_node(op, i.split(), o.split(), name=o, **a) for op, i, o, a in nodes]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(n, *(more or [T.DOUBLE]), s) for n, s, *more in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    return onnxwalk.load(model, optimize=optimize)


DENSE = [("MatMul", "x w", "h", {}), ("Softmax", "h", "y", {})]
NAMES = {LABELS_KEY: '{"y": ["red", "green", "blue"]}'}


def linear(**more):
    return load(DENSE, [("x", ["n", 4])], w=W, **more)


def words(**more):
    nodes = [
        ("Gather", "table ids", "e", {}),
        ("ReduceSum", "e axes", "s", {"keepdims": 0}),
        ("Tanh", "s", "t", {}),
        *[(op, i.replace("x", "t"), o, a) for op, i, o, a in DENSE],
    ]
    inputs = [("ids", ["n", "t"], T.INT64)]
    return load(nodes, inputs, table=TABLE, w=W, axes=np.array([1]), **more)


@pytest.mark.parametrize("optimize", [None, False])
def test_a_linear_model_is_exact(optimize):
    session = linear(optimize=optimize)
    best = (X @ W).argmax(axis=1)
    for method, expected in [
        ("gradient", W.T[best]),
        ("gradient-x-input", X * W.T[best]),
        ("integrated", X * W.T[best]),
        ("smoothgrad", W.T[best]),
    ]:
        found = onnxwalk.saliency(session, {"x": X}, method=method)
        assert found.of == "h" and found.targets == [(k,) for k in best]
        np.testing.assert_allclose(found["x"], expected, atol=1e-12)
        np.testing.assert_allclose(found.scores, (X @ W).max(axis=1))
    found = onnxwalk.saliency(session, {"x": X}, method="integrated", steps=1, baseline={"x": X[0]})
    np.testing.assert_allclose(found.error, 0, atol=1e-12)
    np.testing.assert_allclose(found.difference[0], 0, atol=1e-12)
    np.testing.assert_allclose(found["x"], (X - X[0]) * W.T[best], atol=1e-12)


def test_classes():
    session = linear(metadata=NAMES)
    for target, numbers in [(2, [2, 2]), ("blue", [2, 2]), ("1", [1, 1]), ((0,), [0, 0]),
                            (["red", 2], [0, 2]), (np.array([1, 0]), [1, 0])]:  # fmt: skip
        found = onnxwalk.saliency(session, {"x": X}, target=target)
        np.testing.assert_allclose(found["x"], W.T[numbers])
        assert found.labels == [["red", "green", "blue"][k] for k in numbers]
    assert "red" in repr(onnxwalk.saliency(session, {"x": X}, target="red"))


@pytest.mark.parametrize(
    ("nodes", "of"),
    [
        ([("MatMul", "x w", "h", {}), ("LogSoftmax", "h", "y", {})], "h"),
        ([("MatMul", "x w", "h", {}), ("Softmax", "h", "p", {}), ("Flatten", "p", "y", {})], "h"),
        ([*DENSE[:1], ("Softmax", "h", "p", {}), ("ArgMax", "p", "y", {"axis": 1})], "h"),
        ([*DENSE[:1], ("ArgMax", "h", "y", {"axis": 1})], "h"),
        ([("MatMul", "x w", "y", {})], "y"),
        ([("MatMul", "x w", "h", {}), ("Flatten", "h", "y", {})], "y"),
        ([("MatMul", "x w", "h", {}), ("Tanh", "h", "y", {})], "y"),
    ],
)
def test_the_scores_are_those_before_the_softmax(nodes, of):
    session = load(nodes, [("x", ["n", 4])], w=W)
    assert onnxwalk.saliency(session, {"x": X}).of == of
    assert onnxwalk.saliency(session, {"x": X}, of="h" if of == "h" else "y").of == of


def test_two_classes_of_a_sigmoid():
    session = load([("MatMul", "x w", "h", {}), ("Sigmoid", "h", "y", {})], [("x", ["n", 4])],
                   w=W[:, :1], metadata={LABELS_KEY: '{"y": ["no", "yes"]}'})  # fmt: skip
    sign = np.where(X @ W[:, :1] >= 0, 1, -1)
    found = onnxwalk.saliency(session, {"x": X})
    np.testing.assert_allclose(found["x"], sign * W[:, 0])
    assert found.labels == ["yes" if s > 0 else "no" for s in sign[:, 0]]
    np.testing.assert_allclose(
        onnxwalk.saliency(session, {"x": X}, target="no")["x"], -W[:, [0, 0]].T
    )


@pytest.mark.parametrize("optimize", [None, False])
def test_words_are_attributed_to_at_the_embedding(optimize):
    session, ids = words(optimize=optimize), np.array([[1, 2, 3], [4, 4, 5]])
    found = onnxwalk.saliency(session, {"ids": ids})
    (attribution,) = found.attributions.values()
    assert (attribution.name, attribution.input, attribution.kind) == ("e", "ids", "text")
    s = TABLE[ids].sum(axis=1)
    slope = (1 - np.tanh(s) ** 2) * W.T[[k for (k,) in found.targets]]
    np.testing.assert_allclose(attribution.values, np.repeat(slope[:, None], 3, axis=1))
    np.testing.assert_allclose(attribution.parts, np.repeat(slope.sum(axis=1)[:, None], 3, axis=1))
    seen = []
    found = onnxwalk.saliency(
        session, {"ids": ids}, method="integrated", steps=100, progress=lambda *n: seen.append(n)
    )
    assert np.abs(found.error).max() < 1e-5  # what 100 steps of the integral leave
    assert seen[-1] == (100, 100) and len(seen) == 7  # 16 copies of two samples at once
    scores = np.tanh(s) @ W
    np.testing.assert_allclose(found.difference, scores.max(axis=1))
    total = found["ids"].sum(axis=(1, 2))
    np.testing.assert_allclose(total - found.error, found.difference, rtol=1e-12)
    few = onnxwalk.saliency(session, {"ids": ids}, method="integrated", steps=10)
    assert np.abs(few.error).max() > 5 * np.abs(found.error).max()


def test_samples_that_mix_are_not_stacked():
    """Samples less their mean: f of a batch isn't that of its samples."""
    nodes = [
        ("ReduceMean", "x axes", "m", {}),
        ("Sub", "x m", "c", {}),
        ("Tanh", "c", "t", {}),
        ("MatMul", "t w", "y", {}),
    ]
    session = load(nodes, [("x", ["n", 4])], w=W, axes=np.array([0]))
    explainer = Explainer(session, {"x": X}, method="integrated")
    assert explainer._copies_at_once() == 1
    found = explainer.explain(0, steps=200)
    # The gradients are those of the sum of both scores.
    np.testing.assert_allclose(found.error.sum(), 0, atol=1e-5)  # what 200 steps leave
    assert Explainer(linear(), {"x": X}, method="integrated")._copies_at_once() == 16


def test_a_fixed_batch_and_no_batch():
    fixed = load(DENSE, [("x", [2, 4])], w=W)
    np.testing.assert_allclose(
        onnxwalk.saliency(fixed, {"x": X}, method="integrated")["x"],
        onnxwalk.saliency(linear(), {"x": X}, method="integrated")["x"],
    )
    single = load([("MatMul", "x w", "y", {})], [("x", [4])], w=np.eye(4))
    found = onnxwalk.saliency(single, {"x": X[0]})
    assert found.targets == [(int(X[0].argmax()),)] and found["x"].shape == (4,)
    assert found["x"].sum() == 1 and found["x"].argmax() == X[0].argmax()
    assert found.attributions["x"].parts.shape == (1, 4)


def test_several_inputs_and_values_in_between():
    nodes = [("Mul", "a b", "m", {}), ("Add", "m m", "y", {})]
    session = load(nodes, [("a", ["n", 4]), ("b", ["n", 4])])
    feeds = {"a": X, "b": X + 1}
    found = onnxwalk.saliency(session, feeds, target=1)
    assert list(found.attributions) == ["a", "b"]
    np.testing.assert_allclose(found["a"][:, 1], 2 * (X + 1)[:, 1])
    found = onnxwalk.saliency(session, feeds, target=1, at="m", method="integrated", baseline=1)
    np.testing.assert_allclose(found["m"][:, 1], 2 * (feeds["a"] * feeds["b"] - 1)[:, 1])
    np.testing.assert_allclose(found.error, 0, atol=1e-12)


def test_integers_that_are_converted():
    nodes = [
        ("Cast", "x", "c", {"to": T.DOUBLE}),
        *[(o, i.replace("x", "c"), y, a) for o, i, y, a in DENSE],
    ]
    session = load(nodes, [("x", ["n", 4], T.UINT8)], w=W)
    found = onnxwalk.saliency(session, {"x": np.ones((1, 4), np.uint8)}, method="integrated")
    (attribution,) = found.attributions.values()
    assert (attribution.name, attribution.input, attribution.kind) == ("c", "x", "numbers")
    np.testing.assert_allclose(attribution.values, W.T[[found.targets[0][0]]])


def test_scores_of_several_axes():
    session = load([("Identity", "x", "h", {}), ("Softmax", "h", "y", {})], [("x", ["n", "t", 4])])
    x = RANDOM.normal(size=(2, 3, 4))
    found = onnxwalk.saliency(session, {"x": x})
    assert found["x"].sum() == 2 and (x[found["x"] == 1] == x.max(axis=(1, 2))).all()
    assert onnxwalk.saliency(session, {"x": x}, target=(2, 1))["x"][0, 2, 1] == 1
    assert found.attributions["x"].kind == "sequence"
    with pytest.raises(InvalidInputError, match=r"class 1: 'h' has shape \(3, 4\).* a tuple"):
        onnxwalk.saliency(session, {"x": x}, target=1)
    with pytest.raises(InvalidInputError, match=r"class \(3, 0\): expected an index into \(3, 4\)"):
        onnxwalk.saliency(session, {"x": x}, target=(3, 0))


def test_an_input_is_no_score_of_itself():
    session = load([("Softmax", "x", "y", {})], [("x", ["n", 4])])
    assert onnxwalk.saliency(session, {"x": X}).of == "y"
    session = load([("ArgMax", "x", "y", {})], [("x", ["n", 4])])
    with pytest.raises(InvalidInputError, match="no output has floating-point numbers"):
        onnxwalk.saliency(session, {"x": X})


def test_grad_cam_of_a_named_value():
    nodes = [("Relu", "x", "r", {}), ("Flatten", "r", "f", {}), ("MatMul", "f w", "y", {})]
    w = RANDOM.normal(size=(2 * 3 * 5, 3))
    session = load(nodes, [("x", ["n", 2, 3, 5])], w=w)
    x = RANDOM.normal(size=(2, 2, 3, 5))
    found = onnxwalk.saliency(session, {"x": x}, method="grad-cam", at="r", target=1)
    weights = w[:, 1].reshape(2, 3, 5).mean(axis=(1, 2))
    expected = np.maximum(np.einsum("c,nchw->nhw", weights, np.maximum(x, 0)), 0)
    np.testing.assert_allclose(found["r"], expected)
    with pytest.raises(InvalidInputError, match=r"no convolution lies before 'y'.*at="):
        onnxwalk.saliency(session, {"x": x}, method="grad-cam")
    with pytest.raises(InvalidInputError, match=r"'f' has shape \(2, 30\): Grad-CAM requires maps"):
        onnxwalk.saliency(session, {"x": x}, method="grad-cam", at="f")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "integral"}, "no method is named 'integral'; did you mean 'integrated'?"),
        ({"target": "grean"}, "no class is named 'grean'; did you mean 'green'?"),
        ({"target": 3}, "class 3: 'h' has the classes 0 to 2"),
        ({"target": -1}, "class -1: 'h' has the classes 0 to 2"),
        ({"target": 1.5}, "a class is a number, a name or a tuple, not 1.5"),
        ({"target": [1]}, "1 targets for 2 samples"),
        ({"of": "hh"}, "no value is named 'hh'; did you mean 'h'?"),
        ({"at": "xx"}, "no value is named 'xx'; did you mean 'x'?"),
        ({"at": "w"}, "'w' is an initializer: attribute to inputs, or to what is computed"),
        ({"at": []}, "at=[]: there is nothing to attribute to"),
        ({"at": "y"}, "'h' doesn't depend on 'y' through operators that have a gradient"),
        ({"method": "integrated", "steps": 0}, "steps must be an integer from 1 on, not 0"),
        ({"method": "integrated", "baseline": [1, 2]}, "baseline of 'x': shape (2,) doesn't fit"),
        ({"method": "integrated", "baseline": {"w": 0}}, "baseline: 'w'"),
        ({"steps": 5}, "steps are of integrated and smoothgrad, not of gradient"),
        ({"method": "smoothgrad", "baseline": {"x": X}}, "a baseline is of integrated, not of"),
    ],
)  # fmt: skip
def test_bad_arguments(options, message):
    with pytest.raises(InvalidInputError) as caught:
        onnxwalk.saliency(linear(metadata=NAMES), {"x": X}, **options)
    assert message in str(caught.value)


def test_models_without_gradients():
    with pytest.raises(
        InvalidInputError, match="the model has no class names; pass a number from 0"
    ):
        onnxwalk.saliency(linear(), {"x": X}, target="red")
    rounded = load([("Round", "x", "r", {}), ("MatMul", "r w", "y", {})], [("x", ["n", 4])], w=W)
    with pytest.raises(InvalidInputError, match="'y' depends on no input through operators"):
        onnxwalk.saliency(rounded, {"x": X})
    whole = load([("Shape", "x", "y", {})], [("x", ["n", 4])])
    with pytest.raises(InvalidInputError, match="no output has floating-point numbers"):
        onnxwalk.saliency(whole, {"x": X})
    ids = np.array([[1, 2]])
    with pytest.raises(
        InvalidInputError, match=r"'ids' is .*attribute to what is computed from it, 'e'"
    ):
        onnxwalk.saliency(words(), {"ids": ids}, at="ids")
    with pytest.raises(InvalidInputError, match="class 'red': the model has no class names"):
        onnxwalk.saliency(words(), {"ids": ids}, target="red")


def test_what_is_not_finite_is_shown():
    found = onnxwalk.saliency(linear(), {"x": [[1, np.nan, 2, np.inf]]}, method="integrated")
    assert np.isnan(found.error).all() and not np.isfinite(found["x"]).all()


def test_sequences_have_no_gradients():
    nodes = [
        helper.make_node("ConcatFromSequence", ["x"], ["c"], axis=0),
        helper.make_node("Tanh", ["c"], ["y"]),
    ]
    x, y = helper.make_tensor_sequence_value_info("x", T.FLOAT, None), onnx.ValueInfoProto(name="y")
    opsets = [helper.make_opsetid("", 18)]
    graph = helper.make_graph(nodes, "g", [x], [y])
    session = onnxwalk.load(helper.make_model(graph, ir_version=8, opset_imports=opsets))
    feeds = {"x": [np.ones((1, 2), np.float32)]}
    assert onnxwalk.saliency(session, feeds, method="integrated")["c"].shape == (1, 2)
    with pytest.raises(InvalidInputError, match=r"'x' is seq.*what is computed from it, 'c'"):
        onnxwalk.saliency(session, feeds, at="x")


def test_operators_without_a_rule_are_named_all_at_once():
    registry = onnxwalk.Registry(parent=onnxwalk.registry)
    for name in ("Swirl", "Twirl"):
        registry.op(name, since=1, domain="my")(lambda x: x)
    nodes = [
        helper.make_node("Swirl", ["x"], ["a"], domain="my"),
        helper.make_node("Twirl", ["a"], ["y"], domain="my"),
    ]
    infos = [helper.make_tensor_value_info(name, T.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    session = onnxwalk.load(helper.make_model(graph, opset_imports=opsets), registry=registry)
    with pytest.raises(UnsupportedModelError, match=r"no rule for my\.Swirl.*my\.Twirl"):
        onnxwalk.saliency(session, {"x": X.astype(np.float32)})
