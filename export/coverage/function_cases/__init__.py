"""Calls of every function in ``keras.ops``, ``keras.activations`` and ``keras.losses``.

Each module of this folder covers a family: its ``cases()`` returns a list of ``FunctionCase``. A
case is a model of one call, for one dtype, and the values that it is fed with (see ``values``).
The modules import Keras, and are imported by ``all_cases()``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.coverage.function_cases.values import ANY, Values

FLOATS = ("float32", "float16", "bfloat16", "float64")
SIGNED = ("int32", "int8", "int16", "int64")
INTS = (*SIGNED, "uint8", "uint16", "uint32")
NUMBERS = FLOATS + INTS
TYPES = (*NUMBERS, "bool")

#: keyword arguments, or a label and a body of (function, *tensors)
Call = Mapping[str, Any] | tuple[str, Callable[..., Any]]

#: modules whose public functions are covered -> the prefix of their names in the table
MODULES = {
    "keras.ops": "",
    "keras.ops.image": "image.",
    "keras.activations": "activations.",
    "keras.losses": "losses.",
}
#: what is public there and computes nothing
NOT_FUNCTIONS = {
    *(f"{prefix}.{name}" for prefix in ("activations", "losses") for name in
      ("deserialize", "get", "serialize")),
    "losses.Loss",
}  # fmt: skip


@dataclass(frozen=True)
class Given:
    """An input: its shape without the batch, its dtype (None: the case's) and its values."""

    shape: tuple[int, ...] = (2, 3)
    dtype: str | None = None
    values: Values = ANY


@dataclass(frozen=True)
class FunctionCase:
    """One call of a function of one dtype, as a model of these inputs."""

    function: str  # its name in the table
    label: str
    dtype: str
    given: tuple[Given, ...]
    body: Callable[..., Any] = field(repr=False)  # (function, *tensors) -> outputs
    inside: bool  # called within a layer, on TensorFlow's tensors
    refused: str | None = None  # a pattern of the error message, if the case must be refused
    opset: int | None = None
    empty: bool = True  # whether an empty batch is fed

    def build(self) -> Any:
        """The functional model of the call."""
        import keras

        inputs = [
            keras.Input(g.shape, dtype=g.dtype or self.dtype, name=f"x{i}")
            for i, g in enumerate(self.given)
        ]
        function = find_function(self.function)
        if not self.inside:
            return keras.Model(inputs, self.body(function, *inputs))
        usual = self.feeds()["random values"]
        return keras.Model(inputs, _layer(lambda *x: self.body(function, *x), usual)(inputs))

    def feeds(self) -> dict[str, list[NDArray[Any]]]:
        """What is fed -> an array for each input."""
        rng = np.random.default_rng(0)
        kinds = [(g.shape, g.dtype or self.dtype, g.values) for g in self.given]
        usual = [values.usual((6, *shape), dtype, rng) for shape, dtype, values in kinds]
        found = {"random values": usual, "one row": [x[:1] for x in usual]}
        if self.empty:
            found["no row"] = [x[:0] for x in usual]
        sets = [values.special(dtype) for _, dtype, values in kinds]
        if any(special is not None for special in sets):
            found["special values"] = _combine(usual, sets)
            found["some special values"] = [
                _scatter(x, special, rng) for x, special in zip(usual, sets, strict=True)
            ]
        return found


def all_cases() -> dict[str, list[FunctionCase]]:
    """Function -> its cases, of all modules of this folder, sorted by name."""
    found: dict[str, list[FunctionCase]] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        if module != "values":
            for case in importlib.import_module(f"{__name__}.{module}").cases():
                found.setdefault(case.function, []).append(case)
    return dict(sorted(found.items()))


def function_names() -> list[str]:
    """The public functions of ``MODULES``, and the classes of losses, as the table names them."""
    found = set()
    for module, prefix in MODULES.items():
        for name, value in vars(importlib.import_module(module)).items():
            if not name.startswith("_") and callable(value) and not inspect.ismodule(value):
                found.add(prefix + name)
    top = {name for name in found if "." not in name}
    return sorted(
        name
        for name in found - NOT_FUNCTIONS
        if not (name.startswith("image.") and name.removeprefix("image.") in top)
    )


def find_function(name: str) -> Any:
    """The function (or the class of a loss) that the table names so."""
    for module, prefix in reversed(MODULES.items()):
        if name.startswith(prefix):
            return getattr(importlib.import_module(module), name.removeprefix(prefix))
    raise KeyError(name)


def calls(
    names: str,
    *settings: Call,
    given: Sequence[Given] = (Given(),),
    dtypes: Sequence[str] = NUMBERS,
    few: Sequence[str] = ("float32", "int32"),
    inside: bool | None = None,
    refused: str | None = None,
    empty: bool = True,
    note: str = "",
) -> list[FunctionCase]:
    """Cases of functions: the first of ``settings`` in every dtype, the others in ``few`` of them.

    A setting is the keyword arguments of the call, or a label and a body of (function, *tensors).
    ``inside``: whether it is called within a layer; None: bodies, activations and losses are.
    """
    found = []
    for name in names.split():
        for number, setting in enumerate(settings or ({},)):
            label, body = _read(setting)
            within = isinstance(setting, tuple) or "." in name if inside is None else inside
            label = ", ".join(filter(None, (note, label)))
            chosen = [t for t in few if t in dtypes] or list(dtypes[:1]) if number else dtypes
            found += [
                FunctionCase(name, label, dtype, tuple(given), body, within, refused, empty=empty)
                for dtype in chosen
            ]
    return found


def _layer(body: Callable[..., Any], sample: list[NDArray[Any]]) -> Any:
    """A layer that calls ``body``; it finds the shapes of its results by calling it on samples."""
    import keras

    class Call(keras.layers.Layer):
        def call(self, tensors: Any) -> Any:
            return body(*tensors)

        def compute_output_spec(self, tensors: Any) -> Any:
            two, three = (
                body(*(keras.ops.convert_to_tensor(x[:n]) for x in sample)) for n in (2, 3)
            )
            return keras.tree.map_structure(
                lambda a, b: keras.KerasTensor(
                    [m if m == n else None for m, n in zip(a.shape, b.shape, strict=True)],
                    a.dtype.name,
                ),
                two,
                three,
            )

    return Call(name="call", autocast=False)


def _read(setting: Call) -> tuple[str, Callable[..., Any]]:
    if isinstance(setting, tuple):
        return setting
    label = ", ".join(f"{k}={getattr(v, '__name__', v)}" for k, v in setting.items())
    return label, lambda function, *tensors: function(*tensors, **setting)


def _combine(usual: list[NDArray[Any]], sets: list[Any], most: int = 4096) -> list[NDArray[Any]]:
    """Every special value of an input with every one of the others; usual ones for inputs without.

    At most ``most`` elements for each input.
    """
    sizes = [len(s) if s is not None else 1 for s in sets]
    row = min(int(np.prod(x.shape[1:])) for x in usual)
    rows = min(-(-int(np.prod(sizes)) // max(row, 1)), most // max(row, 1))
    found, stride = [], 1
    for x, special, size in zip(usual, sets, sizes, strict=True):
        if special is None:
            found.append(np.resize(x, (rows, *x.shape[1:])))
            continue
        places = np.arange(rows * int(np.prod(x.shape[1:]))) // stride % size
        found.append(special[places].reshape(rows, *x.shape[1:]))
        stride *= size
    return found


def _scatter(x: NDArray[Any], special: Any, rng: np.random.Generator) -> NDArray[Any]:
    """A special value in the place of every sixth one."""
    if special is None:
        return x
    return np.where(rng.random(x.shape) < 1 / 6, rng.choice(special, x.shape), x)
