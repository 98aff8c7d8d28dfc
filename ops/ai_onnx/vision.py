"""Operators of vision models other than convolutions: NonMaxSuppression, Col2Im, ImageDecoder."""

from __future__ import annotations

import contextlib
import io
import itertools
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL, PER_ITEM, fill_cost, reshape_bytes
from onnxwalk.ops.shared.values import as_int, as_ints, as_scalar
from onnxwalk.ops.shared.windows import pad_spatial, window_axes, window_view


@op("NonMaxSuppression", since=10)
def non_max_suppression(
    boxes,
    scores,
    max_output_boxes_per_class=None,
    iou_threshold=None,
    score_threshold=None,
    *,
    center_point_box=0,
):
    """The boxes to keep: by falling score, none that overlaps a better one of its class too much

    boxes (N, B, 4) as two opposite corners y1, x1, y2, x2, or with ``center_point_box`` as x, y,
    width, height; scores (N, C, B). A box is dropped when intersection / union with a kept one is
    more than iou_threshold (0 by default), or its score not above score_threshold; of equal scores
    the first box comes first. Result (K, 3): n, c, b. No max_output_boxes_per_class is 0: none.

    Spec: NonMaxSuppression-10, NonMaxSuppression-11.
    """
    if boxes.ndim != 3 or boxes.shape[2] != 4 or scores.ndim != 3:
        raise ValueError(
            f"boxes {boxes.shape} and scores {scores.shape} should be (N, B, 4), (N, C, B)"
        )
    if (len(boxes), boxes.shape[1]) != (len(scores), scores.shape[2]):
        raise ValueError(f"boxes {boxes.shape} and scores {scores.shape} are incompatible")
    most = (
        0
        if _is_missing(max_output_boxes_per_class)
        else as_int(max_output_boxes_per_class, "max_output_boxes_per_class")
    )
    overlap = 0.0 if _is_missing(iou_threshold) else as_scalar(iou_threshold, "iou_threshold")
    if not 0 <= overlap <= 1:
        raise ValueError(f"iou_threshold {overlap:g} should be between 0 and 1")
    kept: list[tuple[int, int, int]] = []
    for n in range(len(boxes) if most > 0 else 0):
        low, high = _corners(boxes[n], center_point_box)
        for c in range(scores.shape[1]):
            candidates = np.argsort(-scores[n, c], kind="stable")
            if not _is_missing(score_threshold):
                # The spec removes lower scores. ONNX Runtime and TensorFlow, and so the models,
                # also remove equal ones (and NaN).
                threshold = np.float32(as_scalar(score_threshold, "score_threshold"))
                candidates = candidates[scores[n, c, candidates] > threshold]
            best = _suppress(low[:, candidates], high[:, candidates], most, np.float32(overlap))
            kept.extend((n, c, b) for b in candidates[best].tolist())
    return np.array(kept, np.int64).reshape(-1, 3)


def _is_missing(value: np.ndarray | None) -> bool:
    return value is None or value.size == 0


def _corners(boxes: np.ndarray, center_point_box: int) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper corner of each box, each (2, B)."""
    first, second = boxes[:, :2].T, boxes[:, 2:].T
    if center_point_box:
        return first - second / 2, first + second / 2
    return np.minimum(first, second), np.maximum(first, second)


def _suppress(low: np.ndarray, high: np.ndarray, most: int, overlap: np.float32) -> np.ndarray:
    """The boxes, in order, none of which overlaps an earlier one by more than ``overlap``."""
    area = (high[0] - low[0]) * (high[1] - low[1])

    def overlaps_too_much(these: np.ndarray, those: np.ndarray) -> np.ndarray:
        a, b = these[:, None], those
        height = np.minimum(high[0, a], high[0, b]) - np.maximum(low[0, a], low[0, b])
        width = np.minimum(high[1, a], high[1, b]) - np.maximum(low[1, a], low[1, b])
        shared = np.maximum(height, 0) * np.maximum(width, 0)
        # a box without area overlaps nothing: 0/0 is not above the threshold
        return shared / (area[a] + area[b] - shared) > overlap

    best = np.zeros(0, np.intp)
    for start in range(0, len(area), 64):  # 64 boxes at a time are compared with the selected ones
        if len(best) >= most:
            break
        block = np.arange(start, min(start + 64, len(area)))
        block = block[~overlaps_too_much(block, best).any(1)]
        clashes, free, chosen = overlaps_too_much(block, block), np.ones(len(block), bool), []
        for i in range(len(block)):
            if free[i]:
                chosen.append(i)
                free &= ~clashes[i]
        best = np.concatenate([best, block[chosen]])
    return best[:most]


@non_max_suppression.cost
def cost_of_non_max_suppression(
    boxes: np.ndarray,
    scores: np.ndarray,
    max_output_boxes_per_class: np.ndarray | None = None,
    *_: Any,
    **__: Any,
) -> Cost:
    """For one class the boxes in order, and 64 of them compared with the selected ones; for all
    classes the selected ones, as tuples and as the result."""
    given = max_output_boxes_per_class
    most = 0 if given is None or given.size == 0 else as_int(given, "max_output_boxes_per_class")
    count = boxes.shape[1]
    most = min(max(most, 0), count)
    classes = len(boxes) * scores.shape[1]
    memory = 200 * classes * most + (32 + 8 * boxes.itemsize) * count
    memory += 64 * 12 * boxes.itemsize * (most + 64)
    compared = count * (most + 64) if most else 0
    blocks = -(-count // 64)
    work = classes * (compared * 30 + 300 * count + (blocks + 1) * 100 * PER_CALL)
    return Cost(memory, work + classes * most * PER_ITEM)


@op("Col2Im", since=18)
def col2im(input, image_shape, block_shape, *, dilations=None, pads=None, strides=None):
    """y[n, c, l·stride + k·dilation - pad] += x[n, (c, k), l]: what a Conv cut out, put back

    x (N, C·K1·…·Kn, L), image_shape D1 … Dn, block_shape K1 … Kn; y (N, C, D1 … Dn). L counts the
    blocks of the image, row by row. Overlapping blocks add up, but for strings.

    Spec: Col2Im-18.
    """
    image, block = as_ints(image_shape), as_ints(block_shape)
    if input.ndim != 3 or len(image) != len(block):
        raise ValueError(
            f"x {input.shape} should be (N, C·K, L), image {image} and block {block} of one rank"
        )
    axes = window_axes(image, block, strides=strides, dilations=dilations, pads=pads)
    windows = tuple(axis.windows for axis in axes)
    taps = int(np.prod(block))
    if input.shape[1] % taps or input.shape[2] != int(np.prod(windows)):
        raise ValueError(
            f"x {input.shape} should be (N, C·{taps}, {int(np.prod(windows))}) for blocks {block} "
            f"of image {image}"
        )
    channels = input.shape[1] // taps
    columns = input.reshape(len(input), channels, taps, *windows)
    text = input.dtype.kind == "O"
    y = np.full((len(input), channels, *image), "" if text else 0, input.dtype)
    for tap, places in enumerate(itertools.product(*(axis.taps() for axis in axes))):
        there = (slice(None), slice(None), tap, *(window for window, _ in places))
        here = (slice(None), slice(None), *(place for _, place in places))
        if text and (y[here] != "").any():
            raise ValueError("blocks of strings should not overlap")
        y[here] += columns[there]
    return y


@col2im.vjp
def vjp_of_col2im(dy, *, input_shape, block_shape, dilations, pads, strides):
    """The blocks cut out again."""
    block = as_ints(block_shape)
    axes = window_axes(dy.shape[2:], block, strides=strides, dilations=dilations, pads=pads)
    windows = window_view(pad_spatial(dy, axes, 2), axes, 2)  # (N, C, O…, K…)
    rank = len(axes)
    return np.moveaxis(windows, range(2, 2 + rank), range(-rank, 0)).reshape(input_shape)


@vjp_of_col2im.cost
def cost_of_vjp_of_col2im(dy, *, input_shape, pads, **_):
    padded = size(n + sum(pads or [0]) for n in dy.shape[2:]) * size(dy.shape[:2])
    return fill_cost([2 * size(input_shape) + 2 * padded + 2 * dy.size], dy.dtype)


@col2im.cost
def cost_of_col2im(
    input: np.ndarray,
    image_shape: np.ndarray,
    block_shape: np.ndarray,
    **_: Any,
) -> Cost:
    """The image, and the columns of one tap."""
    block = [max(n, 1) for n in as_ints(block_shape)]
    taps = size(block)
    cost = fill_cost((len(input), input.shape[1] // taps, *as_ints(image_shape)), input.dtype)
    memory = (
        cost.memory + reshape_bytes(input) + 2 * input.nbytes // taps + 2 * PER_ARRAY * sum(block)
    )
    return Cost(memory, cost.work + 40 * input.size + 4 * PER_CALL * taps)


@op("ImageDecoder", since=20)
def image_decoder(encoded_stream, *, pixel_format="RGB"):
    """The pixels (H, W, C) of an encoded image; an empty array if it can't be decoded

    BMP, JPEG, JPEG 2000, TIFF, PNG, WebP and the PNM formats; C is 3, or 1 for Grayscale. Needs
    Pillow, whose JPEG decoder upsamples the chroma as the spec asks.

    Spec: ImageDecoder-20.
    """
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise ValueError(f"pixel_format {pixel_format!r} is not RGB, BGR or Grayscale")
    try:
        from PIL import Image
    except ImportError:
        raise NotImplementedError("ImageDecoder needs Pillow: pip install pillow") from None
    grayscale = pixel_format == "Grayscale"
    try:
        with _ignore_warnings():
            image = Image.open(io.BytesIO(encoded_stream.tobytes()), formats=_FORMATS)
            pixels = np.array(image.convert("L" if grayscale else "RGB"))
    except Exception:  # "If it can't decode for any reason … it will return an empty matrix"
        _check_codec(encoded_stream.tobytes())
        return np.zeros((0, 0, 1 if grayscale else 3), np.uint8)
    if grayscale:
        return pixels[..., None]
    return pixels if pixel_format == "RGB" else np.ascontiguousarray(pixels[..., ::-1])


_FORMATS = ["BMP", "JPEG", "JPEG2000", "TIFF", "PNG", "WEBP", "PPM"]
#: what a file begins with, and what Pillow calls its codec, which it may have been built without
_CODECS = ((b"\xff\xd8", "jpg"), (b"\0\0\0\x0cjP", "jpg_2000"), (b"RIFF", "webp"))
_FILTERS = threading.Lock()


def _check_codec(data: bytes) -> None:
    """Raise NotImplementedError if this Pillow can't decode such files at all."""
    from PIL import features

    for beginning, codec in _CODECS:
        if data.startswith(beginning) and not features.check(codec):
            raise NotImplementedError(f"ImageDecoder needs Pillow with {codec}: this one lacks it")


@contextlib.contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Pillow warns of images that are damaged or large; the result says so. Warning filters belong
    to the process, hence one thread at a time."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@image_decoder.cost
def cost_of_image_decoder(encoded_stream: np.ndarray, **_: Any) -> Cost:
    """The pixels that the file's header announces: as Pillow decodes and converts them, up to eight
    bytes each, and as an array, copied from bytes."""
    try:
        from PIL import Image

        with _ignore_warnings():
            image = Image.open(io.BytesIO(encoded_stream.tobytes()), formats=_FORMATS)
        pixels = size(image.size)
    except Exception:  # none of these
        return Cost(3 * encoded_stream.nbytes, 10 * encoded_stream.size)
    return Cost(3 * encoded_stream.nbytes + 28 * pixels + (1 << 18), 200 * pixels + 10_000_000)


image_decoder.choices({"pixel_format": "RGB BGR Grayscale"})
declare(non_max_suppression, image_decoder, vjp=no_gradient)
