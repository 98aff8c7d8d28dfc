"""A place in the traced graph where ONNX nodes of ours will stand.

``add_marker`` writes one ``PyFunc`` operation, which survives freezing and inlining, with a token that
stands for a description of what to compute: a dataclass. ``conversion.markers`` looks the token up
and writes the nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_TOKEN = "onnxwalk-marker-"


def add_marker(
    markers: list[Any], description: Any, inputs: Sequence[Any], dtype: Any, *shapes: Any
) -> list[Any]:
    """Tensors of that dtype and those static shapes, one for each of ``shapes``."""
    import tensorflow as tf

    token = f"{_TOKEN}{len(markers)}"
    markers.append(description)
    outputs = tf.raw_ops.PyFunc(input=list(inputs), token=token, Tout=[dtype] * len(shapes))
    return [tf.ensure_shape(o, shape) for o, shape in zip(outputs, shapes, strict=True)]


def find_description(token: bytes | str, markers: Sequence[Any]) -> Any:
    """What the token of a PyFunc stands for, or None when the PyFunc isn't ours."""
    text = token.decode() if isinstance(token, bytes) else token
    return markers[int(text[len(_TOKEN) :])] if text.startswith(_TOKEN) else None
