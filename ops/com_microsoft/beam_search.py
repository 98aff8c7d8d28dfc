"""BeamSearch and WhisperBeamSearch: the most probable sequences, as far as a beam finds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.indexing import top_k
from onnxwalk.ops.ai_onnx.softmax import log_softmax
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.search_models import INT, EncoderDecoder, Gpt
from onnxwalk.ops.com_microsoft.search_rules import (
    Rules,
    Timestamps,
    check_mask,
    check_tokens,
    cost_of_tokens,
    most,
    of_vocabulary,
    read_lengths,
    read_number,
    read_penalty,
    type_of_scores,
)
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.graphs import Calls, Subgraphs, runs_graphs
from onnxwalk.ops.contract.records import record
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import flops
from onnxwalk.ops.shared.values import as_float, as_int

#: the score of the beams that are copies of the first one, at the start
_COPY = np.float32(-1e9)
#: how many arrays as large as the scores of a step there are at once
_COPIES = 8
_GPT, _T5, _WHISPER = 0, 1, 2


@op("BeamSearch", since=1, domain=DOMAIN, optional=["min_length"])
@runs_graphs
def beam_search(
    input_ids,
    max_length,
    min_length,
    num_beams,
    num_return_sequences,
    length_penalty=None,
    repetition_penalty=None,
    vocab_mask=None,
    prefix_vocab_mask=None,
    attention_mask=None,
    decoder_input_ids=None,
    logits_processor=None,
    *,
    decoder,
    encoder=None,
    init_decoder=None,
    eos_token_id,
    pad_token_id,
    decoder_start_token_id=-1,
    early_stopping=0,
    model_type=0,
    no_repeat_ngram_size=0,
    vocab_size=-1,
    n_outputs,
):
    """The best continuations of each prompt, their scores, and the scores of all tokens on the way

    input_ids (B, S): the prompts of a decoder (model_type 0), else what the encoder reads (1; 2 is
    WhisperBeamSearch). The score of a sequence is the sum of the logarithms of its tokens'
    probabilities, divided by its length to the power of length_penalty. Each step keeps the
    num_beams best that go on, of those that haven't ended.

    Source: com.microsoft.BeamSearch-1, ONNX Runtime 1.32.
    """
    if model_type == _WHISPER:
        if read_number(logits_processor, "logits_processor", 0):
            raise ValueError("logits_processor needs the operator WhisperBeamSearch")
        start = _first_tokens(decoder_input_ids, len(input_ids), decoder_start_token_id)
        model: Any = EncoderDecoder(encoder, decoder, [input_ids], start)
    elif input_ids.ndim != 2 or input_ids.dtype != INT:
        raise ValueError(f"input_ids {input_ids.shape} should be (B, S), int32")
    elif model_type == _GPT:
        start = input_ids
        model = Gpt(decoder, init_decoder, input_ids, attention_mask, pad_token_id)
    elif model_type == _T5:
        start = _first_tokens(None, len(input_ids), decoder_start_token_id)
        mask = attention_mask
        if mask is None:  # what stands at the left, only
            mask = np.logical_or.accumulate(input_ids != pad_token_id, 1).astype(INT)
        check_mask("attention_mask", mask, *input_ids.shape)
        model = EncoderDecoder(encoder, decoder, [input_ids, mask], start)
    else:
        raise ValueError(f"model_type {model_type} should be 0, 1 or 2")
    beam = _beam(
        model,
        start,
        decoder.reserve,
        (max_length, min_length, num_beams, num_return_sequences, length_penalty),
        {
            "repetition_penalty": read_penalty(repetition_penalty),
            "no_repeat_ngram_size": no_repeat_ngram_size,
            "vocab_mask": vocab_mask,
            "prefix_vocab_mask": prefix_vocab_mask,
        },
        returns_steps=n_outputs > 2,
        early_stopping=early_stopping == 1,
        eos=eos_token_id,
        pad=pad_token_id,
        vocab_size=vocab_size,
    )
    sequences, scores, steps, _ = yield from beam.search()
    dtype = type_of_scores(length_penalty, repetition_penalty)
    return sequences, scores.astype(dtype), steps.astype(dtype)


@op("WhisperBeamSearch", since=1, domain=DOMAIN, optional=["min_length"])
@runs_graphs
def whisper_beam_search(
    input_ids,
    max_length,
    min_length,
    num_beams,
    num_return_sequences,
    length_penalty=None,
    repetition_penalty=None,
    vocab_mask=None,
    prefix_vocab_mask=None,
    attention_mask=None,
    decoder_input_ids=None,
    logits_processor=None,
    cross_qk_layer_head=None,
    extra_decoding_ids=None,
    temperature=None,
    *,
    decoder,
    encoder=None,
    init_decoder=None,
    eos_token_id,
    pad_token_id,
    decoder_start_token_id=-1,
    translate_token_id=None,
    transcribe_token_id=None,
    start_of_lm_token_id=None,
    no_speech_token_id=None,
    no_timestamps_token_id=None,
    beginning_timestamp_token_id=None,
    decoder_output_cross_qk=None,
    early_stopping=0,
    model_type=2,
    no_repeat_ngram_size=0,
    vocab_size=-1,
    n_outputs,
):
    """BeamSearch of the text of sounds, input_ids (B, features, time)

    The text begins with decoder_input_ids (B, S). logits_processor 1: with the rules of times. The
    fifth result is the probability of no_speech_token_id as the first token, (B,).

    Source: com.microsoft.WhisperBeamSearch-1, ONNX Runtime 1.32, whose fifth result is zeros on a
    CPU: here it is what the documentation says.
    """
    if decoder_output_cross_qk or extra_decoding_ids is not None:
        raise NotImplementedError("the output cross_qk isn't supported")
    if input_ids.ndim != 3:
        raise ValueError(f"input_ids {input_ids.shape} should be (B, features, time)")
    start = _first_tokens(decoder_input_ids, len(input_ids), decoder_start_token_id)
    timestamps = None
    if read_number(logits_processor, "logits_processor", 0) == 1:
        if beginning_timestamp_token_id is None or beginning_timestamp_token_id < 1:
            raise ValueError("the attribute beginning_timestamp_token_id should be at least 1")
        timestamps = Timestamps(
            decoder_start_token_id,
            translate_token_id,
            transcribe_token_id,
            start_of_lm_token_id,
            no_timestamps_token_id,
            beginning_timestamp_token_id,
        )
    beam = _beam(
        EncoderDecoder(encoder, decoder, [input_ids], start),
        start,
        decoder.reserve,
        (max_length, min_length, num_beams, num_return_sequences, length_penalty),
        {
            "repetition_penalty": read_penalty(repetition_penalty),
            "no_repeat_ngram_size": no_repeat_ngram_size,
            "vocab_mask": vocab_mask,
            "prefix_vocab_mask": prefix_vocab_mask,
            "temperature": 1.0 if temperature is None else as_float(temperature, "temperature"),
            "timestamps": timestamps,
        },
        returns_steps=n_outputs > 2,
        early_stopping=early_stopping == 1,
        eos=eos_token_id,
        pad=pad_token_id,
        vocab_size=vocab_size,
    )
    sequences, scores, steps, first = yield from beam.search()
    silence = np.zeros(len(input_ids), np.float32)
    if no_speech_token_id is not None and 0 <= no_speech_token_id < first.shape[1]:
        silence = np.exp(first[:, no_speech_token_id])
    dtype = type_of_scores(length_penalty, repetition_penalty, temperature)
    return sequences, scores.astype(dtype), steps.astype(dtype), None, silence.astype(dtype)


@record(frozen=True)
class Beam:
    """A search: of each prompt's sequences the ``beams`` best that go on, step by step."""

    model: Any
    start: np.ndarray  # (B, S)
    beams: int
    returned: int
    max_length: int
    length_penalty: float
    early_stopping: bool
    eos: int
    pad: int
    vocab_size: int
    rules: dict[str, Any]
    reserve: Any
    returns_steps: bool  # whether the scores of all tokens at each step are asked for

    def search(self) -> Calls[tuple[Any, ...]]:
        """The sequences (B, R, max_length), their scores (B, R), the scores of all tokens at each
        step (max_length - S, B, beams, V), and the logarithms of the first ones' probabilities,
        (B, V)."""
        check_tokens(self.eos, self.pad)
        batch, length = self.start.shape
        logits = of_vocabulary((yield from self.model.begin()), self.vocab_size)
        first, vocabulary = log_softmax(logits), logits.shape[-1]
        rules = self._rules(vocabulary)
        kept = self.max_length - length if self.returns_steps else 0
        held = self.beams * vocabulary * (kept + _COPIES)
        self.reserve(4 * batch * (self.returned * self.max_length + held))
        steps = np.zeros((kept, batch, self.beams, vocabulary), np.float32)
        ended = [Ended(self.beams, self.length_penalty, self.early_stopping) for _ in range(batch)]
        sequences = self.start.repeat(self.beams, 0)
        totals = np.full((batch, self.beams), _COPY)
        totals[:, 0] = 0
        scores = first.repeat(self.beams, 0)
        parents = np.arange(batch)
        for step in range(self.max_length - length):
            if step:
                logits = yield from self.model.go_on(sequences, parents)
                scores = log_softmax(of_vocabulary(logits, self.vocab_size))
            rules.apply(scores, sequences, is_first=step == 0)
            scores += totals.reshape(-1, 1)
            if kept:
                steps[step] = scores.reshape(batch, self.beams, vocabulary)
            tokens, totals, parents = self._choose(scores, sequences, ended)
            sequences = np.concatenate([sequences[parents], tokens[:, None]], 1)
            if step == 0:  # before, there was one row for each prompt
                parents = parents // self.beams
            if all(found.is_done for found in ended):
                break
        for b, found in enumerate(ended):
            if not found.is_done:
                for total, sequence in zip(
                    totals[b], sequences[b * self.beams : (b + 1) * self.beams], strict=True
                ):
                    found.add(sequence, total)
        return *self._results(ended), steps, first

    def _choose(
        self, scores: np.ndarray, sequences: np.ndarray, ended: list[Ended]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next token of each beam, its score, and the row that it follows; notes what ended."""
        batch, vocabulary = len(ended), scores.shape[-1]
        beams, length = self.beams, sequences.shape[1]
        by_prompt = scores.reshape(batch, beams * vocabulary)
        best, places = top_k(by_prompt, np.array([min(2 * beams, by_prompt.shape[1])]))
        tokens = np.full((batch, beams), self.pad, INT)
        totals = np.zeros((batch, beams), np.float32)
        parents = np.arange(batch * beams).reshape(batch, beams)
        for b, found in enumerate(ended):
            if found.is_done:
                continue
            rows, words = np.divmod(places[b], vocabulary)
            going_on = np.flatnonzero(words != self.eos)[:beams]
            if going_on.size < beams:
                raise ValueError(f"{vocabulary} tokens are too few for {beams} beams")
            for j in np.flatnonzero(words[:beams] == self.eos):
                if j <= going_on[-1]:
                    found.add(sequences[b * beams + rows[j]], best[b, j])
            tokens[b], totals[b] = words[going_on], best[b, going_on]
            parents[b] = b * beams + rows[going_on]
            found.see(best[b].max(), length)
        return tokens.reshape(-1), totals, parents.reshape(-1)

    def _rules(self, vocabulary: int) -> Rules:
        check_mask("vocab_mask", self.rules["vocab_mask"], vocabulary)
        check_mask(
            "prefix_vocab_mask", self.rules["prefix_vocab_mask"], len(self.start), vocabulary
        )
        return Rules(vocabulary, self.eos, **self.rules)

    def _results(self, ended: list[Ended]) -> tuple[np.ndarray, np.ndarray]:
        shape = len(ended), self.returned
        sequences = np.full((*shape, self.max_length), self.pad, INT)
        scores = np.zeros(shape, np.float32)
        for b, found in enumerate(ended):
            for r, (score, tokens) in enumerate(found.best[: self.returned]):
                sequences[b, r, : tokens.size], scores[b, r] = tokens, score
        return sequences, scores


class Ended:
    """The best sequences of a prompt that have ended, and their scores, best first."""

    def __init__(self, most: int, length_penalty: float, early_stopping: bool) -> None:
        self._most, self._early_stopping = most, early_stopping
        self._length_penalty = np.float32(length_penalty)
        self.best: list[tuple[np.float32, np.ndarray]] = []
        self.is_done = False

    def add(self, tokens: np.ndarray, total: np.float32) -> None:
        """Take a sequence in, if it is better than another one or there are too few."""
        score = self._score(total, tokens.size)
        better = [i for i, (other, _) in enumerate(self.best) if score > other]
        self.best.insert(better[0] if better else len(self.best), (score, tokens))
        del self.best[self._most :]

    def see(self, total: np.float32, length: int) -> None:
        """Note whether none of those that go on, the best with this total, can be better."""
        if len(self.best) == self._most:
            worst = self.best[-1][0]
            self.is_done = self._early_stopping or not worst < self._score(total, length)

    def _score(self, total: np.float32, length: int) -> np.float32:
        with np.errstate(all="ignore"):
            return np.float32(total / np.float32(length) ** self._length_penalty)


def _first_tokens(given: np.ndarray | None, batch: int, start: int) -> np.ndarray:
    """The tokens that each text begins with, (B, S)."""
    if given is None:
        if start < 0:
            raise ValueError("the attribute decoder_start_token_id is missing")
        return np.full((batch, 1), start, INT)
    if given.ndim != 2 or len(given) != batch or not given.size:
        raise ValueError(f"decoder_input_ids {given.shape} should be ({batch}, S)")
    return given


def _beam(
    model: Any,
    start: np.ndarray,
    reserve: Any,
    numbers: tuple[Any, ...],
    rules: dict[str, Any],
    **settings: Any,
) -> Beam:
    """The search of what the node's inputs say; ``numbers``: max_length, min_length, num_beams,
    num_return_sequences, length_penalty."""
    max_length, min_length, num_beams, num_return_sequences, length_penalty = numbers
    beams, returned = (
        as_int(num_beams, "num_beams"),
        as_int(num_return_sequences, "num_return_sequences"),
    )
    if not 1 <= returned <= beams:
        raise ValueError(f"num_return_sequences {returned} should be from 1 to num_beams {beams}")
    longest, least = read_lengths(start.shape[1], max_length, min_length)
    penalty = 1.0 if length_penalty is None else as_float(length_penalty, "length_penalty")
    return Beam(
        model=model,
        start=start,
        beams=beams,
        returned=returned,
        max_length=longest,
        length_penalty=penalty,
        rules={**rules, "min_length": least},
        reserve=reserve,
        **settings,
    )


@beam_search.cost
def cost_of_beam_search(
    input_ids: np.ndarray,
    max_length: np.ndarray,
    min_length: Any,
    num_beams: np.ndarray,
    *_: Any,
    **__: Any,
) -> Cost:
    """The sequences; scores are reserved, and calls of subgraphs have costs of their own."""
    return cost_of_tokens(len(input_ids) * most(num_beams), max_length)


whisper_beam_search.cost(cost_of_beam_search)
declare(beam_search, whisper_beam_search, flops=flops.zero, subgraphs=Subgraphs(grows=True))
