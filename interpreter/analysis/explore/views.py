"""Large values become small pictures of themselves, and each says what was left out.

A picture is a stack of matrices in bytes: 0 to ``TOP`` run evenly from ``lo`` to ``hi``, the three
codes above are what no colour can show: -inf, inf and NaN. Numbers are little-endian, in base64.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TOP = 252
MINUS_INFINITY, INFINITY, NOT_A_NUMBER = 253, 254, 255

_BINS = 32
_EXACT = 1024  # elements that are given as they are, if there's room
_MAPS, _SIDE = 64, 64  # maps of a stack, and their pixels, if there's room
_PICTURE_SIDE = 192
_HEAT = 256


def plain(array: np.ndarray) -> np.ndarray:
    """Numbers that NumPy itself can count with: what only ml_dtypes knows in float32, complex
    numbers as their magnitudes."""
    if array.dtype.kind == "c":
        return np.abs(array)
    if array.dtype.kind in "biuf" and array.dtype != np.float16:
        return array
    return array.astype(np.float32)


def is_text(array: np.ndarray) -> bool:
    return array.dtype.kind in "OUST"


def statistics(array: np.ndarray, *, bins: bool = True) -> dict[str, Any]:
    """Least, most, mean, deviation and a histogram of what is finite, and how much isn't."""
    values = plain(array).ravel()
    found: dict[str, Any] = {}
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.all():
            found |= {
                "nan": int(np.isnan(values).sum()),
                "inf": int(np.isposinf(values).sum()),
                "-inf": int(np.isneginf(values).sum()),
            }
            values = values[finite]
    if not values.size:
        return found
    if values.dtype == bool:
        values = values.view(np.uint8)
    lo, hi = values.min(), values.max()
    wide = values if values.dtype == np.float64 else values.astype(np.float32)
    with np.errstate(over="ignore"):
        mean = wide.mean(dtype=np.float64)
        deviation = np.sqrt(np.square(wide - mean).mean(dtype=np.float64))
    found |= {"min": _short(lo), "max": _short(hi)}
    found["zeros"] = int(values.size - np.count_nonzero(values))
    if np.isfinite(deviation):  # the largest numbers of a type have sums beyond it
        found |= {"mean": _short(mean), "std": _short(deviation)}
    if bins and values.size >= _BINS and hi > lo:
        found["bins"] = _histogram(wide, float(lo), float(hi))
    return found


def _histogram(values: np.ndarray, lo: float, hi: float) -> list[int]:
    if not math.isfinite(hi - lo):  # the far ends of a type
        values, lo, hi = values / 4, lo / 4, hi / 4
    places = ((values - lo) * (_BINS / (hi - lo))).astype(np.int64)
    return np.bincount(np.clip(places, 0, _BINS - 1), minlength=_BINS).tolist()


def _short(number: Any) -> float:
    """Six digits: nobody reads more, and they'd fill the page."""
    return float(f"{float(number):.6g}")


def form(array: np.ndarray, role: str) -> tuple[str, np.ndarray]:
    """How a value is to be looked at, "numbers", "heat", "maps" or "picture", and the values for
    that: (n), (rows, columns), (maps, rows, columns), (pictures, rows, columns, 3).

    ``role``: "last" for (N, H, W, C), "filter" for a convolution's weights, "time" for what a
    recurrent node gives, (T, D, N, H), "sample" for the same by samples, (N, T, D, H), or "". Of a
    batch of maps only the first sample is looked at.
    """
    values = plain(array)
    if role in ("time", "sample") and values.ndim == 4:
        values = values.transpose((1, 2, 0, 3) if role == "time" else (0, 2, 1, 3))
        return _matrix(values.reshape(-1, *values.shape[2:]))
    if role == "time" and values.ndim == 3:  # what a recurrent node takes, (T, N, I)
        return _matrix(values.swapaxes(0, 1))
    if role == "filter" and values.ndim == 4:
        if values.shape[1] == 3 and min(values.shape[2:]) > 1:
            return "picture", values.transpose(0, 2, 3, 1)
        maps = values.reshape(-1, *values.shape[2:])
        return ("maps", maps) if min(values.shape[2:]) > 1 else _matrix(values)
    if values.ndim >= 4 and role != "filter":
        values = values[0]
        if role == "last" and values.ndim == 3:
            if values.shape[-1] == 3:
                return "picture", values[None]
            values = np.moveaxis(values, -1, 0)
        values = values.reshape(-1, *values.shape[-2:])
        return ("maps", values) if min(values.shape[-2:]) > 1 else _matrix(values)
    return _matrix(values)


def _matrix(values: np.ndarray) -> tuple[str, np.ndarray]:
    """What has no pixels, by the axes that are longer than 1."""
    sizes = [size for size in values.shape if size != 1]
    if len(sizes) < 2:
        return "numbers", values.ravel()
    if len(sizes) == 2:
        return "heat", values.reshape(sizes)
    return "maps", values.reshape(-1, *sizes[-2:])


def wanted(array: Any, role: str) -> int:
    """How many bytes a view of this value would take if there were room for everything."""
    if not isinstance(array, np.ndarray) or is_text(array) or not array.size:
        return 0
    kind, values = form(array, role)
    shape = values.shape
    if kind == "numbers":
        return min(shape[0], _EXACT) * int(_number_type(values.dtype)[-1])
    if kind == "heat":
        return min(shape[0], _HEAT) * min(shape[1], _HEAT)
    side = _PICTURE_SIDE if kind == "picture" and shape[0] == 1 else _SIDE
    channels = 3 if kind == "picture" else 1
    return min(shape[0], _MAPS) * min(shape[1], side) * min(shape[2], side) * channels


def view(array: np.ndarray, role: str, room: int) -> dict[str, Any]:
    """A picture of a value in at most ``room`` bytes (before base64, but never less than a pixel).

    "was" and "is" are the shapes before and after where something was left out. ``array`` has
    elements.
    """
    kind, values = form(array, role)
    if kind == "numbers":
        return _numbers(values, room)
    if kind == "heat":
        return _heat(values, room)
    found = _stack(kind, values, room)
    if role == "filter" and kind == "maps":
        found["per"] = array.shape[1]  # so many maps are one filter
    if role in ("", "last") and array.ndim >= 4 and len(array) > 1:
        found["batch"] = len(array)
    return found


def _numbers(values: np.ndarray, room: int) -> dict[str, Any]:
    dtype = _number_type(values.dtype)
    most = max(1, min(len(values), _EXACT, room // int(dtype[-1])))
    chosen = spread(len(values), most)
    found: dict[str, Any] = {"kind": "numbers", "as": dtype[1:]}
    found["data"] = encoded(values[chosen].astype(dtype))
    if most < len(values):
        found |= {"was": [len(values)], "is": [most]}
    return found


def _number_type(dtype: np.dtype) -> str:
    """A float that has room for the type's values, as far as a page's script can count."""
    return (
        "<f8" if dtype.kind in "fiu" and dtype.itemsize > (4 if dtype.kind == "f" else 2) else "<f4"
    )


def _heat(values: np.ndarray, room: int) -> dict[str, Any]:
    rows, columns = (min(size, _HEAT) for size in values.shape)
    while rows * columns > max(room, 1):
        if rows >= columns:
            rows = max(1, min(rows - 1, max(columns, room // columns)))
        else:
            columns = max(1, min(columns - 1, max(rows, room // rows)))
    chosen = np.ix_(*(spread(n, m) for n, m in zip(values.shape, (rows, columns), strict=True)))
    found: dict[str, Any] = {"kind": "heat", "n": 1, "h": rows, "w": columns}
    found |= coded(values[chosen])
    if (rows, columns) != values.shape:
        found |= {"was": list(values.shape), "is": [rows, columns]}
    return found


def _stack(kind: str, values: np.ndarray, room: int) -> dict[str, Any]:
    """Maps: rather fewer than too small to be told from each other."""
    count, height, width = values.shape[:3]
    channels = 3 if kind == "picture" else 1
    side = _PICTURE_SIDE if kind == "picture" and count == 1 else _SIDE
    enough = min(max(height, width), 24)
    for n in (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1):
        n = min(n, count)
        pixels = max(1, room // (n * channels))
        scale = min(1.0, side / max(height, width), math.sqrt(pixels / (height * width)))
        if scale * max(height, width) >= enough or n == 1:
            break
    h, w = max(1, int(height * scale)), max(1, int(width * scale))
    chosen = spread(count, n)
    part = averaged(values[chosen], h, w)
    found: dict[str, Any] = {"kind": kind, "n": n, "h": h, "w": w, **coded(part)}
    if (n, h, w) != (count, height, width):
        found |= {"was": [count, height, width], "is": [n, h, w]}
    return found


def averaged(maps: np.ndarray, h: int, w: int) -> np.ndarray:
    """(n, H, W, …) to (n, h, w, …): each pixel the mean of those in its place."""
    if maps.shape[1:3] == (h, w):
        return maps
    values = maps if maps.dtype.kind == "f" else maps.astype(np.float32)
    for axis, size in ((1, h), (2, w)):
        edges = np.arange(size + 1) * values.shape[axis] // size
        shape = [1] * values.ndim
        shape[axis] = size
        with np.errstate(all="ignore"):
            values = np.add.reduceat(values, edges[:-1], axis) / np.diff(edges).reshape(shape)
    return values


def coded(values: np.ndarray) -> dict[str, Any]:
    """Bytes from ``lo`` to ``hi``, see the module's head."""
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    inside = values[finite]
    lo, hi = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    codes = np.zeros(values.shape, np.uint8)
    half = hi / 2 - lo / 2  # hi - lo may overflow
    if half > 0:
        with np.errstate(invalid="ignore"):
            codes = ((values / 2 - lo / 2) * (TOP / half) + 0.5).astype(np.uint8)
    if not finite.all():
        codes[np.isnan(values)] = NOT_A_NUMBER
        codes[np.isposinf(values)] = INFINITY
        codes[np.isneginf(values)] = MINUS_INFINITY
    return {"lo": _short(lo), "hi": _short(hi), "data": encoded(codes)}


def encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def texts(array: np.ndarray, most: int) -> list[str]:
    """The first strings of a tensor."""
    return [str(text)[:200] for text in array.ravel()[:most].tolist()]


def shares(sizes: Sequence[int], total: int) -> int:
    """The most that each may take so that all together take ``total``: small ones take less and
    leave the others more."""
    left, count = total, len(sizes)
    for size in sorted(sizes):
        if size * count >= left:
            return max(left // count, 0)
        left, count = left - size, count - 1
    return max(sizes, default=0)


_CONVOLUTIONS = ("Conv", "ConvTranspose", "QLinearConv", "ConvInteger", "com.microsoft.FusedConv")


def roles(
    nodes: Sequence[tuple[str, Mapping[str, Any], Sequence[str], Sequence[str]]],
    shapes: Mapping[str, Sequence[int]],
    inputs: Sequence[str],
) -> dict[str, str]:
    """How values are to be looked at, see ``form``, by their names.

    ``nodes``: operator, attributes, inputs and outputs of each, in the order of the walk. Keras
    has channels last, ONNX's convolutions have them first: an input of 1, 3 or 4 channels tells,
    and transpositions say where that changes.
    """
    found: dict[str, str] = {}
    for name in inputs:
        shape = shapes.get(name, ())
        if len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
            found[name] = "last"
    for operator, attributes, given, made in nodes:
        if operator in _CONVOLUTIONS:
            place = 3 if operator == "QLinearConv" else 1
            if len(given) > place and given[place]:
                found[given[place]] = "filter"
        elif operator in ("RNN", "LSTM", "GRU"):
            by = "sample" if attributes.get("layout") else "time"
            found |= dict.fromkeys([*given[:1], *made[:1]], by)
        elif operator == "Transpose":
            order = tuple(attributes.get("perm", ()))
            if order == (0, 2, 3, 1):
                found[made[0]] = "last"
        else:
            last = [n for n in given if found.get(n) == "last"]
            for name in made:
                if last and shapes.get(name) == shapes.get(last[0]):
                    found[name] = "last"
    return found


def spread(size: int, count: int) -> np.ndarray:
    """``count`` of the indices 0 to size - 1, evenly spread: those that the page counts on."""
    return np.arange(count) * size // max(count, 1)
