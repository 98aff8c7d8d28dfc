"""The page with what came of each exporter, from saved results."""

from __future__ import annotations

import json
import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from tests.exporters.compare import KNOWN, REFUSED, RIGHT, WRONG, Result
from tests.exporters.exporter import Exporter

#: what the page calls a verdict
_WORDS = {KNOWN: "explained"}
BEGIN, END = "<!-- exporters: begin -->", "<!-- exporters: end -->"


def is_all_right(results: list[Result], refused: int) -> bool:
    """Whether some are right, none is wrong, and the exporter refuses as many as it is known to."""
    count = Counter(result.verdict for result in results)
    return bool(count[RIGHT]) and not count[WRONG] and count[REFUSED] == refused


def unneeded(known: dict[str, str], results: list[Result]) -> list[str]:
    """The patterns of names for which a reason is stated that explains none of the results."""
    names = [result.name for result in results if result.verdict == KNOWN]
    return [
        pattern
        for pattern in known
        if not any(fnmatch(name, pattern.rpartition(":")[2]) for name in names)
    ]


def load_results(path: Path) -> list[Result] | None:
    """Results of an earlier run; None if there was none."""
    if not path.exists():
        return None
    return [Result(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def row(exporter: Exporter, results: list[Result]) -> str:
    """An exporter's line of the table."""
    count = Counter(result.verdict for result in results)
    written = len(results) - count[REFUSED]
    versions = ", ".join(text.replace("==", " ") for text in exporter.requirements)
    cells = [exporter.says, versions, written, count[RIGHT], count[KNOWN], count[WRONG]]
    return f"| {' | '.join(map(str, [*cells, count[REFUSED]]))} |"


def details(exporter: Exporter, results: list[Result]) -> list[str]:
    """What isn't plainly right, one line for each reason."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.verdict != RIGHT or result.detail:
            by_reason.setdefault((result.verdict, result.detail), []).append(result.name)
    lines = []
    for (verdict, detail), names in sorted(by_reason.items()):
        shown = ", ".join(f"`{name}`" for name in names)
        lines.append(f"- {_WORDS.get(verdict, verdict)}: {shown}: {_plain(detail)}")
    return [f"\n### {exporter.says}\n", *lines] if lines else []


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is, without colours and folders of this machine."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"(?<![\w.:/])/(?:[^\s/'`,]+/)+", "", text)
    return text.replace("](", "] (").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def write_page(
    exporters: list[Exporter], saved: dict[str, list[Result] | None], target: Path
) -> None:
    """Replace what stands between the marks in a page of the docs."""
    lines = [
        "| exporter | versions | files | right | explained | wrong | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for exporter in exporters:
        results = saved[exporter.name]
        if results is None:
            lines.append(f"| {exporter.says} | | not run | | | | |")
            continue
        lines.append(row(exporter, results))
        notes += details(exporter, results)
    text = target.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    body = "\n".join([*lines, *notes])
    target.write_text(f"{text[:start]}\n{body}\n{text[end:]}", encoding="utf-8")
