"""Recurrent layers of embedded words, which take the ids of the words; by ``lift_embedding``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import recurrent, recurrent_layers
from onnxwalk.ops.contract.facts import Function, declare
from onnxwalk.ops.contract.registry import FUSED_DOMAIN, fused
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared import batch


def _of_ids(name: str, layer: Function, prepare_layer: Callable[..., Any]) -> None:
    """Register a layer that takes ids in place of its inputs x."""

    @fused.op(name, since=1, domain=FUSED_DOMAIN)
    @attributes_of(layer)
    def of_ids(ids: np.ndarray, *inputs: Any, table: np.ndarray, **attributes: Any) -> Any:
        """The layer of the rows of table (V, I) that ids (T, N) name."""
        return layer(recurrent_layers.look_up_embedding(ids, table), *inputs, **attributes)

    @functools.wraps(prepare_layer)
    def prepare(*constants: Any, table: np.ndarray, **attributes: Any) -> Any:
        return prepare_layer(*constants, **attributes, _table=table)

    def cost(ids: np.ndarray, *inputs: Any, table: np.ndarray, **attributes: Any) -> Any:
        x = np.broadcast_to(table[:1], (*ids.shape, *table.shape[1:]))
        return recurrent_layers.cost_of_layer(x, *inputs, **attributes)

    declare(
        of_ids,
        prepare=prepare,
        cost=cost,
        flops=recurrent_layers.flops_of_layer,
        batch_axis=batch.recurrence,
        lays_out="table",  # which is only looked up: rows are copied
        worth_splitting=batch.large_state,
    )


_of_ids("RNN", recurrent.rnn, recurrent.prepare_rnn)
_of_ids("LSTM", recurrent.lstm, recurrent.prepare_lstm)
_of_ids("GRU", recurrent.gru, recurrent.prepare_gru)
