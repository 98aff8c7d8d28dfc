"""No operator cares how its inputs lie in memory, and none writes into them: all cases again, with
inputs in Fortran order, with gaps, backwards, and read-only."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.harness import all_cases, assert_same, run_directly

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
