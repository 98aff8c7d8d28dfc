"""``report.html``: one page with what was trained, the results, and how the models compute them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.export.study import by_hand_pictures, by_hand_texts, charts, findings
from onnxwalk.export.study.evaluate import ENGINES, MAX_DIFFERENCE
from onnxwalk.export.study.findings import RULES, Result
from onnxwalk.export.study.page import render
from onnxwalk.export.study.progress import Progress
from onnxwalk.export.study.store import atomic_path

#: the engines' names in the report
NAMES = {"keras": "Keras", "onnxwalk": "onnxwalk", "onnxruntime": "ONNX Runtime"}

#: what the original notebook reached with the final model, on its own run
ORIGINAL = {"CNN": 0.6995, "SimpleRNN": 0.3847, "LSTM": 0.7585}

_CHAPTERS = {
    "CNN": by_hand_pictures.chapter,
    "SimpleRNN": by_hand_texts.chapter,
    "LSTM": by_hand_texts.chapter,
}


def write_report(found: Sequence[Result], output: Path, progress: Progress) -> Path:
    """Write the page into the output folder. Raises ExportError if that can't be done."""
    file = output / "report.html"
    names = findings.families_of(found)
    families = []
    with progress.step("drawing charts and following samples by hand", len(names)) as done:
        for number, name in enumerate(names, 1):
            families.append(_family(name, found))
            done(number)
    text = render(
        "report.html",
        title=report_title(found),
        stand_ins=_stand_ins(found),
        found=found,
        families=families,
        broken=findings.find_broken_claims(found),
        rules=RULES,
        versions=_unique(
            ", ".join(f"{name} {number}" for name, number in r.training["versions"].items())
            for r in found
        ),
    )
    with atomic_path(file) as part:
        part.write_text(text, "utf-8")
    return file


def report_title(found: Sequence[Result]) -> str:
    """Names the data where it isn't the assignment's own."""
    count = f"{len(found)} network{'s' if len(found) > 1 else ''}"
    text = f"{count}, in Keras and in plain NumPy"
    stand_ins = _stand_ins(found)
    return f"{text}: on {' and '.join(stand_ins)}" if stand_ins else text


def _stand_ins(found: Sequence[Result]) -> list[str]:
    return _unique(r.record["source"] for r in found if r.record["stands_in"])


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))


def _family(name: str, found: Sequence[Result]) -> dict[str, Any]:
    """What the template says of a family."""
    those = [r for r in found if r.variant.family == name]
    final = findings.final_result(name, found)
    sample = "image" if name == "CNN" else "sentence"
    times = sample_times(those)
    return {
        "name": name,
        "id": name.lower(),
        "results": those,
        "final": final,
        "epochs": _unique(len(r.history["loss"]) for r in those),
        "original": None if final.record["stands_in"] else ORIGINAL.get(name),
        "findings": findings.family_findings(name, found),
        "groups": [
            {
                "title": group.title,
                "winner": said,
                "charts": metric_charts(findings.group_results(group, found)),
            }
            for group, said in findings.group_findings(found)
            if group.family == name
        ],
        "f1_chart": charts.svg_rows_chart(
            charts.draw_bars,
            "macro F1",
            variant_names(those),
            f1_scores(those),
            x_label="macro F1",
            x_max=1.0,
        ),
        "difference_chart": charts.svg_rows_chart(
            charts.draw_dots,
            f"{name}: largest difference from Keras",
            variant_names(those),
            {NAMES[e]: [r.record["max_abs_diff"][e] for r in those] for e in ENGINES[1:]},
            x_label="of a probability",
            limit=(MAX_DIFFERENCE, "allowed"),
        ),
        "sample": sample,
        "speed": findings.time_ratios(name, found),
        "times": times,
        "time_rows": [
            [label, *(f"{values[row]:.3f}" for values in times.values())]
            for row, label in enumerate(variant_names(those))
        ],
        "time_chart": charts.svg_rows_chart(
            charts.draw_dots,
            f"time per {sample}",
            variant_names(those),
            times,
            x_label="milliseconds",
        ),
        "chapter": _CHAPTERS[name](final) if name in _CHAPTERS else None,
    }


def variant_names(those: Sequence[Result]) -> list[str]:
    return [r.variant.name for r in those]


def f1_scores(those: Sequence[Result]) -> Mapping[str, list[float]]:
    """Engine's name -> macro F1 of each result."""
    return {NAMES[e]: [r.record["f1"][e] for r in those] for e in ENGINES[:2]}


def sample_times(those: Sequence[Result]) -> Mapping[str, list[float]]:
    """Engine's name -> milliseconds per sample of each result."""
    return {
        NAMES[e]: [1e3 * r.record["seconds"][e] / r.record["count"] for r in those] for e in ENGINES
    }


def metric_charts(pairs: Sequence[tuple[str, Result]]) -> list[str]:
    """Two charts of (label, result): loss, and accuracy."""
    return [
        charts.svg_chart(charts.draw_lines, metric, **metric_series(pairs, metric))
        for metric in ("loss", "accuracy")
    ]


def metric_series(pairs: Sequence[tuple[str, Result]], metric: str) -> dict[str, Any]:
    """What ``charts.lines`` draws of a metric; validation is dashed."""
    epochs = max(len(result.history["loss"]) for _, result in pairs)
    series = []
    for colour, (label, result) in enumerate(pairs):
        for prefix, kind in (("", "training"), ("val_", "validation")):
            ys = result.history[prefix + metric]
            padded = [*ys, *[None] * (epochs - len(ys))]
            series.append(charts.Line(label, padded, colour, bool(prefix), kind))
    y_label = "cross-entropy" if metric == "loss" else "share of samples"
    return {"series": series, "xs": [str(e + 1) for e in range(epochs)], "y_label": y_label}
