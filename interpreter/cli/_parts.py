"""``onnxwalk run`` on many files, part by part, in several processes."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxwalk.interpreter import interrupts
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import add_integer, get_execution, positive_number
from onnxwalk.interpreter.cli._feeds import get_table_options
from onnxwalk.interpreter.cli._limits import get_limits
from onnxwalk.interpreter.cli._pixels import get_pixels
from onnxwalk.interpreter.cli._progress import Status, status
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.names import find_outputs
from onnxwalk.interpreter.rows.classes import read_labels
from onnxwalk.interpreter.rows.images import SUFFIXES
from onnxwalk.interpreter.rows.outputs import FORMATS
from onnxwalk.interpreter.rows.reader import read_literal
from onnxwalk.interpreter.rows.sources import Source, find_files, parse_source, split_name
from onnxwalk.interpreter.runtime.threads import (
    BLAS_VARIABLES,
    blas_threads,
    can_set_threads,
    cores,
)
from onnxwalk.interpreter.session import Session

if TYPE_CHECKING:
    from onnxwalk.interpreter.batches.part import Done
    from onnxwalk.interpreter.batches.parts import AnyPool, Parts

_NAMED = 20  # damaged rows and parts that are printed; the records have all
_TIMEOUT = 600.0

#: options of ``run`` that are of one run only
_OF_ONE_RUN = ("random", "dry_run", "dump", "tensor", "text", "seed", "shape", "dim")


def add_parts(parser: argparse.ArgumentParser) -> None:
    """Add the options of many parts."""
    group = parser.add_argument_group(
        "parts",
        "with a folder as --output, each file of --input or --text-file, and each folder or .tar "
        "of pictures, is a part, whose results get a file in it: --input 'parts/*.parquet' "
        "--output out/",
    )
    add_integer(group, "--workers", "processes that work at once (default: 1)")
    text = (
        "have a Dask scheduler do it: its address, as tcp://10.0.0.5:8786, or local, for one on "
        "this machine with N --workers (default: one for each core)"
    )
    group.add_argument("--scheduler", metavar="ADDRESS", help=text)
    text = "go on in a folder that has results: what is done isn't done again"
    group.add_argument("--resume", action="store_true", help=text)
    text = "forget the results that are in the folder"
    group.add_argument("--restart", action="store_true", help=text)
    text = (
        "what to do where a row or part can't be read, or run: stop (the default), or skip, leave "
        "it out and name it"
    )
    group.add_argument("--on-error", choices=("stop", "skip"), help=text)
    text = f"replace a worker that finishes no batch for S seconds (default: {_TIMEOUT:g})"
    group.add_argument("--part-timeout", type=positive_number, metavar="S", help=text)
    text = "try a part N times again whose worker was lost (default: 2)"
    add_integer(group, "--retries", text, least=0)


def is_of_parts(args: argparse.Namespace) -> bool:
    """Whether a command line is one of parts: its output is a folder.

    Raises InvalidInputError for options of parts where it isn't.
    """
    text = args.output or ""
    is_folder = Path(text).is_dir() and Path(text).suffix.lower()[1:] not in FORMATS
    if text and text != "-" and (text.endswith(("/", os.sep)) or is_folder):
        return True
    for option in (
        "workers",
        "scheduler",
        "resume",
        "restart",
        "on_error",
        "part_timeout",
        "retries",
    ):
        if getattr(args, option) not in (None, False):
            flag = option.replace("_", "-")
            raise InvalidInputError(f"--{flag} is for parts: it requires a folder, --output out/")
    return False


def run_in_parts(args: argparse.Namespace) -> int:
    """Run the command; 1 if something was left out. Raises OnnxWalkError."""
    for option in _OF_ONE_RUN:
        if getattr(args, option) not in (None, False, []):
            flag = option.replace("_", "-")
            raise InvalidInputError(f"--{flag} can't be combined with a folder as --output")
    if args.resume and args.restart:
        raise InvalidInputError("--resume goes on and --restart begins anew: pass one of them")
    pool = _cluster(args) if args.scheduler else None
    workers = args.workers or (cores() if args.scheduler == "local" else 1)
    parts = _parts(args, workers)
    tally = Tally({part: size_of(Path(part)) for part in parts.names})
    stopped = "onnxwalk: stopped; what is done is whole, --resume does the rest"
    return interrupts.run(lambda: _run(args, parts, workers, tally, pool), stopped)


def _run(
    args: argparse.Namespace,
    parts: Parts,
    workers: int,
    tally: Tally,
    pool: Callable[[Parts], AnyPool] | None,
) -> int:
    from onnxwalk.interpreter.batches.parts import run_parts

    with _few_threads(args.threads or 1), status() as shown:
        for event in run_parts(
            parts,
            workers=workers,
            resume=args.resume,
            restart=args.restart,
            timeout=args.part_timeout or _TIMEOUT,
            retries=2 if args.retries is None else args.retries,
            pool=pool,
        ):
            tally.take(event, shown)
    report = tally.report(args)
    if args.json:
        _show.print_json(report)
    else:
        _print(report)
    return int(bool(report["damaged_rows"] or report["damaged_parts"]))


def _cluster(args: argparse.Namespace) -> Callable[[Parts], AnyPool]:
    """Workers of a Dask scheduler. Raises InvalidInputError for options that are its own to set."""
    from onnxwalk.interpreter.dask.connection import begin_workers
    from onnxwalk.interpreter.dask.parts import DaskPool

    if args.workers and args.scheduler != "local":
        raise InvalidInputError(
            f"--workers is for --scheduler local; {args.scheduler} has its own workers"
        )
    if args.retries is not None:
        raise InvalidInputError(
            "--retries can't be combined with --scheduler, which has a setting for it: "
            "distributed.scheduler.allowed-failures"
        )
    if args.scheduler == "local":
        begin_workers()
    timeout = args.part_timeout or _TIMEOUT
    return lambda parts: DaskPool(parts, args.scheduler, args.workers, timeout=timeout)


def _parts(args: argparse.Namespace, workers: int) -> Parts:
    """The parts, and how they are run. Raises InvalidInputError."""
    from onnxwalk.interpreter.batches.parts import Parts
    from onnxwalk.interpreter.batches.sessions import cached_session

    limits = get_limits(args)
    if limits.max_memory is not None and limits.max_memory == Limits().max_memory:
        limits = replace(limits, max_memory=limits.max_memory // workers)
    load = {**get_execution(args), "threads": args.threads or 1, "limits": limits}
    session = cached_session(args.model, load).session
    paths, options = _read_texts(args, session) if args.text_file else _read_inputs(args, session)
    if pictures := [path for path in paths if path.suffix.lower() in SUFFIXES]:
        raise InvalidInputError(
            f"{pictures[0]}: a picture is a row, not a part; pass the folders, or .tar files, that "
            "pictures are in"
        )
    names = find_outputs(session.model, session.graph, args.outputs, "--outputs")
    options |= {
        "format": args.format,
        "outputs": names if args.outputs else None,
        "batch": args.batch,
        "tables": get_table_options(args),
        "pixels": get_pixels(args),
        "labels": read_labels(args.labels) if args.labels else None,
        "top": args.top,
        "on_error": args.on_error or "stop",
        "load": load,
    }
    return Parts.of(args.model, paths, Path(args.output), options)


def _read_inputs(args: argparse.Namespace, session: Session) -> tuple[list[Path], dict[str, Any]]:
    """The parts that ``--input`` names, and the arguments of ``run_part`` that it stands for."""

    def stdin() -> Path:
        raise InvalidInputError("-: standard input is no part; pass files")

    known = {info.name: info for info in (*session.inputs, *session.overridable_initializers)}
    sources = [parse_source(text, known, stdin) for text in args.input]
    files: list[Source] = [source for source in sources if source.literal is None]
    if not files:
        raise InvalidInputError("no parts; pass them as --input 'parts/*.parquet'")
    if odd := [s for s in files if (s.name, s.columns) != (files[0].name, files[0].columns)]:
        raise InvalidInputError(
            f"{odd[0].origin}: all parts are for the same inputs; where a model has several, a "
            "part has a column, or an array of an .npz file, for each"
        )
    values = {}
    for source in sources:
        if source.literal is not None and source.name is not None:
            values[source.name] = read_literal(known[source.name], source)
    paths = [path for source in files for path in source.paths]
    return paths, {"input": files[0].name, "columns": files[0].columns, "values": values}


def _read_texts(args: argparse.Namespace, session: Session) -> tuple[list[Path], dict[str, Any]]:
    """As ``_read_inputs``, for ``--text-file``."""
    if args.input:
        raise InvalidInputError(
            "--input can't be combined with --text-file and a folder as --output"
        )
    known = {info.name: info for info in session.inputs}
    split = [split_name(text, known) for text in args.text_file]
    if len({name for name, _ in split}) > 1:
        raise InvalidInputError("--text-file: all parts are for the same input")
    paths = [path for _, text in split for path in find_files(text)]
    return paths, {"input": split[0][0], "text": True, "column": args.column}


@contextlib.contextmanager
def _few_threads(count: int) -> Any:
    """BLAS has so many threads, also in processes that are forked meanwhile."""
    if can_set_threads():
        with blas_threads(count):
            yield
        return
    if cores() > 1 and not any(os.environ.get(name) for name in BLAS_VARIABLES):
        print(
            "onnxwalk: warning: each worker may use as many threads as BLAS likes, which slows "
            'them down: pip install "onnxwalk[threads]", or set OPENBLAS_NUM_THREADS=1',
            file=sys.stderr,
        )
    yield


def size_of(part: Path) -> int:
    """The bytes of a part, by which its share of the work is judged; 1 if they can't be seen."""
    try:
        if not part.is_dir():
            return max(part.stat().st_size, 1)
        return max(sum(p.stat().st_size for p in part.rglob("*") if p.is_file()), 1)
    except OSError:
        return 1


@dataclass
class Tally:
    """What has become of the parts so far; ``sizes``: of all of them."""

    sizes: Mapping[str, int]
    begun: float = field(default_factory=time.monotonic)
    done: dict[str, Done] = field(default_factory=dict)
    under_way: dict[str, tuple[int, int]] = field(default_factory=dict)
    lost: int = 0
    named: int = 0

    def take(self, event: Any, shown: Status) -> None:
        """An event of ``run_parts``."""
        from onnxwalk.interpreter.batches.part import Done
        from onnxwalk.interpreter.batches.workers import Lost, Rows

        if isinstance(event, Done):
            self.done[event.part] = event
            self.under_way.pop(event.part, None)
            for where, why in event.damaged.items():
                self._name(event.part, where, why, shown)
        elif isinstance(event, Rows):
            self.under_way[event.part] = event.done, event.total
        elif isinstance(event, Lost):
            self.lost += 1
            self.under_way.pop(event.part, None)
            text = f"onnxwalk: {event.part}: {event.why}; it is done again"
            shown.line(_show.printable(text))
        shown.tell(*self.describe())

    def _name(self, part: str, where: str, why: str, shown: Status) -> None:
        """Print what was left out, as long as it isn't too much."""
        self.named += 1
        if self.named <= _NAMED:
            text = why if part in why else f"{where or part}: {why}"
            if where and part not in text:
                text = f"{part}, {text}"
            shown.line(_show.printable(f"onnxwalk: {text}; left out"))

    @property
    def rows(self) -> int:
        """Those of this run."""
        whole = sum(done.rows for done in self.done.values() if not done.was_done)
        return whole + sum(rows for rows, _ in self.under_way.values())

    def describe(self) -> tuple[str, float]:
        """How far all is: as a line, and from 0 to 1."""
        before = sum(self.sizes[part] for part, done in self.done.items() if done.was_done)
        mine = sum(self.sizes[part] for part, done in self.done.items() if not done.was_done)
        mine_now = mine + sum(
            self.sizes[part] * rows / max(total, 1)
            for part, (rows, total) in self.under_way.items()
        )
        total = sum(self.sizes.values())
        elapsed = max(time.monotonic() - self.begun, 1e-9)
        text = f"{len(self.done):,} of {_show.count(len(self.sizes), 'part')}, {self.rows:,} rows, "
        text += f"{self.rows / elapsed:,.0f} rows/s"
        if mine_now:
            text += f", {_clock(elapsed * (total - before - mine_now) / mine_now)} left"
        return text, (before + mine_now) / total

    def report(self, args: argparse.Namespace) -> dict[str, Any]:
        """What is printed at the end."""
        seconds = time.monotonic() - self.begun
        parts = [done for done in self.done.values() if done.output is None]
        rows = [done for done in self.done.values() if done.output is not None and done.damaged]
        return {
            "model": args.model,
            "output": str(args.output),
            "parts": len(self.sizes),
            "done_before": sum(done.was_done for done in self.done.values()),
            "empty": [
                d.part for d in self.done.values() if d.output and not d.rows and not d.damaged
            ],
            "rows": sum(done.rows for done in self.done.values()),
            "rows_now": self.rows,
            "seconds": seconds,
            "workers_lost": self.lost,
            "damaged_parts": {done.part: done.damaged[""] for done in parts},
            "damaged_rows": {done.part: done.damaged for done in rows},
        }


def _print(report: Mapping[str, Any]) -> None:
    rate = report["rows_now"] / max(report["seconds"], 1e-9)
    rows, parts = _show.count(report["rows_now"], "row"), report["parts"] - report["done_before"]
    _show.line(
        f"{rows} of {_show.count(parts, 'part')} in {_show.duration(report['seconds'])}, "
        f"{rate:,.0f} rows/s"
    )
    if report["done_before"]:
        _show.line(f"{_show.count(report['done_before'], 'part')} had been done before")
    if report["workers_lost"]:
        _show.line(f"{_show.count(report['workers_lost'], 'worker')} replaced")
    if empty := report["empty"]:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        _show.line(f"without rows: {', '.join(empty[:3])}{more}")
    rows_out = _show.count(sum(map(len, report["damaged_rows"].values())), "row")
    parts_out = _show.count(len(report["damaged_parts"]), "part")
    if report["damaged_rows"] or report["damaged_parts"]:
        where = f"{report['output'].rstrip('/')}/.onnxwalk/parts"
        _show.line(f"left out: {rows_out}, {parts_out}; the rows are named in {where}")
    _show.line(f"written to {report['output']}")


def _clock(seconds: float) -> str:
    """A time to wait for: "12 s", "3:20", "1:02:05"."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
