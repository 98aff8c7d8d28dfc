"""The steps of an export: load, trace, convert, write, check."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from onnxwalk.export.conversion.convert import build_draft
from onnxwalk.export.conversion.draft import Draft, attach_weights
from onnxwalk.export.errors import ExportError
from onnxwalk.export.load import Architecture, load_model
from onnxwalk.export.pixels import store_pixels
from onnxwalk.export.quiet import quiet
from onnxwalk.export.text import (
    build_tokenizers,
    cut_text,
    describe_text_inputs,
    match_labels,
    resolve_text,
    store_metadata,
)
from onnxwalk.export.tracing.trace import trace
from onnxwalk.export.verify import read_mode, verify_model
from onnxwalk.export.write import staged_file

#: argument of ``progress``, in this order -> text on the command line
STAGES = {
    "load": "reading the model",
    "trace": "tracing it",
    "convert": "converting to ONNX",
    "write": "writing",
    "check": "comparing with Keras",
}
Progress = Callable[[str], object]


@dataclass
class ExportResult:
    """The result of an export: the model, the largest difference of each output from Keras, and
    notes for the user."""

    draft: Draft
    differences: dict[str, float]  # empty when the model wasn't verified
    notes: tuple[str, ...] = ()
    layers: int = 0
    has_external_data: bool = False  # whether the weights are in a second file

    @cached_property
    def model(self) -> Any:
        """The ``onnx.ModelProto``; the weights are copied into it when it is first used."""
        return attach_weights(self.draft)


def export_model(
    model_or_path: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int | None = None,
    architecture: Architecture | None = None,
    verify: bool | str = "quick",
    text: Any = None,
    labels: Any = None,
    trainable: bool = False,
    progress: Progress | None = None,
) -> ExportResult:
    """``export.to_onnx`` with a detailed result. Raises ExportError."""
    report = progress or (lambda stage: None)
    mode = read_mode(verify)
    with quiet() as errors:
        report("load")
        refuse_other_backends(model_or_path)
        model = load_model(model_or_path, architecture)
        model, layers = cut_text(model)
        given = {} if text is None else resolve_text(text)
        report("trace")
        traced = trace(model, to_train=trainable)
        tokenizers = build_tokenizers([*layers.items(), *given.items()], traced)
        names = {} if labels is None else match_labels(labels, traced)
        report("convert")
        draft = build_draft(traced, opset=opset, errors=errors)
        differences: dict[str, float] = {}
        store_metadata(draft.model, tokenizers, names)
        store_pixels(draft)
        notes = (
            *describe_text_inputs(tokenizers, layers),
            *(f"not in the file, for training: {what}" for what in traced.left_out),
        )
        if path is None and mode == "none":
            return ExportResult(draft, differences, notes, len(traced.layers))
        if path is not None:
            report("write")
        with staged_file(draft, path) as file:
            if mode != "none":
                report("check")
                differences = verify_model(model, file, traced, mode=mode)
            has_external_data = path is not None and len(list(file.parent.iterdir())) > 1
    return ExportResult(draft, differences, notes, len(traced.layers), has_external_data)


def refuse_other_backends(model_or_path: Any) -> None:
    """The graph is TensorFlow's, and Keras's backend can't change once Keras is imported."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        return
    if isinstance(model_or_path, (str, os.PathLike)):
        file, save = os.fspath(model_or_path), ""
    else:
        file, save = "model.keras", "save the model, model.save('model.keras'), and "
    raise ExportError(
        f"Keras runs on {backend} here, and the export needs TensorFlow: {save}export the file, "
        f"which may come from any backend, by python -m onnxwalk.export {file}"
    )
