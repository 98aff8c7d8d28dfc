"""The input gradients of whole image models in float32: how far from float64?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import onnxwalk
from onnxwalk.export import to_onnx
from onnxwalk.export.coverage.applications import build_application
from onnxwalk.export.coverage.layers_table import split_cells
from onnxwalk.export.coverage.random_weights import random_images
from onnxwalk.export.quiet import quiet
from tests.programs.gradients.judge import difference, file_gradients, in_float64
from tests.programs.gradients.tape import Model

NAMES = ("ResNet50", "MobileNetV2", "DenseNet121", "EfficientNetB0", "ConvNeXtTiny")
#: of the pictures
SIDE = 64
#: how much further than TensorFlow the file may be
TIMES = 4

COLUMNS = ("Model", "Side", "TensorFlow", "onnxwalk", "Ratio")


class Measured(NamedTuple):
    """The errors of the input gradient, relative to the largest."""

    name: str
    side: int
    tensorflow: float
    onnxwalk: float

    @property
    def is_right(self) -> bool:
        return self.onnxwalk <= TIMES * self.tensorflow

    def row(self) -> str:
        ratio = f"{self.onnxwalk / self.tensorflow:.2f}"
        cells = (self.name, str(self.side), f"{self.tensorflow:.1e}", f"{self.onnxwalk:.1e}", ratio)
        return f"| {' | '.join(cells)} |"


def measure(name: str, side: int = SIDE) -> Measured:
    """One application, with random weights."""

    def build() -> Any:
        return build_application(name, side=side)

    with quiet():
        return measure_model(build)._replace(name=name)


def measure_model(build: Callable[[], Any]) -> Measured:
    """A model of one input, on two random pictures."""
    keras_model = build()
    pictures = random_images(keras_model, np.random.default_rng(1))
    session = onnxwalk.load(to_onnx(keras_model, trainable=True, verify=False))
    (source,) = (value.name for value in session.inputs)
    model = Model(keras_model, {source: pictures}, with_variables=False)
    with in_float64():
        wide_model = build()
        wide_model.set_weights([x.astype(np.float64) for x in keras_model.get_weights()])
        wide = Model(wide_model, {source: pictures.astype(np.float64)}, with_variables=False)
        truth = wide.gradients([seed.astype(np.float64) for seed in model.seeds])
    found = file_gradients(session, model.feeds, model.seeds, with_variables=False)
    apart = [difference(gradients, truth) for gradients in (model.gradients(), found)]
    return Measured(keras_model.name, pictures.shape[1], *apart)


def rows_of(text: str) -> dict[str, str]:
    """Model -> its line in the page."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = {line: split_cells(line) for line in lines}
    return {c[0]: line for line, c in cells.items() if len(c) == len(COLUMNS) and c[1].isdigit()}


def format_models(rows: Mapping[str, str]) -> str:
    """The table, in the order of ``NAMES``."""
    known = {name: i for i, name in enumerate(NAMES)}
    ordered = sorted(rows, key=lambda name: (known.get(name, len(known)), name))
    head = f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}\n"
    return head + "\n".join(rows[name] for name in ordered) + "\n"
