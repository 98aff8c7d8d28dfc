"""``--text`` and ``--text-file``: texts become the ids that a model takes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli._convert import declared_dtype
from onnxwalk.interpreter.cli._files import Feed
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.text import TextRows, Tokenizer, tokenizers


def read_texts(
    session: Session, texts: Sequence[str], files: Sequence[str], column: str | None
) -> dict[str, Feed]:
    """The inputs that texts are given for, by name.

    Each of ``texts`` is [NAME=]TEXT, each of ``files`` [NAME=]FILE; without a NAME they are for the
    one input that the file has a vocabulary for. First come the texts, then those of the files.

    Raises InvalidInputError, and InvalidModelError for a vocabulary that can't be used.
    """
    if not texts and not files:
        return {}
    known = tokenizers(session.model.metadata)
    infos = {info.name: info for info in session.inputs if info.name in known}
    if not infos:
        raise InvalidInputError(
            "the file has no vocabulary, so it takes no text: export the model with --text"
        )
    found: dict[str, list[str]] = {}
    origins: dict[str, list[str]] = {}
    for given in texts:
        name, text = _split(given, infos, "--text")
        found.setdefault(name, []).append(text)
        origins[name] = ["--text"]
    for given in files:
        name, path = _split(given, infos, "--text-file")
        found.setdefault(name, []).extend(_read(Path(path), column))
        origins.setdefault(name, []).append(path)
    feeds = {}
    for name, lines in found.items():
        dtype = declared_dtype(infos[name]) or np.dtype(np.int64)
        rows = TextRows(lines, known[name], dtype)
        feeds[name] = Feed(infos[name], rows, ", ".join(origins[name]))
        feeds[name].notes.append(_note(lines, known[name]))
    return feeds


def _split(given: str, infos: Mapping[str, object], option: str) -> tuple[str, str]:
    """NAME=REST apart; a text may have "=" in it, so only the names of inputs count."""
    for name in sorted(infos, key=len, reverse=True):
        if given.startswith(f"{name}="):
            return name, given[len(name) + 1 :]
    if len(infos) > 1:
        raise InvalidInputError(
            f"{option} for which input? Give {option} NAME=…; text goes to {', '.join(infos)}"
        )
    return next(iter(infos)), given


def _read(path: Path, column: str | None) -> list[str]:
    """The texts of a file: of one column of a .csv file, or its lines. Raises InvalidInputError."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                texts = _column(path, csv.reader(file), column)
            elif column is not None:
                raise InvalidInputError(f"{path}: --column is of use for .csv files only")
            else:  # not splitlines: a text may have a form feed or U+2028 in it
                lines = file.read().replace("\r\n", "\n").split("\n")
                texts = lines[:-1] if lines[-1] == "" else lines
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: no text in UTF-8: {error}") from error
    except csv.Error as error:
        raise InvalidInputError(f"{path}: no CSV file: {error}") from error
    if not texts:
        raise InvalidInputError(f"{path}: no texts in it")
    return texts


def _column(path: Path, rows: Any, name: str | None) -> list[str]:
    csv.field_size_limit(2**31 - 1)  # one text may be a whole book
    header: list[str] = next(rows, [])
    wanted = "text" if name is None else name
    if wanted in header:
        place = header.index(wanted)
    elif name is None and len(header) == 1:
        place = 0
    else:
        listed = ", ".join(header) or "none"
        raise InvalidInputError(f"{path}: no column {wanted!r}; give --column, one of: {listed}")
    texts = []
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise InvalidInputError(
                f"{path}, line {rows.line_num}: {len(row)} columns, there were {len(header)}"
            )
        texts.append(row[place])
    return texts


def _note(texts: Sequence[str], tokenizer: Tokenizer) -> str:
    """How much of the text the vocabulary knows, and whether any was cut off."""
    total = unknown = cut = 0
    for text in texts:
        ids = tokenizer.ids(text)
        total += len(ids)
        unknown += ids.count(1)
        cut += len(tokenizer.tokens(text)) > len(ids)
    words = f"{len(texts):,} text{'s'[: len(texts) != 1]}, {unknown:,} of {total:,} words unknown"
    return words + (f", {cut:,} cut to {tokenizer.length}" if cut else "")
