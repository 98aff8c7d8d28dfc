"""Which numbers a model expects for the pixels of pictures: from its metadata, or from its graph.

ONNX has keys for this: ``Image.NominalPixelRange`` and ``Image.BitmapPixelFormat`` (MetadataProps,
"Image Category Definition"). ``export`` writes them where the model itself scales its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from onnxwalk.interpreter.errors import InvalidModelError

RANGE_KEY = "Image.NominalPixelRange"
FORMAT_KEY = "Image.BitmapPixelFormat"

#: the values of ``Image.NominalPixelRange``, which like the keys may be in any case
RANGES = {
    "NominalRange_0_255": (0.0, 255.0),
    "NominalRange_16_235": (16.0, 235.0),
    "Normalized_0_1": (0.0, 1.0),
    "Normalized_1_1": (-1.0, 1.0),
}
#: those of ``Image.BitmapPixelFormat``: whether blue comes first
FORMATS = {"Gray8": False, "Rgb8": False, "Bgr8": True, "Rgba8": False, "Bgra8": True}

#: operators that leave a picture of one colour what it is, with ONNX's own or other axes and sizes
_MOVING = frozenset(
    "AveragePool Cast CenterCropPad Dropout Gather Identity MaxPool Reshape Resize Slice Transpose "
    "Unsqueeze".split()
)
#: a network's first layer doesn't get numbers as large as this from layers that scale its pixels
_MUCH = 16.0


@dataclass(frozen=True)
class Expected:
    """Pixels from ``low`` to ``high``; ``bgr``: blue first. ``source`` says where that is from."""

    low: float
    high: float
    bgr: bool
    source: str


#: factor (C,) or (1,), and shift likewise
Form = tuple[np.ndarray, np.ndarray]


class GraphNode(Protocol):
    """A node of ``ir.model``."""

    @property
    def op_type(self) -> str: ...
    @property
    def inputs(self) -> Any: ...
    @property
    def outputs(self) -> Any: ...


def stored_pixels(metadata: Mapping[str, str]) -> Expected | None:
    """What a model's metadata say of the pixels of its pictures; None if they say nothing.

    Raises InvalidModelError for values that ONNX doesn't define.
    """
    given = {key.lower(): value.lower() for key, value in metadata.items()}
    limits = _choose(given, RANGE_KEY, RANGES)
    is_bgr = _choose(given, FORMAT_KEY, FORMATS)
    if limits is None:
        return None
    low, high = limits
    return Expected(low, high, bool(is_bgr), "as the file's metadata say")


def _choose(given: Mapping[str, str], key: str, known: Mapping[str, Any]) -> Any:
    """What a key stands for; None if it isn't there."""
    if key.lower() not in given:
        return None
    for name, meaning in known.items():
        if given[key.lower()] == name.lower():
            return meaning
    text = given[key.lower()]
    raise InvalidModelError(f"metadata {key}: {text!r:.80} is none of {', '.join(known)}")


def pixels_of_graph(
    nodes: Iterable[GraphNode], constant: Callable[[str], np.ndarray | None], name: str
) -> Expected | None:
    """The range of pixels that the first nodes after an input are made for: those that scale and
    shift (Rescaling and Normalization of Keras, means and deviations of others). None if they
    don't, or if both ranges would fit.

    ``nodes``: in an order in which they can be run. ``constant``: the numbers that a name stands
    for; None if it isn't a constant.
    """
    # What becomes of a picture of one colour x: factor·x + shift. Resizing leaves it as it is.
    forms: dict[str, Form] = {name: (np.ones(1), np.zeros(1))}
    results: list[Form] = []
    names: list[str] = []
    for node in nodes:
        if node.op_type == "Shape" or forms.keys().isdisjoint(node.inputs):
            continue
        form = _form(node, constant, forms)
        if form is None:
            results += [forms[read] for read in node.inputs if read in forms]
            continue
        before = [forms[read] for read in node.inputs if read in forms]
        if not _is_zero(form) and not any(_are_equal(form, other) for other in before):
            names.append(node.op_type)
        forms[node.outputs[0]] = form
    if not names or not results:
        return None
    source = f"as its first nodes, {', '.join(names)}, are made for"
    found = {_limits(*form) for form in results if form[0].any()}
    limits = found.pop() if len(found) == 1 else None
    return None if limits is None else Expected(*limits, False, source)


def _limits(factor: np.ndarray, shift: np.ndarray) -> tuple[float, float] | None:
    if np.abs(shift).max() >= _MUCH or (np.abs(factor) * 255 + np.abs(shift)).max() <= _MUCH:
        return 0.0, 255.0
    if np.abs(factor).min() >= 2:  # by deviations of at most a half
        return 0.0, 1.0
    return None


def _form(
    node: GraphNode, constant: Callable[[str], np.ndarray | None], forms: Mapping[str, Form]
) -> Form | None:
    """The form of a node's result; None if it has none, as that of a convolution."""
    if node.op_type in _MOVING:
        return forms.get(node.inputs[0])
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    known = [forms[read] for read in node.inputs if read in forms]
    if node.op_type == "Mul" and any(map(_is_zero, known)):
        return np.zeros(1), np.zeros(1)  # the weights of an interpolation, times a difference
    sides = [forms.get(read) or _constant_form(constant(read)) for read in node.inputs]
    if None in sides:
        return None
    (a, c), (b, d) = sides  # type: ignore[misc]
    if max(a.size, b.size) > 1 < min(a.size, b.size) and a.size != b.size:
        return None
    if node.op_type == "Add":
        return a + b, c + d
    if node.op_type == "Sub":
        return a - b, c - d
    if node.op_type == "Mul":
        return None if a.any() and b.any() else (a * d + b * c, c * d)
    return None if b.any() or not d.all() else (a / d, c / d)


def _constant_form(numbers: np.ndarray | None) -> Form | None:
    """A number for all pixels, or one for each channel."""
    if numbers is None or numbers.dtype.kind not in "iuf" or not 1 <= numbers.size <= 4:
        return None
    values = numbers.reshape(-1).astype(np.float64)
    return (np.zeros(values.size), values) if np.isfinite(values).all() else None


def _is_zero(form: Form) -> bool:
    return not form[0].any() and not form[1].any()


def _are_equal(one: Form, other: Form) -> bool:
    return all(map(np.array_equal, one, other))
