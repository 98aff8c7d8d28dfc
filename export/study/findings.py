"""Findings computed from the results, by rules that the report states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.study.evaluate import (
    MAX_DIFFERENCE,
    broken_claims,
    describe_exact,
    is_nearer,
    read_evaluations,
    short,
)
from onnxwalk.export.study.language import all_of, later, number, separator
from onnxwalk.export.study.language import translate as _
from onnxwalk.export.study.variants import FAMILIES, GROUPS, Group, Variant

#: rise of the validation loss above its minimum, relative, while training loss kept falling
_OVERFIT = 0.05
#: difference in F1 that is accepted for a smaller model
_CLOSE_F1 = 0.01
#: standard errors beyond which chance is not the explanation
_ERRORS = 1.96

_RULES = {
    "wins": later(
        "The winner of a group has the highest macro F1 on the test set. It is clearly ahead of "
        "another variant if the two get different test samples right more often than chance "
        "explains: of the samples that only one of them gets right, the numbers n₁ and n₂ differ "
        "by more than {errors} · √(n₁ + n₂) (McNemar's test at 5 %)."
    ),
    "overfits": later(
        "A variant overfits if its validation loss ends more than {overfit} above its least value "
        "while its training loss went on falling after that epoch."
    ),
    "unfinished": later(
        "It could have been trained longer if its validation loss is least after the last epoch."
    ),
    "guesses": later(
        "It does no better than guessing if its accuracy is not above the share of the most "
        "frequent class by more than {errors} standard errors, √(p (1 − p) / n)."
    ),
    "small": later(
        "The smallest good model of a family has the fewest parameters of those whose F1 is at "
        "most {close} below the family's best."
    ),
    "claims": later(
        "Of every variant it must hold that macro F1 is equal to four digits, that all labels are "
        "equal, and that no probability differs by more than {allowed} from Keras or, where Keras "
        "in float32 is further than that from Keras in float64, that it is nearer to float64 than "
        "Keras is."
    ),
    "time": later("Ratios of times are geometric means over the variants of a family."),
}


def rules() -> dict[str, str]:
    """The rules, by name, as they are stated."""
    values = {
        "errors": number(f"{_ERRORS}"),
        "overfit": f"{_OVERFIT:.0%}",
        "close": number(f"{_CLOSE_F1:g}"),
        "allowed": number(f"{MAX_DIFFERENCE:g}"),
    }
    return {name: _(text).format(**values) for name, text in _RULES.items()}


@dataclass(frozen=True)
class Result:
    """One evaluated variant, read from its folder. ``probabilities`` by engine are
    (n, classes) float32, ``truth`` (n,) int64, ``sample`` one row of the test set."""

    variant: Variant
    training: Mapping[str, Any]
    record: Mapping[str, Any]
    probabilities: Mapping[str, NDArray[Any]]
    truth: NDArray[np.int64]
    sample: NDArray[Any]
    folder: Path

    @property
    def f1(self) -> float:
        return self.record["f1"]["onnxwalk"]

    @property
    def history(self) -> Mapping[str, list[float]]:
        return self.training["history"]

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.probabilities["onnxwalk"].argmax(1)

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.labels == self.truth

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(classes, classes) counts of samples by true and by predicted class."""
        classes = len(self.record["classes"])
        counts = np.zeros((classes, classes), np.int64)
        np.add.at(counts, (self.truth, self.labels), 1)
        return counts

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, after which validation loss is least."""
        return int(np.argmin(self.history["val_loss"])) + 1

    @property
    def overfits(self) -> bool:
        loss, validation = self.history["loss"], self.history["val_loss"]
        rise = validation[-1] > (1 + _OVERFIT) * min(validation)
        return rise and loss[-1] < loss[self.best_epoch - 1]

    @property
    def unfinished(self) -> bool:
        return self.best_epoch == len(self.history["loss"]) > 1

    @property
    def guesses(self) -> bool:
        share = float(np.bincount(self.truth).max() / len(self.truth))
        error = math.sqrt(share * (1 - share) / len(self.truth))
        return float(self.right.mean()) <= share + _ERRORS * error


def read_results(output: Path) -> list[Result]:
    """Everything that has been evaluated, in the order of ``VARIANTS``."""
    results = []
    for variant, training, record in read_evaluations(output):
        folder = output / variant.path
        with np.load(folder / "predictions.npz") as arrays:
            probabilities = {name: arrays[name] for name in record["f1"]}
            truth, sample = arrays["truth"], arrays["sample"]
        results.append(Result(variant, training, record, probabilities, truth, sample, folder))
    return results


def group_results(group: Group, results: Sequence[Result]) -> list[tuple[str, Result]]:
    """(label, result) of those variants of a group that were evaluated."""
    by_key = {(r.variant.family, r.variant.name): r for r in results}
    pairs = ((label, by_key.get((group.family, name))) for label, name in group.members.items())
    return [(label, result) for label, result in pairs if result is not None]


def is_clearly_ahead(one: Result, other: Result) -> bool:
    """By the rule ``wins``."""
    only_one = int(np.sum(one.right & ~other.right))
    only_other = int(np.sum(other.right & ~one.right))
    return only_one - only_other > _ERRORS * math.sqrt(only_one + only_other)


def describe_winner(pairs: Sequence[tuple[str, Result]]) -> str:
    """A sentence about a group of two or more, for use after a colon."""
    ordered = sorted(pairs, key=lambda pair: -pair[1].f1)
    (label, best), others = ordered[0], ordered[1:]
    behind = [name for name, other in others if is_clearly_ahead(best, other)]
    level = [name for name, _ in others if name not in behind]
    scores = separator().join(f"{name} {_f1(result)}" for name, result in others)
    text = _("highest F1 for {label}, {f1} ({others}).").format(
        label=label, f1=_f1(best), others=scores
    )
    if behind:
        text += " " + _("Clearly ahead of {names}.").format(names=all_of(behind))
    if level:
        text += " " + _("The lead over {names} may be chance.").format(names=all_of(level))
    return text


def group_findings(results: Sequence[Result]) -> list[tuple[Group, str]]:
    """The winner of every group that has two variants or more."""
    pairs = ((group, group_results(group, results)) for group in GROUPS)
    return [(group, describe_winner(members)) for group, members in pairs if len(members) > 1]


def family_findings(family: str, results: Sequence[Result]) -> list[str]:
    """Sentences about a family as a whole."""
    members = [r for r in results if r.variant.family == family]
    if not members:
        return []
    best = max(members, key=lambda r: r.f1)
    close = [r for r in members if r.f1 >= best.f1 - _CLOSE_F1]
    small = min(close, key=lambda r: r.training["parameters"])
    sentences = [_("Best: {model}, F1 {f1}.").format(model=_describe_size(best), f1=_f1(best))]
    if small is not best:
        text = _("Smallest good model: {model}, F1 {f1}.")
        sentences.append(text.format(model=_describe_size(small), f1=_f1(small)))
    for text, chosen in (
        (_("Overfits: {names}."), [r for r in members if r.overfits]),
        (_("Could have been trained longer: {names}."), [r for r in members if r.unfinished]),
        (_("No better than guessing: {names}."), [r for r in members if r.guesses]),
    ):
        names = all_of(r.variant.name for r in chosen) if chosen else _("none")
        if len(chosen) == len(members) > 1:
            names = _("all variants")
        sentences.append(text.format(names=names))
    worst = max(members, key=_accuracy_gap)
    text = _(
        "Widest gap between training and validation accuracy after the last epoch: {name}, "
        "{training} against {validation}."
    )
    training, validation = (
        number(f"{worst.history[metric][-1]:.3f}") for metric in ("accuracy", "val_accuracy")
    )
    sentences.append(text.format(name=worst.variant.name, training=training, validation=validation))
    return sentences


def time_ratios(family: str, results: Sequence[Result]) -> dict[str, float]:
    """engine -> the interpreter's time over the engine's, the geometric mean of a family."""
    members = [r.record["seconds"] for r in results if r.variant.family == family]
    return {
        engine: math.exp(float(np.mean([math.log(s["onnxwalk"] / s[engine]) for s in members])))
        for engine in ("keras", "onnxruntime")
    }


def find_broken_claims(results: Sequence[Result]) -> dict[str, list[str]]:
    """Path of a variant -> its broken claims; empty if all claims hold."""
    broken = {r.variant.path: broken_claims(r.record) for r in results}
    return {path: sentences for path, sentences in broken.items() if sentences}


def find_nearer(results: Sequence[Result]) -> dict[str, str]:
    """Path of a variant -> its differences from float64, where all claims hold and the second half
    of the last one decides."""
    return {
        r.variant.path: _("a probability differs by {largest}").format(
            largest=short(r.record["max_abs_diff"]["onnxwalk"])
        )
        + f"; {describe_exact(r.record)}"
        for r in results
        if is_nearer(r.record) and not broken_claims(r.record)
    }


def list_families(results: Sequence[Result]) -> list[str]:
    return [f for f in FAMILIES if any(r.variant.family == f for r in results)]


def final_result(family: str, results: Sequence[Result]) -> Result:
    """The family's final model, or the best one if that was not evaluated."""
    members = [r for r in results if r.variant.family == family]
    return next((r for r in members if r.variant.name == "final"), max(members, key=lambda r: r.f1))


def _accuracy_gap(result: Result) -> float:
    return result.history["accuracy"][-1] - result.history["val_accuracy"][-1]


def _describe_size(result: Result) -> str:
    return _("{name} with {count} parameters").format(
        name=result.variant.name, count=number(f"{result.training['parameters']:,}")
    )


def _f1(result: Result) -> str:
    return number(f"{result.f1:.4f}")
