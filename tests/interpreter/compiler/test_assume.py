"""Files that break a rule of ONNX where there is one reading all the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnx.helper import make_graph, make_node

import onnxwalk
from onnxwalk.interpreter.cli import main

X = np.array([-1.0, 2.0], np.float32)


def info(name, shape=(2,)):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model(nodes, outputs=("y",), opsets=(("", 17),), initializers=(), functions=()):
    graph = make_graph(nodes, "g", [info("x")], [info(n) for n in outputs], list(initializers))
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*o) for o in opsets],
        functions=list(functions),
        ir_version=10,
    ).SerializeToString()


UNSORTED = model([make_node("Neg", ["a"], ["y"]), make_node("Abs", ["x"], ["a"])])


def branch(name, nodes, output):
    return make_graph(nodes, name, [], [info(output)])


def unsorted_branch():
    """A branch whose nodes are out of order, and that reads an outer value defined later."""
    then = branch("then", [make_node("Neg", ["b"], ["t"]), make_node("Abs", ["a"], ["b"])], "t")
    other = branch("else", [make_node("Identity", ["a"], ["e"])], "e")
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    return model(
        [
            make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
            make_node("Mul", ["x", "x"], ["a"]),
        ],
        initializers=[condition],
    )


def unsorted_function():
    body = [make_node("Neg", ["a"], ["y"]), make_node("Abs", ["x"], ["a"])]
    function = helper.make_function("my", "F", ["x"], ["y"], body, [helper.make_opsetid("", 17)])
    call = make_node("F", ["x"], ["y"], domain="my")
    return model([call], opsets=[("", 17), ("my", 1)], functions=[function])


@pytest.mark.parametrize(
    ("data", "expected"),
    [(UNSORTED, -abs(X)), (unsorted_branch(), -X * X), (unsorted_function(), -abs(X))],
    ids=["graph", "branch", "function"],
)
def test_nodes_are_sorted(data, expected):
    with pytest.warns(UserWarning, match=r"not in topological order.*strict=True refuses"):
        session = onnxwalk.load(data)
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], expected)
    with pytest.raises(onnxwalk.InvalidModelError, match="not in topological order"):
        onnxwalk.load(data, strict=True)


def test_onnx_runtime_sorts_as_well():
    """The main graph only: it refuses a branch or a function that is out of order."""
    theirs = ort.InferenceSession(UNSORTED).run(None, {"x": X})
    with pytest.warns(UserWarning, match="topological"):
        ours = onnxwalk.load(UNSORTED).run(None, {"x": X})
    np.testing.assert_array_equal(ours, theirs)


def test_a_name_of_the_outer_graph_is_read_before_it_is_defined_again():
    """In strict reading the inner node reads the outer value: sorting must not change that."""
    then = branch("then", [make_node("Neg", ["a"], ["t"]), make_node("Abs", ["x"], ["b"])], "t")
    other = branch("else", [make_node("Identity", ["a"], ["e"])], "e")
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    data = model(
        [
            make_node("Mul", ["x", "x"], ["a"]),
            make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        ],
        initializers=[condition],
    )
    np.testing.assert_array_equal(onnxwalk.load(data).run(None, {"x": X})[0], -X * X)


def test_a_circle_is_an_error_that_names_its_nodes():
    nodes = [
        make_node("Add", ["x", "b"], ["a"], name="first"),
        make_node("Neg", ["a"], ["b"], name="second"),
        make_node("Abs", ["b"], ["y"], name="after"),
    ]
    with pytest.raises(onnxwalk.InvalidModelError, match=r"in a circle: 'first', 'second'$"):
        onnxwalk.load(model(nodes))


@pytest.mark.parametrize(
    ("node", "opsets"),
    [
        (make_node("Gelu", ["x"], ["y"], domain="com.microsoft"), [("", 17)]),
        (
            make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", scale=[2.0], offset=[1.0]),
            [("", 17)],
        ),
        (make_node("Relu", ["x"], ["y"]), [("ai.onnx.ml", 3)]),
    ],
    ids=["com.microsoft", "ai.onnx.ml", "ai.onnx"],
)
def test_a_known_domain_that_is_not_imported(node, opsets):
    data = model([node], opsets=opsets)
    with pytest.warns(UserWarning, match="is not imported, and was taken at its newest version"):
        ours = onnxwalk.load(data).run(None, {"x": X})
    theirs = ort.InferenceSession(data).run(None, {"x": X})
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    with pytest.raises(onnxwalk.UnsupportedModelError, match="domain is not imported"):
        onnxwalk.load(data, strict=True)


def tensor(kind, values):
    return helper.make_tensor("value", kind, [len(values)], values)


@pytest.mark.parametrize(
    ("opset", "node", "text"),
    [
        (8, make_node("Constant", [], ["y"], value=tensor(TensorProto.INT64, [3])),
         "Constant of int64 as of version 9"),
        (7, make_node("Constant", [], ["y"], value=tensor(TensorProto.BOOL, [True])),
         "Constant of bool as of version 9"),
        (1, make_node("Constant", [], ["y"], value=tensor(TensorProto.STRING, [b"ab"])),
         "Constant of string as of version 9"),
        (11, make_node("Constant", [], ["y"], value_floats=[1.0, 2.0]),
         "Constant with value_floats as of version 12"),
        (7, make_node("Constant", [], ["y"], value_int=2),
         "Constant with value_int as of version 12"),
        (13, make_node("Constant", [], ["y"], value=tensor(TensorProto.FLOAT8E4M3FN, [1.0])),
         "Constant of float8e4m3fn as of version 19"),
        (6, make_node("Cast", ["x"], ["y"], to=TensorProto.STRING),
         "Cast of string as of version 9"),
        (13, make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT8E4M3FN),
         "Cast of float8e4m3fn as of version 19"),
    ],
)  # fmt: skip
def test_types_that_a_later_version_has(opset, node, text):
    proto = onnx.load_from_string(model([node], opsets=[("", opset)]))
    proto.graph.output[0].ClearField("type")  # the model's is float
    data, feeds = proto.SerializeToString(), {"x": X}
    with pytest.warns(UserWarning, match=f"before the version that allows it: {text} "):
        (ours,) = onnxwalk.load(data).run(None, feeds)
    (theirs,) = ort.InferenceSession(data).run(None, feeds)
    if theirs.dtype == np.uint8:  # so ONNX Runtime hands out short floats
        ours = ours.view(np.uint8)
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(onnxwalk.InvalidModelError, match=r"expected|no attribute"):
        onnxwalk.load(data, strict=True)


def test_such_a_constant_in_a_branch():
    value = make_node("Constant", [], ["t"], value=tensor(TensorProto.INT64, [3]))
    then = make_graph([value], "then", [], [onnx.ValueInfoProto(name="t")])
    value = make_node("Constant", [], ["e"], value=tensor(TensorProto.INT64, [4]))
    other = make_graph([value], "else", [], [onnx.ValueInfoProto(name="e")])
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    node = make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    data = model([node], opsets=[("", 8)], initializers=[condition])
    with pytest.warns(UserWarning, match="Constant of int64 as of version 9 "):
        assert onnxwalk.load(data).run(None, {"x": X})[0].tolist() == [3]


@pytest.mark.parametrize("opset", [13, 18, 19])
@pytest.mark.parametrize("nearest_mode", ["floor", "ceil", "round_prefer_floor"])
def test_a_word_that_a_later_version_took_out(opset, nearest_mode):
    """tf2onnx writes it for tf.image.resize to the nearest pixel, at any opset."""
    word = {"coordinate_transformation_mode": "tf_half_pixel_for_nn"}
    node = make_node("Resize", ["x", "r", "s"], ["y"], nearest_mode=nearest_mode, **word)
    scales = [helper.make_tensor("s", TensorProto.FLOAT, [1], [2.3]), tensor(TensorProto.FLOAT, [])]
    scales[1].name = "r"
    data = model([node], opsets=[("", opset)], initializers=scales)
    with pytest.warns(UserWarning, match="after the version that allows it: Resize with coord"):
        ours = onnxwalk.load(data).run(None, {"x": X})
    np.testing.assert_array_equal(ours, ort.InferenceSession(data).run(None, {"x": X}))
    with pytest.raises(onnxwalk.InvalidModelError, match="'coordinate_transformation_mode' must"):
        onnxwalk.load(data, strict=True)


@pytest.mark.parametrize(
    ("name", "opset", "last", "more"),
    [
        ("Upsample", 10, 9, {"inputs": ["x", "s"], "s": [2.0]}),
        ("Upsample", 20, 9, {"inputs": ["x", "s"], "s": [2.0]}),
        ("Scatter", 11, 10, {"inputs": ["x", "i", "u"], "i": [1], "u": [7.0]}),
    ],
)
def test_an_operator_that_was_taken_out(name, opset, last, more):
    node = make_node(name, more.pop("inputs"), ["y"])
    kinds = {"i": TensorProto.INT64}
    constants = [
        helper.make_tensor(key, kinds.get(key, TensorProto.FLOAT), [len(value)], value)
        for key, value in more.items()
    ]
    data = model([node], opsets=[("", opset)], initializers=constants)
    with pytest.warns(UserWarning, match=f"after the version that allows it: {name} as of version"):
        ours = onnxwalk.load(data).run(None, {"x": X})
    then = model([node], opsets=[("", last)], initializers=constants)
    np.testing.assert_array_equal(ours, onnxwalk.load(then, strict=True).run(None, {"x": X}))
    with pytest.raises(onnxwalk.UnsupportedModelError, match=f"{name} .opset {opset}; taken out"):
        onnxwalk.load(data, strict=True)


def in_a_function(nodes, opsets):
    """The nodes, from "x" to "t", in a branch of an If in a function; the model has opset 9."""
    both = branch("both", nodes, "t")
    condition = make_node("Constant", [], ["c"], value=helper.make_tensor("", 9, [], [True]))
    body = [condition, make_node("If", ["c"], ["y"], then_branch=both, else_branch=both)]
    imports = [helper.make_opsetid(*opset) for opset in opsets]
    function = helper.make_function("my", "F", ["x"], ["y"], body, imports)
    call = make_node("F", ["x"], ["y"], domain="my")
    return model([call], opsets=[("", 9), ("my", 1)], functions=[function])


def test_an_operator_that_was_taken_out_in_a_function():
    """The function's own opset counts, not the model's, also inside of an If."""
    scales = make_node("Constant", [], ["s"], value_floats=[2.0])
    data = in_a_function([scales, make_node("Upsample", ["x", "s"], ["t"])], [("", 17)])
    with pytest.warns(UserWarning, match="after the version that allows it: Upsample as of vers"):
        ours = onnxwalk.load(data).run(None, {"x": X})
    np.testing.assert_array_equal(ours[0], X.repeat(2))
    with pytest.raises(onnxwalk.UnsupportedModelError, match=r"Upsample .opset 17; taken out"):
        onnxwalk.load(data, strict=True)


def test_nodes_in_a_branch_in_a_function_have_the_version_of_their_own_domain():
    node = make_node("Normalizer", ["x"], ["t"], domain="ai.onnx.ml", norm="L1")
    data = in_a_function([node], [("", 17), ("ai.onnx.ml", 1)])
    (graph,) = onnxwalk.load(data, strict=True).graph.nodes[-1].graphs[:1]
    assert [node.opset for node in graph[1].nodes] == [1]


def test_branches_that_return_different_numbers_of_outputs():
    """Also where the node uses no more than both return, as ONNX has it."""
    one = make_graph([make_node("Identity", ["x"], ["t"])], "a", [], [value_info("t")])
    nodes = [make_node("Identity", ["x"], [name]) for name in "uv"]
    two = make_graph(nodes, "b", [], [value_info("u"), value_info("v")])
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    for then, other in ((one, two), (two, one)):
        node = make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
        data = model([node], initializers=[condition])
        with pytest.raises(onnxwalk.InvalidModelError, match="different numbers of outputs: "):
            onnxwalk.load(data)


def value_info(name):
    return onnx.ValueInfoProto(name=name)


@pytest.mark.parametrize(
    "node",
    [
        make_node("Constant", [], ["y"]),
        make_node("Constant", [], ["y"], something=3),
        make_node("Cast", ["x"], ["y"], to=99),
        make_node("EyeLike", ["x"], ["y"], dtype=TensorProto.STRING),
    ],
    ids=["nothing", "unknown", "no type", "no constant"],
)
def test_what_no_version_allows_stays_an_error(node):
    with pytest.raises(onnxwalk.OnnxWalkError):
        onnxwalk.load(model([node], opsets=[("", 9)])).run(None, {"x": X[None]})


def test_an_unknown_domain_stays_an_error():
    data = model([make_node("F", ["x"], ["y"], domain="my")])
    with pytest.raises(onnxwalk.UnsupportedModelError, match="domain is not imported"):
        onnxwalk.load(data)


@pytest.mark.filterwarnings("default")
def test_commands_warn_in_one_line(tmp_path, capsys):
    path = tmp_path / "m.onnx"
    path.write_bytes(UNSORTED)
    assert main(["run", str(path), "--random", "-o", str(tmp_path / "y.npz")]) == 0
    warning = capsys.readouterr().err.strip().splitlines()
    assert len(warning) == 1
    assert warning[0].startswith(f"onnxwalk: warning: {path}: the nodes are not in topological")
    assert main(["run", str(path), "--random", "--strict"]) == 1
    assert "not in topological order" in capsys.readouterr().err
    assert main(["inspect", str(path)]) == 0
    assert "not in topological order, and were sorted" in " ".join(capsys.readouterr().out.split())
