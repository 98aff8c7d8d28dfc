"""The variables of a Keras model: their names, and which of them training changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnxwalk.export.tracing.names import make_unique


@dataclass(frozen=True)
class Variable:
    """A variable of the model. ``name`` is its path, numbered where two have the same.

    ``trainable``: by its gradient; ``statistic``: a moving mean or variance that training sets;
    ``is_seed``: the state of a random generator, which nothing in a file reads.
    """

    name: str
    variable: Any
    trainable: bool
    statistic: bool
    is_seed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.variable.shape)


def list_variables(model: Any) -> list[Variable]:
    """Each variable once, in Keras's order: the same for each model of one architecture."""
    import keras

    variables = list({id(v): v for v in model.variables}.values())
    trained = {id(v) for v in model.trainable_variables}
    statistics = {
        id(v)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.built and layer.trainable
        for v in (layer.moving_mean, layer.moving_variance)
    }
    seeds = {id(g.state) for layer in model._flatten_layers() for g in layer._seed_generators}
    return [
        Variable(name, v, id(v) in trained, id(v) in statistics, id(v) in seeds)
        for name, v in zip(make_unique([v.path for v in variables]), variables, strict=True)
    ]
