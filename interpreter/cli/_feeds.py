"""Feeds for the commands that try a model: read from files, or random in the requested sizes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from onnxwalk.interpreter.cli._arguments import add_integer, add_repeated
from onnxwalk.interpreter.cli._pixels import add_pixels, get_pixels
from onnxwalk.interpreter.cli._random import random_feeds
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.pixels import Pixels
from onnxwalk.interpreter.rows.texts import read_texts
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.tables.convert import declared_shape
from onnxwalk.interpreter.tables.options import Options

_BATCH_NAMES = ("batch", "batch_size", "batchsize", "n", "unk__batch")


def add_sizes(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Add ``--dim`` and ``--shape``; ``prefix`` begins their help texts."""
    text = f"{prefix}size of a symbolic dimension (default: 1)"
    add_repeated(parser, "--dim", metavar="NAME=N", help=text)
    text = f"{prefix}shape of a random input"
    add_repeated(parser, "--shape", metavar="[NAME=]1,100", help=text)


def add_inputs(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Add the options of inputs that are read from files, and random otherwise: ``--input``,
    ``--text``, ``--dim``, ``--shape``, ``--seed``, tables and pictures; ``prefix`` begins the help
    texts of what says which inputs there are."""
    add_sizes(parser, prefix)
    add_integer(parser, "--seed", f"{prefix}seed of random inputs", default=0, least=0)
    text = f"{prefix}values of an input, as for run"
    add_repeated(parser, "-i", "--input", metavar="[NAME=]FILE", help=text)
    add_texts(parser, prefix)
    add_table_options(parser)
    add_pixels(parser)


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how files of rows are written."""
    group = parser.add_argument_group(
        "tables", "how .csv and .tsv files are written; without these it is found out"
    )
    text = "what stands between columns: a character, or tab, or blanks"
    group.add_argument("--delimiter", type=_parse_delimiter, metavar="C", help=text)
    text = "the decimal sign: . or ,"
    group.add_argument("--decimal", choices=(".", ","), metavar="SIGN", help=text)
    text = "whether the first line names the columns"
    group.add_argument("--header", choices=("yes", "no"), help=text)
    group.add_argument("--encoding", metavar="NAME", help="as in cp1252 (default: UTF-8 or -16)")


def get_table_options(args: argparse.Namespace) -> Options:
    """What the options of ``add_table_options`` say."""
    return Options(
        delimiter=args.delimiter,
        decimal=args.decimal,
        header=None if args.header is None else args.header == "yes",
        encoding=args.encoding,
    )


def _parse_delimiter(text: str) -> str:
    character = {"tab": "\t", "\\t": "\t", "blanks": " ", "comma": ",", "semicolon": ";"}.get(
        text, text
    )
    if len(character) != 1 or character in '"\r\n':
        raise argparse.ArgumentTypeError(f"expected one character, tab or blanks, got {text!r}")
    return character


def add_texts(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Add ``--text``, ``--text-file`` and ``--column``; ``prefix`` begins their help texts."""
    text = f"{prefix}a text, for a model with a vocabulary"
    add_repeated(parser, "--text", metavar="[NAME=]TEXT", help=text)
    text = f"{prefix}a file of texts: a table as for --input, or one text per line"
    add_repeated(parser, "--text-file", metavar="[NAME=]FILE", help=text)
    text = "column of a table of texts (default: text, or the only one)"
    parser.add_argument("--column", metavar="NAME", help=text)


def read_inputs(
    session: HasInputs,
    texts: Sequence[str],
    pixels: Pixels,
    *,
    options: Options | None = None,
    skips_damaged: bool = False,
) -> dict[str, Feed]:
    """The feeds of ``--input`` by name: each is NAME=FILE or FILE. Files for the same input are
    joined, in their order.

    ``options``: how files of text are written. ``skips_damaged``: leave out images that can't be
    read, unless none of several can. Raises InvalidInputError.
    """
    from onnxwalk.interpreter.rows.reader import Reader  # and all that reads any kind of file

    return Reader(session, pixels, options, skips_damaged=skips_damaged).read(texts)


def read_feeds(
    session: HasInputs, args: argparse.Namespace, *, skips_damaged: bool = False
) -> dict[str, Feed]:
    """The feeds of ``--input``, ``--text`` and ``--text-file``; ``skips_damaged`` as for
    ``read_inputs``. Raises InvalidInputError."""
    if args.column is not None and not args.text_file:
        raise InvalidInputError("--column requires --text-file")
    options = get_table_options(args)
    feeds = read_inputs(
        session, args.input, get_pixels(args), options=options, skips_damaged=skips_damaged
    )
    texts = read_texts(session, args.text, args.text_file, args.column, options)
    if repeated := [name for name in texts if name in feeds]:
        raise InvalidInputError(f"input '{repeated[0]}' was given twice")
    return feeds | texts


def build_feeds(session: HasInputs, args: argparse.Namespace, batch: int | None) -> dict[str, Any]:
    """A value for each input: those of files and texts, and random values for the others.

    ``batch`` is the size of the dimension named batch or N, or of the first one of each input.
    """
    feeds = read_feeds(session, args)
    feeds |= fill_feeds(session, feeds, args, batch=batch)
    return {name: feed.read() for name, feed in feeds.items()}


def fill_feeds(
    session: HasInputs,
    feeds: Mapping[str, Feed],
    args: argparse.Namespace,
    *,
    batch: int | None = None,
    seed: int | None = None,
) -> dict[str, Feed]:
    """Random values for the inputs without a feed, in the sizes of ``--dim`` and ``--shape``;
    ``batch`` as for ``build_feeds``, ``seed`` in place of ``--seed``. The sizes that nothing says
    are noted for ``name_guesses``."""
    dims, first = parse_sizes(session, args, batch)
    seed = (args.seed or 0) if seed is None else seed
    args.guesses = {}
    return random_feeds(
        session, feeds, args.shape, seed, dims=dims, first=first, guesses=args.guesses
    )


def name_guesses(args: argparse.Namespace) -> str:
    """What to add to an error of a run whose inputs ``fill_feeds`` made: the sizes that nothing
    said, and how to say them."""
    guesses: dict[str, str] = getattr(args, "guesses", {})
    if not guesses:
        return ""
    options = " ".join(dict.fromkeys(guesses.values()))
    return f"; the size of {', '.join(guesses)} isn't known and was taken to be 1: pass {options}"


def parse_sizes(
    session: HasInputs, args: argparse.Namespace, batch: int | None
) -> tuple[dict[str, int], int]:
    """The sizes of symbolic dimensions by ``--dim`` and ``batch``, and the size of a first
    dimension that is unknown; both for ``random_feeds``.

    Raises InvalidInputError for dimensions that the inputs don't have.
    """
    dims = parse_dims(session, args.dim)
    shapes = [declared_shape(info) or () for info in session.inputs]
    if batch is None:
        return dims, 1
    if names := [name for name in _symbols(session) if name.lower() in _BATCH_NAMES]:
        dims.setdefault(names[0], batch)
    elif any(shape and not isinstance(shape[0], int) for shape in shapes):
        return dims, batch
    elif not all(shape and shape[0] == batch for shape in shapes):
        listed = "; ".join(map(str, session.inputs))
        raise InvalidInputError(f"--batch {batch}: the inputs have fixed sizes: {listed}")
    return dims, 1


def parse_dims(session: HasInputs, texts: Sequence[str]) -> dict[str, int]:
    """Sizes by the names of dimensions, as ``--dim`` gives them. Raises InvalidInputError."""
    dims = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not size.isdecimal():
            raise InvalidInputError(f"--dim {text}: expected NAME=N, as in sequence=100")
        dims[name] = int(size)
    symbols = _symbols(session)
    if unknown := [name for name in dims if name not in symbols]:
        known = ", ".join(symbols) or "none"
        raise InvalidInputError(f"--dim {unknown[0]}: no such dimension; the inputs have: {known}")
    return dims


def _symbols(session: HasInputs) -> list[str]:
    shapes = [declared_shape(info) or () for info in session.inputs]
    return list(dict.fromkeys(d for shape in shapes for d in shape if isinstance(d, str)))
