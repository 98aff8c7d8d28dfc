"""Pictures that were decoded elsewhere, as by a browser, and resized here as Pillow does it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.rows.arrays import ArrayRows
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.images import arranged, find_layout
from onnxwalk.interpreter.rows.pixels import Pixels, complete, fitted
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.tables.convert import declared_dtype

_BITS = 22  # of the fraction of Pillow's weights


class Decoded:
    """Pixels (H, W) or (H, W, C) of uint8, with what ``fitted`` needs of Pillow's images, equal to
    the last bit."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    @property
    def width(self) -> int:
        return self._pixels.shape[1]

    @property
    def height(self) -> int:
        return self._pixels.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def resize(
        self, size: Sequence[int], filter: int, box: Sequence[float] | None = None
    ) -> Decoded:
        """Bilinear, whatever the filter: each pixel is a mean of those that it covers."""
        left, top, right, bottom = np.array(box or (0, 0, *self.size), np.float32)  # as Pillow's
        pixels = self._pixels
        fewer_columns, fewer_rows = self.width - size[0], self.height - size[1]
        passes = [(1, size[0], left, right), (0, size[1], top, bottom)]
        # The order shows in the last bit. Since version 13 Pillow begins with the rows where that
        # leaves much less to do.
        if fewer_rows > 0 and fewer_rows > 2 * fewer_columns:
            passes.reverse()
        for axis, new, low, high in passes:
            if (low, high) != (0, pixels.shape[axis]) or new != pixels.shape[axis]:
                pixels = _resampled(pixels, axis, new, low, high)
        return Decoded(pixels)

    def crop(self, box: Sequence[int]) -> Decoded:
        left, top, right, bottom = box
        return Decoded(self._pixels[top:bottom, left:right])

    def convert(self, channels: int) -> Decoded:
        """Of RGBA: as many channels; one channel is the luminance."""
        if channels != 1:
            return Decoded(self._pixels[:, :, :channels])
        red, green, blue = np.moveaxis(self._pixels[:, :, :3].astype(np.int64), -1, 0)
        grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
        return Decoded(grey.astype(np.uint8))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._pixels, dtype)


def _resampled(
    pixels: np.ndarray, axis: int, size: int, low: np.float32, high: np.float32
) -> np.ndarray:
    """The part from ``low`` to ``high`` of an axis in another size."""
    scale, start = float(high - low) / size, float(low)
    width = max(scale, 1.0)  # half the width of a triangle
    count = pixels.shape[axis]
    result = []
    for k in range(size):
        center = start + (k + 0.5) * scale
        first = max(int(center - width + 0.5), 0)
        last = min(int(center + width + 0.5), count)
        places = np.arange(first, last)
        weights = np.maximum(1 - np.abs((places - center + 0.5) * (1 / width)), 0)
        weights = weights / _sum_in_order(weights)
        whole = np.trunc(weights * (1 << _BITS) + 0.5).astype(np.int64)
        part = pixels.take(places, axis).astype(np.int64)
        result.append((np.tensordot(whole, part, (0, axis)) + (1 << (_BITS - 1))) >> _BITS)
    return np.clip(np.stack(result, axis), 0, 255).astype(np.uint8)


def _sum_in_order(weights: np.ndarray) -> float:
    """One after the other, as Pillow adds."""
    total = 0.0
    for weight in weights.tolist():
        total += weight
    return total if total else math.inf


def picture_feed(
    session: HasInputs,
    info: TensorInfo,
    rgba: np.ndarray,
    settings: Pixels,
    origin: str,
    size: tuple[int | None, int | None] = (None, None),
) -> Feed:
    """The feed of one picture, RGBA (H, W, 4) of uint8, as ``run`` makes it of a file.

    ``size``: width and height, for an input that takes any; by default the picture's own.

    Raises InvalidInputError for an input that takes no pictures.
    """
    layout = find_layout(info, settings.layout)
    width, height = layout.width or size[0], layout.height or size[1]
    layout = replace(layout, width=width, height=height)
    dtype = declared_dtype(info) or np.dtype(np.float32)
    pixels = complete(settings, session, info, dtype)
    image = fitted(Decoded(rgba).convert(layout.channels), pixels, width, height)
    row = arranged(np.asarray(image), layout, pixels, dtype, origin)
    return Feed(info, ArrayRows(row[None] if layout.batch else row), origin, [pixels.describe()])
