"""The options of every command that runs a model, and the session that they ask for."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from onnxwalk.interpreter.cli._arguments import add_execution, add_integer, get_execution
from onnxwalk.interpreter.cli._limits import add_limits, get_limits
from onnxwalk.interpreter.session import Session, load


def add_session(
    parser: argparse.ArgumentParser, *, execution: bool = False, threads: bool = True
) -> None:
    """Add ``--threads`` and the limits; with ``execution`` also which rewrites are applied and how
    the model is run. Without ``threads`` the command has a ``--threads`` of its own."""
    if threads:
        text = "threads of a run (default: those of BLAS, but no more than there are free cores)"
        add_integer(parser, "--threads", text)
    if execution:
        add_execution(parser)
    add_limits(parser)
    parser.set_defaults(execution=execution, limits_threads=threads)


def open_session(args: argparse.Namespace, **options: Any) -> Session:
    """``args.model``, loaded as the options of ``add_session`` say. Raises OnnxWalkError."""
    return load(args.model, **options, **load_options(args, args.threads))


def load_options(args: argparse.Namespace, threads: int | None) -> dict[str, Any]:
    """The arguments of ``load`` that the options of ``add_session`` stand for."""
    options: dict[str, Any] = {"limits": get_limits(args)}
    if args.execution:
        options |= get_execution(args)
        if threads and splits_batches(args):
            options["threads"] = threads
    return options


def splits_batches(args: argparse.Namespace) -> bool:
    """Whether ``load`` gets the number of threads; a walk, node by node, uses BLAS's only."""
    return bool(args.execution) and not (args.no_optimize or args.executor == "walk")


def use_threads(args: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """While the command runs, BLAS has as many threads as ``--threads`` says, unless the session
    sees to it. Raises InvalidInputError if threadpoolctl is missing."""
    if not getattr(args, "limits_threads", False) or not args.threads or splits_batches(args):
        return contextlib.nullcontext()
    from onnxwalk.interpreter.runtime.threads import blas_threads

    return blas_threads(args.threads)
