"""How pictures become numbers: what the caller says, else the model, else 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.constants import as_array, own_tensors
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.pixels import pixels_of_graph, stored_pixels
from onnxwalk.interpreter.runtime.feeds import HasInputs

#: pixels of a picture above which Pillow itself refuses to read one
_MOST = 178_956_970


@dataclass(frozen=True)
class Pixels:
    """Pixels from ``low`` to ``high``, then minus ``mean``, divided by ``std``: each one number,
    or one for each channel. ``bgr``: blue first.

    ``layout``: "NHWC", "NCHW", or None to see it in the input's shape. ``resize``: the shorter side
    of a picture, before anything else; ``crop``: the middle of it is cut out in the input's size,
    else it is stretched to that size. ``source``: where the range is from, "" if it was given.
    """

    low: float | None = None
    high: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    bgr: bool | None = None
    layout: str | None = None
    resize: int | None = None
    crop: bool = False
    source: str = ""

    def describe(self) -> str:
        """As a note for the user."""
        text = f"pixels {self.low:g} to {self.high:g}"
        text += f" ({self.source})" if self.source else ""
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            text += f", {name} {','.join(f'{x:g}' for x in numbers)}" if numbers else ""
        return text + (", blue first" if self.bgr else "")


def complete(given: Pixels, session: HasInputs, info: TensorInfo, dtype: np.dtype) -> Pixels:
    """The settings with what the model says, or else the default, for one input.

    Raises InvalidModelError for metadata that ONNX doesn't define.
    """
    model: Any = getattr(session, "model", None)
    expected = stored_pixels(model.metadata) if model is not None else None
    bgr = bool(expected and expected.bgr) if given.bgr is None else given.bgr
    if given.high is not None:
        return replace(given, bgr=bgr)
    if dtype.kind in "iu":  # where fractions have no place
        whole = replace(given, low=0.0, high=255.0, bgr=bgr)
        if expected is None:
            return whole
        if expected.high - expected.low > 2:
            return replace(whole, low=expected.low, high=expected.high, source=expected.source)
        said = f"the file's metadata say {expected.low:g} to {expected.high:g}"
        return replace(whole, source=f"{said}, for which {dtype} has too few numbers")
    if expected is None and dtype.kind == "b":
        return replace(given, low=0.0, high=255.0, bgr=bgr)
    if expected is None and model is not None:
        tensors = own_tensors(model.graph)

        def constant(name: str) -> np.ndarray | None:
            return as_array(tensors[name]) if name in tensors else None

        expected = pixels_of_graph(model.graph.nodes, constant, info.name)
    if expected is not None:
        found = replace(given, low=expected.low, high=expected.high, bgr=bgr)
        return replace(found, source=expected.source)
    unsaid = "" if given.mean or given.std else "the model doesn't say: --scale, --mean, --std"
    return replace(given, low=0.0, high=1.0, bgr=bgr, source=unsaid)


def to_numbers(pixels: np.ndarray, settings: Pixels, axis: int | None, wide: Any) -> np.ndarray:
    """Pixels from 0 to 255 as ``wide`` floats; ``axis`` is that of the channels."""
    low, high = settings.low or 0.0, settings.high or 0.0
    if settings.bgr and axis is not None:
        order = [2, 1, 0, *range(3, pixels.shape[axis])] if pixels.shape[axis] > 2 else [0]
        pixels = pixels.take(order, axis)
    values = pixels.astype(wide)
    if (low, high) != (0, 255):  # rounds as pixels / 255 does
        values = values * wide(high - low) / wide(255) + wide(low)
    for name, numbers in (("mean", settings.mean), ("std", settings.std)):
        if not numbers:
            continue
        column = np.array(numbers, wide)
        channels = 1 if axis is None else pixels.shape[axis]
        if column.size not in (1, channels):
            raise InvalidInputError(f"--{name}: {column.size} numbers for {channels} channels")
        if axis == 0:
            column = column.reshape(-1, 1, 1)
        values = values - column if name == "mean" else values / column
    return values


def fitted(image: Any, settings: Pixels, width: int | None, height: int | None) -> Any:
    """A Pillow image in the size that the input wants, by ``resize`` and ``crop``.

    Raises InvalidInputError if there is nothing to cut out, or no size to cut to.
    """
    from PIL import Image, ImageOps

    bilinear = Image.Resampling.BILINEAR
    if settings.resize is not None:
        factor = settings.resize / min(image.size)
        sides = [max(1, round(side * factor)) for side in image.size]
        if sides[0] * sides[1] > _MOST:
            raise InvalidInputError(
                f"--resize {settings.resize}: a picture of {image.width} × {image.height} would "
                f"have {sides[0]:,} × {sides[1]:,} pixels"
            )
        image = image.resize(sides, bilinear)
    size = (width or image.width, height or image.height)
    if image.size == size:
        return image
    if not settings.crop:
        return image.resize(size, bilinear)
    if settings.resize is None:
        return ImageOps.fit(image, size, bilinear)
    if image.width < size[0] or image.height < size[1]:
        raise InvalidInputError(
            f"--crop {size[0]} × {size[1]} of a picture of {image.width} × {image.height}: "
            f"pass a larger --resize than {settings.resize}"
        )
    left, top = ((a - b) // 2 for a, b in zip(image.size, size, strict=True))
    return image.crop((left, top, left + size[0], top + size[1]))
