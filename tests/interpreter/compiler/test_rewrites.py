"""Each rewrite does what it says, can be switched off, and changes no result."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes import PASSES
from onnxwalk.interpreter.ir.model import Graph
from onnxwalk.interpreter.reader import read_model
from onnxwalk.ops import registry

F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name, code=F, shape=None):
    return helper.make_tensor_value_info(name, code, shape)


def rewritten(proto, name) -> Graph:
    model = read_model(proto)
    context = Context(registry, model.opsets, np.random.default_rng(0))
    return PASSES[name](model.graph, context)


def operators(graph):
    return [node.op_type for node in graph.nodes]


def model(nodes, outputs=("y",), initializers=()):
    graph = helper.make_graph(
        nodes, "g", [value("x", F, ["n", 4])], [value(o) for o in outputs], list(initializers)
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def shape_arithmetic():
    return model(
        [
            helper.make_node("Constant", [], ["a"], value_ints=[2, 2]),
            helper.make_node("Constant", [], ["b"], value_int=-1),
            helper.make_node("Unsqueeze", ["b", "zero"], ["c"]),
            helper.make_node("Concat", ["c", "a"], ["shape"], axis=0),
            helper.make_node("Reshape", ["x", "shape"], ["y"], name="reshape"),
            helper.make_node("Exp", ["x"], ["unused"]),
            helper.make_node("TopK", ["y", "k"], ["values", "indices"]),
        ],
        outputs=["y", "values"],
        initializers=[
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.array([1]), "k"),
            numpy_helper.from_array(np.array([1]), "nobody"),
        ],
    )


def test_fold_constants():
    graph = rewritten(shape_arithmetic(), "fold_constants")
    assert operators(graph) == ["Reshape", "Exp", "TopK"]
    assert graph.initializers["shape"].array.tolist() == [-1, 2, 2]


def test_drop_unused():
    graph = rewritten(shape_arithmetic(), "drop_unused")
    assert "Exp" not in operators(graph) and "nobody" not in graph.initializers
    assert graph.nodes[-1].outputs == ("values",), "an output that nobody reads has no name"


def test_unused_outputs_that_count():
    """Split cuts into as many parts as there are outputs; before opset 14, BatchNormalization with
    several outputs is training."""
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    split = model([helper.make_node("Split", ["x"], ["a", "b", "c"], axis=1)], outputs=["a"])
    normalize = model(
        [helper.make_node("BatchNormalization", ["x", *["w"] * 4], ["y", "mean", "var"])],
        outputs=["y"],
        initializers=[numpy_helper.from_array(np.ones(6, np.float32), "w")],
    )
    for proto, opset in ((split, 13), (normalize, 9)):
        proto.opset_import[0].version = opset
        proto.graph.input[0].type.tensor_type.ClearField("shape")
        (found,) = onnxwalk.load(proto).run(None, {"x": x})
        (expected,) = onnxwalk.load(proto, optimize=False).run(None, {"x": x})
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rewrites_can_be_chosen_and_change_nothing():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    proto = shape_arithmetic()
    expected = onnxwalk.load(proto, optimize=False).run(None, {"x": x})
    for chosen in (["fold_constants"], ["drop_unused"], True):
        found = onnxwalk.load(proto, rewrites=chosen).run(None, {"x": x})
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_random_numbers_are_not_folded():
    proto = model(
        [
            helper.make_node("RandomNormal", [], ["r"], shape=[4]),
            helper.make_node("Add", ["x", "r"], ["y"]),
        ]
    )
    session = onnxwalk.load(proto, seed=1)
    x = np.zeros((1, 4), np.float32)
    first, second = session(x), session(x)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(onnxwalk.load(proto, seed=1)(x), first)


def test_large_results_are_not_kept():
    """Storing a megabyte of zeros to save making it would cost memory in every session."""
    proto = model(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ],
        initializers=[numpy_helper.from_array(np.array([1000, 1000]), "shape")],
    )
    assert operators(rewritten(proto, "fold_constants")) == ["ConstantOfShape", "ReduceSum", "Add"]


def test_folding_within_subgraphs():
    branch = helper.make_graph(
        [
            helper.make_node("Neg", ["w"], ["t"]),
            helper.make_node("Add", ["x", "t"], ["r"]),
        ],
        "branch",
        [],
        [value("r")],
    )
    proto = model(
        [
            helper.make_node("Constant", [], ["w"], value_float=2.0),
            helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ]
    )
    proto.graph.input.append(value("c", BOOL, []))
    graph = rewritten(proto, "fold_constants")
    (node,) = graph.nodes
    assert operators(node.attributes["then_branch"]) == ["Add"]
    assert onnxwalk.load(proto)(np.ones((1, 4), np.float32), np.array(True)).tolist() == [
        [-1, -1, -1, -1]
    ]


def test_a_constant_node_that_fails_fails_only_when_it_is_reached():
    bad = helper.make_graph(
        [helper.make_node("Reshape", ["w", "shape"], ["r"])], "bad", [], [value("r")]
    )
    good = helper.make_graph([helper.make_node("Neg", ["x"], ["s"])], "good", [], [value("s")])
    proto = model(
        [helper.make_node("If", ["c"], ["y"], then_branch=bad, else_branch=good)],
        initializers=[
            numpy_helper.from_array(np.ones(3, np.float32), "w"),
            numpy_helper.from_array(np.array([2]), "shape"),
        ],
    )
    proto.graph.input.append(value("c", BOOL, []))
    x = np.ones((1, 4), np.float32)
    assert onnxwalk.load(proto)(x, np.array(False)).tolist() == [[-1, -1, -1, -1]]


def _with_constants(nodes, **constants):
    arrays = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    graph = helper.make_graph(
        [helper.make_node(name, inputs.split(), [output], **attributes)
         for name, inputs, output, attributes in nodes],
        "g", [value("x", F, None)], [onnx.ValueInfoProto(name="y")], arrays,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


ONE = np.float32(1)
MEAN = {"axes": [-1]}
LAYER_NORMALIZATION = [
    ("ReduceMean", "x", "mean", MEAN),
    ("Sub", "x mean", "d", {}),
    ("Mul", "d d", "squares", {}),
    ("ReduceMean", "squares", "variance", MEAN),
    ("Add", "variance epsilon", "e", {}),
    ("Sqrt", "e", "root", {}),
    ("Div", "d root", "normal", {}),
    ("Mul", "normal scale", "scaled", {}),
    ("Add", "scaled bias", "y", {}),
]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (_with_constants([("Conv", "x w", "c", {}), ("Identity", "c", "y", {})], w=ONE), "Conv"),
        (_with_constants([("Conv", "x w", "c", {}), ("Add", "c w", "y", {})], w=ONE), "Conv"),
        (
            _with_constants(
                [("Pad", "x p", "padded", {}), ("Conv", "padded w", "y", {})],
                w=ONE,
                p=np.zeros(0, np.int64),
            ),
            "Pad",
        ),
        (
            _with_constants(
                [("Pad", "x p", "padded", {}), ("Conv", "padded w", "y", {"pads": [1]})],
                w=np.ones((1, 1, 1), np.float32),
                p=np.array([0, 0, 1, 0, 0, 1]),
            ),
            "Conv",
        ),
        (_with_constants(LAYER_NORMALIZATION, epsilon=ONE, scale=ONE, bias=ONE), ""),
    ],
    ids=["weights", "added", "padded", "pads", "scale"],
)
def test_weights_of_other_ranks_are_left_alone(proto, message):
    """A rewrite sees weights before any operator could refuse them."""
    x = np.ones((1, 1, 2), np.float32)
    for optimize in (True, False):
        session = onnxwalk.load(proto, optimize=optimize)
        if not message:
            assert session.run(None, {"x": x})[0].shape == x.shape
            continue
        with pytest.raises(onnxwalk.OperatorError, match=rf"\({message}\), ai.onnx.{message}-"):
            session.run(None, {"x": x})
