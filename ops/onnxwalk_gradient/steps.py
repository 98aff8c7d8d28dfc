"""Where gradients start, flow together, and what is kept of a value in place of it."""

from __future__ import annotations

import functools

import numpy as np

from onnxwalk.ops.contract.cost import no_cost
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.gradients import shape_and_dtype
from onnxwalk.ops.contract.registry import fused
from onnxwalk.ops.fast.elementwise import constant_binder
from onnxwalk.ops.shared.cost import CHEAP, elementwise
from onnxwalk.ops.shared.numeric import wide


@fused.op("Seed", since=1, domain=GRADIENT_DOMAIN)
def seed(y: np.ndarray, given: np.ndarray | None = None, *, of_sum: int = 0) -> np.ndarray:
    """The gradient with which the way back starts: 1, for y of one element, or what is given.

    ``of_sum``: of the sum of y, which may have any shape.
    """
    if given is not None:
        if given.shape != y.shape or given.dtype != y.dtype:
            raise ValueError(
                f"the seed is {given.dtype} {given.shape}, but the value is {y.dtype} {y.shape}"
            )
        return given
    if y.size != 1 and not of_sum:
        raise ValueError(
            f"a value of shape {y.shape} is no scalar: pass seed=, an array of this shape that "
            "it is multiplied by"
        )
    return np.ones_like(y)


@fused.op("SumOfGradients", since=1, domain=GRADIENT_DOMAIN)
def sum_of_gradients(*dxs: np.ndarray) -> np.ndarray:
    """The sum of the gradients of one value along all its ways. Short floats are added up in
    float32."""
    return functools.reduce(np.add, map(wide, dxs)).astype(dxs[0].dtype, copy=False)


@fused.op("Zeros", since=1, domain=GRADIENT_DOMAIN)
def zeros(x: np.ndarray) -> np.ndarray:
    """The gradient of a value that nothing flows back to."""
    return np.zeros_like(x)


zeros.cost(elementwise(per_element=CHEAP))


@fused.op("ShapeAndType", since=1, domain=GRADIENT_DOMAIN)
def shape_and_type(x: np.ndarray) -> np.ndarray:
    """The element type and the shape of a value that isn't kept itself."""
    return shape_and_dtype(x)


shape_and_type.bind(constant_binder(shape_and_type))
shape_and_type.cost(no_cost)
declare(seed, zeros, shape_and_type, vjp=no_gradient)
seed.cost(elementwise(per_element=CHEAP))
sum_of_gradients.cost(elementwise(3, widened=True, per_element=30))
