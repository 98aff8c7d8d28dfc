"""Reduce large values to small pictures, which say what was left out.

A picture is a stack of matrices of bytes: the codes 0 to ``TOP`` stand for values from ``lo`` to
``hi``, the three codes above for -inf, inf and NaN. Numbers are little-endian, in base64.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.compare.metrics import is_text

TOP = 252
MINUS_INFINITY, INFINITY, NOT_A_NUMBER = 253, 254, 255

_BINS = 32
_EXACT = 1024  # the most elements that are stored as numbers
_MAPS, _SIDE = 64, 64  # the most maps of a stack, and their height and width
_PICTURE_SIDE = 192
_HEAT = 256


def to_real(array: np.ndarray) -> np.ndarray:
    """The array as real numbers of a NumPy type: float16 and ml_dtypes in float32, complex numbers
    as magnitudes."""
    if array.dtype.kind == "c":
        return np.abs(array)
    if array.dtype.kind in "biuf" and array.dtype != np.float16:
        return array
    return array.astype(np.float32)


def statistics(array: np.ndarray, *, bins: bool = True) -> dict[str, Any]:
    """Minimum, maximum, mean, deviation and histogram of the finite values; counts of others."""
    values = to_real(array).ravel()
    figures: dict[str, Any] = {}
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.all():
            figures |= {
                "nan": int(np.isnan(values).sum()),
                "inf": int(np.isposinf(values).sum()),
                "-inf": int(np.isneginf(values).sum()),
            }
            values = values[finite]
    if not values.size:
        return figures
    if values.dtype == bool:
        values = values.view(np.uint8)
    lo, hi = values.min(), values.max()
    wide = values if values.dtype == np.float64 else values.astype(np.float32)
    with np.errstate(over="ignore"):
        mean = wide.mean(dtype=np.float64)
        deviation = np.sqrt(np.square(wide - mean).mean(dtype=np.float64))
    figures |= {"min": _short(lo), "max": _short(hi)}
    figures["zeros"] = int(values.size - np.count_nonzero(values))
    if np.isfinite(deviation):  # sums of the largest numbers overflow
        figures |= {"mean": _short(mean), "std": _short(deviation)}
    if bins and values.size >= _BINS and hi > lo:
        figures["bins"] = _histogram(wide, float(lo), float(hi))
    return figures


def _histogram(values: np.ndarray, lo: float, hi: float) -> list[int]:
    if not math.isfinite(hi - lo):  # overflow
        values, lo, hi = values / 4, lo / 4, hi / 4
    bins = ((values - lo) * (_BINS / (hi - lo))).astype(np.intp)
    return np.bincount(np.clip(bins, 0, _BINS - 1), minlength=_BINS).tolist()


def _short(number: Any) -> float:
    """Six digits, to keep the page small."""
    return float(f"{float(number):.6g}")


def choose_kind(array: np.ndarray, role: str) -> tuple[str, np.ndarray]:
    """The kind of picture, "numbers", "heat", "maps" or "picture", and the values rearranged for
    it: (n), (rows, columns), (maps, rows, columns), (pictures, rows, columns, 3).

    ``role``: "last" for (N, H, W, C), "filter" for the weights of a convolution, "time" for the
    output of a recurrent node, (T, D, N, H), "sample" for the same by samples, (N, T, D, H), or "".
    Of a batch of maps only the first sample is shown.
    """
    values = to_real(array)
    if role in ("time", "sample") and values.ndim == 4:
        values = values.transpose((1, 2, 0, 3) if role == "time" else (0, 2, 1, 3))
        return _matrix(values.reshape(-1, *values.shape[2:]))
    if role == "time" and values.ndim == 3:  # the input of a recurrent node, (T, N, I)
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
    """The kind of a value that isn't an image, by its axes longer than 1."""
    sizes = [size for size in values.shape if size != 1]
    if len(sizes) < 2:
        return "numbers", values.ravel()
    if len(sizes) == 2:
        return "heat", values.reshape(sizes)
    return "maps", values.reshape(-1, *sizes[-2:])


def full_size(array: Any, role: str) -> int:
    """The bytes of a view of this value without a limit."""
    if not isinstance(array, np.ndarray) or is_text(array) or not array.size:
        return 0
    kind, values = choose_kind(array, role)
    shape = values.shape
    if kind == "numbers":
        return min(shape[0], _EXACT) * int(_number_type(values.dtype)[-1])
    if kind == "heat":
        return min(shape[0], _HEAT) * min(shape[1], _HEAT)
    side = _PICTURE_SIDE if kind == "picture" and shape[0] == 1 else _SIDE
    channels = 3 if kind == "picture" else 1
    return min(shape[0], _MAPS) * min(shape[1], side) * min(shape[2], side) * channels


def build_view(array: np.ndarray, role: str, room: int) -> dict[str, Any]:
    """A picture of a value in at most ``room`` bytes before base64, but at least one pixel.

    "was" and "is" are the shapes before and after a reduction. ``array`` must not be empty.
    """
    kind, values = choose_kind(array, role)
    if kind == "numbers":
        return _numbers_view(values, room)
    if kind == "heat":
        return _heat_view(values, room)
    view = _stack_view(kind, values, room)
    if role == "filter" and kind == "maps":
        view["per"] = array.shape[1]  # maps per filter
    if role in ("", "last") and array.ndim >= 4 and len(array) > 1:
        view["batch"] = len(array)
    return view


def _numbers_view(values: np.ndarray, room: int) -> dict[str, Any]:
    dtype = _number_type(values.dtype)
    most = max(1, min(len(values), _EXACT, room // int(dtype[-1])))
    data = to_base64(values[spread_indices(len(values), most)].astype(dtype))
    view: dict[str, Any] = {"kind": "numbers", "as": dtype[1:], "data": data}
    if most < len(values):
        view |= {"was": [len(values)], "is": [most]}
    return view


def _number_type(dtype: np.dtype) -> str:
    """The float type of the page that holds the values of a dtype best."""
    is_wide = dtype.kind in "fiu" and dtype.itemsize > (4 if dtype.kind == "f" else 2)
    return "<f8" if is_wide else "<f4"


def _heat_view(values: np.ndarray, room: int) -> dict[str, Any]:
    rows, columns = (min(size, _HEAT) for size in values.shape)
    while rows * columns > max(room, 1):
        if rows >= columns:
            rows = max(1, min(rows - 1, max(columns, room // columns)))
        else:
            columns = max(1, min(columns - 1, max(rows, room // rows)))
    chosen = np.ix_(*map(spread_indices, values.shape, (rows, columns)))
    view = {"kind": "heat", "n": 1, "h": rows, "w": columns, **encode(values[chosen])}
    if (rows, columns) != values.shape:
        view |= {"was": list(values.shape), "is": [rows, columns]}
    return view


def _stack_view(kind: str, values: np.ndarray, room: int) -> dict[str, Any]:
    """Maps or pictures: fewer of them rather than too small ones."""
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
    part = downsample(values[spread_indices(count, n)], h, w)
    view = {"kind": kind, "n": n, "h": h, "w": w, **encode(part)}
    if (n, h, w) != (count, height, width):
        view |= {"was": [count, height, width], "is": [n, h, w]}
    return view


def downsample(maps: np.ndarray, h: int, w: int) -> np.ndarray:
    """(n, H, W, …) to (n, h, w, …): each pixel is the mean of those that it covers."""
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


def encode(values: np.ndarray) -> dict[str, Any]:
    """Values as codes from ``lo`` to ``hi``, see the docstring of the module."""
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
    return {"lo": _short(lo), "hi": _short(hi), "data": to_base64(codes)}


def to_base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def first_texts(array: np.ndarray, most: int) -> list[str]:
    """The first strings of a tensor."""
    return [str(text)[:200] for text in array.ravel()[:most].tolist()]


def find_share(sizes: Sequence[int], total: int) -> int:
    """The limit for each item so that all together stay below ``total``; items that are smaller
    leave more to the others."""
    left, count = total, len(sizes)
    for size in sorted(sizes):
        if size * count >= left:
            return max(left // count, 0)
        left, count = left - size, count - 1
    return max(sizes, default=0)


_CONVOLUTIONS = ("Conv", "ConvTranspose", "QLinearConv", "ConvInteger", "com.microsoft.FusedConv")


def find_roles(
    nodes: Sequence[tuple[str, Mapping[str, Any], Sequence[str], Sequence[str]]],
    shapes: Mapping[str, Sequence[int]],
    inputs: Sequence[str],
) -> dict[str, str]:
    """The roles of values by name, see ``choose_kind``.

    ``nodes``: operator, attributes, inputs and outputs of each, in the order of the walk. Keras
    has channels last, but the convolutions of ONNX first: model inputs with 1, 3 or 4 channels
    show the layout, and Transpose changes it.
    """
    roles: dict[str, str] = {}
    for name in inputs:
        shape = shapes.get(name, ())
        if len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
            roles[name] = "last"
    for operator, attributes, ins, outs in nodes:
        if operator in _CONVOLUTIONS:
            index = 3 if operator == "QLinearConv" else 1
            if len(ins) > index and ins[index]:
                roles[ins[index]] = "filter"
        elif operator in ("RNN", "LSTM", "GRU"):
            role = "sample" if attributes.get("layout") else "time"
            roles |= dict.fromkeys([*ins[:1], *outs[:1]], role)
        elif operator == "Transpose":
            if tuple(attributes.get("perm", ())) == (0, 2, 3, 1):
                roles[outs[0]] = "last"
        else:
            last = [name for name in ins if roles.get(name) == "last"]
            for name in outs:
                if last and shapes.get(name) == shapes.get(last[0]):
                    roles[name] = "last"
    return roles


def spread_indices(size: int, count: int) -> np.ndarray:
    """``count`` evenly spread indices from 0 to size - 1; the page's script computes the same."""
    return np.arange(count) * size // max(count, 1)
