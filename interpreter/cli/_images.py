"""Images become arrays of the height, width and channels that a model's input has.

Needs Pillow: ``pip install "onnxwalk[images]"``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli._convert import convert, declared_dtype, declared_shape
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import Dimension, TensorInfo

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"})

#: Pillow's mode for each number of channels
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Layout:
    """Where an input has its image: dimensions are ``None`` where any size will do."""

    channels: int
    channel_axis: int | None  # of one sample; None: the sample has no channel axis
    height: int | None
    width: int | None
    batch: bool


def layout(info: TensorInfo) -> Layout:
    """How an input holds images, by its shape: (N, H, W, C) when the last dimension is 1, 3 or 4,
    else (N, C, H, W) when the second is; the same without N; (N, H, W) and (H, W) are grayscale.

    Raises InvalidInputError for other shapes.
    """
    shape = declared_shape(info) or ()

    def last(sizes: Sequence[Dimension], batch: bool) -> Layout:
        height, width, channels = sizes
        return Layout(int(channels or 0), -1, _fixed(height), _fixed(width), batch)

    def first(sizes: Sequence[Dimension], batch: bool) -> Layout:
        channels, height, width = sizes
        return Layout(int(channels or 0), 0, _fixed(height), _fixed(width), batch)

    def gray(sizes: Sequence[Dimension], batch: bool) -> Layout:
        height, width = sizes
        return Layout(1, None, _fixed(height), _fixed(width), batch)

    if len(shape) == 4 and shape[3] in _MODES:
        return last(shape[1:], True)
    if len(shape) == 4 and shape[1] in _MODES:
        return first(shape[1:], True)
    if len(shape) == 3 and shape[2] in _MODES:
        return last(shape, False)
    if len(shape) == 3 and shape[0] in (3, 4):
        return first(shape, False)
    if len(shape) == 3:
        return gray(shape[1:], True)
    if len(shape) == 2:
        return gray(shape, False)
    raise InvalidInputError(
        f"input {info} takes no images: its shape has no 1, 3 or 4 channels, first or last"
    )


def find_images(folder: Path) -> list[Path]:
    """The images in a folder and the folders in it, sorted by path; hidden files are left out.

    Raises InvalidInputError when there are none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise InvalidInputError(f"{folder}: no images in it ({' '.join(sorted(SUFFIXES))})")
    return found


class ImageRows:
    """Images as rows of an input: opened when their turn comes.

    Pixels run from 0 to ``scale``; ``None``: 1 for inputs of floats, 255 for integers.
    """

    def __init__(self, paths: Sequence[Path], info: TensorInfo, scale: float | None) -> None:
        self.layout = layout(info)
        self.names: list[str] | None = [path.name for path in paths]
        self.length: int | None = len(paths) if self.layout.batch else None
        self._paths = paths
        self._dtype = declared_dtype(info) or np.dtype(np.float32)
        self._scale = scale
        self._pillow()
        if not self.layout.batch and len(paths) > 1:
            raise InvalidInputError(f"input {info} takes one image, here are {len(paths)}")

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Arrays (≤ size, …) of the input's dtype, or the one image if the input has no batch."""
        for start in range(0, len(self._paths), size):
            chosen = self._paths[start : start + size]
            images = [self._read(path) for path in chosen]
            for path, image in zip(chosen, images, strict=True):
                if image.shape != images[0].shape:
                    raise InvalidInputError(
                        f"{path}: {_extent(image, self.layout)} pixels, but {chosen[0]} has "
                        f"{_extent(images[0], self.layout)}: the model leaves the size open, so "
                        "images of one run must be of one size (or use --batch 1)"
                    )
            yield np.stack(images) if self.layout.batch else images[0]

    def _read(self, path: Path) -> np.ndarray:
        """One image: (H, W, C), (C, H, W) or (H, W)."""
        pillow, operations = self._pillow()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
                with pillow.open(path) as opened:
                    image = operations.exif_transpose(opened)
                    if image.mode.startswith("I"):  # 16 bits; convert() would cut at 255
                        wide = np.clip(np.asarray(image, np.int64), 0, 65535)
                        image = pillow.fromarray((wide / 257).round().astype(np.uint8))
                    image = image.convert(_MODES[self.layout.channels])
                    size = (self.layout.width or image.width, self.layout.height or image.height)
                    if image.size != size:
                        image = image.resize(size, pillow.Resampling.BILINEAR)
                    pixels = np.asarray(image)
        except FileNotFoundError:
            raise InvalidInputError(f"{path}: no such file") from None
        except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
            reason = getattr(error, "strerror", None) or "not an image that can be read, or damaged"
            raise InvalidInputError(f"{path}: {reason}") from error
        if pixels.ndim == 2 and self.layout.channel_axis is not None:
            pixels = pixels[:, :, None]
        if self.layout.channel_axis == 0:
            pixels = np.moveaxis(pixels, -1, 0)
        return self._scaled(pixels, path)

    def _scaled(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        whole = self._dtype.kind in "iub"
        scale = self._scale if self._scale is not None else (255.0 if whole else 1.0)
        if scale == 255:
            scaled = pixels
        elif whole:
            scaled = np.rint(pixels * (scale / 255))
        else:  # as people write it: pixels / 255
            wide = np.float64 if self._dtype == np.float64 else np.float32
            scaled = pixels.astype(wide) * wide(scale) / wide(255)
        return convert(scaled, self._dtype, f"{path}, pixels from 0 to {scale:g}")

    def _pillow(self) -> tuple[Any, Any]:
        try:
            from PIL import Image, ImageOps
        except ImportError:
            raise InvalidInputError(
                'reading images needs Pillow: pip install "onnxwalk[images]"'
            ) from None
        return Image, ImageOps


def _fixed(dimension: Dimension) -> int | None:
    return dimension if isinstance(dimension, int) else None


def _extent(image: np.ndarray, where: Layout) -> str:
    sizes = list(image.shape)
    if where.channel_axis is not None:
        del sizes[where.channel_axis]
    return f"{sizes[1]} × {sizes[0]}"
