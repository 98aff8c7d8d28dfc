"""Quantized values as whole numbers of steps, q - zero_point, in float32; by ``quantized``.

Sums of products of bytes are whole numbers, which float32 holds exactly up to 2²⁴: its fast
products compute what integers would. The zero point is taken off, so that padding is 0.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from onnxwalk.ops.ai_onnx import quantize
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import FUSED_DOMAIN, fused
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast.blocks import cache_blocks
from onnxwalk.ops.fast.calls import largest_number_into, minimum_into, scalar
from onnxwalk.ops.fast.epilogue import requantize as requantize_block
from onnxwalk.ops.shared import batch


@fused.op("Steps", since=1, domain=FUSED_DOMAIN)
def steps(x, scale, *, low, high):
    """round(x / scale), halves to even, between low and high; low for NaN: QuantizeLinear without
    its zero point, as float32. scale: one value."""
    with np.errstate(all="ignore"):
        y = np.rint(x / scale)
    return np.minimum(np.fmax(y, np.float32(low)), np.float32(high))


@steps.bind
def bind_steps(space: Space, x: np.ndarray, scale: np.ndarray, *, low: float, high: float):
    if x.dtype != np.float32 or not space.is_constant(scale):
        return None
    y = space.like(x)
    size = scale.reshape(())
    for source, result in cache_blocks(x, y):
        space.call(np.divide, source, size, result)
        space.call(np.rint, result, result)
        space.call(largest_number_into(result), result, scalar(low, x.dtype))
        space.call(minimum_into(result), result, scalar(high, x.dtype))
    return y


@fused.op("Requantize", since=1, domain=FUSED_DOMAIN)
def requantize(sums, multiplier, *, low, high):
    """round(sums·multiplier), halves to even, between low and high. multiplier broadcasts."""
    return np.clip(np.rint(sums * multiplier), np.float32(low), np.float32(high))


@requantize.bind
def bind_requantize(space: Space, sums, multiplier, *, low: float, high: float):
    if sums.dtype != np.float32 or not space.is_constant(multiplier):
        return None
    y = space.like(sums)
    if multiplier.size > 1:
        requantize_block(multiplier, low, high)(space, sums, y)
        return y
    apply = requantize_block(multiplier.reshape(()), low, high)
    for source, result in cache_blocks(sums, y):
        apply(space, source, result)
    return y


@fused.op("StepsTable", since=1, domain=FUSED_DOMAIN)
def steps_table(a, b, table, *, a_low, b_low):
    """table[a - a_low, b - b_low] of two tensors of steps, which broadcast."""
    return table[(a - a_low).astype(np.intp), (b - b_low).astype(np.intp)]


@steps_table.bind
def bind_steps_table(space: Space, a, b, table, *, a_low: float, b_low: float):
    if a.shape != b.shape or a.dtype != np.float32 or b.dtype != np.float32:
        return None
    if not space.is_constant(table):
        return None
    y = space.like(a, None, b)
    first, width = a_low * table.shape[1] + b_low, table.shape[1]
    flat = table.reshape(-1)
    for left, right, result in cache_blocks(a, b, y):
        place = space.scratch(left.shape, a.dtype)
        index = space.scratch(left.shape, np.intp)
        space.call(np.multiply, left, scalar(width, a.dtype), place)
        space.call(np.add, place, right, place)
        space.call(np.subtract, place, scalar(first, a.dtype), place)
        space.call(partial(np.copyto, casting="unsafe"), index, place)
        space.call(flat.take, index, None, result, "wrap")  # in range: wrap is the quickest
        space.free_scratch(index)
        space.free_scratch(place)
    return y


@fused.op("DynamicSteps", since=1, domain=FUSED_DOMAIN)
def dynamic_steps(x):
    """DynamicQuantizeLinear's y - y_zero_point as float32, y_scale and y_zero_point."""
    scale, zero_point = quantize.dynamic_parameters(x)
    y = steps(x, scale, low=-float(zero_point), high=255 - float(zero_point))
    return y, scale, np.asarray(zero_point)


@dynamic_steps.bind
def bind_dynamic_steps(space: Space, x: np.ndarray):
    if x.dtype != np.float32:
        return None
    y = space.like(x)
    scale, zero_point = space.array((), np.float32), space.array((), np.uint8)
    low, high = (space.scratch((), np.float32) for _ in range(2))
    space.call(_find_parameters, x, scale, zero_point, low, high)
    for source, result in cache_blocks(x, y):
        space.call(np.divide, source, scale, result)
        space.call(np.rint, result, result)
        space.call(largest_number_into(result), result, low)
        space.call(minimum_into(result), result, high)
    return y, scale, zero_point


def _find_parameters(x, scale, zero_point, low, high) -> None:
    scale[()], zero_point[()] = quantize.dynamic_parameters(x)
    low[()] = -np.float32(zero_point)
    high[()] = 255 + low


@steps.cost
@requantize.cost
@steps_table.cost
@dynamic_steps.cost
def cost_of_steps(x, *_, **__) -> Cost:
    return Cost(24 * x.size, 60 * x.size)


declare(steps, requantize, steps_table, batch_axis=batch.elementwise)
