"""One part of a large set of data through a model: the unit that workers are given."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk.interpreter.batches.folder import Facts, Folder, Record, identify
from onnxwalk.interpreter.batches.sessions import Loaded, cached_session
from onnxwalk.interpreter.batches.steps import Outcome, default_batch, run_first, run_rows
from onnxwalk.interpreter.errors import InvalidInputError, LimitError, OnnxWalkError
from onnxwalk.interpreter.files import as_path, translate_os_errors
from onnxwalk.interpreter.rows.archives import SUFFIXES as ARCHIVES
from onnxwalk.interpreter.rows.archives import is_archive
from onnxwalk.interpreter.rows.arrays import ArrayRows
from onnxwalk.interpreter.rows.classes import rank_outputs
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.literals import parse_array
from onnxwalk.interpreter.rows.outputs import FORMATS, OutputFile, Outputs
from onnxwalk.interpreter.rows.pixels import Pixels
from onnxwalk.interpreter.rows.reader import Reader
from onnxwalk.interpreter.rows.runs import Allocate, NotJoinableError
from onnxwalk.interpreter.rows.sources import Source
from onnxwalk.interpreter.rows.texts import read_texts
from onnxwalk.interpreter.rows.zarrs import is_zarr
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.tables.convert import declared_dtype, declared_shape
from onnxwalk.interpreter.tables.files import WRITTEN, table_suffix
from onnxwalk.interpreter.tables.options import Options
from onnxwalk.interpreter.tables.table import EmptyTableError
from onnxwalk.interpreter.text import class_names

_FREE = ("limits", "threads")  # of the arguments of ``load``: results don't depend on them
_FORMATS = tuple(name for name in FORMATS if name != "json")  # a row for each row


@dataclass(frozen=True)
class Done:
    """What became of a part.

    ``output``: the file of its results, ``None`` if the part is damaged. ``rows``: those in it.
    ``damaged``: the rows that were left out, by number or file, and why; of a damaged part "".
    ``seconds``: 0 if it had been done before.
    """

    part: str
    output: str | None
    rows: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    was_done: bool = False


def run_part(
    model: Any,
    part: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    label: str | None = None,
    format: str | None = None,
    outputs: Sequence[str] | None = None,
    batch: int | None = None,
    input: str | None = None,
    columns: Sequence[str] | None = None,
    values: Mapping[str, Any] | None = None,
    text: bool = False,
    column: str | None = None,
    tables: Options | None = None,
    pixels: Pixels | None = None,
    labels: Sequence[str] | None = None,
    top: int | None = None,
    on_error: str = "stop",
    resume: bool = True,
    dry_run: bool = False,
    load: Mapping[str, Any] | None = None,
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> Done:
    """Run a model on all rows of one file, or one folder of pictures, and write a row for each.

    ``model``: a path, bytes or a session. Each process loads it once, whatever the number of parts.

    ``part``: .npy, .npz, .csv, .tsv, .jsonl, .parquet, Zarr, or a folder or .tar of pictures.
    ``input``: which input it is for; ``columns``: which of its columns are. Without these it is
    found out, as by ``onnxwalk run``. ``values``: of other inputs, the same for all rows. ``text``:
    the part is one of texts, for a model with a vocabulary: a table, of which ``column`` is read,
    or lines.

    ``out``: a file, or a folder, in which it gets ``name``, or else the part's. It is there whole
    or not at all. ``label``: what the part is called in it, by default its path.
    ``format``: .npy, .npz, .csv, .tsv, .jsonl or .parquet, without the dot; without it as ``out``
    says, or the part. ``outputs``: the names of those to write; all of them by default. They must
    have a row for each row of the inputs. ``labels`` and ``top``: as for ``onnxwalk run``.

    ``batch``: rows that are run at once; by default as many as have 1 MiB in the inputs, at most
    256. ``tables``: how text files are written, ``pixels``: how pictures become numbers. ``load``:
    arguments of ``onnxwalk.load``. ``tell`` hears after each batch how many rows are done, and of
    how many.

    ``on_error``: "stop" raises for a row or part that is damaged; "skip" leaves it out and says so
    in the result. Tables have the number of each row, which .npz files then get as "row".

    ``resume``: leave a part alone whose results are there already, of the same content. What the
    results of a folder are made by is noted in it, in .onnxwalk. ``dry_run``: run the first batch
    only and write no results, to see whether all fits.

    Raises InvalidInputError, and what ``load`` and ``Session.run`` raise, with the part's name.
    """
    source, target = as_path(part), as_path(out)
    if on_error not in ("stop", "skip"):
        raise InvalidInputError(f"on_error must be 'stop' or 'skip', not {on_error!r}")
    job = _Job(
        cached_session(model, load),
        _Reading(
            input,
            None if columns is None else list(columns),
            dict(values or {}),
            (text, column),
            tables or Options(),
            pixels or Pixels(),
        ),
        None if outputs is None else list(outputs),
        None if labels is None else list(labels),
        top,
        on_error == "skip",
        {} if load is None else dict(load),
    )
    folder, own = place_of(source, target, format, job.names)
    return job.run(source, folder, name or own, label, batch, resume, dry_run, tell)


def place_of(
    part: Path, out: Path, format: str | None, outputs: Sequence[str]
) -> tuple[Folder, str]:
    """The folder of a part's results and their file in it. Raises InvalidInputError."""
    if format is not None and format not in _FORMATS:
        raise InvalidInputError(f"format must be one of {', '.join(_FORMATS)}, not {format!r}")
    suffix = suffix_of(out)
    if suffix.removeprefix(".") in _FORMATS and not out.is_dir():
        if format is not None and suffix != f".{format}":
            raise InvalidInputError(f"{out}: the name says another format than {format}")
        return Folder(out.parent), out.name
    return Folder(out), f"{stem(part)}.{format or default_format(part, outputs)}"


def stem(part: Path) -> str:
    """The name of a part without its ending."""
    name = part.resolve().name if part.is_dir() else part.name
    for suffix in (*ARCHIVES, ".zarr", ".gz"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            name = name[: -len(suffix)]
            if suffix != ".gz":
                return name
    return name if part.is_dir() else name.rpartition(".")[0] or name


def default_format(part: Path, outputs: Sequence[str]) -> str:
    """That of the part, if results can be written in it."""
    suffix = table_suffix(part)
    if suffix in WRITTEN:
        return suffix[1:]
    if is_zarr(part):
        return "npz"
    if part.is_dir() or is_archive(part) or suffix is not None:
        return "jsonl" if suffix == ".ndjson" else "parquet" if suffix == ".pq" else "csv"
    return "npy" if len(outputs) == 1 and part.suffix.lower() == ".npy" else "npz"


@dataclass(frozen=True)
class _Reading:
    """How parts are read."""

    input: str | None
    columns: list[str] | None
    values: dict[str, Any]
    texts: tuple[bool, str | None]  # whether it is texts, and the column of them
    tables: Options
    pixels: Pixels

    def feeds(self, session: Session, part: Path, tolerant: bool) -> dict[str, Feed]:
        """A value for each input. Raises InvalidInputError."""
        known = {i.name: i for i in (*session.inputs, *session.overridable_initializers)}
        for name in [*self.values, *([] if self.input is None else [self.input])]:
            if name not in known:
                raise InvalidInputError(f"no input named '{name}'; known: {', '.join(known)}")
        if not part.exists():
            raise InvalidInputError(f"{part}: no such file")
        is_text, column = self.texts
        if is_text:
            name = "" if self.input is None else f"{self.input}="
            return read_texts(session, [], [f"{name}{part}"], column, self.tables)
        reader = Reader(session, self.pixels, self.tables, is_tolerant=tolerant)
        sources = [Source(self.input, [part], str(part), self.columns)]
        literals = {n: parse_array(known[n], v, f"value of {n}") for n, v in self.values.items()}
        try:
            feeds = reader.read_sources(sources, literals)
        except EmptyTableError:
            return _no_rows(session)
        if missing := [i for i in session.inputs if i.name not in feeds]:
            raise InvalidInputError(
                f"{part}: no value for input {'; '.join(map(str, missing))}; a part has all inputs "
                "that differ from row to row, in columns or arrays of their names"
            )
        return feeds


def _no_rows(session: Session) -> dict[str, Feed]:
    """Inputs without rows, for a table without any."""
    feeds = {}
    for info in session.inputs:
        sample = [size if isinstance(size, int) else 1 for size in (declared_shape(info) or (0,))]
        rows = np.zeros((0, *sample[1:]), declared_dtype(info) or np.float32)
        feeds[info.name] = Feed(info, ArrayRows(rows), "nothing")
    return feeds


@dataclass(frozen=True)
class _Job:
    """What all parts have in common."""

    loaded: Loaded
    reading: _Reading
    outputs: list[str] | None
    labels: list[str] | None
    top: int | None
    skips: bool
    load: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The outputs that are written. Raises InvalidInputError."""
        known = [info.name for info in self.loaded.session.outputs]
        for name in self.outputs or ():
            if name not in known:
                raise InvalidInputError(f"no output named '{name}'; known: {', '.join(known)}")
        return self.outputs or known

    def facts(self, suffix: str) -> Facts:
        """What the results are made by."""
        options = {
            "format": suffix.removeprefix("."),
            "outputs": self.names,
            "input": self.reading.input,
            "columns": self.reading.columns,
            "text": self.reading.texts[1] or self.reading.texts[0] or None,
            "values": {n: np.asarray(v).tolist() for n, v in self.reading.values.items()} or None,
            "tables": _given(asdict(self.reading.tables), asdict(Options())),
            "pixels": _given(asdict(self.reading.pixels), asdict(Pixels())),
            "labels": self.labels,
            "top": self.top,
            "on_error": "skip" if self.skips else "stop",
            "load": {n: str(v) for n, v in self.load.items() if n not in _FREE} or None,
        }
        versions = {"onnxwalk": onnxwalk.__version__, "NumPy": np.__version__}
        stored = json.loads(json.dumps({k: v for k, v in options.items() if v is not None}))
        return Facts(self.loaded.sha256, stored, versions)

    def run(
        self,
        part: Path,
        folder: Folder,
        name: str,
        label: str | None,
        batch: int | None,
        resume: bool,
        dry_run: bool,
        tell: Callable[[int, int], object],
    ) -> Done:
        """See ``run_part``."""
        suffix = suffix_of(Path(name))
        if self.skips and suffix == ".npy":
            raise InvalidInputError(
                "an .npy file can't say which rows were left out; with on_error 'skip' write .npz, "
                "or a table such as .parquet"
            )
        if os.path.realpath(folder.path / name) == os.path.realpath(part):
            raise InvalidInputError(
                f"{part}: the results would replace the part; choose another folder"
            )
        record = folder.done(name, part) if resume else None
        if record is not None or not dry_run:
            folder.begin(self.facts(suffix))
        output = str(folder.path / name)
        if record is not None:
            return Done(str(part), output, record.rows, record.damaged, was_done=True)
        begun = time.perf_counter()
        with folder.working() as work:
            made = work / Path(name).name
            try:
                identity = _identify(part)
                record = self._make(
                    part, folder.path / name, made, identity, label, batch, dry_run, tell
                )
                if _identify(part) != identity:
                    raise _DamagedPart(InvalidInputError(f"{part}: changed while it was read"))
            except _DamagedPart as error:
                if not self.skips:
                    raise error.why from None
                return Done(str(part), None, damaged={"": str(error.why)})
            if dry_run:  # which the hash of a large model, a part of the facts, is ready after
                folder.begin(self.facts(suffix))
                return Done(str(part), None, record.rows)
            self.loaded.check_files()
            folder.put(made, name, record)
        return Done(str(part), output, record.rows, record.damaged, time.perf_counter() - begun)

    def _make(
        self,
        part: Path,
        target: Path,
        made: Path,
        identity: str,
        label: str | None,
        batch: int | None,
        dry_run: bool,
        tell: Callable[[int, int], object],
    ) -> Record:
        """Write the file ``made``, which will be ``target``; nothing if it is a ``dry_run``."""
        session = self.loaded.session
        infos = [info for info in session.outputs if info.name in self.names]
        with translate_os_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        file = OutputFile(target, self.names, infos)
        file.write_at(made)
        try:
            feeds = self.reading.feeds(session, part, self.skips)
            rows = batch or default_batch(session)
            if dry_run:
                return Record(identity, "", run_first(session, self.names, feeds, rows))
            outcome = run_rows(
                session, self.names, feeds, rows, _named(file, target), skips=self.skips, tell=tell
            )
        except _CannotWrite as error:
            raise error.why from None
        except NotJoinableError as error:
            raise InvalidInputError(
                f"{part}: {error.reason}; a part needs one: choose others by --outputs"
            ) from None
        except (OnnxWalkError, OSError) as error:
            raise _DamagedPart(_about(part, error)) from error
        files = _files(feeds, part, label)
        results = self._outputs(outcome, files, suffix_of(made))
        file.write(results)
        damaged = {
            f"row {row}" if files is None else files[row]: why.replace(
                str(part), label or str(part)
            )
            for row, why in sorted(outcome.damaged.items())
        }
        return Record(identity, "", outcome.total - len(damaged), damaged)

    def _outputs(self, outcome: Outcome, files: list[str] | None, suffix: str) -> Outputs:
        """What is written: as ``onnxwalk run`` does, and the numbers of the rows that are left."""
        values, classes = outcome.result.values, outcome.result.classes
        stored = {**class_names(self.loaded.session.model.metadata), **classes}
        ranked = rank_outputs(values, stored, self.labels, self.top) if suffix in WRITTEN else {}
        kept = np.arange(outcome.total) if outcome.kept is None else outcome.kept
        if self.skips and suffix == ".npz":
            values = {**values, _free("row", values): kept}
        return Outputs(
            values,
            classes,
            ranked,
            length=len(kept),
            names=None if files is None else [files[row] for row in kept.tolist()],
            numbers=kept,
            top=self.top,
        )


def _files(feeds: Mapping[str, Feed], part: Path, label: str | None) -> list[str] | None:
    """The file of each row, if rows are files; in a part that is called so."""
    found = [getattr(feed.rows, "files", None) for feed in feeds.values()]
    files = next((files for files in found if files), None)
    if files is None or label is None:
        return files
    return [file.replace(str(part), label, 1) for file in files]


class _DamagedPart(Exception):
    """A part can't be read, or not run. ``why``: the error for the caller."""

    def __init__(self, why: OnnxWalkError) -> None:
        super().__init__(str(why))
        self.why = why


class _CannotWrite(Exception):
    """The results can't be written, of which the part isn't guilty."""

    def __init__(self, why: InvalidInputError) -> None:
        super().__init__(str(why))
        self.why = why


def _named(file: OutputFile, target: Path) -> Allocate:
    """``file.allocate``, whose errors are told from those of the part."""

    def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        try:
            with translate_os_errors(target):
                return file.allocate(shape, dtype)
        except InvalidInputError as error:
            raise _CannotWrite(error) from None

    return allocate


def _about(part: Path, error: OnnxWalkError | OSError) -> OnnxWalkError:
    """The error with the part's name, of the same kind."""
    if isinstance(error, OSError):
        return InvalidInputError(f"{part}: {error.strerror or error}")
    text = str(error)
    if str(part) in text:
        return error
    kind = LimitError if isinstance(error, LimitError) else InvalidInputError
    return kind(f"{part}: {text}")


def _identify(part: Path) -> str:
    try:
        return identify(part)
    except OSError as error:
        raise _DamagedPart(InvalidInputError(f"{part}: {error.strerror or error}")) from None


def suffix_of(path: Path) -> str:
    """The ending that says the format, without .gz."""
    return table_suffix(path) or path.suffix.lower()


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name


def _given(settings: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any] | None:
    """The settings that aren't the default."""
    return {n: v for n, v in settings.items() if v != defaults[n]} or None
