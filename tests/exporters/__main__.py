"""The command: see the package."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.exporters.compare import REFUSED, Result, compare
from tests.exporters.exporter import Exporter, exporters
from tests.exporters.table import is_all_right, load_results, unneeded, write_page

CACHE = Path.home() / ".cache" / "onnxwalk-exporters"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run exporters; returns 1 if an answer differs for a reason that no program states, or if an
    exporter refuses more or less than its program states."""
    parser = argparse.ArgumentParser(prog="python -m tests.exporters", description=__doc__)
    known = {exporter.name: exporter for exporter in exporters()}
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"only these of {', '.join(known)}"
    )
    parser.add_argument("-o", "--output", type=Path, help="the page with the table to write")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where all is kept: %(default)s")
    parser.add_argument(
        "--again", action="store_true", help="compare files of an earlier run, without exporting"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(known):
        parser.error(f"no exporter is named {', '.join(sorted(unknown))}")
    right = True
    for name in options.names or known:
        results = run(known[name], options.cache, again=options.again)
        right &= is_all_right(results, known[name].refused)
        for result in results:
            print(name, result.name, result.verdict, result.detail, flush=True)
        count = sum(result.verdict == REFUSED for result in results)
        if count != known[name].refused:
            print(f"{name}: {count} refused, expected {known[name].refused}", flush=True)
        for pattern in unneeded(known[name].known, results):
            print(f"{name}: nothing needs the reason for {pattern}", flush=True)
        save_results(results, options.cache / "results" / f"{name}.json")
    if options.output:
        saved = {name: load_results(options.cache / "results" / f"{name}.json") for name in known}
        write_page(list(known.values()), saved, options.output)
    return 0 if right else 1


def run(exporter: Exporter, cache: Path, *, again: bool = False) -> list[Result]:
    """Have an exporter write its files, and compare the answers of each."""
    folder = cache / "files" / exporter.name
    try:
        if not again:
            folder = exporter.write_files(cache)
    except subprocess.SubprocessError as error:
        text = getattr(error, "stderr", None) or str(error)
        return [Result("the program", "wrong", text.strip().splitlines()[-1])]
    refused = folder / "refused.json"
    reasons = json.loads(refused.read_text(encoding="utf-8")) if refused.exists() else {}
    results = [Result(name, REFUSED, reason) for name, reason in reasons.items()]
    return results + [
        compare(path.with_suffix(".onnx"), exporter.tolerance, exporter.known)
        for path in sorted(folder.glob("*.npz"))
    ]


def save_results(results: list[Result], target: Path) -> None:
    """Keep the results, so that the page can be written without running all exporters."""
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([dataclasses.asdict(result) for result in results], indent=1)
    target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
