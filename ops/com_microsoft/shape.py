"""Operators that com.microsoft had before ai.onnx, or has in another form."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import creation, indexing, pool, shape, slicing
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost, no_cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import fill_cost, line_count
from onnxwalk.ops.shared.gradients import add_elements, cost_of_adding, numbered
from onnxwalk.ops.shared.values import as_int


@op("Trilu", since=1, domain=DOMAIN)
def trilu(X, k=None, *, upper=1):
    """The upper or lower triangles, as Trilu-14. Source: com.microsoft.Trilu-1."""
    return slicing.trilu(X, k, upper=upper)


@op("Pad", since=1, domain=DOMAIN)
def pad(data, pads, value=None, *, mode="constant"):
    """Pad-13, whose pads may also be (1, 2·rank). Source: com.microsoft.Pad-1."""
    if pads.ndim == 2 and len(pads) == 1:
        pads = pads[0]
    return slicing.pad_11(data, pads, value, mode=mode)


@op("ExpandDims", since=1, domain=DOMAIN)
def expand_dims(X, axis):
    """A new axis of size 1 where the result has ``axis``. Source: com.microsoft.ExpandDims-1."""
    return shape.unsqueeze(X, np.array([as_int(axis, "axis")]))


@op("GatherND", since=1, domain=DOMAIN)
def gather_nd(data, indices):
    """data at each of the places that indices lists, as GatherND-11.

    Source: com.microsoft.GatherND-1.
    """
    return indexing.gather_nd(data, indices)


@op("UnfoldTensor", since=1, domain=DOMAIN)
def unfold_tensor(input, *, dim=-1, size, step=1):
    """The slices of an axis, ``step`` apart: y[…, i, …, k] = x[…, i·step + k, …], k below ``size``

    x (…, D, …); y (…, (D - size)//step + 1, …, size): the elements of a slice lie along a new last
    axis.

    Source: com.microsoft.UnfoldTensor-1, ONNX Runtime 1.32.
    """
    axis = normalize_axis(dim, input.ndim)
    if not 1 <= size <= input.shape[axis] or step < 1:
        raise ValueError(
            f"size {size} should be from 1 to {input.shape[axis]}, the length of axis {axis}, and "
            f"step {step} positive"
        )
    slices = np.lib.stride_tricks.sliding_window_view(input, size, axis)
    return slices[(slice(None),) * axis + (slice(None, None, step),)].copy()


@op("SampleOp", since=1, domain=DOMAIN)
def sample_op(X):
    """X itself. Source: com.microsoft.SampleOp-1, ONNX Runtime 1.32."""
    return X


@op("Unique", since=1, domain=DOMAIN)
def unique(x):
    """The values of x (n) in the order in which they first occur, where in these each value of x
    is, and how often each occurs

    Source: com.microsoft.Unique-1, ONNX Runtime 1.32.
    """
    if x.ndim != 1:
        raise ValueError(f"x {x.shape} of Unique should be a vector")
    y, _, inverse, counts = indexing.unique(x, sorted=0)
    return y, inverse, counts


@unique.vjp
def vjp_of_unique(dy, dinverse, *, inverse, x_shape):
    """To the first occurrence of each value."""
    _, first = np.unique(inverse, return_index=True)
    return add_elements(dy, first, x_shape)


@op("Range", since=1, domain=DOMAIN)
def range_(start, limit, delta=None):
    """start, start + delta, … below limit (above, for a negative delta, which is 1 if missing)

    Source: com.microsoft.Range-1, ONNX Runtime 1.32.
    """
    return creation.range_(start, limit, np.ones((), start.dtype) if delta is None else delta)


@range_.vjp
def vjp_of_range(dy, *, start_shape, delta_shape):
    d_start, _, d_delta = creation.vjp_of_range(
        dy, start_shape=start_shape, delta_shape=delta_shape or ()
    )
    return d_start, None, None if delta_shape is None else d_delta


range_.no_gradient_of("limit")


@op("NhwcMaxPool", since=1, domain=DOMAIN)
@attributes_of(pool.max_pool, without=["storage_order", "n_outputs"])
def nhwc_max_pool(x, **attributes):
    """MaxPool of (N, D1 … Dn, C), int8 or uint8. Source: com.microsoft.NhwcMaxPool-1."""
    return np.moveaxis(pool.max_pool(np.moveaxis(x, -1, 1), **attributes), 1, -1)


@trilu.vjp
def vjp_of_trilu(dy, *, k, upper):
    return slicing.trilu(dy, k, upper=upper)


@expand_dims.vjp
def vjp_of_expand_dims(dy, *, X_shape):
    return dy.reshape(X_shape)


@gather_nd.vjp
def vjp_of_gather_nd(dy, *, data_shape, indices):
    return indexing.vjp_of_gather_nd(dy, data_shape=data_shape, indices=indices)


vjp_of_gather_nd.cost(lambda dy, *, data_shape, **_: cost_of_adding(dy, data_shape))


@pad.vjp
def vjp_of_pad(dy, *, data_shape, pads, value_shape, mode):
    keywords = {"data_shape": data_shape, "constant_value_shape": value_shape, "mode": mode}
    return slicing.vjp_of_pad(dy, pads=pads.reshape(-1), **keywords)


vjp_of_pad.cost(slicing.cost_of_vjp_of_pad)


@unfold_tensor.vjp
def vjp_of_unfold_tensor(dy, *, input_shape, dim, size, step):
    """Slices that overlap add up."""
    places = unfold_tensor(numbered(input_shape), dim=dim, size=size, step=step)
    return add_elements(dy, places, input_shape)


vjp_of_unfold_tensor.cost(lambda dy, *, input_shape, **_: cost_of_adding(dy, input_shape))


@sample_op.vjp
def vjp_of_sample_op(dy):
    return dy


# ------------------------------------------------------------------------------------------- costs

sample_op.cost(no_cost)
sample_op.batch_axis(batch.elementwise)
trilu.cost(slicing.cost_of_trilu)
expand_dims.cost(no_cost)
gather_nd.cost(indexing.cost_of_gather_nd)
unique.cost(indexing.cost_of_unique)


@pad.cost
def cost_of_pad(data: np.ndarray, pads: np.ndarray, *_: Any, mode: str = "constant") -> Cost:
    return slicing.cost_of_pad(data, pads, mode=mode)


@unfold_tensor.cost
def cost_of_unfold_tensor(input: np.ndarray, *, dim: int = -1, size: int, step: int = 1) -> Cost:
    count = line_count(input, dim) * max(0, (input.shape[dim] - size) // step + 1) * max(size, 0)
    return fill_cost([count], input.dtype)


@range_.cost
def cost_of_range(start: np.ndarray, limit: np.ndarray, delta: np.ndarray | None = None) -> Cost:
    step = np.ones((), start.dtype) if delta is None else delta
    return creation.cost_of_range(start, limit, step)


@nhwc_max_pool.cost
def cost_of_nhwc_max_pool(x: np.ndarray, **attributes: Any) -> Cost:
    return pool.cost_of_pool(np.moveaxis(x, -1, 1), **attributes)


declare(gather_nd, pad, range_, sample_op, unfold_tensor, flops=flops.zero)


# of whole numbers
declare(nhwc_max_pool, vjp=no_gradient)
