"""``--text`` and ``--text-file``: convert texts to the ids that a model expects."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli._files import Feed, split_name
from onnxwalk.interpreter.cli._show import count
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.tables.convert import declared_dtype
from onnxwalk.interpreter.text import TextRows, Tokenizer, tokenizers


def read_texts(
    session: Session, texts: Sequence[str], files: Sequence[str], column: str | None
) -> dict[str, Feed]:
    """The feeds of texts by input name.

    Each of ``texts`` is [NAME=]TEXT, each of ``files`` [NAME=]FILE; NAME can be left out if the
    model has a vocabulary for one input only. The texts come first, then those of the files.

    Raises InvalidInputError, and InvalidModelError for an invalid vocabulary.
    """
    if not texts and not files:
        return {}
    known = tokenizers(session.model.metadata)
    infos = {info.name: info for info in session.inputs if info.name in known}
    if not infos:
        raise InvalidInputError(
            "the model file has no vocabulary for texts; export the model with --text"
        )
    lines: dict[str, list[str]] = {}
    origins: dict[str, list[str]] = {}
    for argument in texts:
        name, text = _parse(argument, infos, "--text")
        lines.setdefault(name, []).append(text)
        origins[name] = ["--text"]
    for argument in files:
        name, path = _parse(argument, infos, "--text-file")
        lines.setdefault(name, []).extend(read_lines(Path(path), column))
        origins.setdefault(name, []).append(path)
    feeds = {}
    for name, info in infos.items():
        if name in lines:
            rows = TextRows(lines[name], known[name], declared_dtype(info) or np.dtype(np.int64))
            notes = [_summarize(lines[name], known[name])]
            feeds[name] = Feed(info, rows, ", ".join(origins[name]), notes)
    return feeds


def _parse(argument: str, infos: Mapping[str, object], option: str) -> tuple[str, str]:
    name, text = split_name(argument, infos)
    if name is None and len(infos) > 1:
        raise InvalidInputError(
            f"{option}: several inputs accept text; pass {option} NAME=…, where NAME is one of "
            f"{', '.join(infos)}"
        )
    return name or next(iter(infos)), text


def read_lines(
    path: Path, column: str | None, *, usual: str = "text", option: str = "--column"
) -> list[str]:
    """The texts of a file: one column of a .csv file (``usual`` without a name), or the lines.

    ``option``: the one that names the column, for messages. Raises InvalidInputError.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                texts = _read_column(path, csv.reader(file), column, usual, option)
            elif column is not None:
                raise InvalidInputError(f"{path}: {option} is for .csv files only")
            else:  # not splitlines: a text may contain a form feed or U+2028
                lines = file.read().replace("\r\n", "\n").split("\n")
                texts = lines[:-1] if lines[-1] == "" else lines
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: not a text file in UTF-8: {error}") from error
    except csv.Error as error:
        raise InvalidInputError(f"{path}: not a CSV file: {error}") from error
    if not texts:
        raise InvalidInputError(f"{path}: the file contains no texts")
    return texts


def _read_column(path: Path, rows: Any, name: str | None, usual: str, option: str) -> list[str]:
    csv.field_size_limit(2**31 - 1)  # a text may be as long as a book
    header: list[str] = next(rows, [])
    title = usual if name is None else name
    if title in header:
        index = header.index(title)
    elif name is None and len(header) == 1:
        index = 0
    else:
        listed = ", ".join(header) or "none"
        raise InvalidInputError(f"{path}: no column {title!r}; pass {option}, one of: {listed}")
    texts = []
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise InvalidInputError(
                f"{path}, line {rows.line_num}: expected {len(header)} columns, got {len(row)}"
            )
        texts.append(row[index])
    return texts


def _summarize(texts: Sequence[str], tokenizer: Tokenizer) -> str:
    """How many words are unknown to the vocabulary, and how many texts were truncated."""
    total = unknown = truncated = 0
    for text in texts:
        ids = tokenizer.ids(text)
        total += len(ids)
        unknown += ids.count(1)
        truncated += len(tokenizer.tokens(text)) > len(ids)
    summary = f"{count(len(texts), 'text')}, {unknown:,} of {total:,} words unknown"
    return summary + (f", {truncated:,} truncated to {tokenizer.length}" if truncated else "")
