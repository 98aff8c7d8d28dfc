"""Functions of Keras 2 that have another meaning in Keras 3."""

from __future__ import annotations

from typing import Any


def hard_sigmoid(x: Any) -> Any:
    """Keras 2's: 0.2·x + 0.5 between 0 and 1. Keras 3's has the slope 1/6."""
    from keras import ops

    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)
