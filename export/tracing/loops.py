"""Functions of Keras that loop or choose: from what becomes Loop and If.

Each function computes the same as the one of Keras that it replaces (see ``patches``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onnxwalk.export.tracing.record import Record


def scan(
    original: Any,
    record: Record,
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> Any:
    """(carry, x of a step) -> (carry, y), over the first axis; a loop that carries tensors.

    Keras keeps the carry in arrays of one element, which tf2onnx can't follow. Backwards is
    forwards over what is turned around.
    """
    import keras
    import tensorflow as tf

    tree = keras.tree
    rows = [tf.convert_to_tensor(x) for x in tree.flatten(xs)]
    count = int(length) if length is not None else rows[0].shape[0]
    count = tf.shape(rows[0])[0] if count is None else count
    if reverse:
        rows = [tf.reverse(x, [0]) for x in rows]
    carry = [tf.convert_to_tensor(x) for x in tree.flatten(init)]
    results = [tf.TensorArray(x.dtype, size=count, element_shape=x.shape) for x in carry]

    def step(i: Any, carry: Any, results: Any) -> Any:
        given = tree.pack_sequence_as(xs, [tf.gather(x, i) for x in rows]) if rows else None
        carry, ys = f(tree.pack_sequence_as(init, carry), given)
        written = [r.write(i, y) for r, y in zip(results, tree.flatten(ys), strict=True)]
        return i + 1, tree.flatten(carry), written

    _, carry, results = tf.while_loop(
        lambda i, *_: i < count, step, (tf.constant(0), carry, results)
    )
    stacked = [result.stack() for result in results]
    if reverse:
        stacked = [tf.reverse(x, [0]) for x in stacked]
    return tree.pack_sequence_as(init, carry), tree.pack_sequence_as(init, stacked)


def switch(
    original: Any,
    record: Record,
    index: Any,
    branches: Sequence[Callable[..., Any]],
    *operands: Any,
) -> Any:
    """Conditions within conditions; an index out of range means the first or the last branch."""
    import keras
    import tensorflow as tf

    index = keras.ops.convert_to_tensor(index, "int32")

    def choose(low: int) -> Any:
        if low == len(branches) - 1:
            return branches[low](*operands)
        return tf.cond(index <= low, lambda: branches[low](*operands), lambda: choose(low + 1))

    return choose(0)


def cond(
    original: Any,
    record: Record,
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    name: str | None = None,
) -> Any:
    """A condition that is known while tracing is no If: inside of its branches tf2onnx wouldn't
    know the constants from outside, such as the axis of a Concat in ``associative_scan``."""
    import tensorflow as tf

    known = tf.get_static_value(pred)
    if known is None or true_fn is None or false_fn is None:
        return original(pred, true_fn, false_fn, name=name)
    return true_fn() if known else false_fn()


def gcd(original: Any, record: Record, x1: Any, x2: Any) -> Any:
    """The greatest common divisor, of open sizes too: (a, b) becomes (b, a mod b) until b is 0."""
    import keras
    import tensorflow as tf

    dtype = keras.backend.result_type(x1.dtype, x2.dtype)
    a, b = tf.cast(x1, dtype), tf.cast(x2, dtype)
    if dtype.startswith("int"):
        a, b = tf.abs(a), tf.abs(b)
    a, b = a + tf.zeros_like(b), b + tf.zeros_like(a)

    def step(a: Any, b: Any) -> Any:
        done = tf.equal(b, 0)
        rest = tf.math.floormod(a, tf.where(done, tf.ones_like(b), b))
        return tf.where(done, a, b), tf.where(done, b, rest)

    return tf.while_loop(lambda a, b: tf.reduce_any(tf.not_equal(b, 0)), step, (a, b))[0]
