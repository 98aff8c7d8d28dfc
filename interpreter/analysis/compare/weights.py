"""The weights of two files beside each other, quantized ones as what they stand for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from onnxwalk.interpreter.analysis.compare.comparison import Sides
from onnxwalk.interpreter.analysis.compare.metrics import EXACT, Difference, difference
from onnxwalk.interpreter.analysis.compare.quantized import Grids, find_origins
from onnxwalk.interpreter.constants import as_array, own_tensors


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
    new = [name for name in theirs if name not in mine]
    matches |= {old: name for name, old in find_origins(new, sides.grids[1], mine).items()}
    matches |= find_origins([n for n in mine if n not in theirs], sides.grids[0], theirs)
    rows = []
    for a, b in matches.items():
        x, step_a = _real(a, as_array(mine[a]), sides.grids[0], b in sides.grids[1].integers)
        y, step_b = _real(b, as_array(theirs[b]), sides.grids[1], a in sides.grids[0].integers)
        if x.shape != y.shape and x.shape == y.T.shape:
            y = y.T  # as quantizers store the weights of a Gemm
        result = difference(x, y, EXACT)
        if not result.equal:
            rows.append(WeightRow(a, b, result, max(step_a, step_b) or None))
    return sorted(rows, key=_rank)


def _real(name: str, array: np.ndarray, grids: Grids, both: bool) -> tuple[np.ndarray, float]:
    grid = grids.integers.get(name)
    if both or grid is None or not grid.fits(array.shape):
        return array, 0.0
    return grid.to_real(array), grid.step


def _rank(row: WeightRow) -> float:
    sqnr = row.difference.statistics.sqnr
    return -float("inf") if sqnr is None else sqnr
