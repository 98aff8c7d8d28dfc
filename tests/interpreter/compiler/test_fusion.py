"""The rewrites that make several nodes one: what becomes of which nodes, and the same results."""

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

import onnxwalk
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes import PASSES
from onnxwalk.interpreter.reader import read_model
from onnxwalk.ops import registry
from tests.interpreter.runtime.test_bound import model, node, noise, same

F, I64 = TensorProto.FLOAT, TensorProto.INT64
f32 = np.float32


def rewritten(proto, *names):
    """The operators of the graph after these rewrites."""
    read = read_model(proto)
    context = Context(registry, read.opsets, np.random.default_rng(0))
    graph = read.graph
    for name in names:
        graph = PASSES[name](graph, context)
    return graph


def operators(proto, *names):
    return [n.op_type for n in rewritten(proto, *names).nodes]


def check(proto, feeds):
    """Optimized, with each rewrite switched off, by either executor, and as written: the same."""
    expected = onnxwalk.load(proto, optimize=False).run(None, feeds)
    everything = list(onnxwalk.REWRITES)
    for chosen in (everything, *([r for r in everything if r != off] for off in everything)):
        session = onnxwalk.load(proto, rewrites=chosen)
        for _ in range(2):
            same(session.run(None, feeds), expected)
    for options in ({"executor": "walk"}, {"rewrites": False}):
        same(onnxwalk.load(proto, **options).run(None, feeds), expected)


def scalar(value):
    return np.array(value, f32)


ROOT = 2**0.5
FORMULAS = {
    "Swish": ([node("Sigmoid", "x", "s"), node("Mul", "x s", "y")], []),
    "HardSwish": (
        [
            node("Add", "three x", "a"),
            node("Clip", "a zero six", "b"),
            node("Mul", "b sixth", "c"),
            node("Mul", "x c", "y"),
        ],
        [("three", 3), ("zero", 0), ("six", 6), ("sixth", 1 / 6)],
    ),
    "HardSwish ": (
        [
            node("Add", "x three", "a"),
            node("Clip", "a zero six", "b"),
            node("Mul", "x b", "c"),
            node("Div", "c six", "y"),
        ],
        [("three", 3), ("zero", 0), ("six", 6)],
    ),
    "Gelu": (
        [
            node("Div", "x root", "a"),
            node("Erf", "a", "b"),
            node("Add", "b one", "c"),
            node("Mul", "x c", "d"),
            node("Mul", "d half", "y"),
        ],
        [("root", ROOT), ("one", 1), ("half", 0.5)],
    ),
    "Gelu ": (
        [
            node("Mul", "half x", "h"),
            node("Neg", "x", "n"),
            node("Mul", "n inverse", "a"),
            node("Erf", "a", "b"),
            node("Sub", "one b", "c"),
            node("Mul", "h c", "y"),
        ],
        [("inverse", 1 / ROOT), ("one", 1), ("half", 0.5)],
    ),
}


@pytest.mark.parametrize(("name", "formula"), FORMULAS.items(), ids=FORMULAS)
def test_activations_that_exporters_spell_out(name, formula):
    nodes, constants = formula
    proto = model(
        nodes, [("x", F, ["n", 7])], ["y"], [(n, scalar(value)) for n, value in constants], 13
    )
    assert operators(proto, "recognize") == [name.strip()]
    check(proto, {"x": noise(5, 7) * 3})


@pytest.mark.parametrize("value", [2.9, -3])
def test_other_numbers_are_another_formula(value):
    nodes, constants = FORMULAS["HardSwish"]
    arrays = [(n, scalar(value if n == "three" else v)) for n, v in constants]
    proto = model(nodes, [("x", F, ["n"])], ["y"], arrays, 13)
    assert operators(proto, "recognize") == ["Add", "Clip", "Mul", "Mul"]
    check(proto, {"x": noise(9) * 4})


def test_a_value_that_is_asked_for_stays():
    nodes, constants = FORMULAS["Swish"]
    proto = model(nodes, [("x", F, ["n"])], ["y", "s"], constants, 13)
    assert operators(proto, "recognize") == ["Sigmoid", "Swish"]
    check(proto, {"x": noise(9)})


def layer_norm_of_tensorflow(last=-1):
    return model(
        [
            node("ReduceMean", "x", "mean", axes=[last]),
            node("Neg", "mean", "minus"),
            node("Sub", "x mean", "d"),
            node("Mul", "d d", "square"),
            node("ReduceMean", "square", "var", axes=[last]),
            node("Add", "var eps", "v"),
            node("Sqrt", "v", "s"),
            node("Reciprocal", "s", "r"),
            node("Mul", "r scale", "factor"),
            node("Mul", "x factor", "a"),
            node("Mul", "minus factor", "b"),
            node("Add", "b bias", "c"),
            node("Add", "a c", "y"),
        ],
        [("x", F, ["n", 4, 6])],
        ["y"],
        [("eps", scalar(1e-3)), ("scale", noise(1, 1, 6)), ("bias", noise(1, 1, 6, seed=1))],
        13,
    )


def layer_norm_of_pytorch():
    return model(
        [
            node("ReduceMean", "x", "mean", axes=[-1]),
            node("Sub", "x mean", "d"),
            node("Pow", "d two", "square"),
            node("ReduceMean", "square", "var", axes=[-1]),
            node("Add", "var eps", "v"),
            node("Sqrt", "v", "s"),
            node("Div", "d s", "q"),
            node("Mul", "q scale", "m"),
            node("Add", "m bias", "y"),
        ],
        [("x", F, ["n", 4, 6])],
        ["y"],
        [
            ("two", scalar(2)),
            ("eps", scalar(1e-5)),
            ("scale", noise(6)),
            ("bias", noise(6, seed=1)),
        ],
        13,
    )


@pytest.mark.parametrize("proto", [layer_norm_of_tensorflow(), layer_norm_of_pytorch()])
def test_layer_normalization(proto):
    assert operators(proto, "recognize") == ["LayerNormalization"]
    check(proto, {"x": noise(3, 4, 6)})


@pytest.mark.parametrize("proto", [layer_norm_of_tensorflow(), layer_norm_of_pytorch()])
def test_a_layer_normalization_of_doubles_computes_in_double(proto):
    """The operator's default is to compute them in float."""
    for value in proto.graph.input:
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float64), tensor.name))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert operators(proto, "recognize") == ["LayerNormalization"]
    x = noise(3, 4, 6).astype(np.float64)
    x[0, 0] = [1e25, 0, 1, 2, 3, 4]  # whose square float can't hold
    (expected,) = onnxwalk.load(proto, optimize=False).run(None, {"x": x})
    (actual,) = onnxwalk.load(proto).run(None, {"x": x})
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-14)


def test_a_normalization_over_another_axis_is_left():
    proto = layer_norm_of_tensorflow(last=1)
    assert "LayerNormalization" not in operators(proto, "recognize")
    check(proto, {"x": noise(3, 4, 6)})


# ---------------------------------------------------------------------------- around a convolution


def around(nodes, constants=(), outputs=("y",), opset=13):
    return model(
        nodes,
        [("x", F, ["n", 3, 8, 8]), ("z", F, ["n", 4, "h", "w"])][
            : 1 + any("z" in n.input for n in nodes)
        ],
        list(outputs),
        [("w", noise(4, 3, 3, 3)), ("b", noise(4, seed=1)), *constants],
        opset,
    )


def feeds(z=None):
    return {"x": noise(2, 3, 8, 8)} | ({} if z is None else {"z": z})


def test_padding_becomes_the_convolutions():
    proto = around(
        [node("Pad", "x pads", "p"), node("Conv", "p w b", "y", pads=[0, 1, 0, 0])],
        [("pads", np.array([0, 0, 1, 2, 0, 0, 3, 0]))],
    )
    (conv,) = rewritten(proto, "merge_pad").nodes
    assert conv.attributes["pads"] == [1, 3, 3, 0]
    check(proto, feeds())


@pytest.mark.parametrize(
    ("pads", "value"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], 0.5),
        ([0, 1, 0, 0, 0, 0, 0, 0], 0),
        ([0, 0, -1, 1, 0, 0, 1, 1], 0),
    ],
)
def test_padding_of_another_kind_stays(pads, value):
    extra = noise(4, 4, 3, 3) if pads[1] else noise(4, 3, 3, 3)
    proto = around(
        [node("Pad", "x pads value", "p"), node("Conv", "p v b", "y")],
        [("pads", np.array(pads)), ("value", scalar(value)), ("v", extra)],
    )
    assert operators(proto, "merge_pad") == ["Pad", "Conv"]
    check(proto, feeds())


def test_scales_and_shifts_go_into_the_weights():
    proto = around(
        [
            node("Conv", "x w", "c"),
            node("Mul", "c m", "d"),
            node("Add", "a d", "e"),
            node("BatchNormalization", "e s t mean var", "y", epsilon=1e-3),
        ],
        [
            ("m", noise(4, 1, 1)),
            ("a", noise(1, 4, 1, 1)),
            ("s", noise(4, seed=2)),
            ("t", noise(4, seed=3)),
            ("mean", noise(4, seed=4)),
            ("var", np.abs(noise(4, seed=5)) + 0.5),
        ],
    )
    assert operators(proto, "merge_scale") == ["Conv"]
    check(proto, feeds())


@pytest.mark.parametrize(
    ("opset", "attributes", "merged"),
    [(6, {}, False), (6, {"is_test": 1}, True), (9, {}, True), (14, {"training_mode": 1}, False)],
)
def test_normalization_in_training_stays(opset, attributes, merged):
    """Before opset 7 it is in training unless ``is_test`` is set."""
    proto = around(
        [
            node("Conv", "x w", "c"),
            node("BatchNormalization", "c s s s s", "y", **attributes),
        ],
        [("s", np.abs(noise(4)) + 0.5)],
    )
    proto.opset_import[0].version = opset
    assert (operators(proto, "merge_scale") == ["Conv"]) == merged
    check(proto, feeds())


def test_a_scale_along_another_axis_stays():
    proto = around([node("Conv", "x w b", "c"), node("Mul", "c m", "y")], [("m", noise(6))])
    assert operators(proto, "merge_scale") == ["Conv", "Mul"]
    check(proto, feeds())


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid"])
def test_a_sum_and_an_activation_are_fused(activation):
    proto = around(
        [node("Conv", "x w b", "c"), node("Add", "z c", "s"), node(activation, "s", "y")]
    )
    (fused,) = rewritten(proto, "fuse_conv").nodes
    assert (fused.op_type, fused.inputs) == ("FusedConv", ("x", "w", "b", "z"))
    check(proto, feeds(noise(2, 4, 6, 6)))
    check(proto, feeds(noise(2, 4, 1, 1)))  # what is added may broadcast, and be broadcast to


@pytest.mark.parametrize("bounds", [("", ""), ("low", ""), ("", "high"), ("low", "high")])
def test_clip_is_fused(bounds):
    from onnx import helper

    clip = helper.make_node("Clip", ["c", *bounds], ["y"])
    constants = [(n, scalar(v)) for n, v in (("low", -0.5), ("high", 6)) if n in bounds]
    proto = around([node("Conv", "x w b", "c"), clip], constants)
    assert operators(proto, "fuse_conv") == ["FusedConv"]
    check(proto, feeds())


def test_what_something_else_reads_is_not_fused():
    proto = around([node("Conv", "x w b", "c"), node("Relu", "c", "y")], outputs=("y", "c"))
    assert operators(proto, "fuse_conv") == ["Conv", "Relu"]
    check(proto, feeds())
    # Neither is it when it is asked for: then the plan is another.
    proto = around([node("Conv", "x w b", "c"), node("Relu", "c", "y")])
    session, plain = onnxwalk.load(proto), onnxwalk.load(proto, optimize=False)
    same(session.run(["c", "y"], feeds()), plain.run(["c", "y"], feeds()))


@pytest.mark.parametrize("size", [6, 7])
def test_a_maximum_is_taken_before_the_activation(size):
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    constants = [("v", noise(4, 3, size - 3, size - 3))]  # so that 8 - size + 4 rows come out
    proto = around(
        [node("Conv", "x v b", "c"), node("Relu", "c", "r"), node("MaxPool", "r", "y", **pool)],
        constants,
    )
    assert operators(proto, "fuse_conv") == ["FusedConv"]
    check(proto, feeds())
    x = feeds()
    x["x"][0, :, 1, 1], x["x"][-1] = np.nan, -np.inf
    check(proto, x)


@pytest.mark.parametrize(
    "pool",
    [
        {"kernel_shape": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 1]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    ],
)
def test_another_pool_stays(pool):
    proto = around([node("Conv", "x w b", "c"), node("MaxPool", "c", "y", **pool)])
    assert operators(proto, "fuse_conv") == ["Conv", "MaxPool"]
    check(proto, feeds())


# --------------------------------------------------------------------------------- embeddings


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("gathered", [False, True])
def test_an_embedding_goes_into_the_layer(kind, gathered):
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind]
    words = "picked" if gathered else "words"
    nodes = [
        node("Gather", "table ids", "words"),
        *([node("GatherND", "words places", "picked", batch_dims=1)] if gathered else []),
        node("Transpose", words, "x", perm=[1, 0, 2]),
        node(kind, "x w r b", "y last", hidden_size=4),
    ]
    inputs = [("ids", I64, ["n", "t"])] + ([("places", I64, ["n", "t", 1])] if gathered else [])
    constants = [
        ("table", noise(20, 5)),
        ("w", noise(1, gates * 4, 5)),
        ("r", noise(1, gates * 4, 4) / 2),
        ("b", noise(1, gates * 8)),
    ]
    proto = model(nodes, inputs, ["y", "last"], constants, 14)
    rest = ["GatherND", "Transpose", kind] if gathered else ["Transpose", kind]
    assert operators(proto, "lift_embedding", "drop_unused") == rest
    rng = np.random.default_rng(0)
    given = {"ids": rng.integers(-20, 20, (3, 6))}
    if gathered:
        given["places"] = rng.integers(0, 6, (3, 6, 1))
    check(proto, given)
    with pytest.raises(onnxwalk.OperatorError):
        onnxwalk.load(proto).run(None, given | {"ids": np.full((3, 6), 20)})


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_an_id_out_of_range_of_an_embedding_in_a_layer_is_named(kind):
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind]
    nodes = [
        node("Gather", "table ids", "words"),
        node("Transpose", "words", "x", perm=[1, 0, 2]),
        node(kind, "x w r", "y", hidden_size=4),
    ]
    constants = [
        ("table", noise(20, 5)),
        ("w", noise(1, gates * 4, 5)),
        ("r", noise(1, gates * 4, 4) / 2),
    ]
    proto = model(nodes, [("ids", I64, ["n", "t"])], ["y"], constants, 14)
    ids = np.zeros((3, 6), np.int64)
    ids[1, 2] = 20
    for executor in ("bound", "walk"):
        session = onnxwalk.load(proto, executor=executor)
        message = "id 20 is out of range for the embedding before this layer.* ids 0 to 19"
        with pytest.raises(onnxwalk.OperatorError, match=message):
            session.run(None, {"ids": ids})


def test_a_file_cannot_hand_over_a_table():
    """What only the operators of rewrites have is not to be reached from a file."""
    proto = model(
        [node("RNN", "x w r", "y", hidden_size=2, table=1)],
        [("x", F, [3, 1, 2])],
        ["y"],
        [("w", noise(1, 2, 2)), ("r", noise(1, 2, 2))],
        14,
    )
    with pytest.raises(onnxwalk.InvalidModelError, match="no attribute 'table'"):
        onnxwalk.load(proto)
