"""What the commands that write tables of coverage share: run cases, read and write the table."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli._parser import Parser, did_you_mean


def table_parser(command: str, what: str, description: str) -> argparse.ArgumentParser:
    """The parser of ``onnxwalk-export COMMAND [WHAT ...] [-o FILE]``; names are in ``names``."""
    parser = Parser(prog=f"onnxwalk-export {command}", description=description)
    parser.add_argument("names", nargs="*", metavar=what, help="only these (default: all)")
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help=f"Markdown file to write; with {what}s, only their rows change",
    )  # fmt: skip
    return parser


def has_unknown_names(names: Iterable[str], known: Iterable[str]) -> bool:
    """Whether there are names of which nothing is known; says so on stderr."""
    known = set(known)
    unknown = sorted(set(names) - known)
    if unknown:
        hint = did_you_mean(unknown[0], known) if len(unknown) == 1 else ""
        print(f"error: no cases for {', '.join(unknown)}{hint}", file=sys.stderr)
    return bool(unknown)


def judge_all(
    chosen: Mapping[str, Sequence[Any]], judge: Callable[[Any], Any]
) -> tuple[dict[str, list[Any]], int]:
    """Name -> the verdicts of its cases, and how many things are wrong; tells of them on stderr.

    What exists before is kept out of the garbage collector, which an export runs twice.
    """
    gc.collect()
    gc.freeze()
    verdicts: dict[str, list[Any]] = {}
    wrong = 0
    for name, cases in chosen.items():
        print(f"{name}: {len(cases)}", file=sys.stderr)
        verdicts[name] = [judge(case) for case in cases]
        for verdict in verdicts[name]:
            for failure in verdict.failures:
                wrong += 1
                print(f"  {verdict.case.label}: {failure}", file=sys.stderr)
    return verdicts, wrong


def write_table(
    options: argparse.Namespace,
    verdicts: dict[str, list[Any]],
    format_table: Callable[[dict[str, list[Any]], str], str],
) -> None:
    """Write the table, or print it; rows that were not asked for stay as they are in the file."""
    target = Path(options.output) if options.output else None
    keeps = target is not None and target.exists() and options.names
    text = format_table(verdicts, target.read_text("utf-8") if target and keeps else "")
    if target:
        target.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
