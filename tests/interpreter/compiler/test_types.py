"""Types flow through the graph at load; what a version doesn't allow is refused there, by name."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import InvalidModelError, ops

F, I64, F16, BOOL, STRING, I4 = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.FLOAT16,
    TensorProto.BOOL,
    TensorProto.STRING,
    TensorProto.INT4,
)


def value(name, code=F, shape=None):
    return helper.make_tensor_value_info(name, code, shape)


def untyped(name):
    """A value of which the file says nothing."""
    return helper.make_empty_tensor_value_info(name)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def model(nodes, inputs, opset=17, *, initializers=(), value_info=()):
    outputs = [untyped(name) for name in nodes[-1].output]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers, value_info=value_info)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def refused(proto, **keywords):
    with pytest.raises(InvalidModelError) as caught:
        onnxwalk.load(proto, **keywords)
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix("model from ModelProto: ")


def test_the_line_names_node_operator_version_input_type_and_what_is_allowed():
    proto = model([node("Relu", "x", "y", name="rectify")], [value("x", I64)], 13)
    assert refused(proto) == (
        "node 'rectify' (Relu) at version 13: input 'x' is int64; "
        "expected bfloat16, double, float, float16"
    )
    onnxwalk.load(model([node("Relu", "x", "y")], [value("x", I64)], 14))


def test_one_variable_is_one_type():
    proto = model([node("Add", "a b", "y")], [value("a"), value("b", F16)])
    assert refused(proto) == (
        "node 'y' (Add) at version 14: inputs 'a' and 'b' must have one type, got float and float16"
    )


def test_all_of_it_is_listed():
    proto = model(
        [node("Relu", "s", "a"), node("Not", "x", "b"), node("Add", "x n", "y")],
        [value("s", STRING), value("x"), value("n", I64)],
    )
    text = refused(proto)
    for part in ("'s' is string", "'x' is float; expected bool", "one type, got float and int64"):
        assert part in text


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Shape", "x", "a"), node("Sqrt", "a", "y")], "'a' is int64"),
        ([node("Relu", "x", "a"), node("Not", "a", "y")], "'a' is float"),
        ([node("Cast", "x", "a", to=BOOL), node("Relu", "a", "y")], "'a' is bool"),
        ([node("Constant", "", "a", value_ints=[1]), node("Sqrt", "a", "y")], "'a' is int64"),
        ([node("ConstantOfShape", "n", "a"), node("Not", "a", "y")], "'a' is float"),
        ([node("RandomNormal", "", "a", shape=[1]), node("Not", "a", "y")], "'a' is float"),
        ([node("SequenceConstruct", "x", "s"), node("Relu", "s", "y")], r"'s' is seq\(float\)"),
        ([node("SequenceEmpty", "", "s", dtype=BOOL), node("SequenceAt", "s n", "a"),
          node("Relu", "a", "y")], "'a' is bool"),
        ([node("Optional", "x", "o"), node("OptionalGetElement", "o", "a"),
          node("Not", "a", "y")], "'a' is float"),
        ([node("Cast", "x", "y", to=I4)], "output 'y' is int4; expected bfloat16, bool"),
        ([node("RandomNormalLike", "n", "y")], "output 'y' is int64"),
        ([node("Sqrt", "w", "y")], "'w' is int64"),
        ([node("Not", "declared", "y")], "'declared' is float"),
        ([node("Relu", "x", "y z")], "2 outputs, but the operator at most 1"),
    ],
    ids=range(14),
)  # fmt: skip
def test_types_flow(nodes, message):
    unknown = helper.make_node("Mine", ["x"], ["declared"], domain="mine")
    mine = ops.Registry(parent=ops.registry)
    mine.op("Mine", since=1, domain="mine")(lambda x: x)
    weight = numpy_helper.from_array(np.zeros(1, np.int64), "w")
    proto = model(
        [unknown, *nodes], [value("x"), value("n", I64)], 13 if "int4" in message else 17,
        initializers=[weight], value_info=[value("declared")],
    )  # fmt: skip
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    with pytest.raises(InvalidModelError, match=message):
        onnxwalk.load(proto, registry=mine, strict=True)


def branch(name, *nodes, output="inner"):
    return helper.make_graph(list(nodes), name, [], [untyped(output)])


def test_types_flow_into_and_out_of_subgraphs():
    bad = branch("bad", node("Not", "x", "inner"))
    good = branch("good", node("Relu", "x", "inner"))
    inputs = [value("c", BOOL), value("x")]
    text = refused(model([node("If", "c", "y", then_branch=bad, else_branch=good)], inputs))
    assert "'x' is float; expected bool" in text
    chosen = node("If", "c", "a", then_branch=good, else_branch=good)
    assert "'a' is float" in refused(model([chosen, node("Not", "a", "y")], inputs))


def test_what_is_not_known_is_let_pass():
    session = onnxwalk.load(model([node("Relu", "x", "y")], [untyped("x")], 13))
    np.testing.assert_array_equal(session(np.array([-1, 2], np.float32)), [0, 2])


def test_no_attribute_stands_in_for_an_input_that_is_not_known():
    """GroupNormalization's stash_type is float by default; y has the type of x all the same."""
    nodes = [node("GroupNormalization", "x s b", "y", num_groups=1), node("Add", "y h", "z")]
    inputs = [untyped(name) for name in "xsb"]
    half = np.ones((1, 1, 2), np.float16)
    session = onnxwalk.load(model(nodes, [*inputs, value("h", F16)], 21))
    one = half[0, 0, :1]
    (z,) = session.run(None, {"x": half, "s": one, "b": one, "h": half})
    np.testing.assert_array_equal(z, np.full_like(half, 2))


def test_a_users_operators_take_what_they_like():
    mine = ops.Registry(parent=ops.registry)
    mine.op("Relu", since=6)(lambda x: x)
    proto = model([node("Relu", "x", "a"), node("Relu", "a", "y")], [value("x", STRING)])
    assert onnxwalk.load(proto, registry=mine)(["a"]).tolist() == ["a"]


RESIZE = {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"}
FOR_NN = {"coordinate_transformation_mode": "tf_half_pixel_for_nn"}


@pytest.mark.parametrize(
    ("name", "inputs", "attributes", "refusing", "accepting"),
    [
        ("Resize", "x x s", RESIZE, 18, 19),
        ("Resize", "x x s", FOR_NN, 13, 11),
        ("Resize", "x s", {"mode": "cubic"}, 10, None),
        ("Pad", "x n", {"mode": "mirror"}, 18, None),
        ("ScatterElements", "x n x", {"reduction": "max"}, 16, 18),
        ("ScatterND", "x n x", {"reduction": "min"}, 17, 18),
        ("GridSample", "x s", {"mode": "bicubic"}, 20, 16),
        ("GridSample", "x s", {"mode": "cubic"}, 16, 20),
        ("Gelu", "x", {"approximate": "erf"}, 20, None),
        ("MaxPool", "x", {"auto_pad": "SAME", "kernel_shape": [1]}, 12, None),
        ("Upsample", "x s", {"mode": "cubic"}, 9, None),
    ],
)
def test_words_are_those_of_the_version(name, inputs, attributes, refusing, accepting):
    given = [value("x"), value("s"), value("n", I64)]
    word = next(reversed(attributes.values())) if name == "Resize" else None
    text = refused(model([node(name, inputs, "y", **attributes)], given, refusing), strict=True)
    assert f"at opset {refusing}, not " in text and (word or "") in text
    if accepting:
        onnxwalk.load(model([node(name, inputs, "y", **attributes)], given, accepting))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), r"'x': expected numbers or strings, got object"),
        ([np.ones(2), object()], r"'x\[1\]': expected numbers or strings, got object"),
        (np.array([1, None]), r"an array of objects that aren't all str"),
        (2**70, r"'x': expected numbers or strings, got int"),
        (np.array(["2020"], "M8[D]"), r"ONNX has no type for datetime64\[D\]"),
        (np.array([b"\xff"]), "not UTF-8"),
        (((1,), (2, 3)), "don't form an array"),
        (np.ma.array([1, 2]), "masked array"),
    ],
    ids=range(8),
)
def test_what_is_no_value_of_onnx_is_refused_where_the_file_has_no_type(value, message):
    session = onnxwalk.load(model([node("Identity", "x", "y")], [untyped("x")], 18))
    with pytest.raises(onnxwalk.InvalidInputError, match=message):
        session.run(None, {"x": value})


def test_values_where_the_file_has_no_type():
    """An empty optional, strings, sequences and the other byte order."""
    session = onnxwalk.load(model([node("Identity", "x", "y")], [untyped("x")], 18))
    assert session.run(None, {"x": None}) == [None]
    (strings,) = session.run(None, {"x": np.array([b"a", b"b"])})
    assert strings.tolist() == ["a", "b"]
    (numbers,) = session.run(None, {"x": np.ones(2, ">f4")})
    assert numbers.dtype == np.float32 and numbers.tolist() == [1, 1]
    ((one, two),) = session.run(None, {"x": [np.ones(2, ">f4"), 2]})
    assert one.dtype == np.float32 and two == 2


def test_the_rules_of_own_operators_are_asked():
    mine = ops.Registry(parent=ops.registry)

    @mine.op("Mine", since=1, domain="mine")
    def own(x, *, to="int64", way="up"):
        return x

    own.output_type(lambda first, *, to, **_: to or first)
    own.choices({"way": "up down"})
    inputs = [value("x")]

    def loaded(**attributes):
        own_node = helper.make_node("Mine", ["x"], ["a"], domain="mine", **attributes)
        proto = model([own_node, node("Not", "a", "y")], inputs, 17)
        proto.opset_import.append(helper.make_opsetid("mine", 1))
        with pytest.raises(InvalidModelError) as error:
            onnxwalk.load(proto, registry=mine)
        return str(error.value)

    assert "'a' is int64; expected bool" in loaded()
    assert "'a' is float; expected bool" in loaded(to="")
    assert "must be one of up, down" in loaded(way="left")


@pytest.mark.parametrize(
    ("operator", "attribute", "expected"),
    [
        ("Constant", "value", "tensor"),
        ("ConstantOfShape", "value", "tensor"),
        ("Cast", "to", "int"),
        ("EyeLike", "dtype", "int"),
    ],
)
def test_an_attribute_of_the_wrong_type_tells_no_type(operator, attribute, expected):
    """What the types of outputs follow from may be anything in a file."""
    inputs = "" if operator == "Constant" else "x"
    proto = model([node(operator, inputs, "c", **{attribute: [1, 2]})], [value("x", I64, [2])])
    assert f"attribute '{attribute}': expected {expected}, got ints" in refused(proto)
