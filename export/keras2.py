"""Files that Keras 2 or tf-keras wrote, as copies that Keras 3 reads in the same meaning.

Keras 3 reads the weights of such files. Of their config it refuses arguments that it no longer has,
counts the calls of nested models otherwise, and takes ``hard_sigmoid`` for its own, which is a
different function.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxwalk.export.errors import ExportError
from onnxwalk.export.tracing.keras2 import hard_sigmoid

#: the name in translated configs -> the function, for ``keras.saving``
CUSTOM_OBJECTS = {"onnxwalk>hard_sigmoid_of_keras_2": hard_sigmoid}
_NAME = next(iter(CUSTOM_OBJECTS))
#: the function in the config of a layer that has a module; without, as in .h5 files, it is the name
_HARD_SIGMOID = {
    "module": "builtins", "class_name": "function", "config": _NAME, "registered_name": _NAME
}  # fmt: skip

#: arguments that Keras 3 no longer has -> their values without an effect on what is computed;
#: ``None``: none has any
_WITHOUT_EFFECT: dict[str, tuple[Any, ...] | None] = {
    "time_major": (False,),
    "rng_type": None,
    "ragged": (False,),
    "noise_shape": (None,),
    "score_mode": ("dot",),  # of Attention: the default, but Keras 3 takes the word for a function
}
#: layers that had ``groups`` from Conv, without an effect
_UNGROUPED = {
    f"{kind}{rank}D" for kind in ("Conv", "DepthwiseConv", "SeparableConv") for rank in (1, 2)
} | {"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"}
#: layers by which Keras 2 recorded TensorFlow functions between layers
_CALLS = {"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"}
#: layers that Keras 3 doesn't have, or builds from calls that such files don't describe
_UNREADABLE = {
    "CuDNNGRU", "CuDNNLSTM", "LocallyConnected1D", "LocallyConnected2D", "MultiHeadAttention",
    "ThresholdedReLU",
}  # fmt: skip
_MODELS = {"Functional", "Model", "Sequential"}


@contextmanager
def as_keras_3(path: Path) -> Iterator[Path]:
    """The path, or that of a translated copy if Keras 2 wrote the file.

    Raises ExportError for what Keras 3 has no equal of.
    """
    is_archive = zipfile.is_zipfile(path)
    config = (_archive_config if is_archive else _h5_config)(path)
    if config is None:
        yield path
        return
    text = json.dumps(_translate(config, path.name))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model{'.keras' if is_archive else '.h5'}"
        (_write_archive if is_archive else _write_h5)(path, copy, text)
        yield copy


def version_of(path: Path) -> str:
    """The version of Keras that wrote a .keras or .h5 file; "1" if it doesn't say."""
    import h5py

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            has = "metadata.json" in archive.namelist()
            about = json.loads(archive.read("metadata.json")) if has else {}
        return str(about.get("keras_version", "3"))  # version 1 wrote no archives
    with h5py.File(path, "r") as file:
        version = file.attrs.get("keras_version", "1")
    return version.decode() if isinstance(version, bytes) else str(version)


def _is_old(path: Path) -> bool:
    return version_of(path).split(".")[0] in ("1", "2")


def _archive_config(path: Path) -> Any:
    if not _is_old(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def _h5_config(path: Path) -> Any:
    import h5py

    if not _is_old(path):
        return None
    with h5py.File(path, "r") as file:
        return json.loads(file.attrs["model_config"])


def _write_archive(path: Path, copy: Path, config: str) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, config if name == "config.json" else old.read(name))


def _write_h5(path: Path, copy: Path, config: str) -> None:
    import h5py

    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = config


def _translate(value: Any, file: str) -> Any:
    """A config, or a part of it, in Keras 3's terms."""
    if isinstance(value, list):
        return [_translate(item, file) for item in value]
    if not isinstance(value, Mapping):
        return value
    value = {key: _translate(item, file) for key, item in value.items()}
    if isinstance(value.get("config"), dict) and "class_name" in value:
        if str(value.get("module")).startswith("tf_keras.") and value["class_name"] in _MODELS:
            value["module"] = f"keras.src.models.{value['class_name'].lower()}"
        value["config"] = _layer_config(value["class_name"], value["config"], file)
        if "module" not in value:
            value["config"] = _with_names(value["config"])
    return value


def _layer_config(name: str, config: dict[str, Any], file: str) -> dict[str, Any]:
    if name in _CALLS:
        raise ExportError(
            f"{file} is of Keras 2 and calls {config.get('function', config.get('name'))} between "
            f"layers ({name}), which Keras 3 can't read: rebuild the model with keras.ops and pass "
            "architecture='module:function'"
        )
    if name == "Lambda":
        raise ExportError(
            f"{file} is of Keras 2 and contains Python code (Lambda layer {config.get('name')}), "
            "which is not run: rebuild the model with keras.ops and pass "
            "architecture='module:function'"
        )
    if name in _UNREADABLE:
        raise ExportError(
            f"{file} is of Keras 2 and has the layer {config.get('name')} ({name}), which Keras 3 "
            "can't read: rebuild the model in Keras 3 and pass architecture='module:function'"
        )
    config = {key: item for key, item in config.items() if not _is_without_effect(key, item)}
    if name in _UNGROUPED and config.get("groups") == 1:
        del config["groups"]
    if name.startswith(("SeparableConv", "DepthwiseConv")):  # it has them for the depth only
        config = {key: item for key, item in config.items() if not key.startswith("kernel_")} | {
            "kernel_size": config["kernel_size"]
        }
    for key in ("activation", "recurrent_activation"):
        if config.get(key) == "hard_sigmoid":
            config[key] = _HARD_SIGMOID
    if name == "Discretization" or name.startswith("SpatialDropout"):
        config.pop("trainable", None)  # they have no weights
    policy = config.get("dtype")
    if isinstance(policy, dict) and policy.get("class_name") == "Policy":
        config["dtype"] = policy["config"]["name"]
    if name == "GRU":  # older versions had the other kind only, and didn't say so
        config.setdefault("reset_after", False)
    if name in _MODELS:
        _count_calls_from_0(config)
        config["layers"] = [_as_in_h5(layer) for layer in config.get("layers", [])]
    return config


def _as_in_h5(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer of a model as .h5 files describe it: only so Keras 3 reads Keras 2's terms."""
    if not str(layer.get("module")).startswith("keras"):
        return layer  # of the user's own
    kept = ("class_name", "config", "name", "inbound_nodes")
    return {
        key: _with_names(layer[key]) if key == "config" else layer[key]
        for key in kept
        if key in layer
    }


def _with_names(config: dict[str, Any]) -> dict[str, Any]:
    return {key: _NAME if item == _HARD_SIGMOID else item for key, item in config.items()}


def _is_without_effect(key: str, value: Any) -> bool:
    if key not in _WITHOUT_EFFECT:
        return False
    values = _WITHOUT_EFFECT[key]
    return values is None or value in values


def _count_calls_from_0(config: dict[str, Any]) -> None:
    """Let references to calls of nested models start at 0: in Keras 2, 0 was the model itself. Of
    a model's outputs Keras 3 still counts so, but for calls of a Sequential."""
    kinds = {layer.get("name"): layer.get("class_name") for layer in config.get("layers", [])}
    nested = {name for name, kind in kinds.items() if kind in _MODELS}
    sequential = {name for name in nested if kinds[name] == "Sequential"}
    for layer in config.get("layers", []):
        layer["inbound_nodes"] = _count_down(layer.get("inbound_nodes", []), nested)
    if "output_layers" in config:
        config["output_layers"] = _count_down(config["output_layers"], sequential)


def _count_down(references: Any, names: set[Any]) -> Any:
    """Lists and dicts of references, [name, number of the call, number of the output, …], with the
    calls of these layers counted from 0 instead of 1."""
    if isinstance(references, dict):
        return {key: _count_down(item, names) for key, item in references.items()}
    if not isinstance(references, list):
        return references
    if len(references) >= 3 and isinstance(references[0], str) and references[0] in names:
        name, call, *rest = references
        return [name, call - 1, *(_count_down(item, names) for item in rest)]
    return [_count_down(item, names) for item in references]
