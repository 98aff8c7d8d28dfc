"""Markers: places in the traced graph that become ONNX nodes of ours.

A marker is a ``PyFunc`` operation, which survives freezing and inlining. Its token stands for a
description of what to compute, a dataclass; ``conversion.markers`` looks it up and writes the
nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_TOKEN = "onnxwalk-marker-"


def add_marker(
    markers: list[Any], description: Any, inputs: Sequence[Any], dtype: Any, *shapes: Any
) -> list[Any]:
    """Add a marker; returns a tensor of this dtype for each static shape in ``shapes``."""
    import tensorflow as tf

    token = f"{_TOKEN}{len(markers)}"
    markers.append(description)
    outputs = tf.raw_ops.PyFunc(input=list(inputs), token=token, Tout=[dtype] * len(shapes))
    return [tf.ensure_shape(o, shape) for o, shape in zip(outputs, shapes, strict=True)]


def find_description(token: bytes | str, markers: Sequence[Any]) -> Any:
    """The description that a PyFunc's token stands for, or None if it isn't a marker."""
    text = token.decode() if isinstance(token, bytes) else token
    return markers[int(text[len(_TOKEN) :])] if text.startswith(_TOKEN) else None
