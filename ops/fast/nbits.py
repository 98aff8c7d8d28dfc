"""Products with weights of few bits, unpacked when a plan is first bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxwalk.ops.contract.space import Bind, Space
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.products import bind_product


def unpack_nibbles(rows: np.ndarray) -> np.ndarray:
    """The two numbers of four bits in each byte of the last axis, the lower bits first; uint8."""
    spread = rows.astype("<u2", "C")
    high = np.left_shift(spread, 4)
    np.bitwise_or(spread, high, spread)
    np.bitwise_and(spread, 0x0F0F, spread)
    return spread.view(np.uint8)


#: numbers of a line of the cache
_LINE = 16


def product_binder(
    depth: int,
    columns: int,
    bias: np.ndarray | None,
    unpack: Callable[[int, int], np.ndarray],
    step: int,
) -> Bind:
    """The binder of A @ W' + bias, where ``unpack(start, stop)`` returns some rows of W (N, K).

    All of W' in float32 is kept for all runs, unless the memory limit forbids it: then each run
    unpacks ``step`` rows at a time.
    """
    kept: list[np.ndarray] = []

    def bind(space: Space, A: np.ndarray) -> np.ndarray | None:
        if A.dtype != np.float32 or A.shape[-1:] != (depth,) or not columns:
            return None
        if not kept and _may_use(space, 4 * depth * columns):
            weights = np.empty((depth, columns), np.float32)  # as W: a row of x takes twice as long
            # With a line of the cache between them, rows of a power of two don't meet in one set
            # of the cache when they are read across: half of the time.
            apart = np.empty((min(step, columns), depth + _LINE), np.float32)[:, :depth]
            for start in range(0, columns, step):
                stop = min(start + step, columns)
                rows = apart[: stop - start]
                np.copyto(rows, unpack(start, stop))
                weights[:, start:stop] = rows.T
            kept.append(weights)
        y = space.array((*A.shape[:-1], columns), A.dtype)
        x, result = A.reshape(-1, depth), y.reshape(-1, columns)
        if kept:
            bind_product(space, x, kept[0], result)
        else:
            for start in range(0, columns, step):
                stop = min(start + step, columns)
                space.call(_multiply_packed, x, unpack, start, stop, result[:, start:stop])
        if bias is not None:
            space.call(np.add, result, bias, result)
        return y

    return bind


def _may_use(space: Space, nbytes: int) -> bool:
    """Whether the limits allow so much memory."""
    if space.arena.reserve is not None:
        try:
            space.arena.reserve(nbytes)
        except Exception:  # its class belongs to whoever sets the limits
            return False
    return True


def _multiply_packed(
    x: np.ndarray, unpack: Callable[..., np.ndarray], start: int, stop: int, y: np.ndarray
) -> None:
    products.matmul(x, unpack(start, stop).T, y)
