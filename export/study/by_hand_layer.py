"""A recurrent layer of a sample's run, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.study.by_hand import SampleRun
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.ops.ai_onnx import recurrent


@dataclass
class RecurrentLayer:
    """The recurrent node of a walk, computed once more in float64: the operator shows every step.

    D directions, T steps, H cells. ``h`` and ``c`` (D, T + 1, H) begin with the zeros before the
    first step; of direction 1 the steps run backwards. ``gates``: name -> (D, T, H). Only the
    ``n_steps`` steps hold anything.
    """

    run: SampleRun
    node: Node

    def __post_init__(self) -> None:
        value = self.run.value
        names = [*self.node.inputs, *[""] * 5]
        self.x = value(names[0])[:, 0].astype(np.float64)
        self.w, self.r, self.b = (value(name).astype(np.float64) for name in names[1:4])
        self.n_steps = int(value(names[4])[0]) if names[4] else len(self.x)
        self.masked = bool(names[4])
        directions, _, cells = self.r.shape
        self.h = np.zeros((directions, len(self.x) + 1, cells))
        self.c = np.zeros_like(self.h)
        kinds = ("i", "o", "f", "c") if self.node.op_type == "LSTM" else ("h",)
        self.gates = {kind: np.zeros((directions, len(self.x), cells)) for kind in kinds}
        operator = recurrent.lstm if self.node.op_type == "LSTM" else recurrent.rnn
        lengths = np.array([self.n_steps])
        x, attributes = self.x[:, None], self.node.attributes
        operator(x, self.w, self.r, self.b, lengths, **attributes, _watch=self._record_step)

    def _record_step(
        self, d: int, times: Any, rows: Any, values: Mapping[str, NDArray[Any]]
    ) -> None:
        step = self.position(d, times.item())
        self.h[d, step + 1] = values["h"][0]
        self.c[d, step + 1] = values.get("C", values["h"])[0]
        for kind, gates in self.gates.items():
            gates[d, step] = values[kind][0]

    def position(self, d: int, step: int) -> int:
        """The position in the sentence that a direction reads at its ``step``."""
        return self.n_steps - 1 - step if d else step

    def sums(self, d: int, step: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """x W', h R' and the biases, each (gates · H,)."""
        half = self.b.shape[1] // 2
        x = self.x[self.position(d, step)]
        bias = self.b[d, :half] + self.b[d, half:]
        return self.w[d] @ x, self.r[d] @ self.h[d, step], bias

    def interpreter_states(self) -> NDArray[Any]:
        """The interpreter's h after each step, as ``h[:, 1:]``."""
        y = self.run.value(self.node.outputs[0])[:, :, 0].transpose(1, 0, 2)
        ours = np.zeros_like(y)
        for d in range(len(y)):
            for step in range(self.n_steps):
                ours[d, step] = y[d, self.position(d, step)]
        return ours
