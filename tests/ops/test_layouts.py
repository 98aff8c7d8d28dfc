"""No operator cares how its inputs lie in memory, and none writes into them: all cases again, with
inputs in Fortran order, with gaps, backwards, and read-only; and plans of square inputs, whose
shapes don't say which axis is which."""

from dataclasses import replace

import numpy as np
import pytest

import onnxwalk
from tests.support.harness import (
    all_cases,
    assert_same,
    feeds_of,
    one_node_model,
    run_directly,
    with_constants,
)

LAYOUTS = {
    "Fortran": np.asfortranarray,
    "with gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: np.ascontiguousarray(np.flip(x))[(slice(None, None, -1),) * x.ndim],
}


def change_layout(x, layout):
    """The value, or the tensors in it, in another layout and read-only."""
    if isinstance(x, list):
        return [change_layout(item, layout) for item in x]
    if x is None or isinstance(x, dict):
        return x
    x = np.array(x)  # a copy: other tests use the case's array
    y = LAYOUTS[layout](x) if x.ndim else x
    y.flags.writeable = False
    return y


def largest(outputs):
    """The largest finite value: products are added up in another order in another layout."""
    floats = [y for y in outputs if isinstance(y, np.ndarray) and y.dtype.kind == "f"]
    return max((np.abs(y[np.isfinite(y)]).max(initial=0) for y in floats), default=0)


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_layouts(case):
    expected = run_directly(case)
    near = max(case.atol, 1e-6 * largest(expected))
    for layout in LAYOUTS:
        inputs = [change_layout(x, layout) for x in case.inputs]
        found = run_directly(replace(case, inputs=inputs))
        assert_same(found, expected, rtol=case.rtol, atol=near)


def in_square(case):
    """The case with a size of 3 along every axis, so that shapes can't tell two axes apart, and
    what the walk of it gives: None if the operator refuses such inputs."""
    rng = np.random.default_rng(0)

    def resized(x):
        if not isinstance(x, np.ndarray) or not x.ndim or not x.size:
            return x
        if x.dtype.kind == "f":
            return rng.normal(size=(3,) * x.ndim).astype(x.dtype)
        if x.dtype.kind in "iub" and x.ndim > 1:
            low, high = int(x.min()), int(x.max())
            return rng.integers(low, high, (3,) * x.ndim, endpoint=True).astype(x.dtype)
        return x

    square = replace(case, inputs=[resized(x) for x in case.inputs])
    try:
        session = onnxwalk.load(one_node_model(square), optimize=False, seed=0)
        return square, session.run(None, feeds_of(square))
    except onnxwalk.OnnxWalkError:
        return square, None


def channels_last(x):
    return np.moveaxis(
        np.ascontiguousarray(np.moveaxis(x, min(1, x.ndim - 1), -1)), -1, min(1, x.ndim - 1)
    )


#: one of the newest version of each operator and ranks, with other attributes each
NEWEST = {
    (case.domain, case.operator, str(case.attributes), *map(np.ndim, case.inputs)): case
    for case in sorted(all_cases(), key=lambda case: case.opset)
    if not any(isinstance(x, list | dict) for x in case.inputs)
    and not any(callable(value) for value in case.attributes.values())
    and case.operator not in ("Bernoulli", "Multinomial")  # another answer each time
    and "Optional" not in case.operator  # no constant is of their types
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", NEWEST.values(), ids=str)
def test_plans_of_square_inputs(case):
    square, expected = in_square(case)
    if expected is None:
        return  # the operator refuses these shapes
    rounding = 1e-3 if any(x.dtype.itemsize == 2 for x in square.inputs if x is not None) else 1e-5
    near = max(case.atol, rounding * largest(expected))
    for known in (set(), {0}, set(range(1, len(square.inputs)))):
        model = with_constants(square, known)
        for layout in (np.ascontiguousarray, np.asfortranarray, channels_last):
            session = onnxwalk.load(model, seed=0)  # its first run binds it to the layout
            feeds = {
                name: layout(x) if isinstance(x, np.ndarray) and x.ndim else x
                for name, x in feeds_of(square).items()
                if name in {value.name for value in session.inputs}
            }
            assert_same(session.run(None, feeds), expected, rtol=rounding, atol=near)
