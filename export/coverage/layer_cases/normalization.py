"""Normalization with trained statistics, of the layers inside a network."""

from __future__ import annotations

from typing import Any

from keras import layers

from onnxwalk.export.coverage.layer_cases import Case, grid, model


def cases() -> list[Case]:
    flat, image, steps = (5,), (6, 7, 8), (None, 8)
    return [
        *grid(
            "BatchNormalization", image,
            {}, {"axis": 1}, {"axis": 2}, {"scale": False}, {"center": False},
            {"scale": False, "center": False, "epsilon": 0.1},
        ),
        *grid("BatchNormalization", flat, {}, note="flat"),
        *grid("BatchNormalization", steps, {}, note="open sizes"),
        *grid("BatchNormalization", (3, 4, 5, 6), {}, {"axis": 1}, note="volume"),
        *grid(
            "LayerNormalization", image,
            {}, {"axis": 1}, {"axis": [1, 2, 3]}, {"axis": [2, 3]}, {"scale": False},
            {"center": False}, {"epsilon": 0.1}, {"axis": (1, 3)},
        ),
        *grid("LayerNormalization", steps, {}, note="open sizes"),
        *grid("LayerNormalization", flat, {}, note="flat"),
        *grid(
            "GroupNormalization", image,
            {"groups": 2}, {"groups": 8}, {"groups": -1}, {"groups": 1},
            {"groups": 4, "scale": False}, {"groups": 4, "center": False},
            {"groups": 3, "axis": 1}, {"groups": 7, "axis": 2},
        ),
        *grid("GroupNormalization", (8,), {"groups": 4}, note="flat"),
        *grid("GroupNormalization", steps, {"groups": 2}, note="open sizes"),
        *grid("GroupNormalization", (None, None, 8), {"groups": 2}, note="open image"),
        *grid("RMSNormalization", image, {}, {"axis": [1, 2, 3]}, {"epsilon": 0.1}),
        *grid("RMSNormalization", steps, {}, note="open sizes"),
        *grid("UnitNormalization", image, {}, {"axis": 1}, {"axis": [1, 2]}, {"axis": [1, 2, 3]}),
        *grid("UnitNormalization", steps, {}, note="open sizes"),
        *(Case("SpectralNormalization", name, build) for name, build in _spectral().items()),
    ]  # fmt: skip


def _spectral() -> dict[str, Any]:
    return {
        "of Dense": lambda: model((5,), layers.SpectralNormalization(layers.Dense(4))),
        "of Conv2D, power_iterations=3": lambda: model(
            (6, 6, 3), layers.SpectralNormalization(layers.Conv2D(4, 3), power_iterations=3)
        ),
        "of Embedding": lambda: model(
            (5,), layers.SpectralNormalization(layers.Embedding(9, 4)), dtype="int32"
        ),
    }
