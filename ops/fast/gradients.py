"""Binders of the gradients of elementwise operators and of products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.space import Space, memory_order
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.products import bind_product

_PLAIN = (np.float32, np.float64)


def bind_relu_gradient(space: Space, dy: np.ndarray, *, y: np.ndarray) -> np.ndarray | None:
    """dy where y > 0, as a product: where a mask can't be foreseen, a selection takes longer."""
    if dy.dtype not in _PLAIN:
        return None
    dx, order = space.like(dy), memory_order(y)
    is_above = space.scratch([y.shape[axis] for axis in order], np.bool_)
    is_above = is_above.transpose(np.argsort(order)) if order else is_above
    space.call(np.greater, y, scalar(0, y.dtype), is_above)
    space.call(np.multiply, dy, is_above, dx)
    return dx


def bind_add_gradient(
    space: Space,
    dy: np.ndarray,
    *,
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    wanted: Sequence[bool],
) -> tuple[np.ndarray | None, ...] | None:
    if dy.dtype not in _PLAIN:
        return None
    shapes = zip((a_shape, b_shape), wanted, strict=True)
    return tuple(bind_reduce_to(space, dy, shape) if want else None for shape, want in shapes)


def bind_reduce_to(space: Space, dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """As ``reduce_to``. A sum over leading axes is a product with ones, which rounds in blocks."""
    if dy.shape == shape:
        return dy
    count = math.prod(shape)
    if shape == dy.shape[dy.ndim - len(shape) :] and dy.flags.c_contiguous and count:
        rows = dy.reshape(-1, count)
        result = space.array(shape, dy.dtype)
        bind_product(space, np.ones(len(rows), dy.dtype), rows, result.reshape(-1))
        return result
    return bind_by_calls(reduce_to, space, shape, dy, shape)


def bind_matmul_gradient(
    space: Space,
    dy: np.ndarray,
    a: np.ndarray | None,
    b: np.ndarray | None,
    *,
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    wanted: Sequence[bool],
) -> tuple[np.ndarray | None, ...] | None:
    """Of (…, M, K) @ (K, N): one product over all rows."""
    if dy.dtype not in _PLAIN or len(a_shape) < 2 or len(b_shape) != 2 or not dy.size:
        return None
    if not dy.flags.c_contiguous or (wanted[1] and a is not None and not a.flags.c_contiguous):
        return None
    da = db = None
    rows = dy.reshape(-1, dy.shape[-1])
    if wanted[0]:
        assert b is not None
        da = space.array(a_shape, dy.dtype)
        bind_product(space, rows, b.T, da.reshape(-1, a_shape[-1]))
    if wanted[1]:
        assert a is not None
        db = space.array(b_shape, dy.dtype)
        bind_product(space, a.reshape(-1, a_shape[-1]).T, rows, db)
    return da, db


def bind_gemm_gradient(
    space: Space,
    dy: np.ndarray,
    a: np.ndarray | None,
    b: np.ndarray | None,
    *,
    c_shape: tuple[int, ...] | None,
    alpha: float,
    beta: float,
    transA: int,
    transB: int,
    wanted: Sequence[bool],
) -> tuple[np.ndarray | None, ...] | None:
    if dy.dtype not in _PLAIN or not dy.size:
        return None
    da = db = dc = None
    if wanted[0]:
        assert b is not None
        other = b if transB else b.T
        da = _product(space, other.T, dy.T, alpha) if transA else _product(space, dy, other, alpha)
    if wanted[1]:
        assert a is not None
        other = a if transA else a.T
        db = _product(space, dy.T, other.T, alpha) if transB else _product(space, other, dy, alpha)
    if wanted[2]:
        assert c_shape is not None
        dc = bind_reduce_to(space, dy, c_shape)
        if beta != 1:
            scaled = space.array(dc.shape, dc.dtype)
            space.call(np.multiply, dc, scalar(beta, dc.dtype), scaled)
            dc = scaled
    return da, db, dc


def _product(space: Space, a: np.ndarray, b: np.ndarray, alpha: float) -> np.ndarray:
    y = space.array((len(a), b.shape[1]), a.dtype)
    bind_product(space, a, b, y)
    if alpha != 1:
        space.call(np.multiply, y, scalar(alpha, y.dtype), y)
    return y


def bind_by_calls(function: Any, space: Space, shape: Sequence[int], *operands: Any) -> np.ndarray:
    """Memory that a function's result is copied to in every run."""
    result = space.array(shape, operands[0].dtype)
    space.call(_copy_result, result, function, *operands)
    return result


def _copy_result(into: np.ndarray, function: Any, *operands: Any) -> None:
    np.copyto(into, function(*operands))
