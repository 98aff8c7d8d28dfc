"""What ``load`` and a run may use: ``Limits``. ``interpreter.budget`` keeps them."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from onnxwalk.interpreter.errors import InvalidInputError

#: what is taken for the machine's memory where nothing tells it
_UNKNOWN_MACHINE = 4 << 30


@functools.cache
def half_of_memory() -> int:
    """Half of the bytes that this machine, or the control group of this process, has."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = _UNKNOWN_MACHINE
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            total = min(total, int(file.read()))
    except (OSError, ValueError):  # no control groups, or "max"
        pass
    return total // 2


@dataclass(frozen=True)
class Limits:
    """What loading a model, and each run of it, may use. ``None``: as much as it likes.

    What is over a limit is refused with a LimitError before it is there, by what an operator is
    known to need for its inputs (``ops.contract.cost``). The defaults stop no honest model on a
    machine that it fits, and still contain a file that asks for terabytes or loops for ever.

    Raises InvalidInputError for values that are no limits.
    """

    #: bytes at once, beyond the file's weights and what the caller feeds
    max_memory: int | None = field(default_factory=half_of_memory)
    #: bytes of any one tensor that is computed
    max_tensor_bytes: int | None = None
    #: seconds for loading, and for each run. A call that is known to take longer isn't begun.
    max_seconds: float | None = None
    #: how often the bodies of all loops of a run are run, together
    max_loop_iterations: int | None = 300_000
    #: nodes of a model, with those of subgraphs, and with the bodies of functions for every call
    max_nodes: int | None = 1_000_000
    #: how deep subgraphs and calls of functions nest
    max_nesting: int | None = 64
    #: bytes of the strings of one tensor that is computed
    max_string_bytes: int | None = 1 << 28

    def __post_init__(self) -> None:
        for name, value in self.as_pairs():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not value >= 0 or (name != "max_seconds" and value != int(value)):
                raise InvalidInputError(f"{name} is {value!r}: give a number, or None for no limit")

    def as_pairs(self) -> list[tuple[str, float]]:
        """The limits that there are, by name."""
        found = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return [(name, value) for name, value in found if value is not None]


_UNITS: Mapping[str, int] = {
    "": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
    "B": 1,
}


def parse_bytes(text: str) -> int:
    """ "2GiB", "500 MB" or "1000000" as a number of bytes. Raises ValueError."""
    number = text.strip().rstrip("BbGgIiKkMmTt ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        value = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{text!r} is no size: give bytes, or KB, MB, GB, TB, KiB, MiB, GiB, TiB")
    return int(value)


def format_bytes(count: float) -> str:
    """A number of bytes to read: "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1024
    raise AssertionError
