"""Text to ids, without Keras; tests/export/test_text.py holds it against Keras."""

import json

import numpy as np
import pytest

from onnxwalk.interpreter.errors import InvalidInputError, InvalidModelError
from onnxwalk.interpreter.text import (
    LABELS_KEY,
    TEXT_KEY,
    TextRows,
    Tokenizer,
    class_names,
    tokenizers,
)

WORDS = ["", "[UNK]", "good", "bad", "not good", "é"]


def test_words():
    made = Tokenizer(WORDS, length=4)
    ids = made(["Good, BAD!  ugly", "", "bad bad bad bad bad"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [[2, 3, 1, 0], [0, 0, 0, 0], [3, 3, 3, 3]]


def test_only_ascii_is_lowered_and_splits():
    made = Tokenizer(WORDS)
    assert made.tokens("É\u00a0GOOD\u2003x\x0b\x1cy") == [
        "É\u00a0good\u2003x".encode(),
        b"\x1cy",
    ]


def test_characters_ngrams_and_lengths():
    assert Tokenizer(WORDS, split="character")(["éx"]).tolist() == [[5, 1]]
    assert Tokenizer(WORDS, split=None)(["not good", ""]).tolist() == [[4], [0]]
    assert Tokenizer(WORDS, ngrams=(2, 1))(["not good"]).tolist() == [[4, 1, 2]]
    assert Tokenizer(WORDS, length=3, ragged=True)(["good", "bad bad"]).tolist() == [[2, 0], [3, 3]]
    assert Tokenizer(WORDS)([]).shape == (0, 0)


def test_rows_in_pieces_are_those_of_the_whole():
    texts = ["good", "bad not", "a b c d e", "good"]
    rows = TextRows(texts, Tokenizer(WORDS), np.dtype(np.float32))
    (whole,) = rows.pieces(100)
    assert whole.dtype == np.float32 and whole.shape == (4, 5)
    np.testing.assert_array_equal(np.concatenate(list(rows.pieces(3))), whole)
    assert rows.names == texts and rows.length == 4


def test_lone_surrogates_are_refused():
    with pytest.raises(InvalidInputError, match="UTF-8"):
        Tokenizer(WORDS)(["\ud800"])


@pytest.mark.parametrize(
    "settings",
    [
        {"vocabulary": ["a", "b"]},
        {"vocabulary": ["", "[UNK]", "a", "a"]},
        {"vocabulary": WORDS, "split": "words"},
        {"vocabulary": WORDS, "standardize": "upper"},
        {"vocabulary": WORDS, "ngrams": (0,)},
        {"vocabulary": WORDS, "length": 0},
        {"vocabulary": WORDS, "length": True},
    ],
)
def test_settings_that_keras_has_not(settings):
    with pytest.raises(ValueError):
        Tokenizer(**settings)


def test_metadata():
    made = Tokenizer(WORDS, ngrams=(1, 2), length=7)
    stored = {TEXT_KEY: json.dumps({"ids": made.as_json()}), LABELS_KEY: '{"y": ["a", "b"]}'}
    assert tokenizers(stored) == {"ids": made}
    assert class_names(stored) == {"y": ["a", "b"]}
    assert tokenizers({}) == class_names({}) == {}


GOOD = Tokenizer(WORDS).as_json()


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[" * 100_000,
        "3",
        '{"ids": 3}',
        '{"ids": {}}',
        *(
            json.dumps({"ids": {**GOOD, key: wrong}})
            for key, wrong in [
                ("vocabulary", "text"),
                ("vocabulary", ["", "[UNK]", 3]),
                ("ngrams", 2),
                ("ngrams", ["a"]),
                ("ragged", 1),
                ("length", "3"),
                ("split", []),
                ("more", 1),
            ]
        ),
    ],
)
def test_metadata_that_cannot_be_used(value):
    with pytest.raises(InvalidModelError, match=TEXT_KEY):
        tokenizers({TEXT_KEY: value})


@pytest.mark.parametrize("value", ["[]", '{"y": "ab"}', '{"y": [1]}'])
def test_class_names_that_cannot_be_used(value):
    with pytest.raises(InvalidModelError, match=LABELS_KEY):
        class_names({LABELS_KEY: value})
