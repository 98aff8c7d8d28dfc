"""Estimates the cost of a run before it begins.

The cost of an operator is a sum of products of its inputs' sizes, and so of the open dimensions: as
a function of one dimension it is a polynomial, mostly of degree 1, of degree 2 in attention. So the
model is walked at three small sizes of each open dimension, while a budget records the cost, and
the polynomial through these is evaluated at the requested size. Where sizes are rounded (strides
that don't divide) the estimate is close, not exact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from onnxwalk.interpreter.budget import Budget, memory_limit_for, use_budget
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError, suggest
from onnxwalk.interpreter.ir.model import TensorInfo, TensorType
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.interpreter.limits import Limits, format_bytes
from onnxwalk.interpreter.runtime.walk import execute
from onnxwalk.ops.shared.numpy_state import computing

#: sizes to walk at, of first axes and of all others; models may reject some
_SMALL = ((1, 32), (1, 64), (1, 16), (1, 224), (1, 1), (1, 8))
#: nanoseconds up to which a batch is enlarged, as small ones don't fill the operators' blocks
_WORTH_WALKING = 300_000_000
_NO_LIMITS = Limits(*[None] * 7)

Sizes: TypeAlias = Mapping[str, int]
#: feeds -> the plan that runs them, and its arguments
Prepare: TypeAlias = Callable[[Mapping[str, Any]], tuple[Plan, list[Any]]]


class Estimate(NamedTuple):
    """What a run costs: ``memory`` in bytes, beyond the weights and the inputs, and ``seconds`` on
    one slow core. A run succeeds with ``Limits(max_memory=memory)``; allowed more, it may use more,
    since a bound plan keeps its memory for the next run."""

    memory: int
    seconds: float

    def __str__(self) -> str:
        return f"up to {format_bytes(self.memory)} and {self.seconds:.3g} s of a slow core"


def estimate(
    inputs: Sequence[TensorInfo], prepare: Prepare, shapes: Mapping[str, Sequence[int]]
) -> Estimate:
    """The cost for inputs of these shapes. Raises InvalidInputError for invalid shapes, and if the
    model doesn't run on zeros of small sizes."""
    sizes = _sizes(inputs, shapes)
    problem: OnnxWalkError | None = None
    for first, other in _SMALL:
        bases = {s: first if _is_first(s, inputs) else other for s in sizes}
        try:
            for symbol, size in sizes.items():
                if _is_first(symbol, inputs):
                    small = {s: min(bases[s], sizes[s]) for s in sizes}
                    _, work = _measure(inputs, prepare, small)
                    bases[symbol] = max(first, min(size // 3, _WORTH_WALKING // max(work, 1)))
            points = {s: _points(bases[s], size) for s, size in sizes.items()}
            costs = {
                at: _measure(inputs, prepare, dict(zip(points, at, strict=True)))
                for at in itertools.product(*points.values())
            }
        except OnnxWalkError as error:
            problem = problem or error
            continue
        memory, nanoseconds = (
            _extrapolate({at: cost[k] for at, cost in costs.items()}, list(sizes.values()))
            for k in (0, 1)
        )
        return Estimate(memory_limit_for(math.ceil(memory)), nanoseconds * 1e-9)
    raise InvalidInputError(f"the model doesn't run on zeros: {problem}")


def _points(base: int, size: int) -> tuple[int, ...]:
    """The sizes to walk at for an estimate at ``size``: just that if it is small."""
    return (size,) if size <= 3 * base else (base, 2 * base, 3 * base)


def _dimensions(info: TensorInfo) -> Iterator[tuple[int, str]]:
    """The open dimensions of an input: axis, and symbol, or "input.axis" if it has none."""
    for axis, size in enumerate(info.shape or ()):
        if not isinstance(size, int):
            yield axis, size or f"{info.name}.{axis}"


def _is_first(symbol: str, inputs: Sequence[TensorInfo]) -> bool:
    return any((0, symbol) in _dimensions(info) for info in inputs)


def _sizes(inputs: Sequence[TensorInfo], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The size of each open dimension. Raises InvalidInputError."""
    found: dict[str, int] = {}
    if not isinstance(shapes, Mapping) or not all(
        isinstance(name, str) and isinstance(shape, Sequence) for name, shape in shapes.items()
    ):
        raise InvalidInputError(f"expected a dict of input names to shapes, got {shapes!r}")
    if unknown := set(shapes) - {info.name for info in inputs}:
        name = min(unknown)
        known = suggest(name, [info.name for info in inputs])
        raise InvalidInputError(f"no input is named {name!r}{known}")
    for info in inputs:
        if info.dtype is None or info.shape is None:
            raise InvalidInputError(f"input {info}: an estimate needs its dtype and rank")
        shape = shapes.get(info.name, info.shape)
        fits = len(shape) == len(info.shape) and all(
            _is_size(given) and (not isinstance(size, int) or given == size)
            for given, size in zip(shape, info.shape, strict=True)
        )
        if not fits:
            raise InvalidInputError(f"expected a shape for input {info}, got {tuple(shape)}")
        for axis, symbol in _dimensions(info):
            size = int(shape[axis])  # type: ignore[arg-type]
            if found.setdefault(symbol, size) != size:
                raise InvalidInputError(f"dimension '{symbol}' is both {found[symbol]} and {size}")
    return found


def _is_size(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


def _measure(inputs: Sequence[TensorInfo], prepare: Prepare, sizes: Sizes) -> tuple[int, int]:
    """The cost of a walk at these sizes: bytes and nanoseconds."""
    feeds: dict[str, Any] = {}
    for info in inputs:
        assert isinstance(info.type, TensorType) and info.shape is not None
        named = dict(_dimensions(info))
        shape = [sizes[named[a]] if a in named else int(d or 0) for a, d in enumerate(info.shape)]
        assert info.dtype is not None
        feeds[info.name] = np.full(shape, "" if info.dtype.kind == "O" else 0, info.dtype)
    plan, arguments = prepare(feeds)
    budget = Budget(_NO_LIMITS, foreign=arguments)
    with use_budget(budget), computing():
        execute(plan, arguments)
    return budget.peak, budget.work


def _extrapolate(values: Mapping[tuple[int, ...], float], sizes: Sequence[int]) -> float:
    """The value at ``sizes``, one dimension after the other."""
    if not sizes:
        return values[()]
    *others, size = sizes
    lines: dict[tuple[int, ...], dict[int, float]] = {}
    for point, value in values.items():
        lines.setdefault(point[:-1], {})[point[-1]] = value
    return _extrapolate({p: _continue(line, size) for p, line in lines.items()}, others)


def _continue(line: Mapping[int, float], size: int) -> float:
    """The value at a size, from that at this size, or from three at equal distances: on the
    parabola through these where it bends up, and in proportion to the last at least. Blocks and
    scratch memory stay the same over a range of sizes: the three alone may show too little."""
    values = [line[x] for x in sorted(line)]
    if len(values) == 1:
        return values[0]
    first, second, third = values
    steps = size / min(line) - 3  # beyond the third size, in distances
    slope = max(third - second, 0)
    bend = max(third - 2 * second + first, 0)
    parabola = third + slope * steps + bend * steps * (steps + 1) / 2
    return max(*values, parabola, third * size / max(line))
