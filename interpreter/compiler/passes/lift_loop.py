"""Replaces Loops that compute a recurrent layer by RNN, LSTM and GRU nodes.

Keras's own exporter and tf2onnx write a Loop for layers with masks and for many without. A masked
step keeps the state, so the layer computes the same from the sequence without its masked steps: the
others are moved to the front, and each sequence gets its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes.drop_unused import drop_unused
from onnxwalk.interpreter.compiler.passes.loop_body import Carried, LoopBody
from onnxwalk.interpreter.compiler.passes.loop_cells import Cell, find_cell
from onnxwalk.interpreter.compiler.passes.patterns import Edits, Links
from onnxwalk.interpreter.compiler.passes.sizes import is_zero, magnitude
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.dtypes import element_type

#: the opset of the nodes that are written
_OPSET = 17
#: how a result of each step follows from the states: it is h, or zero where the mask is false
_STATE, _ZERO_WHERE_MASKED = "state", "zero"


def lift_loop(graph: Graph, context: Context) -> Graph:
    """Replace each Loop that is a recurrent layer, and drop what only it needed."""
    links = Links(graph, context)
    if "Loop" not in links.operators:
        return graph
    edits = Edits(links)
    bounded: set[str] = set()  # states between -1 and 1
    for node in graph.nodes:
        if links.is_operator(node, "Loop"):
            _lift(node, links, edits, bounded)
    return drop_unused(edits.graph(), context)


def _lift(node: Node, links: Links, edits: Edits, bounded: set[str]) -> None:
    body = LoopBody(node, links)
    cell = find_cell(body) if body.is_readable else None
    if cell is None or not body.takes_all_rows(cell.sequence):
        return
    if not all(body.is_matrix(state.before) for state in cell.states):
        return
    others = [value for value in body.carried if value not in cell.states]
    repeats = [value for value in others if _repeats(value, body, cell)]
    stacked = [(outer, _kind(inner, body, cell, repeats)) for inner, outer in body.stacked]
    needed = {name for name in node.outputs if links.is_used(name)}
    if any(kind is None and outer in needed for outer, kind in stacked):
        return
    if needed.intersection((*body.counted, *(value.output for value in others))):
        return
    zero_states = all(is_zero(links, state.initial) for state in cell.states)
    if cell.mask is not None:
        if not zero_states or _flat_mask(cell.mask.mask, links) is None:
            return
        if cell.mask.by_product and not _stays_finite(cell, links, bounded):
            return
    writer = _Writer(node, links, edits, cell, zero_states)
    results = {outer: kind for outer, kind in stacked if outer in needed and kind is not None}
    writer.write(results, [state.output if state.output in needed else "" for state in cell.states])
    for value, source in body.unchanged():
        if value in needed:
            writer.add("Identity", [source], output=value)
    if cell.is_bounded and zero_states and magnitude(links, cell.sequence, bounded) < math.inf:
        bounded.update(results)
    edits.replace(node, *writer.nodes)


def _repeats(value: Carried, body: LoopBody, cell: Cell) -> bool:
    """Whether a carried value is what h is: TensorFlow carries the last output, too."""
    choice = body.select(value.after)
    return (
        choice is not None
        and cell.mask is not None
        and choice.mask == cell.mask.mask
        and choice.by_product == cell.mask.by_product
        and body.source(choice.old) == value.before
        and body.source(choice.new) == cell.new_h
        and is_zero(body.outer, value.initial)
        and is_zero(body.outer, cell.states[0].initial)
    )


def _kind(name: str, body: LoopBody, cell: Cell, repeats: list[Carried]) -> str | None:
    """How a result of each step follows from the states."""
    source = body.source(name)
    if cell.mask is None:
        return _STATE if source == cell.new_h else None
    if source in {cell.states[0].after, *(value.after for value in repeats)}:
        return _STATE
    choice = body.select(source)
    if choice is None or choice.mask != cell.mask.mask or body.source(choice.new) != cell.new_h:
        return None
    if choice.by_product and not cell.mask.by_product:
        return None
    if body.source(choice.old) in {cell.states[0].before, *(value.before for value in repeats)}:
        return _STATE
    is_zero_there = body.is_zero(choice.old) and body.is_matrix(name)
    return _ZERO_WHERE_MASKED if is_zero_there else None


def _stays_finite(cell: Cell, links: Links, bounded: set[str]) -> bool:
    """Whether 0 times a value that isn't chosen is 0: if none can be infinite or NaN."""
    largest = magnitude(links, cell.sequence, bounded)
    return cell.is_bounded and largest < math.inf and not cell.overflows(largest)


def _flat_mask(mask: str, links: Links) -> str | None:
    """The mask itself if it is (time, batch, 1), by the nodes that compute it."""
    name = mask
    while (node := links.maker.get(name)) is not None:
        if links.is_operator(node, "Transpose"):
            if list(node.attributes.get("perm", [])) != [1, 0, 2]:
                return None
        elif links.is_operator(node, "Unsqueeze"):
            axes = node.attributes.get("axes")
            if len(node.inputs) > 1:
                array = links.constant(node.inputs[1])
                axes = None if array is None else array.reshape(-1).tolist()
            return mask if axes in ([-1], [2]) else None
        elif not links.is_operator(node, "Identity", "ReverseSequence"):
            return None
        name = node.inputs[0]
    return None


class _Writer:
    """Writes the nodes of a layer."""

    def __init__(
        self, node: Node, links: Links, edits: Edits, cell: Cell, zero_states: bool
    ) -> None:
        self.node, self.links, self.edits = node, links, edits
        self.cell, self.zero_states = cell, zero_states
        self.nodes: list[Node] = []

    def write(self, results: Mapping[str, str], finals: list[str]) -> None:
        """``results``: the results of each step and their kinds; ``finals``: the names of the last
        states, ``""`` for those that nothing needs."""
        cell, x = self.cell, self.cell.sequence
        steps = self._write_mask(cell.mask.mask) if cell.mask is not None else None
        if steps is not None:
            x = self._to_front(x, steps)
        inputs = [x, *self._write_weights(), "" if steps is None else steps[1]]
        if not self.zero_states:
            inputs += [self._initial(state.initial) for state in cell.states]
        while not inputs[-1]:
            inputs.pop()
        attributes: dict[str, Any] = {
            "hidden_size": cell.gates[0].width,
            "activations": list(cell.activations),
        }
        if cell.kind == "GRU":
            attributes["linear_before_reset"] = int(cell.linear_before_reset)
        last = {name: reader for name in results if (reader := self._last(name)) is not None}
        is_stacked = any(
            name not in last or kind != _STATE for name, kind in results.items()
        )
        names = [self._name(part) for part in ("Y", "Y_h", "Y_c")[: 1 + len(cell.states)]]
        y, *states = names
        outputs = [y if is_stacked else "", *states]
        layer = replace(self.node, op_type=cell.kind, opset=_OPSET, domain="")
        self.nodes.append(
            replace(layer, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes)
        )
        for name, kind in results.items():
            if kind == _STATE and name in last:
                slice_, squeeze = last[name]
                self.edits.replace(slice_)
                self.edits.replace(squeeze, self._node("Squeeze", [states[0], self._axes(0)],
                                                       squeeze.outputs[0]))
            else:
                self._write_result(y, name, kind, steps)
        for state, name in zip(states, finals, strict=True):
            if name:
                self.add("Squeeze", [state, self._axes(0)], output=name)

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        output = output or self._name(f"{operator}_{len(self.nodes)}")
        self.nodes.append(self._node(operator, inputs, output, **attributes))
        return output

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> Node:
        outputs = (output,)
        return Node(operator, tuple(inputs), outputs, attributes, name=output, opset=_OPSET)

    def _name(self, part: str) -> str:
        return f"{self.node.label}/{part}"

    def _axes(self, *axes: int) -> str:
        name = f"{self._name('axes')}_{'_'.join(map(str, axes))}"
        return self.edits.constant(name, np.array(axes, np.int64))

    def _write_weights(self) -> list[str]:
        arrays = self.cell.weights()
        assert arrays is not None
        return [
            self.edits.constant(self._name(name), array)
            for name, array in zip("WRB", arrays, strict=True)
        ]

    def _initial(self, name: str) -> str:
        """A state (batch, units), or one that broadcasts to it, as (1, batch, units)."""
        shape = self.add("Shape", [self.cell.sequence], start=1, end=2)
        units = np.array([self.cell.gates[0].width], np.int64)
        size = self.add("Concat", [shape, self.edits.constant(self._name("units"), units)], axis=0)
        return self.add("Unsqueeze", [self.add("Expand", [name, size]), self._axes(0)])

    def _write_mask(self, mask: str) -> tuple[str, str, str]:
        """The mask as 0 and 1 (batch, time), the lengths without masked steps (batch,), and the
        order (batch, time, 1) that moves these to the front."""
        time = self.add("Shape", [self.cell.sequence], end=1)
        flat = self.add("Transpose", [self.add("Squeeze", [mask, self._axes(2)])], perm=[1, 0])
        whole = self.add("Cast", [flat], to=element_type(np.dtype(np.int32)).code)
        steps = self.add("Slice", [whole, self._axes(0), time, self._axes(1)])
        lengths = self.add("ReduceSum", [steps, self._axes(1)], keepdims=0)
        values, order = self._name("TopK"), self._name("order")
        top = self._node("TopK", [steps, time], values)  # of equal ones the first comes first
        self.nodes.append(replace(top, outputs=("", order)))
        return steps, lengths, self.add("Unsqueeze", [order, self._axes(2)])

    def _to_front(self, x: str, steps: tuple[str, str, str]) -> str:
        maker = self.links.maker.get(x)
        if maker is not None and self._swaps(maker):
            by_batch = maker.inputs[0]
        else:
            by_batch = self.add("Transpose", [x], perm=[1, 0, 2])
        moved = self.add("GatherND", [by_batch, steps[2]], batch_dims=1)
        return self.add("Transpose", [moved], perm=[1, 0, 2])

    def _swaps(self, node: Node) -> bool:
        perm = list(node.attributes.get("perm", []))
        return self.links.is_operator(node, "Transpose") and perm == [1, 0, 2]

    def _write_result(
        self, y: str, name: str, kind: str, steps: tuple[str, str, str] | None
    ) -> None:
        """A result of each step (time, batch, units) of y (time, 1, batch, units)."""
        if steps is None:
            self.add("Squeeze", [y, self._axes(1)], output=name)
            return
        # The state at a step is that after as many steps as the mask has let through. Before the
        # first it is zero, and so is the end of y, which -1 means then.
        count = self.add("CumSum", [steps[0], self._axes(1)])
        if kind == _ZERO_WHERE_MASKED:
            count = self.add("Mul", [count, steps[0]])
        one = self.edits.constant(self._name("one"), np.array(1, np.int32))
        row = self.add("Cast", [self.add("Sub", [count, one])], to=element_type(np.dtype(np.int64)).code)
        row = self.add("Unsqueeze", [row, self._axes(2)])
        flat = self.add("Transpose", [self.add("Squeeze", [y, self._axes(1)])], perm=[1, 0, 2])
        rows = self.add("GatherND", [flat, row], batch_dims=1)
        self.add("Transpose", [rows], perm=[1, 0, 2], output=name)

    def _last(self, name: str) -> tuple[Node, Node] | None:
        """The Slice and the Squeeze that take a result's last step, if nothing else reads it."""
        slice_ = self.edits.only_reader(name)
        if slice_ is None or not self.links.is_operator(slice_, "Slice"):
            return None
        parts = [self.links.constant(part) for part in slice_.inputs[1:]]
        if len(parts) != 3 or any(part is None or part.size != 1 for part in parts):
            return None
        start, end, axis = (int(part.reshape(-1)[0]) for part in parts if part is not None)
        squeeze = self.edits.only_reader(slice_.outputs[0])
        if (start, axis) != (-1, 0) or end < np.iinfo(np.int32).max or squeeze is None:
            return None
        axes = squeeze.attributes.get("axes")
        if len(squeeze.inputs) > 1:
            array = self.links.constant(squeeze.inputs[1])
            axes = None if array is None else array.reshape(-1).tolist()
        is_last = self.links.is_operator(squeeze, "Squeeze") and axes == [0]
        return (slice_, squeeze) if is_last else None
