"""The report's section about the study from scratch: values and charts for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxwalk.export.study import charts
from onnxwalk.export.study.charts import Line
from onnxwalk.export.study.findings import Result
from onnxwalk.export.study.language import fmt, later
from onnxwalk.export.study.language import translate as _
from onnxwalk.export.study.scratch import read_scratch

#: the trainings' names in the report
RUNS = {
    "keras": "Keras",
    "keras_dense": later("Keras, dense gradient"),
    "onnxwalk": "onnxwalk",
}
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adam_rounded": later("Adam, rounded as in Keras")}

#: the largest difference in macro F1 from Keras that counts as the same training
MAX_F1 = 0.01


def scratch_values(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The values of each variant that was trained from scratch."""
    found = ((r, read_scratch(r.folder)) for r in results)
    return [_values(result, record) for result, record in found if record is not None]


def _values(result: Result, record: Mapping[str, Any]) -> dict[str, Any]:
    runs = {_(RUNS[name]): run for name, run in record["runs"].items()}
    peer = "keras_dense" if "keras_dense" in record["runs"] else "keras"
    apart = abs(record["runs"][peer]["f1"] - record["runs"]["onnxwalk"]["f1"])
    losses = [record["runs"][name]["history"]["loss"] for name in (peer, "onnxwalk")]
    return {
        "path": result.variant.path,
        "plan": record["plan"],
        "count": result.record["count"],
        "steps": {_(OPTIMIZERS[name]): rows for name, rows in record["steps"].items()},
        "packages": record["packages"],
        "runs": runs,
        "peer": _(RUNS[peer]),
        "is_text": peer == "keras_dense",
        "f1_apart": apart,
        "is_equal": apart <= MAX_F1,
        "loss_apart": max(abs(a - b) for a, b in zip(*losses, strict=True)),
        "cpu": {name: _cpu(run["history"]["cpu_seconds"]) for name, run in runs.items()},
        "charts": [
            charts.svg_chart(_draw, f"{title}, {result.variant.path}", runs, metric)
            for title, metric in ((_("training loss"), "loss"), (_("validation loss"), "val_loss"))
        ],
    }


def _cpu(seconds: Sequence[float]) -> dict[str, float]:
    """Of all epochs, and of one after the first, in which both sides prepare."""
    later = seconds[1:] or seconds
    return {"all": sum(seconds), "epoch": sum(later) / len(later)}


def _draw(figure: Any, title: str, runs: Mapping[str, Any], metric: str) -> None:
    """The metric by epoch; onnxwalk is dashed, so that a line below it can be seen."""
    series = [
        Line(name, run["history"][metric], colour, name == RUNS["onnxwalk"])
        for colour, (name, run) in enumerate(runs.items())
    ]
    epochs = len(series[0].ys)
    xs = [str(epoch + 1) for epoch in range(epochs)]
    charts.draw_lines(figure, title, series, xs=xs, y_label=_("cross-entropy"))


def markdown(results: Sequence[Result]) -> list[str]:
    """The section as lines of Markdown; none if nothing was trained from scratch."""
    values = scratch_values(results)
    if not values:
        return []
    names = [name for name in map(_, RUNS.values()) if any(name in v["runs"] for v in values)]
    largest = _("largest difference of an epoch's loss")
    lines = [
        "## " + _("Trained from scratch, in NumPy alone"), "",
        _("The same initial weights and batches as in Keras, dropout off on all sides. With a "
          "dense gradient Keras's Adam squares the summed gradient of each word, as onnxwalk does. "
          "CPU seconds are of the complete training."), "",
        "| " + _("variant")
        + "".join(" | " + _("F1, {name}").format(name=name) for name in names)
        + f" | {largest} | "
        + " | ".join(_("CPU s, {name}").format(name=name) for name in names) + " |",
        "|---|" + "---:|" * (2 * len(names) + 1),
    ]  # fmt: skip
    for v in values:
        scores = [fmt(v["runs"][x]["f1"], ".4f") if x in v["runs"] else "–" for x in names]
        cpu = [fmt(v["cpu"][x]["all"], ".1f") if x in v["runs"] else "–" for x in names]
        cells = [v["path"], *scores, fmt(v["loss_apart"], ".1e"), *cpu]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
