"""Gradients through If, Loop, Scan and SequenceMap, against finite differences in float64."""

import numpy as np
import onnx.parser
import pytest

import onnxwalk
from onnxwalk import UnsupportedModelError

STEP = 1e-6

IF = """
<ir_version: 8, opset_import: ["" : 16]>
case (double[2] x, double[2] w, bool c) => (double loss)
{
  y, z = If (c) <
    then_branch = g1 () => (double[2] p, double[2] q) { p = Mul(x, w)  q = Tanh(p) },
    else_branch = g2 () => (double[2] r, double[2] s) { r = Sin(x)  s = Identity(x) }
  >
  t = Mul(y, z)
  u = Add(t, x)
  loss = ReduceSum <keepdims = 0> (u)
}
"""

LOOP = """
<ir_version: 8, opset_import: ["" : 16]>
case (double[2] x, double[2] w, int64 trips) => (double loss)
{
  last, rows = Loop (trips, , x) <
    body = g (int64 i, bool on, double[2] a) => (bool still, double[2] b, double[2] row) {
      still = Identity(on)
      m = Mul(a, w)
      n = Add(m, x)
      b = Tanh(n)
      row = Mul(b, m)
    }
  >
  squares = Mul(rows, rows)
  s = ReduceSum <keepdims = 0> (squares)
  t = ReduceSum <keepdims = 0> (last)
  loss = Add(s, t)
}
"""

WHILE = """
<ir_version: 8, opset_import: ["" : 16]>
case (double[2] x, double[2] w, bool go) => (double loss)
<double[1] limit = {8.0}>
{
  last, n = Loop (, go, x, w) <
    body = g (int64 i, bool on, double[2] a, double[2] k)
      => (bool still, double[2] b, double[2] l) {
      b = Add(a, w)
      l = Mul(k, b)
      s = ReduceSum <keepdims = 1> (b)
      over = Less(s, limit)
      still = Squeeze(over)
    }
  >
  t = Mul(last, n)
  loss = ReduceSum <keepdims = 0> (t)
}
"""

SCAN = """
<ir_version: 8, opset_import: ["" : 16]>
case (double[2] x, double[2,4] w, double[4,2] v) => (double loss)
{
  last, rows, other = Scan <num_scan_inputs = 2, scan_input_axes = [1, 0],
    scan_input_directions = [1, 0], scan_output_axes = [1, 0], scan_output_directions = [0, 1],
    body = g (double[2] a, double[2] p, double[2] q) => (double[2] b, double[2] row, double[2] o) {
      m = Mul(a, p)
      n = Add(m, q)
      b = Sin(n)
      row = Mul(b, x)
      o = Mul(p, q)
    }> (x, w, v)
  turned = Transpose(rows)
  t = Mul(turned, v)
  u = Mul(t, other)
  s = ReduceSum <keepdims = 0> (u)
  r = ReduceSum <keepdims = 0> (last)
  loss = Add(s, r)
}
"""

NESTED = """
<ir_version: 8, opset_import: ["" : 16]>
case (double[2] x, double[2] w, int64 trips) => (double loss)
<int64 one = {1}>
{
  last = Loop (trips, , x) <
    body = g (int64 i, bool on, double[2] a) => (bool still, double[2] b) {
      still = Identity(on)
      first = Less(i, one)
      c = If (first) <
        then_branch = g1 () => (double[2] p) { p = Mul(a, w) },
        else_branch = g2 () => (double[2] q) {
          q = Loop (trips, , a) <
            body = h (int64 j, bool go, double[2] d) => (bool on2, double[2] e) {
              on2 = Identity(go)
              f = Mul(d, w)
              e = Sin(f)
            }
          >
        }
      >
      b = Add(c, x)
    }
  >
  t = Mul(last, last)
  loss = ReduceSum <keepdims = 0> (t)
}
"""

MAP = """
<ir_version: 8, opset_import: ["" : 17]>
case (double[2] x, double[2] w, double[3] v) => (double loss)
{
  s = SequenceConstruct(x, w, x)
  parts = SplitToSequence(v)
  p, q = SequenceMap (s, parts, w) <
    body = g (double[2] a, double[1] b, double[2] c) => (double[2] d, double[2] e) {
      m = Mul(a, c)
      d = Mul(m, b)
      e = Mul(d, x)
    }
  >
  r = SequenceMap (q, p) <
    body = h (double[2] f, double[2] g) => (double[2] k) { k = Mul(f, g) }
  >
  together = ConcatFromSequence <axis = 0, new_axis = 1> (r)
  z = Sin(together)
  loss = ReduceSum <keepdims = 0> (z)
}
"""

SCAN_8 = """
<ir_version: 8, opset_import: ["" : 8]>
case (double[2,2] x, double[2,3,2] v, double[2,3,2] u, double[2] w, int64[2] lengths)
  => (double[1,1] loss)
{
  last, rows = Scan <num_scan_inputs = 2, directions = [0, 1],
    body = g (double[2] a, double[2] p, double[2] q) => (double[2] b, double[2] row) {
      m = Mul(a, p)
      n = Add(m, q)
      b = Tanh(n)
      row = Mul(b, w)
    }> (LENGTHS, x, v, u)
  squares = Mul(rows, rows)
  s = ReduceSum <keepdims = 0> (squares)
  t = ReduceSum <keepdims = 0> (last)
  z = Add(s, t)
  loss = Unsqueeze <axes = [0, 1]> (z)
}
"""

LISTS = """
<ir_version: 8, opset_import: ["" : 17]>
case (double[2] x, double[2] w, bool c) => (double loss)
{
  s = SequenceConstruct(x, w)
  t = If (c) <
    then_branch = g1 () => (seq(double[2]) p) { m = Mul(x, w)  p = SequenceInsert(s, m) },
    else_branch = g2 () => (seq(double[2]) q) { q = SequenceErase(s) }
  >
  o = Optional(t)
  u = OptionalGetElement(o)
  y = ConcatFromSequence <axis = 0> (u)
  z = Sin(y)
  loss = ReduceSum <keepdims = 0> (z)
}
"""

GROWING = """
<ir_version: 8, opset_import: ["" : 16]>
case (double[2] x, double[2] w, int64 trips) => (double loss)
{
  empty = SequenceEmpty <dtype = 11> ()
  rows = Loop (trips, , empty) <
    body = g (int64 i, bool on, seq(double[2]) a) => (bool still, seq(double[2]) b) {
      still = Identity(on)
      m = Mul(x, w)
      b = SequenceInsert(a, m)
    }
  >
  y = ConcatFromSequence <axis = 0> (rows)
  loss = ReduceSum <keepdims = 0> (y)
}
"""

X, W = np.array([0.3, 0.8]), np.array([1.1, 0.7])
RNG = np.random.default_rng(0)
BATCH = {
    "x": RNG.normal(size=(2, 2)),
    "v": RNG.normal(size=(2, 3, 2)),
    "u": RNG.normal(size=(2, 3, 2)),
    "w": W,
    "lengths": np.array([3, 2]),
}
CASES = {
    "if true": (IF, {"x": X, "w": W, "c": np.array(True)}),
    "if false": (IF, {"x": X, "w": W, "c": np.array(False)}),
    "loop": (LOOP, {"x": X, "w": W, "trips": np.array(3)}),
    "loop once": (LOOP, {"x": X, "w": W, "trips": np.array(1)}),
    "no iteration": (LOOP, {"x": X, "w": W, "trips": np.array(0)}),
    "while": (WHILE, {"x": X, "w": W, "go": np.array(True)}),
    "scan": (SCAN, {"x": X, "w": RNG.normal(size=(2, 4)), "v": RNG.normal(size=(4, 2))}),
    "map": (MAP, {"x": X, "w": W, "v": RNG.normal(size=3)}),
    "lists, true": (LISTS, {"x": X, "w": W, "c": np.array(True)}),
    "lists, false": (LISTS, {"x": X, "w": W, "c": np.array(False)}),
    "scan 8": (SCAN_8.replace("LENGTHS", "lengths"), BATCH),
    "scan 8, all of it": (SCAN_8.replace("LENGTHS", ""), BATCH),
    "nested": (NESTED, {"x": X, "w": W, "trips": np.array(3)}),
}


@pytest.mark.parametrize("executor", ["walk", "bound"])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_finite_differences(case, executor):
    text, feeds = CASES[case]
    session = onnxwalk.load(onnx.parser.parse_model(text).SerializeToString(), executor=executor)
    names = [name for name, x in feeds.items() if x.dtype == np.float64]
    for _ in range(2):
        found = session.gradients("loss", names, feeds)
    for name, gradient in zip(names, found, strict=True):
        assert gradient.shape == feeds[name].shape
        for place in np.ndindex(gradient.shape):
            ends = []
            for step in (STEP, -STEP):
                moved = feeds[name].copy()
                moved[place] += step
                ends.append(session.run(["loss"], {**feeds, name: moved})[0])
            slope = (ends[0] - ends[1]) / (2 * STEP)
            assert gradient[place] == pytest.approx(slope, rel=1e-6, abs=1e-7), (name, place)


def test_random_numbers_in_a_body_are_refused():
    text = LOOP.replace("m = Mul(a, w)", "r = RandomNormalLike(a)\n m = Mul(r, w)")
    session = onnxwalk.load(onnx.parser.parse_model(text).SerializeToString())
    with pytest.raises(UnsupportedModelError, match="other random numbers"):
        session.gradients("loss", ["w"], CASES["loop"][1])


def test_a_growing_sequence_is_refused():
    session = onnxwalk.load(onnx.parser.parse_model(GROWING).SerializeToString())
    with pytest.raises(UnsupportedModelError, match=r"its state 'empty' is seq\(double\)"):
        session.gradients("loss", ["w"], CASES["loop"][1])
