"""Strings: StringConcat, StringSplit, StringNormalizer, RegexFullMatch, TfIdfVectorizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost, broadcast, size
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import PER_ITEM, PER_STRING, character_bytes, strings_in
from onnxwalk.ops.shared.re2 import compile_re2, ignores_case, max_steps


@op("StringConcat", since=20)
def string_concat(x, y):
    """x + y, elementwise; shapes broadcast. Spec: StringConcat-20."""
    return np.asarray(np.add(x, y), object)


@string_concat.cost
def cost_of_string_concat(x: np.ndarray, y: np.ndarray) -> Cost:
    """The texts of both, repeated as they are broadcast."""
    count = size(broadcast([x.shape, y.shape]))
    given = [strings_in(x), strings_in(y)]
    per_element = sum(sum(map(len, found)) / max(1, len(found)) for found in given)
    characters = math.ceil(per_element * count)
    memory = (PER_STRING + 8) * count + max(map(character_bytes, given)) * characters
    return Cost(memory, 200 * count + 4 * characters)


@op("StringSplit", since=20)
def string_split(x, *, delimiter=None, maxsplit=None):
    """The parts between the delimiters, filled up with "" to one length; and how many there are

    x of any shape S; parts S + (most parts), counts S (int64). No delimiter, or "", is any run of
    ASCII white space, and none is left at the ends. After maxsplit splits the rest is one part.

    "" has one part, "", for a delimiter ("," in ",,": three); ONNX Runtime counts none.
    Spec: StringSplit-20.
    """
    most = -1 if maxsplit is None else maxsplit
    split: Callable[[str], list[str]]
    if delimiter:
        split = lambda text: text.split(delimiter, most)  # noqa: E731
    else:
        split = lambda text: _split_at_spaces(text, most)  # noqa: E731
    parts = [split(text) for text in x.reshape(-1).tolist()]
    longest = max(map(len, parts), default=0)
    result = np.full((x.size, longest), "", object)
    for row, found in zip(result, parts, strict=True):
        row[: len(found)] = found
    counts = np.array([len(found) for found in parts], np.int64)
    return result.reshape(*x.shape, longest), counts.reshape(x.shape)


def _split_at_spaces(text: str, most: int) -> list[str]:
    # bytes.split knows only ASCII white space, which is never part of another character in UTF-8
    return [part.decode() for part in text.encode().strip().split(None, most)]


@string_split.cost
def cost_of_string_split(
    x: np.ndarray, *, delimiter: str | None = None, maxsplit: int | None = None
) -> Cost:
    """The parts, at most one more than there are delimiters, padded to the longest row."""
    found = strings_in(x)

    def parts(text: str) -> int:
        ends = text.count(delimiter) if delimiter else sum(map(text.count, " \t\n\r\v\f"))
        return 1 + (ends if maxsplit is None or maxsplit < 0 else min(ends, maxsplit))

    counts = list(map(parts, found))
    characters, total = sum(map(len, found)), sum(counts)
    longest, most = max(map(len, found), default=0), max(counts, default=0)
    memory = (PER_STRING + 8) * total + character_bytes(found) * characters + 8 * longest
    memory += (80 + 16 * most) * len(found)
    return Cost(memory, 400 * total + 20 * characters + 20 * len(found) * most)


@op("StringNormalizer", since=10)
def string_normalizer(
    x, *, case_change_action="NONE", is_case_sensitive=0, locale=None, stopwords=None
):
    """x without the stop words, in lower or upper case, or as it is

    x (C) or (1, C); if every word is dropped the result is [""] or [[""]]. Words are changed letter
    by letter: ß has no upper case of one letter, and stays.

    Spec: StringNormalizer-10.
    """
    if x.ndim not in (1, 2) or (x.ndim == 2 and len(x) != 1):
        raise ValueError(f"x {x.shape} of StringNormalizer should be (C) or (1, C)")
    if locale and locale.replace("-", "_").split("_")[0] in ("az", "lt", "tr"):
        raise NotImplementedError(f"the upper and lower case of locale {locale} is not supported")
    cases: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": _lower, "UPPER": _upper}
    if case_change_action not in cases:
        raise ValueError(f"case_change_action {case_change_action!r} is not NONE, LOWER or UPPER")
    normalize = str if is_case_sensitive else _lower
    dropped = {normalize(word) for word in stopwords or ()}
    kept = [word for word in x.reshape(-1).tolist() if normalize(word) not in dropped]
    words = np.empty(max(len(kept), 1), object)
    words[:] = list(map(cases[case_change_action], kept)) or [""]
    return words.reshape(1, -1) if x.ndim == 2 else words


def _lower(text: str) -> str:
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


@string_normalizer.cost
def cost_of_string_normalizer(
    x: np.ndarray, *, stopwords: Sequence[str] | None = None, **_: Any
) -> Cost:
    """The words and the stop words to compare them with, letter by letter."""
    found = [*strings_in(x), *(stopwords or ())]
    characters, longest = sum(map(len, found)), max(map(len, found), default=0)
    memory = (PER_STRING + 40) * len(found) + 2 * character_bytes(found) * characters + 96 * longest
    return Cost(memory, PER_ITEM * len(found) + 600 * characters)


def _upper(text: str) -> str:
    return "".join(up if len(up := letter.upper()) == 1 else letter for letter in text)


@op("RegexFullMatch", since=20)
def regex_full_match(x, *, pattern=None):
    r"""Whether each complete string matches the pattern, in RE2's syntax; bool of x's shape

    What Python's ``re`` can't express of it is refused: \p, \C, \S in brackets, flags in the
    middle, and (?i) with letters beyond ASCII, whose upper and lower cases differ between the two.

    Spec: RegexFullMatch-20.
    """
    compiled = compile_re2(pattern or "")
    texts = x.reshape(-1).tolist()
    if ignores_case(pattern or "") and not all(map(str.isascii, [pattern, *texts])):
        raise NotImplementedError(f"(?i) in {pattern!r} with letters beyond ASCII is not supported")
    found = [compiled.fullmatch(text) is not None for text in texts]
    return np.array(found, bool).reshape(x.shape)


@regex_full_match.cost
def cost_of_regex_full_match(x: np.ndarray, *, pattern: str | None = None) -> Cost:
    found = strings_in(x)
    steps = sum(max_steps(pattern or "", len(text)) for text in found)
    return Cost(24 * len(found) + 400 * len(pattern or ""), PER_ITEM * len(found) + 40 * steps)


@op("TfIdfVectorizer", since=9)
def tfidf_vectorizer(
    x,
    *,
    max_gram_length,
    max_skip_count,
    min_gram_length,
    mode,
    ngram_counts,
    ngram_indexes,
    pool_int64s=None,
    pool_strings=None,
    weights=None,
):
    """How often each n-gram of a pool is in each row of x, times its weight

    x (C) or (N, C) integers or strings; y (max(ngram_indexes) + 1) or (N, …), float. The pool has
    the n-grams one after the other, those of n items from ngram_counts[n - 1] on; the i-th counts
    at ngram_indexes[i]. An n-gram's items are 1 to max_skip_count + 1 places apart. mode TF: the
    count; IDF: the weight where it occurs; TFIDF: count·weight.

    Spec: TfIdfVectorizer-9.
    """
    if x.ndim not in (1, 2):
        raise ValueError(f"x {x.shape} of TfIdfVectorizer should be (C) or (N, C)")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise ValueError(f"mode {mode!r} is not TF, IDF or TFIDF")
    if (pool_int64s is None) == (pool_strings is None):
        raise ValueError("exactly one of pool_int64s and pool_strings is required")
    if (pool_strings is None) == (x.dtype.kind == "O"):
        raise ValueError(f"x ({x.dtype}) and the pool differ in type")
    if min_gram_length < 1 or max_skip_count < 0 or min(ngram_indexes, default=0) < 0:
        raise ValueError(
            "min_gram_length should be at least 1, max_skip_count and ngram_indexes at least 0"
        )
    pool = list(pool_int64s if pool_strings is None else pool_strings)
    grams: dict[tuple, list[int]] = {}
    total = 0
    for n, (start, stop) in enumerate(
        zip(ngram_counts, [*ngram_counts[1:], len(pool)], strict=True), 1
    ):
        if not 0 <= start <= stop <= len(pool) or (stop - start) % n:
            raise ValueError(
                f"ngram_counts {list(ngram_counts)} don't divide a pool of {len(pool)} items"
            )
        for at in range(start, stop, n):
            grams.setdefault((n, *pool[at : at + n]), []).append(total)
            total += 1
    if len(ngram_indexes) != total or (weights is not None and len(weights) != total):
        raise ValueError("ngram_indexes and weights should have one value for each n-gram")
    rows = x.reshape(-1, x.shape[-1]).tolist() if x.size else [[]] * (len(x) if x.ndim == 2 else 1)
    counts = np.zeros((len(rows), total), np.float32)
    for row, items in zip(counts, rows, strict=True):
        # no longer than the pool's n-grams, and no further apart than the row is long
        for n in range(min_gram_length, min(max_gram_length, len(ngram_counts)) + 1):
            furthest = min(max_skip_count + 1, (len(items) - 1) // (n - 1)) if n > 1 else 1
            for apart in range(1, furthest + 1):
                for at in range(len(items) - (n - 1) * apart):
                    for gram in grams.get((n, *items[at : at + (n - 1) * apart + 1 : apart]), ()):
                        row[gram] += 1
    if mode == "IDF":
        counts = np.minimum(counts, 1)
    if mode != "TF" and weights is not None:
        counts = counts * np.array(weights, np.float32)
    y = np.zeros((len(rows), max(ngram_indexes, default=-1) + 1), np.float32)
    np.add.at(y.T, np.array(ngram_indexes, np.intp), counts.T)
    return y if x.ndim == 2 else y[0]


@tfidf_vectorizer.cost
def cost_of_tfidf_vectorizer(
    x: np.ndarray,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    pool_int64s: Sequence[int] | None = None,
    pool_strings: Sequence[str] | None = None,
    **_: Any,
) -> Cost:
    """The pool as a dictionary; rows as lists; up to three counts for each n-gram in each row, and
    the result."""
    rows = len(x) if x.ndim == 2 else 1
    items = x.size // max(rows, 1)
    pool = len(pool_int64s or pool_strings or ())
    grams, columns = len(ngram_indexes), max(ngram_indexes, default=-1) + 1
    copies = 1 if mode == "TF" else 3
    memory = 200 * pool + 56 * x.size + 4 * rows * (copies * grams + max(columns, 0))
    looked_up = sum(
        items * min(max(max_skip_count, 0) + 1, items) * (n + 2)
        for n in range(max(min_gram_length, 1), min(max_gram_length, len(ngram_counts)) + 1)
    )
    return Cost(memory + 8 * grams, 400 * rows * looked_up + PER_ITEM * pool + 60 * rows * grams)


string_normalizer.choices({"case_change_action": "LOWER UPPER NONE"})
tfidf_vectorizer.choices({"mode": "TF IDF TFIDF"})
declare(
    string_concat, string_split, string_normalizer, regex_full_match, tfidf_vectorizer,
    vjp=no_gradient,
)  # fmt: skip
