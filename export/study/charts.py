"""The charts of a study, each drawn on a matplotlib figure or on a part of one.

svg_chart(draw_lines, "loss", series, xs=epochs)   a chart as an <svg> of the page
draw_lines(part, "loss", series, xs=epochs)        the same chart as a part of a larger figure
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import require
from onnxwalk.export.study.data import EXTRA
from onnxwalk.export.study.language import number
from onnxwalk.export.study.language import translate as _
from onnxwalk.interpreter.cli import _plot

WIDTH, HEIGHT = 380, 260  # points

_SEQUENTIAL = ("#0d0b2c", "#3b1f6e", "#8b2f7c", "#d9535f", "#fb9b4b", "#fcf3b2")
_DIVERGING = ("#053a63", "#2f7fb5", "#a9cbe0", "#f4f4f2", "#f3b98c", "#d0651b", "#6e2b00")


@dataclass(frozen=True)
class Line:
    """A line of a chart: one y per x; None leaves a gap. ``kind`` tells apart lines that share a
    label: training and validation."""

    label: str
    ys: Sequence[float | None]
    colour: int = 0
    dashed: bool = False
    kind: str = ""


def svg_chart(
    draw: Callable[..., None],
    title: str,
    *content: Any,
    width: float = WIDTH,
    height: float = HEIGHT,
    **options: Any,
) -> Any:
    """A chart as an ``<svg>`` for a template: ``draw`` is one of the functions below."""
    (markupsafe,) = require("markupsafe", extra=EXTRA)

    def paint(figure: Any) -> None:
        draw(figure, title, *content, **options)
        write_numbers(figure)

    return markupsafe.Markup(_plot.inline_svg(title, paint, width, height))


def write_numbers(figure: Any) -> None:
    """Have the axes' numbers written as the language does."""
    (ticker,) = require("matplotlib.ticker", extra=EXTRA)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            shown = axis.get_major_formatter()
            if type(shown) is ticker.ScalarFormatter:
                axis.set_major_formatter(_localized(ticker.ScalarFormatter)())


def _localized(formatter: Any) -> Any:
    class Localized(formatter):
        def __call__(self, x: float, pos: Any = None) -> str:
            return number(super().__call__(x, pos))

    return Localized


def draw_lines(
    figure: Any,
    title: str,
    series: Sequence[Line],
    *,
    xs: Sequence[str],
    x_label: str = "",
    y_label: str = "",
    bounds: tuple[float, float] | None = None,
    shaded: tuple[float, float, str] | None = None,
) -> None:
    """Lines over equally spaced ``xs``. ``shaded``: from and to, as indices, and what is there."""
    x_label = x_label or _("epoch")
    axes = _plot.plain_axes(figure, title)
    handles: dict[str, Any] = {}
    for line in series:
        ys = [np.nan if y is None else y for y in line.ys]
        series_label = ", ".join(filter(None, [line.label, line.kind]))
        tips = [
            f"{series_label}, {x_label} {x}: {number(f'{y:.4g}')}"
            for x, y in zip(xs, ys, strict=True)
            if y == y
        ]
        marked = _plot.mark(line.colour, tips, 6)
        if len(ys) > 30:
            marked |= {"marker": "", "gid": None}
        style = (0, (3, 2)) if line.dashed else "-"
        (artist,) = axes.plot(ys, linestyle=style, linewidth=1.7, label=line.label, **marked)
        handles.setdefault(line.label, artist)
    for kind, dashed in {line.kind: line.dashed for line in series if line.kind}.items():
        (handles[kind],) = axes.plot([], [], "--" if dashed else "-", color=_plot.MUTED, label=kind)
    if shaded:
        grey = axes.axvspan(*shaded[:2], color=_plot.MUTED, alpha=0.16, linewidth=0)
        grey.set_label(shaded[2])
        handles[shaded[2]] = grey
    _word_ticks(axes, xs)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(x_label, loc="right")
    axes.set_ylabel(y_label)
    axes.set_ylim(bounds)
    _plot.legend(figure, list(handles.values()))


def draw_bars(
    figure: Any,
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    x_max: float | None = None,
) -> None:
    """A row per label, with a labelled bar per series."""
    axes = _plot.rows(figure, title, labels)
    thick = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        middles = np.arange(len(labels)) + thick * (i - (len(series) - 1) / 2)
        drawn = axes.barh(middles, values, 0.85 * thick, color=_plot.COLOURS[i], label=name)
        for label, value, bar in zip(labels, values, drawn, strict=True):
            bar.set_gid(_plot.tooltips([f"{label}, {name}: {number(f'{value:.4f}')}"]))
        axes.bar_label(
            drawn,
            fmt=lambda value: number(f"{value:.4f}"),
            padding=3,
            fontsize=9,
            color=_plot.MUTED,
        )
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, x_max)
    axes.set_xlabel(x_label, loc="right")
    _plot.legend(figure)


#: a row per label, in it a mark per series, on a logarithmic scale
draw_dots = partial(_plot.dots, spread=0.25, write=number)


def row_height(labels: Sequence[Any], n_series: int) -> int:
    """The height of a ``draw_bars`` or ``draw_dots`` chart."""
    return 100 + len(labels) * (8 + 10 * n_series)


def draw_heatmap(
    figure: Any,
    title: str,
    values: NDArray[Any],
    *,
    xs: Sequence[str],
    marked: int | None = None,
) -> None:
    """(cells, steps) as colours under a word for each step; steps beyond the values are grey.

    ``marked`` is the row of a cell to point at.
    """
    axes = _plot.plain_axes(figure, title)
    cells, steps = values.shape
    span = (-0.5, steps - 0.5, cells - 0.5, -0.5)
    _image(axes, colorize(values, signed=True), title, extent=span, aspect="auto")
    axes.axvspan(steps - 0.5, len(xs) - 0.5, color=_plot.MUTED, alpha=0.16, linewidth=0)
    if marked is not None:
        pointer = {"marker": ">", "color": _plot.COLOURS[1], "clip_on": False}
        axes.plot([-0.5 - 0.02 * len(xs)], [marked], **pointer)
    axes.set_xlim(-0.5, len(xs) - 0.5)
    _word_ticks(axes, xs)
    axes.grid(visible=False)
    axes.set_xlabel(_("step"), loc="right")
    axes.set_ylabel(_("cell"), labelpad=8)


def draw_images(
    figure: Any,
    title: str,
    images: Mapping[str, NDArray[np.uint8]],
    *,
    columns: int,
    named: bool = True,
    frames: Mapping[int, tuple[float, float, float, float]] | None = None,
) -> None:
    """(height, width, 3) images in a grid, in their order, each with its name as a title or as a
    tooltip. ``frames``: image's number -> (x, y, width, height) of an orange square, in pixels."""
    if not named:
        figure.suptitle(title, x=0, ha="left", fontsize=12)
    grid = figure.subplots(-(-len(images) // columns), columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for place, (axes, (name, image)) in enumerate(zip(grid, images.items(), strict=False)):
        _image(axes, image, name)
        if named:
            axes.set_title(name)
        if frames and place in frames:
            x, y, wide, tall = frames[place]
            for colour, thick in (("black", 3.5), ("#ff9d2e", 2)):
                (patches,) = require("matplotlib.patches", extra=EXTRA)
                square = patches.Rectangle(
                    (x - 0.5, y - 0.5), wide, tall, fill=False, edgecolor=colour, linewidth=thick
                )
                axes.add_patch(square).set_clip_on(False)


def colorize(values: NDArray[Any], *, signed: bool = False) -> NDArray[np.uint8]:
    """(height, width) numbers as (height, width, 3) colours: dark is least; or, signed, blue is
    below zero, orange above."""
    (colors,) = require("matplotlib.colors", extra=EXTRA)
    v = np.asarray(values, np.float64)
    if signed:
        v = 0.5 + 0.5 * v / (np.abs(v).max() or 1.0)
    else:
        v = (v - v.min()) / ((v.max() - v.min()) or 1.0)
    anchors = _DIVERGING if signed else _SEQUENTIAL
    colours = colors.LinearSegmentedColormap.from_list("", anchors, 257)  # an odd number: has 0
    return colours(v, bytes=True)[..., :3]


def _image(axes: Any, pixels: NDArray[np.uint8], tip: str, **options: Any) -> None:
    """An image whose pixels stay square-edged, with a tooltip."""
    axes.imshow(pixels, interpolation="none", gid=_plot.tooltips([tip]), **options)


def _word_ticks(axes: Any, labels: Sequence[str]) -> None:
    """A label below each x, or below some of them; words are slanted."""
    every = 1 if len(labels) <= 30 else -(-len(labels) // 10)
    slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    numbers = all(label.isdigit() for label in labels)
    axes.set_xticks(range(0, len(labels), every), labels[::every], **({} if numbers else slanted))
