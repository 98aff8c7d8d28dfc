"""Which tokens may follow: how scores are changed before one is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.com_microsoft.generation import tokens_that_repeat
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.records import record
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL
from onnxwalk.ops.shared.values import as_float, as_int

#: the score of a token that can't be chosen
LOWEST = np.finfo(np.float32).min
#: the first timestamp is at most this many after the first of all
_LATEST_BEGIN = 50


@record(frozen=True)
class Timestamps:
    """Tokens of Whisper. Times come in pairs, an end and the begin that follows it, and don't
    decrease; tokens from ``first`` on are times."""

    start: int
    translate: int | None
    transcribe: int | None
    start_of_lm: int | None
    none: int | None
    first: int

    def apply(self, scores: np.ndarray, sequence: np.ndarray, eos: int) -> None:
        """Change the scores (V,) of what follows a sequence (S,)."""
        times = sequence[sequence >= self.first]
        begin = int((sequence >= self.first).argmax()) + 1 if times.size else sequence.size
        _forbid(scores, self.none, self.start_of_lm)
        if sequence.size > begin:
            _forbid(scores, self.start, self.translate, self.transcribe)
        is_time = sequence.size > 0 and sequence[-1] >= self.first
        is_pair = sequence.size <= begin or sequence[-2] >= self.first
        if is_time and is_pair:
            scores[self.first :] = LOWEST
        elif is_time:
            scores[:eos] = LOWEST
        if times.size:
            least = times[-1] if is_time and not is_pair else times[-1] + 1
            scores[self.first : least] = LOWEST
        if sequence.size == begin:
            scores[self.first + _LATEST_BEGIN + 1 :] = LOWEST
        if _log_sum_exp(scores[self.first :]) > scores[: self.first].max(initial=LOWEST):
            scores[: self.first] = LOWEST


@record(frozen=True)
class Rules:
    """What changes the scores of the next tokens, in this order."""

    vocabulary: int
    eos: int
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    vocab_mask: np.ndarray | None = None
    prefix_vocab_mask: np.ndarray | None = None
    min_length: int = 0
    temperature: float = 1.0
    presence_mask: np.ndarray | None = None
    presence_penalty: float = 0.0
    timestamps: Timestamps | None = None

    def apply(self, scores: np.ndarray, sequences: np.ndarray, *, is_first: bool) -> None:
        """Change the scores (n, V) of what follows the sequences (n, S)."""
        if self.repetition_penalty != 1:
            row, place = np.nonzero((sequences >= 0) & (sequences < self.vocabulary))
            at = row, sequences[row, place]
            penalty = np.float32(self.repetition_penalty)
            scores[at] = np.where(scores[at] < 0, scores[at] * penalty, scores[at] / penalty)
        if 0 < self.no_repeat_ngram_size <= sequences.shape[1]:
            row, token = tokens_that_repeat(sequences, self.no_repeat_ngram_size)
            known = (token >= 0) & (token < self.vocabulary)
            scores[row[known], token[known]] = LOWEST
        if self.vocab_mask is not None:
            scores[:, self.vocab_mask == 0] = LOWEST
        if self.prefix_vocab_mask is not None and is_first:
            beams = len(scores) // len(self.prefix_vocab_mask)
            scores[(self.prefix_vocab_mask == 0).repeat(beams, 0)] = LOWEST
        if sequences.shape[1] < self.min_length and self.eos < self.vocabulary:
            scores[:, self.eos] = LOWEST
        if self.temperature > 0 and self.temperature != 1:
            scores /= np.float32(self.temperature)
        if self.presence_mask is not None:
            scores -= self.presence_mask * np.float32(self.presence_penalty)
        if self.timestamps is not None:
            for row_scores, sequence in zip(scores, sequences, strict=True):
                self.timestamps.apply(row_scores, sequence, self.eos)


def read_number(tensor: np.ndarray | None, name: str, default: int) -> int:
    return default if tensor is None else as_int(tensor, name)


def read_lengths(start: int, max_length: Any, min_length: Any) -> tuple[int, int]:
    """The most tokens of a sequence that begins with ``start`` tokens, and the fewest."""
    most, least = as_int(max_length, "max_length"), read_number(min_length, "min_length", 0)
    if most <= start:
        raise ValueError(f"max_length {most} should be more than the {start} tokens at the start")
    if least >= most:
        raise ValueError(f"min_length {least} should be less than max_length {most}")
    return most, least


def read_penalty(tensor: np.ndarray | None) -> float:
    penalty = 1.0 if tensor is None else as_float(tensor, "repetition_penalty")
    if not penalty > 0:
        raise ValueError(f"repetition_penalty {penalty} should be more than 0")
    return penalty


def type_of_scores(*numbers: np.ndarray | None) -> np.dtype:
    """That of the numbers that are given, float32 without any: they and the scores share a type."""
    return next((x.dtype for x in numbers if x is not None), np.dtype(np.float32))


def most(tensor: np.ndarray) -> int:
    """A count for a rule of costs, before it is checked."""
    return min(max(int(tensor.max(initial=0)), 0), 1 << 30)


def cost_of_tokens(rows: int, max_length: np.ndarray) -> Cost:
    """Sequences that grow to ``max_length``, and small arrays for each."""
    memory = rows * (24 * most(max_length) + 24 * PER_ARRAY)
    return Cost(memory, 20 * PER_CALL + memory // 4)


def check_mask(name: str, mask: np.ndarray | None, *shape: int) -> np.ndarray | None:
    if mask is not None and mask.shape != shape:
        raise ValueError(f"{name} {mask.shape} should be {shape}")
    return mask


def check_tokens(eos: int, pad: int) -> None:
    if eos < 0 or pad < 0:
        raise ValueError(f"eos_token_id {eos} and pad_token_id {pad} should be at least 0")


def of_vocabulary(logits: np.ndarray, vocab_size: int) -> np.ndarray:
    """The logits of the first ``vocab_size`` tokens; of all, if that is 0 or less."""
    if vocab_size > logits.shape[-1]:
        raise ValueError(f"vocab_size {vocab_size}, but the logits are {logits.shape[-1]}")
    return logits[:, :vocab_size] if vocab_size > 0 else logits


def _forbid(scores: np.ndarray, *tokens: int | None) -> None:
    for token in tokens:
        if token is not None and 0 <= token < scores.size:
            scores[token] = LOWEST


def _log_sum_exp(scores: np.ndarray) -> float:
    allowed = scores[scores > LOWEST]
    if not allowed.size:
        return float(LOWEST)
    most = allowed.max()
    return float(np.log(np.exp(allowed - most).sum()) + most)
