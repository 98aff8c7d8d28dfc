"""Charts as SVG that a page can colour: light and dark come from CSS, not from the picture.

Every function returns the text of one ``<svg>``. Colours are the classes ``c0`` … ``c5`` of
``COLOURS``; what they tell apart, shapes and dashes tell apart, too. Shapes and labels carry a
``<title>`` with the number.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

#: for light and for dark backgrounds; after Okabe and Ito, whom colour-blind people can follow
COLOURS = (
    ("#0072b2", "#56b4e9"),
    ("#c24e00", "#ff9d5c"),
    ("#00805d", "#2fd0a2"),
    ("#a8487f", "#e8a3c9"),
    ("#8a6a00", "#f0d955"),
    ("#555555", "#bbbbbb"),
)
_INK = {"ink": ("#1d232b", "#e7ebf0"), "muted": ("#59636f", "#a3adb9")}
_INK |= {"line": ("#d5dae0", "#3a424c"), "ground": ("#ffffff", "#14181d")}

_WIDTH = 380


@dataclass(frozen=True)
class Line:
    """A line of a chart: one y per x; None leaves a gap."""

    label: str
    ys: Sequence[float | None]
    colour: int = 0
    dashed: bool = False


def variables(theme: int) -> str:
    """The CSS variables of a theme, 0 light and 1 dark."""
    pairs = {**{f"c{i}": c for i, c in enumerate(COLOURS)}, **_INK}
    return "".join(f"--{name}:{values[theme]};" for name, values in pairs.items())


STYLE = (
    "svg text{fill:var(--ink);font-size:12px}svg .muted{fill:var(--muted)}"
    "svg .grid{stroke:var(--line);stroke-width:1}svg .axis{stroke:var(--muted);stroke-width:1}"
    "svg .mark{stroke:var(--ground);stroke-width:1}"
    "svg .shade{fill:var(--muted);opacity:.16}svg .limit{stroke:var(--ink);stroke-dasharray:2 3}"
    + "".join(
        f"svg .s{i}{{stroke:var(--c{i});fill:none;stroke-width:2}}svg .f{i}{{fill:var(--c{i})}}"
        for i in range(len(COLOURS))
    )
)


def alone(picture: str) -> str:
    """The picture as a file of its own, with its colours inside."""
    style = (
        f"svg{{{variables(0)}font-family:system-ui,sans-serif;background:var(--ground)}}"
        f"@media(prefers-color-scheme:dark){{svg{{{variables(1)}}}}}{STYLE}"
    )
    head, rest = picture.split(">", 1)
    return f"{head}><style>{style}</style>{rest}\n"


def frame(width: float, height: float, label: str, *parts: str) -> str:
    """An ``<svg>`` of these parts; ``label`` is what a screen reader says."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def size(picture: str) -> tuple[float, float]:
    """Width and height of a picture made by ``frame``."""
    _, _, width, height = picture.split('viewBox="', 1)[1].split('"', 1)[0].split()
    return float(width), float(height)


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "") -> str:
    about = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{about}>{escape(content)}</text>'


def shape(x: float, y: float, colour: int, number: int, title: str = "", size: float = 4) -> str:
    """The ``number``-th of circle, square, triangle, diamond."""
    s = size
    outlines = (
        "",
        f"M{x - s:.1f} {y - s:.1f}h{2 * s}v{2 * s}h{-2 * s}z",
        f"M{x:.1f} {y - s - 1:.1f}l{s + 1} {2 * s}h{-2 * s - 2}z",
        f"M{x:.1f} {y - s - 1:.1f}l{s + 1} {s + 1}l{-s - 1} {s + 1}l{-s - 1} {-s - 1}z",
    )
    inner = f"<title>{escape(title)}</title>" if title else ""
    outline = outlines[number % 4]
    about = f'class="f{colour % len(COLOURS)} mark"'
    if not outline:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s + 0.5}" {about}>{inner}</circle>'
    return f'<path d="{outline}" {about}>{inner}</path>'


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers, about ``count``, the outer of which enclose low … high."""
    span = high - low or abs(high) or 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 12) for i in range(first, max(last, first + 1) + 1)]


def lines(
    title: str,
    series: Sequence[Line],
    *,
    xs: Sequence[str],
    x_label: str = "epoch",
    bounds: tuple[float, float] | None = None,
    shaded: tuple[float, float] | None = None,
    height: int = 250,
    slanted: bool = False,
) -> str:
    """A chart of lines over equally spaced ``xs``. ``shaded``: from and to, as indices."""
    left, right, top, bottom = 44, 12, 30, 66 if slanted else 40
    values = [y for line in series for y in line.ys if y is not None and math.isfinite(y)]
    low, high = bounds or (min(values, default=0.0), max(values, default=1.0))
    marks = ticks(low, high)
    low, high = marks[0], marks[-1]
    wide, tall = _WIDTH - left - right, height - top - bottom

    def x_of(i: float) -> float:
        return left + wide * ((i + 0.5) / len(xs) if len(xs) < 3 else i / (len(xs) - 1))

    def y_of(value: float) -> float:
        return top + tall * (1 - (value - low) / (high - low))

    parts = [text(left, 17, title)]
    if shaded:
        x0, x1 = x_of(shaded[0]), x_of(shaded[1])
        parts.append(
            f'<rect class="shade" x="{x0:.1f}" y="{top}" width="{x1 - x0:.1f}" height="{tall}"/>'
        )
    for value in marks:
        y = y_of(value)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{left + wide}"/>')
        parts.append(
            text(left - 6, y + 4, f"{value:g}".replace("-", "−"), anchor="end", kind="muted")
        )
    every = 1 if slanted else -(-len(xs) // 16)
    for i, label in enumerate(xs):
        if i % every:
            continue
        x, y = x_of(i), height - bottom + 16
        if slanted:
            turned = f'<g transform="translate({x + 3:.1f} {y - 4}) rotate(-40)">'
            parts.append(f"{turned}{text(0, 0, label, anchor='end', kind='muted')}</g>")
        else:
            parts.append(text(x, y, label, anchor="middle", kind="muted"))
    parts.append(text(left + wide, height - 6, x_label, anchor="end", kind="muted"))
    for line in series:
        points = [(x_of(i), y_of(y), y) for i, y in enumerate(line.ys) if y is not None]
        way = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in points)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        colour = line.colour % len(COLOURS)
        parts.append(f'<path class="s{colour}" d="M{way}"{dash}/>')
        if len(points) <= 30:
            for i, (x, y, value) in enumerate(points):
                said = f"{line.label}, {x_label} {xs[i]}: {value:.4g}"
                parts.append(shape(x, y, line.colour, line.colour, said, 2.5))
    return frame(_WIDTH, height, title, *parts)


def bars(
    title: str,
    rows: Sequence[tuple[str, Sequence[float]]],
    names: Sequence[str],
    *,
    show: Callable[[float], str] = "{:.4f}".format,
    most: float | None = None,
) -> str:
    """Per row a bar for each name, and its number at the end."""
    left, thick, gap, top = 116, 13, 9, 30
    row = thick * len(names) + gap
    wide = _WIDTH - left - 58
    largest = most or max((v for _, vs in rows for v in vs), default=1.0) or 1.0
    parts = [text(4, 17, title)]
    for i, (label, values) in enumerate(rows):
        y = top + i * row
        parts.append(text(left - 6, y + row / 2, label, anchor="end"))
        for j, value in enumerate(values):
            long, at = max(0.0, wide * value / largest), y + thick * j
            said = f"<title>{escape(f'{label}, {names[j]}: {show(value)}')}</title>"
            parts.append(
                f'<rect class="f{j}" x="{left}" y="{at + 1:.1f}" width="{long:.1f}" '
                f'height="{thick - 2}">{said}</rect>'
            )
            parts.append(text(left + long + 4, at + thick - 3, show(value), kind="muted"))
    height = top + row * len(rows) + 4
    parts.append(f'<path class="axis" d="M{left} {top - 3}V{height - 8}"/>')
    return frame(_WIDTH, height, title, *parts)


def dots(
    title: str,
    rows: Sequence[tuple[str, Sequence[float]]],
    names: Sequence[str],
    *,
    unit: str,
    limit: float | None = None,
    show: Callable[[float], str] = "{:.2g}".format,
) -> str:
    """Per row a mark for each name on one logarithmic scale; ``limit`` draws a line."""
    left, right, row, top = 116, 16, 8 + 9 * len(names), 30
    values = [v for _, vs in rows for v in (*vs, *([limit] if limit else [])) if v > 0]
    low = math.floor(math.log10(min(values, default=1.0)))
    high = math.ceil(math.log10(max(values, default=10.0)))
    high = max(high, low + 1)
    wide, height = _WIDTH - left - right, top + row * len(rows) + 40

    def x_of(value: float) -> float:
        exponent = math.log10(value) if value > 0 else low
        return left + wide * (exponent - low) / (high - low)

    bottom = top + row * len(rows)
    parts = [text(4, 17, title)]
    for exponent in range(low, high + 1, max(1, (high - low) // 4)):
        x = x_of(10.0**exponent)
        label = f"{10.0**exponent:g}" if -3 <= exponent <= 3 else f"1e{exponent}"
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>')
        parts.append(text(x, bottom + 16, label, anchor="middle", kind="muted"))
    if limit:
        parts.append(f'<path class="limit" d="M{x_of(limit):.1f} {top - 4}V{bottom + 4}"/>')
    for i, (label, numbers) in enumerate(rows):
        y = top + row * (i + 0.5)
        parts.append(text(left - 10, y + 4, label, anchor="end"))
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{left + wide}"/>')
        for j, value in enumerate(numbers):
            said = f"{label}, {names[j]}: {show(value)} {unit}"
            apart = 8 * (j - (len(names) - 1) / 2)  # equal ones would hide each other
            parts.append(shape(x_of(value), y + apart, j, j, said, 3.5))
    parts.append(text(left + wide, height - 6, unit, anchor="end", kind="muted"))
    return frame(_WIDTH, height, title, *parts)


_SEQUENTIAL = ("#0d0b2c", "#3b1f6e", "#8b2f7c", "#d9535f", "#fb9b4b", "#fcf3b2")
_DIVERGING = ("#053a63", "#2f7fb5", "#a9cbe0", "#f4f4f2", "#f3b98c", "#d0651b", "#6e2b00")


def painted(values: NDArray, *, signed: bool = False) -> NDArray[np.uint8]:
    """(height, width) numbers as (height, width, 3) colours: dark is least; or, signed, blue is
    below zero, orange above."""
    anchors = [
        [int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (_DIVERGING if signed else _SEQUENTIAL)
    ]
    v = np.asarray(values, np.float64)
    if signed:
        v = 0.5 + 0.5 * v / (np.abs(v).max() or 1.0)
    else:
        v = (v - v.min()) / ((v.max() - v.min()) or 1.0)
    places = np.linspace(0, 1, len(anchors))
    channels = [np.interp(v, places, [a[i] for a in anchors]) for i in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> str:
    """(height, width, 3) uint8 as a ``data:`` address."""
    height, width, _ = pixels.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    whole += chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(whole).decode()


def pixels(
    x: float, y: float, width: float, height: float, colours: NDArray[np.uint8], title: str = ""
) -> str:
    """An image in a picture, its pixels kept square-edged."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<image x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{png(colours)}">{inner}</image>'
    )
