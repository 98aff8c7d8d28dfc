"""``onnxwalk run``: run a model on files."""

from __future__ import annotations

import argparse
import contextlib
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _report, _show
from onnxwalk.interpreter.cli._arguments import (
    add_command,
    add_integer,
    add_repeated,
    positive_number,
)
from onnxwalk.interpreter.cli._batches import Result, run_batches, run_dumping, run_once
from onnxwalk.interpreter.cli._dump import Dump
from onnxwalk.interpreter.cli._feeds import add_sizes, add_texts, fill_feeds, read_feeds
from onnxwalk.interpreter.cli._files import Feed
from onnxwalk.interpreter.cli._outputs import OutputFile
from onnxwalk.interpreter.cli._session import add_session, open_session
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.names import find_values
from onnxwalk.interpreter.runtime.trace import ITERATIONS
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.text import class_names, tokenizers

_DESCRIPTION = """\
Run a model on files and show its outputs.

FILE of an input may be
  .npy, .npz   arrays; an .npz file may hold several inputs by their names
  .csv         numbers, one row per sample; a first row without numbers is a header
  .json        nested lists, or an object of input names to nested lists; strings allowed
  an image     .png .jpg .jpeg .bmp .webp .gif; resized to the input's height and width, with
               its channels: (N, H, W, C) if the last dimension is 1, 3 or 4, else (N, C, H, W)
               if the second is. Needs Pillow: pip install "onnxwalk[images]"
  a folder     all images in it and in the folders in it, sorted by path

Numbers are converted to the type of the input where no value changes: integers become floats,
but floats become integers only if all of them are integral. A single sample without a batch
dimension gets one if the first dimension of the input is open or 1.

A model whose file contains a vocabulary (onnxwalk-export can write one) also accepts text, by
--text and --text-file: a .csv file, of which the column "text" or --column is read, or one text per
line.
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
        help="values of an input; NAME can be left out if there is only one",
    )
    add_texts(parser)
    parser.add_argument(
        "--random", action="store_true", help="generate random values for all other inputs"
    )
    add_sizes(parser)
    text = "seed of random inputs and random operators (default: another one each time)"
    add_integer(parser, "--seed", text, least=0)
    parser.add_argument(
        "--scale",
        type=positive_number,
        metavar="S",
        help="scale pixels to 0 to S (default: 1 for inputs of floats, 255 for integers)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write outputs to .npz, .npy or .json"
    )
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
    text = f"dump the first N iterations of each If, Loop and Scan (default: {ITERATIONS})"
    add_integer(parser, "--iterations", text, least=0)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="don't run; print the most memory and time that the run could use",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_session(parser, execution=True)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises OnnxWalkError."""
    for option, required in (
        ("shape", "random"),
        ("dim", "random"),
        ("labels", "top"),
        ("column", "text_file"),
        ("select", "dump"),
        ("iterations", "dump"),
    ):
        if getattr(args, option) not in (None, []) and not getattr(args, required):
            raise InvalidInputError(f"--{option} requires --{required.replace('_', '-')}")
    if args.dump and args.batch:
        raise InvalidInputError("--dump can't be combined with --batch; it runs all rows at once")
    labels = _report.read_labels(args.labels) if args.labels else None
    session = open_session(args, seed=args.seed)
    stored = class_names(session.model.metadata)
    inner = [
        name
        for text in args.tensor
        for name in find_values(session.model, session.graph, text, "--tensor")
    ]
    names = list(dict.fromkeys([*(info.name for info in session.outputs), *inner]))
    if args.dry_run:
        return _print_cost(session, _feeds(session, args), args)
    file = OutputFile(args.output, names, session.outputs) if args.output else None
    dump = Dump(args.dump, args.select, session.model) if args.dump else None
    feeds = _feeds(session, args)

    with contextlib.ExitStack() as writing:
        if dump:
            writing.enter_context(dump.writing())
        if file:
            writing.enter_context(file.writing())
        if dump:
            iterations = ITERATIONS if args.iterations is None else args.iterations
            result = run_dumping(session, names, feeds, dump, iterations)
        elif args.batch:
            allocate = file.allocate if file else np.empty
            result = run_batches(session, names, feeds, args.batch, allocate)
        else:
            result = run_once(session, names, feeds)
        report = _describe(args, feeds, result, labels, stored)
        if dump:
            report["dump"] = {"folder": str(args.dump), "values": dump.count, "cut": dump.omitted}
        if args.json:  # before the file is renamed: values may still lie in it
            report = _show.to_jsonable(report)
        if file:
            file.write(result.values)
        result.values.clear()
    if args.json:
        _show.print_json(report)
    else:
        sample_names = next((f.rows.names for f in feeds.values() if f.rows.names), None)
        _report.show(report, sample_names)
    return 0


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
    feeds = read_feeds(session, args)
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
    labels: list[str] | None,
    stored: dict[str, list[str]],
) -> dict[str, Any]:
    outputs = [_report.describe(name, value) for name, value in result.values.items()]
    best: dict[str, Any] = {}
    if stored and labels is None:
        best = _report.find_top_labeled(result.values, args.top or 1, stored)
    if args.top and not best:
        best = _report.find_top(result.values, args.top, labels)
    for output in outputs:
        if output["name"] in best:
            output["top"] = best[output["name"]]
    inputs = [
        {
            "name": name,
            "dtype": result.dtypes[name],
            "shape": result.shapes[name],
            "from": feed.origin,
            "notes": feed.notes,
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
    }
