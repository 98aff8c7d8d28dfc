"""A place in the traced graph where a function of ours will write ONNX nodes.

``mark`` writes one ``PyFunc`` operation with a token; the converter looks the token up and calls
the writer with tf2onnx's graph and that node. The operation survives freezing and inlining.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_TOKEN = "onnxwalk-mark-"

#: writes ONNX nodes in the place of a PyFunc: (tf2onnx's graph, the node) -> None
Writer = Callable[[Any, Any], None]


def mark(writers: list[Writer], writer: Writer, inputs: Sequence[Any], dtype: Any, shape: Any):
    """A tensor of that dtype and static shape, which ``writer`` will have to produce."""
    import tensorflow as tf

    token = f"{_TOKEN}{len(writers)}"
    writers.append(writer)
    (output,) = tf.raw_ops.PyFunc(input=list(inputs), token=token, Tout=[dtype])
    return tf.ensure_shape(output, shape)


def writer_of(node: Any, writers: Sequence[Writer]) -> Writer | None:
    """The writer that a PyFunc's token means, or ``None`` when the PyFunc isn't ours."""
    token = node.get_attr_value("token")
    token = token if isinstance(token, str) else token.decode()
    return writers[int(token[len(_TOKEN) :])] if token.startswith(_TOKEN) else None


def nodes_under(ctx: Any, node: Any) -> Any:
    """A function (kind, inputs, **attributes) -> output that adds nodes named after ``node``."""
    from tf2onnx import utils

    def add(kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = utils.make_name(f"{node.name}/{kind}")
        return ctx.make_node(kind, list(inputs), attr=attributes, name=name).output[0]

    return add


def replace(ctx: Any, node: Any, kind: str, inputs: Sequence[str], **attributes: Any) -> None:
    """A node of one output takes the place, the name and the output of ``node``."""
    outputs, name = list(node.output), node.name
    dtypes, shapes = [ctx.get_dtype(o) for o in outputs], [ctx.get_shape(o) for o in outputs]
    ctx.remove_node(name)
    ctx.make_node(
        kind,
        list(inputs),
        attr=attributes,
        name=name,
        outputs=outputs,
        dtypes=dtypes,
        shapes=shapes,
    )
