"""Many parts on one machine: which they are, where their results go, and the run of all."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from onnxwalk.interpreter.batches.folder import Folder
from onnxwalk.interpreter.batches.part import Done, default_format, run_part, stem
from onnxwalk.interpreter.batches.sessions import cached_session
from onnxwalk.interpreter.batches.workers import Event, Failed, Lost, Pool, can_fork
from onnxwalk.interpreter.errors import InvalidInputError

_TRIED = 3  # parts of which one has to be whole, to see whether all fits


@dataclass(frozen=True)
class Parts:
    """Parts and the files of their results, which all lie in the folder ``out``."""

    model: Any
    out: Path
    names: dict[str, str]  # of each part's results, in the folder
    options: dict[str, Any]  # of ``run_part``

    @classmethod
    def of(cls, model: Any, parts: Sequence[Path], out: Path, options: dict[str, Any]) -> Parts:
        """Raises InvalidInputError for parts whose results would have the same name, or several
        formats."""
        outputs = options.get("outputs")
        if outputs is None:
            session = cached_session(model, options.get("load")).session
            outputs = [info.name for info in session.outputs]
        formats = {options.get("format") or default_format(part, outputs) for part in parts}
        if len(formats) > 1:
            raise InvalidInputError(
                f"the parts are of several kinds; say what to write: --format {min(formats)}"
            )
        (format,) = formats
        top = Path(os.path.commonpath([os.path.abspath(part.parent) for part in parts]))
        names: dict[str, str] = {}
        taken: dict[str, Path] = {}
        for part in parts:
            below = Path(os.path.abspath(part.parent)).relative_to(top)
            name = (below / f"{stem(part)}.{format}").as_posix()
            if name in taken:
                raise InvalidInputError(
                    f"{part} and {taken[name]} would both have their results in {out / name}; "
                    "rename one"
                )
            taken[name], names[str(part)] = part, name
        return cls(model, out, names, {**options, "format": format})

    def run(self, part: str, tell: Any, **more: Any) -> Done:
        """One of the parts; see ``run_part``."""
        name = self.names[part]
        return run_part(self.model, part, self.out, name=name, tell=tell, **self.options, **more)


class AnyPool(Protocol):
    """Workers: entered, they do parts; see ``Pool``."""

    def __enter__(self) -> AnyPool: ...
    def __exit__(self, *error: object) -> None: ...
    def run(self, parts: Sequence[str]) -> Iterator[Event]: ...


def run_parts(
    parts: Parts,
    *,
    workers: int = 1,
    resume: bool = False,
    restart: bool = False,
    timeout: float | None = None,
    retries: int = 2,
    pool: Callable[[Parts], AnyPool] | None = None,
) -> Iterator[Event]:
    """Run all parts in processes of this machine, and tell what happens as it does; ``None`` every
    so often. ``pool``: makes other workers than these processes, as those of a cluster.

    The model is loaded, and run once, before the processes are forked: its weights are in memory
    once. ``resume``: go on in a folder that has results already; ``restart``: forget these.
    ``timeout`` and ``retries``: see ``Pool``.

    Raises InvalidInputError for what concerns all parts, and for the first that is damaged, unless
    ``on_error`` is "skip".
    """
    folder = Folder(parts.out)
    skips = parts.options.get("on_error") == "skip"
    with folder.locked():
        if restart:
            folder.clear()
        elif not resume and folder.facts() is not None:
            raise InvalidInputError(
                f"{parts.out}: the folder has results already; --resume goes on with them, "
                "--restart begins anew"
            )
        folder.sweep()
        before = {*folder.names()}
        _rehearse(parts, skips)
        try:
            with (
                _pool(parts, workers, timeout, retries) if pool is None else pool(parts) as entered
            ):
                for event in entered.run([*parts.names]):
                    if isinstance(event, Failed):
                        raise event.error
                    if isinstance(event, Lost) and not event.again:
                        if not skips:
                            raise InvalidInputError(
                                f"{event.part}: {event.why}, {event.times} times; {event.advice} "
                                "it may be done: --resume"
                            )
                        yield Done(event.part, None, damaged={"": event.why})
                    elif isinstance(event, Done) and parts.names[event.part] not in before:
                        yield replace(event, was_done=False)  # by a worker that died before it said
                    else:
                        yield event
        finally:
            folder.sweep()


def _pool(parts: Parts, workers: int, timeout: float | None, retries: int) -> AnyPool:
    work = functools.partial(_work, parts)
    return Pool(work, workers, timeout=timeout, retries=retries)


def _work(parts: Parts, part: str, tell: Any) -> Done:
    return parts.run(part, tell)


def _rehearse(parts: Parts, skips: bool) -> None:
    """Run one batch of the first part that is to be done: what doesn't fit is an error now, and
    what a run keeps is then shared by the workers."""
    tried = 0
    for part in parts.names:
        done = parts.run(part, lambda done, total: None, dry_run=True)
        if done.was_done:
            continue
        tried += 1
        if not done.damaged or tried == _TRIED:
            break
    if can_fork():
        gc.collect()
        gc.freeze()  # no collection in a worker touches, and so copies, what is shared
