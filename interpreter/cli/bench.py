"""``onnxwalk bench``: how fast a model runs here, and in other engines."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxwalk
from onnxwalk.interpreter.cli import _plot, _show
from onnxwalk.interpreter.cli._engines import OTHERS, OURS, keras_beside
from onnxwalk.interpreter.cli._feeds import add_arguments, made
from onnxwalk.interpreter.cli._measure import Job, measure
from onnxwalk.interpreter.cli._show import printable
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.session import load

_DESCRIPTION = """\
Measure models: time, load time and memory, and whether other engines give the same.

With one thread the engines run in turn (A B A B …); with several each runs for itself, after a
pause, because the threads of some go on spinning after a run. Load, first run and memory are
measured in a process per engine; process is from a new process to its first outputs. The ratio is
onnxwalk's best time over the other's best: below 1 onnxwalk is faster. Memory is the peak of the
runs beyond the weights in the file (below 0: not all of them were needed); Linux alone tells.

Inputs that aren't given are made up, as `run --random` does.
"""


def add_parser(commands: Any) -> None:
    """Add ``bench`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="measure a model, also against other engines",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("models", metavar="MODEL", nargs="+", help="an .onnx file")
    parser.add_argument(
        "--against",
        type=_engines,
        default=["onnxruntime"],
        metavar="ENGINE,…",
        help=f"of {', '.join(OTHERS)}, or none (default: onnxruntime)",
    )
    parser.add_argument(
        "--threads", type=numbers, default=[1], metavar="N,…", help="of each engine (default: 1)"
    )
    parser.add_argument(
        "--batch",
        type=numbers,
        default=[None],
        metavar="N,…",
        help="size of the dimension named batch or N, or of the first one of each input",
    )
    add_arguments(parser)
    parser.add_argument(
        "--keras", metavar="FILE", help="the .keras file of MODEL (default: the one beside it)"
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=2.0,
        metavar="S",
        help="of each engine's runs (default: 2); one that takes longer runs once",
    )
    parser.add_argument(
        "--tolerance",
        type=_positive,
        default=1e-4,
        metavar="T",
        help="difference of outputs, relative to the largest, that is agreement (default: 1e-4)",
    )
    parser.add_argument(
        "--times-only", action="store_true", help="no load, memory and new processes: faster"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios: .svg .png .pdf")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Carry out the command: 1 if an engine failed or disagreed. Raises OnnxWalkError."""
    if args.plot:
        _plot.check(args.plot)
    if args.keras and len(args.models) > 1:
        raise InvalidInputError("--keras is the file of one model, and there are several")
    if args.batch != [None] and args.input:
        raise InvalidInputError("--batch is of inputs that are made up, and --input gives values")
    for model in args.models if "keras" in args.against and not args.keras else ():
        if not keras_beside(model):
            raise InvalidInputError(f"no .keras file beside {model}; give --keras FILE")
    results, wrong = [], []
    for model in args.models:
        for batch in args.batch:
            feeds = made(load(model, optimize=False), args, batch)
            for threads in args.threads:
                result = _result(model, batch, threads, feeds, args)
                results.append(result)
                wrong += _wrong(result)
                if not args.json:
                    show(result)
    if args.json:
        versions = installed_versions(args.against)
        _show.print_json({"machine": machine(), "versions": versions, "results": results})
    if args.plot:
        _draw(args.plot, results, args.against)
    for text in wrong:
        print(f"onnxwalk: {printable(text)}", file=sys.stderr)
    return int(bool(wrong))


def _result(
    model: str, batch: int | None, threads: int, feeds: dict[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    job = Job(
        model=model,
        feeds=feeds,
        others=args.against,
        threads=threads,
        seconds=args.seconds,
        tolerance=args.tolerance,
        keras_file=args.keras or keras_beside(model),
        startup=not args.times_only,
        processes=0 if args.times_only else 3,
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


def _wrong(result: Mapping[str, Any]) -> list[str]:
    texts = []
    for name, found in result["engines"].items():
        if "error" in found:
            texts.append(f"{result['model']}: {name} can't run it: {found['error']}")
        elif not found.get("agrees", True):
            texts.append(
                f"{result['model']}: the outputs differ from those of {name} by "
                f"{found['difference']:.1e} of the largest value"
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
    for name, found in result["engines"].items():
        if "error" in found:
            rows.append((name, *["–"] * (len(columns) - 1), "failed"))
            continue
        ratio = f"{found['ratio']:.3g} ×" if "ratio" in found else ""
        agrees = "" if name == OURS else "the same" if found["agrees"] else "DIFFERENT"
        if agrees:
            agrees += f" ({found['difference']:.0e})"
        times = (duration(found.get(what)) for what in ("load", "first", "process"))
        memory = found.get("memory")
        rows.append(
            (
                name,
                duration(found["best"]),
                duration(found["median"]),
                str(found["runs"]),
                ratio,
                *times,
                "–" if memory is None else ("−" if memory < 0 else "") + _show.size(abs(memory)),
                agrees,
            )
        )
    _show.table((*columns, "outputs"), rows, right=columns[1:])


def duration(seconds: float | None) -> str:
    """Seconds as people read them: "1.23 ms"."""
    if seconds is None:
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:.0f} s"
    return f"{seconds * 1e6:.3g} µs"


def _draw(path: Path, results: list[dict[str, Any]], others: list[str]) -> None:
    labels = []
    for r in results:
        batch = "" if r["batch"] is None else f", batch {r['batch']}"
        labels.append(f"{Path(r['model']).stem}{batch}, {_show.count(r['threads'], 'thread')}")
    series = {name: [r["engines"][name].get("ratio") for r in results] for name in others}
    _plot.draw(path, f"onnxwalk {onnxwalk.__version__}", labels, series)


def machine() -> dict[str, Any]:
    """What was measured on."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {"processor": name, "cores": os.cpu_count(), "system": platform.platform(terse=True)}


def installed_versions(others: list[str]) -> dict[str, str]:
    """Of all that was measured."""
    packages = {
        "onnxruntime": ["onnxruntime"],
        "reference": ["onnx"],
        "keras": ["keras", "tensorflow", "jax", "torch"],
    }
    found = {"onnxwalk": onnxwalk.__version__, "python": platform.python_version()}
    for name in ("numpy", *(package for other in others for package in packages[other])):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _engines(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in OTHERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(OTHERS)}, none")
    return list(dict.fromkeys(names))


def numbers(text: str) -> list[int]:
    """Whole numbers from 1 on, with commas between them, for argparse."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers from 1 on")
    return [int(part) for part in parts]


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
