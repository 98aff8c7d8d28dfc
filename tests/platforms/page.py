"""docs/PLATFORMS.md: a row for each platform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.platforms.pythons import Platform

_TOP = """\
# Platforms

Written by `python -m tests.platforms -o docs/PLATFORMS.md`, which fetches each of them, runs ONNX's
own cases there and random ones of all operators, and compares them with what ONNX says, or with
what onnxwalk gives on this machine.

Each must also run eight commands (`inspect`, `run`, `demo`, `ops`, `profile`, `diff`, `saliency`,
`explore`), a session with `threads=2`, one that several threads use at once, one out of a pickle, a
trace, a run into a limit and some steps of training: fourteen uses. Only the first has rich, Pillow
and threadpoolctl; ImageDecoder needs Pillow. "Demo" is the time that `onnxwalk demo` says for its
three models together, 600 samples, and "seconds" the processor's for all cases. "Slow" are those of
the "wrong" ones in which a fast form failed, which plain operators hide: results are right then.
"""
_BOTTOM = """\

## What could not be had

- CPython 3.14 and 3.15 without lock: PyPI has NumPy for them, but no package with such a Python was
  found in PyPI, npm or Debian. Of the sources that Debian lists, those of 3.14 and 3.15 weren't on
  the server; that of 3.13 was, and is built.
- A newer Pyodide: npm has 314.0 (Python 3.14), but no NumPy for it was found in npm or PyPI. NumPy
  itself publishes none for Pyodide; that of 0.27.7 lies in a package that serves Pyodide, and is
  taken only if its sha256 is the one in Pyodide's own list.
- CPython 3.10, the oldest that is supported: no registry has it, so the machine's is taken.
- PyPI's NumPy for 32-bit processors and s390x: there is none; Debian's is taken. NumPy 2.4 is the
  last with wheels for PyPy.
"""
_COLUMNS = (
    "platform", "had from", "Python", "NumPy", "bits", "lacks", "right", "need Pillow", "uses",
    "slow", "wrong", "demo", "seconds",
)  # fmt: skip
_TO_THE_RIGHT = {"bits", "right", "need Pillow", "uses", "slow", "wrong", "demo", "seconds"}


def write_page(
    path: Path, results: Mapping[str, dict[str, Any] | str], platforms: Mapping[str, Platform]
) -> None:
    """Write the rows of these results, and keep those of other platforms that the page has."""
    rows = _rows_of(path)
    for name, result in results.items():
        rows[name] = row(platforms[name], result)
    lines = [rows[name] for name in platforms if name in rows]
    sides = ["---:" if name in _TO_THE_RIGHT else "---" for name in _COLUMNS]
    table = [_line(_COLUMNS), f"|{'|'.join(sides)}|", *lines]
    path.write_text("\n".join([_TOP, *table, _BOTTOM]), "utf-8")


def row(platform: Platform, result: dict[str, Any] | str) -> str:
    """What became of a platform, or why nothing did, as a line of the table."""
    if isinstance(result, str):
        return _line([platform.name, result.replace("|", "/"), *[""] * (len(_COLUMNS) - 2)])
    bits = f"{result['bits']}{', big-endian' if result['byteorder'] == 'big' else ''}"
    return _line([
        platform.name, platform.had_from, f"{result['implementation']} {result['python']}",
        result["numpy"], bits, ", ".join(result["lacks"]) or "–", f"{result['right']:,}",
        result["pillow"], result["uses"], result["slow"], len(result["wrong"]),
        f"{sum(result['demo'].values()):.1f} ms", result["seconds"],
    ])  # fmt: skip


def _line(cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _rows_of(path: Path) -> dict[str, str]:
    """The lines of a page's table, by platform."""
    text = path.read_text("utf-8") if path.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line for line in lines if line.count("|") > len(_COLUMNS)}
