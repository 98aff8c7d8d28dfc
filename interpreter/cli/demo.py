"""``onnxwalk demo``: three small models that ship with the package, on samples they never saw."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk.interpreter.cli import _show

_FOLDER = Path(__file__).parent / "_demo"
_SHADES = " .:-=+*#%@"
_RUNS = 5


@dataclass(frozen=True)
class _Task:
    file: str
    data: str  # the prefix of its arrays in samples.npz
    title: str


_TASKS = (
    _Task("digits.onnx", "digits", "CNN on handwritten digits (8×8 pixels)"),
    _Task("simple_rnn.onnx", "texts", "SimpleRNN on Indonesian sentences: is it praise?"),
    _Task("lstm.onnx", "texts", "LSTM, masked, on the same sentences"),
)


def add_parser(commands: Any) -> None:
    """Add ``demo`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="run three small models that ship with the package",
        description="Run a CNN, a SimpleRNN and an LSTM, trained in Keras and exported to ONNX, "
        "on samples that none of them has seen. Needs nothing but the core install.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--samples", type=int, default=6, metavar="N", help="how many to show each")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(args: argparse.Namespace) -> int:
    """Carry out the command."""
    samples = np.load(_FOLDER / "samples.npz", allow_pickle=False)
    reports = []
    for task in _TASKS:
        classes = samples[f"{task.data}_classes"]
        session = onnxwalk.load(_FOLDER / task.file)
        x = samples[f"{task.data}_x"].astype(session.inputs[0].dtype)
        truth = samples[f"{task.data}_y"].astype(int)
        probabilities, seconds = _timed(session, x)
        found = probabilities.argmax(axis=1)
        report = {
            "model": task.file,
            "title": task.title,
            "samples": len(x),
            "accuracy": float((found == truth).mean()),
            "macro_f1": macro_f1(truth, found, len(classes)),
            "seconds": seconds,
            "predictions": classes[found].tolist(),
            "labels": classes[truth].tolist(),
        }
        reports.append(report)
        if not args.json:
            _heading(task, session, report)
            shown = _telling(truth, found, args.samples)
            if task.data == "digits":
                _show_digits(x[shown, ..., 0], classes, probabilities[shown], truth[shown])
            else:
                _show_texts(samples["texts"][shown], classes, probabilities[shown], truth[shown])
    if args.json:
        _show.print_json(reports)
    else:
        _summary(reports)
    return 0


def macro_f1(truth: np.ndarray, found: np.ndarray, classes: int) -> float:
    """The mean over the classes of F1 = 2·TP / (2·TP + FP + FN); a class never seen counts 0."""
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, found), 1)
    hits = confusion.diagonal()
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * hits / np.maximum(either, 1)))


def _timed(session: onnxwalk.Session, x: np.ndarray) -> tuple[np.ndarray, float]:
    """The output and the best time of a few runs, in seconds."""
    best = float("inf")
    for _ in range(_RUNS):
        start = time.perf_counter()
        output = session(x)
        best = min(best, time.perf_counter() - start)
    return output, best


def _telling(truth: np.ndarray, found: np.ndarray, count: int) -> np.ndarray:
    """Which samples to show: right ones, the classes in turn, and one mistake if there is one."""
    wrong = np.flatnonzero(truth != found)[: count > 1]
    right = np.flatnonzero(truth == found)
    turn = [int((truth[right[:i]] == truth[right[i]]).sum()) for i in range(len(right))]
    in_turn = right[np.argsort(turn, kind="stable")]
    return np.concatenate([in_turn[: max(count, 0) - len(wrong)], wrong])


def _heading(task: _Task, session: onnxwalk.Session, report: dict[str, Any]) -> None:
    _show.heading(task.title)
    operators = [node.op_type for node in session.model.graph.nodes]
    _show.line(f"{task.file}: {len(operators)} nodes, " + " → ".join(dict.fromkeys(operators)))
    _show.line()


def _show_digits(
    images: np.ndarray, classes: np.ndarray, probabilities: np.ndarray, truth: np.ndarray
) -> None:
    """The images side by side, two characters a pixel, with what was found below each."""
    shades = np.array(list(_SHADES))[(images / 16 * (len(_SHADES) - 1)).round().astype(int)]
    for row in range(images.shape[1]):
        _show.line("   ".join("".join(np.repeat(image[row], 2)) for image in shades).rstrip())
    cells = []
    for p, t in zip(probabilities, truth, strict=True):
        verdict = "✓" if p.argmax() == t else f"✗ is {classes[t]}"
        cells.append(f"{classes[p.argmax()]} {p.max():.0%} {verdict}".center(16))
    _show.line("   ".join(cells).rstrip())


def _show_texts(
    texts: np.ndarray, classes: np.ndarray, probabilities: np.ndarray, truth: np.ndarray
) -> None:
    rows = []
    for text, p, t in zip(texts, probabilities, truth, strict=True):
        verdict = "✓" if p.argmax() == t else f"✗ is {classes[t]}"
        rows.append((text, classes[p.argmax()], f"{p.max():.0%}", verdict))
    _show.table(("", "found", "sure", ""), rows, right=("sure",))


def _summary(reports: list[dict[str, Any]]) -> None:
    _show.heading("In NumPy alone")
    rows = [
        (
            r["model"],
            r["samples"],
            f"{r['accuracy']:.1%}",
            f"{r['macro_f1']:.4f}",
            f"{r['seconds'] * 1e3:.1f} ms",
        )
        for r in reports
    ]
    numbers = ("samples", "accuracy", "macro F1", "time of all")
    _show.table(("model", *numbers), rows, right=numbers)
    _show.line()
    _show.line("Next: onnxwalk run MODEL --random, onnxwalk inspect MODEL, onnxwalk ops LSTM")
