"""Text to integer ids exactly as Keras's TextVectorization, without TensorFlow.

Reads the metadata ``onnxwalk.text`` and ``onnxwalk.labels`` that ``export`` stores in a file;
``export/text.py`` documents the format.

Keras works on bytes: only ASCII letters are lowercased, and only ASCII whitespace splits. So do the
methods of ``bytes``, which are applied to the text in UTF-8.
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

#: what Keras's regular expression removes: the ASCII punctuation
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_UNKNOWN = 1


@dataclass(frozen=True)
class Tokenizer:
    """The settings of a TextVectorization layer whose ``output_mode`` is "int".

    ``vocabulary``: the word of each id; 0 is "" (padding) and 1 is "[UNK]".
    ``ngrams``: the widths of the n-grams, in the order of their output; ``None``: words only.
    ``length``: the number of ids of each text, which are cut or padded with 0; ``None``: that of
    the longest. ``ragged``: cut to ``length``, but pad only to the longest.

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
            raise ValueError(f"standardize must be one of {STANDARDIZE}, not {self.standardize!r}")
        if self.split not in SPLIT:
            raise ValueError(f"split must be one of {SPLIT}, not {self.split!r}")
        if self.ngrams is not None and not all(_is_count(n) for n in self.ngrams):
            raise ValueError(f"ngrams must be positive integers, not {self.ngrams!r}")
        if self.length is not None and not _is_count(self.length):
            raise ValueError(f"length must be a positive integer, not {self.length!r}")
        words = list(self.vocabulary)
        if words[:2] != ["", "[UNK]"] or not all(isinstance(word, str) for word in words):
            raise ValueError('the vocabulary must begin with "" and "[UNK]"')
        ids = {word.encode("utf-8", "surrogatepass"): i for i, word in enumerate(words)}
        if len(ids) < len(words):
            raise ValueError("the vocabulary has duplicate words")
        object.__setattr__(self, "_ids", ids)

    def tokens(self, text: str) -> list[bytes]:
        """The words, characters or n-grams of a text, in UTF-8, before any are cut off.

        Raises InvalidInputError for text with lone surrogates, which UTF-8 can't encode.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"text {text!r} can't be encoded as UTF-8: {error}") from None
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

        ``width``: pad at least to this width if ``length`` doesn't fix it.

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
        """Raises ValueError for settings that are missing, unknown or of the wrong type."""
        known = {"standardize", "split", "ngrams", "length", "ragged", "vocabulary"}
        if not isinstance(settings, Mapping) or set(settings) != known:
            raise ValueError(f"settings must be {', '.join(sorted(known))}")
        for name, kind, words in (
            ("vocabulary", list, "a list"),
            ("ngrams", list | None, "a list or null"),
            ("ragged", bool, "true or false"),
        ):
            if not isinstance(settings[name], kind):
                raise ValueError(f"{name} must be {words}")
        ngrams = settings["ngrams"]
        return cls(**{**settings, "ngrams": None if ngrams is None else tuple(ngrams)})


class TextRows:
    """Texts as the rows of an input; ids are computed when they are requested.

    All rows are as long as the longest text, so that runs of parts of the texts have the same
    results as one run of all. ``names``: the beginning of each text, for people.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, dtype: np.dtype) -> None:
        self.length: int | None = len(texts)
        self.names: list[str] | None = [_shorten(text) for text in texts]
        self._texts, self._tokenizer, self._dtype = texts, tokenizer, dtype
        self.width = max((len(tokenizer.ids(text)) for text in texts), default=0)

    def words(self, row: int) -> list[str]:
        """The words of a text as they are in it, one for each of its ids."""
        tokens = self._tokenizer.tokens(self._texts[row])[: self._tokenizer.length]
        return [token.decode("utf-8", "replace") for token in tokens]

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Arrays (≤ size, length)."""
        for start in range(0, len(self._texts), min(size, max(len(self._texts), 1))):
            texts = self._texts[start : start + size]
            yield self._tokenizer(texts, width=self.width).astype(self._dtype)


def tokenizers(metadata: Mapping[str, str]) -> dict[str, Tokenizer]:
    """The tokenizer of each input by name, from a model's metadata. Raises InvalidModelError."""
    stored = _read_json(metadata, TEXT_KEY)
    try:
        return {name: Tokenizer.from_json(settings) for name, settings in stored.items()}
    except (TypeError, ValueError) as error:
        raise InvalidModelError(f"metadata {TEXT_KEY}: {error}") from None


def class_names(metadata: Mapping[str, str]) -> dict[str, list[str]]:
    """The class names of each output by name, from a model's metadata. Raises InvalidModelError."""
    stored = _read_json(metadata, LABELS_KEY)
    for names in stored.values():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidModelError(f"metadata {LABELS_KEY}: expected lists of names")
    return stored


def _read_json(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    if key not in metadata:
        return {}
    try:
        stored = json.loads(metadata[key])
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise InvalidModelError(f"metadata {key}: expected a JSON object")
    return stored


def _shorten(text: str, most: int = 40) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
