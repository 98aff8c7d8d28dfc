"""``onnxwalk explore``: write a page that shows a model and one run of it."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import add_command, add_integer
from onnxwalk.interpreter.cli._feeds import add_inputs, fill_feeds, read_feeds
from onnxwalk.interpreter.cli._progress import progress
from onnxwalk.interpreter.cli._session import add_session, open_session
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import check_folder
from onnxwalk.interpreter.rows.classes import read_labels
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.runtime.trace import ITERATIONS
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.tables.convert import declared_shape

_DESCRIPTION = """\
Write one HTML file that shows the graph and, for one sample, what each node computes.

The page needs neither network nor server. It shows the graph, which can be zoomed and folded, each
node's formula, attributes, shapes and time, and its values: feature maps, filters, heat maps,
histograms, and the gates of RNN, LSTM and GRU over time. Of the input it shows which pixels, words
or steps moved the scores of the classes (the ten largest, for ten seconds). Large values are
downsampled so that the page stays below --size; the page says where. The nodes are those of the
file, without rewrites.

If files have several rows, --sample selects one; inputs without a file get random values.
"""


def add_parser(commands: Any) -> None:
    """Add ``explore`` to the commands."""
    text = "write a page that shows a model and one run of it"
    parser = add_command(commands, "explore", run, text, _DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the page (default: MODEL.html)"
    )
    add_inputs(parser)
    text = "row of the inputs to show, from 0 on (default: 0)"
    parser.add_argument("--sample", type=int, metavar="K", help=text)
    parser.add_argument(
        "--whole", action="store_true", help="run all rows at once; the page shows the first"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names (default: those in the model)"
    )
    text = "runs of each subgraph (of If, Loop, Scan …) to show"
    add_integer(parser, "--iterations", text, default=ITERATIONS, least=0)
    parser.add_argument(
        "--size",
        type=float,
        default=10,
        metavar="MB",
        help="largest size of the page (default: 10)",
    )
    parser.add_argument(
        "--no-saliency", action="store_true", help="don't compute what moved the scores"
    )
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises OnnxWalkError."""
    # Imported here, because no other command needs it.
    from onnxwalk.interpreter.analysis.explore import explore

    if args.sample is not None and (args.whole or args.sample < 0):
        raise InvalidInputError(
            "--sample must be a row from 0 on, and can't be combined with --whole"
        )
    if not (0 < args.size < math.inf):
        raise InvalidInputError(f"--size {args.size:g}: expected megabytes, as in 10")
    output = args.output or Path(f"{Path(args.model).stem}.html")
    check_folder(output)
    labels = read_labels(args.labels) if args.labels else None
    session = open_session(args)
    feeds = _feeds(session, args)
    values = _read_values(args, feeds)
    with progress("run") as bar:
        page = explore(
            session,
            values,
            title=f"{Path(args.model).name}: explore",
            labels=labels,
            iterations=args.iterations,
            saliency=not args.no_saliency,
            size=args.size,
            origins={name: feed.origin for name, feed in feeds.items()},
            progress=lambda title, done, total: bar(done, total or None, title),
        )
    page.save(output)
    nodes = _show.count(page.nodes - page.parts, "node")
    inner = f", {page.parts:,} inside them" if page.parts else ""
    _show.line(
        f"{output}: {nodes}{inner}, {_show.size(len(page.html.encode()))}; "
        + "; ".join(f"{name} from {feed.origin}" for name, feed in feeds.items())
    )
    if args.open and not page.open(output):
        raise InvalidInputError(f"--open: no browser was found; the page is in {output}")
    return 0


def _feeds(session: Session, args: argparse.Namespace) -> dict[str, Feed]:
    """A feed for each input."""
    feeds = read_feeds(session, args)
    return feeds | fill_feeds(session, feeds, args)


def _read_values(args: argparse.Namespace, feeds: Mapping[str, Feed]) -> dict[str, Any]:
    """The values to run: one row of each input with an open first dimension, unless all inputs are
    random."""
    is_single = not args.whole and (
        args.input or args.text or args.text_file or args.sample is not None
    )
    values = {}
    for name, feed in feeds.items():
        first = (declared_shape(feed.info) or (1,))[:1]
        length = feed.rows.length
        if not is_single or length is None or (first and isinstance(first[0], int)):
            values[name] = feed.read()
            continue
        row = args.sample or 0
        if row >= length:
            raise InvalidInputError(f"--sample {row}: input '{name}' has only {length} rows")
        values[name] = next(itertools.islice(feed.rows.pieces(1), row, None))
    return values
