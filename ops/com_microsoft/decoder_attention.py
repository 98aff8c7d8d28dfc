"""Attention of one query at a time, as decoders use it: DecoderMaskedMultiHeadAttention."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.attention import cost_of_heads
from onnxwalk.ops.com_microsoft.heads import (
    attend,
    make_mask,
    prepend_past,
    unpack_query_key_value,
)
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import wide
from onnxwalk.ops.shared.values import as_int


@op("DecoderMaskedMultiHeadAttention", since=1, domain=DOMAIN)
def decoder_masked_multi_head_attention(
    query,
    key=None,
    value=None,
    mask_index=None,
    attention_bias=None,
    past_key=None,
    past_value=None,
    past_sequence_length=None,
    beam_width=None,
    cache_indirection=None,
    bias=None,
    *,
    mask_filter_value=None,
    num_heads,
    output_qk=None,
    past_present_share_buffer=None,
    scale=None,
):
    """softmax(scale·Q·Kᵀ + attention_bias + mask)·V for one query of each sequence

    query (B, 1, N·H), with

    * key and value of the same shape, which come after past_key and past_value (B, N, P, H); or all
      three side by side in query;
    * or, without a past, key and value (B, N, T, H), of another sequence.

    With past_present_share_buffer the past has room for more, (B, N, M, H): past_sequence_length
    keys of it count, and the new one goes to the place after them; so it is with present_key and
    present_value, which else are (B, N, P + 1, H). bias, of Q, K and V side by side, is added to
    them; mask_filter_value (-10000) to scores where mask_index (B, T) is 0.

    With beam_width W and cache_indirection (B / W, W, M), past key t of beam j is that of beam
    cache_indirection[·, j, t] of its sequence; what is present stays where it was.

    Also gives what went into the softmax, (B, N, 1, T), with output_qk.

    Source: com.microsoft.DecoderMaskedMultiHeadAttention-1, ONNX Runtime 1.32, but for beams: there
    the CPU's kernel doesn't read the places that the documentation says.
    """
    if query.ndim != 3 or query.shape[1] != 1:
        raise ValueError(f"query {query.shape} should be (B, 1, ·): one token of each sequence")
    if (past_key is None) != (past_value is None):
        raise ValueError("past_key and past_value should both be set, or neither")
    dtype = query.dtype
    if key is None and value is None:
        if query.shape[2] % 3:
            raise ValueError(f"packed {query.shape} isn't Q, K and V side by side")
        query, key, value = np.split(query, 3, axis=-1)
    of_other = key is not None and key.ndim == 4
    if of_other == (past_key is not None):
        raise ValueError("keys of the sequence itself need a past, those of another one have none")
    q, k, v = (wide(x) for x in unpack_query_key_value(query, key, value, bias, num_heads))
    present: list[Any] = [None, None]
    if past_key is not None:
        pasts = [wide(past_key), wide(past_value)]
        if past_present_share_buffer:
            seen = as_int(past_sequence_length, "past_sequence_length")
            present = [_with_new(past, x, seen) for past, x in zip(pasts, (k, v), strict=True)]
            pasts = [past[:, :, :seen] for past in pasts]
        if cache_indirection is not None:
            width = 1 if beam_width is None else as_int(beam_width, "beam_width")
            pasts = [_of_beams(past, cache_indirection, width) for past in pasts]
        k, v = (prepend_past(past, x) for past, x in zip(pasts, (k, v), strict=True))
        if not past_present_share_buffer:
            present = [k, v]
    if mask_index is not None and mask_index.shape != (len(q), k.shape[2]):
        raise ValueError(f"mask_index {mask_index.shape} should be ({len(q)}, {k.shape[2]})")
    mask = make_mask(mask_index, q, k, mask_filter_value)
    y, scores = attend(q, k, v, attention_bias, mask, scale, None)
    results = (y, *present, scores if output_qk else None)
    return tuple(x if x is None else x.astype(dtype, copy=False) for x in results)


def _with_new(past: np.ndarray, x: np.ndarray, place: int) -> np.ndarray:
    """A copy of a past with room for more (B, N, M, H), with the new x (B, N, 1, H) at a place."""
    if past.ndim != 4 or (*past.shape[:2], past.shape[3]) != (*x.shape[:2], x.shape[3]):
        raise ValueError(f"past {past.shape} and new {x.shape} are incompatible")
    if not 0 <= place < past.shape[2]:
        raise ValueError(f"past_sequence_length {place} should be from 0 to {past.shape[2] - 1}")
    present = past.copy()
    present[:, :, place] = x[:, :, 0]
    return present


def _of_beams(past: np.ndarray, indirection: np.ndarray, width: int) -> np.ndarray:
    """A past (B, N, P, H) whose place t of beam j is that of beam indirection[·, j, t]."""
    rows, heads, length, size = past.shape
    if width < 1 or rows % width:
        raise ValueError(f"{rows} sequences can't be beams of {width}")
    batch = rows // width
    if indirection.ndim != 3 or indirection.shape[:2] != (batch, width):
        raise ValueError(f"cache_indirection {indirection.shape} should be ({batch}, {width}, M)")
    source = indirection[:, :, :length]
    if source.shape[2] != length or not ((source >= 0) & (source < width)).all():
        raise ValueError(
            f"cache_indirection {indirection.shape} should have beams from 0 to {width - 1} for "
            f"{length} places"
        )
    by_beam = past.reshape(batch, width, heads, length, size)
    chosen = by_beam[np.arange(batch)[:, None, None], source, :, np.arange(length)]
    return chosen.transpose(0, 1, 3, 2, 4).reshape(past.shape)


@decoder_masked_multi_head_attention.cost
def cost_of_decoder_masked_multi_head_attention(
    query: np.ndarray,
    key: np.ndarray | None = None,
    value: np.ndarray | None = None,
    mask_index: np.ndarray | None = None,
    attention_bias: np.ndarray | None = None,
    past_key: np.ndarray | None = None,
    past_value: np.ndarray | None = None,
    *_: Any,
    num_heads: int,
    **__: Any,
) -> Cost:
    """Of attention to all places of the past: what is copied of keys and values for their product
    covers what is present, and the past in the order of the beams."""
    batch, _, width = query.shape
    size = width // ((3 if key is None else 1) * max(num_heads, 1))
    given = past_key if key is None or key.ndim == 3 else key
    keys = 1 if given is None else given.shape[2] + 1
    shapes = [(batch, num_heads, n, size) for n in (1, keys, keys)]
    item = max(wide_itemsize(query.dtype), 4)
    cost = cost_of_heads(shapes, item, wide_copies(past_key, past_value, key, value) // item)
    places = 0 if past_key is None else 24 * batch * keys
    return Cost(cost.memory + places + item * query.size, cost.work)
