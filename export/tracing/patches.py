"""Everything of Keras, TensorFlow and tf2onnx that is replaced while a model is exported.

``PATCHES`` is the list; ``patched`` applies those of some packages and restores the originals. A
replacement is called as ``replacement(original, record, *arguments)``, with the arguments of the
function or method that it replaces.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from onnxwalk.export.errors import ExportError
from onnxwalk.export.tracing import (
    fourier,
    lookups,
    loops,
    recurrent,
    resizing,
    rewrites,
    training,
    transposed,
)
from onnxwalk.export.tracing.refusals import NO_ONNX_FORM_OF
from onnxwalk.export.tracing.time_distributed import time_distributed

#: the oldest and the newest version of each package that all patches were checked with
CHECKED = {
    "keras": ("3.10.0", "3.15.1"),
    "tensorflow": ("2.21.0", "2.21.0"),
    "tf2onnx": ("1.17.0", "1.17.0"),
}


class MissingTarget(ExportError):
    """The installed version of a package lacks a function that the exporter replaces."""


@dataclass(frozen=True)
class Patch:
    """``target``: "package.module:attribute" or "package.module:Class.attribute".

    A function or method is replaced; a table (a dict) is updated with the entries that
    ``replacement()`` returns. ``since``: the version of the package that introduced the target;
    older ones don't need the patch.
    """

    target: str
    replacement: Callable[..., Any]
    why: str
    since: str = "0"
    kind: type | None = None  # dict for a table, None for what can be called
    to_train: bool = False  # only for files that are to be trained

    @property
    def package(self) -> str:
        return self.target.partition(".")[0].partition(":")[0]

    def owner(self) -> tuple[Any, str]:
        """(module or class, name of its attribute). Raises MissingTarget that says what to do.

        The attribute is the owner's own, not one that a class inherits, and of the right kind.
        """
        module, _, path = self.target.partition(":")
        *classes, name = path.split(".")
        try:
            owner = functools.reduce(getattr, classes, importlib.import_module(module))
            found = vars(owner)[name]
            fits = isinstance(found, self.kind) if self.kind else callable(found)
        except (ImportError, AttributeError, KeyError) as error:
            raise self._missing_target("has no") from error
        if not fits:
            raise self._missing_target("has an unexpected object at")
        return owner, name

    def is_needed(self) -> bool:
        installed = importlib.import_module(self.package).__version__
        return _parse_version(installed) >= _parse_version(self.since)

    def _missing_target(self, what: str) -> MissingTarget:
        version = importlib.import_module(self.package).__version__
        oldest, newest = CHECKED[self.package]
        return MissingTarget(
            f"{self.package} {version} {what} {self.target}, which the exporter replaces: "
            f'pip install "{self.package}>={oldest},<={newest}"'
        )


def _no_optimizers_without_loops(original: Any, graph: Any) -> Any:
    loops = any("While" in node.op or node.op in ("If", "StatelessIf") for node in graph.node)
    return original() if loops else {}


def _bfloat16_entry(table: str) -> dict[Any, Any]:
    import ml_dtypes
    from onnx import TensorProto
    from tensorflow import dtypes

    return {
        "from TensorFlow": {dtypes.bfloat16.as_datatype_enum: TensorProto.BFLOAT16},
        "to NumPy": {TensorProto.BFLOAT16: ml_dtypes.bfloat16},
        "names": {TensorProto.BFLOAT16: "bfloat16"},
    }[table]


def _keep_as_written(original: Any, record: Any, g: Any, ops: Any) -> Any:
    """In place of a rewriter of tf2onnx, which replaces a few operations by one."""
    return ops


_LOOP = "becomes one ONNX node instead of a loop"
_BFLOAT16 = "tf2onnx treats bfloat16 as float16"
_FOURIER = "ONNX has no complex numbers"
_POOL = "a computed loop over windows has no ONNX form"
_TRAINING = "training needs a node of it, inference leaves it out or folds it"

PATCHES = (
    Patch("keras.layers:RNN.inner_loop", recurrent.inner_loop, _LOOP),
    Patch("keras.layers:LSTM.inner_loop", recurrent.inner_loop, _LOOP),
    Patch("keras.layers:GRU.inner_loop", recurrent.inner_loop, _LOOP),
    Patch("keras.layers:Bidirectional.call", recurrent.bidirectional, _LOOP),
    Patch(
        "keras.layers:TimeDistributed.call",
        time_distributed,
        "Keras copies the layer for each step, or maps over the steps, which has no ONNX form",
    ),
    Patch(
        "keras.src.layers.preprocessing.index_lookup:IndexLookup._lookup_dense",
        lookups.lookup_dense,
        "tables are lost when the graph is frozen",
    ),
    Patch(
        "keras.src.backend.tensorflow.nn:conv_transpose",
        transposed.conv_transpose,
        "tf2onnx needs a dozen nodes to crop the output",
    ),
    Patch(
        "keras.src.backend.tensorflow.nn:adaptive_average_pool",
        functools.partial(rewrites.adaptive_pool, "AVG"),
        _POOL,
        since="3.13",
    ),
    Patch(
        "keras.src.backend.tensorflow.nn:adaptive_max_pool",
        functools.partial(rewrites.adaptive_pool, "MAX"),
        _POOL,
        since="3.13",
    ),
    Patch(
        "keras.src.backend.tensorflow.numpy:signbit",
        rewrites.signbit,
        "Keras reads the bits, which has no ONNX form",
    ),
    *(
        Patch(f"keras.src.backend.tensorflow.math:{name}", getattr(fourier, name), _FOURIER)
        for name in ("fft", "fft2", "rfft", "irfft", "stft", "istft")
    ),
    Patch(
        "keras.src.backend.tensorflow.math:erfinv",
        rewrites.erfinv,
        "ONNX has no inverse of erf",
    ),
    *(
        Patch(
            f"keras.src.backend.tensorflow.numpy:{name}",
            functools.partial(rewrites.tells_floats, name == "isfinite"),
            "of integers Keras needs a known batch size",
        )
        for name in ("isfinite", "isinf", "isnan")
    ),
    Patch(
        "keras.src.backend.tensorflow.numpy:gcd",
        loops.gcd,
        "Keras needs a known batch size",
        since="3.12",
    ),
    *(
        Patch(
            f"keras.src.backend.tensorflow.{target}",
            functools.partial(rewrites.refuse, f"{target.split(':')[1]}: {why}"),
            "it has no ONNX form",
            since=since,
        )
        for target, (since, why) in NO_ONNX_FORM_OF.items()
    ),
    Patch(
        "keras.src.backend.tensorflow.core:scan",
        loops.scan,
        "Keras keeps the carry in arrays, which tf2onnx can't follow",
    ),
    Patch(
        "keras.src.backend.tensorflow.core:switch",
        loops.switch,
        "ONNX chooses between two branches only",
    ),
    Patch(
        "keras.src.backend.tensorflow.image:resize",
        resizing.resize,
        "known sizes would be computed in every run",
    ),
    Patch(
        "keras.layers:UpSampling2D._resize_images",
        resizing.upsample,
        "Keras compares open sizes, which is impossible in a trace",
    ),
    Patch(
        "keras.layers:CenterCrop.transform_images",
        resizing.center_crop,
        "Keras resizes small images, but in a trace it doesn't know which are",
    ),
    Patch(
        "keras.layers:MelSpectrogram._spectrogram",
        rewrites.spectrogram,
        "tf2onnx has no RFFT",
    ),
    Patch(
        "keras.src.utils.tf_utils:tf_encode_categorical_inputs",
        rewrites.encode_categories,
        "bincount has no ONNX form",
    ),
    Patch(
        "keras.layers:Embedding.call",
        rewrites.embedding,
        "negative ids need nine nodes; and inputs that carry ids are recorded",
    ),
    *(
        Patch(target, replacement, _TRAINING, to_train=True)
        for target, replacement in (
            ("keras.layers:Dropout.call", training.dropout),
            (
                "keras.src.layers.regularization.spatial_dropout:BaseSpatialDropout.call",
                training.spatial_dropout,
            ),
            ("keras.layers:BatchNormalization.call", training.batch_normalization),
            ("keras.layers:Normalization.call", training.normalization),
        )
    ),
    Patch("keras.layers:Masking.call", rewrites.masking, "inputs that are masked are recorded"),
    Patch(
        "keras.layers:Layer._open_name_scope",
        rewrites.open_name_scope,
        "TensorFlow numbers the scopes of layers",
    ),
    Patch(
        "tensorflow:cond",
        loops.cond,
        "a known condition becomes an If, whose branches don't know constants from outside",
    ),
    Patch(
        "tensorflow:tensordot",
        rewrites.tensordot,
        "TensorFlow reshapes to two dimensions and back, with shapes computed in every run",
    ),
    Patch(
        "tensorflow:searchsorted",
        rewrites.searchsorted,
        "ONNX has no search, and tf2onnx no mapping",
    ),
    Patch(
        "tf2onnx.optimizer:_get_optimizers",
        _no_optimizers_without_loops,
        "they copy the graph many times; conversion.clean does the same, except for loops",
    ),
    *(
        Patch(
            f"tf2onnx.tfonnx:{name}",
            _keep_as_written,
            "the operator isn't for integers, and loses NaN and infinity",
        )
        for name in ("rewrite_thresholded_relu", "rewrite_leakyrelu")
    ),
    *(
        Patch(target, functools.partial(_bfloat16_entry, table), _BFLOAT16, kind=dict)
        for target, table in (
            ("tf2onnx.tf_utils:TF_TO_ONNX_DTYPE", "from TensorFlow"),
            ("tf2onnx.utils:ONNX_TO_NUMPY_DTYPE", "to NumPy"),
            ("tf2onnx.utils:ONNX_DTYPE_NAMES", "names"),
        )
    ),
)

#: a patch holds for the entire process: one export at a time
_lock = threading.Lock()


@contextmanager
def patched(*packages: str, record: Any, to_train: bool = False) -> Iterator[None]:
    """Apply the patches of ``packages`` inside the block; ``to_train``: also those for training.

    ``record`` is passed to the replacements. Raises MissingTarget, with nothing replaced.
    """
    with _lock:
        chosen = [
            p
            for p in PATCHES
            if p.package in packages and p.is_needed() and (to_train or not p.to_train)
        ]
        targets = [(patch, *patch.owner()) for patch in chosen]
        before = [(owner, name, vars(owner)[name]) for _, owner, name in targets]
        tables = [(table, dict(table)) for _, _, table in before if isinstance(table, dict)]
        try:
            for (patch, owner, name), (_, _, original) in zip(targets, before, strict=True):
                if patch.kind is dict:
                    original.update(patch.replacement())
                else:
                    setattr(owner, name, _wrap(original, patch.replacement, record))
            yield
        finally:
            for owner, name, original in before:
                setattr(owner, name, original)
            for table, entries in tables:
                table.clear()
                table.update(entries)


def _wrap(original: Any, replacement: Callable[..., Any], record: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        return replacement(original, record, *args, **kwargs)

    return replaced


def _parse_version(version: str) -> tuple[int, ...]:
    """3.13.0 -> (3, 13, 0); stops at a part that isn't a number."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
