"""How many rows make a part, where what is given may be split anywhere."""

from __future__ import annotations

import math

from onnxwalk.interpreter.errors import InvalidInputError

#: what a part costs beside its rows: to open, to write, to rename, to note. Measured, as are the
#: others, by ``python -m tests.programs.scaling``
SECONDS_PER_PART = 0.005
#: of a Dask scheduler, to hand out one part
SECONDS_PER_DISPATCH = 0.001
#: while the last parts are computed most workers have nothing to do: for so many times a part's
#: seconds, where some machines are slower than others
_LAST = 1.5
#: failures of a worker in a second, of which each loses half a part
_FAILURES = 1 / (24 * 3600)
#: how much more than the scheduler can hand out the workers may be busy for
_SPARE = 1.25


def rows_per_part(
    rows: int,
    workers: int,
    seconds_per_row: float,
    *,
    seconds_per_part: float = SECONDS_PER_PART,
    seconds_per_dispatch: float = 0.0,
) -> int:
    """How many rows each part should have, so that ``workers`` are done with all of them soon.

    Small parts cost time each; large ones leave workers idle at the end, and are lost when a worker
    dies. With m seconds of work for each worker the sum of all that is least for parts of
    √(m · cost of a part / (1.5 + m · failures in a second / 2)) seconds. Below what the scheduler
    needs to hand out a part to each worker, larger parts are faster. Every worker gets the same
    number of parts.

    ``seconds_per_dispatch``: of the scheduler, for each part; ``SECONDS_PER_DISPATCH`` is Dask's.

    Raises InvalidInputError unless there are a worker and a row, and ``seconds_per_row`` is a
    number above 0.
    """
    if rows < 1 or workers < 1 or not 0 < seconds_per_row < math.inf:
        raise InvalidInputError(
            "rows_per_part takes at least one row and one worker, and seconds above 0, not "
            f"rows={rows}, workers={workers}, seconds_per_row={seconds_per_row}"
        )
    work = rows * seconds_per_row / workers
    cost = seconds_per_part + seconds_per_dispatch
    seconds = math.sqrt(work * cost / (_LAST + work * _FAILURES / 2))
    seconds = max(seconds, _SPARE * workers * seconds_per_dispatch - seconds_per_part)
    parts_each = max(1, math.floor(work / seconds)) if seconds > 0 else math.inf
    return math.ceil(rows / min(rows, workers * parts_each))
