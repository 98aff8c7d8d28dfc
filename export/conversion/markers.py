"""Write the ONNX nodes of the markers in a traced graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.export.conversion.nodes import Nodes
from onnxwalk.export.conversion.recurrent_nodes import Mask, RecurrentNodes
from onnxwalk.export.tracing.lookups import Lookup
from onnxwalk.export.tracing.markers import find_description
from onnxwalk.export.tracing.recurrent import Recurrence
from onnxwalk.export.tracing.training import BatchNormalization, Dropout
from onnxwalk.export.tracing.transposed import TransposedConvolution


def marker_handler(markers: Sequence[Any]) -> Callable[..., None]:
    """The tf2onnx handler of ``PyFunc``."""
    masks: dict[tuple[int, str], Mask] = {}

    def convert(ctx: Any, node: Any, _name: str, _args: Any) -> None:
        description = find_description(node.get_attr_value("token"), markers)
        if isinstance(description, Recurrence):
            RecurrentNodes(ctx, node, description, masks).write()
        elif isinstance(description, Lookup):
            _write_lookup(Nodes(ctx, node), description)
        elif isinstance(description, TransposedConvolution):
            _write_transposed(Nodes(ctx, node), description)
        elif isinstance(description, Dropout):
            _write_dropout(Nodes(ctx, node), description)
        elif isinstance(description, BatchNormalization):
            _write_batch_normalization(Nodes(ctx, node), description)
        else:
            raise ValueError(f"{node.name} calls back into Python, which has no ONNX form")

    return convert


def _write_lookup(nodes: Nodes, table: Lookup) -> None:
    """LabelEncoder.

    An unknown key of a table without a default gets an index beyond a Gather's data, so that
    the model fails there, as Keras does.
    """
    kinds = {str: "strings", int: "int64s"}
    keys, values = kinds[type(table.keys[0])], kinds[type(table.values[0])]
    beyond = max(table.values) + 1 if table.default is None else table.default
    attributes = {
        f"keys_{keys}": table.keys,
        f"values_{values}": table.values,
        f"default_{values.removesuffix('s')}": beyond,
    }
    if table.default is not None:
        nodes.replace("LabelEncoder", nodes.inputs, domain="ai.onnx.ml", **attributes)
        return
    index = nodes.add("LabelEncoder", nodes.inputs, domain="ai.onnx.ml", **attributes)
    nodes.replace("Gather", [nodes.const(np.arange(beyond)), index])


def _write_transposed(nodes: Nodes, convolution: TransposedConvolution) -> None:
    """ConvTranspose, between Transposes when channels come last."""
    x, kernel = nodes.inputs
    n, attributes = len(convolution.attributes["strides"]), convolution.attributes
    kernel = nodes.add("Transpose", [kernel], perm=[n + 1, n, *range(n)])
    if convolution.channels_first:
        nodes.replace("ConvTranspose", [x, kernel], **attributes)
        return
    x = nodes.add("Transpose", [x], perm=[0, n + 1, *range(1, n + 1)])
    y = nodes.add("ConvTranspose", [x, kernel], **attributes)
    nodes.replace("Transpose", [y], perm=[0, *range(2, n + 2), 1])


def _write_dropout(nodes: Nodes, dropout: Dropout) -> None:
    """Dropout with training_mode false. Where sizes are drawn once for others, it drops ones of the
    shape of what is drawn, by which x is multiplied."""
    nodes.scope = nodes.scope.rpartition("/")[0]
    (x,) = nodes.inputs
    switches = [nodes.const(dropout.rate, np.float32), nodes.const(False)]
    seed: dict[str, Any] = {} if dropout.seed is None else {"seed": dropout.seed}
    if dropout.noise_shape is None:
        nodes.become([nodes.add("Dropout", [x, *switches], **seed)])
        return
    shape = nodes.add("Shape", [x]) if None in dropout.noise_shape else ""
    sizes = [
        nodes.add("Gather", [shape, nodes.const([axis])]) if size is None else nodes.const([size])
        for axis, size in enumerate(dropout.noise_shape)
    ]
    shape = nodes.add("Concat", sizes, axis=0)
    ones = nodes.add("Expand", [nodes.const(1, nodes.dtype(x)), shape])
    nodes.become([nodes.add("Mul", [x, nodes.add("Dropout", [ones, *switches], **seed)])])


def _write_batch_normalization(nodes: Nodes, norm: BatchNormalization) -> None:
    """BatchNormalization with training_mode 0, between Transposes unless the axis is 1."""
    nodes.scope = nodes.scope.rpartition("/")[0]
    x, *weights = nodes.inputs
    first, *rest = [axis for axis in range(len(nodes.shape(x))) if axis != norm.axis]
    perm = [first, norm.axis, *rest]
    if norm.axis != 1:
        x = nodes.add("Transpose", [x], perm=perm)
    attributes: dict[str, Any] = {"epsilon": norm.epsilon, "momentum": norm.momentum}
    y = nodes.add("BatchNormalization", [x, *weights], **attributes)
    if norm.axis != 1:
        y = nodes.add("Transpose", [y], perm=[int(axis) for axis in np.argsort(perm)])
    nodes.become([y])
