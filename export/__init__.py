"""Keras 3 to ONNX.

>>> import onnxwalk
>>> onnxwalk.export.to_onnx("model.keras", "model.onnx")            # doctest: +SKIP

TensorFlow, Keras, tf2onnx and onnx are imported when a model is exported, not before.

The way of a layer, and where to add support for one (``pipeline.py`` calls them in this order):

1. ``tracing/`` builds a TensorFlow graph of the model. A layer whose TensorFlow operations have no
   good ONNX form is replaced: by other TensorFlow operations (``tracing/rewrites.py``), or by a
   marker with a description of what to compute (``tracing/markers.py``; ``tracing/lookups.py`` is
   a short example). Either way it needs a row in the table of ``tracing/patches.py``. Layers that
   can't be exported are listed in ``tracing/refusals.py``, with an alternative.
2. ``conversion/`` writes the ONNX nodes, with tf2onnx: a TensorFlow operation that it doesn't
   support needs a handler in ``conversion/handlers.py``, a new kind of marker a writer in
   ``conversion/markers.py``.
3. ``conversion/clean/`` removes superfluous nodes, one pass in each file; ``conversion/names.py``
   names nodes and weights after the layers.
4. ``write.py`` writes the file under a temporary name.
5. ``verify.py`` compares Keras and onnxwalk, on the inputs of ``random_inputs.py`` and
   ``special_feeds.py``: they must agree, by the rule in ``agreement.py``, before the file is
   renamed. ``parting.py`` finds the layer where they don't.

For a file that is to be trained, ``tracing/training.py`` leaves the markers of what training needs,
the passes of ``conversion/clean`` leave variables as they are (``Draft.variables``), and
``conversion/variables.py`` records where each lies; ``writeback.py`` takes them back.

Then add cases of the layer in ``coverage/layer_cases/`` (a file for each family), and run
``python -m onnxwalk.export layers LAYER``, which compares them with Keras and ONNX Runtime.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onnxwalk.export.errors import ExportError
from onnxwalk.export.pipeline import export_model
from onnxwalk.export.writeback import weights_back

if TYPE_CHECKING:
    import onnx

__all__ = ["ExportError", "to_onnx", "weights_back"]


def to_onnx(
    model_or_path: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int | None = None,
    architecture: str | Callable[[], Any] | None = None,
    verify: bool | str = "quick",
    text: Any = None,
    labels: Any = None,
    trainable: bool = False,
    progress: Callable[[str], object] | None = None,
) -> onnx.ModelProto:
    """Export a Keras 3 model; write it to ``path`` if given, and return it.

    ``model_or_path``: a built ``keras.Model``, or a .keras, legacy .h5 or .weights.h5 file, also of
    Keras 2, of tf-keras, or of Keras with another backend.
    ``opset``: 13 to the newest that both the installed onnx and the interpreter support (28).
    Default: 18, or the newest if the model computes in bfloat16, which few operators accept
    before 22.
    ``architecture``: the function that builds the model, or "module:function"; required for
    .weights.h5.
    ``verify``: compare Keras and onnxwalk; a difference of more than 1e-4 (in float32) is an error.
    "quick" feeds random numbers, special values (NaN, infinities, the ends of each type), one row,
    an empty batch and odd sizes; "full" feeds each special value to each input on its own, too,
    other batch sizes and other random numbers; "none" compares nothing. True and False are "quick"
    and "none".
    ``text``: the TextVectorization layer of the training data, a file with one (.keras, .json,
    .txt: see ``export.text.read_text_layer``), or a dict of input names to these: it is stored in
    the file, so that the model can be run on text.
    ``labels``: the names of the classes, a list, or a dict of output names to lists.
    ``trainable``: export for training. Each Keras variable is in one initializer, and none is left
    out, merged with another or computed with; the metadata say where each lies (see
    ``interpreter.weights.record``). Dropout and BatchNormalization are nodes that training can
    switch on; what Keras does in training and ONNX has no node for (noise, regularizers,
    recurrent_dropout …) is left out, with a warning.
    ``progress``: called with "load", "trace", "convert", "write" and "check" as each begins.

    Inputs and outputs have Keras's names, dtypes and shapes, with "batch" for the batch size. If
    the model begins with a TextVectorization layer, the file expects ids instead of text; a
    warning is issued.

    Raises ExportError, in one line, for any problem with the model or the file; then nothing is
    written.
    """
    result = export_model(
        model_or_path,
        path,
        opset=opset,
        architecture=architecture,
        verify=verify,
        text=text,
        labels=labels,
        trainable=trainable,
        progress=progress,
    )
    for note in result.notes:
        warnings.warn(note, stacklevel=2)
    return result.model
