"""Operators that rearrange elements without computing on them: Reshape, Transpose, Expand, Tile, …

Where NumPy has a view, the result is one: it shares memory with the input, and after ``Expand``
it is read-only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, no_cost
from onnxwalk.ops.contract.cost import size as count_of
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.elementwise import constant_binder, view_binder
from onnxwalk.ops.shared import batch, flops
from onnxwalk.ops.shared.axes import normalize_axes, normalize_axis
from onnxwalk.ops.shared.cost import fill_cost, reshape_bytes
from onnxwalk.ops.shared.gradients import reduce_to
from onnxwalk.ops.shared.values import as_int, as_ints

# --- the same elements under another shape --------------------------------------------------------


@op("Reshape", since=5, without=["allowzero"])
@op("Reshape", since=14)
def reshape(data, shape, *, allowzero=0):
    """The same elements in the same order, under a new shape.

    One -1 in ``shape`` stands for whatever is left over. A 0 copies the input's dimension at that
    place, unless ``allowzero`` makes it a real zero. Spec: Reshape-5, Reshape-14.
    """
    return _reshape(data, as_ints(shape), allowzero)


reshape.bind(view_binder(reshape))


@op("Reshape", since=1)
def reshape_1(data, *, shape=None, consumed_inputs=None):
    """Reshape with the new shape as an attribute.

    ``consumed_inputs`` is a hint about memory. Spec: Reshape-1.
    """
    if shape is None:
        raise ValueError("Reshape-1 needs the attribute 'shape'")
    return _reshape(data, tuple(shape), allowzero=0)


def _reshape(data: np.ndarray, requested: tuple[int, ...], allowzero: int) -> np.ndarray:
    sizes = list(requested)
    possible = min(sizes, default=0) >= -1 and sizes.count(-1) <= 1
    if 0 in sizes and not allowzero:
        for i, size in enumerate(sizes):
            if size == 0 and i < data.ndim:
                sizes[i] = data.shape[i]
            elif size == 0:
                possible = False
    elif 0 in sizes and -1 in sizes:
        possible = False  # anything times 0 is 0
    known = math.prod(sizes)
    if -1 in sizes:
        if not possible or known == 0 or data.size % known:
            raise ValueError(f"can't reshape {data.shape} to {requested}")
        sizes[sizes.index(-1)] = data.size // -known
    elif not possible or known != data.size:
        raise ValueError(f"can't reshape {data.shape} to {requested}")
    return data.reshape(sizes)


@op("Flatten", since=11)
def flatten(input, *, axis=1):
    """2-D: the dimensions before ``axis`` times those from ``axis`` on. Spec: Flatten-11.

    ``axis`` counts places between dimensions: -rank to rank, both included.
    """
    if not -input.ndim <= axis <= input.ndim:
        raise ValueError(f"axis {axis} is out of range for rank {input.ndim}")
    if axis < 0:
        axis += input.ndim
    return input.reshape(math.prod(input.shape[:axis]), math.prod(input.shape[axis:]))


flatten.bind(view_binder(flatten))


@op("Flatten", since=1, until=11)
def flatten_1(input, *, axis=1):
    """Flatten when ``axis`` could not be negative yet. Spec: Flatten-1, Flatten-9."""
    if not 0 <= axis <= input.ndim:
        raise ValueError(f"axis {axis} is out of range for rank {input.ndim} (0 to {input.ndim})")
    return flatten(input, axis=axis)


flatten_1.bind(view_binder(flatten_1))


@op("Squeeze", since=13)
def squeeze(data, axes=None):
    """Drop dimensions of size 1: those in ``axes``, or all of them. Spec: Squeeze-13."""
    return _squeeze(data, None if axes is None else as_ints(axes))


squeeze.bind(view_binder(squeeze))


@op("Squeeze", since=1)
def squeeze_1(data, *, axes=None):
    """Squeeze with ``axes`` as an attribute. Spec: Squeeze-1, Squeeze-11.

    Version 1 has no negative axes, but they can only mean one thing and models have them.
    """
    return _squeeze(data, axes)


squeeze_1.bind(view_binder(squeeze_1))


def _squeeze(data: np.ndarray, axes: Sequence[int] | None) -> np.ndarray:
    if axes is None:
        return data.reshape([size for size in data.shape if size != 1])
    dropped = normalize_axes(axes, data.ndim)
    for axis in dropped:
        if data.shape[axis] != 1:
            raise ValueError(f"can't squeeze axis {axis} of {data.shape}: its size is not 1")
    return np.squeeze(data, axis=dropped)


@op("Unsqueeze", since=13)
def unsqueeze(data, axes):
    """Insert dimensions of size 1 where the *result* has ``axes``. Spec: Unsqueeze-13."""
    return _unsqueeze(data, as_ints(axes))


unsqueeze.bind(view_binder(unsqueeze))


@op("Unsqueeze", since=1)
def unsqueeze_1(data, *, axes):
    """Unsqueeze with ``axes`` as an attribute. Spec: Unsqueeze-1, Unsqueeze-11.

    Version 1 has no negative axes, but they can only mean one thing and models have them.
    """
    return _unsqueeze(data, axes)


unsqueeze_1.bind(view_binder(unsqueeze_1))


def _unsqueeze(data: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    return np.expand_dims(data, normalize_axes(axes, data.ndim + len(axes)))


@op("Identity", since=1)
def identity(input):
    """The input itself: a tensor, a sequence or an optional. Spec: Identity-1, Identity-16."""
    return input


identity.bind(view_binder(identity))


@op("Shape", since=1, without=["start", "end"])
@op("Shape", since=15)
def shape(data, *, start=0, end=None):
    """The dimensions from ``start`` up to ``end``, both clamped to [0, rank]. Spec: Shape-15."""
    return np.array(data.shape[start:end], np.int64)


shape.bind(constant_binder(shape))


@op("Size", since=1)
def size(data):
    """How many elements: int64, rank 0. Spec: Size-1."""
    return np.array(data.size, np.int64)


size.bind(constant_binder(size))


@reshape.vjp
@reshape_1.vjp
@squeeze.vjp
@squeeze_1.vjp
@unsqueeze.vjp
@unsqueeze_1.vjp
def vjp_of_reshape(dy, *, data_shape):
    return dy.reshape(data_shape)


vjp_of_reshape.bind(view_binder(vjp_of_reshape))


@flatten.vjp
@flatten_1.vjp
def vjp_of_flatten(dy, *, input_shape):
    return dy.reshape(input_shape)


vjp_of_flatten.bind(view_binder(vjp_of_flatten))


@identity.vjp
def vjp_of_identity(dy):
    return dy


declare(shape, size, vjp=no_gradient)


# --- the same elements in another order -----------------------------------------------------------


@op("Transpose", since=1)
def transpose(data, *, perm=None):
    """y.shape[i] = x.shape[perm[i]], a view; without ``perm`` the axes are reversed.

    Spec: Transpose-1.
    """
    if perm is not None and sorted(perm) != list(range(data.ndim)):
        raise ValueError(f"perm {tuple(perm)} is not a permutation of the {data.ndim} axes")
    return data.transpose(perm)


transpose.bind(view_binder(transpose))


@transpose.vjp
def vjp_of_transpose(dy, *, perm):
    return dy.transpose(None if perm is None else np.argsort(perm))


vjp_of_transpose.bind(view_binder(vjp_of_transpose))


declare(unsqueeze, unsqueeze_1, identity, shape, size, transpose, cost=no_cost)


# a copy is only necessary if the elements aren't contiguous
@reshape.cost
@reshape_1.cost
@flatten.cost
@flatten_1.cost
@squeeze.cost
@squeeze_1.cost
def cost_of_reshape(data: np.ndarray, *_: Any, **__: Any) -> Cost:
    copied = 2 * reshape_bytes(data)  # a bound one copies to memory of its own
    return Cost(copied, 30 * data.size if copied else 0)


@op("DepthToSpace", since=1, without=["mode"])
@op("DepthToSpace", since=11)
def depth_to_space(input, *, blocksize, mode="DCR"):
    """Channels become blocks of pixels: (N, C·b², H, W) to (N, C, H·b, W·b).

    ``mode`` says how the input's channels are ordered: DCR is (b, b, C), CRD is (C, b, b).
    Spec: DepthToSpace-11.
    """
    n, c, h, w = _check_image_shape(input)
    b = blocksize
    if b < 1 or c % (b * b):
        raise ValueError(f"{c} channels are not a multiple of blocksize {b} squared")
    if _check_mode(mode) == "DCR":
        blocks = input.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = input.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c // (b * b), h * b, w * b)


@op("SpaceToDepth", since=1, without=["mode"])
@op("SpaceToDepth", since=28)
def space_to_depth(input, *, blocksize, mode="DCR"):
    """Blocks of pixels become channels: (N, C, H·b, W·b) to (N, C·b², H, W).

    ``mode`` says how the output's channels are ordered: DCR is (b, b, C), CRD is (C, b, b).
    Spec: SpaceToDepth-1, SpaceToDepth-28.
    """
    n, c, h, w = _check_image_shape(input)
    b = blocksize
    if b < 1 or h % b or w % b:
        raise ValueError(f"height {h} and width {w} are not multiples of blocksize {b}")
    blocks = input.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if _check_mode(mode) == "DCR" else (0, 1, 3, 5, 2, 4)
    return blocks.transpose(order).reshape(n, c * b * b, h // b, w // b)


@depth_to_space.vjp
def vjp_of_depth_to_space(dy, *, blocksize, mode="DCR"):
    return space_to_depth(dy, blocksize=blocksize, mode=mode)


@space_to_depth.vjp
def vjp_of_space_to_depth(dy, *, blocksize, mode="DCR"):
    return depth_to_space(dy, blocksize=blocksize, mode=mode)


def _check_image_shape(input: np.ndarray) -> tuple[int, ...]:
    if input.ndim != 4:
        raise ValueError(f"input {input.shape} should be (N, C, H, W)")
    return input.shape


def _check_mode(mode: str) -> str:
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"mode {mode!r} should be 'DCR' or 'CRD'")
    return mode


@depth_to_space.cost
@space_to_depth.cost
def cost_of_blocks(input: np.ndarray, **_: Any) -> Cost:
    return Cost(input.nbytes + reshape_bytes(input), 30 * input.size)


# --- more of the same elements --------------------------------------------------------------------


@op("Expand", since=8)
def expand(input, shape):
    """Broadcast the input and ``shape`` against each other: a read-only view. Spec: Expand-8."""
    sizes = as_ints(shape)
    pairs = zip(reversed(input.shape), reversed(sizes), strict=False)
    if min(sizes, default=0) < 0 or any(a != b and 1 not in (a, b) for a, b in pairs):
        raise ValueError(f"can't expand {input.shape} to {sizes}")
    return np.broadcast_to(input, np.broadcast_shapes(input.shape, sizes))


@expand.vjp
def vjp_of_expand(dy, *, input_shape):
    return reduce_to(dy, input_shape)


@op("Tile", since=6)
def tile(input, repeats):
    """Repeat the tensor ``repeats[i]`` times along axis i. Spec: Tile-6."""
    return _tile(input, as_ints(repeats))


@op("Tile", since=1, until=6)
def tile_1(input, tiles, axis):
    """Repeat the tensor ``tiles`` times along ``axis``. Spec: Tile-1."""
    repeats = [1] * input.ndim
    repeats[normalize_axis(as_int(axis, "axis"), input.ndim)] = as_int(tiles, "tiles")
    return _tile(input, tuple(repeats))


def _tile(input: np.ndarray, repeats: tuple[int, ...]) -> np.ndarray:
    if len(repeats) != input.ndim or min(repeats, default=0) < 0:
        raise ValueError(
            f"repeats {repeats} should be one non-negative number for each axis of {input.shape}"
        )
    # (a, b) becomes (repeat, a, repeat, b) by broadcasting, and is copied once, by the reshape
    interleaved = [n for pair in zip(repeats, input.shape, strict=True) for n in pair]
    ones = [n for size in input.shape for n in (1, size)]
    tiled = np.broadcast_to(input.reshape(ones), interleaved)
    return tiled.reshape([r * size for r, size in zip(repeats, input.shape, strict=True)])


@tile.vjp
@tile_1.vjp
def vjp_of_tile(dy, *, input_shape):
    """The sum of the copies."""
    sides = [(whole // max(n, 1), n) for whole, n in zip(dy.shape, input_shape, strict=True)]
    copies = dy.reshape([n for side in sides for n in side])
    return copies.sum(tuple(range(0, copies.ndim, 2)))


expand.cost(no_cost)


@tile.cost
def cost_of_tile(input: np.ndarray, repeats: np.ndarray) -> Cost:
    return _cost_of_tile(input, as_ints(repeats))


@tile_1.cost
def cost_of_tile_1(input: np.ndarray, tiles: np.ndarray, axis: np.ndarray) -> Cost:
    return _cost_of_tile(input, [as_int(tiles, "tiles")])


def _cost_of_tile(input: np.ndarray, repeats: Sequence[int]) -> Cost:
    return fill_cost((count_of(repeats), input.size), input.dtype)


# ------------------------------------------------------------------------------------------- facts

declare(
    depth_to_space, expand, flatten, flatten_1, identity, reshape,
    reshape_1, shape, size, space_to_depth, squeeze, squeeze_1, tile,
    tile_1, transpose, unsqueeze, unsqueeze_1, flops=flops.zero,
)  # fmt: skip
declare(flatten, flatten_1, squeeze, squeeze_1, unsqueeze, unsqueeze_1, batch_axis=batch.same_size)
declare(reshape, reshape_1, batch_axis=batch.reshape)
declare(shape, size, batch_axis=batch.no_samples)
identity.batch_axis(batch.elementwise)
declare(depth_to_space, space_to_depth, choices={"mode": "DCR CRD"})


@transpose.batch_axis
def batch_axis_of_transpose(samples, inputs, outputs, *, perm, **_):
    perm = list(perm or reversed(range(inputs[0].ndim)))
    return [perm.index(samples[0])]
