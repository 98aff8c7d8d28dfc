"""``onnxwalk explore``: a page on which a model and one run of it can be looked at."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli import _report, _show
from onnxwalk.interpreter.cli._convert import declared_shape
from onnxwalk.interpreter.cli._feeds import add_arguments, at_least, sizes, whole
from onnxwalk.interpreter.cli._files import Feed, read_inputs
from onnxwalk.interpreter.cli._limits import add_limits, limits_of
from onnxwalk.interpreter.cli._random import make_up
from onnxwalk.interpreter.cli._texts import read_texts
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.runtime.trace import ITERATIONS
from onnxwalk.interpreter.session import Session, load

_DESCRIPTION = """\
Write one HTML file that shows the graph and, for one sample, what each node makes of it.

The page needs no network and no server: it has the graph to zoom and fold, each node's formula,
attributes, shapes and time, and its values: feature maps, filters, heat maps, histograms, the gates
of RNN, LSTM and GRU over time. Large values are down-sampled so that the page stays under --size,
and the page says where. The nodes are the file's own, as it has them.

Of files with many rows one is taken, --sample; inputs that aren't given are made up.
"""


def add_parser(commands: Any) -> None:
    """Add ``explore`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "explore",
        help="write a page on which a model can be looked at",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the page (default: MODEL.html)"
    )
    add_arguments(parser)
    parser.add_argument(
        "--scale", type=float, metavar="S", help="pixels of images run from 0 to S, as for run"
    )
    parser.add_argument(
        "--text", action="append", default=[], metavar="[NAME=]TEXT", help="a text, as for run"
    )
    parser.add_argument(
        "--text-file", action="append", default=[], metavar="[NAME=]FILE", help="texts, as for run"
    )
    parser.add_argument("--column", metavar="NAME", help="of a .csv file of texts")
    parser.add_argument(
        "--sample",
        type=int,
        metavar="K",
        help="which row of the inputs, from 0 on (default: 0)",
    )
    parser.add_argument(
        "--whole", action="store_true", help="run all rows at once; the page shows the first"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names (default: those in the file)"
    )
    parser.add_argument(
        "--iterations",
        type=at_least(0),
        default=ITERATIONS,
        metavar="N",
        help=f"of each If, Loop and Scan, to show what is inside (default: {ITERATIONS})",
    )
    parser.add_argument(
        "--size", type=float, default=10, metavar="MB", help="of the page at most (default: 10)"
    )
    add_limits(parser)


def run(args: argparse.Namespace) -> int:
    """Carry out the command. Raises OnnxWalkError."""
    from onnxwalk.interpreter.analysis.explore.collect import (
        collect,  # nothing of it is needed otherwise
    )
    from onnxwalk.interpreter.analysis.explore.page import overhead, page
    from onnxwalk.interpreter.files import write_file

    if args.sample is not None and (args.whole or args.sample < 0):
        raise InvalidInputError("--sample K takes one row, from 0 on, and not with --whole")
    if not (0 < args.size < math.inf):
        raise InvalidInputError(f"--size {args.size:g}: give megabytes, as in 10")
    output = args.output or Path(f"{Path(args.model).stem}.html")
    if not output.absolute().parent.is_dir():
        raise InvalidInputError(f"{output}: there is no folder {output.parent}")
    labels = _report.read_labels(args.labels) if args.labels else None
    session = load(args.model, limits=limits_of(args))
    feeds = _feeds(session, args)
    limit = int(args.size * 1e6)
    room = limit - overhead()
    if room < 20_000:
        raise InvalidInputError(f"--size {args.size:g}: the page itself takes {overhead()} bytes")
    values = _values(args, feeds)
    data = collect(session, values, limit=room, labels=labels, iterations=args.iterations)
    data["origins"] = {name: feed.origin for name, feed in feeds.items()}
    text = page(data, f"{Path(args.model).name}: explore")
    write_file(output, text)
    parts = sum("part" in node for node in data["nodes"])
    nodes = sum("seconds" in node for node in data["nodes"]) - parts
    within = f", {parts:,} shown within them" if parts else ""
    _show.line(
        f"{output}: {_show.count(nodes, 'node')}{within}, {_show.size(len(text.encode()))}; "
        + "; ".join(f"{name} from {feed.origin}" for name, feed in feeds.items())
    )
    return 0


def _feeds(session: Session, args: argparse.Namespace) -> dict[str, Feed]:
    """Where the values of each input come from."""
    dims, first = sizes(session, args, None)
    feeds = read_inputs(session, args.input, args.scale)
    texts = read_texts(session, args.text, args.text_file, args.column)
    if twice := [name for name in texts if name in feeds]:
        raise InvalidInputError(f"input '{twice[0]}' is given twice")
    feeds |= texts
    return feeds | make_up(session, feeds, args.shape, 0, dims=dims, first=first)


def _values(args: argparse.Namespace, feeds: Mapping[str, Feed]) -> dict[str, Any]:
    """What is run: one row of inputs whose first dimension is open, if any came out of a file."""
    one = not args.whole and (args.input or args.text or args.text_file or args.sample is not None)
    values = {}
    for name, feed in feeds.items():
        first = (declared_shape(feed.info) or (1,))[:1]
        length = feed.rows.length
        if not one or length is None or (first and isinstance(first[0], int)):
            values[name] = whole(feed)
            continue
        row = args.sample or 0
        if row >= length:
            raise InvalidInputError(f"--sample {row}: input '{name}' has {length} rows")
        values[name] = next(itertools.islice(feed.rows.pieces(1), row, None))
    return values
