"""Files, part by part, by the workers of a Dask scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.batches import Done, run_part
from onnxwalk.interpreter.dask.reference import Reference, refer
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.optional import require

#: how often a part is done again after an error that isn't about the part or the model
_RETRIES = 3


@dataclass(frozen=True)
class Failed:
    """A part without results, and why."""

    part: str
    why: str


def run_parts(
    client: Any,
    model: str | Path,
    parts: Sequence[str | Path],
    out: str | Path,
    arguments: Mapping[str, Any],
) -> Iterator[Done | Failed]:
    """Have the workers of a client run all parts; yields what became of each, as they end.

    A part whose worker dies is done by another one. Model, parts and ``out`` are paths that all
    workers have. ``arguments``: of ``run_part``.

    Raises InvalidInputError for a model that can't be read, and when the scheduler is lost.
    """
    distributed = require("distributed", "onnxwalk[dask]")
    reference, _ = refer(Path(model).absolute(), arguments.get("load") or {})
    work = _Work(reference, str(Path(out).absolute()), dict(arguments))
    paths = [str(Path(part).absolute()) for part in parts]
    futures = client.map(work, paths, pure=False, retries=_RETRIES)
    names = {future.key: path for future, path in zip(futures, paths, strict=True)}
    for done, future in enumerate(distributed.as_completed(futures, loop=client.loop)):
        try:
            found = future.result()
        except distributed.KilledWorker:
            why = "its workers died, several times; perhaps it needs more memory than they have"
            found = Failed(names[future.key], why)
        except (distributed.FutureCancelledError, OSError, TimeoutError) as error:
            if future.status == "error":  # on the worker
                found = Failed(names[future.key], f"{type(error).__name__}: {error}")
            else:
                raise InvalidInputError(_lost(client, done, len(paths))) from None
        except Exception as error:  # whatever happened to a worker: the other parts go on
            found = Failed(names[future.key], f"{type(error).__name__}: {error}")
        future.release()
        yield found


def _lost(client: Any, done: int, total: int) -> str:
    where = getattr(getattr(client, "scheduler", None), "address", "the scheduler")
    return (
        f"{where}: the scheduler was lost after {done:,} of {total:,} parts; start it and run the "
        "same again: what is done isn't done twice"
    )


class _Work:
    """What a task does. It travels with each, and is small."""

    def __init__(self, reference: Reference, out: str, arguments: dict[str, Any]) -> None:
        self._reference, self._out, self._arguments = reference, out, arguments

    def __call__(self, part: str) -> Done | Failed:
        try:
            self._reference.session()
            return run_part(self._reference.path, part, self._out, **self._arguments)
        except OnnxWalkError as error:  # it would be the same on another worker
            return Failed(part, str(error))
