"""What ``load`` and a run may use: ``Limits``, which ``interpreter.budget`` enforces."""

from __future__ import annotations

import functools
import math
import os
import sys
from dataclasses import field, fields

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.ops.contract.records import record

#: the machine's memory where the system doesn't report it (Windows, WebAssembly)
_UNKNOWN_MACHINE = 4 << 30


@functools.cache
def half_of_memory() -> int:
    """Half of the bytes that this machine, the control group of this process, or the addresses of
    32 bits have."""
    try:
        size, count = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        size = count = -1
    total = size * count if size > 0 and count > 0 else _UNKNOWN_MACHINE
    total = min(total, sys.maxsize + 1)  # 2 GiB with 32 bits, however much the machine has
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            total = min(total, int(file.read()))
    except (OSError, ValueError):  # no control groups, or "max"
        pass
    return total // 2


@record(frozen=True)
class Limits:
    """What loading a model, and each run of it, may use. ``None``: no limit.

    A call that would exceed a limit raises LimitError before it begins, by the registered cost of
    its operator (``ops.contract.cost``). The defaults stop no honest model on a machine that it
    fits, but do stop a file that allocates terabytes or loops for ever.

    Raises InvalidInputError for values other than non-negative numbers and ``None``.
    """

    #: bytes at once, beyond the file's weights and what the caller feeds
    max_memory: int | None = field(default_factory=half_of_memory)
    #: bytes of any one tensor that is computed
    max_tensor_bytes: int | None = None
    #: seconds for loading, and for each run; a call that is known to take longer doesn't begin
    max_seconds: float | None = None
    #: iterations of all loops of a run together
    max_loop_iterations: int | None = 300_000
    #: nodes of a model, including subgraphs and, for every call, the body of the function
    max_nodes: int | None = 1_000_000
    #: how deep subgraphs and calls of functions nest
    max_nesting: int | None = 64
    #: bytes of the strings of one tensor that is computed
    max_string_bytes: int | None = 1 << 28

    def __post_init__(self) -> None:
        for name, value in self.as_pairs():
            number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            if not number or (name != "max_seconds" and value % 1 != 0):
                kind = "number" if name == "max_seconds" else "integer"
                raise InvalidInputError(
                    f"{name} must be a non-negative {kind}, or None for no limit, not {value!r}"
                )

    def as_pairs(self) -> list[tuple[str, float]]:
        """Name and value of each limit that is set."""
        found = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return [(name, value) for name, value in found if value is not None]


_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", 1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}


def parse_bytes(text: str) -> int:
    """ "2GiB", "500 MB" or "1000000" as a number of bytes. Raises ValueError."""
    number = text.strip().rstrip("BbGgIiKkMmTt ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        value = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{text!r} is not a size: use bytes, KB, MB, GB, TB, KiB, MiB, GiB or TiB")
    return int(value)


def format_bytes(count: float) -> str:
    """A number of bytes for people: "1.5 GiB"."""
    if count < 1024:
        return f"{count:.0f} bytes"
    power = min(int(math.log2(count)) // 10, 4)
    number = count / 1024**power
    return f"{number:{'.3g' if number < 999.5 else '.0f'}} {'KMGT'[power - 1]}iB"
