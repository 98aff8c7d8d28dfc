"""Layouts: what they do to an array, and back."""

import numpy as np
import pytest

from onnxwalk.interpreter.weights.layout import add_step, arrange, restore

X = np.arange(24.0).reshape(2, 3, 4)

LAYOUTS = [
    (),
    (("transpose", (2, 0, 1)),),
    (("reshape", (6, 4)), ("transpose", (1, 0))),
    (("blocks", 2, (0, 3, 1, 2)), ("transpose", (2, 1, 0)), ("reshape", (1, 12, 2))),
    (("blocks", 2, (1, 0)),),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_back_again(layout):
    np.testing.assert_array_equal(restore(arrange(X, layout), layout, X.shape), X)


def test_blocks():
    x = np.arange(8)
    assert arrange(x, (("blocks", 0, (0, 3, 1, 2)),)).tolist() == [0, 1, 6, 7, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "shape, steps, layout",
    [
        ((2, 3), [("transpose", (1, 0)), ("transpose", (1, 0))], ()),
        ((2, 3), [("reshape", (2, 3))], ()),
        ((4,), [("reshape", (1, 4)), ("transpose", (1, 0)), ("reshape", (4,))], ()),
        ((4,), [("reshape", (1, 1, 4)), ("transpose", (0, 2, 1))], (("reshape", (1, 4, 1)),)),
        ((2, 3, 4), [("transpose", (1, 0, 2)), ("transpose", (2, 0, 1))],
         (("transpose", (2, 1, 0)),)),
        ((2, 3), [("transpose", (1, 0)), ("reshape", (6,))],
         (("transpose", (1, 0)), ("reshape", (6,)))),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_left_out(shape, steps, layout):
    found = ()
    for step in steps:
        found = add_step(found, step, shape)
    assert found == layout
    x = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(arrange(x, found), arrange(x, tuple(steps)))


@pytest.mark.parametrize(
    "step",
    [("transpose", (0, 0, 1)), ("reshape", (5, 5)), ("blocks", 3, (0, 1)), ("blocks", 1, (0, 1)),
     ("blocks", 0, ()), ("turn", (1,))],
)  # fmt: skip
def test_steps_that_do_not_fit(step):
    with pytest.raises(ValueError, match=r"is no step from the shape \(2, 3, 4\)"):
        add_step((), step, X.shape)
