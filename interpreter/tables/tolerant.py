"""Rows that can't be read, among those that can: noted, and filled with zeros in the arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError


def read_tolerantly(
    make: Callable[[int, int], np.ndarray],
    length: int,
    dtype: np.dtype | None,
    note: Callable[[int, str], object],
) -> np.ndarray:
    """``length`` rows as one array; ``note`` hears of each row without a value, and why.

    ``make``: returns the rows from one number up to another, or raises InvalidInputError. It is
    called for halves of what it refuses, so that a few damaged rows cost little.
    """
    pieces: list[tuple[int, int, np.ndarray]] = []
    waiting = [(0, length)]
    while waiting:
        start, stop = waiting.pop()
        try:
            pieces.append((start, stop, make(start, stop)))
        except InvalidInputError as error:
            if stop - start <= 1:
                note(start, str(error))
            else:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
    if len(pieces) == 1 and pieces[0][2].shape[:1] == (length,):
        return pieces[0][2]
    shapes: Counter[tuple[int, ...]] = Counter()
    for start, stop, piece in pieces:
        shapes[piece.shape[1:]] += stop - start
    usual = shapes.most_common(1)[0][0] if shapes else ()
    kind = dtype or (pieces[0][2].dtype if pieces else np.dtype(np.float32))
    rows = np.full((length, *usual), "" if kind.kind == "O" else 0, kind)
    for start, stop, piece in pieces:
        if piece.shape[1:] == usual:
            rows[start:stop] = piece
        else:
            for row in range(start, stop):
                note(row, f"shape {piece.shape[1:]}, where the others have {usual}")
    return rows
