"""Files, part by part, by the workers of a Dask scheduler."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.batches import Done, run_part
from onnxwalk.interpreter.batches.folder import Folder
from onnxwalk.interpreter.batches.parts import Parts
from onnxwalk.interpreter.batches.sessions import forget_sessions
from onnxwalk.interpreter.batches.workers import LESS_MEMORY, LONGER, Event, Failed, Lost
from onnxwalk.interpreter.dask.connection import connect
from onnxwalk.interpreter.dask.reference import Reference, here, refer
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.optional import require

#: how often a part is done again after an error that isn't about the part or the model
_RETRIES = 2
_TICK = 1.0  # seconds between looks at whether a worker hangs


class DaskPool:
    """The workers of a scheduler, while it is entered, in place of ``batches.workers.Pool``.

    ``parts``: their model, their files and the folder of results are read and written by the
    workers, at the same paths as here. A part whose worker dies is done by another one.
    """

    def __init__(
        self,
        parts: Parts,
        scheduler: str,
        workers: int | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """``scheduler``: see ``connect``. ``timeout``: the seconds after which a worker that
        finishes no batch ends itself.

        Raises InvalidInputError if Dask isn't installed, or the model isn't a file.
        """
        self._distributed = require("distributed", "'onnxwalk[dask]'")
        if not isinstance(parts.model, str | os.PathLike):
            raise InvalidInputError("with a Dask scheduler the model is a path that workers read")
        options = dict(parts.options)
        self._reference, _ = refer(parts.model, options.pop("load", None) or {})
        forget_sessions()  # the weights are needed in the workers alone
        self._folder = Folder(parts.out.absolute())
        self._task = Work(self._reference, str(self._folder.path), options, timeout)
        self._names = parts.names
        self._scheduler, self._workers, self._timeout = scheduler, workers, timeout
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> DaskPool:
        reached = connect(self._scheduler, self._workers, self._timeout)
        mark = self._exits.enter_context(self._folder.working())
        self._work = replace(self._task, mark=str(mark))
        self._client = self._exits.enter_context(reached)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the scheduler: it forgets what isn't done yet."""
        self._exits.close()

    def run(self, parts: Sequence[str]) -> Iterator[Event]:
        """Do all parts, and tell what became of each as it ends.

        Dask blames a worker's death on all parts that were given to it, also on those that waited
        there. So parts that lost their workers are done again at the end, one by one.

        Raises InvalidInputError when the scheduler is lost.
        """
        suspects = []
        for event in self._each(parts, 0, len(parts)):
            if isinstance(event, Lost):
                suspects.append(event.part)
            else:
                yield event
        for number, part in enumerate(suspects, len(parts) - len(suspects)):
            yield from self._each([part], number, len(parts))

    def _each(
        self, parts: Sequence[str], before: int, total: int
    ) -> Iterator[Done | Lost | Failed]:
        """Do parts at once; so many of all were done ``before``."""
        futures = self._client.map(
            self._work,
            [str(Path(part).absolute()) for part in parts],
            [self._names[part] for part in parts],
            [*parts],
            pure=False,
            retries=_RETRIES,
        )
        part_of = {future.key: part for future, part in zip(futures, parts, strict=True)}
        ended = self._distributed.as_completed(futures, loop=self._client.loop)
        for number, future in enumerate(ended, before):
            yield self._outcome(future, part_of[future.key], number, total)
            future.release()

    def _outcome(self, future: Any, part: str, number: int, total: int) -> Done | Lost | Failed:
        try:
            found = future.result()
        except self._distributed.KilledWorker as error:
            times, last = error.allowed_failures + 1, error.last_worker.address
            why = f"its worker died, or finished no batch in time, the last one at {last}"
            return Lost(part, why, False, times, f"{LESS_MEMORY}, or {LONGER},")
        except Exception as error:  # a task's, of any kind, or Dask's of a lost scheduler
            if future.status != "error":  # it isn't the task's
                raise InvalidInputError(
                    f"--scheduler {self._scheduler}: the scheduler was lost after {number:,} of "
                    f"{total:,} parts; start it and go on with --resume"
                ) from None
            return Failed(part, OnnxWalkError(f"{part}: {type(error).__name__}: {error}"))
        if isinstance(found, Done):
            return found
        return Failed(part, InvalidInputError(found))


@dataclass(frozen=True)
class Work:
    """What a task does: it travels with each, and is small.

    ``mark``: what the client has put into the folder ``out``, and a worker finds there unless it
    has another folder of that name.
    """

    reference: Reference
    out: str
    options: dict[str, Any]  # of ``run_part``
    timeout: float | None
    mark: str = ""

    def __call__(self, part: str, name: str, label: str) -> Done | str:
        """Do one part, which the client calls ``label``. Returns the text of an error that would be
        the same on another worker."""
        try:
            self.reference.session()
            if not os.path.exists(self.mark):
                return (
                    f"{self.out}: {here()} has another folder there than the client, or none; "
                    "choose one on a file system that all share"
                )
            with _watched(self.timeout) as tell:
                done = run_part(
                    self.reference.path,
                    part,
                    self.out,
                    name=name,
                    label=label,
                    load=dict(self.reference.options),
                    tell=tell,
                    **self.options,
                )
            damaged = {where: why.replace(part, label) for where, why in done.damaged.items()}
            return replace(done, part=label, damaged=damaged)
        except OnnxWalkError as error:
            text = str(error).replace(part, label)
            return text if os.path.exists(part) else f"{text} (at {here()})"


@contextlib.contextmanager
def _watched(timeout: float | None) -> Iterator[Any]:
    """A function to call after each batch; if it isn't called for ``timeout`` seconds, this process
    ends, and Dask gives its part to another worker."""
    heard = time.monotonic()
    over = threading.Event()

    def tell(done: int, total: int) -> None:
        nonlocal heard
        heard = time.monotonic()

    def watch(most: float) -> None:
        while not over.wait(min(_TICK, most / 4)):
            if time.monotonic() - heard > most:
                os._exit(1)

    if timeout is not None:
        threading.Thread(target=watch, args=(timeout,), daemon=True).start()
    try:
        yield tell
    finally:
        over.set()
