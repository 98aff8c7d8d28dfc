"""Layer normalization with what the optimizer fuses before it: a residual, embeddings, a dropout.

Shapes: B sequences of S tokens, H features. Statistics are over the features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.dropout import cost_of_dropout, dropout
from onnxwalk.ops.ai_onnx.normalization import layer_normalization
from onnxwalk.ops.ai_onnx.quantize import dequantize_linear
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost
from onnxwalk.ops.contract.dtypes import element_type, numpy_dtype
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.fast.normalization import (
    bind_embed_layer_normalization,
    bind_skip_normalization,
)
from onnxwalk.ops.shared import types
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import check_same_dtype, wide


@op("SkipLayerNormalization", since=1, domain=DOMAIN)
def skip_layer_normalization(
    input, skip, gamma, beta=None, bias=None, *, epsilon=9.999999960041972e-13
):
    """LayerNormalization of s = input + skip + bias: (s - mean) / √(var + ε)·gamma + beta

    input (B, S, H) or (tokens, H); skip of its shape, (1, S, H) or (S, H); gamma, beta, bias (H).
    Also gives mean and 1 / √(var + ε), in float, and s.

    Source: com.microsoft.SkipLayerNormalization-1, ONNX Runtime 1.32.
    """
    _check_features(input, gamma, beta, bias)
    total = add_residual(input, skip, bias)
    y, mean, inverse = layer_normalization(total, wide(gamma), _wide(beta), epsilon=epsilon)
    dtype = input.dtype
    return y.astype(dtype, copy=False), mean, inverse, total.astype(dtype, copy=False)


@skip_layer_normalization.bind
def bind_skip_layer_normalization(
    space, input, skip, gamma, beta=None, bias=None, *, epsilon=9.999999960041972e-13
):
    return bind_skip_normalization(space, input, skip, gamma, beta, bias, epsilon=epsilon)


@op("SkipSimplifiedLayerNormalization", since=1, domain=DOMAIN)
def skip_simplified_layer_normalization(
    input, skip, gamma, bias=None, *, epsilon=9.999999960041972e-13
):
    """RMS normalization of s = input + skip + bias: s / √(mean(s²) + ε)·gamma

    Shapes as in SkipLayerNormalization. The second output, the mean, is nowhere computed.

    Source: com.microsoft.SkipSimplifiedLayerNormalization-1, ONNX Runtime 1.32.
    """
    _check_features(input, gamma, bias)
    total = add_residual(input, skip, bias)
    y, inverse = normalize_rms(total, -1, epsilon)
    y = (y * wide(gamma)).astype(input.dtype, copy=False)
    return y, np.zeros_like(inverse), inverse, total.astype(input.dtype, copy=False)


@skip_simplified_layer_normalization.bind
def bind_skip_simplified_layer_normalization(
    space, input, skip, gamma, bias=None, *, epsilon=9.999999960041972e-13
):
    return bind_skip_normalization(
        space, input, skip, gamma, None, bias, epsilon=epsilon, centred=False
    )


@op("SimplifiedLayerNormalization", since=1)
def simplified_layer_normalization(
    x, scale, *, axis=-1, epsilon=9.999999747378752e-06, stash_type=1
):
    """x / √(mean(x²) + ε)·scale, the mean over axis, axis + 1, …; and 1 / √(mean(x²) + ε)

    ONNX Runtime writes it in the domain ai.onnx, though ONNX has it as RMSNormalization. Computed
    in the type of stash_type (only float, as there).

    Source: SimplifiedLayerNormalization-1 of ONNX Runtime 1.32.
    """
    if numpy_dtype(stash_type) != np.float32:
        raise NotImplementedError(
            f"stash_type {stash_type} of SimplifiedLayerNormalization is not supported"
        )
    y, inverse = normalize_rms(wide(x), axis, epsilon)
    return (y * wide(scale)).astype(scale.dtype, copy=False), inverse.astype(np.float32, copy=False)


@op(
    "EmbedLayerNormalization",
    since=1,
    domain=DOMAIN,
    optional=["segment_ids", "segment_embedding"],
)
def embed_layer_normalization(
    input_ids,
    segment_ids,
    word_embedding,
    position_embedding,
    segment_embedding,
    gamma,
    beta,
    mask=None,
    position_ids=None,
    *,
    epsilon=9.999999960041972e-13,
    mask_index_type=None,
):
    """LayerNormalization of s = word[input_ids] + position[position_ids] + segment[segment_ids]

    input_ids and segment_ids (B, S), position_ids (B, S) or (1, S), 0 … S - 1 if there are none;
    the embeddings (·, H). Also gives how many 1s each row of mask (B, S) has (0s without a mask;
    mask_index_type changes nothing), and s.

    Source: com.microsoft.EmbedLayerNormalization-1, ONNX Runtime 1.32.
    """
    if (segment_ids is None) != (segment_embedding is None):
        raise ValueError("segment_ids and segment_embedding should both be set, or neither")
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids {input_ids.shape} should be (batch, sequence)")
    batch, length = input_ids.shape
    if position_ids is None:
        position_ids = np.arange(length, dtype=np.int32)[None]
    elif position_ids.shape not in ((batch, length), (1, length)):
        raise ValueError(
            f"position_ids {position_ids.shape} and input_ids {input_ids.shape} are incompatible"
        )
    words = _look_up("word_embedding", word_embedding, input_ids)
    total = words + _look_up("position_embedding", position_embedding, position_ids)
    if segment_ids is not None:
        if segment_ids.shape != input_ids.shape:
            raise ValueError(f"segment_ids {segment_ids.shape} should be {input_ids.shape}")
        total = total + _look_up("segment_embedding", segment_embedding, segment_ids)
    _check_features(total, gamma, beta)
    y, _, _ = layer_normalization(total, wide(gamma), wide(beta), epsilon=epsilon)
    dtype = word_embedding.dtype
    index = np.zeros(batch, np.int32)
    if mask is not None:
        if mask.shape != input_ids.shape:
            raise ValueError(f"mask {mask.shape} should be {input_ids.shape}")
        index = (mask == 1).sum(1, dtype=np.int32)
    return y.astype(dtype, copy=False), index, total.astype(dtype, copy=False)


embed_layer_normalization.bind(bind_embed_layer_normalization)


@op(
    "QEmbedLayerNormalization",
    since=1,
    domain=DOMAIN,
    optional=[
        "segment_ids",
        "segment_embedding",
        "mask",
        "segment_embedding_scale",
        "segment_embedding_zero_point",
    ],
)
def q_embed_layer_normalization(
    input_ids,
    segment_ids,
    word_embedding_quant,
    position_embedding_quant,
    segment_embedding,
    gamma_quant,
    beta_quant,
    mask,
    word_embedding_scale,
    position_embedding_scale,
    segment_embedding_scale,
    gamma_scale,
    beta_scale,
    word_embedding_zero_point,
    position_embedding_zero_point,
    segment_embedding_zero_point,
    gamma_zero_point,
    beta_zero_point,
    *,
    epsilon=9.999999960041972e-13,
):
    """EmbedLayerNormalization of tables, gamma and beta that are dequantized first, each by one
    scale and zero point; without s

    Source: com.microsoft.QEmbedLayerNormalization-1, ONNX Runtime 1.32.
    """
    segment = (segment_embedding, segment_embedding_scale, segment_embedding_zero_point)
    if len({value is None for value in (segment_ids, *segment)}) > 1:
        raise ValueError(
            "segment_ids, segment_embedding, its scale and zero point should all be set, or none"
        )
    y, index, _ = embed_layer_normalization(
        input_ids,
        segment_ids,
        dequantize_linear(word_embedding_quant, word_embedding_scale, word_embedding_zero_point),
        dequantize_linear(
            position_embedding_quant, position_embedding_scale, position_embedding_zero_point
        ),
        None if segment_embedding is None else dequantize_linear(*segment),
        dequantize_linear(gamma_quant, gamma_scale, gamma_zero_point),
        dequantize_linear(beta_quant, beta_scale, beta_zero_point),
        mask,
        epsilon=epsilon,
    )
    return y, index


@op("BiasDropout", since=1, domain=DOMAIN)
def bias_dropout(
    data,
    bias,
    residual=None,
    ratio=None,
    training_mode=None,
    *,
    seed=None,
    n_outputs=1,
    rng=None,
) -> Any:
    """Dropout(data + bias) + residual, and the mask; bias (D) or of the shape of data

    Source: com.microsoft.BiasDropout-1, ONNX Runtime 1.32 (which runs it on no CPU).
    """
    if np.broadcast_shapes(data.shape, bias.shape) != data.shape:
        raise ValueError(f"bias {bias.shape} does not broadcast to data of {data.shape}")
    y, mask = dropout(data + bias, ratio, training_mode, seed=seed, n_outputs=n_outputs, rng=rng)
    return y if residual is None else y + residual, mask


bias_dropout.no_gradient_of("ratio")


def code_of(x: np.ndarray) -> int:
    return element_type(x.dtype).code


def add_residual(input: np.ndarray, skip: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """input + skip + bias; short floats in float32."""
    check_same_dtype(input, skip)
    if skip.shape not in (input.shape, (1, *input.shape[1:]), input.shape[1:]) or skip.ndim < 2:
        raise ValueError(f"skip {skip.shape} and input {input.shape} are incompatible")
    total = wide(input) + wide(skip)
    return total if bias is None else total + wide(bias)


def _check_features(x: np.ndarray, *parameters: np.ndarray | None) -> None:
    """Raise ValueError unless each has one value for each index of the last axis."""
    if x.ndim not in (2, 3):
        raise ValueError(f"input {x.shape} should be (batch, sequence, features) or 2-D")
    for parameter in parameters:
        if parameter is not None and parameter.shape != x.shape[-1:]:
            raise ValueError(f"gamma, beta or bias {parameter.shape} should be {x.shape[-1:]}")


def _look_up(name: str, table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The rows of an embedding table; ValueError for an id out of range."""
    if table.ndim != 2 or (ids.size and not 0 <= ids.min() <= ids.max() < len(table)):
        raise ValueError(
            f"ids from {ids.min()} to {ids.max()} are out of range for {name} {table.shape}"
        )
    return wide(table[ids])


def normalize_rms(x: np.ndarray, axis: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """x / √(mean(x²) + ε) and the factor, the mean over ``axis`` and those after it."""
    axes = tuple(range(normalize_axis(axis, x.ndim), x.ndim))
    count = math.prod(x.shape[axis] for axis in axes)  # of nothing, np.mean would warn
    squares = np.square(x).sum(axes, keepdims=True) / count
    inverse = np.reciprocal(np.sqrt(squares + epsilon))
    return x * inverse, inverse


def _wide(x: np.ndarray | None) -> np.ndarray | None:
    return None if x is None else wide(x)


# ------------------------------------------------------------------------------------------- costs


def _cost_of_sum(x: np.ndarray, copies: int, lines: int) -> Cost:
    """A sum and its normalization, with rounded results; a few numbers for each line."""
    item = max(wide_itemsize(x.dtype), 4)
    rounded = 2 * x.itemsize if wide_copies(x) else 0
    memory = (copies * item + rounded) * x.size + 48 * lines
    return Cost(memory, PER_ELEMENT * x.size)


@skip_layer_normalization.cost
@skip_simplified_layer_normalization.cost
def cost_of_skip(input: np.ndarray, skip: np.ndarray, *_: Any, **__: Any) -> Cost:
    cost = _cost_of_sum(input, 3, input.size // max(input.shape[-1], 1))
    return Cost(cost.memory + wide_copies(input, skip), cost.work)


@simplified_layer_normalization.cost
def cost_of_simplified(x: np.ndarray, *_: Any, axis: int = -1, **__: Any) -> Cost:
    cost = _cost_of_sum(x, 2, math.prod(x.shape[: normalize_axis(axis, x.ndim)]))
    return Cost(cost.memory + wide_copies(x), cost.work)


@embed_layer_normalization.cost
def cost_of_embedding(
    input_ids: np.ndarray,
    segment_ids: np.ndarray | None,
    word_embedding: np.ndarray,
    *_: Any,
    **__: Any,
) -> Cost:
    """Rows of words and positions, and their sum, twice; the sum normalized."""
    total = np.broadcast_to(
        np.zeros((), word_embedding.dtype), (input_ids.size, word_embedding.shape[1])
    )
    cost = _cost_of_sum(total, 4, input_ids.size)
    rows = 2 * total.nbytes if wide_copies(total) else 0
    return Cost(cost.memory + rows + 8 * input_ids.size, cost.work)


@q_embed_layer_normalization.cost
def cost_of_q_embedding(
    input_ids: np.ndarray,
    segment_ids: np.ndarray | None,
    word_embedding_quant: np.ndarray,
    position_embedding_quant: np.ndarray,
    segment_embedding: np.ndarray | None,
    *_: Any,
    **__: Any,
) -> Cost:
    """As EmbedLayerNormalization, and all tables dequantized."""
    floats = np.broadcast_to(np.zeros((), np.float32), word_embedding_quant.shape)
    cost = cost_of_embedding(input_ids, segment_ids, floats)
    tables = (word_embedding_quant, position_embedding_quant, segment_embedding)
    count = sum(table.size for table in tables if table is not None)
    return Cost(cost.memory + 8 * count, cost.work + 60 * count)


@bias_dropout.cost
def cost_of_bias_dropout(
    data: np.ndarray,
    bias: np.ndarray,
    residual: np.ndarray | None = None,
    ratio: np.ndarray | None = None,
    training_mode: np.ndarray | None = None,
    **_: Any,
) -> Cost:
    cost = cost_of_dropout(data, ratio, training_mode)
    return Cost(cost.memory + 2 * data.nbytes, cost.work + 10 * data.size)


bias_dropout.counts_outputs(False)
simplified_layer_normalization.output_type(types.from_attribute("stash_type"))
