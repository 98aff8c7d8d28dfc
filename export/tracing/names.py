"""Names that nothing else has."""

from __future__ import annotations

import re
from collections.abc import Iterable


def reserve_name(name: str, taken: set[str]) -> str:
    """The name, with _1, _2 … if it is taken (before the ":0" of a tensor); takes it."""
    stem, colon, index = name.rpartition(":") if re.search(r":\d+$", name) else (name, "", "")
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{stem}_{number}{colon}{index}"
    taken.add(candidate)
    return candidate


def make_unique(names: Iterable[str]) -> list[str]:
    """The names, repeated ones with _1, _2 … added."""
    taken: set[str] = set()
    return [reserve_name(name, taken) for name in names]
