"""Where gradients start, flow together, and what is kept of a value in place of it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, no_cost
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.gradients import dtypes_of, shape_and_dtype, shapes_of
from onnxwalk.ops.contract.registry import fused
from onnxwalk.ops.fast.elementwise import constant_binder
from onnxwalk.ops.shared.cost import CHEAP, elementwise
from onnxwalk.ops.shared.numeric import wide
from onnxwalk.ops.shared.values import all_ints

#: tensors of a sequence, in a message
_MOST_SHOWN = 4


@fused.op("Seed", since=1, domain=GRADIENT_DOMAIN)
def seed(y: Any, given: Any = None, *, of_sum: int = 0) -> Any:
    """The gradient with which the way back starts: 1, for y of one element, or what is given.

    ``of_sum``: of the sum of y, which may have any shape.
    """
    if given is not None:
        if shapes_of(given) != shapes_of(y) or dtypes_of(given) != dtypes_of(y):
            raise ValueError(f"the seed is {_describe(given)}, but the value is {_describe(y)}")
        return given
    if not _is_tensor(y) and of_sum:
        return _by_tensor(np.ones_like, y)
    if not _is_tensor(y):
        raise ValueError(
            f"the value is {_describe(y)}: pass seed=, a list of the arrays that its tensors are "
            "multiplied by"
        )
    if y.size != 1 and not of_sum:
        raise ValueError(
            f"a value of shape {y.shape} is no scalar: pass seed=, an array of this shape that "
            "it is multiplied by"
        )
    return np.ones_like(y)


@fused.op("SumOfGradients", since=1, domain=GRADIENT_DOMAIN)
def sum_of_gradients(*dxs: Any) -> Any:
    """The sum of the gradients of one value along all its ways. Short floats are added up in
    float32."""
    if not _is_tensor(dxs[0]):
        return _by_tensor(sum_of_gradients, *dxs)
    return functools.reduce(np.add, map(wide, dxs)).astype(dxs[0].dtype, copy=False)


@fused.op("Zeros", since=1, domain=GRADIENT_DOMAIN)
def zeros(x: Any) -> Any:
    """The gradient of a value that nothing flows back to."""
    if not _is_tensor(x):
        return _by_tensor(zeros, x)
    return np.zeros_like(x)


zeros.cost(elementwise(per_element=CHEAP))


@fused.op("ShapeAndType", since=1, domain=GRADIENT_DOMAIN)
def shape_and_type(x: Any) -> Any:
    """The element type and the shape of a value that isn't kept itself."""
    return shape_and_dtype(x)


@fused.op("SumOfMapped", since=1, domain=GRADIENT_DOMAIN)
def sum_of_mapped(dxs: Any, x: Any) -> Any:
    """The gradient of an input of SequenceMap, from that of what each call reads of it: x itself if
    it is a tensor, or one element of a sequence."""
    if isinstance(x, list):
        return dxs
    return sum_of_gradients(*dxs) if dxs else np.zeros_like(x)


@fused.op("ZerosForEach", since=1, domain=GRADIENT_DOMAIN)
def zeros_for_each(x: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """``zeros`` for each sample of Scan-8."""
    return np.zeros((len(samples), *x.shape), x.dtype)


@fused.op("ReverseEach", since=1, domain=GRADIENT_DOMAIN, optional=["lengths"])
def reverse_each(lengths: np.ndarray | None, x: np.ndarray) -> np.ndarray:
    """x (samples, time, …) with the first ``lengths`` of each sample in reverse order."""
    if lengths is None:
        return x[:, ::-1]
    y = x.copy()
    for sample, length in enumerate(all_ints(lengths)):
        y[sample, :length] = x[sample, :length][::-1]
    return y


def _is_tensor(x: Any) -> bool:
    return x is not None and not isinstance(x, list)


def _by_tensor(function: Any, *values: Any) -> Any:
    """A function of tensors, of those of sequences; of optionals without a value there is none."""
    if values[0] is None:
        return None
    return [function(*tensors) for tensors in zip(*values, strict=True)]


def _describe(x: Any) -> str:
    """The type and the shape of a value."""
    if isinstance(x, list):
        return f"a sequence of {len(x)}" + "".join(
            f", {_describe(item)}" for item in x[:_MOST_SHOWN]
        )
    return "nothing" if x is None else f"{x.dtype} {x.shape}"


shape_and_type.bind(constant_binder(shape_and_type))
shape_and_type.cost(no_cost)
declare(seed, zeros, sum_of_mapped, zeros_for_each, reverse_each, shape_and_type, vjp=no_gradient)
reverse_each.cost(elementwise(per_element=CHEAP))
zeros_for_each.cost(lambda x, samples: Cost(x.nbytes * len(samples), CHEAP * x.size * len(samples)))
seed.cost(elementwise(per_element=CHEAP))
declare(sum_of_gradients, sum_of_mapped, cost=elementwise(3, widened=True, per_element=30))
