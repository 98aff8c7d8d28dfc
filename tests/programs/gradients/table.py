"""The table of layers in docs/GRADIENTS.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from onnxwalk.export.coverage.layers_table import group_reasons, split_cells, strip_names
from tests.programs.gradients.judge import Verdict

COLUMNS = ("Layer", "Configurations", "Equal", "No gradient", "Refused", "TensorFlow", "Largest")
COLUMNS += ("What isn't equal, or not in float64",)


def format_row(name: str, verdicts: Iterable[Verdict]) -> str:
    """The row of a layer: its exported configurations."""
    tried = [v for v in verdicts if v.kind != "not exported"]
    counts = Counter(v.kind for v in tried)
    largest = {
        dtype: max((v.error for v in tried if v.kind == "equal" and v.dtype == dtype), default=None)
        for dtype in ("float64", "float32")
    }
    shown = [f"{x:.0e}{'' if d == 'float64' else ' (float32)'}" for d, x in largest.items() if x]
    notes = group_reasons([f"{v.case.label}: {_what(v)}" for v in tried if _what(v)])
    cells = [
        name,
        str(len(tried)),
        *(str(counts[kind]) for kind in ("equal", "none", "refused", "TensorFlow")),
        ", ".join(shown) or ("0" if counts["equal"] else ""),
        "; ".join(notes).replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"


def _what(verdict: Verdict) -> str:
    if verdict.kind == "wrong":
        return f"WRONG, {verdict.why}"
    if found := re.search(r"gradient registry has no entry for: (\w+)", verdict.why):
        return f"TensorFlow has no gradient of {found[1]}, the file's is the slope"
    if verdict.kind == "TensorFlow":
        return "TensorFlow's gradient isn't the slope, the file's is"
    if verdict.kind == "refused":
        return strip_names(re.sub(r" \('.*?'\)", "", verdict.why.partition(": there is ")[2]))
    return (
        "TensorFlow computes it in float32 only, on the CPU" if verdict.dtype == "float32" else ""
    )


def rows_of(text: str) -> dict[str, str]:
    """Layer -> its line in the page."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = {line: split_cells(line) for line in lines}
    return {c[0]: line for line, c in cells.items() if len(c) == len(COLUMNS) and c[1].isdigit()}


def format_layers(rows: dict[str, str]) -> str:
    """The section: totals and table."""
    cells = [split_cells(row) for row in rows.values()]
    tried, equal, none, refused, theirs = (sum(int(c[i]) for c in cells) for i in range(1, 6))
    wrong = tried - equal - none - refused - theirs
    total = (
        f"{tried} configurations of {len(rows)} layers: {equal} equal, {none} without anything "
        f"that has a gradient, {refused} refused by name, {theirs} in which TensorFlow itself is "
        f"wrong, {wrong} wrong."
    )
    head = f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * 6}---|\n"
    return f"{total}\n\n{head}" + "\n".join(rows[name] for name in sorted(rows)) + "\n"
