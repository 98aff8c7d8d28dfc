"""``onnxwalk demo``: run three small models of the package on test samples."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import add_command
from onnxwalk.interpreter.cli._session import add_session, load_options
from onnxwalk.interpreter.session import Session, load

_DESCRIPTION = """\
Run a CNN, a SimpleRNN and an LSTM, trained in Keras and exported to ONNX, on samples that they
weren't trained on. The core install is enough.
"""

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
    parser = add_command(commands, "demo", run, "run three small models", _DESCRIPTION)
    text = "samples to show of each model (default: 6)"
    parser.add_argument("--samples", type=int, default=6, metavar="N", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    samples = np.load(_FOLDER / "samples.npz", allow_pickle=False)
    reports = []
    for task in _TASKS:
        classes = samples[f"{task.data}_classes"]
        session = load(_FOLDER / task.file, **load_options(args, args.threads))
        x = samples[f"{task.data}_x"].astype(session.inputs[0].dtype)
        truth = samples[f"{task.data}_y"].astype(int)
        probabilities, seconds = _time_runs(session, x)
        predicted = probabilities.argmax(axis=1)
        report = {
            "model": task.file,
            "title": task.title,
            "samples": len(x),
            "accuracy": float((predicted == truth).mean()),
            "macro_f1": macro_f1(truth, predicted, len(classes)),
            "seconds": seconds,
            "predictions": classes[predicted].tolist(),
            "labels": classes[truth].tolist(),
        }
        reports.append(report)
        if not args.json:
            _show_heading(task, session)
            shown = _choose_samples(truth, predicted, args.samples)
            if task.data == "digits":
                _show_digits(x[shown, ..., 0], classes, probabilities[shown], truth[shown])
            else:
                _show_texts(samples["texts"][shown], classes, probabilities[shown], truth[shown])
    if args.json:
        _show.print_json(reports)
    else:
        _show_summary(reports)
    return 0


def macro_f1(truth: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """The mean over the classes of F1 = 2·TP / (2·TP + FP + FN); 0 for a class without samples."""
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    totals = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * confusion.diagonal() / np.maximum(totals, 1)))


def _time_runs(session: Session, x: np.ndarray) -> tuple[np.ndarray, float]:
    """The output and the best time of a few runs, in seconds."""
    best = float("inf")
    for _ in range(_RUNS):
        start = time.perf_counter()
        output = session(x)
        best = min(best, time.perf_counter() - start)
    return output, best


def _choose_samples(truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Indices of samples to show: correct ones of alternating classes, and one error if any."""
    wrong = np.flatnonzero(truth != predicted)[: count > 1]
    right = np.flatnonzero(truth == predicted)
    turn = [int((truth[right[:i]] == truth[right[i]]).sum()) for i in range(len(right))]
    in_turn = right[np.argsort(turn, kind="stable")]
    return np.concatenate([in_turn[: max(count, 0) - len(wrong)], wrong])


def _show_heading(task: _Task, session: Session) -> None:
    _show.heading(task.title)
    operators = [node.op_type for node in session.model.graph.nodes]
    _show.line(f"{task.file}: {len(operators)} nodes, " + " → ".join(dict.fromkeys(operators)))
    _show.line()


def _show_digits(
    images: np.ndarray, classes: np.ndarray, probabilities: np.ndarray, truth: np.ndarray
) -> None:
    """Print the images in a row, two characters per pixel, with the predictions below."""
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
    _show.table(("", "predicted", "probability", ""), rows, right=("probability",))


def _show_summary(reports: list[dict[str, Any]]) -> None:
    _show.heading("With NumPy only")
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
    numbers = ("samples", "accuracy", "macro F1", "total time")
    _show.table(("model", *numbers), rows, right=numbers)
    _show.line()
    _show.line("Next: onnxwalk run MODEL --random, onnxwalk inspect MODEL, onnxwalk ops LSTM")
