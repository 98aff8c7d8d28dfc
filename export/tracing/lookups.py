"""StringLookup and IntegerLookup leave a mark in the traced graph, which becomes LabelEncoder.

Their tables live outside of the graph and are lost when it is frozen. While ``marked_lookups`` is
active, the table is read and goes with the mark; masks and what is looked up backwards are
entries like any others. What follows the table (one-hot, counts, weights) is traced as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from onnxwalk.export.tracing.markers import Writer, mark

from onnxwalk.export.errors import ExportError


@dataclass(frozen=True)
class Lookup:
    """A table: keys and values are lists of one length, of int or of str."""

    keys: list[Any]
    values: list[Any]
    default: Any  # None: a key that isn't there is an error


@contextmanager
def marked_lookups(
    writers: list[Writer], noted: Callable[[Any, list[Any]], None]
) -> Iterator[None]:
    """Lookup layers called inside leave marks.

    ``noted`` is called with the tensor that is looked up and the keys that are known.
    """
    from keras.src.layers.preprocessing.index_lookup import IndexLookup

    original = IndexLookup.__dict__["_lookup_dense"]

    def lookup(self, inputs):
        return _mark(self, inputs, writers, noted)

    IndexLookup._lookup_dense = lookup
    try:
        yield
    finally:
        IndexLookup._lookup_dense = original


def refuse_hashing(layer: Any) -> None:
    """Raise ExportError when a lookup layer spreads unknown keys by a hash that ONNX hasn't."""
    hashes = getattr(layer, "oov_method", None) == "farmhash" or isinstance(layer, _string_lookup())
    if layer.num_oov_indices > 1 and not layer.invert and hashes:
        raise ExportError(
            f"layer {layer.name}: num_oov_indices={layer.num_oov_indices} needs a hash that ONNX "
            "doesn't have: make it 1, or look up in the data pipeline"
        )


def _string_lookup() -> type:
    from keras import layers

    return layers.StringLookup


def _mark(layer: Any, inputs: Any, writers: list[Writer], noted: Any) -> Any:
    """What ``_lookup_dense`` returns, from a mark for the table."""
    import tensorflow as tf

    refuse_hashing(layer)
    with tf.init_scope():
        keys, values = (_listed(part) for part in layer.lookup_table.export())
    entries = dict(zip(keys, values, strict=True))
    if layer.mask_token is not None:
        entries[_plain(layer._mask_key)] = _plain(layer._mask_value)
    default = _plain(layer._default_value)
    if layer.num_oov_indices == 0 and not layer.invert:
        default = None
    table = Lookup(list(entries), list(entries.values()), default)
    noted(inputs, table.keys)
    value_dtype = tf.as_dtype(layer._value_dtype)
    raw = tf.string if value_dtype == tf.string else tf.int64
    found = mark(writers, partial(_write, table), [inputs], raw, inputs.shape)
    found = tf.cast(found, value_dtype)
    if layer.num_oov_indices > 1 and not layer.invert:
        spread = tf.math.floormod(inputs, layer.num_oov_indices) + layer._oov_start_index()
        unknown = tf.equal(found, tf.cast(layer._default_value, found.dtype))
        found = tf.where(unknown, tf.cast(spread, found.dtype), found)
    return found


def _listed(tensor: Any) -> list[Any]:
    return [_plain(value) for value in tensor.numpy()]


def _plain(value: Any) -> Any:
    """An int or a str, of a NumPy scalar, an eager tensor, or bytes."""
    value = value.numpy() if hasattr(value, "numpy") else value
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value if isinstance(value, str) else int(value)


def _write(table: Lookup, ctx: Any, node: Any) -> None:
    """Write LabelEncoder where a mark stands.

    An unknown key of a table without a default gets an index beyond a Gather's data, so that
    the model fails there, as Keras does.
    """
    from tf2onnx import utils

    source, output, name = node.input[0], node.output[0], node.name
    dtype, shape = ctx.get_dtype(output), ctx.get_shape(output)
    ctx.remove_node(name)
    kinds = {str: "strings", int: "int64s"}
    keys, values = kinds[type(table.keys[0])], kinds[type(table.values[0])]
    beyond = max(table.values) + 1 if table.default is None else table.default
    default = "default_string" if values == "strings" else "default_int64"
    encoder = ctx.make_node(
        "LabelEncoder",
        [source],
        attr={f"keys_{keys}": table.keys, f"values_{values}": table.values, default: beyond},
        name=name if table.default is not None else utils.make_name(f"{name}/LabelEncoder"),
        outputs=[output] if table.default is not None else None,
        dtypes=[dtype],
        shapes=[shape],
        domain="ai.onnx.ml",
    )
    if table.default is None:
        known = ctx.make_const(utils.make_name(f"{name}/known"), np.arange(beyond, dtype=np.int64))
        ctx.make_node(
            "Gather",
            [known.output[0], encoder.output[0]],
            name=name,
            outputs=[output],
            dtypes=[dtype],
            shapes=[shape],
        )
