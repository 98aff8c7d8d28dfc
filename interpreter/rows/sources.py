"""What ``--input`` names: files, patterns, columns of a table, standard input, literals."""

from __future__ import annotations

import atexit
import contextlib
import csv
import glob
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo


@dataclass
class Source:
    """One ``--input``: the name before "=", if any, and the files, or the text of a literal.

    ``origin``: what messages and the summary call it. ``columns``: those after ":".
    """

    name: str | None
    paths: list[Path]
    origin: str
    columns: list[str] | None = None
    literal: str | None = None


def parse_source(
    text: str, feedable: Mapping[str, TensorInfo], stdin: Callable[[], Path]
) -> Source:
    """Read one ``--input``; ``stdin``: returns the file that standard input is in.

    Raises InvalidInputError for files and names that aren't there.
    """
    name, rest = split_name(text, feedable)
    if rest == "-" or rest.startswith("-:"):
        columns = _split_columns(rest[2:]) if rest != "-" else None
        return Source(name, [stdin()], "stdin", columns)
    if paths := _find(rest):
        return Source(name, paths, rest)
    for place in [i for i, character in enumerate(rest) if character == ":"]:
        if place and (paths := _find(rest[:place])):
            columns = _split_columns(rest[place + 1 :])
            return Source(name, paths, rest[:place], columns)
    if name is not None:
        return Source(name, [], rest, literal=rest)
    if "=" in text:
        unknown = text.split("=", 1)[0]
        raise InvalidInputError(f"no input named '{unknown}'; {list_inputs(feedable.values())}")
    raise missing_file(rest)


def split_name(text: str, names: Iterable[str]) -> tuple[str | None, str]:
    """Split NAME=REST, where NAME is one of ``names``; these and the rest may contain "="."""
    for name in sorted(names, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    return None, text


def missing_file(text: str) -> InvalidInputError:
    """The error for a file that isn't there, or a pattern that none matches."""
    what = "no file matches" if glob.has_magic(text) else "no such file"
    return InvalidInputError(f"{text}: {what}")


def find_files(text: str) -> list[Path]:
    """The file of this name, or those that a pattern matches, sorted. Raises InvalidInputError if
    there is none."""
    if found := _find(text):
        return found
    raise missing_file(text)


def list_inputs(infos: Iterable[TensorInfo]) -> str:
    """The inputs of a model, for messages."""
    listed = "; ".join(map(str, infos))
    return f"inputs of the model: {listed}" if listed else "the model has no inputs"


def _find(text: str) -> list[Path]:
    """The file of this name, or those that a pattern matches, sorted."""
    with contextlib.suppress(OSError, ValueError):  # too long a name, or a NUL in it
        if Path(text).exists():
            return [Path(text)]
        if glob.has_magic(text):
            return [Path(path) for path in sorted(glob.glob(text, recursive=True))]
    return []


def _split_columns(text: str) -> list[str]:
    """Names between commas; one that contains a comma stands in double quotes."""
    return next(csv.reader([text], skipinitialspace=True), [])


def spool_stdin() -> Path:
    """Standard input as a file with the ending of what it holds, until this process ends.

    Raises InvalidInputError if it is empty or a terminal.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise InvalidInputError("-: standard input is a terminal; pipe a file into it")
    folder = Path(tempfile.mkdtemp(prefix="onnxwalk-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "stdin"
    with open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path.rename(path.with_name(f"stdin{_suffix(path)}"))


def _suffix(path: Path) -> str:
    """The ending that files of this content have."""
    with open(path, "rb") as file:
        start = file.read(1 << 16)
    if not start:
        raise InvalidInputError("-: standard input is empty")
    for magic, suffix in (
        (b"\x93NUMPY", ".npy"),
        (b"PK\x03\x04", ".npz"),
        (b"PAR1", ".parquet"),
        (b"\x89PNG", ".png"),
        (b"\xff\xd8\xff", ".jpg"),
        (b"GIF8", ".gif"),
        (b"BM", ".bmp"),
        (b"RIFF", ".webp"),
        (b"\x1f\x8b", ".csv.gz"),
    ):
        if start.startswith(magic):
            return suffix
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith((b"{", b"[")):
        return ".csv"
    # One value on each line, or one that goes on: the first line is whole only in the former.
    first, newline, rest = text.partition(b"\n")
    is_whole = first.rstrip().endswith((b"}", b"]")) and first.count(b"[") == first.count(b"]")
    return ".jsonl" if newline and rest.strip() and is_whole else ".json"
