"""One recipe: the file that is made of it beside what ``predict`` gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import onnxwalk
from onnxwalk.export.conversion.convert import convert
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.quiet import quiet
from onnxwalk.export.random_inputs import make_random_inputs
from onnxwalk.export.special_feeds import Feed, make_special_feeds
from onnxwalk.export.tracing.trace import trace
from onnxwalk.export.verify import Both
from tests.programs.properties.recipes import Recipe, build, shorten


@dataclass(frozen=True)
class Verdict:
    """``kind``: right, refused, wrong, or unused (Keras builds the model but doesn't run it)."""

    kind: str
    why: str = ""


def judge(recipe: Recipe) -> Verdict:
    """Export the model, and hold the file against ``predict`` on random and special inputs."""
    model = build(recipe)
    with quiet() as errors:
        try:
            traced = trace(model)
            proto = convert(traced, errors=errors)
        except ExportError as error:
            return _unless_keras_fails(recipe, model, Verdict("refused", str(error)))
        except Exception as error:
            why = f"{type(error).__name__}: {one_line(error)}"
            return _unless_keras_fails(recipe, model, Verdict("wrong", why))
        random = make_random_inputs(traced)
        feeds = [Feed(random, ("random numbers",)), *make_special_feeds(traced, random)]
        try:
            sides = Predicted(model, onnxwalk.load(proto), traced)
            sides.sizes = [output.shape[1:] for output in sides.run_keras(random)]
        except onnxwalk.OnnxWalkError as error:
            return Verdict("wrong", str(error))
        except Exception as error:
            return Verdict("unused", one_line(error))
        for feed in feeds:
            try:
                for part, values in sides.accepted(feed):
                    found = sides.find_difference(part, values, sides.run_file(part))
                    if found is not None:
                        return Verdict("wrong", sides.narrow(found).describe(""))
            except ExportError as error:
                return Verdict("wrong", str(error))
    return Verdict("right")


def shrink(recipe: Recipe) -> tuple[Recipe, Verdict]:
    """The shortest part of a wrong recipe that is wrong, with what is wrong of it."""
    for shorter in shorten(recipe):
        try:
            verdict = judge(shorter)
        except Exception:  # Keras doesn't build it
            continue
        if verdict.kind == "wrong":
            return shorter, verdict
    return recipe, judge(recipe)


class Predicted(Both):
    """Keras by ``predict``, as users deploy it; a batch at once."""

    def run_keras(
        self, values: dict[str, Any], weights: list[tuple[Any, Any]] | None = None
    ) -> list[Any]:
        inputs = [values[port.name] for port in self.trace.inputs]
        # predict takes no empty batch, and makes float32 of float64
        if weights is not None or not len(inputs[0]) or any(x.dtype == np.float64 for x in inputs):
            return super().run_keras(values, weights)
        results = self.model.predict(inputs, batch_size=len(inputs[0]), verbose=0)
        return [np.asarray(result) for result in keras.tree.flatten(results)]


def _unless_keras_fails(recipe: Recipe, model: Any, verdict: Verdict) -> Verdict:
    """A model that Keras itself can't run need not be exported."""
    rng = np.random.default_rng(0)
    inputs = [
        rng.standard_normal((2, *(size or 3 for size in given.shape))).astype(given.dtype)
        for given in recipe.inputs
    ]
    try:
        model.predict(inputs, verbose=0)
    except Exception as error:
        return Verdict("unused", one_line(error))
    return verdict


def summarize(why: str) -> str:
    """A reason without names and numbers, so that the same ones can be counted together."""
    return re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", re.sub(r"_\d+\b|/\S+", "", why))[:160]
