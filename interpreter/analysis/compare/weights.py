"""The weights of two files beside each other, quantized ones as what they stand for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from onnxwalk.interpreter.analysis.compare.comparison import Sides
from onnxwalk.interpreter.analysis.compare.metrics import EXACT, Difference, difference
from onnxwalk.interpreter.analysis.compare.quantized import Grids, find_counterparts
from onnxwalk.interpreter.constants import as_array, own_tensors
from onnxwalk.interpreter.session import Session


class WeightRow(NamedTuple):
    """A weight that both files have; ``step``: that of its grid, if one of the two is quantized."""

    a: str
    b: str
    difference: Difference
    step: float | None


def compare_weights(sides: Sides) -> list[WeightRow]:
    """The constants of two files that have the same name, or had it before one was quantized, and
    aren't equal; those that differ most, by their SQNR, first. None if the sides are of one file,
    or a Keras model."""
    one, two = sides.models
    if one is None or two is None or one is two:
        return []
    mine, theirs = own_tensors(one.model.graph), own_tensors(two.model.graph)
    matches = {name: name for name in mine if name in theirs}
    matches |= {old: name for name, old in _origins(two, sides.grids[1], one).items()}
    matches |= _origins(one, sides.grids[0], two)
    rows = []
    for a, b in matches.items():
        x, step_a = _real(a, as_array(mine[a]), sides.grids[0])
        y, step_b = _real(b, as_array(theirs[b]), sides.grids[1])
        are_floats = ["float" in array.dtype.name for array in (x, y)]
        if are_floats[0] != are_floats[1] or a in sides.grids[0].parameters:
            continue
        step = max(step_a, step_b) if not (step_a and step_b) else 0.0
        if x.shape != y.shape and x.shape == y.T.shape:
            y = y.T  # as quantizers store the weights of a Gemm
        result = difference(x, y, EXACT)
        if not result.equal:
            rows.append(WeightRow(a, b, result, step or None))
    return sorted(rows, key=_rank)


def _origins(session: Session, grids: Grids, other: Session) -> dict[str, str]:
    """For the quantized weights of a file those of the other, also where a DequantizeLinear stands
    between a weight and the node that reads it."""
    graph, tensors = session.model.graph, own_tensors(session.model.graph)
    names = [*tensors, *(name for name in grids.reals if grids.before[name] in tensors)]
    others = own_tensors(other.model.graph)
    found = find_counterparts(graph, grids, other.model.graph, names, others)
    return {
        name if name in tensors else grids.before[name]: origin for name, origin in found.items()
    }


def _real(name: str, array: np.ndarray, grids: Grids) -> tuple[np.ndarray, float]:
    """A weight as real numbers, and the step of its grid, 0 if it isn't quantized."""
    grid = grids.integers.get(name)
    if grid is None or not grid.fits(array.shape):
        return array, 0.0
    return grid.to_real(array), grid.step


def _rank(row: WeightRow) -> float:
    sqnr = row.difference.statistics.sqnr
    return -float("inf") if sqnr is None else sqnr
