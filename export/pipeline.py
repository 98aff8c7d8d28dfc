"""Load, trace, convert, write, check: what happens, in that order."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from onnxwalk.export.conversion.convert import draft_of
from onnxwalk.export.conversion.draft import Draft, attach
from onnxwalk.export.errors import ExportError
from onnxwalk.export.load import Architecture, load
from onnxwalk.export.quiet import quiet
from onnxwalk.export.text import (
    cut_text,
    given_text,
    label_settings,
    notes_on,
    store,
    text_settings,
)
from onnxwalk.export.tracing.trace import trace
from onnxwalk.export.verify import check
from onnxwalk.export.write import staged

#: what ``progress`` is called with, in this order -> what the command line says meanwhile
STAGES = {
    "load": "reading the model",
    "trace": "tracing it",
    "convert": "converting to ONNX",
    "write": "writing",
    "check": "comparing with Keras",
}
Progress = Callable[[str], object]


@dataclass
class Export:
    """The result of an export: the model, each output's largest difference from Keras, and what
    the user should know."""

    draft: Draft
    differences: dict[str, float]  # empty when the model wasn't verified
    notes: tuple[str, ...] = ()
    layers: int = 0
    outside: bool = False  # whether the weights are in a second file

    @cached_property
    def model(self) -> Any:
        """The ``onnx.ModelProto``; the weights are copied into it when it is first used."""
        return attach(self.draft)


def run(
    model_or_path: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int | None = None,
    architecture: Architecture | None = None,
    verify: bool = True,
    text: Any = None,
    labels: Any = None,
    progress: Progress | None = None,
) -> Export:
    """As ``export.to_onnx``, with the differences that were found. Raises ExportError."""
    report = progress or (lambda stage: None)
    with quiet() as errors:
        report("load")
        model = load(model_or_path, architecture)
        _refuse_other_backends()
        model, layers = cut_text(model)
        given = {} if text is None else given_text(text)
        report("trace")
        traced = trace(model)
        tokenizers = text_settings([*layers.items(), *given.items()], traced)
        names = {} if labels is None else label_settings(labels, traced)
        report("convert")
        draft = draft_of(traced, opset=opset, errors=errors)
        differences: dict[str, float] = {}
        store(draft.model, tokenizers, names)
        notes = tuple(notes_on(tokenizers, layers))
        if path is None and not verify:
            return Export(draft, differences, notes, len(traced.layers))
        if path is not None:
            report("write")
        with staged(draft, path) as file:
            if verify:
                report("check")
                differences = check(model, file, traced)
            outside = path is not None and len(list(file.parent.iterdir())) > 1
    return Export(draft, differences, notes, len(traced.layers), outside)


def _refuse_other_backends() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=tensorflow to export"
        )
