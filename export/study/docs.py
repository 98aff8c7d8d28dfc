"""The table and the figures of a study as files for a repository: RESULTS.md and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnxwalk.export.study import findings, svg
from onnxwalk.export.study.evaluate import COLUMNS, ENGINES, row
from onnxwalk.export.study.findings import RULES, Result
from onnxwalk.export.study.report import NAMES, curves, title
from onnxwalk.export.study.store import tidy, whole
from onnxwalk.export.study.variants import GROUPS

_GAP = 20


def write_docs(found: Sequence[Result], folder: Path) -> Path:
    """RESULTS.md and its figures; returns the path of the former. Raises ExportError."""
    tidy(folder)
    figures = {"f1": _f1(found), "time": _time(found)}
    for family in findings.families(found):
        if chart := _curves(family, found):
            figures[family.lower()] = chart
    for name, picture in figures.items():
        with whole(folder / f"{name}.svg") as part:
            part.write_text(svg.alone(picture), "utf-8")
    with whole(folder / "RESULTS.md") as part:
        part.write_text(_markdown(found, list(figures)), "utf-8")
    return folder / "RESULTS.md"


def _markdown(found: Sequence[Result], figures: Sequence[str]) -> str:
    plan = found[0].training["plan"]
    versions = ", ".join(f"{k} {v}" for k, v in found[0].training["versions"].items())
    sources = list(dict.fromkeys(r.record["source"] for r in found))
    threads = sorted({r.record["threads"] for r in found})
    lines = [
        f"# {title(found)}",
        "",
        "Written by `python -m export study --docs`; see [STUDY.md](../STUDY.md).",
        "",
        f"Preset {plan['preset']}, seed {plan['seed']}, {' and '.join(sources)}; "
        f"{versions}. Seconds are for the whole test set, "
        f"on {' or '.join(map(str, threads))} thread{'s' if threads != [1] else ''}.",
        "",
        "| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
        "|---|---|" + "---:|" * (len(COLUMNS) - 2),
        *("| " + " | ".join(row(r.variant, r.training, r.record)) + " |" for r in found),
        "",
    ]
    broken = findings.claims(found)
    claims = [f"{path}: {'; '.join(said)}." for path, said in broken.items()]
    lines += [RULES["claims"], "It does." if not broken else "It doesn't:", *claims, ""]
    groups = findings.group_findings(found)
    for family in findings.families(found):
        lines += [f"## {family}", ""]
        lines += [f"- {said}" for said in findings.family_findings(family, found)]
        lines += [f"- {g.title}: {said}" for g, said in groups if g.family == family]
        lines += [""]
        if family.lower() in figures:
            lines += [f"![{family}: loss and accuracy]({family.lower()}.svg)", ""]
    lines += ["## All", "", "![macro F1](f1.svg)", "", "![time](time.svg)", "", "## Rules", ""]
    lines += [f"- {rule}" for rule in RULES.values()]
    return "\n".join([*lines, ""])


def _f1(found: Sequence[Result]) -> str:
    charts = [
        svg.bars(
            f"{family}: macro F1",
            [
                (r.variant.name, [r.record["f1"][e] for e in ENGINES[:2]])
                for r in found
                if r.variant.family == family
            ],
            NAMES[:2],
            most=1.0,
        )
        for family in findings.families(found)
    ]
    return _side_by_side("macro F1 on the test set", [(NAMES[:2], charts)])


def _time(found: Sequence[Result]) -> str:
    charts = []
    for family in findings.families(found):
        rows = [
            (r.variant.name, [1e3 * r.record["seconds"][e] / r.record["count"] for e in ENGINES])
            for r in found
            if r.variant.family == family
        ]
        charts.append(svg.dots(f"{family}: milliseconds per sample", rows, NAMES, unit="ms"))
    return _side_by_side("time per sample", [(NAMES, charts)])


def _curves(family: str, found: Sequence[Result]) -> str:
    rows = []
    for group in GROUPS:
        pairs = findings.members(group, found) if group.family == family else []
        if len(pairs) > 1:
            rows.append(([f"{group.title}:", *(label for label, _ in pairs)], curves(pairs)))
    if not rows:
        return ""
    return _side_by_side(f"{family}: loss and accuracy, validation dashed", rows)


def _side_by_side(label: str, rows: Sequence[tuple[Sequence[str], Sequence[str]]]) -> str:
    """Rows of (legend, charts) as one picture; an entry that ends in a colon is a heading."""
    parts, y, wide = [svg.text(4, 16, label)], 26.0, 0.0
    for legend, charts in rows:
        x, number = 4.0, 0
        for entry in legend:
            if entry.endswith(":"):
                parts.append(svg.text(x, y + 14, entry, kind="muted"))
            else:
                parts.append(svg.shape(x + 6, y + 10, number, number))
                parts.append(svg.text(x + 16, y + 14, entry))
                number, x = number + 1, x + 16
            x += 7.5 * len(entry) + 14
        wide, x, tall = max(wide, x), 0.0, 0.0
        for chart in charts:
            width, height = svg.size(chart)
            place = f'<svg x="{x:g}" y="{y + 20:g}" width="{width:g}" height="{height:g}"'
            parts.append(chart.replace("<svg", place, 1))
            x, tall = x + width + _GAP, max(tall, height)
        wide, y = max(wide, x - _GAP), y + 20 + tall + _GAP
    return svg.frame(wide, y, label, *parts)
