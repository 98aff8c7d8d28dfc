"""LSTM with 8-bit weights, and states that are quantized at each step, as ONNX Runtime's quantizer
has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import quantize, recurrent, recurrent_layers
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared.cost import PER_CALL

_ZERO, _STEPS = np.float32(0), np.float32(255)


@op(
    "DynamicQuantizeLSTM",
    since=1,
    domain=DOMAIN,
    optional=["B", "sequence_lens", "initial_h", "initial_c", "P"],
)
@attributes_of(recurrent.lstm, without=["layout", "output_sequence", "_rounded"])
def dynamic_quantize_lstm(
    X,
    W,
    R,
    B,
    sequence_lens,
    initial_h,
    initial_c,
    P,
    W_scale,
    W_zero_point,
    R_scale,
    R_zero_point,
    **attributes,
):
    """LSTM with quantized W (D, I, 4H) and R (D, H, 4H), transposed against those of LSTM

    X, and at each step the hidden state, are quantized as DynamicQuantizeLinear does before they
    are multiplied: for the complete batch, as ONNX Runtime does with one thread (with several,
    each quantizes the sequences that it has, and the result varies with their number). W_scale and
    R_scale, with their zero points: (D), or (D, 4H) by column.

    Source: com.microsoft.DynamicQuantizeLSTM-1, ONNX Runtime 1.32.
    """
    weights = W, R, B, P, W_scale, W_zero_point, R_scale, R_zero_point
    layer = prepare_dynamic_quantize_lstm(*weights, **attributes)
    return layer(X, sequence_lens, initial_h, initial_c)


@dynamic_quantize_lstm.prepare
def prepare_dynamic_quantize_lstm(
    W, R, B, P, W_scale, W_zero_point, R_scale, R_zero_point, **attributes
):
    """DynamicQuantizeLSTM with known weights, which are dequantized and laid out once."""
    w = _dequantize_weights("W", W, W_scale, W_zero_point).swapaxes(1, 2)
    r = _dequantize_weights("R", R, R_scale, R_zero_point).swapaxes(1, 2)
    layer = recurrent.lay_out_lstm(w, r, B, P, _rounded=_round_dynamically, **attributes)

    def apply(X, sequence_lens=None, initial_h=None, initial_c=None):
        return layer(_round_dynamically(X), sequence_lens, initial_h, initial_c)

    return recurrent.add_lstm_binder(apply, w, r, B, P, rounded=_round_into, **attributes)


def _round_dynamically(x: np.ndarray) -> np.ndarray:
    """x quantized as by DynamicQuantizeLinear, and dequantized."""
    return quantize.dequantize_linear(*quantize.dynamic_quantize_linear(x))


def _round_into(x: np.ndarray, y: np.ndarray) -> None:
    """``_round_dynamically`` of float32, in few calls."""
    lowest = np.minimum.reduce(x, None, initial=_ZERO)
    highest = np.maximum.reduce(x, None, initial=_ZERO)
    scale = (highest - lowest) / _STEPS
    if not 0 < scale < math.inf:
        np.copyto(y, _round_dynamically(x))
        return
    np.divide(x, scale, y)
    np.rint(y, y)
    highest = _STEPS - np.rint(-lowest / scale)  # the lowest is the zero point's negative already
    np.minimum(y, highest, out=y)
    np.multiply(y, scale, y)


def _dequantize_weights(
    name: str, w: np.ndarray, scale: np.ndarray, zero_point: np.ndarray
) -> np.ndarray:
    """(w - zero_point)·scale, one of each for each direction, or for each of its columns."""
    if w.ndim != 3:
        raise ValueError(f"{name} {w.shape} should have rank 3")
    directions, _, columns = w.shape
    for what, value in (("scale", scale), ("zero point", zero_point)):
        if value.shape not in ((directions,), (directions, columns)):
            raise ValueError(f"{what} of {name} {value.shape} should be (D) or (D, {columns})")
    spread = scale.reshape(directions, 1, -1)
    shifted = w.astype(np.float32) - zero_point.reshape(directions, 1, -1).astype(np.float32)
    return shifted * spread


@dynamic_quantize_lstm.cost
def cost_of_dynamic_quantize_lstm(
    X: np.ndarray, W: np.ndarray, R: np.ndarray, B: Any, sequence_lens: Any, *_: Any, **__: Any
) -> Cost:
    """As LSTM, with the input and the weights dequantized, and the state at each step."""
    w, r = (np.broadcast_to(np.zeros((), np.float32), x.swapaxes(1, 2).shape) for x in (W, R))
    cost = recurrent_layers.cost_of_layer(X, w, r, None, sequence_lens)
    calls = 40 * PER_CALL * len(R) * len(X)
    return Cost(
        cost.memory + 12 * (W.size + R.size) + 13 * X.size, cost.work + calls + 100 * X.size
    )


declare(dynamic_quantize_lstm, vjp=no_gradient)  # rounding has none
