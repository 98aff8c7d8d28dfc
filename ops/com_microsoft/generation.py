"""Steps of text generation: NGramRepeatBlock, BifurcationDetector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import PER_CALL
from onnxwalk.ops.shared.values import as_int


@op("NGramRepeatBlock", since=1, domain=DOMAIN)
def ngram_repeat_block(input_ids, scores, *, ngram_size):
    """The scores, -∞ for each token that would repeat ngram_size tokens of its sequence

    input_ids (B, S), int64; scores (B, V), float. Tokens that followed, somewhere in the sequence,
    the ngram_size - 1 tokens that it ends with.

    Source: com.microsoft.NGramRepeatBlock-1, ONNX Runtime 1.32.
    """
    if input_ids.ndim != 2 or scores.ndim != 2 or len(input_ids) != len(scores):
        raise ValueError(f"input_ids {input_ids.shape}, scores {scores.shape}: (B, S), (B, V)")
    if ngram_size < 1:
        raise ValueError(f"ngram_size {ngram_size} should be at least 1")
    blocked = scores.copy()
    if ngram_size > input_ids.shape[1]:
        return blocked
    sequence, tokens = tokens_that_repeat(input_ids, ngram_size)
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < scores.shape[1]:
        raise ValueError(f"a token of input_ids is not from 0 to {scores.shape[1] - 1}")
    blocked[sequence, tokens] = -np.inf
    return blocked


def tokens_that_repeat(sequences: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and tokens that, after the sequences (B, S), would make ``size`` tokens occur again;
    ``size`` is from 1 to S."""
    ngrams = sliding_window_view(sequences, size, 1)  # (B, S - n + 1, n)
    end = sequences[:, None, sequences.shape[1] + 1 - size :]
    row, place = np.nonzero((ngrams[..., :-1] == end).all(-1))
    return row, ngrams[row, place, -1]


@ngram_repeat_block.cost
def cost_of_ngram_repeat_block(
    input_ids: np.ndarray, scores: np.ndarray, *, ngram_size: int
) -> Cost:
    """The scores; which tokens of which n-gram agree, and the places of those that do."""
    compared = input_ids.size * max(min(ngram_size, input_ids.shape[1]), 1)
    return Cost(scores.nbytes + compared + 40 * input_ids.size, 5 * scores.size + 10 * compared)


@op("BifurcationDetector", since=1, domain=DOMAIN)
def bifurcation_detector(
    src_tokens,
    cur_tokens,
    prev_suffix_match_idx,
    pred_tokens=None,
    *,
    max_ngram_size=3,
    min_ngram_size=1,
):
    """cur_tokens with the predicted ones up to the first that src_tokens doesn't have; and where
    src_tokens goes on after the last tokens of that

    All int64 vectors. pred_tokens are those predicted for src_tokens from prev_suffix_match_idx on,
    and one more. The second result is the place after the only occurrence in src_tokens of the last
    n tokens, for the largest n from min_ngram_size to max_ngram_size up to which they occur at all;
    -1 if they occur several times or n is too small already.

    Source: com.microsoft.BifurcationDetector-1, ONNX Runtime 1.32.
    """
    if not 1 <= min_ngram_size <= max_ngram_size:
        raise ValueError(
            f"min_ngram_size {min_ngram_size} should be from 1 to max_ngram_size {max_ngram_size}"
        )
    if any(x is not None and x.ndim != 1 for x in (src_tokens, cur_tokens, pred_tokens)):
        raise ValueError("src_tokens, cur_tokens and pred_tokens should be vectors")
    tokens = cur_tokens
    if pred_tokens is not None:
        start = as_int(prev_suffix_match_idx, "prev_suffix_match_idx")
        if not 0 <= start <= src_tokens.size or pred_tokens.size != src_tokens.size + 1 - start:
            raise ValueError(
                f"pred_tokens {pred_tokens.shape} should be one more than src_tokens "
                f"{src_tokens.shape} has from {start} on"
            )
        (differ,) = np.nonzero(pred_tokens[:-1] != src_tokens[start:])
        agree = differ[0] if differ.size else pred_tokens.size - 1
        tokens = np.concatenate([cur_tokens, pred_tokens[: agree + 1]])
    index = _end_of_suffix(src_tokens, tokens, min_ngram_size, max_ngram_size)
    return tokens.copy(), np.full(prev_suffix_match_idx.shape, index, np.int64)


def _end_of_suffix(source: np.ndarray, tokens: np.ndarray, least: int, most: int) -> int:
    index = -1
    for n in range(least, min(most, len(tokens), len(source)) + 1):
        (places,) = np.nonzero((sliding_window_view(source, n) == tokens[-n:]).all(-1))
        if not places.size:
            break
        index = int(places[0]) + n
        if index >= len(source):
            break
        if places.size > 1:
            index = -1
    return index


@bifurcation_detector.cost
def cost_of_bifurcation_detector(
    src_tokens: np.ndarray,
    cur_tokens: np.ndarray,
    prev_suffix_match_idx: Any,
    pred_tokens: np.ndarray | None = None,
    *,
    max_ngram_size: int = 3,
    min_ngram_size: int = 1,
) -> Cost:
    """The tokens, twice; for each n which tokens agree."""
    predicted = 0 if pred_tokens is None else pred_tokens.size
    n = max(0, min(max_ngram_size, src_tokens.size))
    memory = 16 * (cur_tokens.size + predicted) + 9 * predicted + (n + 9) * src_tokens.size
    return Cost(memory, 10 * n * (n + 1) * src_tokens.size + 6 * n * PER_CALL + memory)


# of whole numbers
declare(bifurcation_detector, vjp=no_gradient)
