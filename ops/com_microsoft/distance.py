"""Distances between points, and the cheapest way through a matrix of costs: CDist,
DynamicTimeWarping."""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import PER_CALL, PER_ITEM, multiply_adds
from onnxwalk.ops.shared.numeric import check_same_dtype


@op("CDist", since=1, domain=DOMAIN)
def c_dist(A, B, *, metric="sqeuclidean"):
    """C[m, k] = Σ (A[m, n] - B[k, n])², or with metric "euclidean" the square root of that

    A (M, N), B (K, N), float or double; C (M, K). Computed as |A[m]|² + |B[k]|² - 2·A[m]·B[k], as
    in ONNX Runtime: of points that are close together only the leading digits count.

    Source: com.microsoft.CDist-1, ONNX Runtime 1.32.
    """
    check_same_dtype(A, B)
    if A.ndim != 2 or B.ndim != 2 or A.shape[1] != B.shape[1]:
        raise ValueError(f"A {A.shape} and B {B.shape} should be (M, N) and (K, N)")
    squares = -2 * products.matmul(A, B.T)
    squares += np.square(A).sum(1)[:, None]
    squares += np.square(B).sum(1)
    np.abs(squares, out=squares)  # what is close to 0 may come out below it
    return np.sqrt(squares, out=squares) if metric == "euclidean" else squares


c_dist.choices({"metric": "sqeuclidean euclidean"})


@c_dist.vjp
def vjp_of_c_dist(dy, A, B, *, y, metric):
    """2·(A - B) for squares; for roots that divided by twice the distance, and 0 where it is 0."""
    if metric == "euclidean":
        dy = np.divide(dy, 2 * y, out=np.zeros_like(dy), where=y > 0)
    da = 2 * (dy.sum(1, keepdims=True) * A - products.matmul(dy, B))
    return da, 2 * (dy.sum(0)[:, None] * B - products.matmul(dy.T, A))


@vjp_of_c_dist.cost
def cost_of_vjp_of_c_dist(dy, A, B, *, y, metric):
    memory = A.itemsize * (3 * dy.size + 3 * (A.size + B.size)) + dy.size
    work = 2 * multiply_adds(A.shape[1] * dy.size, A.dtype)
    return Cost(memory, work + 40 * (dy.size + A.size + B.size))


@c_dist.cost
def cost_of_c_dist(A: np.ndarray, B: np.ndarray, *, metric: str = "sqeuclidean") -> Cost:
    """The distances, with the product; the squares of one of the inputs."""
    count = len(A) * len(B)
    memory = A.itemsize * (2 * count + max(A.size, B.size) + len(A) + len(B))
    work = multiply_adds(A.shape[1] * count, A.dtype) + 20 * (count + A.size + B.size)
    return Cost(memory, work + (20 * count if metric == "euclidean" else 0))


@c_dist.flops
def flops_of_c_dist(outputs, A, B, **_):
    return 3 * outputs[0].size * A.shape[1]


@op("DynamicTimeWarping", since=1, domain=DOMAIN)
def dynamic_time_warping(input):
    """The cheapest path from the first element of input (M, N) or (1, M, N) to the last

    One step goes down, right, or both, and its costs are the element that it leads to. The result,
    int32 (2, steps), lists the rows and the columns on the way. Of equally cheap predecessors the
    one to the left counts.

    Source: com.microsoft.DynamicTimeWarping-1, ONNX Runtime 1.32.
    """
    if input.ndim != 2 and not (input.ndim == 3 and len(input) == 1):
        raise ValueError(f"input {input.shape} should be (M, N) or (1, M, N)")
    rows, columns = input.shape[-2:]
    step, width = input.reshape(-1), columns + 1
    least = np.full((rows + 1) * width, np.inf, input.dtype)  # a row above, a column to the left
    least[:1] = 0
    moves = np.empty(least.size, np.int8)
    for diagonal in range(2, rows + columns + 1 if step.size else 0):
        # (i, diagonal - i), counted from 1: what precedes them lies on the two diagonals before
        first, last = max(1, diagonal - columns), min(rows, diagonal - 1)
        here = slice(diagonal + first * columns, diagonal + last * columns + 1, columns)
        both, up, left = (
            least[here.start - back : here.stop - back : columns] for back in (width + 1, width, 1)
        )
        moves[here] = np.where(
            (both < up) & (both < left), _BOTH, np.where((up < both) & (up < left), _UP, _LEFT)
        )
        before = np.choose(moves[here], [both, up, left])
        start = (first - 1) * columns + diagonal - first - 1
        stop = (last - 1) * columns + diagonal - last
        least[here] = before + step[start : stop : max(1, columns - 1)]
    path = []
    i, j = rows, columns
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        move = moves[i * width + j]
        i, j = i - (move != _LEFT), j - (move != _UP)
    return np.array(path[::-1], np.int32).reshape(-1, 2).T.copy()


_BOTH, _UP, _LEFT = range(3)


@dynamic_time_warping.cost
def cost_of_dynamic_time_warping(input: np.ndarray) -> Cost:
    """The costs and moves; the path as Python's numbers; a dozen calls for each diagonal."""
    rows, columns = input.shape[-2:]
    cells, steps = (rows + 1) * (columns + 1), rows + columns
    work = 100 * cells + steps * (12 * PER_CALL + 2 * PER_ITEM)
    return Cost(5 * cells + 200 * steps + 64 * min(rows, columns), work)


dynamic_time_warping.vjp(no_gradient)
