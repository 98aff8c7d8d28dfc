"""``onnxwalk playground``: write a page that runs any model in the browser."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import add_command, add_integer
from onnxwalk.interpreter.errors import InvalidInputError

_DESCRIPTION = """\
Write a page, as a folder of static files, that runs models in the browser: drop an .onnx file on
it, feed it pictures, sounds, texts, tables or numbers, and see its graph and every value, or
compare it with another. Nothing that is dropped there leaves the machine.

Any web server can give out the folder. The page runs Python for WebAssembly, Pyodide, and NumPy,
which npm and pip fetch when the command is first run. The page needs no network after the first
visit.
"""


def add_parser(commands: Any) -> None:
    """Add ``playground`` to the commands."""
    text = "write a page that runs any model in the browser"
    parser = add_command(commands, "playground", run, text, _DESCRIPTION)
    text = "the folder for the page: a new one, or one with an older page"
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help=text)
    text = "serve the page on this machine until Ctrl-C; without -o from a temporary folder"
    parser.add_argument("--serve", action="store_true", help=text)
    add_integer(parser, "--port", "port for --serve; 0: a free one", default=0, least=0)
    text = (
        "a Pyodide distribution with NumPy in place of what npm and pip fetch: a folder, which is "
        "copied, or an address, from which the page then loads it"
    )
    parser.add_argument("--pyodide", metavar="WHERE", help=text)
    text = (
        "with a JupyterLite beside the page, and a notebook in it that runs a CNN, a SimpleRNN and "
        "an LSTM step by step (extra: notebook)"
    )
    parser.add_argument("--notebook", action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises InvalidInputError."""
    # Imported here, because no other command needs it.
    from onnxwalk.interpreter.playground.server import serving
    from onnxwalk.interpreter.playground.site import write_site

    if args.output is None and not args.serve:
        raise InvalidInputError("pass -o DIR to write the page, or --serve to look at it, or both")
    with contextlib.ExitStack() as stack:
        if args.output is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onnxwalk-")))
        else:
            folder = args.output
        site = write_site(folder, args.pyodide, notebook=args.notebook)
        if args.output is not None:
            _show.line(
                f"{folder}: {_show.count(site.files, 'file')}, {_show.size(site.size)}, "
                f"{_show.size(site.compressed)} compressed"
            )
        if args.serve:
            with serving(folder, args.port) as (server, address):
                _show.line(f"{address}  (Ctrl-C ends it)")
                server.serve_forever()
    return 0
