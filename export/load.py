"""Load a Keras model from .keras, legacy .h5, or weights and an architecture."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.keras2 import CUSTOM_OBJECTS, as_keras_3

Architecture = str | Callable[[], Any]


def load_model(source: Any, architecture: Architecture | None = None) -> Any:
    """Load a Keras model, or check the one that was passed; returns it built.

    ``source``: a ``keras.Model``, or the path of a .keras, .h5 or .weights.h5 file.
    ``architecture``: a function that builds the model, or "module:function"; required for files
    that contain only weights, and replaces the architecture in the file otherwise.

    Raises ExportError, in one line, when the file doesn't exist or isn't a Keras file, when the
    architecture is missing, can't be built or doesn't fit the weights, or when custom classes are
    missing.
    """
    import keras

    if isinstance(source, keras.Model):
        if architecture is not None:
            raise ExportError("architecture can't be combined with a keras.Model, only with a file")
        return source
    if any(kind.__module__.startswith("tf_keras.") for kind in type(source).__mro__):
        raise ExportError(
            f"{type(source).__name__} is a model of tf_keras (Keras 2): save it with "
            "model.save('model.h5') and pass the file"
        )
    if isinstance(source, keras.layers.Layer) or not isinstance(source, (str, os.PathLike)):
        raise ExportError(f"expected a keras.Model or a path, got {type(source).__name__}")
    path = Path(source)
    kind = _file_kind(path)
    if architecture is not None:
        return _load_weights(_build_model(architecture), path)
    if kind == "weights":
        raise ExportError(
            f"{path.name} contains only weights: name the function that builds the model with "
            "architecture='module:function' (--architecture module:function)"
        )
    return _load_model_file(path)


def _file_kind(path: Path) -> str:
    """Return "model" or "weights", by the content of the file."""
    import h5py

    if path.suffix == ".pb" or (path / "saved_model.pb").exists():
        raise ExportError(
            f"{path} is a SavedModel, which has no Keras layers: save the model as .keras (in "
            "Keras 2: as .h5) where it was built"
        )
    if path.is_dir():
        raise ExportError(f"{path} is a folder: pass a .keras, .h5 or .weights.h5 file")
    if not path.exists():
        raise ExportError(f"no such file: {path}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if "config.json" in archive.namelist():
                    return "model"
        elif h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                if "model_config" in file.attrs:
                    return "model"
                if file.attrs.get("layer_names") is not None or any(_weight_shapes(file)):
                    return "weights"
    except OSError as error:
        raise ExportError(f"{path.name} can't be read: {one_line(error)}") from error
    raise ExportError(f"{path.name} is not a Keras file (.keras, .h5 or .weights.h5)")


def _load_model_file(path: Path) -> Any:
    import keras

    suffix = ".keras" if zipfile.is_zipfile(path) else ".h5"
    try:
        # a scope, not an argument of load_model: that doesn't reach into wrappers
        with (
            keras.saving.custom_object_scope(CUSTOM_OBJECTS),
            as_keras_3(path) as file,
            _with_suffix(file, suffix) as readable,
        ):
            return keras.saving.load_model(readable, compile=False)
    except ExportError:
        raise
    except Exception as error:
        text = str(error)
        if found := re.search(r"Could not (?:locate|find|deserialize) class '(\w+)'", text):
            hint = f"the file uses the custom class {found[1]}"
        elif found := re.search(r"Unknown (?:layer|object|activation function|\w+): '?(\w+)", text):
            hint = f"the file uses the custom object {found[1]}"
        elif "safe_mode" in text or "unsafe" in text.lower():
            raise ExportError(
                f"{path.name} contains Python code (a Lambda layer), which is not run: if you "
                "trust the file, load it with keras.saving.load_model(path, safe_mode=False) and "
                "pass the model to export.to_onnx"
            ) from error
        else:
            hint = f"{path.name} can't be loaded: {one_line(error)}"
            if suffix != ".h5":
                raise ExportError(hint) from error
            raise ExportError(
                f"{hint}; .h5 files don't hold every model: save it as .keras"
            ) from error
        raise ExportError(
            f"{hint}: pass architecture='module:function', or load the model yourself and pass it"
        ) from error


@contextmanager
def _with_suffix(path: Path, suffix: str) -> Iterator[str]:
    """A path to the same file with the suffix of its format: Keras looks at the name only."""
    legacy = suffix == ".h5"
    if path.name.endswith(suffix) and not (legacy and path.name.endswith(".weights.h5")):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{suffix}"
        try:
            link.symlink_to(path.resolve())
        except OSError:  # no links on this system
            shutil.copyfile(path, link)
        yield str(link)


def _build_model(architecture: Architecture) -> Any:
    import keras

    function, name = architecture, getattr(architecture, "__name__", "architecture")
    if isinstance(architecture, str):
        function, name = _import_function(architecture), architecture
    if not callable(function):
        raise ExportError(f"architecture {name} is not a function")
    try:
        model = function()
    except Exception as error:
        raise ExportError(f"architecture {name} failed: {one_line(error)}") from error
    if not isinstance(model, keras.Model):
        raise ExportError(f"architecture {name} returned {type(model).__name__}, not a keras.Model")
    if not model.built:
        raise ExportError(f"architecture {name} returned a model without an Input layer: add one")
    return model


def _import_function(text: str) -> Any:
    module_name, colon, function = text.partition(":")
    if not colon or not module_name or not function:
        raise ExportError(f"architecture {text!r} must have the form module:function")
    here = os.getcwd()
    sys.path.insert(0, here)  # as python -m does
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ExportError(f"architecture {text}: {one_line(error)}") from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
    try:
        return getattr(module, function)
    except AttributeError as error:
        raise ExportError(f"architecture {text}: {module_name} has no {function}") from error


def _load_weights(model: Any, path: Path) -> Any:
    """Load the weights into the model, and check that none of the file is left over."""
    misfit = f"the weights in {path.name} don't fit the architecture"
    try:
        with _with_suffix(path, _weights_suffix(path)) as readable:
            model.load_weights(readable)
    except Exception as error:
        raise ExportError(f"{misfit}: {one_line(error)}") from error
    if extra := _count_weight_shapes(path) - Counter(tuple(v.shape) for v in model.variables):
        shapes = ", ".join(str(shape) for shape in list(extra.elements())[:3])
        raise ExportError(
            f"{misfit}: the model has no variables for {extra.total()} arrays ({shapes} …)"
        )
    return model


def _weights_suffix(path: Path) -> str:
    """The suffix by which load_weights recognizes the format of the file."""
    import h5py

    if zipfile.is_zipfile(path):
        return ".keras"
    with h5py.File(path, "r") as file:
        legacy = "model_weights" in file or "layer_names" in file.attrs
    return ".h5" if legacy else ".weights.h5"


def _count_weight_shapes(path: Path) -> Counter[tuple[int, ...]]:
    """Count the weights of a file by shape, without those of the optimizer."""
    import h5py

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "model.weights.h5" not in archive.namelist():
                return Counter()
            with archive.open("model.weights.h5") as inner, h5py.File(inner, "r") as file:
                return Counter(_weight_shapes(file))
    with h5py.File(path, "r") as file:
        return Counter(_weight_shapes(file))


def _weight_shapes(group: Any) -> Iterator[tuple[int, ...]]:
    import h5py

    for name, item in group.items():
        if name in ("optimizer", "optimizer_weights", "top_level_model_weights"):
            continue
        if isinstance(item, h5py.Dataset):
            yield tuple(item.shape)
        else:
            yield from _weight_shapes(item)
