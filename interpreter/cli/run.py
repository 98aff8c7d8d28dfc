"""``onnxwalk run``: run a model on files."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _report, _show
from onnxwalk.interpreter.cli._arguments import (
    add_command,
    add_integer,
    add_repeated,
)
from onnxwalk.interpreter.cli._dump import Dump, run_dumping
from onnxwalk.interpreter.cli._feeds import (
    add_sizes,
    add_table_options,
    add_texts,
    fill_feeds,
    read_feeds,
)
from onnxwalk.interpreter.cli._parts import add_parts, is_of_parts, run_in_parts
from onnxwalk.interpreter.cli._pixels import add_pixels
from onnxwalk.interpreter.cli._progress import progress
from onnxwalk.interpreter.cli._session import add_session, open_session
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.names import find_outputs, find_values
from onnxwalk.interpreter.rows.arrays import ConstantRows
from onnxwalk.interpreter.rows.classes import Ranked, rank_outputs, read_labels
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.outputs import FORMATS, OutputFile, Outputs, is_table, spooled
from onnxwalk.interpreter.rows.runs import Result, run_batches, run_once
from onnxwalk.interpreter.runtime.trace import ITERATIONS
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.text import class_names, tokenizers

_DESCRIPTION = """\
Run a model on files and show its outputs.

FILE of an input may be
  .npy, .npz   arrays; an .npz file may hold several inputs by their names
  .csv, .tsv   one row per sample, also gzipped: columns go to the inputs of their names, or all to
               the only input. Delimiter, decimal comma and header are found out
  .parquet     the same. Needs pyarrow: pip install "onnxwalk[parquet]"
  .jsonl       the same: an object, or a list of numbers, on each line
  .json        nested lists, an object of input names to nested lists, or a list of objects
  an image     .png .jpg .jpeg .bmp .webp .gif; resized to the input's height and width, with
               its channels: (N, H, W, C) if the last dimension is 1, 3 or 4, else (N, C, H, W)
               if the second is. Needs Pillow: pip install "onnxwalk[images]"
  a folder     all images in it and in the folders in it, sorted by path

FILE:age,pay are columns of a table, by name or number; 'photos/*.png' is a pattern; - is standard
input. Several files for one input are joined, row after row. NAME=16000, NAME='[1, 2]' and
NAME='"text"' are values. An empty cell, or one like NA, is NaN in inputs of floats, an empty string
in inputs of strings (where "NA" is text), and refused elsewhere.

Numbers are converted to the type of the input where no value changes: integers become floats,
but floats become integers only if all of them are integral. A single sample without a batch
dimension gets one if the first dimension of the input is open or 1.

A model whose file contains a vocabulary (onnxwalk-export can write one) also accepts text, by
--text and --text-file: a table, of which the column "text" or --column is read, or one text per
line.

Of several images those that can't be read are named and left out; then the exit status is 1.
"""

_EPILOG = """\
JSON has no NaN or infinity: they are the strings "NaN", "Infinity" and "-Infinity".
"""


def add_parser(commands: Any) -> None:
    """Add ``run`` to the commands."""
    parser = add_command(commands, "run", run, "run a model on files", _DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    add_repeated(
        parser,
        "-i",
        "--input",
        metavar="[NAME=]FILE",
        help="values of an input; NAME can be left out if there is only one, or if the columns of "
        "a table have the names of the inputs",
    )
    add_texts(parser)
    add_table_options(parser)
    parser.add_argument(
        "--random", action="store_true", help="generate random values for all other inputs"
    )
    add_sizes(parser)
    text = "seed of random inputs and random operators (default: another one each time)"
    add_integer(parser, "--seed", text, least=0)
    add_pixels(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write outputs to .npz, .npy or .json, or a row for each sample to .csv, .tsv, .jsonl "
        "or .parquet; - is standard output; a folder, such as out/, gets a file for each part",
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="format of --output - (default: csv), or of parts"
    )
    text = "return only these outputs, or those that match; else as for --tensor"
    add_repeated(parser, "--outputs", metavar="NAME,…", help=text)
    add_integer(parser, "--batch", "read and run N rows at a time")
    text = "show the K largest classes of each sample (default: 1 if the model has class names)"
    add_integer(parser, "--top", text, metavar="K")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="class names: text, one per line, or a JSON list (default: those in the model)",
    )
    text = "also return this value, the output of this Keras layer or node, or all that match"
    add_repeated(parser, "--tensor", metavar="NAME", help=text)
    parser.add_argument(
        "--dump",
        type=Path,
        metavar="DIR",
        help="write all intermediate values to a new folder, as .npy files with an index.json; "
        "the nodes are run as they are in the file",
    )
    add_repeated(
        parser,
        "--select",
        metavar="PATTERN",
        help="dump only values whose name, node, operator or Keras layer matches, as in 'dense*' "
        "or Conv",
    )
    text = f"dump the first N runs of each subgraph (of If, Loop, Scan …) (default: {ITERATIONS})"
    add_integer(parser, "--iterations", text, least=0)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="don't run; print the most memory and time that the run could use",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_parts(parser)
    add_session(parser, execution=True)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises OnnxWalkError."""
    if is_of_parts(args):
        return run_in_parts(args)
    args.output = None if args.output is None else Path(args.output)
    for option, required in (
        ("shape", "random"),
        ("dim", "random"),
        ("select", "dump"),
        ("iterations", "dump"),
        ("format", "output"),
    ):
        if getattr(args, option) not in (None, []) and not getattr(args, required):
            raise InvalidInputError(f"--{option} requires --{required.replace('_', '-')}")
    if args.dump and args.batch:
        raise InvalidInputError("--dump can't be combined with --batch; it runs all rows at once")
    if args.json and str(args.output) == "-":
        raise InvalidInputError("--json and --output - both write to standard output")
    if args.labels and not args.top and not (args.output and is_table(args.output, args.format)):
        raise InvalidInputError("--labels requires --top, or a table such as .csv as --output")
    labels = read_labels(args.labels) if args.labels else None
    session = open_session(args, seed=args.seed)
    names = _names(session, args)
    if args.dry_run:
        return _print_cost(session, _feeds(session, args), args)
    infos = [info for info in session.outputs if info.name in names]
    file = OutputFile(args.output, names, infos, args.format) if args.output else None
    dump = Dump(args.dump, args.select, session.model) if args.dump else None
    feeds = _feeds(session, args)
    _check_damaged(feeds)
    sample_names = next((f.rows.names for f in feeds.values() if f.rows.names), None)

    with contextlib.ExitStack() as writing:
        if dump:
            writing.enter_context(dump.writing())
        if file:
            writing.enter_context(file.writing())
        if dump:
            iterations = ITERATIONS if args.iterations is None else args.iterations
            result = run_dumping(session, names, feeds, dump, iterations)
        elif args.batch:
            allocate = file.allocate if file else spooled
            with progress("running") as tell:
                result = run_batches(session, names, feeds, args.batch, allocate, tell)
        else:
            result = run_once(session, names, feeds)
        stored = {**class_names(session.model.metadata), **result.classes}
        ranked = rank_outputs(result.values, stored, labels, args.top)
        report = _describe(args, feeds, result, ranked)
        if dump:
            report["dump"] = {"folder": str(args.dump), "values": dump.count, "cut": dump.omitted}
        if args.json:  # before the file is renamed: values may still lie in it
            report = _show.to_jsonable(report)
        if file:
            file.write(_outputs(args, feeds, result, ranked))
        result.values.clear()
    if args.json:
        _show.print_json(report)
    elif file is None or not file.is_stdout:
        _report.show(report, sample_names)
    return _tell_damaged(feeds)


def _names(session: Session, args: argparse.Namespace) -> list[str]:
    """The values to return: those of ``--outputs``, or all outputs, and those of ``--tensor``."""
    chosen = find_outputs(session.model, session.graph, args.outputs, "--outputs")
    inner = [
        name
        for text in args.tensor
        for name in find_values(session.model, session.graph, text, "--tensor")
    ]
    return list(dict.fromkeys([*chosen, *inner]))


def _check_damaged(feeds: dict[str, Feed]) -> None:
    """Raise InvalidInputError where images were left out that another input has rows for."""
    for feed in feeds.values():
        whole = (feed.rows.length or 0) + len(feed.damaged)
        others = [f for f in feeds.values() if f is not feed and f.rows.length == whole]
        if feed.damaged and others:
            path, reason = next(iter(feed.damaged.items()))
            raise InvalidInputError(
                f"{path}: {reason}, and input '{others[0].info.name}' has a row for it"
            )


def _tell_damaged(feeds: dict[str, Feed]) -> int:
    """Name the images that were left out; the exit status is 1 if there are any."""
    damaged = {path: why for feed in feeds.values() for path, why in feed.damaged.items()}
    for path, reason in damaged.items():
        print(f"onnxwalk: {_show.printable(f'{path}: {reason}; left out')}", file=sys.stderr)
    return 1 if damaged else 0


def _outputs(
    args: argparse.Namespace,
    feeds: dict[str, Feed],
    result: Result,
    ranked: dict[str, Ranked],
) -> Outputs:
    lengths = [
        feed.rows.length
        for feed in feeds.values()
        if feed.rows.length is not None and not isinstance(feed.rows, ConstantRows)
    ]
    files = [getattr(feed.rows, "files", None) for feed in feeds.values()]
    return Outputs(
        result.values,
        result.classes,
        ranked,
        length=lengths[0] if lengths else None,
        names=next((names for names in files if names), None),
        top=args.top,
    )


def _print_cost(session: Session, feeds: dict[str, Feed], args: argparse.Namespace) -> int:
    values = {name: feed.read() for name, feed in feeds.items()}
    shapes = {name: np.shape(value) for name, value in values.items()}
    if args.batch:
        shapes = {n: (min(args.batch, s[0]), *s[1:]) if s else s for n, s in shapes.items()}
    cost = session.estimate(shapes)
    if args.json:
        _show.print_json({"shapes": shapes, **cost._asdict()})
    else:
        for name, shape in shapes.items():
            _show.line(f"{name}: {values[name].dtype} {shape}")
        _show.line(f"a run uses {cost}, in addition to the weights and the inputs")
    return 0


def _feeds(session: Session, args: argparse.Namespace) -> dict[str, Feed]:
    """A value for each input, in the model's order."""
    feeds = read_feeds(session, args, skips_damaged=True)
    if args.random:
        seed = secrets.randbelow(1_000_000) if args.seed is None else args.seed
        feeds |= fill_feeds(session, feeds, args, seed=seed)
    if missing := [info for info in session.inputs if info.name not in feeds]:
        listed = "; ".join(map(str, missing))
        raise InvalidInputError(
            f"no value for input {listed}; pass --input {missing[0].name}=FILE, or --random"
            + (", or --text" if missing[0].name in tokenizers(session.model.metadata) else "")
        )
    order = [i.name for i in (*session.inputs, *session.overridable_initializers)]
    return {name: feeds[name] for name in order if name in feeds}


def _describe(
    args: argparse.Namespace,
    feeds: dict[str, Feed],
    result: Result,
    ranked: dict[str, Ranked],
) -> dict[str, Any]:
    outputs = [_report.describe(name, value) for name, value in result.values.items()]
    for output in outputs:
        if output["name"] in result.classes:
            output["classes"] = result.classes[output["name"]]
        if output["name"] in ranked:
            output["top"] = ranked[output["name"]].largest(args.top or 1)
    inputs = [
        {
            "name": name,
            "dtype": result.dtypes[name],
            "shape": result.shapes[name],
            "from": feed.origin,
            "notes": feed.describe(),
        }
        for name, feed in feeds.items()
    ]
    return {
        "model": args.model,
        "inputs": inputs,
        "outputs": outputs,
        "seconds": result.seconds,
        "runs": result.runs,
        "output": None if args.output is None else str(args.output),
        "damaged": {str(p): why for feed in feeds.values() for p, why in feed.damaged.items()},
    }
