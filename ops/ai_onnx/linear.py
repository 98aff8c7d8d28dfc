"""Matrix products and determinants: Gemm, MatMul, Einsum, Det."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, broadcast, size
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.fast.gradients import bind_gemm_gradient, bind_matmul_gradient
from onnxwalk.ops.fast.linear import bind_gemm, bind_matmul
from onnxwalk.ops.shared import batch, flops, products
from onnxwalk.ops.shared.cost import (
    PER_ITEM,
    multiply_adds,
    product_shape,
    product_work,
    reshape_bytes,
    wide_copies,
    wide_itemsize,
)
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.numeric import check_same_dtype, in_float32, wide


@op("Gemm", since=11)
@in_float32
def gemm(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> np.ndarray:
    """alpha·A·B + beta·C, with A or B transposed first if transA or transB is set.

    A is M×K (transA: K×M), B is K×N (transB: N×K), C broadcasts to M×N. Spec: Gemm-11, -13.
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"A and B of Gemm must be matrices, not of shape {a.shape} and {b.shape}")
    check_same_dtype(a, b)
    y = products.matmul(a.T if transA else a, b.T if transB else b)
    if alpha != 1:
        y = _scale(y, alpha)
    if c is not None:
        check_same_dtype(a, c)
        if np.broadcast_shapes(y.shape, c.shape) != y.shape:
            raise ValueError(f"C of shape {c.shape} does not broadcast to A·B of {y.shape}")
        if beta != 0:  # as BLAS has it: with beta = 0, C's values aren't looked at
            y += c if beta == 1 else _scale(c, beta)
    return y


gemm.bind(bind_gemm)


def _scale(x: np.ndarray, factor: float) -> np.ndarray:
    return (x * factor).astype(x.dtype, copy=False)  # integers: cut towards zero


@op("Gemm", since=7, until=11)
@attributes_of(gemm)
def gemm_7(a: np.ndarray, b: np.ndarray, c: np.ndarray, **attributes: Any) -> np.ndarray:
    """alpha·A·B + beta·C; C is not optional yet. Spec: Gemm-7, -9."""
    return gemm(a, b, c, **attributes)


gemm_7.bind(bind_gemm)


@op("Gemm", since=1)
@attributes_of(gemm)
def gemm_1(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, *, broadcast: int = 0, **attributes: Any
) -> np.ndarray:
    """alpha·A·B + beta·C; C is M×N unless broadcast=1. Spec: Gemm-1, -6."""
    shape: tuple[int, ...] = ()
    if a.ndim == b.ndim == 2:
        transposed_a, transposed_b = attributes.get("transA"), attributes.get("transB")
        shape = a.shape[1 if transposed_a else 0], b.shape[0 if transposed_b else 1]
    if not broadcast and c.shape != shape:
        raise ValueError(f"C {c.shape} should be {shape} unless broadcast is set")
    return gemm(a, b, c, **attributes)


@gemm.vjp
@gemm_7.vjp
@gemm_1.vjp
def vjp_of_gemm(dy, a, b, *, c_shape, alpha, beta, transA, transB, wanted):
    want_a, want_b, want_c = wanted
    da = db = dc = None
    if want_a:
        da = products.matmul(dy, b if transB else b.T)
        da = _scale(da.T if transA else da, alpha)
    if want_b:
        db = products.matmul(a if transA else a.T, dy)
        db = _scale(db.T if transB else db, alpha)
    if want_c:
        dc = _scale(reduce_to(dy, c_shape), beta)
    return da, db, dc


vjp_of_gemm.only_read_for(a="b", b="a")
vjp_of_gemm.bind(bind_gemm_gradient)


@op("MatMul", since=1)
def matmul(a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The matrix product over the last two axes; the axes before them broadcast.

    A vector is a row on the left, a column on the right, and its added axis goes again, as in
    numpy.matmul. Integers wrap. Spec: MatMul-1, -9, -13.
    """
    check_same_dtype(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"MatMul needs at least vectors, got shapes {a.shape} and {b.shape}")
    wide_a = wide(a)
    if wide_a is a:
        return products.matmul(a, b, out=out)
    y = np.asarray(products.matmul(wide_a, wide(b)), a.dtype)
    if out is None:
        return y
    out[...] = y
    return out


matmul.bind(bind_matmul)


@matmul.vjp
def vjp_of_matmul(dy, a, b, *, a_shape, b_shape, wanted):
    """dA = dY·Bᵀ, dB = Aᵀ·dY; where matrices were broadcast, their sum."""
    want_a, want_b = wanted
    if len(b_shape) == 1:
        dy = dy[..., None]
    if len(a_shape) == 1:
        dy = dy[..., None, :]
    da = db = None
    if want_a:
        columns = b[:, None] if b.ndim == 1 else b
        rows_shape = (1, *a_shape) if len(a_shape) == 1 else a_shape
        da = reduce_to(products.matmul(dy, columns.swapaxes(-1, -2)), rows_shape).reshape(a_shape)
    if want_b:
        rows = a[None] if a.ndim == 1 else a
        if len(b_shape) <= 2:  # one product over all rows, of all matrices
            flat, d_flat = rows.reshape(-1, rows.shape[-1]), dy.reshape(-1, dy.shape[-1])
            db = products.matmul(flat.T, d_flat).reshape(b_shape)
        else:
            db = reduce_to(products.matmul(rows.swapaxes(-1, -2), dy), b_shape)
    return da, db


vjp_of_matmul.only_read_for(a="b", b="a")
vjp_of_matmul.bind(bind_matmul_gradient)


@matmul.cost
def cost_of_matmul(a: np.ndarray, b: np.ndarray, **_: Any) -> Cost:
    count = size(product_shape(a.shape, b.shape))
    rounded = a.itemsize * count if wide_copies(a) else 0
    memory = wide_copies(a, b) + wide_itemsize(a.dtype) * count + rounded
    return Cost(memory, product_work(a.shape, b.shape, a.dtype) + 20 * wide_copies(a, b))


@vjp_of_matmul.cost
def cost_of_vjp_of_matmul(
    dy: np.ndarray, *_: Any, a_shape: Sequence[int], b_shape: Sequence[int], **__: Any
) -> Cost:
    """A product for each input, of all matrices before those that were broadcast are added up, and
    copies to multiply all rows at once."""
    rows, columns = size(a_shape[-2:-1]), size(b_shape[-1:]) if len(b_shape) > 1 else 1
    matrices = size(broadcast([a_shape[:-2], b_shape[:-2]]))
    products = matrices * a_shape[-1] * (rows + (columns if len(b_shape) > 2 else 0))
    elements = products + 2 * size(a_shape) + size(b_shape) + dy.size
    work = 2 * product_work(a_shape, b_shape, dy.dtype) + 20 * products
    return Cost(wide_itemsize(dy.dtype) * elements, work)


@vjp_of_gemm.cost
def cost_of_vjp_of_gemm(
    dy: np.ndarray, a: np.ndarray | None, b: np.ndarray | None, **_: Any
) -> Cost:
    """A product for each input, and the same scaled."""
    inputs = [x.size for x in (a, b) if x is not None]
    m, n = dy.shape
    inner = a.size // max(m, 1) if a is not None else 0 if b is None else b.size // max(n, 1)
    results = inner * (m + n) + dy.size
    memory = 2 * wide_itemsize(dy.dtype) * (results + sum(inputs))
    work = 2 * product_work((m, inner), (inner, n), dy.dtype)
    return Cost(memory, work + 20 * results)


@gemm.cost
@gemm_7.cost
@gemm_1.cost
def cost_of_gemm(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    **_: Any,
) -> Cost:
    """The product, scaled, and C, scaled; integers are scaled in double."""
    cost = cost_of_matmul(a.T if transA else a, b.T if transB else b)
    count = size(product_shape(a.shape[:: -1 if transA else 1], b.shape[:: -1 if transB else 1]))
    scaled = wide_itemsize(a.dtype) if a.dtype.kind not in "iu" else 8 + a.itemsize
    memory = cost.memory + (scaled * count if alpha != 1 else 0)
    if c is not None:
        memory += wide_copies(c) + (scaled * c.size if beta not in (0, 1) else 0)
    return Cost(memory, cost.work + 20 * count)


@op("Einsum", since=12)
@in_float32
def einsum(*Inputs: np.ndarray, equation: str) -> np.ndarray:
    """Products of the inputs, summed over the letters that the output of the equation lacks.

    "ij,jk->ik" is the matrix product. Spec: Einsum-12, -28.
    """
    for x in Inputs[1:]:
        check_same_dtype(Inputs[0], x)
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len({x.ndim - len(t) for t, x in zip(terms, Inputs, strict=False) if "..." in t}) > 1:
        # np.einsum would broadcast them
        raise ValueError(f"the ellipses of {equation!r} stand for different numbers of axes")
    # Two or more operands: as a chain of matrix products, where it is one. NumPy multiplies them by
    # dot, which without BLAS takes more than twice as long as einsum itself (ops.shared.products).
    y = np.einsum(equation, *Inputs, optimize=len(Inputs) > (1 if products.has_blas else 2))
    if len(Inputs) == 1:
        y = np.array(y)  # where nothing is summed, np.einsum hands out a view of the input
    return np.asarray(y, Inputs[0].dtype)


@op("Det", since=11)
@in_float32
def det(x: np.ndarray) -> np.ndarray:
    """The determinant of the matrices in the last two axes: (…, M, M) to (…). Spec: Det-11, -22."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"Det needs square matrices, not the shape {x.shape}")
    y = np.asarray(np.linalg.det(x), x.dtype)
    odd = ~np.isfinite(x).all(axis=(-2, -1))
    if odd.any():
        y[odd] = _eliminate(x[odd])
    return y


def _eliminate(m: np.ndarray) -> np.ndarray:
    """The determinants of (n, M, M), which it overwrites, by elimination with the largest pivot.

    For matrices that aren't finite: a BLAS library may take 0 · NaN and 0 · infinity for 0, so that
    NumPy's result depends on how it was built; ONNX Runtime and TensorFlow compute it as here.
    """
    each, size = np.arange(len(m)), m.shape[-1]
    result = np.ones(len(m), m.dtype)
    for k in range(size):
        pivot = k + np.argmax(np.abs(m[:, k:, k]), axis=1)
        result = np.where(pivot == k, result, -result)
        m[each, k], m[each, pivot] = m[each, pivot], m[each, k]
        top = m[:, k, k]
        m[:, k + 1 :, k] /= np.where(top == 0, 1, top)[:, None]
        m[:, k + 1 :, k + 1 :] -= m[:, k + 1 :, k, None] * m[:, None, k, k + 1 :]
    return result * np.prod(np.diagonal(m, axis1=1, axis2=2), axis=1)


@einsum.cost
def cost_of_einsum(*Inputs: np.ndarray, equation: str, **_: Any) -> Cost:
    """The cost of each contraction that NumPy divides it into: its result, and copies of
    its operands that are laid out for a matrix product."""
    inputs, output = _parse_equation(equation, [x.ndim for x in Inputs])
    sizes: dict[str, int] = {}
    for term, x in zip(inputs, Inputs, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), n)

    def count(letters: Iterable[str]) -> int:
        return math.prod(sizes[letter] for letter in letters)

    item = wide_itemsize(Inputs[0].dtype)
    path = np.einsum_path(equation, *Inputs, optimize="greedy")[0][1:]
    memory, work = wide_copies(*Inputs) + reshape_bytes(*Inputs), 0
    for places in path:
        operands = [inputs.pop(place) for place in sorted(places, reverse=True)]
        letters = set().union(*operands)
        left = letters & set(output).union(*inputs)
        # NumPy computes repeated letters, or more than two operands, without matrix products
        plain = len(operands) == 2 and all(len(set(term)) == len(term) for term in operands)
        work += multiply_adds(count(letters), Inputs[0].dtype) * (1 if plain else 20)
        work += 10 * (sum(map(count, map(set, operands))) + count(left))
        memory += item * (2 * count(left) + sum(count(set(term)) for term in operands))
        inputs.append("".join(left))
    rounded = Inputs[0].itemsize * count(set(output)) if wide_copies(Inputs[0]) else 0
    return Cost(memory + rounded, work + 200_000 * len(Inputs))


def _parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of inputs and output; dots become letters that are not in the equation."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    spare = [chr(code) for code in range(0x100, 0x180)]
    dots = max(
        (n - len(t) + 3 for n, t in zip(ranks, inputs, strict=True) if "..." in t), default=0
    )
    if not arrow:
        named = left.replace(",", "").replace(".", "")
        output = "..." + "".join(sorted(x for x in set(named) if named.count(x) == 1))
    known = "".join(spare[:dots])
    own = [known[dots - (n - len(t) + 3) :] for n, t in zip(ranks, inputs, strict=True)]
    expanded = [t.replace("...", letters) for t, letters in zip(inputs, own, strict=True)]
    return expanded, output.replace("...", known)


@einsum.vjp
def vjp_of_einsum(dy, *Inputs, equation, wanted):
    """The product of dy and the other inputs, summed to the letters of this one."""
    terms, output = _parse_equation(equation, [x.ndim for x in Inputs])
    numbers = {letter: i for i, letter in enumerate(dict.fromkeys("".join([*terms, output])))}
    axes = [[numbers[letter] for letter in term] for term in terms]
    d_axes = [numbers[letter] for letter in output]
    found: list[np.ndarray | None] = []
    for i, (x, own) in enumerate(zip(Inputs, axes, strict=True)):
        if not wanted[i]:
            found.append(None)
            continue
        others = [pair for j, pair in enumerate(zip(Inputs, axes, strict=True)) if j != i]
        operands = [item for pair in [(dy, d_axes), *others] for item in pair]
        known = {*d_axes, *(axis for _, term in others for axis in term)}
        unique = list(dict.fromkeys(own))
        dx = np.zeros_like(x)
        places = np.einsum(dx, own, unique)  # a view: of the diagonal, where letters repeat
        product = np.einsum(*operands, [axis for axis in unique if axis in known], optimize=True)
        alone = tuple(k for k, axis in enumerate(unique) if axis not in known)
        product = np.expand_dims(product, alone)
        sizes = enumerate(zip(product.shape, places.shape, strict=True))
        repeated = tuple(k for k, (n, own_n) in sizes if own_n == 1 and n > 1)
        places[...] = product.sum(repeated, keepdims=True)
        found.append(dx)
    return tuple(found)


@det.vjp
def vjp_of_det(dy, x):
    """det(X)·X⁻ᵀ: the cofactors, as products of singular values so that X may be singular."""
    if not x.size:
        return x
    u, s, vh = np.linalg.svd(x)
    others = np.stack([np.delete(s, k, -1).prod(-1) for k in range(s.shape[-1])], -1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    cofactors = products.matmul(u * (others * sign[..., None])[..., None, :], vh)
    return dy[..., None, None] * cofactors


@det.cost
def cost_of_det(x: np.ndarray) -> Cost:
    """One matrix at a time is copied and factorized; those that aren't finite all at once."""
    rows = x.shape[-1]
    matrices = math.prod(x.shape[:-2])
    item = wide_itemsize(x.dtype)
    # NumPy factorizes doubles
    memory = wide_copies(x) + 8 * (x.size + rows * rows + 2 * matrices) + item * matrices
    memory += (2 * item + 1) * x.size
    work = matrices * (PER_ITEM + multiply_adds(rows**3, x.dtype)) + 10 * x.size
    return Cost(memory, work + 2 * rows * x.size + 50_000 * rows)


# ------------------------------------------------------------------------------------------- facts

matmul.flops(flops.product)
matmul.batch_axis(batch.product)


@gemm.flops
@gemm_7.flops
@gemm_1.flops
def flops_of_gemm(outputs, a, *others, transA, **_):
    return 2 * outputs[0].size * a.shape[0 if transA else 1]


@gemm.batch_axis
@gemm_7.batch_axis
@gemm_1.batch_axis
def batch_axis_of_gemm(samples, inputs, outputs, *, transA, **_):
    """The samples are rows of A, and C is the same for all of them."""
    batch.require(batch.first_input_axis(samples) == 0 and not transA)
    c = inputs[2] if len(inputs) > 2 else None
    batch.require(c is None or c.ndim < 2 or c.shape[0] == 1)
    return [0]
