"""Quantized tensors as whole numbers of steps, and the constants that describe them."""

from __future__ import annotations

import math

import numpy as np

from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.ops.contract.dtypes import element_type
from onnxwalk.ops.contract.records import record, replace

#: float32 holds the whole numbers up to this
_EXACT = 2.0**24
#: weights that are summed at a time: they fit the second-level cache
_AT_ONCE = 1 << 16
#: the largest whole weight: 255 with a zero point of -128
_LARGEST = 383


@record(frozen=True)
class Steps:
    """The float32 value ``name`` holds a tensor as numbers of steps, from ``low`` to ``high``."""

    name: str
    low: int
    high: int
    scale: np.float32  # the size of a step
    zero_point: np.ndarray  # of a quantized tensor

    @property
    def numbers(self) -> np.ndarray:
        """All numbers from low to high, in float32."""
        return np.arange(self.low, self.high + 1, dtype=np.float32)


@record(frozen=True)
class Whole:
    """Constant whole numbers in float32, with one scale or one for each output channel."""

    values: np.ndarray
    scale: np.ndarray  # float64, () or (M)


def factor_of(source: Steps, weights: Whole, new: Steps, alpha: float = 1.0) -> np.ndarray:
    """What makes ``new`` steps of sums of products: each operation rounded to float32, as in
    QLinearConv and QGemm."""
    scale = np.float32(alpha) * source.scale
    return np.asarray(scale * weights.scale.astype(np.float32) / np.float32(new.scale))


def read_steps(
    links: Links, node: Node, scale: str = "", zero_point: str = "", *_: str
) -> Steps | None:
    """The steps, without a name yet, that a node's constant scale and zero point describe, if they
    have one value each: of 8 bits, and of float32."""
    size = links.constant(scale)
    zero = links.constant(zero_point) if zero_point else np.zeros((), np.uint8)
    if size is None or zero is None or size.size != 1 or zero.size != 1:
        return None
    if zero.dtype not in (np.uint8, np.int8) or size.dtype != np.float32:
        return None
    if node.attributes.get("block_size") or not 0 < size.item() < math.inf:
        return None
    limits = np.iinfo(zero.dtype)
    low, high = (int(limit) - int(zero.item()) for limit in (limits.min, limits.max))
    return Steps("", low, high, np.float32(size.item()), zero.reshape(()))


def read_dequantized(links: Links, name: str, outputs_at: int) -> Whole | None:
    """The constant that a DequantizeLinear reads, with one scale or those of its outputs."""
    node = links.maker.get(name)
    if node is None or node.op_type != "DequantizeLinear" or node.attributes.get("block_size"):
        return None
    found = read_weights(links, *node.inputs)
    if found is None or not links.is_operator(node, node.op_type, domain=node.domain):
        return None
    axis = node.attributes.get("axis", 1) % found.values.ndim
    return found if found.scale.ndim == 0 or axis == outputs_at else None


def read_weights(links: Links, name: str, scale: str = "", zero_point: str = "") -> Whole | None:
    """Constant numbers of 8 bits minus their zero point (one, or zeros), and their scale."""
    values = links.constant(name)
    size = links.constant(scale) if scale else np.ones((), np.float32)
    zero = links.constant(zero_point) if zero_point else np.zeros((), np.int8)
    if values is None or size is None or zero is None or not values.ndim:
        return None
    if values.dtype not in (np.int8, np.uint8) or size.dtype != np.float32:
        return None
    if not zero.size or (zero.any() and zero.size > 1):
        return None
    if (
        not size.size
        or (size.size > 1 and size.ndim != 1)
        or not (np.isfinite(size) & (size > 0)).all()
    ):
        return None
    whole = values.astype(np.float32)
    if zero.any():
        whole -= zero.reshape(-1)[0].astype(np.float32)
    return Whole(whole, size.astype(np.float64).reshape(() if size.size == 1 else -1))


def read_bias(links: Links, name: str, scale: np.ndarray, channels: int) -> np.ndarray | None:
    """A bias in units of the sums' scale: whole numbers where the file has them."""
    node = links.maker.get(name)
    whole, size = None, None
    if node is not None and links.is_operator(node, "DequantizeLinear"):
        whole, size = (links.constant(n) for n in node.inputs[:2])
        zero = links.constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if whole is None or size is None or (zero is not None and zero.any()):
            return None
        if size.shape not in ((), (1,), whole.shape):
            return None
        given = whole * size.astype(np.float64)
    else:
        found = links.constant(name)
        if found is None or found.dtype != np.float32:
            return None
        given = found.astype(np.float64)
    if given.shape not in ((channels,), (1, channels)):
        return None
    steps = given.reshape(-1) / scale
    near = np.rint(steps)
    is_whole = whole is not None and bool(
        (np.abs(steps - near) <= 1e-3 + 1e-6 * np.abs(near)).all()
    )
    return (near if is_whole else steps).astype(np.float32)


def code_of(steps: Steps) -> int:
    return element_type(steps.zero_point.dtype).code


def bytes_of(steps: Steps) -> np.ndarray:
    """All values of a quantized tensor."""
    kind = steps.zero_point.dtype
    return (steps.numbers.astype(np.int32) + steps.zero_point.astype(np.int32)).astype(kind)


def limited(new: Steps, low: float, high: float) -> Steps:
    """The steps between the limits of a float."""
    first, last = (float(np.rint(np.float32(x) / new.scale)) for x in (low, high))
    return replace(
        new,
        low=int(max(new.low, min(first, new.high))),
        high=int(min(new.high, max(last, new.low))),
    )


def is_exact(rows: np.ndarray, source: Steps, bias: np.ndarray | None = None) -> bool:
    """Whether float32 holds all sums of products in any order, as the positive and the negative
    ones of each output stay below 2²⁴. rows (M, …): the weights of each output."""
    rows = rows.reshape(len(rows), -1)
    kind = np.float32 if rows.shape[1] * _LARGEST < _EXACT else np.float64
    total, size = np.empty((2, len(rows)))
    step = max(1, _AT_ONCE // max(rows.shape[1], 1))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        total[start : start + step] = part.sum(1, dtype=kind)
        size[start : start + step] = np.abs(part).sum(1, dtype=kind)
    up, down = (size + total) / 2, (size - total) / 2
    most = np.maximum(up * source.high - down * source.low, down * source.high - up * source.low)
    return bool((most + (0 if bias is None else np.abs(bias))).max(initial=0) < _EXACT)
