"""Configurations of every layer in ``keras.layers``: what the table and the tests run.

Each module of this folder covers a family: its ``cases()`` returns a list of ``Case``. The modules
import Keras, and are imported by ``all_cases()``. (A module whose name begins with an underscore
only helps the others.)
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.export.coverage.random_weights import randomize

Builder = Callable[[], Any]
Inputs = Callable[[np.random.Generator], list[Any]]


@dataclass(frozen=True)
class Case:
    """One configuration of a layer, in a model that can be built again and again."""

    layer: str  # its name in keras.layers
    label: str
    build: Builder  # -> keras.Model, weights set
    inputs: Inputs | None = None  # None: ``make_random_inputs``
    refused: str | None = None  # a pattern of the error message, if the case must be refused


def all_cases() -> dict[str, list[Case]]:
    """Layer -> its cases, of all modules of this folder."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{n}") for n in names if not n.startswith("_")]
    return group_by_layer(case for module in modules for case in module.cases())


def group_by_layer(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """Layer -> its cases, sorted by the layers' names."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.layer, []).append(case)
    return dict(sorted(found.items()))


def layer_names() -> list[str]:
    """The public classes of ``keras.layers`` that are layers, each under one name."""
    import keras

    names: dict[type, str] = {}
    for name in sorted(vars(keras.layers)):
        value = getattr(keras.layers, name)
        if isinstance(value, type) and issubclass(value, keras.layers.Layer):
            known = names.get(value)
            if known is None or name == value.__name__:  # MaxPool2D is MaxPooling2D
                names[value] = name
    return sorted(names.values())


def grid(
    layer: str,
    shape: Any,
    *settings: dict[str, Any],
    dtype: str = "float32",
    inputs: Inputs | None = None,
    refused: str | None = None,
    note: str = "",
    **shared: Any,
) -> list[Case]:
    """A case for each of ``settings``: the layer with those arguments and ``shared`` ones.

    ``shape``: without the batch, of the input; or a list of them, for a layer that takes a list.
    """

    def case(arguments: dict[str, Any]) -> Case:
        def build() -> Any:
            import keras

            return model(shape, getattr(keras.layers, layer)(**shared, **arguments), dtype=dtype)

        label = ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())
        label = ", ".join(filter(None, (note, label))) or "as it is"
        return Case(layer, label, build, inputs, refused)

    return [case(arguments) for arguments in settings or ({},)]


def open_sizes(layer: str, shape: tuple[int, ...], *settings: Any, **options: Any) -> list[Case]:
    """``grid`` with every dimension of ``shape`` open but the last."""
    opened = (*(None for _ in shape[:-1]), shape[-1])
    return grid(layer, opened, *settings, note="open sizes", **options)


def channels_first(
    layer: str, shape: tuple[int, ...], *settings: Any, **options: Any
) -> list[Case]:
    """``grid`` with the channels, the last dimension of ``shape``, in front."""
    options |= {"data_format": "channels_first", "note": "channels_first"}
    return grid(layer, shape[-1:] + shape[:-1], *settings, **options)


def model(shape: Any, layer: Any, *, dtype: str = "float32") -> Any:
    """The functional model of one layer (or any function of tensors), with random weights."""
    import keras

    if isinstance(shape, list):
        given: Any = [keras.Input(s, name=f"x{i}", dtype=dtype) for i, s in enumerate(shape)]
    else:
        given = keras.Input(shape, name="x", dtype=dtype)
    return randomize(keras.Model(given, layer(given)))


def random_weight_cases(layer: str, builders: Iterable[tuple[str, Builder]]) -> list[Case]:
    """A case for each (label, builder), with weights that don't saturate every gate."""

    def case(label: str, build: Builder) -> Case:
        return Case(layer, label, lambda: randomize(build(), scale=0.4))

    return [case(label, build) for label, build in builders]


def uniform(*shape: int, low: float = 0.0, high: float = 255.0, dtype: str = "float32") -> Inputs:
    """Inputs of one tensor, uniformly distributed in [low, high)."""
    return lambda rng: [rng.uniform(low, high, shape).astype(dtype)]


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value
    return getattr(value, "__name__", None) or str(value)
