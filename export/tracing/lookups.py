"""StringLookup and IntegerLookup leave a marker in the traced graph, which becomes LabelEncoder.

Their tables live outside of the graph and are lost when it is frozen, so the table is read while
tracing and goes with the marker; masks and inverted look-ups are
ordinary entries. Everything after the table (one-hot, counts, weights) is traced as usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnxwalk.export.errors import ExportError
from onnxwalk.export.tracing.markers import add_marker
from onnxwalk.export.tracing.record import Record


@dataclass(frozen=True)
class Lookup:
    """A table: keys and values are lists of one length, of int or of str."""

    keys: list[Any]
    values: list[Any]
    default: Any  # None: a key that isn't there is an error


def check_hashing(layer: Any) -> None:
    """Raise ExportError if a lookup layer distributes unknown keys by a hash."""
    from keras.layers import StringLookup

    hashes = getattr(layer, "oov_method", None) == "farmhash" or isinstance(layer, StringLookup)
    if layer.num_oov_indices > 1 and not layer.invert and hashes:
        raise ExportError(
            f"layer {layer.name}: num_oov_indices={layer.num_oov_indices} needs a hash that ONNX "
            "doesn't have: set it to 1, or look up in the data pipeline"
        )


def lookup_dense(original: Any, record: Record, layer: Any, inputs: Any) -> Any:
    """``IndexLookup._lookup_dense``, from a marker for the table."""
    import tensorflow as tf

    check_hashing(layer)
    with tf.init_scope():
        keys, values = (_listed(part) for part in layer.lookup_table.export())
    entries = dict(zip(keys, values, strict=True))
    if layer.mask_token is not None:
        entries[_to_python(layer._mask_key)] = _to_python(layer._mask_value)
    default = _to_python(layer._default_value)
    if layer.num_oov_indices == 0 and not layer.invert:
        default = None
    table = Lookup(list(entries), list(entries.values()), default)
    for name in record.find_inputs(inputs):
        record.keys.setdefault(name, []).extend(table.keys)
        if table.default is None:
            record.known_only.add(name)
    value_dtype = tf.as_dtype(layer._value_dtype)
    raw = tf.string if value_dtype == tf.string else tf.int64
    (result,) = add_marker(record.markers, table, [inputs], raw, inputs.shape)
    result = tf.cast(result, value_dtype)
    if layer.num_oov_indices > 1 and not layer.invert:
        spread = tf.math.floormod(inputs, layer.num_oov_indices) + layer._oov_start_index()
        unknown = tf.equal(result, tf.cast(layer._default_value, result.dtype))
        result = tf.where(unknown, tf.cast(spread, result.dtype), result)
    return result


def _listed(tensor: Any) -> list[Any]:
    return [_to_python(value) for value in tensor.numpy()]


def _to_python(value: Any) -> Any:
    """An int or a str, of a NumPy scalar, an eager tensor, or bytes."""
    value = value.numpy() if hasattr(value, "numpy") else value
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value if isinstance(value, str) else int(value)
