"""Tokenizer, held against ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)


def case(texts, expected=None, **attributes):
    attributes = {"mark": 0, "mincharnum": 1, "pad_value": "#", **attributes}
    inputs = [np.array(texts, object)]
    expected = expected and [np.array(expected, object)]
    return Case("Tokenizer", 1, inputs, attributes, expected, domain="com.microsoft")


def embedding(words, width=2, expected=None, **attributes):
    """WordConvEmbedding with 3 filters over 5 characters, of 4 numbers each."""
    rng = np.random.default_rng(0)
    shapes = (3, 1, width, 4), (3,), (5, 4)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    inputs = [np.array(words, np.int32), *weights]
    return Case("WordConvEmbedding", 1, inputs, attributes, expected, domain="com.microsoft")


SENTENCES = ["Hello World", "I love computer science !", ""]
CASES = [
    # the examples of its documentation
    case(["Hello World", "I love science !"],
         [["Hello", "World", "#", "#"], ["I", "love", "science", "!"]], separators=[" "]),
    case(["Hello", "World"], [["\x02", "Hello", "\x03"], ["\x02", "World", "\x03"]],
         separators=[" "], mark=1),
    case(SENTENCES, separators=[" "], mark=1),
    case([["a b", "c"], ["d e f", ""]], separators=[" "]),
    case(["ab", "é漢"], separators=[""], mark=1),
    case(["ab\ncd", "é漢"], tokenexp="."),
    case(["ab abc a", "abab"], tokenexp="a|ab"),
    case(["ab abc a", "abab"], tokenexp="[a-z]+", mincharnum=2),
    case(["xabcd"], tokenexp="a|bcd", mincharnum=2),
    case(["aXbYYc"], separators=["X", "Y"]),
    case(["foobar"], separators=["o|oo"]),
    case(["abc"], separators=["x*"]),
    case(["", ""], tokenexp="a", mark=1),
    case(np.zeros(0), separators=[" "]),
    case(np.zeros((0, 2)), separators=[" "]),
    embedding([[1, 2, 3, 0], [2, 0, 0, 0], [3, 0, 2, 1]]),
    embedding([[4, 4, 4, 4]]),
    embedding([[0, 0, 0, 0], [0, 3, 3, 3]], expected=[np.zeros((2, 3), np.float32)]),
    embedding([[1, 2, 3, 0]], width=4, embedding_size=3, conv_window_size=4, char_embedding_size=4),
    embedding([[1, 2, 3, 0]], width=1),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


PATTERNS = ("a", "b+", "a|ab", "[a-z]+", "a*", "ab?", "(ab|a)(c|bc)?", r"\w\w+", r"\bb", r"b\b",
            "b$", "^a", " ", "[ab]{2}", "a?ab?", ".+", "é", "a*(ab)*", " |b", "a+?")  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(st.text("abc é\n", max_size=8), min_size=1, max_size=4),
    pattern=st.sampled_from(PATTERNS),
    more=st.sampled_from([None, "b", " "]),
    mark=st.integers(0, 1),
    least=st.integers(1, 3),
)
def test_like_onnxruntime(texts, pattern, more, mark, least):
    how = {"tokenexp": pattern} if more is None else {"separators": [pattern, more]}
    tokens = case(texts, mark=mark, mincharnum=least, **how)
    expected = run_onnxruntime(one_node_model(tokens), feeds_of(tokens))
    assert_same(run_directly(tokens), expected)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (case([[["a"]]], separators=[" "]), "should be"),
        (case(["a"], separators=[" "], mincharnum=0), "at least 1"),
        (case(["a"], separators=[""], mincharnum=2), "should be 1 for single characters"),
        (case(["a"]), "is required"),
        (case(["a"], separators=["b"], tokenexp="a"), "exactly one"),
        (case(["a"], tokenexp="("), "pattern"),
        (embedding([[1]]), "2 or more"),
        (embedding([[1, 5]]), "from 0 to 4"),
        (embedding([[1, 1]], embedding_size=4), "size 4"),
    ],
    ids=range(9),
)
def test_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)


def test_a_longest_match_that_looks_around_is_not_supported():
    with pytest.raises(NotImplementedError, match="longest match"):
        run_directly(case(["a"], tokenexp=r"a|ab\b"))
