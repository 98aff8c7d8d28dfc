"""The gradients of a Relu and of the MaxPool behind it change places."""

import numpy as np
import onnx.parser
import pytest

import onnxwalk
from onnxwalk.interpreter.session import compiled

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
case (float[2, 3, 6, 8] x) => (float loss)
{
  r = Relu(x)
  y = MaxPool <kernel_shape = [2, 2], STRIDES> (r)
  MORE
  z = Mul(y, y)
  loss = ReduceSum <keepdims = 0> (z)
}
"""
#: with values that are equal, below 0 and NaN
X = np.random.default_rng(0).integers(-3, 4, (2, 3, 6, 8)).astype(np.float32)
X[0, 0, :2, :3] = np.nan


def text(strides, more=""):
    return MODEL.replace("STRIDES", f"strides = [{strides}, {strides}]").replace("MORE", more)


@pytest.mark.parametrize("wanted", [["x"], ["r", "x"]])
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_gradients_are_the_same(strides, wanted):
    model = onnx.parser.parse_model(text(strides))
    with np.errstate(over="ignore"):
        expected = onnxwalk.load(model, optimize=False).gradients("loss", wanted, {"x": X})
        found = onnxwalk.load(model).gradients("loss", wanted, {"x": X})
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("more", "wanted", "names"),
    [
        ("", ["x"], ["Relu", "MaxPool"]),
        ("", ["r", "x"], ["MaxPool", "Relu"]),  # the value between them is asked for
        ("q = Identity(r)", ["x"], ["Relu", "MaxPool"]),  # nothing flows back by it
    ],
)
def test_only_where_nothing_else_reads_the_value_between_them(more, wanted, names):
    program, _ = compiled(onnxwalk.load(onnx.parser.parse_model(text(2, more))))
    changed, found = program.gradients("loss", wanted, seeded=False)
    plan = changed.plan(["x"], list(found.gradients))
    back = [s.node for s in plan.steps if s.node.domain == "onnxwalk.gradient"]
    assert [node.op_type for node in back if node.op_type in names] == names


def test_what_the_relu_is_read_by_elsewhere():
    model = onnx.parser.parse_model(
        text(2).replace("z = Mul(y, y)", "e = ReduceSum(r)\nz = Mul(y, e)")
    )
    session, plain = (onnxwalk.load(model, optimize=o) for o in (True, False))
    x = np.nan_to_num(X)
    (found,), (expected,) = (s.gradients("loss", ["x"], {"x": x}) for s in (session, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
