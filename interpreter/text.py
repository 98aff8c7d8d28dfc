"""Text becomes integer ids exactly as Keras's TextVectorization makes them, without TensorFlow.

What ``export`` stores in a file's metadata, ``onnxwalk.text`` and ``onnxwalk.labels``, is read
here; ``export/text.py`` documents the format.

Keras works on bytes: only ASCII letters are lowered, and only ASCII whitespace splits. So does
this: ``str`` is encoded as UTF-8 first, and the methods of ``bytes`` do just that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, InvalidModelError

TEXT_KEY = "onnxwalk.text"
LABELS_KEY = "onnxwalk.labels"

STANDARDIZE = (None, "lower_and_strip_punctuation", "lower", "strip_punctuation")
SPLIT = (None, "whitespace", "character")

#: what Keras's regular expression takes out: the ASCII punctuation
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_UNKNOWN = 1


@dataclass(frozen=True)
class Tokenizer:
    """The settings of a TextVectorization layer whose ``output_mode`` is "int".

    ``vocabulary``: the word of each id; 0 is "" (padding) and 1 is "[UNK]".
    ``ngrams``: the widths in the order in which they are put one after the other; ``None``: words.
    ``length``: how many ids each text becomes, by cutting and padding with 0; ``None``: as many as
    the longest has. ``ragged``: cut to ``length``, but pad to the longest only.

    Raises ValueError for settings that Keras doesn't have.
    """

    vocabulary: Sequence[str]
    standardize: str | None = "lower_and_strip_punctuation"
    split: str | None = "whitespace"
    ngrams: tuple[int, ...] | None = None
    length: int | None = None
    ragged: bool = False
    _ids: dict[bytes, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.standardize not in STANDARDIZE:
            raise ValueError(f"standardize {self.standardize!r} is none of {STANDARDIZE}")
        if self.split not in SPLIT:
            raise ValueError(f"split {self.split!r} is none of {SPLIT}")
        if self.ngrams is not None and not all(_is_count(n) for n in self.ngrams):
            raise ValueError(f"ngrams {self.ngrams!r} are no widths from 1 on")
        if self.length is not None and not _is_count(self.length):
            raise ValueError(f"length {self.length!r} is no number from 1 on")
        words = list(self.vocabulary)
        if words[:2] != ["", "[UNK]"] or not all(isinstance(word, str) for word in words):
            raise ValueError('the vocabulary has to begin with "" and "[UNK]"')
        ids = {word.encode("utf-8", "surrogatepass"): i for i, word in enumerate(words)}
        if len(ids) < len(words):
            raise ValueError("the vocabulary has a word twice")
        object.__setattr__(self, "_ids", ids)

    def tokens(self, text: str) -> list[bytes]:
        """The words, characters or n-grams of a text, in UTF-8, before any are cut off.

        Raises InvalidInputError for text that is no Unicode (lone surrogates).
        """
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"{text!r} is no text that UTF-8 can hold: {error}") from None
        if self.standardize in ("lower", "lower_and_strip_punctuation"):
            data = data.lower()
        if self.standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
            data = data.translate(None, _PUNCTUATION)
        if self.split == "whitespace":
            parts = data.split()
        elif self.split == "character":
            parts = [character.encode() for character in data.decode()]
        else:
            parts = [data]
        if self.ngrams is None:
            return parts
        return [
            b" ".join(parts[start : start + width])
            for width in self.ngrams
            for start in range(len(parts) - width + 1)
        ]

    def ids(self, text: str) -> list[int]:
        """The ids of a text, cut to ``length``, not padded. Raises InvalidInputError."""
        return [self._ids.get(token, _UNKNOWN) for token in self.tokens(text)[: self.length]]

    def __call__(self, texts: Sequence[str], *, width: int | None = None) -> np.ndarray:
        """The ids of texts, int64 (texts, length), padded with 0.

        ``width``: pad to at least so many where ``length`` leaves it open.

        Raises InvalidInputError.
        """
        rows = [self.ids(text) for text in texts]
        size = max(map(len, rows), default=0)
        if self.length is not None and not self.ragged:
            size = self.length
        elif width is not None:
            size = max(size, width)
        array = np.zeros((len(rows), size), np.int64)
        for row, ids in zip(array, rows, strict=True):
            row[: len(ids)] = ids
        return array

    def as_json(self) -> dict[str, Any]:
        """The settings as ``from_json`` reads them."""
        return {
            "standardize": self.standardize,
            "split": self.split,
            "ngrams": None if self.ngrams is None else list(self.ngrams),
            "length": self.length,
            "ragged": self.ragged,
            "vocabulary": list(self.vocabulary),
        }

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Tokenizer:
        """Raises ValueError for what isn't there, isn't known, or isn't what it should be."""
        known = {"standardize", "split", "ngrams", "length", "ragged", "vocabulary"}
        if not isinstance(settings, Mapping) or set(settings) != known:
            raise ValueError(f"settings have to be {', '.join(sorted(known))}")
        if not isinstance(settings["vocabulary"], list):
            raise ValueError("the vocabulary has to be a list")
        ngrams = settings["ngrams"]
        if ngrams is not None and not isinstance(ngrams, list):
            raise ValueError("ngrams have to be a list")
        if not isinstance(settings["ragged"], bool):
            raise ValueError("ragged has to be true or false")
        return cls(**{**settings, "ngrams": None if ngrams is None else tuple(ngrams)})


class TextRows:
    """Texts as the rows of an input: ids are made as they are asked for.

    Rows are as long as the longest of all texts, so that a run in pieces gives what a whole run
    gives. ``names``: how each text begins, for people.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, dtype: np.dtype) -> None:
        self.length: int | None = len(texts)
        self.names: list[str] | None = [_beginning(text) for text in texts]
        self._texts, self._tokenizer, self._dtype = texts, tokenizer, dtype
        self.width = max((len(tokenizer.ids(text)) for text in texts), default=0)

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Arrays (≤ size, length)."""
        for start in range(0, len(self._texts), min(size, max(len(self._texts), 1))):
            texts = self._texts[start : start + size]
            yield self._tokenizer(texts, width=self.width).astype(self._dtype)


def tokenizers(metadata: Mapping[str, str]) -> dict[str, Tokenizer]:
    """Input name -> its tokenizer, from a model's metadata. Raises InvalidModelError."""
    stored = _stored(metadata, TEXT_KEY)
    try:
        return {name: Tokenizer.from_json(settings) for name, settings in stored.items()}
    except (TypeError, ValueError) as error:
        raise InvalidModelError(f"metadata {TEXT_KEY} can't be used: {error}") from None


def class_names(metadata: Mapping[str, str]) -> dict[str, list[str]]:
    """Output name -> the names of its classes, from a model's metadata.

    Raises InvalidModelError.
    """
    stored = _stored(metadata, LABELS_KEY)
    for names in stored.values():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidModelError(f"metadata {LABELS_KEY} can't be used: no lists of names")
    return stored


def _stored(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    if key not in metadata:
        return {}
    try:
        stored = json.loads(metadata[key])
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise InvalidModelError(f"metadata {key} can't be used: no JSON object")
    return stored


def _beginning(text: str, most: int = 40) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
