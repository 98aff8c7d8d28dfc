"""The fixed suite of benchmarks, as one command:

    python -m tests.programs.benchmarks [--only NAME …] [--threads 1,2] [--reference] [--keras]

Every model is measured as ``onnxwalk bench`` does, in processes of its own. Models are made (with
Keras and TensorFlow) or fetched once, into --cache. The whole suite writes docs/BENCHMARKS.md and
docs/benchmarks.svg; a part of it writes them into --output, if that is given. What there is when
Ctrl-C comes is written too.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxwalk
from onnxwalk.interpreter.cli import _plot, _show
from onnxwalk.interpreter.cli._engines import OURS
from onnxwalk.interpreter.cli._measure import Job, measure
from onnxwalk.interpreter.cli._show import duration
from onnxwalk.interpreter.cli.bench import describe_machine, installed_versions, parse_integers
from onnxwalk.interpreter.errors import OnnxWalkError
from tests.programs.benchmarks import hooks, report
from tests.programs.benchmarks.suite import (
    AGAINST_TRACT,
    REFERENCED,
    TIMES_ONLY,
    Entry,
    entries,
    growing,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 after an error, which is one line on stderr."""
    args = _parser().parse_args(argv)
    try:
        if args.instructions:
            return _instructions(args)
        chosen = choose(growing() if args.growth else entries(), args.only)
        if args.list:
            for entry in chosen:
                print(f"{entry.group}/{entry.name}  {', '.join(map(str, entry.sizes))}")
            return 0
        folder = args.output or (None if args.only else Path("docs"))
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            _plot.check(folder / "benchmarks.svg")
        if args.earlier:
            about = _combined(args.earlier, chosen)
            report.write(folder or Path("docs"), about, _name(args))
            return 0
        return _measure_all(chosen, args, folder)
    except (OnnxWalkError, OSError, RuntimeError) as error:
        print(f"benchmarks: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="groups, models, or patterns of GROUP/MODEL, as in 'operators/Conv*'",
    )
    parser.add_argument("--list", action="store_true", help="name the models and their sizes")
    parser.add_argument("--growth", action="store_true", help="measure how cost grows instead")
    parser.add_argument(
        "--threads",
        type=parse_integers,
        default=[1],
        metavar="N,…",
        help="of each engine (default: 1); load, memory, reference and Keras with the first only",
    )
    parser.add_argument(
        "--sizes", type=parse_integers, metavar="N,…", help="only these batches or other sizes"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each engine's runs")
    parser.add_argument("--reference", action="store_true", help="also ONNX's ReferenceEvaluator")
    parser.add_argument("--keras", action="store_true", help="also Keras, where it made the model")
    parser.add_argument("--tract", action="store_true", help="also tract, with one thread")
    parser.add_argument(
        "--times-only", action="store_true", help="no load, memory and new processes: much faster"
    )
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR")
    parser.add_argument("--fresh", action="store_true", help="make the models anew")
    parser.add_argument("--output", type=Path, metavar="DIR")
    parser.add_argument(
        "--from",
        dest="earlier",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="write the report of what earlier runs printed with --json, instead of measuring",
    )
    parser.add_argument("--json", action="store_true", help="print what was measured")
    parser.add_argument(
        "--instructions",
        metavar="MODEL",
        help="count the instructions of one run of a model of the suite, with valgrind",
    )
    return parser


def default_cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "onnxwalk-benchmarks"


def choose(found: list[Entry], only: Sequence[str]) -> list[Entry]:
    def fits(entry: Entry, name: str) -> bool:
        full = f"{entry.group}/{entry.name}"
        return name in (entry.group, entry.name) or fnmatch.fnmatchcase(full, name)

    for name in only:
        if not any(fits(entry, name) for entry in found):
            groups = ", ".join(dict.fromkeys(entry.group for entry in found))
            raise RuntimeError(f"--only {name}: no such model; --list names them, of {groups}")
    return [e for e in found if not only or any(fits(e, name) for name in only)]


def _measure_all(chosen: Sequence[Entry], args: argparse.Namespace, folder: Path | None) -> int:
    rows: list[dict[str, Any]] = []
    try:
        for entry in chosen:
            for size in _sizes(entry, args):
                for threads in args.threads:
                    rows.append(_measured(entry, size, threads, args))
                    print(_line(rows[-1]), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("benchmarks: stopped; what was measured is kept", file=sys.stderr)
    others = ["onnxruntime", *(n for n in ("reference", "keras", "tract") if getattr(args, n))]
    about = {"machine": describe_machine(), "versions": installed_versions(others), "results": rows}
    if args.json:
        _show.print_json(about)
    if folder:
        report.write(folder, about, _name(args))
    # What the others can't run is in the report; it isn't for us to mend.
    return int(any("error" in row["engines"][OURS] for row in rows))


def _name(args: argparse.Namespace) -> str:
    return "growth" if args.growth else "benchmarks"


def _combined(files: Sequence[Path], measured: Sequence[Entry]) -> dict[str, Any]:
    """What several runs measured, as if it had been one: the first word counts, later ones add."""
    parts = [json.loads(file.read_text()) for file in files]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in (row for part in parts for row in part["results"]):
        key = tuple(row[name] for name in ("group", "name", "size", "threads"))
        known = rows.setdefault(key, {**row, "engines": {}})
        if "hooks" in row:
            known.setdefault("hooks", row["hooks"])
        for engine, found in row["engines"].items():
            before = known["engines"].get(engine, {})
            if "error" not in found or not before:
                known["engines"][engine] = {**found, **before}
    versions = {name: version for part in parts for name, version in part["versions"].items()}
    order = [entry.group for entry in measured]
    in_order = sorted(rows.values(), key=lambda row: order.index(row["group"]))
    return {
        "machine": parts[0]["machine"],
        "versions": versions,
        "results": in_order,
        "runs": len(parts),
    }


def _measured(entry: Entry, size: int, threads: int, args: argparse.Namespace) -> dict[str, Any]:
    row = {"group": entry.group, "name": entry.name, "size": size, "threads": threads}
    try:
        once = threads == args.threads[0]  # what takes long, and isn't a matter of threads
        first = size == entry.sizes[0] and once
        startup = not args.times_only and entry.group not in TIMES_ONLY and once
        file = entry.file(args.cache, args.fresh and first)
        keras_file = file.with_suffix(".keras")
        reference = args.reference and once and entry.group in REFERENCED
        keras = args.keras and once and entry.group not in TIMES_ONLY and keras_file.exists()
        tract = args.tract and threads == 1 and entry.group in AGAINST_TRACT
        others = ["onnxruntime"] + ["reference"] * reference + ["keras"] * keras
        others += ["tract"] * tract
        job = Job(
            model=str(file),
            feeds=entry.feeds(onnxwalk.load(file, optimize=False), size),
            others=others,
            threads=threads,
            seconds=args.seconds,
            keras_file=str(keras_file),
            parts=entry.parts(size),
            startup=startup,
            processes=3 if startup and first else 0,
        )
        found = {**row, "engines": measure(job)}
        if first and (entry.group, entry.name) in hooks.MODELS:
            found["hooks"] = hooks.measured(file, job.feeds, args.seconds)
        return found
    except Exception as error:  # one model that can't be made or run doesn't end hours of others
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return {**row, "engines": {OURS: {"error": text}}}


def _line(row: dict[str, Any]) -> str:
    parts = [
        f"{row['group']}/{row['name']} [{row['size']}], {report.threads_text(row['threads'])}:"
    ]
    for name, found in row["engines"].items():
        if "error" in found:
            parts.append(f"{name} failed: {found['error'][:150]}")
            continue
        ratio = f" ({found['ratio']:.3g} ×)" if "ratio" in found else ""
        apart = "" if found.get("agrees", True) else f" DIFFERENT by {found['difference']:.0e}"
        parts.append(f"{name} {duration(found['best'])}{ratio}{apart}")
    return "  ".join(parts)


def _instructions(args: argparse.Namespace) -> int:
    from tests.programs.benchmarks.instructions import count

    for entry in choose([*entries(), *growing()], [args.instructions]):
        file = entry.file(args.cache, args.fresh)
        for size in _sizes(entry, args):
            number = count(file, entry.feeds(onnxwalk.load(file, optimize=False), size))
            if args.json:
                result = {"group": entry.group, "name": entry.name, "size": size}
                print(json.dumps({**result, "instructions": number}))
            else:
                print(f"{entry.group}/{entry.name} [{size}]: {number:,} instructions a run")
    return 0


def _sizes(entry: Entry, args: argparse.Namespace) -> list[int]:
    return [size for size in entry.sizes if not args.sizes or size in args.sizes]


if __name__ == "__main__":
    sys.exit(main())
