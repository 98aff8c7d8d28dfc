"""Each clean-up makes the graph smaller and leaves what it computes alone."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxwalk.export.conversion.clean import clean
from onnxwalk.export.conversion.clean.constants import fold_constants, share_constants
from onnxwalk.export.conversion.clean.duplicates import share_nodes
from onnxwalk.export.conversion.clean.scales import fold_scales
from onnxwalk.export.conversion.clean.shapes import (
    drop_identities,
    keep_reduced_axes,
    make_reshapes_static,
    merge_reshapes,
)
from onnxwalk.export.conversion.clean.transposes import cancel_transposes
from onnxwalk.export.conversion.draft import attach_weights, detach_weights
from onnxwalk.export.conversion.names import name_nodes
from tests.export.helpers import run_onnxruntime

LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
RNG = np.random.default_rng(0)


def array(*shape):
    return RNG.normal(0, 1, shape).astype("float32")


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=f"net/{output}", **attributes)


def graph(nodes, weights, shape=("batch", 4, 5, 3), outputs=("y",)):
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items()]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            tensors,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    model = onnx.shape_inference.infer_shapes(model)  # outputs must have a shape
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model


def cleaned(model, *passes):
    """The operators that are left, in order; asserts that the results are the same."""
    shape = [d.dim_value or 2 for d in model.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": array(*shape)}
    before = run_onnxruntime(model, feeds)
    draft = detach_weights(model)
    for improve in passes:
        improve(draft)
    after = attach_weights(draft)
    onnx.checker.check_model(after, full_check=True)
    for a, b in zip(run_onnxruntime(after, feeds), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return [n.op_type for n in after.graph.node]


def test_transposes_around_elementwise_nodes_go():
    nodes = [
        node("Transpose", "x", "a", perm=FIRST),
        node("Conv", "a w", "b"),
        node("Transpose", "b", "c", perm=LAST),
        node("Mul", "c s", "d"),
        node("Pad", "d pads", "e"),
        node("Slice", "e starts ends axes", "f"),
        node("Concat", "f f", "g", axis=-1),
        node("Softmax", "g", "h", axis=3),
        node("ReduceMax", "h sides", "i", keepdims=1),
        node("Sub", "h i", "j"),
        node("Transpose", "j", "k", perm=FIRST),
        node("Conv", "k v", "y"),
    ]
    weights = {
        "w": array(6, 3, 1, 1),
        "v": array(2, 12, 2, 2),
        "s": array(6),
        "pads": np.int64([0, 1, 2, 0, 0, 0, 1, 0]),
        "starts": np.int64([1]),
        "ends": np.int64([-1]),
        "axes": np.int64([2]),
        "sides": np.int64([1, 2]),
    }
    kept = cleaned(graph(nodes, weights), cancel_transposes)
    assert kept.count("Transpose") == 1 and kept[0] == "Transpose"


def test_slices_keep_the_type_of_their_numbers():
    nodes = [
        node("Transpose", "x", "a", perm=FIRST),
        node("Conv", "a w", "b"),
        node("Transpose", "b", "c", perm=LAST),
        node("Slice", "c starts ends axes steps", "d"),
        node("Transpose", "d", "e", perm=FIRST),
        node("Conv", "e w", "y"),
    ]
    numbers = {"starts": [4], "ends": [-6], "axes": [1], "steps": [-1]}
    weights = {name: np.int32(values) for name, values in numbers.items()}
    kept = cleaned(graph(nodes, weights | {"w": array(3, 3, 1, 1)}), cancel_transposes)
    assert kept.count("Transpose") == 1


def test_a_transposed_tensor_that_is_an_output_stays():
    nodes = [
        node("Transpose", "x", "a", perm=FIRST),
        node("Conv", "a w", "b"),
        node("Transpose", "b", "c", perm=LAST),
        node("Relu", "c", "y"),
        node("Add", "y s", "d"),
        node("Identity", "d", "z"),
        node("Transpose", "d", "e", perm=FIRST),
        node("Conv", "e w", "v"),
    ]
    model = graph(nodes, {"w": array(3, 3, 1, 1), "s": array(3)}, outputs=("y", "z", "v"))
    cleaned(model, cancel_transposes)


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_reduction_reads_through_a_transpose(keepdims):
    nodes = [
        node("Transpose", "x", "a", perm=LAST),
        node("ReduceMean", "a axes", "b", keepdims=keepdims),
        node("Relu", "b", "y"),
    ]
    kept = cleaned(graph(nodes, {"axes": np.int64([1, 2])}), cancel_transposes)
    assert kept.count("Transpose") == (0 if keepdims == 0 else 1)


def test_a_transpose_without_perm_is_left_alone():
    nodes = [node("Transpose", "x", "a"), node("Transpose", "a", "y")]
    cleaned(graph(nodes, {}), cancel_transposes)


def test_scales_and_shifts_go_into_the_convolution():
    nodes = [
        node("Conv", "x w b", "a"),
        node("Mul", "a s", "c"),
        node("Add", "c t", "d"),
        node("Mul", "half d", "y"),
    ]
    weights = {"w": array(6, 4, 1, 1), "b": array(6), "s": array(6, 1, 1), "t": array(1, 6, 1, 1)}
    assert cleaned(graph(nodes, weights | {"half": np.float32(0.5)}), fold_scales) == ["Conv"]


@pytest.mark.parametrize("groups", [1, 2])
def test_scales_of_transposed_and_grouped_convolutions(groups):
    nodes = [node("ConvTranspose", "x w", "a", group=groups), node("Mul", "a s", "y")]
    model = graph(nodes, {"w": array(4, 6 // groups, 2, 2), "s": array(1, 6, 1, 1)})
    assert cleaned(model, fold_scales) == ["ConvTranspose", "Mul"][:groups]
    nodes = [node("Conv", "x w", "a", group=2), node("Mul", "a s", "y")]
    assert cleaned(graph(nodes, {"w": array(6, 2, 1, 1), "s": array(6, 1, 1)}), fold_scales) == [
        "Conv"
    ]


def test_scale_after_a_dense_layer():
    nodes = [
        node("MatMul", "x w", "a"),
        node("Add", "a b", "c"),
        node("Mul", "c s", "d"),
        node("Add", "d t", "y"),
    ]
    weights = {"w": array(3, 6), "b": array(6), "s": array(6), "t": array(6)}
    assert cleaned(graph(nodes, weights), fold_scales) == ["MatMul", "Add"]


def test_scale_behind_a_transpose():
    nodes = [
        node("Conv", "x w", "a"),
        node("Transpose", "a", "b", perm=LAST),
        node("Mul", "b s", "c"),
        node("Add", "c t", "y"),
    ]
    weights = {"w": array(6, 4, 1, 1), "s": array(6), "t": array(6)}
    assert cleaned(graph(nodes, weights), fold_scales) == ["Conv", "Transpose"]
    weights["s"] = array(5, 1, 6)  # not per channel
    assert "Mul" in cleaned(graph(nodes, weights), fold_scales)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Conv", "x w", "a"), node("Mul", "a s", "b"), node("Add", "a b", "y")],
        [node("Conv", "x w", "a"), node("Mul", "a side", "y")],
        [node("Conv", "x w", "a"), node("Conv", "x w", "b"), node("Mul", "a s", "c"),
         node("Add", "b c", "y")],
    ],
    ids=["read twice", "along a side", "shared weights"],
)  # fmt: skip
def test_what_is_not_folded(nodes):
    model = graph(nodes, {"w": array(6, 4, 1, 1), "s": array(6, 1, 1), "side": array(5, 1)})
    assert "Mul" in cleaned(model, fold_scales)


def test_shapes():
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Concat", "n sixty", "t", axis=0),
        node("Reshape", "x t", "a"),
        node("Reshape", "a back", "b"),
        node("Reshape", "b sixty_flat", "y"),
    ]
    weights = {
        "zero": np.int64([0]),
        "sixty": np.int64([60]),
        "back": np.int64([-1, 4, 5, 3]),
        "sixty_flat": np.int64([-1, 60]),
    }
    assert cleaned(graph(nodes, weights), make_reshapes_static, merge_reshapes) == ["Reshape"]


def test_axes_that_are_put_back():
    nodes = [
        node("ReduceMean", "x axes", "a", keepdims=0),
        node("Reshape", "a shape", "b"),
        node("Mul", "x b", "y"),
    ]
    weights = {"axes": np.int64([1, 2]), "shape": np.int64([-1, 1, 1, 3])}
    assert cleaned(graph(nodes, weights), keep_reduced_axes) == ["ReduceMean", "Mul"]
    nodes[1:] = [node("Reshape", "a shape", "y")]
    assert cleaned(graph(nodes, weights), keep_reduced_axes) == ["ReduceMean"]


def test_identities():
    nodes = [
        node("Identity", "x", "a"),
        node("Relu", "a", "b"),
        node("Identity", "b", "y"),
        node("Identity", "b", "z"),
        node("Identity", "x", "v"),
    ]
    kept = cleaned(graph(nodes, {}, outputs=("y", "z", "v")), drop_identities)
    assert kept == ["Relu", "Identity", "Identity"]


def test_constants():
    nodes = [
        node("Transpose", "w", "a", perm=[1, 0]),
        node("Mul", "a two", "b"),
        node("MatMul", "x b", "c"),
        node("Sqrt", "four", "d"),
        node("Add", "c d", "e"),
        node("Add", "e again", "y"),
    ]
    two = np.float32(2)
    weights = {"w": array(6, 3), "two": two, "four": np.float32(4), "again": two}
    model = graph(nodes, weights)
    assert cleaned(model, fold_constants, share_constants) == ["MatMul", "Add", "Add"]


def test_duplicates():
    nodes = [node("Relu", "x", "a"), node("Relu", "x", "b"), node("Add", "a b", "y")]
    assert cleaned(graph(nodes, {}), share_nodes) == ["Relu", "Add"]


def test_weights_stay_views_until_they_are_written():
    big = array(300, 200)
    nodes = [node("Transpose", "w", "a", perm=[1, 0]), node("MatMul", "x a", "y")]
    draft = detach_weights(graph(nodes, {"w": array(6, 3)}))
    draft.weights["w"] = big
    clean(draft)
    assert np.shares_memory(draft.weights["w"], big) and draft.weights["w"].shape == (200, 300)


def test_names_of_tensors_and_weights_stay_apart():
    nodes = [
        helper.make_node("Relu", ["x"], ["a__1"], "net/layer/Relu"),
        helper.make_node("Add", ["a__1", "net/layer/Relu:0"], ["y"], "net/layer/Add"),
    ]
    draft = detach_weights(graph(nodes, {"net/layer/Relu:0": array(3)}))
    trace = SimpleNamespace(name="net", inputs=(), outputs=(), layers=("layer",))
    name_nodes(draft, trace)
    assert draft.graph.node[0].output[0] not in draft.weights
