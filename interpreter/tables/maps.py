"""Maps of scikit-learn's classifiers as columns: a list of {class: probability} is an array."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_columns(value: Any) -> tuple[np.ndarray, list[str]] | None:
    """A sequence of maps with the same keys as an array (maps, keys), and the keys as text; one map
    as one row; ``None`` for other values."""
    maps = [value] if isinstance(value, dict) else value
    if not isinstance(maps, list) or not maps or not all(isinstance(m, dict) for m in maps):
        return None
    keys = list(maps[0])
    if not keys or any(m.keys() != maps[0].keys() for m in maps):
        return None
    first = maps[0][keys[0]]
    if np.ndim(first) or np.asarray(first).dtype.kind not in "biuf":
        return None
    array = np.array([[m[key] for key in keys] for m in maps], np.asarray(first).dtype)
    return array, [str(key) for key in keys]


def as_maps(array: np.ndarray, keys: list[str]) -> list[dict[str, Any]]:
    """The maps that ``as_columns`` made an array of."""
    return [dict(zip(keys, row, strict=True)) for row in array.tolist()]
