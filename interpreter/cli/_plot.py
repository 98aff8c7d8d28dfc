"""Charts by matplotlib, written as small SVG that follows the light or dark theme of a page.

matplotlib is optional: call ``check`` before anything is measured that is to be drawn.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zlib import crc32

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import check_folder, replace_atomically, translate_os_errors
from onnxwalk.interpreter.optional import require

#: CSS variable -> its values in the light and the dark theme. Charts are drawn in the former;
#: colour-blind people can distinguish c0 … c5 (after Okabe and Ito).
THEMES = {
    "c0": ("#0072b2", "#56b4e9"),
    "c1": ("#c24e00", "#ff9d5c"),
    "c2": ("#00805d", "#2fd0a2"),
    "c3": ("#a8487f", "#e8a3c9"),
    "c4": ("#8a6a00", "#f0d955"),
    "c5": ("#555555", "#bbbbbb"),
    "ink": ("#1d232b", "#e7ebf0"),
    "muted": ("#59636f", "#a3adb9"),
    "line": ("#d5dae0", "#3a424c"),
    "ground": ("#ffffff", "#14181d"),
}
COLOURS = [THEMES[f"c{i}"][0] for i in range(6)]
INK, MUTED, LINE, GROUND = (THEMES[name][0] for name in ("ink", "muted", "line", "ground"))
#: each colour has a shape of marks, too
MARKERS = ("o", "s", "^", "D", "v", "P")

_VARIABLES = {light: f"var(--{name},{light})" for name, (light, _) in THEMES.items()}
_LOOK = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "onnxwalk",  # the same chart gives the same file
    "text.color": INK, "axes.titlecolor": INK, "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE, "xtick.color": LINE, "ytick.color": LINE,
    "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": LINE, "grid.linewidth": 1,
    "font.size": 11, "legend.fontsize": 11, "axes.titlesize": 12, "axes.titlelocation": "left",
    "legend.frameon": False, "legend.handlelength": 1.4, "legend.columnspacing": 1.2,
    "figure.constrained_layout.h_pad": 0.09,  # the fonts of browsers are taller than matplotlib's
}  # fmt: skip
#: begins the id of an artist with tooltips, and separates these
_TIP = "¦"
_SVG = "{http://www.w3.org/2000/svg}"
_SHAPES = (f"{_SVG}use", f"{_SVG}image", f"{_SVG}path")


def check(path: Path) -> None:
    """Raise InvalidInputError if ``draw`` can't write ``path``."""
    require("matplotlib")
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise InvalidInputError(f"{path}: expected a .svg, .png or .pdf file")
    check_folder(path)


def draw(
    path: Path,
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    rules: Sequence[int] = (),
) -> None:
    """Draw onnxwalk's time divided by each engine's: a row per label, a mark per engine.

    ``rules``: the rows above which a thin line begins a new group.
    """

    def paint(figure: Any) -> None:
        axes = dots(
            figure,
            textwrap.fill(title, 56),
            labels,
            series,
            x_label="onnxwalk's time over the other's (left of 1: onnxwalk is faster)",
            limit=(1, "equally fast"),
        )
        for row in rules:
            axes.axhline(row - 0.5, color=MUTED, linewidth=0.6)

    save(path, paint, 648, 110 + 14 * len(labels))


def dots(
    figure: Any,
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    x_label: str,
    limit: tuple[float, str] | None = None,
    spread: float = 0.0,
    write: Callable[[str], str] = str,
) -> Any:
    """Draw a row per label with a mark per series, on a logarithmic scale; returns the axes.

    ``limit`` draws a line at a value, with a name for the legend. Marks of a row are ``spread``
    rows apart, so that equal ones don't hide each other. Values must be positive and finite to be
    drawn. ``write`` gets each number, and says how it is written in another language.
    """
    axes = rows(figure, title, labels)
    axes.set_xscale("log")
    for i, (name, values) in enumerate(series.items()):
        points = [(v, y) for y, v in enumerate(values) if v is not None and 0 < v < math.inf]
        axes.plot(
            [value for value, _ in points],
            [row + spread * (i - (len(series) - 1) / 2) for _, row in points],
            **mark(i, [f"{labels[row]}, {name}: {write(f'{value:.2g}')}" for value, row in points]),
            linestyle="",
            label=name,
        )
    if limit:
        axes.axvline(limit[0], color=INK, linewidth=1, linestyle=":", label=limit[1])
    axes.xaxis.set_major_formatter(lambda value, _: write(f"{value:g}"))
    axes.minorticks_off()
    low, high = axes.get_xlim()
    if high < 150 * low:  # few or no powers of ten are visible
        axes.xaxis.set_major_locator(require("matplotlib.ticker").LogLocator(subs=(1, 2, 5)))
    axes.set_xlabel(x_label, loc="right")
    legend(figure)
    return axes


def curves(path: Path, title: str, series: Mapping[str, Sequence[float]], x_label: str) -> None:
    """Draw a line for each series, over 1, 2, … on the x axis. Values that aren't finite leave
    gaps."""

    def paint(figure: Any) -> None:
        axes = plain_axes(figure, textwrap.fill(title, 56))
        for i, (name, values) in enumerate(series.items()):
            tips = [f"{name}, {x_label} {n}: {v:.4g}" for n, v in enumerate(values, 1)]
            places = range(1, len(values) + 1)
            axes.plot(places, values, **mark(i, tips, size=5), linewidth=1.5, label=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(x_label, loc="right")
        legend(figure)

    save(path, paint, 480, 300)


def rows(figure: Any, title: str, labels: Sequence[str]) -> Any:
    """Axes with a named row for each label, the first on top."""
    axes = plain_axes(figure, title)
    axes.set_yticks(range(len(labels)), labels, color=INK)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    return axes


def plain_axes(figure: Any, title: str) -> Any:
    """Axes without a frame and ticks."""
    axes = figure.subplots()
    axes.set_title(title)
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False, bottom=False)
    return axes


def mark(number: int, tips: Sequence[str] = (), size: float = 7) -> dict[str, Any]:
    """Arguments of ``Axes.plot`` for the ``number``-th series; ``tips`` are tooltips."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": size,
        "markeredgecolor": GROUND,
        "markeredgewidth": 0.8,
        "clip_on": False,
        "gid": tooltips(tips),
    }


def tooltips(texts: Sequence[str]) -> str:
    """A ``gid`` that adds tooltips to the parts of an artist (marks, images, bars) in SVG."""
    return _TIP + _TIP.join(texts)


def legend(figure: Any, handles: Sequence[Any] = ()) -> None:
    """Add a legend above the axes, in as many columns as fit."""
    handles = handles or figure.axes[0].get_legend_handles_labels()[0]
    if handles:
        longest = max(len(handle.get_label()) for handle in handles)
        width = figure.bbox.width / figure.dpi * 72
        columns = max(1, int(width / (6.4 * longest + 32)))
        in_rows = [handle for i in range(columns) for handle in handles[i::columns]]
        figure.legend(handles=in_rows, loc="outside upper left", ncols=columns)


def save(path: Path, paint: Callable[[Any], None], width: float, height: float) -> None:
    """Write a chart to a file: ``paint`` draws on a figure of this size in points."""
    with replace_atomically(path) as part, translate_os_errors(path):
        if path.suffix == ".svg":
            part.write_text(svg_file(paint, width, height), encoding="utf-8")
        else:
            with require("matplotlib").rc_context(_LOOK):
                figure = _figure(paint, width, height)
                figure.savefig(part, dpi=150, format=path.suffix.removeprefix("."))


def svg_file(paint: Callable[[Any], None], width: float, height: float) -> str:
    """The text of an SVG file with both themes; for the rest see ``save``."""
    with require("matplotlib").rc_context(_LOOK):
        picture = _svg(_figure(paint, width, height), style=stylesheet("svg"))
    return f'<?xml version="1.0" encoding="utf-8"?>\n{picture}\n'


def inline_svg(title: str, paint: Callable[[Any], None], width: float, height: float) -> str:
    """A chart as an ``<svg>`` for a page that has ``stylesheet``; ``title`` for screen readers."""
    with require("matplotlib").rc_context(_LOOK):
        return _svg(_figure(paint, width, height), title)


def stylesheet(selector: str) -> str:
    """CSS that defines the colours of ``THEMES`` for the elements of ``selector``."""
    light, dark = (
        ";".join(f"--{name}:{values[theme]}" for name, values in THEMES.items()) for theme in (0, 1)
    )
    return (
        f"{selector}{{{light};font-family:system-ui,sans-serif}}"
        f"@media(prefers-color-scheme:dark){{{selector}{{{dark}}}}}"
    )


def _figure(paint: Callable[[Any], None], width: float, height: float) -> Any:
    size = (width / 72, height / 72)
    figure = require("matplotlib.figure").Figure(size, layout="constrained")
    paint(figure)
    return figure


def _svg(figure: Any, title: str = "", style: str = "") -> str:
    """A figure as SVG without the four fifths of matplotlib's output that have no effect.

    Clipping is removed, too: no chart draws anything outside its axes.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    for child in (root[0], root[1]):  # metadata, and a style for all elements of a page
        root.remove(child)
    classes: dict[str, str] = {}
    _shorten(root, classes)
    for name in ("width", "height"):
        root.set(name, root.get(name, "").removesuffix("pt"))
    del root.attrib["version"]
    if title:
        root.set("role", "img")
        root.set("aria-label", title)
    else:  # a file is shown as an image: no tooltips
        for element in root.iter():
            for tip in element.findall(f"{_SVG}title"):
                element.remove(tip)
    rules = "".join(f".{name}{{{text}}}" for text, name in classes.items())
    ElementTree.SubElement(root, f"{_SVG}style").text = f"{style}{rules}"
    ElementTree.register_namespace("", _SVG[1:-1])
    return ElementTree.tostring(root, "unicode")


def _shorten(element: ElementTree.Element, classes: dict[str, str]) -> None:
    """Add tooltips, remove unused ids and groups, round numbers, replace styles by classes."""
    for i, child in reversed(list(enumerate(element))):
        _shorten(child, classes)
        child.tail = None
        if child.tag == f"{_SVG}clipPath":
            element.remove(child)
        elif child.tag == f"{_SVG}g" and not child.attrib:
            element[i : i + 1] = list(child)
    element.text = (element.text or "").strip() or None
    attributes, element.attrib = element.attrib, {}
    for name, value in attributes.items():
        if name == "id" and value.startswith(_TIP):
            parts = [part for part in element.iter() if part.tag in _SHAPES]
            marks = [part for part in parts if part.tag == _SHAPES[0]] or parts
            for part, tip in zip(marks, value[1:].split(_TIP), strict=False):
                ElementTree.SubElement(part, f"{_SVG}title").text = tip
        elif name == "id" and element.tag in _SHAPES and "_" not in value:  # the outline of a mark
            element.set("id", value[:7])
        elif name.endswith("}href"):
            element.set("href", value[:8] if value[0] == "#" else "".join(value.split()))
        elif name == "style":
            # equal styles have equal names in all charts of a page
            text = _short_style(value)
            element.set("class", classes.setdefault(text, f"s{crc32(text.encode()):x}"))
        elif name not in ("id", "clip-path") and not value.startswith("rotate(-0 "):
            digits = 3 if name == "transform" else 1
            element.set(name, _rounded(" ".join(value.split()), digits))
    kinds = {child.get("class") for child in element}
    shared = kinds.pop() if len(kinds) == 1 else None
    is_group = element.tag == f"{_SVG}g" and len(element) > 1
    if shared and is_group and "class" not in element.attrib:
        element.set("class", shared)
        for child in element:
            del child.attrib["class"]


def _short_style(value: str) -> str:
    parts = [part for part in re.split(r"; ?", value) if not part.startswith("font-family")]
    text = _rounded(";".join(parts)).replace(": ", ":")
    return re.sub(r"#\w{6}", lambda colour: _VARIABLES.get(colour[0], colour[0]), text)


def _rounded(text: str, digits: int = 1) -> str:
    text = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.{digits}f}", text)
    return re.sub(r"\.0+\b", "", text)
