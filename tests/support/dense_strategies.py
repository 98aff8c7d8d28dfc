"""Random arrays for the dense families, and the comparison with ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import assume, settings
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as OrtNotImplemented

from tests.support.harness import (
    Case,
    assert_same,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)

modestly = settings(deadline=None, max_examples=50)

FLOATS = (np.float32, np.float64)
INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw: Any, dtype: Any, shape: Any = shapes, *, largest: int = 50, special: bool = True):
    """An array of moderate values (and nan, ±inf and -0 if special), maybe not contiguous."""
    dtype = np.dtype(dtype)
    if isinstance(shape, st.SearchStrategy):
        shape = draw(shape)
    if dtype.kind == "f":
        values = st.floats(-largest, largest, width=16)
        if special:
            values |= st.sampled_from([np.nan, np.inf, -np.inf, -0.0])
    elif dtype.kind == "b":
        values = st.booleans()
    else:
        values = st.integers(0 if dtype.kind == "u" else -largest, largest)
    x = draw(hnp.arrays(dtype, shape, elements=values))
    layout = draw(st.sampled_from(["contiguous", "transposed", "strided", "backwards"]))
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "strided" and x.ndim:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if layout == "backwards" and x.ndim:
        return np.ascontiguousarray(x[::-1])[::-1]
    return x


def check_with_onnxruntime(case: Case) -> None:
    """Equal to ONNX Runtime; an example that it says it has no kernel for is passed over."""
    # NumPy makes scalars of rank-0 results; ONNX Runtime takes arrays only
    inputs = [None if x is None else np.asarray(x) for x in case.inputs]
    case = replace(case, inputs=inputs)
    try:
        expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    except OrtNotImplemented:
        assume(False)
    assert_same(run_directly(case), expected, rtol=case.rtol, atol=case.atol)
