"""Products bound to their shapes."""

from __future__ import annotations

import numpy as np

from ops import activation as _activation
from ops import linear as _linear
from ops._axes import normalize_axis
from ops.fast.calls import scalar
from ops.space import Space


@_linear.matmul.bind
def bind_matmul(space: Space, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    if a.dtype != b.dtype or a.dtype not in (np.float32, np.float64) or min(a.ndim, b.ndim) < 2:
        return None
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if a.shape[-1] != b.shape[-2]:
        return None
    y = space.array(shape, a.dtype)
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:
        # One product with the matrix instead of one for each of the leading axes.
        space.call(np.matmul, a.reshape(-1, a.shape[-1]), b, y.reshape(-1, b.shape[-1]))
    else:
        space.call(np.matmul, a, b, y)
    return y


@_linear.gemm.bind
def bind_gemm(
    space: Space,
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> np.ndarray | None:
    if a.dtype not in (np.float32, np.float64) or a.ndim != 2 or b.ndim != 2:
        return None
    if any(x is not None and x.dtype != a.dtype for x in (b, c)):
        return None
    a, b = a.T if transA else a, b.T if transB else b
    shape = (a.shape[0], b.shape[1])
    if a.shape[1] != b.shape[0]:
        return None
    if c is not None and np.broadcast_shapes(shape, c.shape) != shape:
        return None
    y = space.array(shape, a.dtype)
    space.call(np.matmul, a, b, y)
    if alpha != 1:
        space.call(np.multiply, y, scalar(alpha, y.dtype), y)
    if c is None or beta == 0:
        return y
    if beta == 1:
        space.call(np.add, y, c, y)
    else:
        scaled = space.scratch(c.shape, c.dtype)
        space.call(np.multiply, c, scalar(beta, c.dtype), scaled)
        space.call(np.add, y, scaled, y)
    return y


#: rows of a softmax that are worked on at a time stay in the cache
_BLOCK = 1 << 16


@_activation.softmax.bind
def bind_softmax(space: Space, x: np.ndarray, *, axis: int = -1) -> np.ndarray | None:
    if x.dtype not in (np.float32, np.float64) or x.size == 0:
        return None
    axis = normalize_axis(axis, x.ndim)
    y = space.like(x)
    if axis == x.ndim - 1 and x.flags.c_contiguous and y.flags.c_contiguous:
        rows, results = x.reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1])
        step = max(1, _BLOCK // x.shape[-1])
        for start in range(0, len(rows), step):
            _softmax(space, rows[start : start + step], results[start : start + step], 1)
    else:
        _softmax(space, x, y, axis)
    return y


def _softmax(space: Space, x: np.ndarray, y: np.ndarray, axis: int) -> None:
    line = [*x.shape]
    line[axis] = 1
    extreme = space.scratch(line, x.dtype)
    # positional: (array, axis, dtype, out, keepdims)
    space.call(np.maximum.reduce, x, axis, None, extreme, True)
    space.call(np.subtract, x, extreme, y)
    space.call(np.exp, y, y)
    space.call(np.add.reduce, y, axis, None, extreme, True)
    space.call(np.divide, y, extreme, y)
