"""Read images as arrays of the height, width and channels that an input declares.

Needs Pillow: ``pip install "onnxwalk[images]"``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import Dimension, TensorInfo
from onnxwalk.interpreter.rows.pixels import Pixels, fitted, to_numbers
from onnxwalk.interpreter.tables.convert import convert, declared_dtype, declared_shape

if TYPE_CHECKING:
    from onnxwalk.interpreter.rows.archives import Archive

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"})

#: bytes of images that are kept from the search for damaged ones until they are read
_KEPT = 256 << 20

#: Pillow's mode for each number of channels
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Layout:
    """The axes of an input of images; ``None`` for a height or width of any size."""

    channels: int
    channel_axis: int | None  # 0 or -1 in one sample; None: the sample has no channel axis
    height: int | None
    width: int | None
    batch: bool


def find_layout(info: TensorInfo, layout: str | None = None) -> Layout:
    """How an input holds images, by its shape: (N, H, W, C) if the last dimension is 1, 3 or 4,
    otherwise (N, C, H, W) if the second is; the same without N; (N, H, W) and (H, W) are grayscale.

    ``layout``: "NHWC" or "NCHW", where the shape alone could be either.

    Raises InvalidInputError for other shapes.
    """
    shape = declared_shape(info) or ()
    has_channels = len(shape) == 3 and (shape[2] in _MODES or shape[0] in (3, 4))
    batch = len(shape) == 4 or (len(shape) == 3 and not has_channels)
    sample = list(shape[1:] if batch else shape)
    channels: Dimension = 1
    axis = None
    if len(sample) == 3 and (sample[-1] in _MODES or sample[0] in _MODES):
        axis = -1 if sample[-1] in _MODES else 0
        if layout is not None:
            axis = -1 if layout == "NHWC" else 0
        if sample[axis] not in _MODES:
            raise InvalidInputError(
                f"--layout {layout}: input {info} has {sample[axis]} there, not 1, 3 or 4 channels"
            )
        channels = sample.pop(axis)
    if len(sample) != 2:
        raise InvalidInputError(
            f"input {info} doesn't accept images: neither its first nor its last dimension is 1, 3 "
            "or 4 channels"
        )
    height, width = (size if isinstance(size, int) else None for size in sample)
    return Layout(int(channels or 0), axis, height, width, batch)


def find_images(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders, sorted by path, without hidden files.

    Raises InvalidInputError if there are none.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not paths:
        raise InvalidInputError(
            f"{folder}: the folder contains no images ({' '.join(sorted(SUFFIXES))})"
        )
    return paths


class _DamagedError(InvalidInputError):
    """An image can't be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


@contextlib.contextmanager
def _naming_errors(path: Path) -> Iterator[None]:
    """Turn the errors of an image that can't be read into _DamagedError."""
    pillow, _ = _import_pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
            yield
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "not a supported image, or damaged"
        reason = "no such file" if isinstance(error, FileNotFoundError) else reason
        raise _DamagedError(path, reason) from error


class ImageRows:
    """Image files as rows of an input, opened as they are read.

    ``pixels`` are complete. ``archives``: those that some of the paths are in. With ``is_tolerant``
    images that can't be read are noted in ``damaged``, by their number, and zeros. With
    ``skips_damaged`` all are opened at once, and of several those that can't be read are left out;
    raises InvalidInputError if none of them can.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        info: TensorInfo,
        pixels: Pixels,
        archives: Mapping[Path, Archive] | None = None,
        *,
        skips_damaged: bool = False,
        is_tolerant: bool = False,
    ) -> None:
        self.layout = find_layout(info, pixels.layout)
        self._pixels, self._archives = pixels, archives or {}
        _import_pillow()
        self._kept: dict[Path, np.ndarray] = {}
        #: those that ``skips_damaged`` has left out, and why
        self.left_out: dict[Path, str] = {}
        if skips_damaged and len(paths) > 1:
            self._find_damaged(paths)
            paths = [path for path in paths if path not in self.left_out]
        names = [path.name for path in paths]
        unique = len(set(names)) == len(names)
        self.names: list[str] | None = names if unique else [path.as_posix() for path in paths]
        #: the file of each row
        self.files = [path.as_posix() for path in paths]
        self.length: int | None = len(paths) if self.layout.batch else None
        self._paths = paths
        self._is_tolerant = is_tolerant
        self.damaged: dict[int, str] = {}
        self._dtype = declared_dtype(info) or np.dtype(np.float32)
        if not self.layout.batch and len(paths) > 1:
            raise InvalidInputError(f"input {info} accepts one image, got {len(paths)}")

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Arrays (≤ size, …) of the input's dtype, or the one image if the input has no batch."""
        for start in range(0, len(self._paths), size):
            paths = self._paths[start : start + size]
            images = self._read_all(paths, start)
            for path, image in zip(paths, images, strict=True):
                if image.shape != images[0].shape:
                    raise InvalidInputError(
                        f"{path}: {_extent(image, self.layout)} pixels, but {paths[0]} has "
                        f"{_extent(images[0], self.layout)}; the input has no fixed size, so all "
                        "images of a run must have the same size (or use --batch 1)"
                    )
            yield np.stack(images) if self.layout.batch else images[0]

    def _find_damaged(self, paths: Sequence[Path]) -> None:
        """Decode the images, and keep as many as fit: the others only as coarsely as their format
        allows, since they are decoded again when they are read."""
        pillow, _ = _import_pillow()
        room = _KEPT
        for path in paths:
            try:
                if room > 0:
                    self._kept[path] = self._decode(path)
                    room -= self._kept[path].nbytes
                else:
                    with _naming_errors(path), pillow.open(self._source(path)) as image:
                        image.draft("L", (32, 32))
                        image.load()
            except _DamagedError as error:
                self.left_out[path] = error.reason
        if len(self.left_out) == len(paths):
            path, reason = next(iter(self.left_out.items()))
            raise InvalidInputError(f"{path}: {reason}, and so are all {len(paths)} images")

    def _read_all(self, paths: Sequence[Path], start: int) -> list[np.ndarray]:
        """Some of the images; ``start``: the number of the first."""
        if not self._is_tolerant:
            return [self._read(path) for path in paths]
        found: list[np.ndarray | None] = []
        for row, path in enumerate(paths, start):
            try:
                found.append(self._read(path))
            except InvalidInputError as error:
                self.damaged[row] = getattr(error, "reason", str(error))
                found.append(None)
        usual = next((image for image in found if image is not None), np.zeros((), self._dtype))
        return [np.zeros_like(usual) if image is None else image for image in found]

    def _read(self, path: Path) -> np.ndarray:
        """One image: (H, W, C), (C, H, W) or (H, W)."""
        pixels = self._kept.pop(path, None)
        pixels = self._decode(path) if pixels is None else pixels
        return arranged(pixels, self.layout, self._pixels, self._dtype, str(path))

    def _source(self, path: Path) -> Path | IO[bytes]:
        """The file of an image, or what an archive holds of it."""
        archive = next((self._archives[p] for p in path.parents if p in self._archives), None)
        return path if archive is None else archive.open(path)

    def _decode(self, path: Path) -> np.ndarray:
        """The bytes of one image in the size that the input wants: (H, W, C) or (H, W)."""
        pillow, operations = _import_pillow()
        with _naming_errors(path), pillow.open(self._source(path)) as opened:
            image = operations.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits; convert() would clip at 255
                wide = np.clip(np.asarray(image, np.int64), 0, 65535)
                image = pillow.fromarray((wide / 257).round().astype(np.uint8))
            image = image.convert(_MODES[self.layout.channels])
        return np.asarray(fitted(image, self._pixels, self.layout.width, self.layout.height))


def arranged(
    pixels: np.ndarray, layout: Layout, settings: Pixels, dtype: np.dtype, origin: str
) -> np.ndarray:
    """The bytes of a picture, (H, W, C) or (H, W), as one sample of an input: (H, W, C), (C, H, W)
    or (H, W). Raises InvalidInputError for numbers that the dtype doesn't hold."""
    if pixels.ndim == 2 and layout.channel_axis is not None:
        pixels = pixels[:, :, None]
    if layout.channel_axis == 0:
        pixels = np.moveaxis(pixels, -1, 0)
    wide = np.float64 if dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):  # what is too large is an error, not a warning
        numbers = to_numbers(pixels, settings, layout.channel_axis, wide)
    if not np.isfinite(numbers).all():
        raise InvalidInputError(f"{origin}, {settings.describe()}: beyond {dtype}")
    if dtype.kind in "iub":
        numbers = np.rint(numbers)
    return convert(numbers, dtype, f"{origin}, {settings.describe()}")


def _import_pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        message = 'Pillow is required to read images: pip install "onnxwalk[images]"'
        raise InvalidInputError(message) from None
    return Image, ImageOps


def _extent(image: np.ndarray, layout: Layout) -> str:
    sizes = list(image.shape)
    if layout.channel_axis is not None:
        del sizes[layout.channel_axis]
    return f"{sizes[1]} × {sizes[0]}"
