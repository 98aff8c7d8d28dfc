"""The table in docs/LAYERS.md: written from verdicts, read again by the test."""

from __future__ import annotations

import re
from collections import Counter

from onnxwalk.export.coverage.judge import Verdict
from onnxwalk.export.tracing.refusals import NO_ONNX_FORM

_HEAD = """# Keras layers

Written by `python -m onnxwalk.export layers -o docs/LAYERS.md`, with Keras {keras},
TensorFlow {tensorflow}, tf2onnx {tf2onnx} and ONNX Runtime {onnxruntime}, at opset 18: each
configuration of `export/coverage/layer_cases` is exported and run in Keras, in onnxwalk and in ONNX
Runtime. It is right if onnxwalk also gives what Keras does for special values: NaN, infinities,
zeros, the largest and lowest numbers, one row, none, other sizes (`verify="full"`).

A difference is the largest over all configurations and outputs, divided by the largest absolute
value that Keras gives if that is more than 1. Operators are those of all configurations together,
the commonest first; none means that the layer lets its input through.
{total}
| Layer | Right | Operators | onnxwalk | ONNX Runtime | What can't be exported |
|---|---|---|---|---|---|
"""


def format_table(verdicts: dict[str, list[Verdict]], before: str = "") -> str:
    """Markdown, a row for each layer; other rows are kept from ``before``, an existing table.

    Layers that have no cases but a reason why they can't have any are added.
    """
    import keras
    import onnxruntime
    import tensorflow
    import tf2onnx

    rows = {name: line for line in before.splitlines() if (name := _layer_name(line))}
    rows |= {name: _format_row(name, layer_verdicts) for name, layer_verdicts in verdicts.items()}
    for name, why in NO_ONNX_FORM.items():
        rows.setdefault(name, f"| {name} | 0 of 0 | | | | {why} |")
    modules = (keras, onnxruntime, tensorflow, tf2onnx)
    total = _summarize(list(rows.values()))
    head = _HEAD.format(total=total, **{m.__name__: m.__version__ for m in modules})
    return head + "\n".join(rows[name] for name in sorted(rows)) + "\n"


def read_table(text: str) -> dict[str, set[str]]:
    """Layer -> the operators of its row."""
    rows = {name: split_cells(line) for line in text.splitlines() if (name := _layer_name(line))}
    return {name: set(cells[2].split(", ")) - {"", "none"} for name, cells in rows.items()}


def split_cells(line: str) -> list[str]:
    """The cells of a table's row."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _layer_name(line: str) -> str | None:
    cells = split_cells(line)
    return cells[0] if len(cells) == 6 and cells[1][:1].isdigit() else None


def _summarize(rows: list[str]) -> str:
    cells = [split_cells(row) for row in rows]
    counts = [[int(n) for n in row[1].split(" of ")] for row in cells]
    right, tried = (sum(count[i] for count in counts) for i in (0, 1))
    wrong = sum(row[5].count("WRONG") for row in cells)
    walk, runtime = (max((float(row[i]) for row in cells if row[i]), default=0.0) for i in (3, 4))
    return (
        f"\n{len(rows)} layers, {tried} configurations: {right} right, {tried - right - wrong} "
        f"refused, {wrong} wrong. Largest difference: {walk:.1g} in onnxwalk, {runtime:.1g} in "
        "ONNX Runtime.\n"
    )


def _format_row(name: str, verdicts: list[Verdict]) -> str:
    operators: Counter[str] = Counter()
    for verdict in verdicts:
        operators.update(sorted(set(verdict.operators) - {"Identity"}))
    right = [v for v in verdicts if not v.failures and v.refused is None]
    refused = [v for v in verdicts if v.refused is not None and not v.failures]
    reasons = [f"{v.case.label}: {strip_names(v.refused)}" for v in refused]
    if not right and reasons:
        reasons = [NO_ONNX_FORM.get(name, reasons[0])]
    wrong = [f"{v.case.label}: WRONG, {v.failures[0]}" for v in verdicts if v.failures]
    listed = ", ".join(kind for kind, _ in operators.most_common()) or ("none" if right else "")
    cells = [
        name,
        f"{len(right)} of {len(verdicts)}",
        listed,
        _format_max(right, "onnxwalk"),
        _format_max(right, "onnxruntime"),
        "; ".join(group_reasons(reasons) + wrong).replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"


def group_reasons(reasons: list[str]) -> list[str]:
    """Merge configurations with the same reason: the first is named, the others are counted."""
    found: dict[str, list[str]] = {}
    for reason in reasons:
        label, _, why = reason.partition(": ")
        found.setdefault(why or label, []).append(label)
    return [
        (labels[0] + (f" and {len(labels) - 1} more" if len(labels) > 1 else "") + f": {why}")
        if why != labels[0] else why
        for why, labels in found.items()
    ]  # fmt: skip


def strip_names(message: str | None) -> str:
    """A message without the names of layers, which differ between runs."""
    text = re.sub(r"^layer \S+( \(\w+\))?: ", "", message or "")
    text = re.sub(r"^\S+ can't be traced: Exception encountered when calling \S+ ", "", text)
    text = re.sub(r"^functional\S* can't be traced: ", "", text)
    return re.sub(r" \((layer |functional)\S+?\)", "", text)


def _format_max(verdicts: list[Verdict], where: str) -> str:
    values = [getattr(v, where) for v in verdicts if getattr(v, where) is not None]
    return f"{max(values):.1g}" if values else ""
