"""Text at the front of a model, and the names of its classes: what goes into ``metadata_props``.

``TextVectorization`` has no ONNX form. A model that begins with one is cut behind it: the file
takes integer ids, under the name of the text input, and says how to make them from text.

``onnxwalk.text`` is a JSON object, input name -> settings::

    {"ids": {"standardize": "lower_and_strip_punctuation",   or "lower", "strip_punctuation", null
             "split": "whitespace",                          or "character", null
             "ngrams": null,                                 or a list of widths, [1, 2]
             "length": 100,                                  or null: as long as the longest text
             "ragged": false,                                true: pad to the longest text only
             "vocabulary": ["", "[UNK]", "the", …]}}         the word of each id

All six are there. Their meaning is Keras's, of ``output_mode="int"``; see ``interpreter.text``.

``onnxwalk.labels`` is a JSON object, output name -> list of class names. An output of one number
has two names: of what lies near 0 and of what lies near 1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.load import load_model
from onnxwalk.export.tracing.recurrent import is_stateful
from onnxwalk.export.tracing.trace import Trace
from onnxwalk.interpreter.text import LABELS_KEY, SPLIT, STANDARDIZE, TEXT_KEY, Tokenizer

#: what `text=` takes for one input: a layer, or the path of a file that holds one
TextSource = Any


def cut_text(model: Any) -> tuple[Any, dict[str, Any]]:
    """(the model from the ids on, input name -> its TextVectorization layer).

    A model without such a layer is returned as it is. The input keeps its name; where one input
    feeds several layers, each makes an input of the layer's name.

    Raises ExportError when a TextVectorization is anywhere but directly after an input, or its
    settings are not supported.
    """
    import keras

    kind = keras.layers.TextVectorization
    found = [layer for layer in model._flatten_layers() if isinstance(layer, kind)]
    if not found:
        return model, {}
    inner = getattr(model, "_functional", None) or model
    if not hasattr(inner, "_nodes_by_depth"):
        raise _misplaced_layer(found[0], f"the subclassed model {model.name}, which can't be cut")
    inputs: list[Any] = []
    layers: dict[str, Any] = {}
    behind: dict[int, list[Any]] = {id(source): [] for source in inner.inputs}
    all_nodes = [node for _, depth in sorted(inner._nodes_by_depth.items()) for node in depth]
    for node in all_nodes:
        for source in {id(t): t for t in node.input_tensors}.values():
            if isinstance(node.operation, kind) and id(source) not in behind:
                raise _misplaced_layer(node.operation, "the middle of the model")
            behind.setdefault(id(source), []).append(node)
    seen = {id(node.operation) for node in all_nodes}
    for layer in found:
        if id(layer) not in seen:
            raise _misplaced_layer(layer, "a model within the model")
    ends = {id(output) for output in inner.outputs}
    for source in inner.inputs:
        nodes = behind[id(source)]
        texts = [node for node in nodes if isinstance(node.operation, kind)]
        if not texts:
            inputs.append(source)
            continue
        if len(texts) < len(nodes) or id(source) in ends:
            raise ExportError(
                f"text input {_input_name(source)} feeds other layers in addition to "
                f"{texts[0].operation.name}: compute the ids outside of the model"
            )
        for node in texts:
            build_tokenizer(node.operation)  # raises early if its settings are not supported
            if getattr(node.operation, "_ragged", False):
                raise ExportError(f"layer {node.operation.name}: ragged ids have no ONNX form")
            inputs.append(node.outputs[0])
            name = _input_name(source) if len(texts) == 1 else node.operation.name
            layers[name] = node.operation
    names = iter(layers)
    kept = {id(source) for source in inner.inputs}
    try:
        rest = keras.Model(inputs, inner._outputs_struct, name=model.name)
    except Exception as error:
        raise ExportError(
            f"{model.name} can't be cut behind its text: {one_line(error)}"
        ) from error
    specs = [
        _spec(tensor, tensor.name if id(tensor) in kept else next(names), rest) for tensor in inputs
    ]
    rest._inputs_struct = keras.tree.pack_sequence_as(rest._inputs_struct, specs)
    return rest, layers


def _spec(tensor: Any, name: str, model: Any) -> Any:
    """An input of the cut model. A Sequential that was built by calling it has the batch size of
    that call, which only a stateful layer needs."""
    import keras

    batch = tensor.shape[0] if is_stateful(model) else None
    return keras.KerasTensor((batch, *tensor.shape[1:]), dtype=tensor.dtype, name=name)


def _misplaced_layer(layer: Any, where: str) -> ExportError:
    return ExportError(
        f"TextVectorization layer {layer.name} is in {where}: it has no ONNX form, and only one "
        "directly after an Input can be removed"
    )


def _input_name(tensor: Any) -> str:
    return tensor._keras_history.operation.name


def build_tokenizer(layer: Any) -> Tokenizer:
    """The settings of a TextVectorization layer. Raises ExportError for unsupported ones."""
    where = f"TextVectorization layer {layer.name}"
    if layer._output_mode != "int":
        raise ExportError(
            f"{where}: output_mode {layer._output_mode!r} is not supported, only 'int'"
        )
    for setting, known in (("standardize", STANDARDIZE), ("split", SPLIT)):
        value = getattr(layer, f"_{setting}")
        if callable(value) or value not in known:
            raise ExportError(f"{where}: {setting} is a function, which can't be stored in a file")
    if layer._encoding.lower().replace("-", "") != "utf8":
        raise ExportError(f"{where}: encoding {layer._encoding!r} is not supported, only utf-8")
    try:
        vocabulary = [str(word) for word in layer.get_vocabulary()]
    except Exception as error:
        raise ExportError(f"{where}: no vocabulary: {one_line(error)}") from error
    if len(vocabulary) < 3:
        raise ExportError(f"{where} has no vocabulary: adapt() it first")
    try:
        return Tokenizer(
            vocabulary,
            standardize=layer._standardize,
            split=layer._split,
            ngrams=layer._ngrams,
            length=layer._output_sequence_length,
            ragged=layer._ragged,
        )
    except ValueError as error:
        raise ExportError(f"{where}: {one_line(error)}") from error


def resolve_text(text: TextSource | Mapping[str, TextSource]) -> dict[str | None, Any]:
    """Input name, or None where it isn't given -> TextVectorization layer.

    ``text``: a layer, a path (see ``read_text_layer``), or a mapping of input names to these.
    Raises ExportError.
    """
    import keras

    if isinstance(text, Mapping):
        return {str(name): resolve_text(source)[None] for name, source in text.items()}
    if isinstance(text, keras.layers.TextVectorization):
        return {None: text}
    if isinstance(text, (str, os.PathLike)):
        return {None: read_text_layer(Path(text))}
    raise ExportError(
        f"text: expected a TextVectorization layer or a path, got {type(text).__name__}"
    )


def read_text_layer(path: Path) -> Any:
    """The TextVectorization layer in a .keras file (a model with one in it), or that a .json or
    .txt file describes: a list of words as ``get_vocabulary()`` gives it, in JSON or one a line,
    or a JSON object as ``get_config()`` gives it, with the vocabulary in it.

    Raises ExportError.
    """
    import keras

    if not path.is_file():
        raise ExportError(f"no such file: {path}")
    if path.suffix.lower() not in (".json", ".txt"):
        kind = keras.layers.TextVectorization
        layers = [layer for layer in load_model(path)._flatten_layers() if isinstance(layer, kind)]
        if len(layers) != 1:
            raise ExportError(
                f"{path.name}: expected one TextVectorization layer, found {len(layers)}"
            )
        return layers[0]
    try:
        content = path.read_text(encoding="utf-8-sig")
        config = json.loads(content) if path.suffix.lower() == ".json" else content.splitlines()
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path.name} can't be read: {one_line(error)}") from error
    config = {"vocabulary": config} if isinstance(config, list) else config
    if not isinstance(config, dict) or not isinstance(config.get("vocabulary"), list):
        raise ExportError(f"{path.name}: neither a list of words nor settings with a vocabulary")
    for special in ("", "[UNK]"):
        if config["vocabulary"][:1] == [special]:  # get_vocabulary() begins with these
            config["vocabulary"] = config["vocabulary"][1:]
    ignored_settings = ("vocabulary_size", "dtype", "trainable", "idf_weights")
    config = {key: value for key, value in config.items() if key not in ignored_settings}
    try:
        if isinstance(config.get("ngrams"), list):
            config["ngrams"] = tuple(config["ngrams"])
        base = {"standardize": "lower_and_strip_punctuation", "split": "whitespace"}
        return keras.layers.TextVectorization(**{**base, **config})
    except Exception as error:
        raise ExportError(f"{path.name}: no TextVectorization: {one_line(error)}") from error


def build_tokenizers(
    layers: Iterable[tuple[str | None, Any]], trace: Trace
) -> dict[str, Tokenizer]:
    """Input name -> tokenizer, each checked against its input and its Keras layer.

    A layer whose input isn't named belongs to the one input that feeds an Embedding.

    Raises ExportError when the input is unknown or ambiguous, when the length or the number of
    words doesn't fit it, or when the tokenizer and the layer return different ids.
    """
    ports = {port.name: port for port in trace.inputs}
    settings: dict[str, Tokenizer] = {}
    for name, layer in layers:
        if name is None:
            candidates = list(trace.vocabulary) or [p.name for p in trace.inputs]
            if len(candidates) != 1:
                listed = ", ".join(candidates)
                raise ExportError(f"text: choose an input of {listed} with text={{name: …}}")
            name = candidates[0]
        if name not in ports:
            raise ExportError(
                f"text for {name}: unknown input, the model's inputs are {', '.join(ports)}"
            )
        if name in settings:
            raise ExportError(
                f"text for {name} is given twice: the model already contains a layer for it"
            )
        settings[name] = _fit_length(
            build_tokenizer(layer), ports[name], trace.vocabulary.get(name)
        )
        check_tokenizer(settings[name], layer)
    return settings


def _fit_length(tokenizer: Tokenizer, port: Any, limit: int | None) -> Tokenizer:
    """Set the length of the tokenizer to that of its input. Raises ExportError."""
    from dataclasses import replace

    if port.shape is None or len(port.shape) != 2 or port.dtype in ("string", "bool"):
        raise ExportError(f"input {port.name} doesn't accept token ids: {port.dtype}, {port.shape}")
    words = len(tokenizer.vocabulary)
    if limit is not None and words > limit:
        raise ExportError(
            f"text for {port.name}: {words} words, but the Embedding accepts ids below {limit}"
        )
    steps = port.shape[1]
    if steps is None or (tokenizer.length == steps and not tokenizer.ragged):
        return tokenizer
    if tokenizer.length is not None and tokenizer.length != steps:
        raise ExportError(
            f"text for {port.name}: {tokenizer.length} ids per text, but the model expects {steps}"
        )
    return replace(tokenizer, length=steps, ragged=False)


def check_tokenizer(tokenizer: Tokenizer, layer: Any) -> None:
    """Raises ExportError when the ids of some texts are not those of the Keras layer.

    Ids are compared without the padding, whose length the model's input may have set.
    """
    import tensorflow as tf

    rng = np.random.default_rng(0)
    words = [tokenizer.vocabulary[i] for i in rng.integers(0, len(tokenizer.vocabulary), 60)]
    marks = ("", "", "", ",", "!", " \t", "\u00a0", "É", "ß", "x", "日本", "'s", "_", "\n")
    texts = ["", " ", "..."]
    for start in range(0, len(words), 6):
        chosen = [word.upper() if rng.random() < 0.3 else word for word in words[start : start + 6]]
        texts.append(" ".join(word + marks[rng.integers(len(marks))] for word in chosen))
    try:
        expected = layer(tf.constant([[text] for text in texts]))
    except Exception as error:  # not every combination of settings works in Keras
        raise ExportError(f"layer {layer.name} itself fails on text: {one_line(error)}") from error
    rows = expected.to_list() if hasattr(expected, "to_list") else np.asarray(expected).tolist()
    for text, row in zip(texts, rows, strict=True):
        ids = tokenizer.ids(text)
        row = row[: tokenizer.length]
        if ids + [0] * (len(row) - len(ids)) != row:
            raise ExportError(f"layer {layer.name} maps {text!r} to {row}, but onnxwalk to {ids}")


def match_labels(labels: Any, trace: Trace) -> dict[str, list[str]]:
    """Output name -> class names: a list applies to each output with that number of classes.

    Raises ExportError when the number of names doesn't fit the output, or any output.
    """
    ports = {port.name: port for port in trace.outputs}
    if isinstance(labels, Mapping):
        chosen = {str(name): _names(names) for name, names in labels.items()}
        for name, names in chosen.items():
            if name not in ports:
                raise ExportError(
                    f"labels for {name}: unknown output, the outputs are {', '.join(ports)}"
                )
            if not _can_label(names, ports[name]):
                raise ExportError(
                    f"{len(names)} labels for output {name} of shape {ports[name].shape}"
                )
        return chosen
    names = _names(labels)
    fitting = {name: names for name, port in ports.items() if _can_label(names, port)}
    if not fitting:
        shapes = ", ".join(f"{port.name} is {port.shape}" for port in trace.outputs)
        raise ExportError(f"{len(names)} labels fit no output: {shapes}")
    return fitting


def _names(labels: Any) -> list[str]:
    good = isinstance(labels, Sequence) and not isinstance(labels, (str, bytes))
    if not good or not labels or not all(isinstance(label, str) for label in labels):
        raise ExportError(
            "labels: expected a list of class names, or a dict of output names to lists"
        )
    return list(labels)


def _can_label(names: Sequence[str], port: Any) -> bool:
    if port.shape is None:
        return True
    if len(port.shape) < 2:
        return False
    classes = port.shape[-1]
    return classes in (None, len(names)) or (classes == 1 and len(names) == 2)


def store_metadata(
    proto: Any, text: Mapping[str, Tokenizer], labels: Mapping[str, list[str]]
) -> None:
    """Store both in the model's ``metadata_props``, unless they are empty."""
    settings = {name: tokenizer.as_json() for name, tokenizer in text.items()}
    for key, value in ((TEXT_KEY, settings), (LABELS_KEY, dict(labels))):
        if value:
            entry = proto.metadata_props.add()
            entry.key, entry.value = key, json.dumps(value, ensure_ascii=False)


def describe_text_inputs(text: Mapping[str, Tokenizer], layers: Mapping[str, Any]) -> list[str]:
    """A line for each input that expects ids where the model accepted text."""
    return [
        f"input {name} expects the ids of layer {layers[name].name}, not text: its "
        f"{len(text[name].vocabulary):,} words and settings are in the file (run --text)"
        for name in layers
    ]
