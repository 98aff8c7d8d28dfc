"""How the time of large calls compares with what the operators say that it is at most:

    python -m tests.programs.benchmarks.cost [OPERATOR …]

``Need.work`` is meant for one core that is half as fast as this one when nothing else runs: the
ratio of the measured time to it should be 0.7 at most, and for common operators not below 0.02.
Memory is compared by tests/ops/contract/test_needs.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from tests.support.large_cases import Large, large_cases

REPEATS = 3
SLOW, LOOSE = 0.7, 0.02


def main(argv: Sequence[str] | None = None) -> int:
    """All cases, by their ratios; the command's status is 1 if one is too slow."""
    names = set(sys.argv[1:] if argv is None else argv)
    rows = sorted(
        (ratio(case), str(case))
        for case in large_cases()
        if not names or case.operator.name in names
    )
    for value, name in rows:
        word = "too slow" if value > SLOW else "loose" if value < LOOSE else ""
        print(f"{value:8.3f}  {name:50} {word}".rstrip())
    return int(any(value > SLOW for value, _ in rows))


def ratio(case: Large) -> float:
    """The least processor time of a few calls over what is asked for."""
    function, times = case.operator.function, []
    with np.errstate(all="ignore"):
        for _ in range(REPEATS):
            start = time.process_time_ns()
            function(*case.inputs, **case.keywords)
            times.append(time.process_time_ns() - start)
    return min(times) / max(1, case.operator.cost(*case.inputs, **case.keywords).work)


if __name__ == "__main__":
    sys.exit(main())
