"""Gradients of tables that the iterations of a loop look rows up in, against finite differences."""

import numpy as np
import onnx.parser
import pytest

import onnxwalk
from onnxwalk.interpreter.session import compiled
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN

#: the index: the iteration's number, a few numbers that follow from it, or as many as its number
INDICES = {
    "number": "at = Identity(i)",
    "several": "at = Add(i, offsets)",
    "other shapes": "one = Constant <value = int64 {1}> () up = Add(i, one) zero = Sub(i, i) "
    "at = Range(zero, up, one)",
}

LOOP = """
<ir_version: 8, opset_import: ["" : 16]>
case (double[6, 4] table, double[4] x, int64 trips) => (double loss)
<int64[2] offsets = {1, 0}>
{
  last = Loop (trips, , x) <
    body = g (int64 i, bool on, double[4] a) => (bool still, double[4] b) {
      still = Identity(on)
      INDEX
      row = Gather <axis = AXIS> (table, at)
      again = Gather <axis = AXIS> (table, at)
      product = Mul(row, again)
      sum = ReduceSum <keepdims = 0> (product)
      MORE
      m = Mul(a, whole)
      b = Tanh(m)
    }
  >
  s = ReduceSum <keepdims = 0> (last)
  all = ReduceSum <keepdims = 0> (table)
  loss = Add(s, all)
}
"""
MORE = {
    "only looked up": "whole = Identity(sum)",
    "and used": "of_all = ReduceMean <keepdims = 0> (table) whole = Add(sum, of_all)",
}


def session(index, axis, more):
    text = LOOP.replace("INDEX", INDICES[index]).replace("AXIS", str(axis))
    return onnxwalk.load(onnx.parser.parse_model(text.replace("MORE", MORE[more])))


@pytest.mark.parametrize("trips", [3, 1, 0])
@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("index", INDICES)
def test_against_finite_differences(index, axis, more, trips):
    model = session(index, axis, more)
    rng = np.random.default_rng(0)
    feeds = {"table": rng.standard_normal((6, 4)), "x": rng.standard_normal(4)}
    feeds["trips"] = np.array(trips)
    found = model.gradients("loss", ["table", "x"], feeds)
    for name, gradient in zip(["table", "x"], found, strict=True):
        for place in np.ndindex(gradient.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = feeds[name].copy()
                moved[place] += step
                sides.append(model.run(["loss"], {**feeds, name: moved})[0])
            slope = (sides[0] - sides[1]) / 2e-6
            np.testing.assert_allclose(gradient[place], slope, rtol=1e-6, atol=1e-7)


def test_the_table_is_no_state_of_the_loop():
    """Or 200 iterations would add up 200 tables."""
    program, _ = compiled(session("number", 0, "only looked up"))
    changed, _ = program.gradients("loss", ["table"], seeded=False)
    (back,) = [node for node in changed.graph.nodes if node.op_type == "Scan"]
    ((_, body),) = back.graphs
    assert not [n for n in body.nodes if n.op_type == "Gather" and n.domain == GRADIENT_DOMAIN]
    behind = [n for n in changed.graph.nodes if n.op_type == "Gather"]
    assert [n.domain for n in behind] == [GRADIENT_DOMAIN] * 2
