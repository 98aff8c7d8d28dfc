"""``onnxwalk run``: files in, outputs out."""

from __future__ import annotations

import argparse
import contextlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _report, _show
from onnxwalk.interpreter.cli._batches import Outcome, run_dumping, run_in_pieces, run_whole
from onnxwalk.interpreter.cli._dump import Dump
from onnxwalk.interpreter.cli._execution import add_execution, execution_of
from onnxwalk.interpreter.cli._feeds import at_least, whole
from onnxwalk.interpreter.cli._files import Feed, read_inputs
from onnxwalk.interpreter.cli._limits import add_limits, limits_of
from onnxwalk.interpreter.cli._outputs import OutputFile
from onnxwalk.interpreter.cli._random import make_up
from onnxwalk.interpreter.cli._texts import read_texts
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.runtime.trace import ITERATIONS
from onnxwalk.interpreter.session import Session, load
from onnxwalk.interpreter.text import class_names, tokenizers

_DESCRIPTION = """\
Run a model on files and show what comes out.

FILE of an input may be
  .npy, .npz   arrays; an .npz file may hold several inputs by their names
  .csv         numbers, one row per sample; a first row without numbers is a header
  .json        nested lists, or an object of input names to nested lists; strings allowed
  an image     .png .jpg .jpeg .bmp .webp .gif; resized to the input's height and width, with
               its channels: (N, H, W, C) if the last dimension is 1, 3 or 4, else (N, C, H, W)
               if the second is. Needs Pillow: pip install "onnxwalk[images]"
  a folder     all images in it and in the folders in it, sorted by path

Numbers become the model's type where that loses nothing of their kind: integers become floats,
but floats become integers only if each is a whole number. One sample without a batch dimension
gets one if the model's first dimension is open or 1.

A model whose file has a vocabulary (export puts one there) also takes text, by --text and
--text-file: .csv, of which the column "text" or --column is read, or one text a line.
"""

_EPILOG = """\
JSON has no NaN or infinity: they are the strings "NaN", "Infinity" and "-Infinity".
"""


def add_parser(commands: Any) -> None:
    """Add ``run`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a model on files",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "-i",
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="values of an input; may be repeated; a single input needs no NAME",
    )
    parser.add_argument(
        "--text", action="append", default=[], metavar="[NAME=]TEXT", help="a text; may be repeated"
    )
    parser.add_argument(
        "--text-file",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="texts: .csv, or one a line",
    )
    parser.add_argument(
        "--column", metavar="NAME", help="of a .csv file of texts (default: text, or the only one)"
    )
    parser.add_argument("--random", action="store_true", help="make up the inputs not given")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="[NAME=]1,100",
        help="shape of a made-up input; without it open dimensions are 1",
    )
    parser.add_argument(
        "--seed", type=at_least(0), metavar="N", help="of made-up inputs and random operators"
    )
    parser.add_argument(
        "--scale",
        type=_positive,
        metavar="S",
        help="pixels run from 0 to S; without it to 1 for inputs of floats, to 255 for integers",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write outputs to .npz, .npy or .json"
    )
    parser.add_argument(
        "--batch", type=at_least(1), metavar="N", help="run N rows at a time, reading as it goes"
    )
    parser.add_argument(
        "--top",
        type=at_least(1),
        metavar="K",
        help="show the K largest classes of each sample (default: 1 if the file has class names)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="class names: text, one a line, or a JSON list (default: those in the file)",
    )
    parser.add_argument(
        "--tensor",
        action="append",
        default=[],
        metavar="NAME",
        help="give this inner value as well; may be repeated",
    )
    parser.add_argument(
        "--dump",
        type=Path,
        metavar="DIR",
        help="write the values in between to a new folder, as .npy files with an index.json; the "
        "nodes are run as the file has them",
    )
    parser.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="PATTERN",
        help="dump only values so called, or made by nodes or operators so called: 'dense*', "
        "Conv; may be repeated",
    )
    parser.add_argument(
        "--iterations",
        type=at_least(0),
        metavar="N",
        help=f"of each If, Loop and Scan, to dump what is inside (default: {ITERATIONS})",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="tell what the run would need, of memory and time at most, instead of running",
    )
    add_execution(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_limits(parser)


def run(args: argparse.Namespace) -> int:
    """Carry out the command. Raises OnnxWalkError."""
    for option, needed in (
        ("shape", "random"),
        ("labels", "top"),
        ("column", "text_file"),
        ("select", "dump"),
        ("iterations", "dump"),
    ):
        if getattr(args, option) not in (None, []) and not getattr(args, needed):
            needed = needed.replace("_", "-")
            raise InvalidInputError(f"--{option} is of no use without --{needed}")
    if args.dump and args.batch:
        raise InvalidInputError("--dump takes all rows at once: leave --batch out")
    labels = _report.read_labels(args.labels) if args.labels else None
    session = load(args.model, seed=args.seed, limits=limits_of(args), **execution_of(args))
    stored = class_names(session.model.metadata)
    names = list(dict.fromkeys([*(info.name for info in session.outputs), *args.tensor]))
    if args.dry_run:
        return _print_cost(session, _feeds(session, args), args)
    file = OutputFile(args.output, names, session.outputs) if args.output else None
    dump = Dump(args.dump, args.select) if args.dump else None
    feeds = _feeds(session, args)

    with contextlib.ExitStack() as writing:
        if dump:
            writing.enter_context(dump.writing())
        if file:
            writing.enter_context(file.writing())
        if dump:
            iterations = ITERATIONS if args.iterations is None else args.iterations
            outcome = run_dumping(session, names, feeds, dump, iterations)
        elif args.batch:
            allocate = file.allocate if file else np.empty
            outcome = run_in_pieces(session, names, feeds, args.batch, allocate)
        else:
            outcome = run_whole(session, names, feeds)
        report = _describe(args, feeds, outcome, labels, stored)
        if dump:
            report["dump"] = {"folder": str(args.dump), "values": dump.count, "cut": dump.cut}
        if args.json:  # before the file is renamed: values may still lie in it
            report = _show.jsonable(report)
        if file:
            file.write(outcome.values)
        outcome.values.clear()
    if args.json:
        _show.print_json(report)
    else:
        sample_names = next((f.rows.names for f in feeds.values() if f.rows.names), None)
        _report.show(report, sample_names)
    return 0


def _print_cost(session: Session, feeds: dict[str, Feed], args: argparse.Namespace) -> int:
    values = {name: whole(feed) for name, feed in feeds.items()}
    shapes = {name: np.shape(value) for name, value in values.items()}
    if args.batch:
        shapes = {n: (min(args.batch, s[0]), *s[1:]) if s else s for n, s in shapes.items()}
    cost = session.estimate(shapes)
    if args.json:
        _show.print_json({"shapes": shapes, **cost._asdict()})
    else:
        for name, shape in shapes.items():
            _show.line(f"{name}: {values[name].dtype} {shape}")
        _show.line(f"a run takes {cost}, beyond the weights and the inputs")
    return 0


def _feeds(session: Session, args: argparse.Namespace) -> dict[str, Feed]:
    """A value for each input, in the model's order."""
    feeds = read_inputs(session, args.input, args.scale)
    for name, feed in read_texts(session, args.text, args.text_file, args.column).items():
        if name in feeds:
            raise InvalidInputError(f"input '{name}' is given twice")
        feeds[name] = feed
    if args.random:
        feeds |= make_up(session, feeds, args.shape, args.seed)
    if missing := [info for info in session.inputs if info.name not in feeds]:
        listed = "; ".join(map(str, missing))
        raise InvalidInputError(
            f"no value for input {listed}: give --input {missing[0].name}=FILE, or --random"
            + (", or --text" if missing[0].name in tokenizers(session.model.metadata) else "")
        )
    order = [i.name for i in (*session.inputs, *session.overridable_initializers)]
    return {name: feeds[name] for name in order if name in feeds}


def _describe(
    args: argparse.Namespace,
    feeds: dict[str, Feed],
    outcome: Outcome,
    labels: list[str] | None,
    stored: dict[str, list[str]],
) -> dict[str, Any]:
    outputs = [_report.describe(name, value) for name, value in outcome.values.items()]
    best: dict[str, Any] = {}
    if stored and labels is None:
        best = _report.top_of_named(outcome.values, args.top or 1, stored)
    if args.top and not best:
        best = _report.top(outcome.values, args.top, labels)
    for output in outputs:
        if output["name"] in best:
            output["top"] = best[output["name"]]
    inputs = [
        {
            "name": name,
            "dtype": outcome.dtypes[name],
            "shape": outcome.shapes[name],
            "from": feed.origin,
            "notes": feed.notes,
        }
        for name, feed in feeds.items()
    ]
    return {
        "model": args.model,
        "inputs": inputs,
        "outputs": outputs,
        "seconds": outcome.seconds,
        "runs": outcome.pieces,
        "output": None if args.output is None else str(args.output),
    }


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
