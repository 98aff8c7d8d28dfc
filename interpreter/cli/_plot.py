"""Ratios of times as a picture."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import explained, replacing
from onnxwalk.interpreter.optional import need

#: colours that colour-blind people tell apart (Okabe and Ito), and a shape for who sees none
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#000000", "v"))
_ROW = 0.2  # inches


def check(path: Path) -> None:
    """Whether ``draw`` could write ``path``, before minutes of measuring. Raises
    InvalidInputError."""
    need("matplotlib")
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise InvalidInputError(f"{path}: a plot is written to .svg, .png or .pdf")
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path}: there is no folder {path.parent}")


def draw(
    path: Path,
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    rules: Sequence[int] = (),
) -> None:
    """One row per label, on it a mark per engine at onnxwalk's time over the engine's.

    ``rules``: the rows above which a thin line begins a new group.
    """
    need("matplotlib").use("Agg")
    pyplot = need("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(9, 1.4 + _ROW * len(labels)), layout="constrained")
    for (name, ratios), (colour, shape) in zip(series.items(), _STYLES, strict=False):
        points = [(r, y) for y, r in enumerate(ratios) if r is not None and math.isfinite(r)]
        if points:
            axes.scatter(
                *zip(*points, strict=True), s=26, c=colour, marker=shape, label=name, zorder=3
            )
    axes.axvline(1, color="black", linewidth=1)
    for row in rules:
        axes.axhline(row - 0.5, color="0.5", linewidth=0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="both", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("onnxwalk's time over the other's (left of 1: onnxwalk is faster)")
    axes.set_title(textwrap.fill(title, 90), fontsize=9)
    if series:
        axes.legend(loc="best", fontsize=8)
    with replacing(path) as part, explained(path):
        figure.savefig(part, dpi=150, format=path.suffix.removeprefix("."))
    pyplot.close(figure)
