"""Trace a Keras model into a frozen TensorFlow graph without its large weights.

tf2onnx copies the graph many times, for each of its optimizers. Weights of two dimensions
and more are therefore *inputs* of the traced function and never enter the graph; vectors (biases,
BatchNormalization's statistics) stay constants, so that they can be folded into what they scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.tracing.names import make_unique
from onnxwalk.export.tracing.patches import MissingTarget, patched
from onnxwalk.export.tracing.record import Record
from onnxwalk.export.tracing.recurrent import is_stateful
from onnxwalk.export.tracing.refusals import check_layers
from onnxwalk.export.tracing.training import find_left_out
from onnxwalk.export.tracing.variables import Variable, list_variables

#: vectors with more elements than this are inputs, too
_MAX_CONSTANT = 65536

#: what the names of weights that are constants of the graph begin with
WEIGHT_PREFIX = "onnxwalk-weight/"


@dataclass(frozen=True)
class Port:
    """An input or output of the model: its name, its tensor in the graph, dtype and shape."""

    name: str
    tensor: str
    dtype: str
    shape: tuple[int | None, ...] | None  # None: not even the rank is known


@dataclass(frozen=True)
class Trace:
    """The frozen graph, and what the converter needs to know about it."""

    name: str
    graph: Any  # tf.compat.v1.GraphDef
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: dict[str, tuple[str, NDArray[Any]]]  # tensor -> (name, values), those left outside
    constants: dict[str, NDArray[Any]]  # name -> values of the weights inside
    markers: tuple[Any, ...]  # descriptions of the graph's PyFunc operations
    vocabulary: dict[str, int]  # input name -> number of ids, where it feeds an Embedding
    masking: dict[str, float]  # input name -> the value that a Masking layer treats as padding
    keys: dict[str, list[Any]]  # input name -> the keys that a lookup knows
    known_only: frozenset[str]  # the inputs of lookups that fail for other keys
    layers: tuple[str, ...]
    variables: tuple[Variable, ...]
    to_train: bool  # all variables were left outside, and what training needs has markers
    left_out: tuple[str, ...]  # what Keras does in training and the graph doesn't, if it is to


def trace(model: Any, *, to_train: bool = False) -> Trace:
    """Trace a built Keras model for inference; ``to_train``: so that the file can be trained.

    Raises ExportError when the model has no known input shape or can't be traced.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    check_layers(model)
    structure = get_input_structure(model)
    specs = keras.tree.flatten(structure)
    names = make_unique([spec.name or f"input_{i}" for i, spec in enumerate(specs)])
    variables = list_variables(model)
    outside = [v.variable for v in variables if _is_graph_input(v, to_train)]
    inside = [v.variable for v in variables if not _is_graph_input(v, to_train)]
    small = [(WEIGHT_PREFIX + v.path, _read_values(v)) for v in inside]
    record = Record(names, to_train)

    def function(*tensors: Any) -> Any:
        record.inputs, given = tensors[: len(specs)], tensors[len(specs) :]
        constants = [tf.constant(values, name=name) for name, values in small]
        mapping = [*zip(outside, given, strict=True), *zip(inside, constants, strict=True)]
        with keras.StatelessScope(mapping):
            inputs = keras.tree.pack_sequence_as(structure, record.inputs)
            result = model(inputs, training=False)
        return [tf.identity(output) for output in keras.tree.flatten(result)]

    signature = [tf.TensorSpec(spec.shape, spec.dtype) for spec in specs]
    signature += [tf.TensorSpec(v.shape, v.dtype) for v in outside]
    try:
        with (
            patched("keras", "tensorflow", record=record, to_train=to_train),
            _functions_run_eagerly(),
        ):
            concrete = tf.function(function, autograph=False).get_concrete_function(*signature)
        frozen = convert_variables_to_constants_v2(
            concrete, lower_control_flow=False, aggressive_inlining=True
        )
    except MissingTarget:
        raise
    except Exception as error:
        raise ExportError(f"{model.name} can't be traced: {_explain(error)}") from error

    graph = frozen.graph.as_graph_def(add_shapes=True)
    restore_captures(graph, concrete)
    placeholders = [tensor.name for tensor in concrete.inputs]
    results = [tensor for tensor in frozen.outputs if tensor.dtype != tf.resource]
    used = {source.split(":")[0].lstrip("^") for node in graph.node for source in node.input}
    weights = zip(outside, placeholders[len(specs) :], strict=False)
    names_of = {id(v.variable): v.name for v in variables}
    return Trace(
        name=model.name,
        graph=graph,
        inputs=tuple(
            Port(name, tensor, tf.as_dtype(spec.dtype).name, tuple(spec.shape))
            for name, tensor, spec in zip(names, placeholders, specs, strict=False)
        ),
        outputs=tuple(
            Port(name, tensor.name, tensor.dtype.name, shape)
            for name, tensor, shape in zip(
                _output_names(model, len(results), names),
                results,
                _output_shapes(model, results),
                strict=True,
            )
        ),
        weights={
            tensor: (names_of[id(v)], _read_values(v))
            for v, tensor in weights
            if tensor.split(":")[0] in used
        },
        constants={name.removeprefix(WEIGHT_PREFIX): values for name, values in small},
        markers=tuple(record.markers),
        vocabulary=record.vocabulary,
        masking=record.masking,
        keys=record.keys,
        known_only=frozenset(record.known_only),
        layers=tuple(layer.name for layer in model._flatten_layers(include_self=False)),
        variables=tuple(variables),
        to_train=to_train,
        left_out=tuple(find_left_out(model, record)) if to_train else (),
    )


def _explain(error: Exception) -> str:
    """The error in one line; in our words if a function of Keras got None for the batch size."""
    if re.search(r"partially known TensorShape|elements of \[None|None values not", str(error)):
        return (
            "a function of Keras needs the batch size, which is open: give every input one "
            "(keras.Input(shape, batch_size=1))"
        )
    return one_line(error)


def _read_values(variable: Any) -> NDArray[Any]:
    """A variable's values, without a copy: TensorFlow copies only on assignment."""
    return np.asarray(variable.value.read_value())


def _output_shapes(model: Any, results: Sequence[Any]) -> list[tuple[int | None, ...] | None]:
    """The shapes of the traced outputs. Where TensorFlow lost track of a rank (``tensordot`` does),
    it is Keras's shape; ``None`` if Keras has none either, as for a model built by calling it."""
    inner = getattr(model, "_functional", None) or model
    outputs = list(getattr(inner, "outputs", None) or [])
    known = (
        [tuple(o.shape) for o in outputs] if len(outputs) == len(results) else [None] * len(results)
    )
    return [
        shape if tensor.shape.rank is None else tuple(tensor.shape)
        for tensor, shape in zip(results, known, strict=True)
    ]


def get_input_structure(model: Any) -> Any:
    """The model's inputs in its own structure (a tensor, list or dict), with name, shape, dtype.

    Raises ExportError when the model is not built.
    """
    import keras

    hint = "give it an Input layer, or call it once on data"
    if not model.built:
        raise ExportError(f"{model.name} is not built: {hint}")
    inner = getattr(model, "_functional", None) or model  # a Sequential holds a Functional
    structure = getattr(inner, "_inputs_struct", None)
    if structure is not None:
        return (
            _with_open_batch(model, structure) if isinstance(model, keras.Sequential) else structure
        )
    from keras.src.export.export_utils import get_input_signature

    try:
        signature = get_input_signature(model)
        structure = signature[0] if len(signature) == 1 else list(signature)
        if not keras.tree.flatten(structure):
            raise ValueError("no inputs")
    except Exception as error:
        raise ExportError(f"{model.name} has no known input shape: {hint}") from error
    return structure


def _with_open_batch(model: Any, structure: Any) -> Any:
    """Open the batch size of a Sequential without an Input, which has that of its first call or of
    ``fit``; unless a layer keeps states, which have that size."""
    import keras

    if is_stateful(model):
        return structure
    return keras.tree.map_structure(
        lambda x: keras.KerasTensor((None, *x.shape[1:]), dtype=x.dtype, name=x.name), structure
    )


def _output_names(model: Any, count: int, taken: list[str]) -> list[str]:
    inner = getattr(model, "_functional", None) or model
    names = list(getattr(inner, "output_names", None) or [])
    if len(names) != count:
        names = [f"output_{i}" if count > 1 else "output" for i in range(count)]
    return make_unique([*taken, *names])[len(taken) :]


def _is_graph_input(variable: Variable, to_train: bool) -> bool:
    if to_train:
        return not variable.is_seed
    shape = variable.shape
    floating = str(variable.variable.dtype) in ("float32", "float64", "float16", "bfloat16")
    return floating and (len(shape) > 1 or int(np.prod(shape)) > _MAX_CONSTANT)


@contextmanager
def _functions_run_eagerly() -> Iterator[None]:
    """Trace into functions that Keras has compiled, such as grouped convolution."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def all_operations(graph: Any) -> list[Any]:
    """The nodes of a GraphDef, and of the functions that it calls."""
    functions = graph.library.function
    return [*graph.node, *(node for function in functions for node in function.node_def)]


def restore_captures(graph: Any, concrete: Any) -> None:
    """Turn placeholders for eager tensors that the trace captured into constants."""
    import tensorflow as tf

    values = {
        inner.op.name: outer
        for outer, inner in concrete.graph.captures
        if outer.dtype not in (tf.resource, tf.variant)
    }
    for node in graph.node:
        if node.op == "Placeholder" and node.name in values:
            value = values[node.name].numpy()
            node.op = "Const"
            node.attr.pop("shape", None)
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
