"""Configurations of every layer in ``keras.layers``: what the table and the tests run.

Each module of this folder covers a family: its ``cases()`` returns a list of ``Case``. Keras is
imported when ``cases()`` is called.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Inputs = Callable[[np.random.Generator], list[Any]]


@dataclass(frozen=True)
class Case:
    """One configuration of a layer, in a model that can be built again and again."""

    layer: str  # its name in keras.layers
    label: str
    build: Callable[[], Any]  # -> keras.Model, weights set
    inputs: Inputs | None = None  # None: as onnxwalk.export.verify makes them
    refused: str | None = None  # must be refused, and this is part of what is said


def all_cases() -> dict[str, list[Case]]:
    """Layer -> its cases, of all modules of this folder."""
    found: dict[str, list[Case]] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        for case in importlib.import_module(f"{__name__}.{module.name}").cases():
            found.setdefault(case.layer, []).append(case)
    for name, cases in _recurrent().items():
        found.setdefault(name, []).extend(Case(name, label, build) for label, build in cases)
    return dict(sorted(found.items()))


def _recurrent() -> dict[str, list[tuple[str, Callable[[], Any]]]]:
    """The cases of recurrent layers and of masks, which have a file of their own."""
    try:
        from onnxwalk.export.coverage.layer_cases_recurrent import CASES
    except ModuleNotFoundError:
        return {}
    return CASES


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


def model(shape: Any, layer: Any, *, dtype: str = "float32") -> Any:
    """The functional model of one layer (or any function of tensors), with random weights."""
    import keras

    from onnxwalk.export.study.assignment import randomize

    if isinstance(shape, list):
        given: Any = [keras.Input(s, name=f"x{i}", dtype=dtype) for i, s in enumerate(shape)]
    else:
        given = keras.Input(shape, name="x", dtype=dtype)
    return randomize(keras.Model(given, layer(given)))


def uniform(*shape: int, low: float = 0.0, high: float = 255.0, dtype: str = "float32") -> Inputs:
    """Inputs of one tensor, evenly spread in [low, high): images, or what covers a function."""
    return lambda rng: [rng.uniform(low, high, shape).astype(dtype)]


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value
    return getattr(value, "__name__", None) or str(value)
