"""One step backwards through each network, by hand: the gradient of the sample's loss.

Each function begins with the interpreter's gradient of what a layer gives, and computes from it
that of what the layer takes and of its weights; ``session.gradients`` says the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.study import charts
from onnxwalk.export.study.by_hand import SampleRun, explain_softmax, g, smaller, term_g, total_g
from onnxwalk.export.study.by_hand_layer import RecurrentLayer
from onnxwalk.export.study.charts import Line
from onnxwalk.export.study.language import translate as _
from onnxwalk.interpreter.ir.model import Node

_SHOWN = 3  # products of a long sum that are written out
RATE = 0.01  # of the step of SGD that is shown


def sum_of_products(a: NDArray[Any], b: NDArray[Any]) -> str:
    """Σ a · b with its largest products written out."""
    products = (a * b).ravel()
    order = np.argsort(-np.abs(products), kind="stable")[:_SHOWN]
    written = " + ".join(term_g(float(a.flat[k]), float(b.flat[k])) for k in order)
    rest, count = products.sum() - products[order].sum(), len(products) - len(order)
    if not count:
        return f"{written} = {g(products.sum())}"
    return (
        f"{written} + {smaller(count)} = {total_g(products[order].sum(), rest)} = "
        f"{g(products.sum())}"
    )


def last_dense(run: SampleRun) -> Node | None:
    """The MatMul of the last Dense layer, if the model ends in one and a Softmax."""
    nodes = [node for node in run.nodes if node.op_type == "MatMul"]
    return nodes[-1] if nodes and run.node("Softmax") else None


def through_dense(run: SampleRun) -> dict[str, Any] | None:
    """From the loss to what the last Dense layer takes.

    ``z`` (classes,): by hand p − 1 for the true class, p for the others; ``taken`` (units,) and
    ``weights`` (units, classes): by hand; ``found`` the interpreter's three. ``unit``: of the
    largest gradient, written out. None for a model that doesn't end in Dense and Softmax.
    """
    dense, decision = last_dense(run), explain_softmax(run)
    if dense is None or decision is None:
        return None
    softmax = run.node("Softmax")
    assert softmax is not None
    z = decision["p"].copy()
    z[run.truth] -= 1
    names = [softmax.inputs[0], *dense.inputs]
    found_z, found_taken, found_weights = run.loss_gradients(names)
    h, w = (run.value(name).astype(np.float64) for name in dense.inputs)
    h = h[0]
    taken, weights = w @ z, h[:, None] * z
    alive = np.abs(taken) * (h != 0)
    unit = int((alive if alive.any() else np.abs(taken)).argmax())
    return {
        "p": decision["p"],
        "z": z,
        "taken": taken,
        "weights": weights,
        "found": {"z": found_z[0], "taken": found_taken[0], "weights": found_weights},
        "unit": unit,
        "h": float(h[unit]),
        "w": float(w[unit, run.truth]),
        "written": sum_of_products(w[unit], z),
        "loss": -float(np.log(max(decision["p"][run.truth], 1e-300))),
        "rate": RATE,
    }


def through_pooling(run: SampleRun, relu: Node, pool: Node) -> dict[str, Any]:
    """The window of the largest gradient of all maps after the first pooling.

    ``given``: that gradient; ``window``: what was pooled; ``hand`` and ``found``: the gradient of
    each number of the window; ``after_relu``: the same before ReLU, by hand.
    """
    given, found = (x[0] for x in run.loss_gradients([pool.outputs[0], relu.outputs[0]]))
    number, row, column = map(int, np.unravel_index(int(np.abs(given).argmax()), given.shape))
    (tall, wide), (down, across) = pool.attributes["kernel_shape"], pool.attributes["strides"]
    place = np.s_[number, row * down : row * down + tall, column * across : column * across + wide]
    window = run.value(relu.outputs[0])[0][place].astype(np.float64)
    value, is_max = float(given[number, row, column]), pool.op_type == "MaxPool"
    hand = np.zeros_like(window)
    if is_max:
        hand[np.unravel_index(int(window.argmax()), window.shape)] = value
    else:
        hand[:] = value / window.size
    return {
        "number": number,
        "row": row,
        "column": column,
        "given": value,
        "window": window,
        "is_max": is_max,
        "hand": hand,
        "found": found[place],
        "after_relu": hand * (window > 0),
    }


def through_convolution(run: SampleRun, conv: Node, number: int) -> dict[str, Any]:
    """The gradient of one filter of the first convolution.

    ``kernel`` (C, h, w) and ``bias`` by hand, ``found`` and ``found_bias`` the interpreter's;
    ``at``: the weight with the largest gradient, whose sum is written out.
    """
    given, found, found_bias = run.loss_gradients([conv.outputs[0], *conv.inputs[1:3]])
    sums = given[0, number].astype(np.float64)
    x = run.value(conv.inputs[0])[0].astype(np.float64)
    top, left, bottom, right = conv.attributes["pads"]
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    tall, wide = sums.shape

    def under(c: int, i: int, j: int) -> NDArray[Any]:
        """The numbers of the picture that the weight was multiplied with."""
        return padded[c, i : i + tall, j : j + wide]

    kernel = np.zeros(found[number].shape)
    for c, i, j in np.ndindex(kernel.shape):
        kernel[c, i, j] = (under(c, i, j) * sums).sum()
    at = tuple(map(int, np.unravel_index(int(np.abs(kernel).argmax()), kernel.shape)))
    weight = float(run.value(conv.inputs[1])[number][at])
    return {
        "kernel": kernel,
        "found": found[number],
        "bias": float(sums.sum()),
        "found_bias": float(found_bias[number]),
        "at": at,
        "weight": weight,
        "written": sum_of_products(under(*at), sums),
        "count": sums.size,
        "moved": weight - RATE * float(kernel[at]),
    }


@dataclass
class BackwardsThroughTime:
    """A recurrent layer from its last step to its first, in float64.

    ``h`` and ``c`` (D, T + 1, H): the gradient of each state, as in ``RecurrentLayer``; ``sums``:
    gate -> (D, T, H), that of the sum before its σ or tanh; ``w``, ``r``, ``b``: those of the
    weights, added up over the steps, in ONNX's layout. ``found``: the interpreter's w, r and b.
    """

    layer: RecurrentLayer

    def __post_init__(self) -> None:
        layer = self.layer
        node, run = layer.node, layer.run
        self.h, self.c = np.zeros_like(layer.h), np.zeros_like(layer.c)
        self.sums = {gate: np.zeros_like(values) for gate, values in layer.gates.items()}
        self.w, self.r, self.b = (np.zeros_like(x) for x in (layer.w, layer.r, layer.b))
        read = {name for other in run.nodes for name in other.inputs}
        given = [name for name in node.outputs if name in read]
        *self.found, _ = *run.loss_gradients(node.inputs[1:4]), None
        gradients = dict(zip(given, run.loss_gradients(given), strict=True))
        directions, _, cells = layer.r.shape
        names = [*node.outputs, *[""] * 3]
        every = gradients.get(names[0], np.zeros((len(layer.x), directions, 1, cells)))[:, :, 0]
        last_h, last_c = (
            gradients.get(name, np.zeros((directions, 1, cells)))[:, 0] for name in names[1:3]
        )
        for d in range(directions):
            self._go_back(d, every[:, d].astype(np.float64), last_h[d], last_c[d])

    def _go_back(self, d: int, every: Any, dh: Any, dc: Any) -> None:
        layer = self.layer
        for step in reversed(range(layer.n_steps)):
            position = layer.position(d, step)
            dh = dh + every[position]
            if "h" in layer.gates:
                sums = {"h": dh * (1 - layer.h[d, step + 1] ** 2)}
            else:
                i, o, f, c = (layer.gates[gate][d, step] for gate in "iofc")
                bent = np.tanh(layer.c[d, step + 1])
                dc = dc + dh * o * (1 - bent**2)
                sums = {
                    "i": dc * c * i * (1 - i),
                    "o": dh * bent * o * (1 - o),
                    "f": dc * layer.c[d, step] * f * (1 - f),
                    "c": dc * i * (1 - c**2),
                }
            self.h[d, step + 1], self.c[d, step + 1] = dh, dc
            for gate, values in sums.items():
                self.sums[gate][d, step] = values
            together = np.concatenate(list(sums.values()))
            self.w[d] += np.outer(together, layer.x[position])
            self.r[d] += np.outer(together, layer.h[d, step])
            self.b[d] += np.concatenate([together, together])
            dh = layer.r[d].T @ together
            dc = dc * layer.gates["f"][d, step] if "f" in layer.gates else dc
        self.h[d, 0], self.c[d, 0] = dh, dc

    def one_step(self, unit: int) -> dict[str, Any]:
        """The last step of the forward direction, for one cell: ``together`` is the gradient of
        its sums, ``before`` what goes on to its h one step earlier, written out."""
        layer, step = self.layer, self.layer.n_steps - 1
        together = np.concatenate([values[0, step] for values in self.sums.values()])
        cells = layer.h.shape[2]
        first = "i" if "i" in self.sums else "h"
        x, gradient = (
            float(layer.x[layer.position(0, step)][0]),
            float(self.sums[first][0, step, unit]),
        )
        return {
            "step": step,
            "gates": {k: float(v[0, step, unit]) for k, v in layer.gates.items()},
            "sums": {k: float(v[0, step, unit]) for k, v in self.sums.items()},
            "h": float(layer.h[0, step + 1, unit]),
            "c": float(layer.c[0, step + 1, unit]),
            "c_before": float(layer.c[0, step, unit]),
            "dh": float(self.h[0, step + 1, unit]),
            "dc": float(self.c[0, step + 1, unit]),
            "x": x,
            "weight": x * gradient,
            "state": float(layer.h[0, step, unit]),
            "recurrent": float(layer.h[0, step, unit]) * gradient,
            "before": sum_of_products(layer.r[0][:, unit], together),
            "count": len(together),
            "cells": cells,
        }

    def over_time(self, xs: list[str]) -> dict[str, Any] | None:
        """How long the gradient of h is at each step; None if there is only one."""
        layer = self.layer
        lengths = np.linalg.norm(self.h[0, 1 : layer.n_steps + 1], axis=1)
        if len(lengths) < 2:
            return None
        return {
            "first": float(lengths[0]),
            "last": float(lengths[-1]),
            "chart": charts.svg_chart(
                charts.draw_lines,
                _("how much each step still matters"),
                [Line(_("length of the gradient of h"), lengths.tolist())],
                xs=xs[: len(lengths)],
                x_label=_("step"),
                y_label="‖∂loss / ∂h[t]‖",
            ),
        }
