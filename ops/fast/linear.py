"""Products bound to their shapes."""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.calls import scalar
from onnxwalk.ops.shared.products import bind_product, lay_out


def bind_matmul(space: Space, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    if a.dtype != b.dtype or a.dtype not in (np.float32, np.float64) or min(a.ndim, b.ndim) < 2:
        return None
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if a.shape[-1] != b.shape[-2]:
        return None
    y = space.array(shape, a.dtype)
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:
        # One product with the matrix instead of one for each of the leading axes.
        bind_product(space, a.reshape(-1, a.shape[-1]), b, y.reshape(-1, b.shape[-1]))
    else:
        bind_product(space, a, b, y)
    return y


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
    is_constant = space.is_constant(b)
    a, b = a.T if transA else a, b.T if transB else b
    shape = (a.shape[0], b.shape[1])
    if a.shape[1] != b.shape[0]:
        return None
    if c is not None and np.broadcast_shapes(shape, c.shape) != shape:
        return None
    y = space.array(shape, a.dtype)
    bind_product(space, a, lay_out(b) if is_constant else b, y)
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
