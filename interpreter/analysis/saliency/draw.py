"""Pictures of saliency: an overlay in colour over a grey picture, and PNG files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from onnxwalk.interpreter.analysis.saliency.result import channel_axis, resized

#: what moved the score up, and down; colour-blind people can tell them apart
POSITIVE, NEGATIVE = (240, 138, 36), (47, 127, 196)
_SIDE = 256  # the least pixels of a picture's longer side
_BETWEEN = 8  # pixels between two pictures
#: the largest part of a picture that is shown in the full colour
_SATURATED = 0.01


def largest(parts: np.ndarray) -> float:
    """The size of a part that has the full colour: 1 % of them are larger."""
    sizes = np.abs(parts[np.isfinite(parts)])
    most = float(np.quantile(sizes, 1 - _SATURATED)) if sizes.size else 0.0
    return most or float(sizes.max(initial=0)) or 1.0


def coloured(picture: np.ndarray) -> np.ndarray:
    """One sample of a picture as colours from 0 to 1, (H, W, 3); grey without three channels."""
    axis = channel_axis((1, *picture.shape)) if picture.ndim == 3 else None
    values = np.nan_to_num(picture.astype(np.float64), posinf=0, neginf=0)
    if axis is not None:
        values = np.moveaxis(values, axis - 1, 2)
        values = values if values.shape[2] == 3 else values.mean(axis=2)
    elif values.ndim == 3:
        values = values[0]
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    values = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)


def overlay(picture: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The picture, and right of it the picture in grey with the saliency over it: uint8 (H, W, 3).

    ``picture``: one sample; ``parts`` (h, w): pixels or, where smaller, places of a map, which
    becomes as large as the picture.
    """
    plain = coloured(picture)
    smooth = parts.shape != plain.shape[:2]
    times = -(-_SIDE // max(plain.shape[:2]))
    plain = plain.repeat(times, 0).repeat(times, 1) * 255
    light = plain.mean(axis=2, keepdims=True)
    if smooth:
        scores = resized(np.nan_to_num(parts.astype(np.float64)), *light.shape[:2])
    else:
        scores = np.nan_to_num(parts.astype(np.float64)).repeat(times, 0).repeat(times, 1)
    share = np.clip(scores / largest(parts), -1, 1)[..., None]
    colour = np.where(share > 0, POSITIVE, NEGATIVE)
    strength = np.abs(share) * 0.85
    mixed = light * (1 - strength) + colour * strength
    gap = np.full((light.shape[0], _BETWEEN, 3), 255)
    return np.concatenate([plain, gap, mixed], axis=1).round().astype(np.uint8)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one width, one below the other."""
    gap = np.full((_BETWEEN, pictures[0].shape[1], 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(parts[1:])


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 (H, W, 3)."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with its filter, none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
