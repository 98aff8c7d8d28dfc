"""Write a recurrence as RNN, LSTM or GRU nodes, masked or not.

A mask may have holes and padding on either side, as in Keras. With m = int(mask):
the valid steps are gathered to the front, in order; the node runs with ``sequence_lens`` = sum(m);
and for ``return_sequences`` each step picks its row again. Rows at and after ``sequence_lens`` are
zero, which is the output of Keras before the first valid step, so index -1 means "zero":
a step that needs it is itself masked, hence the last row is beyond ``sequence_lens``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.export.conversion.nodes import Nodes
from onnxwalk.export.tracing.recurrent import Cell, Recurrence
from onnxwalk.export.tracing.variables import Variable
from onnxwalk.interpreter.weights.layout import Step
from onnxwalk.interpreter.weights.record import Weight

#: the order of the gates in the file: input, output, forget, cell; update, reset, hidden
GATES = {"RNN": "", "LSTM": "iofc", "GRU": "zrh"}

_INT64_MIN = np.iinfo(np.int64).min


def collect_weights(markers: Sequence[Any]) -> dict[str, Any]:
    """name -> array of every weight that the recurrences' nodes refer to."""
    arrays: dict[str, Any] = {}
    for recurrence in (m for m in markers if isinstance(m, Recurrence)):
        for depth, cells in enumerate(recurrence.layers):
            per_direction = [cell.weights(_weight_dtype(recurrence, cell)) for cell in cells]
            for name, parts in zip(
                _weight_names(recurrence, depth), zip(*per_direction, strict=True), strict=True
            ):
                arrays[name] = np.stack(parts)
    return arrays


def collect_variables(
    markers: Sequence[Any], variables: Sequence[Variable]
) -> dict[str, tuple[Weight, ...]]:
    """name -> the variables in every weight of ``collect_weights``.

    W (directions, gates · units, features) and R hold a kernel in each direction, with features and
    gates the other way round. B (directions, 2 · gates · units) holds Wb and after it Rb, which are
    added: where Keras has one bias it is Wb, and Rb, which is zero, is none.
    """
    known = {id(v.variable): v for v in variables}
    found: dict[str, tuple[Weight, ...]] = {}
    for recurrence in (m for m in markers if isinstance(m, Recurrence)):
        for depth, cells in enumerate(recurrence.layers):
            for index, name in enumerate(_weight_names(recurrence, depth)):
                found[name] = tuple(
                    _describe(known[id(cell.variables[index])], name, cell, direction)
                    for direction, cell in enumerate(cells)
                    if cell.variables[index] is not None
                )
    return {name: weights for name, weights in found.items() if weights}


def _describe(variable: Variable, name: str, cell: Cell, direction: int) -> Weight:
    """Where the variable of one cell lies in W, R or B."""
    gates, shape = cell.gates * cell.units, variable.shape
    order = cell.gate_order
    layout: list[Step] = []
    if order != sorted(order):
        layout.append(("blocks", len(shape) - 1, tuple(order)))
    if name.endswith("/B"):
        place: tuple[int, ...] = (gates * (2 if len(shape) == 2 else 1),)
    else:
        layout.append(("transpose", (1, 0)))
        place = (gates, shape[0])
    layout.append(("reshape", (1, *place)))
    part = (slice(direction, direction + 1), *(slice(0, size) for size in place))
    return Weight(
        variable.name, name, shape, tuple(layout), part, GATES[cell.kind],
        trainable=variable.trainable, statistic=variable.statistic,
    )  # fmt: skip


def _weight_dtype(recurrence: Recurrence, cell: Cell) -> str:
    """That of the nodes; of a file that is to be trained, that of the variables."""
    return str(cell.variables[0].dtype) if recurrence.to_train else recurrence.dtype


def _weight_names(recurrence: Recurrence, depth: int) -> list[str]:
    stem = recurrence.name + (f"/{depth}" if len(recurrence.layers) > 1 else "")
    return [f"{stem}/{part}" for part in ("W", "R", "B")]


@dataclass(frozen=True)
class Mask:
    """Names of tensors that are shared by the layers with the same mask."""

    steps: str  # m (batch, time) int32
    lengths: str  # n (batch,) int32
    order: str  # (batch, time, 1) int64: the valid steps first


class RecurrentNodes(Nodes):
    """The nodes of one recurrence, where its marker stood; ``masks`` are shared within a graph."""

    def __init__(self, ctx: Any, node: Any, recurrence: Recurrence, masks: Any) -> None:
        super().__init__(ctx, node)
        self.scope = node.name.rsplit("/", 1)[0]
        self.recurrence = recurrence
        self.masks: dict[tuple[int, str], Mask] = masks
        self.outputs = list(node.output)
        self.output_types = [(ctx.get_dtype(o), ctx.get_shape(o)) for o in self.outputs]
        self.onnx_type = ctx.get_dtype(node.input[0])
        self.zero = np.zeros((), self.dtype(node.input[0]))

    def write(self) -> None:
        x, *inputs = self.inputs
        mask = self._prepare_mask(inputs.pop(0)) if self.recurrence.masked else None
        self.ctx.remove_node(self.node.name)
        if mask:
            x = self.add("GatherND", [x, mask.order], batch_dims=1)
        x = self.add("Transpose", [x], perm=[1, 0, 2])
        final: list[str] = []
        y = last = ""
        for depth, cells in enumerate(self.recurrence.layers):
            if depth:
                x = self.add("Squeeze", [y, self.const([1])])
            count = 2 if cells[0].kind == "LSTM" else 1
            given = inputs[len(final) : len(final) + count * self.recurrence.directions]
            y, last, states = self._write_node(x, depth, cells, given, count, mask)
            final += states
        if self.recurrence.return_sequences:
            result = self._write_sequences(y, mask)
        else:
            result = self._write_last(last, mask)
        for name, source, (dtype, shape) in zip(
            self.outputs, [result, *final], self.output_types, strict=True
        ):
            self.ctx.make_node("Identity", [source], outputs=[name], dtypes=[dtype], shapes=[shape])

    def _write_node(
        self, x: str, depth: int, cells: Sequence[Cell], given: list[str], count: int, mask: Any
    ) -> tuple[str, str, list[str]]:
        """One RNN, LSTM or GRU node; (Y, Y_h, the final states, direction by direction)."""
        from onnx import helper

        cell, recurrence = cells[0], self.recurrence
        names, gates = _weight_names(recurrence, depth), cell.gates * cell.units
        shapes = [[gates, -1], [gates, cell.units], [2 * gates]]  # after the directions
        if recurrence.to_train and not any(c.has_bias for c in cells):
            names, shapes = [*names[:2], ""], shapes[:2]
        dtype = np.dtype(_weight_dtype(recurrence, cell))
        for name, shape in zip(names, shapes, strict=False):
            if self.ctx.get_node_by_output(name) is None:  # it may have been called before
                kind = helper.np_dtype_to_tensor_dtype(dtype)
                self.ctx.add_graph_input(name, kind, [recurrence.directions, *shape])
        if dtype != self.zero.dtype:
            names = [name and self.cast(name, self.zero.dtype) for name in names]
        inputs = [x, *names, mask.lengths if mask else ""]
        initial = [given[i::count] for i in range(count)]  # h of each direction, then c
        if not recurrence.zero_states:
            inputs += [self._stack_directions(parts) for parts in initial]
        while not inputs[-1]:
            inputs.pop()
        activations = [a for c in cells for a in c.activations]
        attributes: dict[str, Any] = {
            "hidden_size": cell.units,
            "direction": "bidirectional" if len(cells) == 2 else
                         "reverse" if recurrence.reverse else "forward",
            "activations": [name for name, _, _ in activations],
        }  # fmt: skip
        for attribute, values in (
            ("activation_alpha", [a for _, a, _ in activations if a is not None]),
            ("activation_beta", [b for _, _, b in activations if b is not None]),
        ):
            if values:
                attributes[attribute] = values
        if cell.kind == "GRU":
            attributes["linear_before_reset"] = int(cell.linear_before_reset)
        y, *last = self.add(cell.kind, inputs, outputs=1 + count, **attributes)
        return y, last[0], self._final_states(last, initial, mask)

    def _final_states(self, last: list[str], initial: list[list[str]], mask: Any) -> list[str]:
        """(batch, units) each, h and c of one direction after the other, where they are used."""
        if len(self.outputs) == 1 or not any(map(self._is_used, self.outputs[1:])):
            return [last[0]] * (len(last) * self.recurrence.directions)
        rows: list[list[str]] = []
        for tensor, before in zip(last, initial, strict=True):
            parts = [tensor]
            if self.recurrence.directions == 2:
                halves: dict[str, Any] = {"num_outputs": 2} if self.ctx.opset >= 18 else {}
                parts = self.add("Split", [tensor], outputs=2, axis=0, **halves)
            parts = [self.add("Squeeze", [part, self.const([0])]) for part in parts]
            if mask and not self.recurrence.zero_states:
                # a row without a valid step keeps its state
                some = self._has_valid_step(mask)
                parts = [
                    self.add("Where", [some, p, b]) for p, b in zip(parts, before, strict=True)
                ]
            rows.append(parts)
        return [row[d] for d in range(self.recurrence.directions) for row in rows]

    def _write_sequences(self, y: str, mask: Any) -> str:
        """Y (time, directions, batch, units) -> (batch, time, directions*units), Keras's way."""
        recurrence = self.recurrence
        if recurrence.directions == 1:
            y = self.add("Squeeze", [y, self.const([1])])
            y = self.add("Transpose", [y], perm=[1, 0, 2])
        else:
            y = self.add("Transpose", [y], perm=[2, 0, 1, 3])
            y = self.add("Reshape", [y, self.const([0, 0, 2 * recurrence.layers[-1][0].units])])
        if mask:
            count = self.add("CumSum", [mask.steps, self.const(1, np.int32)])
            if recurrence.zero_output_for_mask:
                count = self.add("Mul", [count, mask.steps])
            one = mask.steps if self._fills_backward else self.const(1, np.int32)
            row = self.cast(self.add("Sub", [count, one]), np.int64)
            y = self.add(
                "GatherND", [y, self.add("Unsqueeze", [row, self.const([2])])], batch_dims=1
            )
        if recurrence.reverse:
            ends = self.const([-1]), self.const([_INT64_MIN]), self.const([1]), self.const([-1])
            y = self.add("Slice", [y, *ends])
        return y

    @property
    def _fills_backward(self) -> bool:
        """A masked step of a backward layer repeats the valid step after it, not before it."""
        return self.recurrence.reverse and not self.recurrence.zero_output_for_mask

    def _write_last(self, last: str, mask: Any) -> str:
        """Y_h (directions, batch, units) -> (batch, directions*units)."""
        recurrence = self.recurrence
        if recurrence.directions == 1:
            last = self.add("Squeeze", [last, self.const([0])])
        else:
            last = self.add("Transpose", [last], perm=[1, 0, 2])
            last = self.add("Reshape", [last, self.const([0, 2 * recurrence.layers[-1][0].units])])
        if mask and not recurrence.zero_states:  # the output of a row without a valid step is zero
            last = self.add("Where", [self._has_valid_step(mask), last, self.const(self.zero)])
        if mask and recurrence.zero_output_for_mask:
            end = self.const([0 if recurrence.reverse else -1])
            step = self.add("Gather", [mask.steps, end], axis=1)
            last = self.add("Where", [self.cast(step, np.bool_), last, self.const(self.zero)])
        return last

    def _prepare_mask(self, mask: str) -> Mask:
        key = id(self.ctx), mask
        if key not in self.masks:
            shape = self.ctx.get_shape(mask)
            m = self.cast(mask, np.int32)
            n = self.add("ReduceSum", [m, self.const([1])], keepdims=0)
            if shape and shape[1] > 0:
                time = self.const([shape[1]])
            else:
                time = self.add("Gather", [self.add("Shape", [m]), self.const([1])])
            order = self.add("TopK", [m, time], outputs=2)[1]  # equal values: lower index first
            order = self.add("Unsqueeze", [order, self.const([2])])
            self.masks[key] = Mask(m, n, order)
        return self.masks[key]

    def _has_valid_step(self, mask: Mask) -> str:
        """(batch, 1) bool: the row has a valid step."""
        some = self.add("Greater", [mask.lengths, self.const(0, np.int32)])
        return self.add("Unsqueeze", [some, self.const([1])])

    def _stack_directions(self, parts: list[str]) -> str:
        """States (batch, units) of each direction -> (directions, batch, units)."""
        parts = [self.add("Unsqueeze", [part, self.const([0])]) for part in parts]
        return parts[0] if len(parts) == 1 else self.add("Concat", parts, axis=0)

    def _is_used(self, output: str) -> bool:
        return bool(self.ctx.find_output_consumers(output)) or output in self.ctx.outputs
