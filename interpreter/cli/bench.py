"""``onnxwalk bench``: measure a model in onnxwalk and in other engines."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxwalk
from onnxwalk.interpreter.cli import _plot, _show
from onnxwalk.interpreter.cli._arguments import add_command, positive_number
from onnxwalk.interpreter.cli._engines import OTHERS, OURS, find_keras_file
from onnxwalk.interpreter.cli._feeds import add_inputs, build_feeds
from onnxwalk.interpreter.cli._limits import get_limits
from onnxwalk.interpreter.cli._session import add_session, load_options
from onnxwalk.interpreter.cli._show import duration, printable
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.runtime.threads import blas_kernels
from onnxwalk.interpreter.session import load

_DESCRIPTION = """\
Measure the time, load time and memory of models, and compare the outputs of other engines.

With one thread the engines take turns (A B A B …); with several each runs on its own after a
pause, because the threads of some keep spinning after a run. Load, first run and memory are
measured in one process per engine; process is the time from the start of a new process to its first
outputs. The ratio is onnxwalk's best time divided by the other's; below 1 onnxwalk is faster.
Memory is the peak of the runs minus the weights in the file (negative if not all of them were
read), on Linux only.

Inputs without --input get random values, as with `run --random`. The limits and the options of
rewrites and executor are onnxwalk's alone.
"""


def add_parser(commands: Any) -> None:
    """Add ``bench`` to the commands."""
    parser = add_command(
        commands, "bench", run, "measure a model, and compare it with other engines", _DESCRIPTION
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help="an .onnx file")
    parser.add_argument(
        "--against",
        type=_parse_engines,
        default=["onnxruntime"],
        metavar="ENGINE,…",
        help=f"{', '.join(OTHERS)}, or none (default: onnxruntime)",
    )
    parser.add_argument(
        "--threads",
        type=parse_integers,
        default=[1],
        metavar="N,…",
        help="threads of each engine (default: 1)",
    )
    parser.add_argument(
        "--batch",
        type=parse_integers,
        default=[None],
        metavar="N,…",
        help="size of the dimension named batch or N, or of the first one of each input",
    )
    add_inputs(parser)
    parser.add_argument(
        "--keras", metavar="FILE", help="the .keras file of MODEL (default: the one next to it)"
    )
    parser.add_argument(
        "--seconds",
        type=positive_number,
        default=2.0,
        metavar="S",
        help="total time of each engine's runs (default: 2); one that needs longer runs once",
    )
    parser.add_argument(
        "--tolerance",
        type=positive_number,
        default=1e-4,
        metavar="T",
        help="allowed difference of outputs, relative to the largest value (default: 1e-4)",
    )
    parser.add_argument(
        "--times-only", action="store_true", help="don't measure load, memory and new processes"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios: .svg .png .pdf")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_session(parser, execution=True, threads=False)


def run(args: argparse.Namespace) -> int:
    """Run the command: 1 if an engine failed or disagreed. Raises OnnxWalkError."""
    if args.plot:
        _plot.check(args.plot)
    if args.keras and len(args.models) > 1:
        raise InvalidInputError("--keras can be used with one MODEL only")
    if args.batch != [None] and (args.input or args.text or args.text_file):
        raise InvalidInputError(
            "--batch sets the size of random inputs; it can't be combined with --input or --text"
        )
    for model in args.models if "keras" in args.against and not args.keras else ():
        if not find_keras_file(model):
            raise InvalidInputError(f"no .keras file next to {model}; pass --keras FILE")
    results, problems = [], []
    for model in args.models:
        for batch in args.batch:
            session = load(model, optimize=False, strict=args.strict, limits=get_limits(args))
            feeds = build_feeds(session, args, batch)
            for threads in args.threads:
                result = _measure(model, batch, threads, feeds, args)
                results.append(result)
                problems += _list_problems(result)
                if not args.json:
                    show(result)
    if args.json:
        versions = installed_versions(args.against)
        _show.print_json({"machine": describe_machine(), "versions": versions, "results": results})
    if args.plot:
        _draw(args.plot, results, args.against)
    for text in problems:
        print(f"onnxwalk: {printable(text)}", file=sys.stderr)
    return int(bool(problems))


def _measure(
    model: str, batch: int | None, threads: int, feeds: dict[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    # what it imports isn't everywhere, and the parser of all commands comes by here
    from onnxwalk.interpreter.cli._measure import Job, measure

    job = Job(
        model=model,
        feeds=feeds,
        others=args.against,
        threads=threads,
        seconds=args.seconds,
        tolerance=args.tolerance,
        keras_file=args.keras or find_keras_file(model),
        startup=not args.times_only,
        processes=0 if args.times_only else 3,
        options=load_options(args, threads),
    )
    inputs = [
        {"name": name, "dtype": _show.dtype_name(value.dtype), "shape": list(value.shape)}
        if hasattr(value, "dtype")
        else {"name": name, "dtype": "sequence", "shape": None}
        for name, value in feeds.items()
    ]
    return {
        "model": model,
        "batch": batch,
        "threads": threads,
        "inputs": inputs,
        "engines": measure(job),
    }


def _list_problems(result: Mapping[str, Any]) -> list[str]:
    texts = []
    for name, measured in result["engines"].items():
        if "error" in measured:
            texts.append(f"{result['model']}: {name} can't run the model: {measured['error']}")
        elif not measured.get("agrees", True):
            texts.append(
                f"{result['model']}: the outputs differ from those of {name} by "
                f"{measured['difference']:.1e} of the largest value"
            )
    return texts


def show(result: Mapping[str, Any]) -> None:
    """Print one result as a table."""
    shapes = ", ".join(
        f"{i['name']} {i['dtype']} {'×'.join(map(str, i['shape'] or ()))}".rstrip()
        for i in result["inputs"]
    )
    threads = _show.count(result["threads"], "thread")
    _show.heading(f"{result['model']}, {threads}: {shapes or 'no inputs'}")
    columns = ("", "best", "median", "runs", "ratio", "load", "first run", "process", "memory")
    rows = []
    for name, measured in result["engines"].items():
        if "error" in measured:
            rows.append((name, *["–"] * (len(columns) - 1), "failed"))
            continue
        ratio = f"{measured['ratio']:.3g} ×" if "ratio" in measured else ""
        agrees = "" if name == OURS else "equal" if measured["agrees"] else "DIFFERENT"
        if agrees:
            agrees += f" ({measured['difference']:.0e})"
        times = (duration(measured.get(what)) for what in ("load", "first", "process"))
        memory = measured.get("memory")
        rows.append(
            (
                name,
                duration(measured["best"]),
                duration(measured["median"]),
                str(measured["runs"]),
                ratio,
                *times,
                "–" if memory is None else ("−" if memory < 0 else "") + _show.size(abs(memory)),
                agrees,
            )
        )
    _show.table((*columns, "outputs"), rows, right=columns[1:])


def _draw(path: Path, results: list[dict[str, Any]], others: list[str]) -> None:
    labels = []
    for r in results:
        batch = "" if r["batch"] is None else f", batch {r['batch']}"
        labels.append(f"{Path(r['model']).stem}{batch}, {_show.count(r['threads'], 'thread')}")
    series = {name: [r["engines"][name].get("ratio") for r in results] for name in others}
    _plot.draw(path, f"onnxwalk {onnxwalk.__version__}", labels, series)


def describe_machine() -> dict[str, Any]:
    """Processor, cores and operating system of this machine."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "blas": blas_kernels(),
    }


def installed_versions(others: list[str]) -> dict[str, str]:
    """The versions of onnxwalk, Python, and the packages of the other engines."""
    packages = {
        "onnxruntime": ["onnxruntime"],
        "reference": ["onnx"],
        "keras": ["keras", "tensorflow", "jax", "torch"],
        "tract": ["tract"],
    }
    import importlib.metadata  # takes long

    versions = {"onnxwalk": onnxwalk.__version__, "python": platform.python_version()}
    for name in ("numpy", *(package for other in others for package in packages[other])):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _parse_engines(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in OTHERS:
            raise argparse.ArgumentTypeError(
                f"unknown engine {name!r}; known: {', '.join(OTHERS)}, none"
            )
    return list(dict.fromkeys(names))


def parse_integers(text: str) -> list[int]:
    """The type of an argument that is positive integers, separated by commas."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected integers from 1 on, separated by commas, got {text!r}"
        )
    return [int(part) for part in parts]
