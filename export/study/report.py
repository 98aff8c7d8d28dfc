"""``report.html``: one page with what was trained, the results, and how the models compute them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.export.study import by_hand_pictures, by_hand_texts, charts, findings
from onnxwalk.export.study.charts import row_height
from onnxwalk.export.study.evaluate import ENGINES, MAX_DIFFERENCE
from onnxwalk.export.study.findings import Result
from onnxwalk.export.study.language import all_of, later, number
from onnxwalk.export.study.language import translate as _
from onnxwalk.export.study.page import render
from onnxwalk.export.study.progress import Progress
from onnxwalk.export.study.scratch_report import scratch_values
from onnxwalk.export.study.store import atomic_path

#: the engines' names in the report
NAMES = {"keras": "Keras", "onnxwalk": "onnxwalk", "onnxruntime": "ONNX Runtime"}

#: what the original notebook reached with the final model, on its own run
ORIGINAL = {"CNN": 0.6995, "SimpleRNN": 0.3847, "LSTM": 0.7585}

#: the metrics that are drawn by epoch, and their names
METRICS = {"loss": later("loss"), "accuracy": later("accuracy")}

_CHAPTERS = {
    "CNN": by_hand_pictures.chapter,
    "SimpleRNN": by_hand_texts.chapter,
    "LSTM": by_hand_texts.chapter,
}


def write_report(results: Sequence[Result], output: Path, progress: Progress) -> Path:
    """Write the page into the output folder. Raises ExportError if that can't be done."""
    file = output / "report.html"
    names = findings.list_families(results)
    families = []
    with progress.step("drawing charts and following samples by hand", len(names)) as done:
        for number, name in enumerate(names, 1):
            families.append(_family(name, results))
            done(number)
    text = render(
        "report.html",
        title=report_title(results),
        stand_ins=_stand_ins(results),
        results=results,
        families=families,
        scratch=scratch_values(results),
        broken=findings.find_broken_claims(results),
        nearer=findings.find_nearer(results),
        allowed=MAX_DIFFERENCE,
        rules=findings.rules(),
        versions=_unique(
            ", ".join(f"{name} {number}" for name, number in r.training["versions"].items())
            for r in results
        ),
    )
    with atomic_path(file) as part:
        part.write_text(text, "utf-8")
    return file


def report_title(results: Sequence[Result]) -> str:
    """The title of the report; it names the data if that is a substitute."""
    text = _("{count} networks, in Keras and in plain NumPy").format(count=len(results))
    if len(results) == 1:
        text = _("1 network, in Keras and in plain NumPy")
    stand_ins = _stand_ins(results)
    return _("{title}: on {data}").format(title=text, data=all_of(stand_ins)) if stand_ins else text


def _stand_ins(results: Sequence[Result]) -> list[str]:
    return _unique(_(r.record["source"]) for r in results if r.record["stands_in"])


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))


def _family(name: str, results: Sequence[Result]) -> dict[str, Any]:
    """The values of a family for the template."""
    members = [r for r in results if r.variant.family == name]
    final = findings.final_result(name, results)
    times = _sample_times(members)
    return {
        "name": name,
        "id": name.lower(),
        "results": members,
        "final": final,
        "epochs": _unique(len(r.history["loss"]) for r in members),
        "original": None if final.record["stands_in"] else ORIGINAL.get(name),
        "findings": findings.family_findings(name, results),
        "groups": [
            {
                "title": group.title,
                "winner": said,
                "charts": [
                    charts.svg_chart(
                        draw_metric, _(METRICS[m]), findings.group_results(group, results), m
                    )
                    for m in METRICS
                ],
            }
            for group, said in findings.group_findings(results)
            if group.family == name
        ],
        "f1_chart": charts.svg_chart(
            draw_f1, _("macro F1"), members, height=row_height(members, 2)
        ),
        "difference_chart": charts.svg_chart(
            _draw_differences,
            _("{name}: largest difference from Keras").format(name=name),
            members,
            height=row_height(members, 2),
        ),
        "time_unit": _("ms per image") if name == "CNN" else _("ms per sentence"),
        "speed": findings.time_ratios(name, results),
        "times": times,
        "time_rows": [
            [label, *(number(f"{values[row]:.3f}") for values in times.values())]
            for row, label in enumerate(_names(members))
        ],
        "time_chart": charts.svg_chart(
            draw_times, time_title(name), members, height=row_height(members, 3)
        ),
        "chapter": _CHAPTERS[name](final) if name in _CHAPTERS else None,
    }


def time_title(family: str) -> str:
    """The title of a chart of times."""
    return _("time per image") if family == "CNN" else _("time per sentence")


def _names(members: Sequence[Result]) -> list[str]:
    return [r.variant.name for r in members]


def draw_f1(figure: Any, title: str, members: Sequence[Result]) -> None:
    """Macro F1 of each result, in Keras and in the interpreter."""
    scores = {NAMES[e]: [r.record["f1"][e] for r in members] for e in ENGINES[:2]}
    charts.draw_bars(figure, title, _names(members), scores, x_label=_("macro F1"), x_max=1.0)


def draw_times(figure: Any, title: str, members: Sequence[Result]) -> None:
    """Milliseconds per sample of each result, by engine."""
    charts.draw_dots(
        figure, title, _names(members), _sample_times(members), x_label=_("milliseconds")
    )


def _draw_differences(figure: Any, title: str, members: Sequence[Result]) -> None:
    differences = {NAMES[e]: [r.record["max_abs_diff"][e] for r in members] for e in ENGINES[1:]}
    options: dict[str, Any] = {
        "x_label": _("of a probability"),
        "limit": (MAX_DIFFERENCE, _("allowed")),
    }
    charts.draw_dots(figure, title, _names(members), differences, **options)


def _sample_times(members: Sequence[Result]) -> Mapping[str, list[float]]:
    """Name of the engine -> milliseconds per sample of each result."""
    return {
        NAMES[e]: [1e3 * r.record["seconds"][e] / r.record["count"] for r in members]
        for e in ENGINES
    }


def draw_metric(figure: Any, title: str, pairs: Sequence[tuple[str, Result]], metric: str) -> None:
    """A metric by epoch for each (label, result); validation is dashed."""
    epochs = max(len(result.history["loss"]) for _, result in pairs)
    series = []
    for colour, (label, result) in enumerate(pairs):
        for prefix, kind in (("", _("training")), ("val_", _("validation"))):
            ys = result.history[prefix + metric]
            padded = [*ys, *[None] * (epochs - len(ys))]
            series.append(charts.Line(label, padded, colour, bool(prefix), kind))
    y_label = _("cross-entropy") if metric == "loss" else _("share of samples")
    xs = [str(e + 1) for e in range(epochs)]
    charts.draw_lines(figure, title, series, xs=xs, y_label=y_label)
