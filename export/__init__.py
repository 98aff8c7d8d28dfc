"""Keras 3 to ONNX.

>>> import export
>>> export.to_onnx("model.keras", "model.onnx")            # doctest: +SKIP

TensorFlow, Keras, tf2onnx and onnx are imported when a model is exported, not before.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from onnxwalk.export.errors import ExportError
from onnxwalk.export.pipeline import Export, Progress, run

if TYPE_CHECKING:
    import onnx

    from onnxwalk.export.load import Architecture

__all__ = ["Export", "ExportError", "run", "to_onnx"]


def to_onnx(
    model_or_path: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int | None = None,
    architecture: Architecture | None = None,
    verify: bool = True,
    text: Any = None,
    labels: Any = None,
    progress: Progress | None = None,
) -> onnx.ModelProto:
    """Export a Keras 3 model; write it to ``path`` if given, and return it.

    ``model_or_path``: a built ``keras.Model``, or a .keras, legacy .h5 or .weights.h5 file.
    ``opset``: 13 to the newest that the installed onnx and the interpreter know (28); 18 if not
    given, or the newest if the model computes in bfloat16, which few operators take before 22.
    ``architecture``: what builds the model, a function or "module:function"; needed for
    .weights.h5.
    ``verify``: run Keras and onnxwalk on random inputs and refuse a difference of more than 1e-4.
    ``text``: the TextVectorization layer that made the ids the model was trained on, or a file
    with one (.keras, .json, .txt: see ``export.text.read_layer``), or a dict of input names to
    these: it goes into the file, so that the model can be run on text.
    ``labels``: the names of the classes, a list, or a dict of output names to lists.
    ``progress``: called with "load", "trace", "convert", "check" and "write" as each begins.

    Inputs and outputs have Keras's names, dtypes and shapes, with "batch" for the batch size. A
    model that begins with a TextVectorization layer takes ids instead of text, and a warning says
    so.

    Raises ExportError, in one line, for whatever goes wrong with the model or the file; then
    nothing is written.
    """
    result = run(
        model_or_path,
        path,
        opset=opset,
        architecture=architecture,
        verify=verify,
        text=text,
        labels=labels,
        progress=progress,
    )
    for note in result.notes:
        warnings.warn(note, stacklevel=2)
    return result.model
