"""Activations, as layers and as ``keras.activations``."""

from __future__ import annotations

import keras
from keras import layers

from onnxwalk.export.coverage.layer_cases import Case, grid, uniform

#: what is in keras.activations and isn't one
_OTHERS = ("deserialize", "get", "serialize", "threshold")  # threshold has no defaults


def cases() -> list[Case]:
    shape = (7, 4)
    wide = uniform(5, *shape, low=-12, high=12)
    names = [n for n in vars(keras.activations) if not n.startswith("_") and n not in _OTHERS]
    return [
        *grid("Activation", shape, *({"activation": n} for n in sorted(names)), inputs=wide),
        *grid(
            "Activation", (None, 4), *({"activation": n} for n in ("softmax", "glu", "sparsemax")),
            note="open sizes",
        ),
        *grid("ELU", shape, {}, {"alpha": 0.3}, inputs=wide),
        *grid("LeakyReLU", shape, {}, {"negative_slope": 0.01}, inputs=wide),
        *grid("PReLU", shape, {}, {"shared_axes": [1]}, {"shared_axes": [1, 2]}),
        *grid("PReLU", (None, None, 4), {"shared_axes": [1, 2]}, note="open sizes"),
        *grid(
            "ReLU", shape,
            {}, {"max_value": 6}, {"negative_slope": 0.1}, {"threshold": 1},
            {"max_value": 3, "negative_slope": 0.2, "threshold": 0.5},
            inputs=wide,
        ),
        *grid("Softmax", shape, {}, {"axis": 1}, {"axis": -2}, {"axis": [1, 2]}, inputs=wide),
        *grid("Softmax", (None, 4), {}, {"axis": 1}, note="open sizes"),
        *_masked_softmax(),
    ]  # fmt: skip


def _masked_softmax() -> list[Case]:
    from onnxwalk.export.coverage.layer_cases import model

    def masked(given):
        x, mask = given
        return layers.Softmax()(x, mask=mask > 0)

    return [Case("Softmax", "mask", lambda: model([(4, 5), (4, 5)], masked))]
