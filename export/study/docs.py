"""The table and the figures of a study as files for a repository: RESULTS.md and SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from onnxwalk.export.study import charts, findings, scratch_report
from onnxwalk.export.study.evaluate import COLUMNS, format_row
from onnxwalk.export.study.findings import RULES, Result
from onnxwalk.export.study.report import draw_f1, draw_metric, draw_times, report_title
from onnxwalk.export.study.store import atomic_path, prepare_folder
from onnxwalk.export.study.variants import GROUPS
from onnxwalk.interpreter.cli import _plot


def write_docs(results: Sequence[Result], folder: Path) -> Path:
    """RESULTS.md and its figures; returns the path of the former. Raises ExportError."""
    prepare_folder(folder)
    figures = write_figures(results, folder)
    with atomic_path(folder / "RESULTS.md") as part:
        part.write_text(_markdown(results, figures), "utf-8")
    return folder / "RESULTS.md"


def write_figures(results: Sequence[Result], folder: Path) -> list[str]:
    """f1.svg, time.svg, and the curves of each family with two variants to compare; returns the
    names without suffixes."""
    families = {
        f: [r for r in results if r.variant.family == f] for f in findings.list_families(results)
    }
    f1 = [partial(draw_f1, title=f"{f}: macro F1", members=r) for f, r in families.items()]
    times = [
        partial(draw_times, title=f"{f}: time per sample", members=r) for f, r in families.items()
    ]
    height = max(charts.row_height(members, 2) for members in families.values())
    _write(folder / "f1.svg", [f1], height)
    _write(folder / "time.svg", [times], height)
    names = ["f1", "time"]
    for family in families:
        groups = [(g, findings.group_results(g, results)) for g in GROUPS if g.family == family]
        parts = [
            [
                partial(draw_metric, title=f"{group.title}: {metric}", pairs=pairs, metric=metric)
                for metric in ("loss", "accuracy")
            ]
            for group, pairs in groups
            if len(pairs) > 1
        ]
        if parts:
            _write(folder / f"{family.lower()}.svg", parts, charts.HEIGHT)
            names.append(family.lower())
    return names


def _markdown(results: Sequence[Result], figures: Sequence[str]) -> str:
    plan = results[0].training["plan"]
    versions = ", ".join(f"{k} {v}" for k, v in results[0].training["versions"].items())
    sources = list(dict.fromkeys(r.record["source"] for r in results))
    threads = sorted({r.record["threads"] for r in results})
    lines = [
        f"# {report_title(results)}",
        "",
        "Written by `python -m export study --docs`; see [STUDY.md](../STUDY.md).",
        "",
        f"Preset {plan['preset']}, seed {plan['seed']}, {' and '.join(sources)}; "
        f"{versions}. Seconds are for the whole test set, "
        f"on {' or '.join(map(str, threads))} thread{'s' if threads != [1] else ''}.",
        "",
        "| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
        "|---|---|" + "---:|" * (len(COLUMNS) - 2),
        *("| " + " | ".join(format_row(r.variant, r.training, r.record)) + " |" for r in results),
        "",
    ]
    broken = findings.find_broken_claims(results)
    claims = [f"{path}: {'; '.join(said)}." for path, said in broken.items()]
    lines += [RULES["claims"], "It does." if not broken else "It doesn't:", *claims, ""]
    nearer = [f"- {path}: {said}." for path, said in findings.find_nearer(results).items()]
    lines += ["Keras in float64 decided for these:", "", *nearer, ""] if nearer else []
    groups = findings.group_findings(results)
    for family in findings.list_families(results):
        lines += [f"## {family}", ""]
        lines += [f"- {said}" for said in findings.family_findings(family, results)]
        lines += [f"- {g.title}: {said}" for g, said in groups if g.family == family]
        lines += [""]
        if family.lower() in figures:
            lines += [f"![{family}: loss and accuracy]({family.lower()}.svg)", ""]
    lines += scratch_report.markdown(results)
    lines += ["## All", "", "![macro F1](f1.svg)", "", "![time](time.svg)", "", "## Rules", ""]
    lines += [f"- {rule}" for rule in RULES.values()]
    return "\n".join([*lines, ""])


def _write(path: Path, parts: Sequence[Sequence[Callable[[Any], None]]], height: float) -> None:
    """Write rows of charts as one picture; ``height`` is that of a row."""

    def paint(figure: Any) -> None:
        places = figure.subfigures(len(parts), len(parts[0]), squeeze=False)
        for place, part in zip(places.flat, chain(*parts), strict=True):
            part(place)

    text = _plot.svg_file(paint, charts.WIDTH * len(parts[0]), height * len(parts))
    with atomic_path(path) as part:
        part.write_text(text, "utf-8")
