"""The folder of results: what it was made by, and which parts of it are done.

    out/a.parquet, out/b.parquet …      a file for each part, whole or not there
    out/.onnxwalk/run.json              the model's sha256, the options, the versions
    out/.onnxwalk/parts/a.parquet.json  the part that out/a.parquet was made of, and its size
    out/.onnxwalk/work/…                files that are being written

A part's record says "of no file" before its file is replaced and of which one after, so that a file
with a record that fits is whole, at whatever moment a process is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import translate_os_errors

HIDDEN = ".onnxwalk"
_FORMAT = 1  # of the files in the hidden folder


@dataclass(frozen=True)
class Facts:
    """What all results of a folder have in common."""

    model: str  # sha256
    options: Mapping[str, Any]
    versions: Mapping[str, str]  # of onnxwalk and NumPy

    def differences(self, other: Facts) -> list[str]:
        """What is another one here than there, in words."""
        found = [] if self.model == other.model else ["another model"]
        for name in sorted({*self.options, *other.options}):
            here, there = self.options.get(name), other.options.get(name)
            if here != there:
                found.append(f"{name} {_shown(there)} (now {_shown(here)})")
        for name in sorted({*self.versions, *other.versions}):
            here, there = self.versions.get(name), other.versions.get(name)
            if here != there:
                found.append(f"{name} {there} (now {here})")
        return found


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Record:
    """What is known of a part that is done.

    ``part``: what identifies its content (``identify``); ``output``: likewise of its results.
    ``damaged``: the rows that were left out, and why.
    """

    part: str
    output: str
    rows: int
    damaged: dict[str, str] = field(default_factory=dict)


def identify(path: Path) -> str:
    """Size and time of a file; of a folder those of all files in it. Raises OSError."""
    if not path.is_dir():
        status = path.stat()
        return f"{status.st_size} bytes, {status.st_mtime_ns}"
    digest = hashlib.sha256()
    count = total = 0
    for found in sorted(p for p in path.rglob("*") if p.is_file()):
        status = found.stat()
        line = f"{found.relative_to(path).as_posix()}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
        count, total = count + 1, total + status.st_size
    return f"{count} files, {total} bytes, {digest.hexdigest()}"


class Folder:
    """A folder of results. Many processes may use it at once, on several machines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hidden = path / HIDDEN
        self._run = self.hidden / "run.json"

    def facts(self) -> Facts | None:
        """What the results there were made by; ``None`` for a folder without any.

        Raises InvalidInputError for a file that isn't one of these.
        """
        try:
            stored = json.loads(self._run.read_text("utf-8"))
            if stored["format"] != _FORMAT:
                raise ValueError(f"format {stored['format']!r}")
            return Facts(stored["model"], stored["options"], stored["versions"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InvalidInputError(
                f"{self._run}: not a record of this version of onnxwalk ({error}); choose another "
                "folder"
            ) from None

    def begin(self, facts: Facts) -> None:
        """Note what the results are made by, unless that is noted: then it has to be the same.

        Raises InvalidInputError for a folder of others, or that can't be written.
        """
        known = self.facts()
        if known is None:
            with translate_os_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
            with self.working() as own, translate_os_errors(self._run):
                _write(self._run, {"format": _FORMAT, **asdict(facts)}, own)
            known = self.facts() or facts  # another process may have been first
        if differences := facts.differences(known):
            raise InvalidInputError(
                f"{self.path}: the results there were made with {'; '.join(differences)}; choose "
                "another folder, or begin anew with --restart"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """No other program that asks for this on this machine uses the folder meanwhile.

        Raises InvalidInputError if one does. A child process hasn't the lock of its parent.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        with translate_os_errors(self.path):
            self.hidden.mkdir(parents=True, exist_ok=True)
            (self.hidden / "lock").touch()
        with open(self.hidden / "lock", "r+b") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InvalidInputError(
                    f"{self.path}: another run writes there; wait for it, or choose another folder"
                ) from None
            yield

    def clear(self) -> None:
        """Forget what is done, and take the results away that are known to be of a run."""
        for name in self.names():
            with contextlib.suppress(FileNotFoundError):
                (self.path / name).unlink()
        for known in (self.hidden / "parts", self.hidden / "work"):
            shutil.rmtree(known, ignore_errors=True)
        self._run.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The files of results that are recorded."""
        parts = self.hidden / "parts"
        return [r.relative_to(parts).as_posix().removesuffix(".json") for r in self._records()]

    def _records(self) -> list[Path]:
        return sorted((self.hidden / "parts").rglob("*.json"))

    def _record_of(self, name: str) -> Path:
        return self.hidden / "parts" / f"{name}.json"

    def done(self, name: str, part: Path) -> Record | None:
        """The record of a part whose results are there, whole; ``None`` if it is to be done.

        ``name``: of the file of results, in this folder.
        """
        try:
            stored = json.loads(self._record_of(name).read_text("utf-8"))
            record = Record(**stored)
            same = record.part == identify(part) and record.output == identify(self.path / name)
        except (OSError, ValueError, TypeError):
            return None
        return record if same else None

    @contextlib.contextmanager
    def working(self) -> Iterator[Path]:
        """A new folder on the same disk, for what isn't whole yet. Raises InvalidInputError."""
        shared = self.hidden / "work"
        with translate_os_errors(self.path):
            shared.mkdir(parents=True, exist_ok=True)
            own = Path(tempfile.mkdtemp(prefix=f"{_machine()}-{os.getpid()}-", dir=shared))
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)

    def sweep(self) -> None:
        """Take away what processes of this machine left that are no more."""
        for own in (self.hidden / "work").glob(f"{_machine()}-*"):
            number = own.name.split("-")[-2]
            if number.isdecimal() and not _is_alive(int(number)):
                shutil.rmtree(own, ignore_errors=True)

    def put(self, made: Path, name: str, record: Record) -> None:
        """Put a whole file, made in ``working``, into its place, and record that its part is done.

        ``record``: of the part as it was before it was read; without ``output``. Raises
        InvalidInputError.
        """
        target, place = self.path / name, self._record_of(name)
        with translate_os_errors(target):
            place.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(place, asdict(replace(record, output="")), made.parent)
            os.replace(made, target)
            _write(place, asdict(replace(record, output=identify(target))), made.parent)


def _write(path: Path, content: Any, work: Path) -> None:
    """Write a JSON file by way of another one in the folder ``work``."""
    part = work / "record"
    part.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    os.replace(part, path)


def _machine() -> str:
    return platform.node() or "localhost"


def _is_alive(number: int) -> bool:
    """Whether there is a process of this number, as far as that can be asked without harm."""
    if os.name == "nt":
        return True
    with contextlib.suppress(OSError, IndexError):  # where /proc tells it from one that has ended
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
