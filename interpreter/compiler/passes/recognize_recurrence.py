"""Replaces Loops that are recurrent layers, as Keras and tf2onnx write them, by RNN, LSTM or GRU.

``loop_layers`` proves what a Loop computes; here the nodes are written. Steps that a mask leaves
out are skipped: the others are gathered to the front, the layer runs with ``sequence_lens``, and
each step picks its row again. A loop from the end becomes the layer's reverse direction, and with
the one from the start over the same inputs one bidirectional layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.drop_unused import drop_unused
from onnxwalk.interpreter.compiler.passes.loop_layers import LoopLayer, LoopReader
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links
from onnxwalk.interpreter.ir.model import Graph, Node

_OPSET = 17
_INT64_MIN = np.iinfo(np.int64).min


def recognize_recurrence(graph: Graph, context: Context) -> Graph:
    """Replace the Loops of a graph that are recurrent layers, and drop what only they needed."""
    links = Links(graph, context)
    if "Loop" not in links.operators:
        return graph
    reader = LoopReader(links)
    loops = [node for node in graph.nodes if links.is_operator(node, "Loop")]
    found = [loop for loop in map(reader.read, loops) if loop is not None]
    writer = _Writer(links, reader)
    for pair in _pairs(found):
        writer.write(pair)
    return drop_unused(writer.edits.graph(), context) if found else graph


def _pairs(loops: Iterable[LoopLayer]) -> list[list[LoopLayer]]:
    """The loops, those that can share a bidirectional layer together: forward, backward."""
    groups: list[list[LoopLayer]] = []
    for loop in loops:
        for group in groups:
            if len(group) == 1 and _fit(group[0], loop):
                group.append(loop)
                group.sort(key=lambda each: each.backward)
                break
        else:
            groups.append([loop])
    return groups


def _fit(a: LoopLayer, b: LoopLayer) -> bool:
    same = [
        (loop.x, loop.mask, loop.layer.kind, loop.layer.r.shape, loop.layer.linear_before_reset)
        for loop in (a, b)
    ]
    return same[0] == same[1] and a.backward != b.backward and not (a.initial or b.initial)


class _Writer:
    def __init__(self, links: Links, reader: LoopReader) -> None:
        self.links, self.reader = links, reader
        self.edits = Edits(links)
        self._nodes: list[Node] = []
        self._masks: dict[str, tuple[str, str, str]] = {}
        self._count = 0

    def write(self, loops: list[LoopLayer]) -> None:
        """The nodes of one layer, in the place of the first of its loops."""
        position = {id(node): i for i, node in enumerate(self.links.graph.nodes)}
        first = min((loop.node for loop in loops), key=lambda node: position[id(node)])
        self._nodes, self._stem = [], first.label
        layer = loops[0].layer
        mask = self._mask(loops[0].mask) if loops[0].mask else None
        x = loops[0].x
        if mask:
            rows = self._add("GatherND", [self._batch_first(x), mask[2]], batch_dims=1)
            x = self._add("Transpose", [rows], perm=[1, 0, 2])
        weights = [
            self.edits.constant(
                f"{self._stem}/{name}", np.stack([getattr(loop.layer, name) for loop in loops])
            )
            for name in "wrb"
        ]
        initial = [
            self._add("Unsqueeze", [loops[0].initial[a], self._ints([0])])
            if a in loops[0].initial
            else ""
            for a in ("h", "c")
        ]
        inputs = [x, *weights, mask[1] if mask else "", *initial]
        while not inputs[-1]:
            inputs.pop()
        attributes: dict[str, Any] = {
            "hidden_size": layer.hidden,
            "direction": "bidirectional"
            if len(loops) > 1
            else "reverse"
            if loops[0].backward
            else "forward",
        }
        if layer.kind == "RNN":
            attributes["activations"] = [loop.layer.activation for loop in loops]
        if layer.kind == "GRU":
            attributes["linear_before_reset"] = layer.linear_before_reset
        parts = ("Y", "Y_h") if layer.c is None else ("Y", "Y_h", "Y_c")
        outputs = [self._name(part) for part in parts]
        self._nodes.append(
            Node(layer.kind, tuple(inputs), tuple(outputs), attributes, first.name, opset=14)
        )
        for direction, loop in enumerate(loops):
            self._write_results(loop, direction, outputs, mask)
        for loop in loops:
            self.edits.replace(loop.node, *(self._nodes if loop.node is first else ()))

    def _write_results(
        self, loop: LoopLayer, direction: int, outputs: list[str], mask: Any
    ) -> None:
        index = self._ints(direction)
        finals = dict(zip("hc", outputs[1:], strict=False))
        for name, letter in loop.finals.items():
            self._add("Gather", [finals[letter], index], name, axis=0)
        for name, kind in loop.stacked.items():
            if not self.links.is_read(name):
                continue
            for squeeze in self._last_steps(name):
                last = self._add("Gather", [finals["h"], index], axis=0)
                if kind == "zero":
                    end = 0 if loop.backward else -1
                    step = self._add("Gather", [loop.mask, self._ints(end)], axis=0)
                    zero = self._constant(np.zeros((), loop.layer.w.dtype))
                    last = self._add("Where", [step, last, zero])
                alias = Node("Identity", (last,), squeeze.outputs, name=squeeze.name)
                self.edits.replace(squeeze, alias)
            y = self._add("Gather", [outputs[0], index], axis=1)
            if mask:
                y = self._add("Transpose", [y], perm=[1, 0, 2])
                places = self._places(mask[0], loop.backward, kind)
                y = self._add("GatherND", [y, places], batch_dims=1)
                y = self._add("Transpose", [y], perm=[1, 0, 2])
            self._add("Identity" if not loop.backward else "Slice", [y, *(
                map(self._ints, ([-1], [_INT64_MIN], [0], [-1])) if loop.backward else ()
            )], name)  # fmt: skip

    def _last_steps(self, name: str) -> list[Node]:
        """The Squeezes of the last step of stacked elements."""
        found = []
        for node in self.links.readers(name):
            if not self.links.is_operator(node, "Slice"):
                continue
            if self.reader.sizes.slices(node) != {0: slice(-1, None, 1)}:
                continue
            squeeze = self.links.only_reader(node.outputs[0])
            is_squeeze = squeeze is not None and self.links.is_operator(squeeze, "Squeeze")
            if squeeze is not None and is_squeeze and self.reader.sizes.axes(squeeze) == [0]:
                found.append(squeeze)
        return found

    def _mask(self, mask: str) -> tuple[str, str, str]:
        """Of a mask (T, N, 1): m (N, T) int32, lengths (N) int32, and the order (N, T, 1) with the
        steps that aren't masked first."""
        if mask not in self._masks:
            flat = self._add("Squeeze", [self._batch_first(mask), self._ints([2])])
            m = self._add("Cast", [flat], to=6)
            lengths = self._add("ReduceSum", [m, self._ints([1])], keepdims=0)
            time = self._add("Gather", [self._add("Shape", [m]), self._ints([1])])
            names = (self._name("steps"), self._name("order"))
            self._nodes.append(Node("TopK", (m, time), names, opset=_OPSET))
            order = self._add("Unsqueeze", [names[1], self._ints([2])])
            self._masks[mask] = m, lengths, order
        return self._masks[mask]

    def _places(self, m: str, backward: bool, kind: str) -> str:
        """The row of each step (N, T, 1) among those that aren't masked. Where there is none it is
        -1, or the number of rows that aren't masked: a row that the layer leaves zero."""
        count = self._add("CumSum", [m, self._constant(np.array(1, np.int32))])
        one = self._constant(np.array(1, np.int32))
        if kind == "zero":
            count = self._add("Mul", [count, m])
        elif backward:
            one = m
        row = self._add("Cast", [self._add("Sub", [count, one])], to=7)
        return self._add("Unsqueeze", [row, self._ints([2])])

    def _batch_first(self, x: str) -> str:
        """x with its first two axes exchanged."""
        node = self.links.maker.get(x)
        is_transpose = node is not None and self.links.is_operator(node, "Transpose")
        if node is not None and is_transpose and node.attributes.get("perm") == [1, 0, 2]:
            return node.inputs[0]
        return self._add("Transpose", [x], perm=[1, 0, 2])

    def _add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or self._name(kind)
        self._nodes.append(Node(kind, tuple(inputs), (output,), attributes, opset=_OPSET))
        return output

    def _name(self, part: str) -> str:
        """A new name."""
        while True:
            self._count += 1
            name = f"{self._stem}/{part}/{self._count}"
            if name not in self.links.maker and name not in self.links.graph.initializers:
                return name

    def _ints(self, values: Any) -> str:
        return self._constant(np.array(values, np.int64))

    def _constant(self, array: np.ndarray) -> str:
        return self.edits.constant(f"{self._stem}/constant", array)
