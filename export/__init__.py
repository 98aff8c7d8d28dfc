"""Keras 3 to ONNX.

>>> import onnxwalk
>>> onnxwalk.export.to_onnx("model.keras", "model.onnx")            # doctest: +SKIP

TensorFlow, Keras, tf2onnx and onnx are imported when a model is exported, not before.

The way of a layer, and where to add support for one (``pipeline.py`` calls them in this order):

1. ``tracing/`` builds a TensorFlow graph of the model. A layer that TensorFlow computes in a way
   that has no good ONNX form is replaced by a function of ours: in other TensorFlow operations
   (``tracing/rewrites.py``), or as a marker with a description of what to compute
   (``tracing/markers.py``; ``tracing/lookups.py`` is a short example). Either way it gets a row in
   the table of ``tracing/patches.py``. What can't be exported at all is named in
   ``tracing/refusals.py``, with what to do instead.
2. ``conversion/`` lets tf2onnx write the ONNX nodes: a TensorFlow operation that it doesn't know
   gets a handler in ``conversion/handlers.py``, a new kind of marker a writer in
   ``conversion/markers.py``.
3. ``conversion/clean/`` removes what is superfluous, a pass in each file; ``conversion/names.py``
   names nodes and weights after the layers.
4. ``write.py`` writes the file under a temporary name.
5. ``verify.py`` runs Keras and onnxwalk on it: they must agree before the file gets its name.

Then give the layer cases in ``coverage/layer_cases/`` (a file for each family), and run
``python -m export layers LAYER``, which compares them all with Keras and ONNX Runtime.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onnxwalk.export.errors import ExportError
from onnxwalk.export.pipeline import export_model

if TYPE_CHECKING:
    import onnx

__all__ = ["ExportError", "to_onnx"]


def to_onnx(
    model_or_path: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int | None = None,
    architecture: str | Callable[[], Any] | None = None,
    verify: bool = True,
    text: Any = None,
    labels: Any = None,
    progress: Callable[[str], object] | None = None,
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
    ``progress``: called with "load", "trace", "convert", "write" and "check" as each begins.

    Inputs and outputs have Keras's names, dtypes and shapes, with "batch" for the batch size. A
    model that begins with a TextVectorization layer takes ids instead of text, and a warning says
    so.

    Raises ExportError, in one line, for whatever goes wrong with the model or the file; then
    nothing is written.
    """
    result = export_model(
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
