"""The table and the figures of a study as files for a repository: RESULTS.md and SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from onnxwalk.export.study import charts, findings, scratch_report
from onnxwalk.export.study.evaluate import COLUMNS, format_row
from onnxwalk.export.study.findings import Result
from onnxwalk.export.study.language import all_of, any_of
from onnxwalk.export.study.language import translate as _
from onnxwalk.export.study.report import METRICS, draw_f1, draw_metric, draw_times, report_title
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
    f1 = [partial(draw_f1, title=f"{f}: " + _("macro F1"), members=r) for f, r in families.items()]
    times = [
        partial(draw_times, title=f"{f}: " + _("time per sample"), members=r)
        for f, r in families.items()
    ]
    height = max(charts.row_height(members, 2) for members in families.values())
    _write(folder / "f1.svg", [f1], height)
    _write(folder / "time.svg", [times], height)
    names = ["f1", "time"]
    for family in families:
        groups = [(g, findings.group_results(g, results)) for g in GROUPS if g.family == family]
        parts = [
            [
                partial(
                    draw_metric,
                    title=f"{group.title}: {_(METRICS[metric])}",
                    pairs=pairs,
                    metric=metric,
                )
                for metric in METRICS
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
    sources = list(dict.fromkeys(_(r.record["source"]) for r in results))
    threads = sorted({r.record["threads"] for r in results})
    lines = [
        f"# {report_title(results)}",
        "",
        _("Written by `python -m export study --docs`; see [STUDY.md](../STUDY.md)."),
        "",
        _(
            "Preset {preset}, seed {seed}, {data}; {versions}. Seconds are for the whole test set; "
            "threads: {threads}."
        ).format(
            preset=plan["preset"],
            seed=plan["seed"],
            data=all_of(sources),
            versions=versions,
            threads=any_of(threads),
        ),
        "",
        "| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
        "|---|---|" + "---:|" * (len(COLUMNS) - 2),
        *("| " + " | ".join(format_row(r.variant, r.training, r.record)) + " |" for r in results),
        "",
    ]
    broken = findings.find_broken_claims(results)
    claims = [f"{path}: {'; '.join(said)}." for path, said in broken.items()]
    rules = findings.rules()
    lines += [rules["claims"], _("It does.") if not broken else _("It doesn't:"), *claims, ""]
    nearer = [f"- {path}: {said}." for path, said in findings.find_nearer(results).items()]
    lines += [_("Keras in float64 decided for these:"), "", *nearer, ""] if nearer else []
    groups = findings.group_findings(results)
    for family in findings.list_families(results):
        lines += [f"## {family}", ""]
        lines += [f"- {said}" for said in findings.family_findings(family, results)]
        lines += [f"- {g.title}: {said}" for g, said in groups if g.family == family]
        lines += [""]
        if family.lower() in figures:
            lines += [_picture(f"{family}: " + _("loss and accuracy"), family.lower()), ""]
    lines += scratch_report.markdown(results)
    lines += ["## " + _("All"), "", _picture(_("macro F1"), "f1"), "", _picture(_("time"), "time")]
    lines += ["", "## " + _("Rules"), ""]
    lines += [f"- {rule}" for rule in rules.values()]
    return "\n".join([*lines, ""])


def _picture(text: str, name: str) -> str:
    return f"![{text}]({name}.svg)"


def _write(path: Path, parts: Sequence[Sequence[Callable[[Any], None]]], height: float) -> None:
    """Write rows of charts as one picture; ``height`` is that of a row."""

    def paint(figure: Any) -> None:
        places = figure.subfigures(len(parts), len(parts[0]), squeeze=False)
        for place, part in zip(places.flat, chain(*parts), strict=True):
            part(place)
        charts.write_numbers(figure)

    text = _plot.svg_file(paint, charts.WIDTH * len(parts[0]), height * len(parts))
    with atomic_path(path) as part:
        part.write_text(text, "utf-8")
