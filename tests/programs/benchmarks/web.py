"""NumPy without BLAS: this checkout in Pyodide, beside an earlier one and onnxruntime-web.

    python -m tests.programs.benchmarks.web [OTHER] [--only NAME …] [--seconds S]

All run in Node, in WebAssembly, with one thread; onnxruntime-web with its SIMD instructions, which
Pyodide's NumPy is built without. Each engine is a process that has loaded a model, and they run in
turn, so that what disturbs the machine disturbs all. Printed is the fastest run of each, and this
checkout's time over the others'. Pyodide and NumPy are those of the playground's page;
onnxruntime-web, of a fixed version, comes from npm into a temporary folder, or the one of
--packages; Node 20 has to be there. OTHER is the folder of another checkout.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxwalk
from onnxwalk.interpreter.playground import pyodide
from tests.programs.benchmarks.__main__ import choose, default_cache
from tests.programs.benchmarks.paired import ROOT, TURNS, Build, mean
from tests.programs.benchmarks.suite import Entry, entries

ONNXRUNTIME_WEB = "onnxruntime-web@1.30.0"

#: the models, each with its sizes
MODELS = {
    "assignment/cnn": (1, 32),
    "assignment, other settings/lstm 1x32": (1, 32),
    "assignment, other settings/lstm 2x64": (1, 32),
    "assignment/lstm": (1, 32),
    "assignment/simplernn": (1, 32),
    "assignment/gru": (1, 32),
    "keras.applications/MobileNetV2": (1,),
}


class Engine(Build):
    """A process of Node with an engine that has loaded a model."""

    def __init__(self, packages: Path, engine: str, model: Path, feeds: Path) -> None:
        script = Path(__file__).with_name("web.mjs")
        self._process = subprocess.Popen(
            ["node", str(script), *map(str, (packages, engine, model, feeds))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()


def fetch(folder: Path) -> None:
    """onnxruntime-web, into the folder."""
    if not (folder / "node_modules/onnxruntime-web").exists():
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        npm = ["npm", "install", "--prefix", str(folder), *quiet, ONNXRUNTIME_WEB]
        subprocess.run(npm, check=True, stdout=subprocess.DEVNULL)


def measure(
    entry: Entry,
    size: int,
    engines: Sequence[str],
    *,
    packages: Path,
    cache: Path,
    folder: Path,
    seconds: float,
) -> list[float]:
    """The fastest run of each engine, in milliseconds. Inputs are written to ``folder``."""
    model = entry.file(cache)
    feeds = []
    for i, (name, value) in enumerate(entry.feeds(onnxwalk.load(model), size).items()):
        (folder / f"feed{i}").write_bytes(value.tobytes())
        feed = {"name": name, "type": str(value.dtype), "shape": value.shape}
        feeds.append({**feed, "file": str(folder / f"feed{i}")})
    (folder / "feeds.json").write_text(json.dumps(feeds), "utf-8")
    processes = [Engine(packages, engine, model, folder / "feeds.json") for engine in engines]
    try:
        turns = [[p.run(seconds / TURNS)[0] for p in processes] for _ in range(TURNS)]
    finally:
        for process in processes:
            process.close()
    return [min(times) / 1e6 for times in zip(*turns, strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.benchmarks.web",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("other", type=Path, nargs="?", help="the folder of another checkout")
    parser.add_argument("--only", nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each engine's runs")
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR")
    parser.add_argument("--packages", type=Path, metavar="DIR", help="keep the packages here")
    args = parser.parse_args(arguments)
    if shutil.which("node") is None or shutil.which("npm") is None:
        parser.error("needs Node 20 with npm: node and npm aren't on the path")
    chosen = [e for e in choose(entries(), args.only) if f"{e.group}/{e.name}" in MODELS]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        packages = (args.packages or folder).resolve()
        fetch(packages)
        numpy = pyodide.fetched() / pyodide.NUMPY
        checkouts = [ROOT, *([args.other.resolve()] if args.other else [])]
        engines = [*(f"pyodide:{numpy}:{c}" for c in checkouts), "onnxruntime-web"]
        names = ["here", *(["before"] if args.other else []), "onnxruntime-web"]
        print("| model, batch |", *(f" {name}, ms |" for name in names), end="")
        print(*(f" here over {name} |" for name in names[1:]))
        print("|---|" + "---:|" * (2 * len(names) - 1))
        found = []
        for entry in chosen:
            for size in MODELS[f"{entry.group}/{entry.name}"]:
                times = measure(
                    entry,
                    size,
                    engines,
                    packages=packages,
                    cache=args.cache,
                    folder=folder,
                    seconds=args.seconds,
                )
                found.append([times[0] / other for other in times[1:]])
                cells = [f"{t:.2f}" for t in (*times, *found[-1])]
                print(f"| {entry.name}, {size} |", " | ".join(cells), "|", flush=True)
        print("geometric means:", *(f"{mean(ratios):.2f}" for ratios in zip(*found, strict=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
