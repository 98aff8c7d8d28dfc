"""One picture through a CNN, by hand: a convolution, a pooling window, the decision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.study import charts
from onnxwalk.export.study.by_hand import SampleRun, describe_steps, explain_softmax, n, term
from onnxwalk.export.study.by_hand_backwards import (
    through_convolution,
    through_dense,
    through_pooling,
)
from onnxwalk.export.study.findings import Result
from onnxwalk.export.study.language import translate as _
from onnxwalk.export.study.page import render
from onnxwalk.interpreter.ir.model import Node

_MAPS = 32  # number of maps shown
_TERMS = 9  # products of a channel's sum that are written out


def chapter(result: Result) -> Any:
    """The HTML of the chapter, without a heading."""
    run = SampleRun(result)
    conv = run.node("Conv")
    assert conv is not None, "a CNN begins with a convolution"
    relu = run.node("Relu", after=conv)
    pool = run.node("MaxPool", "AveragePool", after=conv)
    assert relu is not None and pool is not None, "every convolution has a ReLU and a pooling"
    maps, rectified = run.value(conv.outputs[0])[0], run.value(relu.outputs[0])[0]
    alive = [i for i in range(len(maps)) if rectified[i].max() > 0]
    number = alive[0] if alive else 0
    row, column = _strongest(rectified[number])
    pooled = run.value(pool.outputs[0])[0, number]
    return render(
        "by_hand_picture.html",
        run=run,
        sample=result.record["sample"],
        number=number,
        row=row,
        column=column,
        maps=maps,
        rectified=rectified,
        **_convolution(run, conv, number, row, column),
        window_chart=_window_chart(run, conv, number, row, column),
        pool=_pooling(pool, rectified[number], pooled, row, column),
        pooling_chart=charts.svg_chart(
            charts.draw_images,
            _("A map before and after pooling"),
            {
                _("map {number} after ReLU").format(number=number + 1): charts.colorize(
                    rectified[number]
                ),
                _("and pooled"): charts.colorize(pooled),
            },
            columns=2,
            height=210,
        ),
        maps_chart=_maps_chart(rectified[:_MAPS]),
        **_remaining_layers(run, pool),
        back=_backwards(run, conv, relu, pool),
        decision=explain_softmax(run),
        steps=describe_steps(run),
    )


def _backwards(run: SampleRun, conv: Node, relu: Node, pool: Node) -> dict[str, Any] | None:
    """One step of training: through the Dense layer, a pooling window and a filter."""
    dense = through_dense(run)
    if dense is None:
        return None
    window = through_pooling(run, relu, pool)
    return {
        "dense": dense,
        "pool": window,
        "conv": through_convolution(run, conv, window["number"]),
    }


def _strongest(feature: NDArray[Any]) -> tuple[int, int]:
    """The position of the maximum of a map, except at the edge, where the window has padding."""
    inner = feature[1:-1, 1:-1] if min(feature.shape) > 2 else feature
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    off = 1 if inner is not feature else 0
    return int(y) + off, int(x) + off


def _convolution(run: SampleRun, conv: Node, number: int, row: int, column: int) -> dict[str, Any]:
    """One value of a map: the window (C, h, w), the kernel (C, h, w), and their sums."""
    x = run.value(conv.inputs[0])[0].astype(np.float64)
    kernel = run.value(conv.inputs[1])[number].astype(np.float64)
    bias = float(run.value(conv.inputs[2])[number])
    top, left, bottom, right = conv.attributes["pads"]
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    tall, wide = kernel.shape[1:]
    window = padded[:, row : row + tall, column : column + wide]
    sums = (window * kernel).sum((1, 2))
    return {
        "window": window,
        "kernel": kernel,
        "names": (_("red"), _("green"), _("blue")) if len(x) == 3 else (_("grey"),),
        "written": [_products(*pair) for pair in zip(window, kernel, strict=True)],
        "sums": sums,
        "terms": [*sums, bias],
        "value": sums.sum() + bias,
    }


def _products(window: NDArray[Any], kernel: NDArray[Any]) -> str:
    """The first products of a sum."""
    pairs = list(zip(window.flat, kernel.flat, strict=True))
    written = " + ".join(term(a, b) for a, b in pairs[:_TERMS])
    more = len(pairs) - _TERMS
    return written + (" + … (" + _("{count} more").format(count=more) + ")" if more > 0 else "")


def _window_chart(run: SampleRun, conv: Node, number: int, row: int, column: int) -> str:
    """The picture with the window, and the map that the filter computes from it."""
    sample = run.result.sample
    shown = np.broadcast_to(sample, (*sample.shape[:2], 3))
    top, left = conv.attributes["pads"][:2]
    tall, wide = run.value(conv.inputs[1]).shape[2:]
    return charts.svg_chart(
        charts.draw_images,
        _("The picture and the map of one filter"),
        {
            _("picture"): np.clip(shown * 255, 0, 255).round().astype(np.uint8),
            _("map of filter {number}, before ReLU").format(number=number + 1): charts.colorize(
                run.value(conv.outputs[0])[0, number], signed=True
            ),
        },
        columns=2,
        frames={0: (column - left, row - top, wide, tall), 1: (column, row, 1, 1)},
        height=210,
    )


def _pooling(
    pool: Node, before: NDArray[Any], after: NDArray[Any], row: int, column: int
) -> dict[str, Any]:
    """The pooling window that (row, column) of the map ``before`` is in."""
    tall, wide = pool.attributes["kernel_shape"]
    down, across = pool.attributes["strides"]
    y, x = min(row // down, after.shape[0] - 1), min(column // across, after.shape[1] - 1)
    window = before[y * down : y * down + tall, x * across : x * across + wide]
    is_max = pool.op_type == "MaxPool"
    place = np.unravel_index(int(window.argmax()), window.shape)
    return {
        "size": (tall, wide),
        "row": y,
        "column": x,
        "window": window,
        "is_max": is_max,
        "value": float(window.max() if is_max else window.astype(np.float64).mean()),
        "marked": tuple(map(int, place)) if is_max else None,
        "map": after,
    }


def _maps_chart(shown: NDArray[Any]) -> str:
    """The first maps of the layer, small."""
    images = {
        _("map {number}: up to {value}").format(
            number=i, value=n(feature.max(), 3)
        ): charts.colorize(feature)
        for i, feature in enumerate(shown, 1)
    }
    title = _("The first {count} maps after ReLU").format(count=len(shown))
    return charts.svg_chart(charts.draw_images, title, images, columns=8, named=False, height=220)


def _remaining_layers(run: SampleRun, pool: Node) -> dict[str, Any]:
    """From the first pooling to the last layer: numbers of maps and units."""
    convolutions = []
    conv = run.node("Conv", after=pool)
    while conv is not None:
        convolutions.append(run.value(conv.inputs[1]).shape[1::-1])
        conv = run.node("Conv", after=conv)
    dense = run.node("MatMul")
    return {
        "convolutions": convolutions,
        "dense": run.value(dense.inputs[1]).shape if dense is not None else None,
        "averaged": run.node("ReduceMean", "GlobalAveragePool") is not None,
    }
