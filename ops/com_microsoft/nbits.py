"""Weights of few bits, quantized in blocks along an axis: a matrix product and a look-up.

    weight = (q - zero_point)·scale, one zero point and scale for each block

The q of a block, of 2 to 8 bits each, follow each other without gaps in a row of bytes, lowest
bits first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.dtypes import element_type
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.contract.space import with_bind
from onnxwalk.ops.fast.nbits import product_binder, unpack_nibbles
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import line_count, multiply_adds, wide_copies, wide_itemsize
from onnxwalk.ops.shared.gradients import add_rows
from onnxwalk.ops.shared.numeric import wide
from onnxwalk.ops.shared.places import as_places

#: weights that are unpacked at a time: they fit the second-level cache
_AT_ONCE = 1 << 17


def prepare_matmul_nbits(
    B,
    scales,
    zero_points=None,
    g_idx=None,
    bias=None,
    *,
    K,
    N,
    accuracy_level=0,
    bits=4,
    block_size,
    weight_prepacked=0,
):
    """MatMulNBits with known weights, which a bound plan unpacks once."""
    if weight_prepacked:
        raise NotImplementedError(
            f"weight_prepacked {weight_prepacked} of MatMulNBits is not supported"
        )
    unpack = _unpacker(B, scales, zero_points, g_idx, K, N, bits, block_size)
    if bias is not None and bias.shape != (N,):
        raise ValueError(f"bias {bias.shape} should be ({N},)")
    step = rows_at_once(K)

    def apply(A):
        if A.ndim == 0 or A.shape[-1] != K:
            raise ValueError(f"A {A.shape} should be (…, {K})")
        x = wide(A)
        y = np.empty((*A.shape[:-1], N), x.dtype)
        for start in range(0, N, step):
            stop = min(start + step, N)
            y[..., start:stop] = products.matmul(x, unpack(start, stop).T)
        return (y if bias is None else y + wide(bias)).astype(A.dtype, copy=False)

    wide_bias = None if bias is None else wide(bias)
    return with_bind(apply, product_binder(K, N, wide_bias, unpack, step))


@op("MatMulNBits", since=1, domain=DOMAIN)
@attributes_of(prepare_matmul_nbits)
def matmul_nbits(A, B, scales, zero_points=None, g_idx=None, bias=None, **attributes):
    """A @ W' + bias with W[n, k] = (q[n, k] - zero_point[n, b])·scale[n, b], b = k // block_size

    A (…, K), B (N, blocks, bytes of a block), scales (N, blocks); zero_points packed like B, row by
    row, or of A's type (N, blocks), 2^(bits - 1) if there are none; g_idx (K) says the block b of
    each k instead; bias (N). Where a dimension of B is 0, W is 0. Computed in float whatever
    accuracy_level, which is a lower bound.

    Source: com.microsoft.MatMulNBits-1, ONNX Runtime 1.32 (whose results for bits=2 with g_idx are
    others).
    """
    return prepare_matmul_nbits(B, scales, zero_points, g_idx, bias, **attributes)(A)


matmul_nbits.prepare(prepare_matmul_nbits)


@matmul_nbits.vjp
def vjp_of_matmul_nbits(
    dy, A, B, scales, zero_points, g_idx, *, bias_shape, K, N, bits, block_size, wanted
):
    """dY @ W' to A, with some rows of the weights at a time; dY to the bias; and the gradients of
    the weights, by blocks, to scales and zero points."""
    rows = dy.reshape(-1, N)
    found: list[Any] = [None] * 6
    layout = zero_points, g_idx, K, N, bits, block_size
    if wanted[0]:
        unpack, step = _unpacker(B, scales, *layout), rows_at_once(K)
        parts = range(0, N, step)
        found_parts = (
            products.matmul(rows[:, n : n + step], unpack(n, min(n + step, N))) for n in parts
        )
        da = sum(found_parts, np.zeros((len(rows), K), rows.dtype))
        found[0] = da.reshape(*dy.shape[:-1], K)
    if not scales.size:  # no weights
        found[2] = np.zeros_like(scales)
    elif wanted[2] or wanted[3]:
        dw = products.matmul(rows.T, A.reshape(-1, K))
        steps = _unpacker(B, np.ones_like(scales), *layout)(0, N)
        block_of = np.arange(K) // block_size if g_idx is None else g_idx
        count = -(-K // block_size)
        of_scales, of_steps = (add_rows(d.T, block_of, count).T for d in (dw * steps, dw))
        found[2] = of_scales.reshape(scales.shape)
        if wanted[3]:
            found[3] = -of_steps.reshape(zero_points.shape) * scales.reshape(zero_points.shape)
    if bias_shape is not None:
        found[5] = rows.sum(0)
    return tuple(found)


vjp_of_matmul_nbits.only_read_for(A="scales zero_points")


@vjp_of_matmul_nbits.cost
def cost_of_vjp_of_matmul_nbits(dy, A, B, scales, zero_points, g_idx, *, K, N, bits, wanted, **_):
    a = np.broadcast_to(np.zeros((), dy.dtype), (*dy.shape[:-1], K))
    cost = cost_of_matmul_nbits(a, B, scales, zero_points, g_idx, K=K, N=N, bits=bits)
    item = wide_itemsize(dy.dtype)
    memory = cost.memory + wide_copies(dy) + 3 * item * a.size
    if not (wanted[2] or wanted[3]):
        return Cost(memory, 2 * cost.work)
    return Cost(memory + (5 * item + 4) * N * K, 4 * cost.work + 200 * N * K)


def rows_at_once(depth: int) -> int:
    """How many rows of a matrix (N, K) are unpacked at a time."""
    return max(1, _AT_ONCE // max(depth, 1))


def _unpacker(
    packed: np.ndarray,
    scales: np.ndarray,
    zero_points: np.ndarray | None,
    block_of: np.ndarray | None,
    depth: int,
    columns: int,
    bits: int,
    block_size: int,
) -> Callable[[int, int], np.ndarray]:
    """A function (start, stop) -> these rows of the weights (N, K)."""
    if not 2 <= bits <= 8 or block_size < 16 or block_size & (block_size - 1):
        raise ValueError(f"bits {bits} should be 2 to 8, block_size {block_size} a power of 2 ≥ 16")
    blocks = -(-depth // block_size)
    shape = (columns, blocks, block_size * bits // 8)
    if packed.ndim == 3 and 0 in packed.shape:
        return lambda start, stop: np.zeros((stop - start, depth), wide(scales).dtype)
    if packed.size != np.prod(shape) or scales.size != columns * blocks:
        raise ValueError(
            f"B {packed.shape} should be {shape}, scales {scales.shape} ({columns}, {blocks})"
        )
    packed, scales = packed.reshape(shape), wide(scales.reshape(columns, blocks))
    if zero_points is None:
        zeros = np.full((columns, blocks), 2 ** (bits - 1), np.uint8)
    elif zero_points.dtype == np.uint8:
        rows = zero_points.reshape(columns, -(-blocks * bits // 8))
        zeros = unpack_bits(rows, bits)[:, :blocks]
    else:
        zeros = wide(zero_points.reshape(columns, blocks))
    if block_of is not None and (
        block_of.shape != (depth,) or (depth and not 0 <= block_of.min() <= block_of.max() < blocks)
    ):
        raise ValueError(f"g_idx {block_of.shape} should be ({depth},), of blocks below {blocks}")

    def unpack(start: int, stop: int) -> np.ndarray:
        count = stop - start
        steps = unpack_bits(packed[start:stop], bits).reshape(count, blocks, block_size)
        zero, scale = zeros[start:stop], scales[start:stop]
        if block_of is not None:
            steps = steps.reshape(count, -1)[:, :depth]
            return (steps - zero[:, block_of].astype(scale.dtype)) * scale[:, block_of]
        weights = steps.astype(scale.dtype)
        weights -= zero[..., np.newaxis].astype(scale.dtype)
        weights *= scale[..., np.newaxis]
        return weights.reshape(count, -1)[:, :depth]

    return unpack


def unpack_bits(rows: np.ndarray, bits: int) -> np.ndarray:
    """The unsigned numbers of ``bits`` bits in rows of bytes, lowest bits first; uint8."""
    if bits == 8:
        return rows
    if bits == 4:
        return unpack_nibbles(rows)
    digits = np.unpackbits(rows, axis=-1, bitorder="little")
    count = digits.shape[-1] // bits
    digits = digits[..., : count * bits].reshape(*rows.shape[:-1], count, bits)
    return (digits << np.arange(bits, dtype=np.uint8)).sum(-1, dtype=np.uint8)


def prepare_matmul_bnb4(B, absmax, *, K, N, block_size, quant_type, training_mode=0, transB=1):
    """MatMulBnb4 with known weights, which are looked up once."""
    if not transB:
        raise NotImplementedError("transB 0 of MatMulBnb4 is not supported")
    if quant_type not in (0, 1):
        raise ValueError(f"quant_type {quant_type} should be 0 (FP4) or 1 (NF4)")
    if block_size < 16 or block_size & (block_size - 1):
        raise ValueError(f"block_size {block_size} should be a power of 2 from 16 on")
    count = N * K
    if B.size != (count + 1) // 2 or absmax.size != -(-count // block_size):
        raise ValueError(
            f"B {B.shape} and absmax {absmax.shape} should be ({(count + 1) // 2},) and "
            f"({-(-count // block_size)},)"
        )
    scales = wide(absmax.reshape(-1))[np.arange(count) // block_size]
    weights = _numbers_of_codes(B, quant_type, count) * scales
    weights = np.ascontiguousarray(weights.reshape(N, K).T)

    def apply(A):
        if A.ndim == 0 or A.shape[-1] != K:
            raise ValueError(f"A {A.shape} should be (…, {K})")
        return products.matmul(wide(A), weights).astype(A.dtype, copy=False)

    return apply


#: the numbers of bitsandbytes' four bits: a sign and a small float, or quantiles of the normal
#: distribution
_FP4 = np.array([0, 0.005208333333, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4], np.float32)
_FP4 = np.concatenate([_FP4, -_FP4])
_NF4 = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ],
    np.float32,
)  # fmt: skip


@op("MatMulBnb4", since=1, domain=DOMAIN)
@attributes_of(prepare_matmul_bnb4)
def matmul_bnb4(A, B, absmax, **attributes):
    """A @ W' with W (N, K) of four bits each, whose number in a table is multiplied by the largest
    of its block of block_size weights

    A (…, K), B ((N·K + 1) // 2), the first of two in the high bits, absmax (blocks); the table is
    FP4 (quant_type 0) or NF4 (1).

    Source: com.microsoft.MatMulBnb4-1, ONNX Runtime 1.32.
    """
    return prepare_matmul_bnb4(B, absmax, **attributes)(A)


matmul_bnb4.prepare(prepare_matmul_bnb4)


def _numbers_of_codes(B: np.ndarray, quant_type: int, count: int) -> np.ndarray:
    """The first ``count`` weights before they are scaled."""
    codes = np.stack([B.reshape(-1) >> 4, B.reshape(-1) & 15], -1).reshape(-1)[:count]
    return (_NF4 if quant_type else _FP4)[codes]


@matmul_bnb4.vjp
def vjp_of_matmul_bnb4(dy, A, B, absmax, *, K, N, block_size, quant_type, wanted):
    """dY @ W' to A; to the scales the gradients of the weights times their numbers, by blocks."""
    numbers = _numbers_of_codes(B, quant_type, N * K)
    weights = (numbers * absmax.reshape(-1)[np.arange(N * K) // block_size]).reshape(N, K)
    d_absmax = None
    if wanted[2]:
        dw = products.matmul(dy.reshape(-1, N).T, A.reshape(-1, K))
        d_numbers = dw.reshape(-1) * numbers
        d_absmax = np.add.reduceat(d_numbers, np.arange(0, N * K, block_size)).reshape(absmax.shape)
    return products.matmul(dy, weights), None, d_absmax


vjp_of_matmul_bnb4.only_read_for(A="absmax")


@vjp_of_matmul_bnb4.cost
def cost_of_vjp_of_matmul_bnb4(dy, A, B, absmax, *, K, N, **_):
    a = np.broadcast_to(np.zeros((), dy.dtype), (*dy.shape[:-1], K))
    cost = cost_of_matmul_bnb4(a, B, absmax, K=K, N=N)
    return Cost(2 * cost.memory, 3 * cost.work + 100 * N * K)


@op("GatherBlockQuantized", since=1, domain=DOMAIN)
def gather_block_quantized(
    data,
    indices,
    scales,
    zero_points=None,
    *,
    bits=4,
    block_size=128,
    gather_axis=0,
    quantize_axis=1,
):
    """Gather((data - zero_points)·scales, indices), a scale for each block along quantize_axis

    data int4, uint4, small floats, or uint8 with numbers of ``bits`` bits packed along the last
    axis; scales and zero_points of its shape but for ceil(D / block_size) along quantize_axis.
    Without zero_points they are 2^(bits - 1) for uint8 and 0 for the rest. A negative index counts
    from the end; one out of range gives zeros.

    Source: com.microsoft.GatherBlockQuantized-1, ONNX Runtime 1.32.
    """
    packed = data.dtype == np.uint8
    if packed and bits not in (2, 4, 8):
        raise NotImplementedError(f"bits {bits} of GatherBlockQuantized is not supported")
    if zero_points is not None and zero_points.dtype != data.dtype:
        raise ValueError(
            f"zero_points ({zero_points.dtype}) and data ({data.dtype}) differ in type"
        )
    floating = "float" in element_type(data.dtype).name
    if floating and zero_points is not None:
        raise ValueError(f"zero_points are not allowed for data of {data.dtype}")
    if not (block_size >= 16 and not block_size & (block_size - 1)) and not (
        floating and block_size == 0
    ):
        raise ValueError(f"block_size {block_size} should be a power of 2 from 16 on")
    if scales.ndim != data.ndim or (zero_points is not None and zero_points.ndim != data.ndim):
        raise ValueError(
            f"scales {scales.shape} and zero_points should have the rank of data {data.shape}"
        )
    gather = normalize_axis(gather_axis, data.ndim)
    quantized = normalize_axis(quantize_axis, data.ndim)
    if packed and gather != 0:
        raise ValueError(f"gather_axis should be 0 for uint8 data, got {gather_axis}")
    if packed and bits < 8 and gather == quantized:
        raise ValueError("gather_axis and quantize_axis should differ for packed data")
    size = data.shape[gather]
    for given in (scales, zero_points):
        if given is not None and gather != quantized and given.shape[gather] not in (1, size):
            raise ValueError(
                f"scales or zero_points {given.shape} and data {data.shape} are incompatible"
            )
    if indices.size and not size:
        raise ValueError(f"data {data.shape} is empty along gather_axis {gather}")
    inside = (indices >= -size) & (indices < size)
    rows = as_places(np.where(inside, indices, 0))
    if gather == quantized:
        steps, scale, zero = data, scales, zero_points  # blocks first, rows after
    else:

        def take_rows(x):  # or one for every row
            return np.take(x, np.zeros_like(rows) if x.shape[gather] == 1 else rows, gather)

        steps, scale = np.take(data, rows, gather), take_rows(scales)
        zero = None if zero_points is None else take_rows(zero_points)
        if quantized > gather:
            quantized += indices.ndim - 1
    if packed:
        steps = unpack_bits(steps, bits)
        zero = None if zero is None else unpack_bits(zero, bits)
    block = block_size or max(steps.shape[quantized], 1)
    blocks = -(-steps.shape[quantized] // block)
    if scale.ndim != steps.ndim or scale.shape[quantized] != blocks:
        raise ValueError(f"scales {scales.shape} and data {data.shape} are incompatible")
    which = np.arange(steps.shape[quantized]) // block
    y = steps.astype(np.float32)
    if zero is not None:
        y = y - np.take(zero, which, quantized).astype(np.float32)
    elif packed:
        y = y - np.float32(2 ** (bits - 1))
    y = (y * wide(np.take(scale, which, quantized))).astype(scales.dtype)
    if gather == normalize_axis(quantize_axis, data.ndim):
        y = np.take(y, rows, gather)
    is_valid = inside.reshape(inside.shape + (1,) * (data.ndim - gather - 1))
    return np.where(is_valid, y, y.dtype.type(0))


# ------------------------------------------------------------------------------------------- costs


@matmul_nbits.cost
def cost_of_matmul_nbits(
    A: np.ndarray,
    B: np.ndarray,
    scales: np.ndarray,
    zero_points: np.ndarray | None = None,
    g_idx: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    K: int,
    N: int,
    bits: int = 4,
    **__: Any,
) -> Cost:
    """Some rows of the weights, unpacked (bit by bit unless there are 4) and in float; with g_idx
    zero points and scales of their size; the product, with a bias."""
    item = max(wide_itemsize(scales.dtype), 4)
    rows = A.size // max(K, 1)
    weights = max(K, 0) * max(N, 0)
    at_once = min(weights, rows_at_once(K) * max(K, 1))
    unpacked = 4 if bits == 4 else 2 * bits + 2
    floats = item if g_idx is None else 4 * item
    memory = (unpacked + floats) * at_once + 40 * scales.size
    memory += wide_copies(A) + (2 * item + A.itemsize) * rows * max(N, 0)
    macs = multiply_adds(rows * weights, np.dtype(f"f{item}"))
    return Cost(memory, macs + 60 * weights + 200 * B.size + 4 * weights)


@matmul_bnb4.cost
def cost_of_matmul_bnb4(
    A: np.ndarray, B: np.ndarray, absmax: np.ndarray, *, K: int, N: int, **_: Any
) -> Cost:
    """The codes, twice, as indices; the weights with their scales, and transposed; the product."""
    item = max(wide_itemsize(absmax.dtype), 4)
    rows, weights = A.size // max(K, 1), max(K, 0) * max(N, 0)
    memory = (3 * item + 4) * weights + wide_copies(A) + (item + A.itemsize) * rows * max(N, 0)
    return Cost(memory, multiply_adds(rows * weights, np.dtype(f"f{item}")) + 60 * weights)


@gather_block_quantized.cost
def cost_of_gather_block_quantized(
    data: np.ndarray,
    indices: np.ndarray,
    scales: np.ndarray,
    *_: Any,
    bits: int = 4,
    gather_axis: int = 0,
    quantize_axis: int = 1,
    **__: Any,
) -> Cost:
    """The rows (or all data, if blocks lie along them) unpacked bit by bit; in float, with a zero
    point and a scale for each element; the results."""
    packed = data.dtype == np.uint8
    picked = indices.size * line_count(data, gather_axis)
    first = normalize_axis(gather_axis, data.ndim) == normalize_axis(quantize_axis, data.ndim)
    each = 8 // bits if packed else 1
    steps = (data.size if first else picked) * each
    item = scales.itemsize
    results = picked * each
    memory = steps * max(13 + 2 * item, 2 * bits + 2)
    return Cost(memory + 2 * item * results + 20 * indices.size, 300 * (steps + results))
