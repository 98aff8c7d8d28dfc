"""A recurrent marker becomes RNN, LSTM or GRU nodes, masked or not.

A mask may have holes and padding on either side, as in Keras. With m = int(mask):
the valid steps are gathered to the front, in order; the node runs with ``sequence_lens`` = sum(m);
and for ``return_sequences`` each step picks its row again. Rows at and after ``sequence_lens`` are
zero, which is what Keras gives for steps that have seen nothing yet, so index -1 means "zero":
a step that needs it is itself masked, hence the last row is beyond ``sequence_lens``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.export.tracing.recurrent import Cell, Marker, marker_of

_INT64_MIN = np.iinfo(np.int64).min


def handler(markers: Sequence[Marker]) -> Callable[..., None]:
    """The tf2onnx handler of ``PyFunc``; weights become graph inputs, see ``weights_of``."""
    masks: dict[tuple[int, str], _Mask] = {}

    def convert(ctx: Any, node: Any, _name: str, _args: Any) -> None:
        marker = marker_of(node.get_attr_value("token"), markers)
        if marker is None:
            raise ValueError(f"{node.name} calls back into Python, which has no ONNX form")
        _Writer(ctx, node, marker, masks).write()

    return convert


def weights_of(markers: Sequence[Marker]) -> dict[str, Any]:
    """name -> array of every weight that the handler's nodes refer to."""
    arrays: dict[str, Any] = {}
    for marker in markers:
        for depth, cells in enumerate(marker.layers):
            per_direction = [cell.weights(marker.dtype) for cell in cells]
            for name, parts in zip(
                _names(marker, depth), zip(*per_direction, strict=True), strict=True
            ):
                arrays[name] = np.stack(parts)
    return arrays


def _names(marker: Marker, depth: int) -> list[str]:
    stem = marker.name + (f"/{depth}" if len(marker.layers) > 1 else "")
    return [f"{stem}/{part}" for part in ("W", "R", "B")]


@dataclass(frozen=True)
class _Mask:
    """What the layers under one mask share: names of tensors in the graph."""

    steps: str  # m (batch, time) int32
    lengths: str  # n (batch,) int32
    order: str  # (batch, time, 1) int64: the valid steps first


class _Writer:
    """Writes the nodes of one marker where its PyFunc stood."""

    def __init__(self, ctx: Any, node: Any, marker: Marker, masks: dict) -> None:
        self.ctx, self.node, self.marker, self.masks = ctx, node, marker, masks
        self.scope = node.name.rsplit("/", 1)[0]
        self.outputs = list(node.output)
        self.output_types = [(ctx.get_dtype(o), ctx.get_shape(o)) for o in self.outputs]
        self.dtype = ctx.get_dtype(node.input[0])

    def write(self) -> None:
        inputs = list(self.node.input)
        x = inputs.pop(0)
        mask = self._mask(inputs.pop(0)) if self.marker.masked else None
        self.ctx.remove_node(self.node.name)
        if mask:
            x = self._op("GatherND", [x, mask.order], batch_dims=1)
        x = self._op("Transpose", [x], perm=[1, 0, 2])
        final: list[str] = []
        y = last = ""
        for depth, cells in enumerate(self.marker.layers):
            if depth:
                x = self._op("Squeeze", [y, self._ints([1])])
            count = 2 if cells[0].kind == "LSTM" else 1
            given = inputs[len(final) : len(final) + count * self.marker.directions]
            y, last, states = self._node(x, depth, cells, given, count, mask)
            final += states
        if self.marker.return_sequences:
            result = self._sequences(y, mask)
        else:
            result = self._last(last, mask)
        for name, source, (dtype, shape) in zip(
            self.outputs, [result, *final], self.output_types, strict=True
        ):
            self.ctx.make_node("Identity", [source], outputs=[name], dtypes=[dtype], shapes=[shape])

    def _node(
        self, x: str, depth: int, cells: Sequence[Cell], given: list[str], count: int, mask: Any
    ) -> tuple[str, str, list[str]]:
        """One RNN, LSTM or GRU node; (Y, Y_h, the final states, direction by direction)."""
        cell, marker = cells[0], self.marker
        names = _names(marker, depth)
        for name, shape in zip(names, self._weight_shapes(cell), strict=True):
            self.ctx.add_graph_input(name, self.dtype, shape)
        inputs = [x, *names, mask.lengths if mask else ""]
        initial = [given[i::count] for i in range(count)]  # h of each direction, then c
        if not marker.zero_states:
            inputs += [self._stack(parts) for parts in initial]
        while not inputs[-1]:
            inputs.pop()
        activations = [a for c in cells for a in c.activations]
        attributes: dict[str, Any] = {
            "hidden_size": cell.units,
            "direction": "bidirectional" if len(cells) == 2 else
                         "reverse" if marker.reverse else "forward",
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
        y, *last = self._op(cell.kind, inputs, outputs=1 + count, **attributes)
        return y, last[0], self._final_states(last, initial, mask)

    def _weight_shapes(self, cell: Cell) -> list[list[int]]:
        directions = self.marker.directions
        gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[cell.kind] * cell.units
        return [
            [directions, gates, -1],
            [directions, gates, cell.units],
            [directions, 2 * gates],
        ]

    def _final_states(self, last: list[str], initial: list[list[str]], mask: Any) -> list[str]:
        """(batch, units) each, h and c of one direction after the other, where they are used."""
        if len(self.outputs) == 1 or not any(map(self._used, self.outputs[1:])):
            return [last[0]] * (len(last) * self.marker.directions)
        rows: list[list[str]] = []
        for tensor, before in zip(last, initial, strict=True):
            parts = [tensor]
            if self.marker.directions == 2:
                parts = self._op("Split", [tensor], outputs=2, axis=0, **self._halves())
            parts = [self._op("Squeeze", [part, self._ints([0])]) for part in parts]
            if mask and not self.marker.zero_states:  # a row without a valid step keeps its state
                some = self._some(mask)
                parts = [
                    self._op("Where", [some, p, b]) for p, b in zip(parts, before, strict=True)
                ]
            rows.append(parts)
        return [row[d] for d in range(self.marker.directions) for row in rows]

    def _sequences(self, y: str, mask: Any) -> str:
        """Y (time, directions, batch, units) -> (batch, time, directions*units), Keras's way."""
        marker = self.marker
        if marker.directions == 1:
            y = self._op("Squeeze", [y, self._ints([1])])
            y = self._op("Transpose", [y], perm=[1, 0, 2])
        else:
            y = self._op("Transpose", [y], perm=[2, 0, 1, 3])
            y = self._op("Reshape", [y, self._ints([0, 0, 2 * marker.layers[-1][0].units])])
        if mask:
            count = self._op("CumSum", [mask.steps, self._const(np.array(1, np.int32))])
            if marker.zero_output_for_mask:
                count = self._op("Mul", [count, mask.steps])
            one = mask.steps if self._backward_fill else self._const(np.array(1, np.int32))
            row = self._op("Cast", [self._op("Sub", [count, one])], to=_int64())
            y = self._op(
                "GatherND", [y, self._op("Unsqueeze", [row, self._ints([2])])], batch_dims=1
            )
        if marker.reverse:
            ends = self._ints([-1]), self._ints([_INT64_MIN]), self._ints([1]), self._ints([-1])
            y = self._op("Slice", [y, *ends])
        return y

    @property
    def _backward_fill(self) -> bool:
        """A masked step of a backward layer repeats the valid step after it, not before it."""
        return self.marker.reverse and not self.marker.zero_output_for_mask

    def _last(self, last: str, mask: Any) -> str:
        """Y_h (directions, batch, units) -> (batch, directions*units)."""
        marker = self.marker
        if marker.directions == 1:
            last = self._op("Squeeze", [last, self._ints([0])])
        else:
            last = self._op("Transpose", [last], perm=[1, 0, 2])
            last = self._op("Reshape", [last, self._ints([0, 2 * marker.layers[-1][0].units])])
        if mask and not marker.zero_states:  # the output of a row without a valid step is zero
            last = self._op("Where", [self._some(mask), last, self._zero()])
        if mask and marker.zero_output_for_mask:
            end = self._ints([0 if marker.reverse else -1])
            step = self._op("Gather", [mask.steps, end], axis=1)
            last = self._op("Where", [self._op("Cast", [step], to=_bool()), last, self._zero()])
        return last

    def _mask(self, mask: str) -> _Mask:
        key = id(self.ctx), mask
        if key not in self.masks:
            shape = self.ctx.get_shape(mask)
            m = self._op("Cast", [mask], to=_int32())
            n = self._op("ReduceSum", [m, self._ints([1])], keepdims=0)
            if shape and shape[1] > 0:
                time = self._ints([shape[1]])
            else:
                time = self._op("Gather", [self._op("Shape", [m]), self._ints([1])])
            order = self._op("TopK", [m, time], outputs=2)[1]  # equal values: lower index first
            order = self._op("Unsqueeze", [order, self._ints([2])])
            self.masks[key] = _Mask(m, n, order)
        return self.masks[key]

    def _some(self, mask: _Mask) -> str:
        """(batch, 1) bool: the row has a valid step."""
        some = self._op("Greater", [mask.lengths, self._const(np.array(0, np.int32))])
        return self._op("Unsqueeze", [some, self._ints([1])])

    def _stack(self, parts: list[str]) -> str:
        """States (batch, units) of each direction -> (directions, batch, units)."""
        parts = [self._op("Unsqueeze", [part, self._ints([0])]) for part in parts]
        return parts[0] if len(parts) == 1 else self._op("Concat", parts, axis=0)

    def _halves(self) -> dict[str, int]:
        return {"num_outputs": 2} if self.ctx.opset >= 18 else {}

    def _used(self, output: str) -> bool:
        return bool(self.ctx.find_output_consumers(output)) or output in self.ctx.outputs

    def _zero(self) -> str:
        from onnx import helper

        return self._const(np.zeros((), helper.tensor_dtype_to_np_dtype(self.dtype)))

    def _ints(self, values: list[int]) -> str:
        return self._const(np.array(values, np.int64))

    def _const(self, array: Any) -> str:
        from tf2onnx import utils

        return self.ctx.make_const(utils.make_name(f"{self.scope}/const"), array).output[0]

    def _op(self, kind: str, inputs: Sequence[str], *, outputs: int = 1, **attributes: Any) -> Any:
        """A node below the layer's name; its output's name, or a list of several."""
        from tf2onnx import utils

        node = self.ctx.make_node(
            kind,
            list(inputs),
            attr=attributes,
            output_count=outputs,
            name=utils.make_name(f"{self.scope}/{kind}"),
        )
        return node.output[0] if outputs == 1 else list(node.output)


def _int32() -> int:
    from onnx import TensorProto

    return TensorProto.INT32


def _int64() -> int:
    from onnx import TensorProto

    return TensorProto.INT64


def _bool() -> int:
    from onnx import TensorProto

    return TensorProto.BOOL
