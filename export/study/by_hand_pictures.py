"""One picture through a CNN, by hand: a convolution, a pooling window, the decision."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.study import svg
from onnxwalk.export.study.by_hand import (
    Walk,
    decision,
    differs,
    figure,
    formula,
    grid,
    n,
    paragraph,
    steps,
    term,
    total,
)
from onnxwalk.export.study.findings import Result
from onnxwalk.interpreter.ir.model import Node

_SIDE = 172
_MAPS = 32  # shown of a layer
_TERMS = 9  # written out of a channel's sum


def chapter(result: Result) -> str:
    """The HTML of the chapter, without a heading."""
    walk = Walk(result)
    conv = walk.node("Conv")
    assert conv is not None, "a CNN begins with a convolution"
    relu = walk.node("Relu", after=conv)
    pool = walk.node("MaxPool", "AveragePool", after=conv)
    assert relu is not None and pool is not None, "every convolution has a ReLU and a pooling"
    maps, rectified = walk.value(conv.outputs[0])[0], walk.value(relu.outputs[0])[0]
    alive = [i for i in range(len(maps)) if rectified[i].max() > 0]
    number = alive[0] if alive else 0
    y, x = _strongest(rectified[number])
    return (
        _picture(walk)
        + _convolution(walk, conv, number, (y, x), rectified)
        + _pooling(walk, pool, rectified, number, (y, x))
        + _maps(rectified, walk.value(pool.outputs[0])[0], number)
        + _rest(walk, pool)
        + decision(walk)
        + steps(walk)
    )


def _strongest(feature: NDArray[Any]) -> tuple[int, int]:
    """Where the map is largest; not at the edge, where the window holds padding."""
    inner = feature[1:-1, 1:-1] if min(feature.shape) > 2 else feature
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    off = 1 if inner is not feature else 0
    return int(y) + off, int(x) + off


def _picture(walk: Walk) -> str:
    height, width, channels = walk.result.sample.shape
    sample = walk.result.record["sample"]
    colour = "red, green and blue" if channels == 3 else "shades of grey"
    return paragraph(
        f"The sample is picture {sample['index']} of the test set, {sample['rule']}: "
        f"<b>{escape(walk.classes[walk.truth])}</b>. To the model it is",
        f"{height} × {width} × {channels} numbers between 0 and 1: {colour}.",
    )


def _convolution(
    walk: Walk, conv: Node, number: int, at: tuple[int, int], rectified: NDArray[Any]
) -> str:
    x = walk.value(conv.inputs[0])[0].astype(np.float64)
    kernel = walk.value(conv.inputs[1])[number].astype(np.float64)
    bias = float(walk.value(conv.inputs[2])[number])
    maps = walk.value(conv.outputs[0])[0]
    top, left, bottom, right = conv.attributes["pads"]
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    tall, wide = kernel.shape[1:]
    row, column = at
    window = padded[:, row : row + tall, column : column + wide]
    sums = (window * kernel).sum((1, 2))
    names = ("red", "green", "blue") if len(x) == 3 else ("grey",)
    said = paragraph(
        f"A filter is a window of {tall} × {wide} numbers"
        + (f" for each of the {len(x)} colours." if len(x) > 1 else "."),
        "It lies over one place of the picture; what lies on each other is multiplied,",
        "and the products are added. That is one number of the feature map. Then the filter moves",
        f"on by one pixel. There are {len(maps)} filters, hence {len(maps)} maps. Around the",
        "picture lie zeros, so that the map is as large as the picture.",
    )
    which = (
        "the first filter"
        if number == 0
        else (f"filter {number + 1}, the first whose map has anything above zero")
    )
    said += paragraph(
        f"Take {which}, at row {row}, column {column}, where its map is strongest (away from",
        "the edge). The orange square is what it sees there:",
    )
    said += figure(_input_and_maps(walk, number, at, (top, left), (tall, wide)))
    lines = []
    small = tall * wide <= 25
    for channel, name in enumerate(names):
        if small:
            said += (
                f'<div class="pair"><div>{name}: picture{grid(window[channel])}</div>'
                f"<div>filter{grid(kernel[channel])}</div></div>"
            )
        pairs = list(zip(window[channel].flat, kernel[channel].flat, strict=True))
        written = " + ".join(term(a, b) for a, b in pairs[:_TERMS])
        more = f" + … ({len(pairs) - _TERMS} more)" if len(pairs) > _TERMS else ""
        lines.append(f"{name}: {written}{more} = <b>{n(sums[channel])}</b>")
    value = sums.sum() + bias
    found = float(maps[number, row, column])
    lines.append(f"all, and the bias: {total(*sums, bias)} = <b>{n(value)}</b>")
    lines.append(f"the interpreter: {n(found)} (difference {differs(value, found)})")
    lines.append(
        f"ReLU: max(0, {n(value)}) = <b>{n(max(0.0, value))}</b>; the interpreter: "
        f"{n(float(rectified[number, row, column]))}"
    )
    return f"<h4>One value of a feature map</h4>{said}{formula(*lines)}"


def _input_and_maps(
    walk: Walk,
    number: int,
    at: tuple[int, int],
    pads: tuple[int, int],
    size: tuple[int, int],
) -> str:
    """The picture with the window, and the map that the filter makes of it."""
    sample = walk.result.sample
    conv = walk.node("Conv")
    assert conv is not None
    feature = walk.value(conv.outputs[0])[0, number]
    height, width, _ = sample.shape
    unit = _SIDE / width
    gap, up = 28, 24
    shown = np.broadcast_to(sample, (height, width, 3))
    colours = np.clip(shown * 255, 0, 255).round().astype(np.uint8)
    row, column = at

    def square(x: float, y: float, wide: float, tall: float) -> str:
        return (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            f'fill="none" stroke="#000" stroke-width="3.5"/>'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            f'fill="none" stroke="#ff9d2e" stroke-width="2"/>'
        )

    second = _SIDE + gap
    tall = unit * height
    x0, y0 = (column - pads[1]) * unit, (row - pads[0]) * unit + up
    return svg.frame(
        2 * _SIDE + gap + 8,
        up + tall + 26,
        "The picture and what one filter makes of it",
        svg.text(2, 15, "picture"),
        svg.pixels(2, up, _SIDE, tall, colours, "the picture"),
        square(2 + x0, y0, unit * size[1], unit * size[0]),
        svg.text(second, 15, f"map of filter {number + 1}, before ReLU"),
        svg.pixels(second, up, _SIDE, tall, svg.painted(feature, signed=True), "the feature map"),
        square(second + column * unit, row * unit + up, unit, unit),
        svg.text(second, up + tall + 18, "blue < 0 < orange", kind="muted"),
    )


def _pooling(
    walk: Walk, pool: Node, rectified: NDArray[Any], number: int, at: tuple[int, int]
) -> str:
    tall, wide = pool.attributes["kernel_shape"]
    down, across = pool.attributes["strides"]
    pooled = walk.value(pool.outputs[0])[0, number]
    row = min(at[0] // down, pooled.shape[0] - 1)
    column = min(at[1] // across, pooled.shape[1] - 1)
    window = rectified[number, row * down : row * down + tall, column * across :][:, :wide]
    is_max = pool.op_type == "MaxPool"
    value = float(window.max() if is_max else window.astype(np.float64).mean())
    inside = ", ".join(n(v) for v in window.flat)
    sum_of = " + ".join(n(v) for v in window.flat)
    line = f"max({inside})" if is_max else f"({sum_of}) / {window.size}"
    place = np.unravel_index(int(window.argmax()), window.shape) if is_max else None
    marked = (int(place[0]), int(place[1])) if place is not None else None
    found = float(pooled[row, column])
    before = " × ".join(map(str, rectified[number].shape))
    after = " × ".join(map(str, pooled.shape))
    kind = "keeps the largest" if is_max else "keeps the mean"
    why = (
        "What was found stays; where exactly, to the pixel, is forgotten."
        if is_max
        else "All that was found counts, thinned out."
    )
    return (
        "<h4>One pooling window</h4>"
        + paragraph(
            f"Pooling cuts each map into windows of {tall} × {wide} and {kind}: {before} become",
            f"{after}. {why} The window of the value from above:",
        )
        + f'<div class="pair"><div>after ReLU{grid(window, 4, marked)}</div></div>'
        + formula(
            f"{line} = <b>{n(value)}</b>",
            f"the interpreter, row {row}, column {column}: {n(found)} "
            f"(difference {differs(value, found)})",
        )
    )


def _maps(rectified: NDArray[Any], pooled: NDArray[Any], number: int) -> str:
    """The first maps of the layer, small, and one of them pooled."""
    shown = rectified[:_MAPS]
    columns, side, gap = 8, 44, 4
    rows = -(-len(shown) // columns)
    parts = [svg.text(2, 15, f"The first {len(shown)} maps after ReLU")]
    for i, feature in enumerate(shown):
        x, y = 2 + (i % columns) * (side + gap), 24 + (i // columns) * (side + gap)
        title = f"map {i + 1}: up to {feature.max():.3f}"
        parts.append(svg.pixels(x, y, side, side, svg.painted(feature), title))
    height = 24 + rows * (side + gap)
    maps = svg.frame(2 + columns * (side + gap), height, "Feature maps", *parts)
    pair = svg.frame(
        2 * _SIDE + 36,
        _SIDE + 30,
        "A map before and after pooling",
        svg.text(2, 15, f"map {number + 1} after ReLU"),
        svg.pixels(2, 24, _SIDE, _SIDE, svg.painted(rectified[number]), "after ReLU"),
        svg.text(_SIDE + 30, 15, "and pooled"),
        svg.pixels(_SIDE + 30, 24, _SIDE, _SIDE, svg.painted(pooled[number]), "pooled"),
    )
    return f'<div class="charts">{figure(pair)}{figure(maps, "Bright is strong.")}</div>'


def _rest(walk: Walk, pool: Node) -> str:
    """From the first pooling to the last layer, in shapes."""
    conv, said = walk.node("Conv", after=pool), []
    while conv is not None:
        inputs, outputs = walk.value(conv.inputs[1]).shape[1::-1]
        said.append(
            f"The next convolution does the same on {inputs} maps instead of colours and makes "
            f"{outputs}: each of its values is a sum over all {inputs}."
        )
        conv = walk.node("Conv", after=conv)
    dense = walk.node("MatMul")
    if dense is not None:
        inputs, units = walk.value(dense.inputs[1]).shape
        mean = walk.node("ReduceMean", "GlobalAveragePool")
        how = "averaged, one number each" if mean is not None else "laid out in one row"
        said.append(
            f"The maps are then {how}: {inputs} numbers. A Dense layer makes {units} of them, each "
            f"a weighted sum of all {inputs} and a bias, through ReLU."
        )
    return f"<h4>The rest of the way</h4>{paragraph(*said)}"
