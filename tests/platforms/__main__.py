"""Run onnxwalk where ONNX Runtime can't be installed, and where it can:

    python -m tests.platforms [NAME …] [--cases N] [-o docs/PLATFORMS.md]

Each platform is fetched by name and version, runs ONNX's own cases and N random ones of all
operators, and must give what is right here; then it runs commands, the demo among them, and does
what programs do with models. Without names: all, which takes a quarter of an hour, and several
minutes more at first. With -o, rows of other platforms that the page has are kept.

The exit status is 1 if anything is wrong on any of them, or if one isn't to be had.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.platforms.cases import write_cases
from tests.platforms.fetch import CACHE, ROOT, Unavailable
from tests.platforms.page import write_page
from tests.platforms.pythons import PLATFORMS, Platform

#: cases that are wrong everywhere, and known: tests/conformance says why
KNOWN = {"test_maxunpool_export_with_output_shape"}


def run_platform(platform: Platform, cases: Path) -> dict[str, Any]:
    """What the probe says there. Raises Unavailable, and RuntimeError if the probe breaks off."""
    command = platform.command()
    if reason := _run([*command, "-c", "import numpy"])[1]:
        raise Unavailable(f"its Python doesn't start: {reason}")
    said, reason = _run([*command, str(ROOT / "tests/platforms/probe.py"), str(cases)])
    if reason:
        raise RuntimeError(reason)
    result: dict[str, Any] = json.loads(said)
    wrong = result["wrong"]
    result["pillow"] = sum("needs Pillow" in text for text in wrong.values())
    result["wrong"] = {
        name: text
        for name, text in wrong.items()
        if name not in KNOWN and "needs Pillow" not in text
    }
    return result


def _run(command: list[str]) -> tuple[str, str]:
    """What a command prints, and why it failed."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError as error:
        return "", str(error)
    reason = f"{done.stderr.strip()[-500:]} (exit status {done.returncode})"
    return done.stdout, reason if done.returncode else ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.platforms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PLATFORMS))
    parser.add_argument("--cases", type=int, default=10_000, metavar="N")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.names if name not in PLATFORMS]:
        parser.error(f"{unknown[0]}: no such platform; there are {', '.join(PLATFORMS)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any] | str] = {}
    # in the folder that platforms with files of their own can see
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        cases = Path(folder) / "cases.pickle"
        print(f"{write_cases(cases, args.cases, backend=True):,} cases", file=sys.stderr)
        for name in args.names or PLATFORMS:
            results[name] = _result(PLATFORMS[name], cases)
            if args.output:
                write_page(args.output, {name: results[name]}, PLATFORMS)
    failed = [r for r in results.values() if isinstance(r, str) or r["wrong"]]
    return int(bool(failed))


def _result(platform: Platform, cases: Path) -> dict[str, Any] | str:
    """What ``run_platform`` says, or why it says nothing; both are printed."""
    try:
        result = run_platform(platform, cases)
    except (Unavailable, RuntimeError) as error:
        kind = "not to be had" if isinstance(error, Unavailable) else "broke off"
        print(f"{platform.name}: {kind}: {error}", flush=True)
        return f"{kind}: {' '.join(str(error).split())[-200:]}"
    right, wrong = result["right"], result["wrong"]
    print(f"{platform.name}: {right:,} cases and {result['uses']} uses right, {len(wrong)} wrong")
    for case, text in wrong.items():
        print(f"    {case}: {text}", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
