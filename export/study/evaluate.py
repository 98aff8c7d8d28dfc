"""Run the test set in Keras, the interpreter and ONNX Runtime, and compare them."""

from __future__ import annotations

import csv
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import require
from onnxwalk.export.study.data import EXTRA, Task
from onnxwalk.export.study.language import later, number
from onnxwalk.export.study.language import translate as _
from onnxwalk.export.study.progress import Progress
from onnxwalk.export.study.store import atomic_path, read_json, write_json
from onnxwalk.export.study.train import build_model, count_cores
from onnxwalk.export.study.variants import VARIANTS, Variant

ENGINES = ("keras", "onnxwalk", "onnxruntime")

#: the largest difference between a probability of Keras and one of the interpreter, unless Keras in
#: float32 is further than that from Keras in float64, and the interpreter nearer
MAX_DIFFERENCE = 1e-5

COLUMNS = (
    "family,variant,parameters,epochs,f1_keras,f1_onnxwalk,labels_equal,max_abs_diff,"
    "seconds_keras,seconds_onnxwalk,seconds_onnxruntime"
).split(",")

#: short runs are repeated, and the fastest counts: seconds below which, and how often
_SHORT_RUN, _REPEATS = 3.0, 3
#: number of words of a sentence that is followed by hand
_SENTENCE_LENGTHS = range(6, 13)

#: how the sample was chosen: if no prediction is right, and else
_SAMPLE_RULES = {
    "any": (later("the first"), later("the first that the model gets right")),
    "few": (
        later("the first with 6 to 12 words"),
        later("the first with 6 to 12 words that the model gets right"),
    ),
    "few, known": (
        later("the first with 6 to 12 words, all of them known,"),
        later("the first with 6 to 12 words, all of them known, that the model gets right"),
    ),
}

Predict = Callable[[NDArray[Any]], NDArray[Any]]


def read_evaluation(variant: Variant, output: Path) -> dict[str, Any] | None:
    """Read ``evaluation.json``; None if the variant wasn't evaluated."""
    return read_json(output / variant.path / "evaluation.json")


def evaluate(variant: Variant, task: Task, output: Path, progress: Progress) -> dict[str, Any]:
    """Export a trained variant, run the test set, write ``evaluation.json``, and return it.

    A model and a test set that were evaluated before are not evaluated again. The caller holds
    the ``locked_folder``, as in ``train``. Raises ExportError when the model can't be exported.
    """
    import keras

    from onnxwalk.export.pipeline import export_model

    folder = output / variant.path
    about = {
        "model": hashlib.blake2b((folder / "model.keras").read_bytes(), digest_size=8).hexdigest(),
        "data": task.fingerprint,
    }
    file = folder / "model.onnx"
    record = read_evaluation(variant, output)
    if record is not None and record["about"] == about and file.exists() and _is_decided(record):
        return record
    keras.backend.clear_session()
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    with progress.step(f"{variant.path} to ONNX", 5) as done:
        stages = iter(range(5))
        export_model(
            model, file, text=task.text, labels=task.classes, progress=lambda _: done(next(stages))
        )
    predictions, seconds = {}, {}
    for engine in ENGINES:
        with progress.step(f"{variant.path} in {engine}", len(task.test)) as done:
            predict = _make_predictor(engine, model, file)
            predictions[engine], seconds[engine] = _time_predictions(
                predict, task.test.x, variant.batch, done
            )
    record = {
        "about": about,
        "source": task.source,
        "stands_in": task.stands_in,
        "classes": task.classes,
        "count": len(task.test),
        "batch": variant.batch,
        "threads": count_cores(),
        **compare(task.test.y, predictions),
        "seconds": seconds,
        "sample": _choose_sample(task, predictions["onnxwalk"]),
    }
    if broken_claims(record):
        progress.say(f"{variant.path}  differs from Keras: comparing all with Keras in float64")
        exact = _predict_in_float64(variant, task, model, progress)
        record |= compare_with_exact(exact, predictions)
    with atomic_path(folder / "predictions.npz") as part:
        chosen = task.test.x[record["sample"]["index"]]
        arrays: dict[str, Any] = {**predictions, "truth": task.test.y, "sample": chosen}
        np.savez_compressed(part, **arrays)
    write_json(folder / "evaluation.json", record)
    return record


def compare(truth: NDArray[Any], predictions: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """F1 of each engine, and how far the two others are from Keras.

    ``truth`` (n,) class numbers; ``predictions``: engine -> (n, classes) probabilities.
    """
    expected = predictions["keras"]
    others = {name: predictions[name] for name in ENGINES if name != "keras"}
    return {
        "f1": {name: macro_f1(truth, p.argmax(1)) for name, p in predictions.items()},
        "labels_differ": {
            name: int(np.sum(p.argmax(1) != expected.argmax(1))) for name, p in others.items()
        },
        "max_abs_diff": {
            name: float(np.abs(p.astype(np.float64) - expected).max()) for name, p in others.items()
        },
    }


def compare_with_exact(
    exact: NDArray[np.float64], predictions: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """How far each engine is from ``exact``, the (n, classes) probabilities of Keras in float64.

    ``beyond`` counts the probabilities of the interpreter that are further than ``MAX_DIFFERENCE``
    from Keras's, and those of them where Keras is further than that from ``exact`` and the
    interpreter nearer.
    """
    apart = {name: np.abs(p - exact) for name, p in predictions.items()}
    expected = predictions["keras"].astype(np.float64)
    beyond = ~(np.abs(predictions["onnxwalk"] - expected) <= MAX_DIFFERENCE)  # NaN is
    nearer = (apart["keras"] > MAX_DIFFERENCE) & (apart["onnxwalk"] < apart["keras"])
    return {
        "from_float64": {name: float(distance.max()) for name, distance in apart.items()},
        "beyond": {"count": int(beyond.sum()), "nearer": int((beyond & nearer).sum())},
    }


def broken_claims(record: Mapping[str, Any]) -> list[str]:
    """The claims about the interpreter that don't hold, in words; empty if all do.

    Keras computes in float32, too: if a claim is broken, the last entry has the difference of each
    engine from Keras in float64.
    """
    claims = []
    keras, ours = record["f1"]["keras"], record["f1"]["onnxwalk"]
    if round(keras, 4) != round(ours, 4):
        claims.append(
            _("F1 is {ours}, in Keras {keras}").format(
                ours=number(f"{ours:.4f}"), keras=number(f"{keras:.4f}")
            )
        )
    if differ := record["labels_differ"]["onnxwalk"]:
        claims.append(
            _("{part} of {whole} labels differ").format(part=differ, whole=record["count"])
        )
    if _is_beyond(record) and not is_nearer(record):
        largest = record["max_abs_diff"]["onnxwalk"]
        text = _("a probability differs by {largest} (tolerance {allowed})")
        claims.append(text.format(largest=short(largest), allowed=number(f"{MAX_DIFFERENCE:g}")))
    if claims and "beyond" in record:
        claims.append(describe_exact(record))
    return claims


def is_nearer(record: Mapping[str, Any]) -> bool:
    """Whether some probabilities are further than ``MAX_DIFFERENCE`` from Keras's, and where they
    are Keras in float32 is further than that from Keras in float64, and the interpreter nearer."""
    beyond = record.get("beyond")
    return beyond is not None and 0 < beyond["count"] == beyond["nearer"]


def describe_exact(record: Mapping[str, Any]) -> str:
    """How far each engine is from Keras in float64, for a record that has it."""
    apart, beyond = record["from_float64"], record["beyond"]
    text = _(
        "largest difference from Keras in float64: Keras {keras}, the interpreter {onnxwalk}, "
        "ONNX Runtime {onnxruntime}"
    ).format(**{engine: short(apart[engine]) for engine in ENGINES})
    if not beyond["count"]:
        return text
    decided = _("of {count} beyond the tolerance the interpreter is nearer to it in {nearer}")
    return f"{text}; {decided.format(**beyond)}"


def short(value: float) -> str:
    """A number with two significant digits."""
    return number(f"{value:.2g}")


def _is_beyond(record: Mapping[str, Any]) -> bool:
    return not record["max_abs_diff"]["onnxwalk"] <= MAX_DIFFERENCE  # NaN is


def _is_decided(record: Mapping[str, Any]) -> bool:
    """Whether the record has what the claims need: one of an earlier version may not."""
    return "beyond" in record or not broken_claims(record)


def macro_f1(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """The mean of each class's F1, by scikit-learn; a class never predicted counts 0."""
    (metrics,) = require("sklearn.metrics", extra=EXTRA)
    return float(metrics.f1_score(truth, predicted, average="macro", zero_division=0))


def read_evaluations(output: Path) -> list[tuple[Variant, dict[str, Any], dict[str, Any]]]:
    """(variant, history, evaluation) of all variants that were evaluated."""
    from onnxwalk.export.study.train import read_history

    evaluations = []
    for variant in VARIANTS:
        history, record = read_history(variant, output), read_evaluation(variant, output)
        if history is not None and record is not None:
            evaluations.append((variant, history, record))
    return evaluations


def write_results(output: Path) -> None:
    """``results.csv``, of everything in the output folder."""
    with (
        atomic_path(output / "results.csv") as part,
        open(part, "w", encoding="utf-8", newline="") as to,
    ):
        writer = csv.writer(to, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(format_row(*result) for result in read_evaluations(output))


def format_row(
    variant: Variant, training: Mapping[str, Any], record: Mapping[str, Any]
) -> list[str]:
    """The cells of a variant under ``COLUMNS``."""
    return [
        variant.family,
        variant.name,
        str(training["parameters"]),
        str(len(training["history"]["loss"])),
        f"{record['f1']['keras']:.4f}",
        f"{record['f1']['onnxwalk']:.4f}",
        "false" if record["labels_differ"]["onnxwalk"] else "true",
        f"{record['max_abs_diff']['onnxwalk']:.2e}",
        *(f"{record['seconds'][name]:.4f}" for name in ENGINES),
    ]


def _make_predictor(engine: str, model: Any, file: Path) -> Predict:
    """(n, …) -> (n, classes) float32, on as many threads as there are cores."""
    if engine == "keras":
        return lambda x: np.asarray(model.predict_on_batch(x))
    if engine == "onnxwalk":
        import onnxwalk

        session = onnxwalk.load(file, threads=count_cores())
        return session
    from onnxwalk.interpreter.optional import onnxruntime_session

    theirs = onnxruntime_session(str(file), threads=count_cores())
    name = theirs.get_inputs()[0].name
    return lambda x: theirs.run(None, {name: x})[0]


def _predict_in_float64(
    variant: Variant, task: Task, model: Any, progress: Progress
) -> NDArray[np.float64]:
    """The predictions of Keras with the same weights in float64."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        exact = build_model(variant, task)
    finally:
        keras.config.set_dtype_policy(before)
    exact.set_weights(model.get_weights())
    x = task.test.x
    with progress.step(f"{variant.path} in Keras, float64", len(x)) as done:
        return np.concatenate(_predict(exact.predict_on_batch, x, variant.batch, done))


def _predict(
    predict: Predict, x: NDArray[Any], batch: int, done: Callable[[int], None]
) -> list[NDArray[Any]]:
    """The predictions of all of ``x``, batch by batch."""
    parts = []
    for start in range(0, len(x), batch):
        parts.append(np.asarray(predict(x[start : start + batch])))
        done(start)
    return parts


def _time_predictions(
    predict: Predict, x: NDArray[Any], batch: int, done: Callable[[int], None]
) -> tuple[NDArray[Any], float]:
    """The predictions of all of ``x``, and the seconds they took.

    The first batch, and a last one of another size, run once before that: the first run of a shape
    takes longer.
    """
    predict(x[:batch])
    if len(x) % batch:
        predict(x[-(len(x) % batch) :])
    fastest = np.inf
    for _attempt in range(_REPEATS):
        started = time.perf_counter()
        parts = _predict(predict, x, batch, done)
        fastest = min(fastest, time.perf_counter() - started)
        if fastest > _SHORT_RUN:
            break
    return np.concatenate(parts), float(fastest)


def _choose_sample(task: Task, predictions: NDArray[Any]) -> dict[str, Any]:
    """The test sample to follow by hand, and the rule by which it is chosen: the first with the
    right label; of sentences, the first of those with few words and none unknown, if any."""
    right = np.flatnonzero(predictions.argmax(1) == task.test.y)
    kind = 1 if len(right) else 0  # whether one is right
    candidates = right if len(right) else np.arange(len(task.test))
    if task.text is None:
        return {"index": int(candidates[0]), "rule": _SAMPLE_RULES["any"][kind]}
    x, rule = task.test.x[candidates], "any"
    few = np.isin(np.sum(x != 0, axis=1), list(_SENTENCE_LENGTHS))
    for fits, what in ((few & ~np.any(x == 1, axis=1), "few, known"), (few, "few")):
        if fits.any():
            candidates, rule = candidates[fits], what
            break
    index = int(candidates[0])
    vocabulary = task.text.get_vocabulary()
    return {
        "index": index,
        "rule": _SAMPLE_RULES[rule][kind],
        "words": [vocabulary[number] for number in task.test.x[index] if number],
    }
