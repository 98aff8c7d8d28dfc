"""Scatter, ScatterElements and ScatterND: updates put into a copy of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.indexing import element_indices, flat_index, split_index_tuples
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import flops
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import CHEAP, reshape_bytes
from onnxwalk.ops.shared.gradients import add_elements, cost_of_adding, numbered

_REDUCTIONS: dict[str, np.ufunc] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _get_ufunc(name: str, allowed: Sequence[str], dtype: np.dtype) -> np.ufunc | None:
    if name == "none":
        return None
    if name not in allowed:
        raise ValueError(f"reduction {name!r} should be one of {', '.join(('none', *allowed))}")
    if name == "mul" and dtype.kind == "O":
        raise ValueError("reduction 'mul' is undefined for strings")
    return _REDUCTIONS[name]


def _scatter(
    data: np.ndarray, places: Sequence[np.ndarray], updates: np.ndarray, reduce: np.ufunc | None
) -> np.ndarray:
    """A copy of ``data`` with the updates at ``places`` on its first axes, in order."""
    result = data.copy(order="C")
    if updates.dtype != data.dtype:
        raise ValueError(f"can't scatter {updates.dtype} into {data.dtype}")
    flat = flat_index(places, data.shape).reshape(-1)
    rows = result.reshape(math.prod(data.shape[: len(places)]), *data.shape[len(places) :])
    updates = updates.reshape(flat.size, *rows.shape[1:])
    if reduce is None:
        rows[flat] = updates
    else:
        reduce.at(rows, flat, updates)
    return result


@op("ScatterElements", since=18)
def scatter_elements(data, indices, updates, *, axis=0, reduction="none"):
    """A copy of ``data`` with y[indices[i, j], j] = updates[i, j] for axis 0, and so on.

    With a ``reduction`` (add, mul, max, min), y = reduction(y, update). Spec: ScatterElements-18.
    """
    return _scatter_elements(data, indices, updates, axis, reduction, tuple(_REDUCTIONS))


@op("ScatterElements", since=16)
def scatter_elements_16(data, indices, updates, *, axis=0, reduction="none"):
    """ScatterElements when it could add and multiply only. Spec: ScatterElements-16."""
    return _scatter_elements(data, indices, updates, axis, reduction, ("add", "mul"))


@op("Scatter", since=9)
@op("ScatterElements", since=11)
def scatter(data, indices, updates, *, axis=0):
    """ScatterElements without a reduction. Spec: Scatter-9, Scatter-11, ScatterElements-11."""
    return _scatter_elements(data, indices, updates, axis, "none", ())


def _scatter_elements(
    data: np.ndarray,
    indices: np.ndarray,
    updates: np.ndarray,
    axis: int,
    reduction: str,
    allowed: Sequence[str],
) -> np.ndarray:
    reduce = _get_ufunc(reduction, allowed, data.dtype)
    if indices.shape != updates.shape:
        raise ValueError(
            f"indices {indices.shape} and updates {updates.shape} should have the same shape"
        )
    places = element_indices(data, indices, normalize_axis(axis, data.ndim))
    return _scatter(data, places, updates, reduce)


@op("ScatterND", since=18)
def scatter_nd(data, indices, updates, *, reduction="none"):
    """A copy of ``data`` with y[tuple(indices[i, j])] = updates[i, j].

    With a ``reduction`` (add, mul, max, min), y = reduction(y, update). Spec: ScatterND-18.
    """
    return _scatter_nd(data, indices, updates, reduction, tuple(_REDUCTIONS))


@op("ScatterND", since=16)
def scatter_nd_16(data, indices, updates, *, reduction="none"):
    """ScatterND when it could add and multiply only. Spec: ScatterND-16."""
    return _scatter_nd(data, indices, updates, reduction, ("add", "mul"))


@op("ScatterND", since=11)
def scatter_nd_11(data, indices, updates):
    """ScatterND without a reduction. Spec: ScatterND-11."""
    return _scatter_nd(data, indices, updates, "none", ())


def _scatter_nd(
    data: np.ndarray,
    indices: np.ndarray,
    updates: np.ndarray,
    reduction: str,
    allowed: Sequence[str],
) -> np.ndarray:
    reduce = _get_ufunc(reduction, allowed, data.dtype)
    places = split_index_tuples(data.shape, indices)
    expected = indices.shape[:-1] + data.shape[len(places) :]
    if updates.shape != expected:
        raise ValueError(f"updates {updates.shape} should be {expected}")
    return _scatter(data, places, updates, reduce)


@scatter.vjp
@scatter_elements.vjp
@scatter_elements_16.vjp
def vjp_of_scatter_elements(dy, data, indices, updates, *, y, axis, reduction="none"):
    def put(x, values, how):
        return _scatter_elements(x, indices, values, axis, how, tuple(_REDUCTIONS))

    places = element_indices(data, indices, normalize_axis(axis, data.ndim))
    return _through_scatter(dy, data, updates, y, places, put, reduction)


@scatter_nd.vjp
@scatter_nd_16.vjp
@scatter_nd_11.vjp
def vjp_of_scatter_nd(dy, data, indices, updates, *, y, reduction="none"):
    def put(x, values, how):
        return _scatter_nd(x, indices, values, how, tuple(_REDUCTIONS))

    places = tuple(split_index_tuples(data.shape, indices))
    return _through_scatter(dy, data, updates, y, places, put, reduction)


def _through_scatter(
    dy: np.ndarray,
    data: np.ndarray,
    updates: np.ndarray,
    y: np.ndarray,
    places: tuple[np.ndarray, ...],
    put: Callable[..., np.ndarray],
    reduction: str,
) -> tuple[np.ndarray, None, np.ndarray]:
    """``put(x, values, reduction)`` scatters the values into x, and ``places`` reads there."""
    if reduction == "none":  # who wrote an element is the last that did
        written = put(numbered(data.shape), numbered(updates.shape, data.size), "none")
        d_data = np.where(written < data.size, dy, 0)
        return d_data, None, add_elements(dy, written - data.size, updates.shape)
    if reduction == "add":
        return dy, None, dy[places].reshape(updates.shape)
    if reduction in ("max", "min"):  # shared equally by all that are the result
        won = data == y, updates == y[places].reshape(updates.shape)
        share = dy / np.maximum(put(*(w.astype(dy.dtype) for w in won), "add"), 1)
        return won[0] * share, None, won[1] * share[places].reshape(updates.shape)
    # the product of the others: without those that are 0, unless it is the only one
    zeros = put(*((x == 0).astype(dy.dtype) for x in (data, updates)), "add")
    rest = put(*(np.where(x == 0, 1, x) for x in (data, updates)), "mul") * dy

    def of_others(x: np.ndarray, rest: np.ndarray, zeros: np.ndarray) -> np.ndarray:
        return np.where(zeros == (x == 0), rest / np.where(x == 0, 1, x), 0)

    at = (a[places].reshape(updates.shape) for a in (rest, zeros))
    return of_others(data, rest, zeros), None, of_others(updates, *at)


@vjp_of_scatter_elements.cost
@vjp_of_scatter_nd.cost
def cost_of_vjp_of_scatter(dy, data, indices, updates, **_):
    """The numbers of all elements; or a few arrays of both sizes; and the places."""
    cost = cost_of_adding(dy, data.shape, updates.shape)
    return Cost(2 * cost.memory + 40 * indices.size, 2 * cost.work + 400 * updates.size)


@scatter.cost
@scatter_elements.cost
@scatter_elements_16.cost
@scatter_nd.cost
@scatter_nd_16.cost
@scatter_nd_11.cost
def cost_of_scatter(
    data: np.ndarray,
    indices: np.ndarray,
    updates: np.ndarray,
    *,
    reduction: str = "none",
    **_: Any,
) -> Cost:
    """A copy of data; non-negative indices, times their strides, added up; the updates, and a copy
    of them to look up what they change."""
    memory = data.nbytes + 33 * indices.size + reshape_bytes(updates)
    each = 40 if reduction == "none" else 400
    return Cost(memory, CHEAP * data.size + 60 * indices.size + each * updates.size)


declare(
    scatter, scatter_elements, scatter_elements_16, scatter_nd,
    scatter_nd_16, scatter_nd_11, flops=flops.zero,
)  # fmt: skip


declare(scatter_elements, scatter_nd, choices={"reduction": "none add mul max min"})


declare(
    scatter_elements_16,
    scatter_nd_16,
    choices={"reduction": "none add mul"},
)
