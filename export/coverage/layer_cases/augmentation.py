"""Augmentation in inference: most of it lets images through; some crops and rescales."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from onnxwalk.export.coverage.layer_cases import (
    Case,
    channels_first,
    grid,
    model,
    open_sizes,
    uniform,
)

_SHAPE = (8, 10, 3)

#: layer -> its arguments
_RANDOM: dict[str, dict[str, Any]] = {
    "AugMix": {},
    "AutoContrast": {},
    "ContrastLimitedAdaptiveHistogramEqualization": {"tile_grid_size": (2, 2)},
    "CutMix": {},
    "MixUp": {},
    "RandAugment": {},
    "RandomBrightness": {"factor": 0.2},
    "RandomColorDegeneration": {"factor": 0.2},
    "RandomColorJitter": {"brightness_factor": 0.2},
    "RandomContrast": {"factor": 0.2},
    "RandomElasticTransform": {},
    "RandomErasing": {},
    "RandomFlip": {},
    "RandomGaussianBlur": {},
    "RandomGrayscale": {},
    "RandomHue": {"factor": 0.2},
    "RandomInvert": {},
    "RandomPerspective": {},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.2},
    "RandomSaturation": {"factor": 0.2},
    "RandomSharpness": {"factor": 0.2},
    "RandomShear": {"x_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
    "Solarization": {},
}


def cases() -> list[Case]:
    images = uniform(3, *_SHAPE)
    found: list[Case] = []
    for name, arguments in _RANDOM.items():
        found += grid(name, _SHAPE, arguments, inputs=images)
    for name in ("CenterCrop", "RandomCrop"):
        sizes = [{"height": h, "width": w} for h, w in ((4, 6), (5, 5), (8, 10), (7, 3))]
        found += grid(name, _SHAPE, *sizes, inputs=images)
        found += grid(name, _SHAPE, {"height": 12, "width": 16}, inputs=images, note="larger")
        found += channels_first(name, _SHAPE, sizes[0], inputs=uniform(3, 3, 8, 10))
    found.append(Case("Pipeline", "of preprocessing layers", _pipeline, images))
    found.append(Case("MaxNumBoundingBoxes", "of images and boxes", _boxes))
    found.append(Case("Equalization", "subclassed model", _equalized, images))
    return found + open_sizes("CenterCrop", _SHAPE, *sizes[:2], inputs=images)


def _equalized() -> Any:
    """Keras 3.15 can't build a functional model of Equalization: it calls its output its input."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Equalization()

        def call(self, x, training=False):
            return self.inner(x, training=training)

    net = Net()
    net(np.zeros((1, *_SHAPE), np.float32))
    return net


def _pipeline() -> Any:
    parts = [layers.RandomFlip(), layers.CenterCrop(6, 6), layers.Rescaling(1 / 255)]
    return model(_SHAPE, layers.Pipeline(parts))


def _boxes() -> Any:
    given = {
        "images": keras.Input(_SHAPE, name="images"),
        "bounding_boxes": {
            "boxes": keras.Input((5, 4), name="boxes"),
            "labels": keras.Input((5,), name="labels"),
        },
    }
    layer = keras.layers.MaxNumBoundingBoxes(max_number=3, bounding_box_format="xyxy")
    return keras.Model(given, layer(given))
