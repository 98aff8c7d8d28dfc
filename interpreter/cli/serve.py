"""``onnxwalk serve``: models over HTTP."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import onnxwalk
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import (
    add_command,
    add_execution,
    add_integer,
    get_execution,
    non_negative_number,
    positive_number,
)
from onnxwalk.interpreter.cli._limits import add_limits, get_limits, parse_size
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.session import load

_DESCRIPTION = """\
Answer requests for inference over HTTP, by the Open Inference Protocol (V2 REST), which the clients
of Triton, KServe and others speak: health, metadata, inference in JSON and in binary.

MODEL may be
  FILE                  its name is the file's, without .onnx; its version is 1
  NAME=FILE             another name
  NAME:VERSION=FILE     another version, a number
  FOLDER                a folder with a folder for each version: digits/1/model.onnx

A request that names no version gets the newest. With --batch-size, rows of several requests that
are waiting are run together where the model keeps its samples apart; then the last digits of an
answer can depend on the others'. Each request gets the rows that it sent.

SIGTERM and Ctrl-C stop the server: no new requests are taken, those that are there are answered,
and the exit status is 0. A second Ctrl-C ends it at once.
"""

_EPILOG = """\
The server knows no users and no passwords, and answers everybody who reaches it: --host 0.0.0.0
lets in the whole network.
"""


def add_parser(commands: Any) -> None:
    """Add ``serve`` to the commands."""
    text = "answer requests over HTTP (Open Inference Protocol)"
    parser = add_command(commands, "serve", run, text, _DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="see above")
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine)"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8000,
        metavar="N",
        help="port (default: 8000; 0: any that is free)",
    )
    add_integer(parser, "--batch-size", "run up to N rows of several requests together", default=1)
    parser.add_argument(
        "--batch-delay",
        type=non_negative_number,
        default=0,
        metavar="MS",
        help="how long a request waits for others to be run with (default: 0, only those that are "
        "waiting already)",
    )
    add_integer(parser, "--threads", "threads of one run, as for bench")
    add_integer(parser, "--workers", "runs of a model at the same time", default=1)
    add_integer(
        parser,
        "--queue",
        "requests at once, those that wait included; others are refused with status 503",
        default=1000,
    )
    parser.add_argument(
        "--max-body",
        type=parse_size,
        default=64 << 20,
        metavar="SIZE",
        help="the largest body of a request (default: 64 MiB); all together may have eight times "
        "that",
    )
    parser.add_argument(
        "--body-seconds",
        type=positive_number,
        default=60,
        metavar="S",
        help="the time in which a body has to arrive (default: 60)",
    )
    add_execution(parser)
    add_limits(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises OnnxWalkError."""
    try:
        from onnxwalk.interpreter.serving.server import Settings, listen, serve
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"serve needs {error.name}, which isn't installed: pip install 'onnxwalk[serve]'"
        ) from None
    from onnxwalk.interpreter.serving.models import ServedModel, find_sources

    models = []
    for source in find_sources(args.models):
        options = get_execution(args)
        session = load(source.path, threads=args.threads, limits=get_limits(args), **options)
        models.append(ServedModel(source.name, source.version, session))
    settings = Settings(
        queue=args.queue,
        max_body=args.max_body,
        body_seconds=args.body_seconds,
        batch_size=args.batch_size,
        delay=args.batch_delay / 1000,
        workers=args.workers,
    )
    listening = listen(args.host, args.port)
    address = _address(*listening.getsockname()[:2])

    def announce() -> None:
        for model in models:
            _show.line(f"{address}/v2/models/{model.name}/versions/{model.version}")
            for name, reason in model.not_served.items():
                _show.line(f"  without output '{name}': {reason}")
        _show.line("serving; Ctrl-C stops")
        sys.stdout.flush()

    serve(models, listening, settings, version=onnxwalk.__version__, on_start=announce)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def _address(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host  # IPv6
    return f"http://{name}:{port}"
