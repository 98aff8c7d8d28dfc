"""``--text`` and ``--text-file``: convert texts to the ids that a model expects."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxwalk.interpreter.display import count
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.sources import split_name
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.tables.convert import declared_dtype
from onnxwalk.interpreter.tables.files import SUFFIXES, open_table, table_suffix
from onnxwalk.interpreter.tables.options import Options
from onnxwalk.interpreter.text import TextRows, Tokenizer, tokenizers

if TYPE_CHECKING:
    from onnxwalk.interpreter.tables.table import Table

_PIECE = 10_000  # rows that are read at once


def read_texts(
    session: HasInputs,
    texts: Sequence[str],
    files: Sequence[str],
    column: str | None,
    options: Options | None = None,
) -> dict[str, Feed]:
    """The feeds of texts by input name.

    Each of ``texts`` is [NAME=]TEXT, each of ``files`` [NAME=]FILE; NAME can be left out if the
    model has a vocabulary for one input only. The texts come first, then those of the files.
    ``options``: how tables are written.

    Raises InvalidInputError, and InvalidModelError for an invalid vocabulary.
    """
    if not texts and not files:
        return {}
    model: Any = getattr(session, "model", None)
    known = {} if model is None else tokenizers(model.metadata)
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
        lines.setdefault(name, []).extend(read_lines(Path(path), column, options=options))
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
    path: Path,
    column: str | None,
    *,
    usual: str = "text",
    option: str = "--column",
    options: Options | None = None,
) -> list[str]:
    """The texts of a file: one column of a table (``usual`` without a name), or the lines.

    ``option``: the one that names the column, for messages. Raises InvalidInputError.
    """
    from onnxwalk.interpreter.rows.sources import spool_stdin
    from onnxwalk.interpreter.tables.text import open_text

    path, origin = (spool_stdin(), "stdin") if str(path) == "-" else (path, str(path))
    if table_suffix(path) is not None and (column is not None or origin != "stdin"):
        return _read_column(open_table(path, options, origin), column, usual, option)
    if column is not None:
        raise InvalidInputError(
            f"{origin}: {option} is for tables only: {', '.join(sorted(SUFFIXES))}"
        )
    with open_text(path, None if options is None else options.encoding) as file:
        # not splitlines: a text may contain a form feed or U+2028
        lines = file.read().replace("\r\n", "\n").split("\n")
    texts = lines[:-1] if lines[-1] == "" else lines
    if not texts:
        raise InvalidInputError(f"{origin}: the file contains no texts")
    return texts


def _read_column(table: Table, name: str | None, usual: str, option: str) -> list[str]:
    from onnxwalk.interpreter.tables.cells import as_texts

    columns = list(table.columns)
    title = usual if name is None else name
    if title in columns:
        index = columns.index(title)
    elif name is None and len(columns) - len(table.unfed) == 1:
        index = next(i for i in range(len(columns)) if i not in table.unfed)
    elif name is not None and name.isdecimal() and 1 <= int(name) <= len(columns):
        index = int(name) - 1
    else:
        listed = ", ".join(columns)
        raise InvalidInputError(
            f"{table.origin}: no column {title!r}; pass {option}, one of: {listed}"
        )
    table.want([index])
    texts: list[str] = []
    for number in range(-(-table.length // _PIECE)):
        cells = table.piece(_PIECE, number)[index]
        values = as_texts(cells, functools.partial(table.where, number, _PIECE))
        texts += values
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
