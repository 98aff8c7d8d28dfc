"""The gradients of normalizations with what comes before them: a sum, rows that are looked up."""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.ai_onnx.dropout import vjp_of_dropout
from onnxwalk.ops.ai_onnx.normalization import layer_normalization
from onnxwalk.ops.ai_onnx.normalization_gradients import (
    vjp_of_layer_normalization,
    vjp_of_rms_normalization,
)
from onnxwalk.ops.com_microsoft.normalization import (
    add_residual,
    bias_dropout,
    code_of,
    embed_layer_normalization,
    normalize_rms,
    simplified_layer_normalization,
    skip_layer_normalization,
    skip_simplified_layer_normalization,
)
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.shared.cost import wide_itemsize
from onnxwalk.ops.shared.gradients import add_rows, reduce_to
from onnxwalk.ops.shared.numeric import wide


@skip_layer_normalization.vjp
def vjp_of_skip_layer_normalization(
    dy, dmean, dinverse, dtotal, input, skip, gamma, beta, bias, *, epsilon
):
    """Through LayerNormalization to the sum, and to what was added."""
    total = add_residual(input, skip, bias)
    d_total, d_gamma, d_beta = _through_layer_normalization(
        dy, dmean, dinverse, total, gamma, beta, epsilon
    )
    d_total = d_total if dtotal is None else d_total + dtotal
    d_bias = None if bias is None else reduce_to(d_total, bias.shape)
    return d_total, reduce_to(d_total, skip.shape), d_gamma, d_beta, d_bias


@skip_simplified_layer_normalization.vjp
def vjp_of_skip_simplified(dy, dmean, dinverse, dtotal, input, skip, gamma, bias, *, epsilon):
    total = add_residual(input, skip, bias)
    d_total, d_gamma = np.zeros_like(total), np.zeros_like(gamma)
    if dy is not None:
        d_total, d_gamma = _through_rms(dy, total, gamma, -1, epsilon)
    if dinverse is not None:
        _, r = normalize_rms(total, -1, epsilon)
        d_total = d_total - dinverse * total * r**3 / total.shape[-1]
    d_total = d_total if dtotal is None else d_total + dtotal
    d_bias = None if bias is None else reduce_to(d_total, bias.shape)
    return d_total, reduce_to(d_total, skip.shape), d_gamma, d_bias


@simplified_layer_normalization.vjp
def vjp_of_simplified_layer_normalization(dy, x, scale, *, x_dtype, scale_dtype, axis, epsilon):
    dx, d_scale = _through_rms(wide(dy), wide(x), wide(scale), axis, epsilon)
    return dx.astype(x_dtype, copy=False), d_scale.astype(scale_dtype, copy=False)


@embed_layer_normalization.vjp
def vjp_of_embed_layer_normalization(
    dy, dindex, dtotal, input_ids, segment_ids, word_embedding, position_embedding,
    segment_embedding, gamma, beta, position_ids, *, epsilon,
):  # fmt: skip
    """Through LayerNormalization to the sum, and to the rows that were looked up."""
    batch, length = input_ids.shape
    places = np.arange(length)[None] if position_ids is None else position_ids
    places = np.broadcast_to(places, input_ids.shape)
    rows = [(word_embedding, input_ids), (position_embedding, places)]
    if segment_ids is not None:
        rows.append((segment_embedding, segment_ids))
    total = sum(table[ids] for table, ids in rows)
    d_total, d_gamma, d_beta = np.zeros_like(total), np.zeros_like(gamma), np.zeros_like(beta)
    if dy is not None:
        d_total, d_gamma, d_beta = _through_layer_normalization(
            dy, None, None, total, gamma, beta, epsilon
        )
    d_total = d_total if dtotal is None else d_total + dtotal
    flat = d_total.reshape(batch * length, -1)
    d_tables = [add_rows(flat, ids.reshape(-1), len(table)) for table, ids in rows]
    d_segments = d_tables[2] if segment_ids is not None else None
    return None, None, d_tables[0], d_tables[1], d_segments, d_gamma, d_beta


@bias_dropout.vjp
def vjp_of_bias_dropout(dy, dmask, *, mask, bias_shape, residual_shape, ratio, training_mode):
    dx = vjp_of_dropout(dy, dmask, mask=mask, ratio=ratio, training_mode=training_mode)
    return dx, reduce_to(dx, bias_shape), None if residual_shape is None else dy


def _through_layer_normalization(
    dy: np.ndarray | None,
    dmean: np.ndarray | None,
    dinverse: np.ndarray | None,
    total: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray | None,
    epsilon: float,
) -> tuple[np.ndarray, ...]:
    shape, dtype = (None, None) if beta is None else (beta.shape, beta.dtype)
    _, mean, inverse = layer_normalization(total, gamma, epsilon=epsilon, stash_type=code_of(total))
    return vjp_of_layer_normalization(
        dy, dmean, dinverse, total, gamma, mean=mean, inverse=inverse, x_dtype=total.dtype,
        scale_dtype=gamma.dtype, b_shape=shape, b_dtype=dtype, axis=-1,
    )  # fmt: skip


def _through_rms(
    dy: np.ndarray, x: np.ndarray, scale: np.ndarray, axis: int, epsilon: float
) -> tuple[np.ndarray, ...]:
    return vjp_of_rms_normalization(
        dy, x, scale, x_dtype=x.dtype, scale_dtype=scale.dtype, axis=axis, epsilon=epsilon
    )


@vjp_of_skip_layer_normalization.cost
@vjp_of_skip_simplified.cost
def cost_of_vjp_of_skip(dy, dmean, dinverse, dtotal, input, skip, *_, **__):
    return Cost(16 * wide_itemsize(input.dtype) * input.size, 300 * input.size)


@vjp_of_simplified_layer_normalization.cost
def cost_of_vjp_of_simplified(dy, x, *_, **__):
    return Cost(12 * wide_itemsize(x.dtype) * x.size, 300 * x.size)


@vjp_of_embed_layer_normalization.cost
def cost_of_vjp_of_embedding(
    dy, dindex, dtotal, input_ids, segment_ids, word_embedding, position_embedding,
    segment_embedding, *_, **__,
):  # fmt: skip
    item, size = wide_itemsize(word_embedding.dtype), word_embedding.shape[1]
    tables = [word_embedding, position_embedding, segment_embedding]
    count = sum(table.size for table in tables if table is not None)
    total = input_ids.size * size
    return Cost(item * (20 * total + 2 * count) + 100 * input_ids.size, 400 * total + 10 * count)
