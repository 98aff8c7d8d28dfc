"""GreedySearch and Sampling: one sequence for each prompt, token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.softmax import softmax
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.search_models import INT, Gpt
from onnxwalk.ops.com_microsoft.search_rules import (
    Rules,
    check_mask,
    check_tokens,
    cost_of_tokens,
    of_vocabulary,
    read_lengths,
    read_penalty,
)
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.graphs import Calls, Subgraphs, runs_graphs
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import flops
from onnxwalk.ops.shared.values import as_int

#: how many arrays as large as the scores of a step there are at once
_COPIES = 12


@op("GreedySearch", since=1, domain=DOMAIN)
@runs_graphs
def greedy_search(
    input_ids,
    max_length,
    min_length=None,
    repetition_penalty=None,
    vocab_mask=None,
    prefix_vocab_mask=None,
    attention_mask=None,
    *,
    decoder,
    encoder=None,
    init_decoder=None,
    eos_token_id,
    pad_token_id,
    decoder_start_token_id=-1,
    model_type=0,
    no_repeat_ngram_size=0,
    vocab_size=-1,
):
    """Each prompt, (B, S), continued by the most probable token until eos_token_id; (B, max_length)

    Source: com.microsoft.GreedySearch-1, ONNX Runtime 1.32.
    """
    rules = {
        "repetition_penalty": read_penalty(repetition_penalty),
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "vocab_mask": vocab_mask,
        "prefix_vocab_mask": prefix_vocab_mask,
    }
    model = _decoder_only(
        model_type, decoder, init_decoder, input_ids, attention_mask, pad_token_id
    )
    lengths = read_lengths(input_ids.shape[1], max_length, min_length)
    sequences, _ = yield from _generate(
        model,
        decoder.reserve,
        input_ids,
        lengths,
        eos_token_id,
        pad_token_id,
        vocab_size,
        rules,
        lambda scores: scores.argmax(-1),
    )
    return sequences


@op("Sampling", since=1, domain=DOMAIN)
@runs_graphs
def sampling(
    input_ids,
    max_length,
    min_length=None,
    repetition_penalty=None,
    vocab_mask=None,
    prefix_vocab_mask=None,
    attention_mask=None,
    presence_mask=None,
    seed=None,
    *,
    decoder,
    encoder=None,
    init_decoder=None,
    eos_token_id,
    pad_token_id,
    decoder_start_token_id=-1,
    model_type=0,
    no_repeat_ngram_size=0,
    vocab_size=-1,
    temperature=1.0,
    top_p=0.0,
    min_tokens_to_keep=0,
    filter_value=-1e20,
    presence_penalty=0.0,
    custom=0,
    rng,
):
    """Each prompt, (B, S), continued by random tokens until eos_token_id; (B, max_length)

    A token is drawn by its probability from those that come first of all and have top_p of the
    probability together. The same seed gives the same tokens. The second result is the logits that
    the last tokens were drawn from, those that can't be drawn filter_value, (B, V).

    Source: com.microsoft.Sampling-1, ONNX Runtime 1.32, which doesn't give the second result.
    """
    rules = {
        "repetition_penalty": read_penalty(repetition_penalty),
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "vocab_mask": vocab_mask,
        "prefix_vocab_mask": prefix_vocab_mask,
        "temperature": temperature,
        "presence_mask": presence_mask,
        "presence_penalty": presence_penalty,
    }
    generator = rng if seed is None else np.random.default_rng(as_int(seed, "seed") % 2**32)

    def draw(scores: np.ndarray) -> np.ndarray:
        _filter(scores, top_p, max(min_tokens_to_keep, 1), filter_value, custom=custom == 1)
        upper = softmax(scores.astype(np.float64)).cumsum(-1)
        point = generator.random((len(scores), 1)) * upper[:, -1:]
        return (upper <= point).sum(-1).clip(max=scores.shape[1] - 1)

    model = _decoder_only(
        model_type, decoder, init_decoder, input_ids, attention_mask, pad_token_id
    )
    lengths = read_lengths(input_ids.shape[1], max_length, min_length)
    return (
        yield from _generate(
            model,
            decoder.reserve,
            input_ids,
            lengths,
            eos_token_id,
            pad_token_id,
            vocab_size,
            rules,
            draw,
        )
    )


def _filter(scores: np.ndarray, top_p: float, least: int, value: float, *, custom: bool) -> None:
    """Give ``value`` to the least probable tokens, whose probabilities add up to no more than
    1 - top_p, but for the ``least`` most probable ones; with ``custom``, to those that follow the
    first tokens with more than top_p together."""
    order = np.argsort(-scores if custom else scores, axis=-1, kind="stable")
    total = softmax(np.take_along_axis(scores, order, -1)).cumsum(-1, dtype=np.float32)
    if custom:
        row, place = np.nonzero(total[:, :-1] > np.float32(top_p))
        place += 1
    else:
        row, place = np.nonzero(total[:, : scores.shape[1] - least] <= 1 - np.float32(top_p))
    scores[row, order[row, place]] = value


def _decoder_only(
    model_type: int,
    decoder: Any,
    init_decoder: Any,
    ids: np.ndarray,
    mask: np.ndarray | None,
    pad: int,
) -> Gpt:
    if model_type != 0:
        raise ValueError(f"model_type {model_type} should be 0: there is no encoder")
    if ids.ndim != 2 or not ids.size:
        raise ValueError(f"input_ids {ids.shape} should be (B, S)")
    return Gpt(decoder, init_decoder, ids, mask, pad)


def _generate(
    model: Gpt,
    reserve: Callable[[int], None],
    start: np.ndarray,
    lengths: tuple[int, int],
    eos: int,
    pad: int,
    vocab_size: int,
    changes: dict[str, Any],
    choose: Callable[[np.ndarray], np.ndarray],
) -> Calls[tuple[np.ndarray, np.ndarray]]:
    """The sequences (B, max_length), and the last tokens' scores as ``choose`` left them."""
    check_tokens(eos, pad)
    (batch, begun), (most, least) = start.shape, lengths
    sequences = np.full((batch, most), pad, INT)
    sequences[:, :begun] = start
    is_done = np.zeros(batch, bool)
    every_row = np.arange(batch)
    for length in range(begun, most):
        is_first = length == begun
        logits = yield from (
            model.begin() if is_first else model.go_on(sequences[:, :length], every_row)
        )
        scores = of_vocabulary(logits, vocab_size).copy()
        if is_first:
            reserve(_COPIES * scores.nbytes)
            vocabulary = scores.shape[-1]
            check_mask("vocab_mask", changes["vocab_mask"], vocabulary)
            check_mask("prefix_vocab_mask", changes["prefix_vocab_mask"], batch, vocabulary)
            check_mask("presence_mask", changes.get("presence_mask"), batch, vocabulary)
            rules = Rules(vocabulary, eos, min_length=least, **changes)
        rules.apply(scores, sequences[:, :length], is_first=is_first)
        tokens = choose(scores)
        is_done |= tokens == eos
        sequences[:, length] = np.where(is_done, pad, tokens)
        if is_done.all():
            break
    return sequences, scores


@greedy_search.cost
def cost_of_greedy_search(
    input_ids: np.ndarray, max_length: np.ndarray, *_: Any, **__: Any
) -> Cost:
    """The sequences; scores are reserved, and calls of subgraphs have costs of their own."""
    return cost_of_tokens(len(input_ids), max_length)


sampling.cost(cost_of_greedy_search)
declare(greedy_search, sampling, flops=flops.zero, subgraphs=Subgraphs(grows=True))
declare(greedy_search, vjp=no_gradient)  # of whole numbers
