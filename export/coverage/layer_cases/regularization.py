"""Layers that act in training only."""

from __future__ import annotations

from onnxwalk.export.coverage.layer_cases import Case, grid


def cases() -> list[Case]:
    return [
        *grid("ActivityRegularization", (3, 4), {"l1": 0.1, "l2": 0.1}),
        *grid("AlphaDropout", (3, 4), {"rate": 0.3}),
        *grid("Dropout", (3, 4), {"rate": 0.3}, {"rate": 0.3, "noise_shape": (None, 1, 4)}),
        *grid("GaussianDropout", (3, 4), {"rate": 0.3}),
        *grid("GaussianNoise", (3, 4), {"stddev": 0.3}),
        *grid("SpatialDropout1D", (3, 4), {"rate": 0.3}),
        *grid("SpatialDropout2D", (3, 4, 2), {"rate": 0.3}),
        *grid("SpatialDropout3D", (3, 4, 2, 2), {"rate": 0.3}),
    ]
