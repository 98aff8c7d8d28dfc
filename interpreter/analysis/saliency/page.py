"""A page, or an SVG, of saliency that needs neither network nor script."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from onnxwalk.interpreter.analysis.saliency.draw import (
    NEGATIVE,
    POSITIVE,
    largest,
    overlay,
    png,
)
from onnxwalk.interpreter.analysis.saliency.result import PARTS, Attribution, Saliency, place

_MOST_ROWS = 200  # of a table
_MOST_BARS = 1000
_STYLE = """
:root{color-scheme:light dark;--ink:light-dark(#1b1f24,#e6e9ed);--muted:light-dark(#5d6672,#9aa5b1);
 --line:light-dark(#d9dde3,#343b45)}
body{max-width:60rem;margin:1.5rem auto;padding:0 1rem;color:var(--ink);
 background:light-dark(#fff,#14171b);font:15px/1.6 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.2rem}h2{font-size:1rem;margin:1.6rem 0 .3rem;border-top:1px solid var(--line);
 padding-top:.6rem}
p{margin:.3rem 0}.note{color:var(--muted);font-size:.88rem}
img{max-width:100%;image-rendering:pixelated;border-radius:4px}
.words span{border-radius:4px;padding:.05rem .3rem;margin:.1rem .05rem;display:inline-block}
svg{width:100%;height:7rem}svg .plus{fill:rgb(240,138,36)}svg .minus{fill:rgb(47,127,196)}
svg .zero{stroke:var(--muted);vector-effect:non-scaling-stroke}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.88rem}
td,th{padding:.1rem .9rem .1rem 0;text-align:left}td:last-child{text-align:right}
summary{cursor:pointer;color:var(--muted);font-size:.88rem}
"""


def build_page(
    found: Saliency,
    title: str,
    *,
    names: Sequence[str],
    words: Mapping[str, Sequence[Sequence[str]]],
    pictures: Mapping[str, np.ndarray],
) -> str:
    """The complete HTML document.

    ``names``: of the samples. ``words``: of each sample, by the name of the input. ``pictures``:
    the inputs that overlays are drawn over, by their names.
    """
    body = [f"<h1>{html.escape(title)}</h1>"]
    for sample, name in enumerate(names):
        score = f"score {found.scores[sample]:.4g}"
        body.append(
            f"<h2>{html.escape(name)}: {html.escape(found.target_text(sample))}, {score}</h2>"
        )
        if found.error is not None and found.difference is not None:
            body.append(
                f'<p class="note">The sum is {found.difference[sample] + found.error[sample]:.4g}; '
                f"the score is {found.difference[sample]:.4g} above that of the baseline "
                f"(error {found.error[sample]:+.2g}).</p>"
            )
        for attribution in found.attributions.values():
            body += _section(attribution, sample, words, pictures)
    body.append(
        '<p class="note"><b style="color:rgb(240,138,36)">Orange</b> raised the score, '
        '<b style="color:rgb(47,127,196)">blue</b> lowered it.</p>'
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _section(
    attribution: Attribution,
    sample: int,
    words: Mapping[str, Sequence[Sequence[str]]],
    pictures: Mapping[str, np.ndarray],
) -> list[str]:
    parts = attribution.parts[sample]
    said = f'<p class="note">{html.escape(attribution.name)}</p>'
    if attribution.input in pictures and parts.ndim == 2:
        drawn = overlay(pictures[attribution.input][sample], parts)
        return [said, f'<img alt="picture, and saliency over it" src="{_data_url(drawn)}">']
    shown, values = [said], parts.ravel()
    if attribution.kind == "text" and attribution.input in words and parts.ndim == 1:
        labels = list(words[attribution.input][sample])
        most = largest(parts[: len(labels)])
        spans = " ".join(_word(*pair, most) for pair in zip(labels, parts, strict=False))
        shown.append(f'<p class="words">{spans}</p>')
        if len(labels) < len(parts):
            rest = parts[len(labels) :].sum()
            shown.append(f'<p class="note">padding after the text: {rest:+.3g}</p>')
        values = values[: len(labels)]
        return [*shown, _table(values, labels.__getitem__)]
    if parts.ndim == 1:
        shown.append(_bars(parts))
    part = PARTS[attribution.kind]
    return [*shown, _table(values, lambda i: f"{part} {place(i, parts.shape)}")]


def _word(word: str, value: float, most: float) -> str:
    colour = ",".join(map(str, POSITIVE if value > 0 else NEGATIVE))
    strength = min(abs(float(value)) / most, 1) * 0.75
    return (
        f'<span style="background:rgba({colour},{strength:.2f})" title="{value:+.4g}">'
        f"{html.escape(word)}</span>"
    )


def _bars(values: np.ndarray) -> str:
    """A bar for each value; of very many, for the mean of as many as make one."""
    together = -(-len(values) // _MOST_BARS)
    starts = np.arange(0, len(values), together)
    values = np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))
    low, high = min(0.0, float(values.min(initial=0))), max(0.0, float(values.max(initial=0)))
    room = (high - low) or 1.0
    bars = []
    for k, value in enumerate(map(float, values)):
        top, size = (high - max(value, 0)) / room * 100, abs(value) / room * 100
        kind = "plus" if value > 0 else "minus"
        bars.append(
            f'<rect class="{kind}" x="{k + 0.1}" y="{top:.2f}" width=".8" height="{size:.2f}">'
            f"<title>{k * together}: {value:+.4g}</title></rect>"
        )
    zero = high / room * 100
    return (
        f'<svg viewBox="0 0 {len(values)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="saliency by step">{"".join(bars)}'
        f'<path class="zero" d="M0 {zero:.2f}H{len(values)}"/></svg>'
    )


def _table(values: np.ndarray, label: Callable[[int], str]) -> str:
    order = np.argsort(-np.abs(values), kind="stable")[:_MOST_ROWS]
    rows = "".join(
        f"<tr><td>{html.escape(label(int(i)))}</td><td>{values[i]:+.4g}</td></tr>" for i in order
    )
    rest = f"<p class=note>and {len(values) - len(order):,} more</p>" * (len(order) < len(values))
    summary = "<summary>values, the largest first</summary>"
    return f"<details>{summary}<table>{rows}</table>{rest}</details>"


def _data_url(pixels: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def build_svg(pixels: np.ndarray, title: str) -> str:
    """An SVG that holds a picture."""
    height, width, _ = pixels.shape
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}"><title>{html.escape(title)}</title><image width="{width}" '
        f'height="{height}" href="{_data_url(pixels)}"/></svg>\n'
    )
