"""Matrix products, by whatever this NumPy multiplies fastest with.

Every product of floats goes through here. With BLAS ``matmul`` *is* ``numpy.matmul``, and nothing
else in this file is used. Some builds have no BLAS, Pyodide's for browsers for one. There
numpy.matmul computes one result after the other, and each addition waits for the one before it,
while ``einsum`` adds up four products at a time. In Pyodide (NumPy 2.0.2, Node 20) a multiplication
with its addition takes

* 0.5 ns in matmul where 32 of them are added up, 0.7 where 128, 1.0 to 1.4 where 1,000, and up to 5
  where a column has strides of 1 KB and more, each number of it in another line of the cache;
* 0.36 ns in einsum, and 6 ns more for each of its inner loops, which so should be long ones;
* 0.8 to 1.7 ns in einsum where other axes come before those of the matrices: a call for each matrix
  takes less;
* 0.9 ns in ``dot`` and ``inner``, 0.6 in ``correlate``, and no less in float64 than in float32.

Calls take 1 µs in matmul and 2.5 in einsum. These numbers are measured once per process, before
the first product without BLAS, in a few ms; the form of each product follows from them, from its
shape, and from how its operands lie in memory.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.contract.space import Space

try:  # np.einsum without its search for a contraction order
    from numpy._core.multiarray import c_einsum
except ImportError:
    c_einsum = np.einsum  # type: ignore[assignment]

#: a function and its operands
Call = tuple[Callable[..., Any], tuple[Any, ...]]
#: memory(shape, dtype) for operands that are laid out anew, and results
Memory = Callable[[Sequence[int], np.dtype], np.ndarray]


def _was_built_with_blas() -> bool:
    """What NumPy's build says; True where it says nothing."""
    try:
        from numpy.__config__ import CONFIG  # type: ignore[attr-defined]

        return bool(CONFIG["Build Dependencies"]["blas"].get("found"))
    except (ImportError, LookupError, TypeError, AttributeError):
        return True


#: Whether products are left to numpy.matmul. Read whenever a product is computed or bound.
has_blas: bool = _was_built_with_blas()


#: multiplications below which there is more to lose by looking for a form than to gain
_FEW = 1 << 14


def _matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> Any:
    """As numpy.matmul."""
    work = a.size * (b.shape[-1] if b.ndim > 1 else 1)
    if work < _FEW or not _is_plain(a, b) or not _fit(a, b):
        return np.matmul(a, b, out)
    if out is None:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out = np.empty((*batch, *a.shape[-2:-1], *(b.shape[-1:] if b.ndim > 1 else ())), a.dtype)
    elif not _is_plain(a, out) or _overlap(out, a, b):
        return np.matmul(a, b, out)
    for function, operands in _calls(a, b, out, np.empty):
        function(*operands)
    return out if out.ndim else out[()]


#: matmul(a, b, out=None). Looked up in this module by whoever calls it, as ``products.matmul``.
matmul: Callable[..., Any] = np.matmul if has_blas else _matmul


def bind_product(space: Space, a: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:
    """Record the calls that write a @ b to y."""
    if has_blas or not _is_plain(a, b, y) or _overlap(y, a, b):
        space.call(np.matmul, a, b, y)
        return
    if space.is_constant(b):
        b = lay_out(b)
    taken: list[np.ndarray] = []

    def scratch(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        taken.append(space.scratch(shape, dtype))
        return taken[-1]

    for function, operands in _calls(a, b, y, scratch):
        space.call(function, *operands)
    for array in taken:
        space.free_scratch(array)


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Callable[[], Any]:
    """A call without arguments that writes a @ b to ``out``: arrays that stay where they are."""
    if has_blas or not _is_plain(a, b, out) or _overlap(out, a, b):
        return partial(np.matmul, a, b, out)
    calls = [partial(f, *given) for f, given in _calls(a, b, out, np.empty)]
    return calls[0] if len(calls) == 1 else partial(_make, calls)


def rows_apart(rows: np.ndarray, b: np.ndarray) -> np.ndarray:
    """rows @ b of matrices, each row rounded as if it were the only one."""
    if has_blas or not _is_plain(rows, b):
        return np.matmul(rows[:, None], b)[:, 0]
    return c_einsum("ik,kj->ij", rows, b)  # type: ignore[no-any-return]


def times(b: np.ndarray) -> Callable[[np.ndarray], Callable[..., Any]]:
    """A function of a vector, which returns the function (b, out) that writes vector @ b, in the
    fastest call. Without BLAS that reads a copy of b, as it is now: numbers that are read once come
    from a farther cache, which sums of products (9 µs for 64 by 256) wait for less than sums of
    rows (13; matmul 11)."""
    run = (True, True)
    if has_blas or not _is_plain(b) or not _choose(1, 1, *b.shape, run, (True, False), run):
        return lambda vector: vector.dot  # type: ignore[no-any-return]
    columns = np.ascontiguousarray(b.T)
    return lambda vector: partial(_einsum_columns, vector, columns)


def _einsum_columns(row: np.ndarray, columns: np.ndarray, _: Any, out: np.ndarray) -> None:
    c_einsum("k,jk->j", row, columns, out=out)


def is_faster_joined(directions: int, rows: int, hidden: int, gates: int) -> bool:
    """Whether ``gates`` products (directions, rows, hidden) @ (directions, hidden, hidden) by one
    matmul take longer than one einsum for each direction, and a copy of its results."""
    if has_blas:
        return False
    ns, work = speed(), rows * hidden * gates * hidden
    each = ns.einsum_call + ns.einsum_loop * rows * hidden + ns.einsum * work
    copy = ns.copy_call + ns.copy * directions * rows * gates * hidden
    return directions * each + copy < _time_of_matmul(directions * work, hidden)


def _make(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def lay_out(b: np.ndarray) -> np.ndarray:
    """A constant (…, K, N) in the layout in which it is multiplied fastest: where there is no BLAS,
    with the longer of the two axes as a run of memory."""
    if has_blas or b.ndim < 2 or not _is_plain(b):
        return b
    if b.shape[-1] >= b.shape[-2]:
        return np.ascontiguousarray(b)
    return np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)


# --------------------------------------------------------------------------------- where no BLAS is


class Speed(NamedTuple):
    """Nanoseconds of what products are made of, with the types of float32 and float64."""

    matmul_call: float
    matmul_short: float  # a multiplication where _SHORT are added up
    matmul_long: float  # … where _LONG are
    einsum_call: float
    einsum_loop: float  # each inner loop
    einsum: float  # a multiplication
    copy_call: float
    copy: float  # an element, transposed


_SHORT, _LONG = 32, 256


@functools.cache
def speed() -> Speed:
    """Measured once, in a few ms. In a browser all of it takes two to three times as long then as
    when the code has run for a while and is translated anew, but the proportions are the same."""

    def measure(multiply: Callable[..., Any], m: int, k: int, n: int) -> float:
        a, b, y = (np.ones(shape, np.float32) for shape in ((m, k), (k, n), (m, n)))
        times = []
        for _ in range(3):
            begun = time.perf_counter_ns()
            for _ in range(2):
                multiply(a, b, y)
            times.append((time.perf_counter_ns() - begun) / 2)
        return min(times)

    matmul_call, einsum_call = measure(np.matmul, 1, 1, 1), measure(_einsum_rows, 1, 1, 1)
    size = 1 << 14
    short, long = measure(np.matmul, 16, _SHORT, 32), measure(np.matmul, 8, _LONG, 8)
    # the same multiplications in inner loops of 16 and of 512
    often, seldom = measure(_einsum_rows, 32, 32, 16), measure(_einsum_rows, 4, 8, 512)
    loop = max(0.0, (often - seldom) / (32 * 32 - 4 * 8))
    copy_call, copy = measure(_copy, 1, 1, 1), measure(_copy, 64, 64, 64)
    return Speed(
        matmul_call,
        max(0.01, short - matmul_call) / size,
        max(0.01, long - matmul_call) / size,
        einsum_call,
        loop,
        max(0.01, seldom - einsum_call - loop * 4 * 8) / size,
        copy_call,
        max(0.01, copy - copy_call) / 64**2,
    )


def _einsum_rows(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:
    c_einsum("ik,kj->ij", a, b, out=y)


def _copy(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:
    np.copyto(y, a.T)


def _is_plain(*arrays: np.ndarray) -> bool:
    first = arrays[0].dtype
    return first.char in "fd" and all(
        x.dtype == first and x.flags.aligned and x.size and x.ndim for x in arrays
    )


def _fit(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape[-1] == b.shape[-min(b.ndim, 2)]


def _overlap(out: np.ndarray, *others: np.ndarray) -> bool:
    return any(np.may_share_memory(out, x) for x in others)


def _calls(a: np.ndarray, b: np.ndarray, y: np.ndarray, memory: Memory) -> Iterator[Call]:
    """The calls that write a @ b to y, which has no memory in common with them."""
    given = a, b, y
    if b.ndim == 1:
        b, y = b[:, None], y[..., None]
    if a.ndim == 1:
        a, y = a[None], y[..., None, :]
    if b.ndim == 2 and a.ndim > 2:  # one product over all rows, where they lie in one run
        rows, results = _merged(a), _merged(y)
        if rows is not None and results is not None:
            a, y = rows, results
    batch = y.shape[:-2]
    if any(n > 1 for n in batch):
        a, b = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
    else:
        a, b, y = (x.reshape(x.shape[-2:]) for x in (a, b, y))
        batch = ()
    places = list(itertools.product(*map(range, batch)))
    (m, k), n = a.shape[-2:], b.shape[-1]
    form = _choose(len(places), m, k, n, _runs(a), _runs(b), _runs(y))
    if form == "":
        yield np.matmul, given
        return
    for place in places:
        yield from _by_einsum(form, a[place], b[place], y[place], memory)


def _merged(x: np.ndarray) -> np.ndarray | None:
    """(…, M, K) as a view (… · M, K); ``None`` where there is none."""
    if x.flags.c_contiguous:
        return x.reshape(-1, x.shape[-1])
    for axis in range(x.ndim - 2):
        if x.strides[axis] != x.shape[axis + 1] * x.strides[axis + 1]:
            return None
    return x.reshape(-1, x.shape[-1])


def _runs(x: np.ndarray) -> tuple[bool, bool]:
    """Whether each of the last two axes is a run of memory."""
    return tuple(  # type: ignore[return-value]
        n == 1 or stride == x.itemsize
        for n, stride in zip(x.shape[-2:], x.strides[-2:], strict=True)
    )


@functools.lru_cache(maxsize=4096)
def _choose(
    count: int,
    m: int,
    k: int,
    n: int,
    a_runs: tuple[bool, bool],
    b_runs: tuple[bool, bool],
    y_runs: tuple[bool, bool],
) -> str:
    """The axis of (m, k) @ (k, n) along which einsum's inner loop is to run, one of i, k and j;
    "" if matmul is faster. ``count``: of matrices."""
    ns = speed()
    work = m * k * n

    def copies(*needed: tuple[bool, int]) -> float:
        return sum(ns.copy_call + ns.copy * size for is_run, size in needed if not is_run)

    every = ns.einsum_call + ns.einsum * work
    costs = {
        "j": every + ns.einsum_loop * m * k + copies((b_runs[1], k * n), (y_runs[1], m * n)),
        "k": every + ns.einsum_loop * m * n + copies((a_runs[1], m * k), (b_runs[0], k * n)),
        "i": every + ns.einsum_loop * k * n + copies((a_runs[0], m * k), (y_runs[0], m * n)),
    }
    best = min(costs, key=lambda axis: costs[axis])
    return best if count * costs[best] < _time_of_matmul(count * work, k) else ""


def _time_of_matmul(work: int, k: int) -> float:
    ns = speed()
    length = min(max(k - _SHORT, 0) / (_LONG - _SHORT), 1)
    return ns.matmul_call + work * (ns.matmul_short + (ns.matmul_long - ns.matmul_short) * length)


def _by_einsum(
    axis: str, a: np.ndarray, b: np.ndarray, y: np.ndarray, memory: Memory
) -> Iterator[Call]:
    """The product of two matrices in inner loops along this axis, in which operands that don't lie
    so are copied. NumPy takes as the inner axis the one in which the strides are smallest."""
    if axis == "i":
        a, b, y = b.T, a.T, y.T  # (n, k) @ (k, m)
    into = y
    if axis == "k":
        operands = [a, b.T]
    else:
        operands = [a, b]
        if not _runs(y)[1]:
            into = memory(y.shape, y.dtype)
    for place, x in enumerate(operands):
        if (axis == "k" or place == 1) and not _runs(x)[1]:
            operands[place] = memory(x.shape, x.dtype)
            yield np.copyto, (operands[place], x)
    letters = "ik,jk->ij" if axis == "k" else "ik,kj->ij"
    yield partial(c_einsum, out=into), (letters, *operands)
    if into is not y:
        yield np.copyto, (y, into)
