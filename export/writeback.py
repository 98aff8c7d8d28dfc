"""Weights back: from a file that was exported with ``trainable``, into the Keras model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.load import Architecture, load_model
from onnxwalk.export.pipeline import refuse_other_backends
from onnxwalk.export.quiet import quiet
from onnxwalk.export.text import cut_text
from onnxwalk.export.tracing.trace import Trace, trace
from onnxwalk.export.tracing.variables import Variable, list_variables
from onnxwalk.export.verify import read_mode, verify_model
from onnxwalk.export.write import staged
from onnxwalk.interpreter.errors import OnnxWalkError
from onnxwalk.interpreter.ir.model import Model
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.weights.record import Weight, read_weights


@dataclass
class WeightsBack:
    """What was done: the model, how many of its variables were set, the largest difference of each
    output from the file (empty if they weren't compared), and notes for the user."""

    model: Any
    count: int
    differences: dict[str, float]
    notes: tuple[str, ...] = ()


def weights_back(
    onnx_path: str | os.PathLike[str],
    keras_model: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    architecture: Architecture | None = None,
    verify: bool | str = "quick",
) -> Any:
    """Set the weights of a Keras model to those of a file; returns the model.

    ``onnx_path``: a file that was exported with ``trainable=True`` and may have been trained since.
    ``keras_model``: the model it was exported from, or one of the same architecture: a built
    ``keras.Model`` or a file as for ``to_onnx``. Variables go by their paths or, where a model was
    built anew and its layers were numbered otherwise, by their order.
    ``path``: where to write the model, as .keras, .h5 or .weights.h5; None: nowhere.
    ``verify``: compare Keras with the file, as ``to_onnx`` does.

    Raises ExportError, in one line, if the file has no record of Keras's variables, if they aren't
    those of the model, or if Keras and the file differ afterwards. Then nothing is written, and a
    ``keras.Model`` that was passed has the weights that it had.
    """
    return put_back(onnx_path, keras_model, path, architecture=architecture, verify=verify).model


def put_back(
    onnx_path: str | os.PathLike[str],
    keras_model: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    architecture: Architecture | None = None,
    verify: bool | str = "quick",
) -> WeightsBack:
    """``weights_back`` with a detailed result. Raises ExportError."""
    mode = read_mode(verify)
    try:
        file = read_model(os.fspath(onnx_path))
        weights = read_weights(file)
    except OnnxWalkError as error:
        raise ExportError(one_line(error)) from error
    if weights is None:
        raise ExportError(
            f"{file.source} has no record of Keras's variables: export it with --trainable "
            "(trainable=True), and train that file"
        )
    with quiet():
        refuse_other_backends(keras_model)
        model = load_model(keras_model, architecture)
        variables = [v for v in list_variables(model) if not v.is_seed]
        pairs = [(w, v) for w, v in _match(file, weights, variables) if w.initializer]
        before = [np.array(v.variable.numpy()) for _, v in pairs]
        try:
            for weight, v in pairs:
                v.variable.assign(weight.read(_array(file, weight)))
            _finish(model)
            differences = _compare(model, onnx_path, mode)
            if path is not None:
                _save(model, Path(path))
        except BaseException:
            for (_, v), values in zip(pairs, before, strict=True):
                v.variable.assign(values)
            _finish(model)
            raise
    unread = [w.name for w in weights if not w.initializer]
    notes = [f"as they were, since the file has none: {', '.join(unread)}"] if unread else []
    return WeightsBack(model, len(pairs), differences, tuple(notes))


def _array(file: Model, weight: Weight) -> Any:
    return file.graph.initializers[weight.initializer].array  # type: ignore[union-attr]


def _match(
    file: Model, weights: Sequence[Weight], variables: Sequence[Variable]
) -> list[tuple[Weight, Variable]]:
    """Each weight of the file with its variable: by their paths if these are the same, else by
    order. Raises ExportError for a model of another architecture."""
    by_name = {v.name: v for v in variables}
    if by_name.keys() == {w.name for w in weights}:
        pairs = [(w, by_name[w.name]) for w in weights]
    elif len(weights) == len(variables):
        pairs = list(zip(weights, variables, strict=True))
    else:
        missing = [w.name for w in weights if w.name not in by_name]
        extra = [v.name for v in variables if v.name not in {w.name for w in weights}]
        first = f"the model has no {missing[0]}" if missing else f"the file has no {extra[0]}"
        raise ExportError(
            f"{file.source} was exported from another model: it has {len(weights)} variables, the "
            f"model {len(variables)}; {first}"
        )
    for weight, v in pairs:
        kind = str(v.variable.dtype)
        array = _array(file, weight) if weight.initializer else None
        there = kind if array is None else array.dtype.name
        if weight.shape != v.shape or there != kind or _own(weight.name) != _own(v.name):
            raise ExportError(
                f"{file.source} was exported from another model: {weight.name} is {there} "
                f"{list(weight.shape)}, and {v.name} in its place is {kind} {list(v.shape)}"
            )
    return pairs


def _own(name: str) -> str:
    """A variable's name in its layer, without the number that Keras gives to those without one."""
    return re.sub(r"_\d+$", "", name.rpartition("/")[2])


def _finish(model: Any) -> None:
    """Have layers compute what they keep besides their variables."""
    import keras

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()


def _compare(model: Any, onnx_path: str | os.PathLike[str], mode: str) -> dict[str, float]:
    """Keras against the file. Raises ExportError if they differ."""
    import onnxwalk

    if mode == "none":
        return {}
    cut, _ = cut_text(model)
    traced = trace(cut)
    try:
        session = onnxwalk.load(onnx_path)
    except OnnxWalkError as error:
        raise ExportError(one_line(error)) from error
    return verify_model(cut, onnx_path, _with_names(traced, session), mode=mode)


def _with_names(traced: Trace, session: Any) -> Trace:
    """The trace with the names of inputs and outputs that the file has, in the same order. Raises
    ExportError if it has more or fewer."""
    counts = [len(x) for x in (traced.inputs, traced.outputs, session.inputs, session.outputs)]
    if counts[:2] != counts[2:]:
        raise ExportError(
            f"{session.model.source} was exported from another model: it has {counts[2]} inputs "
            f"and {counts[3]} outputs, the model {counts[0]} and {counts[1]}"
        )
    names = {p.name: info.name for p, info in zip(traced.inputs, session.inputs, strict=True)}

    def renamed(table: dict[str, Any]) -> dict[str, Any]:
        return {names[name]: value for name, value in table.items()}

    return replace(
        traced,
        inputs=tuple(replace(p, name=names[p.name]) for p in traced.inputs),
        outputs=tuple(
            replace(p, name=info.name)
            for p, info in zip(traced.outputs, session.outputs, strict=True)
        ),
        vocabulary=renamed(traced.vocabulary),
        masking=renamed(traced.masking),
        keys=renamed(traced.keys),
        known_only=frozenset(names[name] for name in traced.known_only),
    )


def _save(model: Any, target: Path) -> None:
    """Write the model, or its weights alone, complete or not at all."""
    with staged(target) as part:
        try:
            if target.name.endswith(".weights.h5"):
                model.save_weights(part)
            else:
                model.save(part)
        except Exception as error:
            raise ExportError(f"{target} can't be written: {one_line(error)}") from error
