"""Unique names."""

from __future__ import annotations

import re
from collections.abc import Iterable


def reserve_name(name: str, used: set[str]) -> str:
    """Add the name to ``used`` and return it, with _1, _2 … (before ":0") if it was there."""
    stem, colon, index = name.rpartition(":") if re.search(r":\d+$", name) else (name, "", "")
    candidate, number = name, 0
    while candidate in used:
        number += 1
        candidate = f"{stem}_{number}{colon}{index}"
    used.add(candidate)
    return candidate


def make_unique(names: Iterable[str]) -> list[str]:
    """The names, repeated ones with _1, _2 … added."""
    used: set[str] = set()
    return [reserve_name(name, used) for name in names]
