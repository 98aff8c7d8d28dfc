"""Run onnxwalk where ONNX Runtime can't be installed:

    python -m tests.platforms [NAME …] [--cases N] [-o docs/PLATFORMS.md]

Each platform is fetched by name and version, runs ONNX's own cases and N random ones of all
operators, and must give what is right here. The demo's three models are run there as well. Without
names: all. The exit status is 1 if a case is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.platforms.cases import write_cases
from tests.platforms.debian import Debian, Unavailable

ROOT = Path(__file__).parents[2]
PLATFORMS = {
    platform.name: platform
    for platform in (
        Debian("i386", "i386", "i386-linux-gnu", "ld-linux.so.2"),
        Debian(
            "armhf", "armhf", "arm-linux-gnueabihf", "ld-linux-armhf.so.3",
            emulator="qemu-arm-static",
        ),
        Debian(
            "s390x", "s390x", "s390x-linux-gnu", "ld64.so.1",
            suite="sid", emulator="qemu-s390x-static",
        ),
    )
}  # fmt: skip
#: cases that are wrong everywhere, and known: tests/conformance says why
KNOWN = {"test_maxunpool_export_with_output_shape"}


def run_platform(platform: Debian, cases: Path) -> dict[str, Any]:
    """What the probe says there. Raises Unavailable, and RuntimeError if the probe breaks off."""
    start, *command = platform.command()
    path = os.pathsep.join([str(ROOT), str(platform.packages)])
    command = [start, f"PYTHONPATH={path}", *command]
    if reason := _run([*command, "-c", "import numpy"])[1]:
        raise Unavailable(f"its Python doesn't start: {reason}")
    said, reason = _run([*command, "tests/platforms/probe.py", str(cases)])
    if reason:
        raise RuntimeError(f"{platform.name}: {reason}")
    result: dict[str, Any] = json.loads(said)
    return result


def _run(command: list[str]) -> tuple[str, str]:
    """What a command prints, and why it failed."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    reason = f"{done.stderr.strip()[-500:]} (exit status {done.returncode})"
    return done.stdout, reason if done.returncode else ""


def unexplained(result: dict[str, Any]) -> dict[str, str]:
    """The wrong cases but those that are wrong everywhere, or need Pillow."""
    return {
        name: text
        for name, text in result["wrong"].items()
        if name not in KNOWN and "needs Pillow" not in text
    }


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
    results: dict[str, dict[str, Any] | str] = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = Path(folder) / "cases.pickle"
        print(f"{write_cases(cases, args.cases, backend=True):,} cases", file=sys.stderr)
        for name in args.names or PLATFORMS:
            try:
                result = run_platform(PLATFORMS[name], cases)
            except Unavailable as error:
                print(f"{name}: not to be had here: {error}")
                results[name] = str(error)
                continue
            results[name] = result
            wrong = unexplained(result)
            print(f"{name}: {result['right']:,} of {result['cases']:,} right, {len(wrong)} wrong")
            for case, text in wrong.items():
                print(f"    {case}: {text}")
    if args.output:
        args.output.write_text(page(results), "utf-8")
    found = [r for r in results.values() if not isinstance(r, str)]
    return int(any(map(unexplained, found)) or not found)


def page(results: dict[str, dict[str, Any] | str]) -> str:
    """The results as Markdown."""
    lines = [
        "# Platforms", "",
        "Written by `python -m tests.platforms -o docs/PLATFORMS.md`, which fetches each of them,",
        "runs ONNX's own cases there and random ones of all operators, and compares them with what",
        "ONNX says, or with what onnxwalk gives on this machine. Seconds are the processor's.", "",
        "| platform | Python | NumPy | bits | byte order | right | need Pillow | wrong | seconds |",
        "|---|---|---|---:|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, result in results.items():
        if isinstance(result, str):
            lines.append(f"| {name} | not to be had: {result} | | | | | | | |")
            continue
        pillow = sum("needs Pillow" in text for text in result["wrong"].values())
        cells = (
            name, f"{result['implementation']} {result['python']}", result["numpy"], result["bits"],
            result["byteorder"], f"{result['right']:,}", pillow, len(unexplained(result)),
            result["seconds"],
        )  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
