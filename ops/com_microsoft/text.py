"""Text in words or characters: Tokenizer, WordConvEmbedding."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import (
    PER_ITEM,
    PER_STRING,
    character_bytes,
    multiply_adds,
    strings_in,
)
from onnxwalk.ops.shared.re2 import compile_re2, max_steps

#: a character that repeats what precedes it, and one that depends on its neighbours
_REPEATS = re.compile(r"\\.|([*+?{])", re.S)
_LOOKS = re.compile(r"\\([bBz])|\\.|(\$)", re.S)


@op("Tokenizer", since=1, domain=DOMAIN)
def tokenizer(X, *, mark, mincharnum, pad_value, separators=None, tokenexp=None):
    """The tokens of each text: what is between the separators, or what matches tokenexp

    X (C) or (N, C) of strings; Y has one more axis, as long as the most tokens (0 if there are none
    at all), filled up with pad_value. With ``mark``, "\\x02" and "\\x03" stand around the tokens of
    each text, before the padding. Tokens of less than mincharnum characters are left out.

    separators and tokenexp are RE2's; of the matches at a place the longest counts. separators [""]
    or tokenexp "." give the single characters. One separator after the other divides what is left;
    a match of nothing takes the next character with it. After a match of tokenexp that is too short
    the search goes on at the next character.

    Source: com.microsoft.Tokenizer-1, ONNX Runtime 1.32.
    """
    if X.ndim not in (1, 2):
        raise ValueError(f"X {X.shape} should be (C) or (N, C)")
    if mincharnum < 1:
        raise ValueError(f"mincharnum {mincharnum} should be at least 1")
    divide = _make_tokenizer(separators, tokenexp, mincharnum)
    rows = [divide(text) for text in X.reshape(-1).tolist()]
    most = max(map(len, rows), default=0)
    if not X.size:  # (0) gives (0), and (N, C) gives (N, 0)
        return np.empty((*X.shape[:-1], 0), object)
    if most == 0:
        return np.empty((*X.shape, 0), object)
    if mark:
        rows = [["\x02", *row, "\x03"] for row in rows]
        most += 2
    filled = [row + [pad_value] * (most - len(row)) for row in rows]
    return np.array(filled, object).reshape(*X.shape, most)


def _make_tokenizer(
    separators: Sequence[str] | None, tokenexp: str | None, min_length: int
) -> Callable[[str], list[str]]:
    """The function from a text to its tokens."""
    if bool(separators) == bool(tokenexp):
        raise ValueError("exactly one of separators and tokenexp is required")
    if separators == [""] or tokenexp == ".":
        if min_length > 1:
            raise ValueError(f"mincharnum should be 1 for single characters, got {min_length}")
        return list
    if tokenexp:
        matches = _longest_match(tokenexp)
        return lambda text: _find_all(text, matches, min_length)
    divisions = [_longest_match(pattern) for pattern in separators or []]

    def divide(text: str) -> list[str]:
        parts = [text]
        for matches in divisions:
            parts = [part for whole in parts for part in _split_at(whole, matches, min_length)]
        return parts

    return divide


Match = Callable[[str, int], "tuple[int, int] | None"]


def _split_at(text: str, match: Match, min_length: int) -> list[str]:
    """The parts between the matches that are long enough."""
    parts, start = [], 0
    while start <= len(text) and (found := match(text, start)):
        parts.append(text[start : found[0]])
        start = found[1] + (found[0] == found[1])
    return [part for part in (*parts, text[start:]) if len(part) >= min_length]


def _find_all(text: str, match: Match, min_length: int) -> list[str]:
    """The matches that are long enough."""
    parts, start = [], 0
    while start <= len(text) and (found := match(text, start)):
        if found[1] - found[0] >= min_length:
            parts.append(text[found[0] : found[1]])
            start = found[1]
        else:
            start = found[0] + 1
    return parts


def _is_simple(pattern: str) -> bool:
    """Whether a pattern has no alternatives and at most one repetition."""
    return "|" not in pattern and sum(bool(sign[1]) for sign in _REPEATS.finditer(pattern)) <= 1


def _longest_match(pattern: str) -> Match:
    """The function that finds, from a place on, the first place that matches, and how far at most.

    Python's ``re`` takes the first alternative, not the longest. Without alternatives and with one
    repetition they are the same; otherwise the ends are tried out, which a pattern that looks
    beyond its end doesn't allow.
    """
    compiled = compile_re2(pattern)
    simple = _is_simple(pattern)
    if not simple and any(sign[1] or sign[2] for sign in _LOOKS.finditer(pattern)):
        raise NotImplementedError(f"the longest match of pattern {pattern!r} is not supported")

    def match(text: str, start: int) -> tuple[int, int] | None:
        found = compiled.search(text, start)
        if found is None:
            return None
        begin, end = found.span()
        if not simple:
            ends = range(len(text), end, -1)
            end = next((e for e in ends if compiled.fullmatch(text, begin, e)), end)
        return begin, end

    return match


@tokenizer.cost
def cost_of_tokenizer(
    X: np.ndarray,
    *,
    mincharnum: int,
    separators: Sequence[str] | None = None,
    tokenexp: str | None = None,
    **_: Any,
) -> Cost:
    """As many tokens as there are characters (or parts of mincharnum), and space for all in each
    row. The longest match is searched at each character, and maybe for each end."""
    found = strings_in(X)
    longest, characters = max(map(len, found), default=0), sum(map(len, found))
    most = longest // max(mincharnum, 1) + 3
    memory = (PER_STRING + 40) * (characters + 3 * len(found)) + character_bytes(found) * characters
    memory += 24 * most * len(found)
    patterns = [tokenexp] if tokenexp else [pattern for pattern in separators or () if pattern]
    steps = sum(
        (len(text) + 1) ** (1 if _is_simple(pattern) else 2) * max_steps(pattern, len(text))
        for text in found
        for pattern in patterns
        if pattern != "."
    )
    return Cost(memory, PER_ITEM * (len(found) + characters) + 40 * steps + 20 * most * len(found))


@op("WordConvEmbedding", since=1, domain=DOMAIN)
def word_conv_embedding(
    Sequence, W, B, C, *, char_embedding_size=None, conv_window_size=None, embedding_size=None
):
    """A vector for each word: the largest tanh(w·characters + b) over the places of a window

    Sequence (words, L) of characters, int32, of which those above 0 count: a word whose first is
    not has the vector 0 (in ONNX Runtime 1.32 whatever its memory held). C (characters, D) their
    vectors, W (F, 1, width, D), B (F); y (words, F). A window lies within the word, or at its
    beginning if that is shorter.

    Source: com.microsoft.WordConvEmbedding-1, ONNX Runtime 1.32.
    """
    if W.ndim != 4 or C.ndim != 2 or W.shape[1] != 1 or W.shape[3] != C.shape[1]:
        raise ValueError(f"W {W.shape} and C {C.shape} should be (F, 1, width, D), (characters, D)")
    filters, _, width, features = W.shape
    for given, found in (
        (char_embedding_size, features), (conv_window_size, width), (embedding_size, filters)
    ):  # fmt: skip
        if given is not None and given != found:
            raise ValueError(f"W {W.shape} doesn't have the size {given} of an attribute")
    if Sequence.ndim != 2 or Sequence.shape[1] < width or B.shape != (filters,):
        raise ValueError(f"Sequence {Sequence.shape} should be (words, {width} or more)")
    if Sequence.size and not 0 <= Sequence.min() <= Sequence.max() < len(C):
        raise ValueError(f"the characters of Sequence should be from 0 to {len(C) - 1}")
    lengths = np.where(Sequence[:, 0] > 0, (Sequence > 0).sum(1), 0)
    windows = np.lib.stride_tricks.sliding_window_view(
        C[Sequence], width, 1
    )  # (words, …, D, width)
    places = windows.shape[1]
    columns = windows.swapaxes(2, 3).reshape(-1, width * features)
    y = np.tanh(products.matmul(columns, W.reshape(filters, -1).T) + B).reshape(
        len(Sequence), places, filters
    )
    inside = np.arange(places) < (np.maximum(lengths, width) - width + 1)[:, None]
    largest = np.where(inside[..., None], y, y.dtype.type(-1e12)).max(1)
    return np.where(lengths[:, None] > 0, largest, y.dtype.type(0))


@word_conv_embedding.cost
def cost_of_word_conv_embedding(
    Sequence: np.ndarray, W: np.ndarray, B: np.ndarray, C: np.ndarray, **_: Any
) -> Cost:
    """The vectors of all characters, those of all windows, and what the filters give, twice."""
    windows = len(Sequence) * max(Sequence.shape[1] - W.shape[2] + 1, 0)
    columns, results = windows * W.shape[2] * W.shape[3], windows * len(W)
    memory = 4 * (Sequence.size * C.shape[1] + columns + 3 * results) + 12 * Sequence.size
    return Cost(memory, multiply_adds(columns * len(W), C.dtype) + 20 * columns + 100 * results)


# of texts
declare(tokenizer, vjp=no_gradient)
