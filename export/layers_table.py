"""The table in docs/LAYERS.md: written from verdicts, read again by the test."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from export.refusals import NO_ONNX_FORM

if TYPE_CHECKING:
    from export.layers import Verdict

_HEAD = """# Keras layers

Written by `python -m export layers -o docs/LAYERS.md`, with Keras {keras}, TensorFlow {tensorflow},
tf2onnx {tf2onnx} and ONNX Runtime {onnxruntime}, at opset 18: each configuration of
`export/layer_cases` is exported and run in Keras, in onnxwalk and in ONNX Runtime.

A difference is the largest over all configurations and outputs, divided by the largest absolute
value that Keras gives if that is more than 1. Operators are those of all configurations together,
the commonest first; none means that the layer lets its input through.
{total}
| Layer | Right | Operators | onnxwalk | ONNX Runtime | What can't be exported |
|---|---|---|---|---|---|
"""


def table(verdicts: dict[str, list[Verdict]], *, whole: bool = True) -> str:
    """Markdown, a row for each layer; ``whole`` adds the layers that have no cases but a reason."""
    import keras
    import onnxruntime
    import tensorflow
    import tf2onnx

    rows = {name: _row(name, of_layer) for name, of_layer in verdicts.items()}
    if whole:
        for name, why in NO_ONNX_FORM.items():
            rows.setdefault(name, f"| {name} | 0 of 0 | | | | {why} |")
    everything = [v for of_layer in verdicts.values() for v in of_layer]
    refused = sum(v.refused is not None and not v.failures for v in everything)
    wrong = sum(bool(v.failures) for v in everything)
    total = (
        f"\n{len(rows)} layers, {len(everything)} configurations: "
        f"{len(everything) - refused - wrong} right, {refused} refused, {wrong} wrong. "
        f"Largest difference: {_most(everything, 'onnxwalk')} in onnxwalk, "
        f"{_most(everything, 'onnxruntime')} in ONNX Runtime.\n"
    )
    modules = (keras, onnxruntime, tensorflow, tf2onnx)
    head = _HEAD.format(total=total, **{m.__name__: m.__version__ for m in modules})
    return head + "\n".join(rows[name] for name in sorted(rows)) + "\n"


def read_table(text: str) -> dict[str, set[str]]:
    """Layer -> the operators of its row."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 6 and cells[1] not in ("Layer", "---"):
            found[cells[1]] = {name for name in cells[3].split(", ") if name and name != "none"}
    return found


def _row(name: str, verdicts: list[Verdict]) -> str:
    operators: Counter[str] = Counter()
    for verdict in verdicts:
        operators.update(set(verdict.operators) - {"Identity"})
    right = [v for v in verdicts if not v.failures and v.refused is None]
    reasons = [f"{v.case.label}: {_why(v.refused)}" for v in verdicts if v.refused is not None]
    if not right and reasons:
        reasons = [NO_ONNX_FORM.get(name, reasons[0])]
    wrong = [f"{v.case.label}: WRONG, {v.failures[0]}" for v in verdicts if v.failures]
    listed = ", ".join(kind for kind, _ in operators.most_common()) or ("none" if right else "")
    cells = [
        name,
        f"{len(right)} of {len(verdicts)}",
        listed,
        _most(right, "onnxwalk"),
        _most(right, "onnxruntime"),
        "; ".join(_grouped(reasons) + wrong).replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"


def _grouped(reasons: list[str]) -> list[str]:
    """Configurations with the same reason share it: the first is named, the rest counted."""
    found: dict[str, list[str]] = {}
    for reason in reasons:
        label, _, why = reason.partition(": ")
        found.setdefault(why or label, []).append(label)
    return [
        (labels[0] + (f" and {len(labels) - 1} more" if len(labels) > 1 else "") + f": {why}")
        if why != labels[0] else why
        for why, labels in found.items()
    ]  # fmt: skip


def _why(message: str | None) -> str:
    """Without the names of this run's layers, which count up."""
    text = re.sub(r"^layer \S+( \(\w+\))?: ", "", message or "")
    text = re.sub(r"^\S+ can't be traced: Exception encountered when calling \S+ ", "", text)
    return re.sub(r" \(layer \S+?\)", "", text)


def _most(verdicts: list[Verdict], where: str) -> str:
    values = [getattr(v, where) for v in verdicts if getattr(v, where) is not None]
    return f"{max(values):.1g}" if values else ""
