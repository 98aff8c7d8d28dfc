"""Strings: by hand, and against ONNX Runtime."""

import re

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

f32 = np.float32


def words(*values):
    return np.array(values, object)


def ints(*values):
    return np.array(values, np.int64)


POOL = {
    "max_skip_count": 1,
    "min_gram_length": 1,
    "max_gram_length": 2,
    "ngram_counts": [0, 2],
    "ngram_indexes": [1, 0, 2, 3],
    "pool_int64s": [1, 2, 1, 2, 2, 3],
}
TEXTS = words(" a b  c ", "x", "a,b,,c", ",a", " \xa0 q")

# fmt: off
CASES = [
    Case("StringConcat", 20, [words("a", "b"), words("é")], expected=[words("aé", "bé")]),
    Case("StringConcat", 20, [np.array("a", object), np.array("b", object)],
         expected=[np.array("ab", object)]),
    Case("StringConcat", 20, [words("a", "b").reshape(2, 1), words("c", "d")]),
    Case("StringSplit", 20, [TEXTS], outputs=2),
    Case("StringSplit", 20, [TEXTS], {"maxsplit": 1}, outputs=2),
    Case("StringSplit", 20, [TEXTS], {"maxsplit": 0}, outputs=2),
    Case("StringSplit", 20, [TEXTS], {"delimiter": ","}, outputs=2),
    Case("StringSplit", 20, [TEXTS], {"delimiter": ",", "maxsplit": 1}, outputs=2),
    Case("StringSplit", 20, [np.zeros((2, 0), object)], outputs=2),
    Case("StringSplit", 20, [np.array("a b", object)], {"delimiter": ""}, outputs=2),
    # n delimiters part n + 1 substrings, of "" as well; ONNX Runtime says none
    Case("StringSplit", 20, [words("", ",")], {"delimiter": ","},
         expected=[np.array([["", ""], ["", ""]], object), ints(1, 2)], outputs=2),
    # ONNX Runtime needs the system's en_US locale for what follows
    Case("StringNormalizer", 10, [words("Straße", "B", "é")],
         {"case_change_action": "UPPER", "stopwords": ["b"]}, expected=[words("STRAßE", "É")]),
    Case("StringNormalizer", 10, [words("B", "b")],
         {"stopwords": ["b"], "is_case_sensitive": 1, "case_change_action": "LOWER"},
         expected=[words("b")]),
    Case("StringNormalizer", 10, [words("B").reshape(1, 1)], {"stopwords": ["B"]},
         expected=[words("").reshape(1, 1)]),
    Case("StringNormalizer", 10, [words("ΑΣ")], expected=[words("ΑΣ")]),
    Case("RegexFullMatch", 20, [words("ab", "abc", "")], {"pattern": "a[b-z]"}),
    Case("RegexFullMatch", 20, [words("ab", "abc", "").reshape(3, 1)], {"pattern": "(ab)?c?"}),
    Case("RegexFullMatch", 20, [words("", "a")], expected=[np.array([True, False])]),
    Case("TfIdfVectorizer", 9, [ints(1, 2, 1, 3, 2)], {**POOL, "mode": "TF"}),
    *[Case("TfIdfVectorizer", 9, [ints(1, 2, 1, 3, 2, 9).reshape(2, 3)],
           {**POOL, "mode": mode, "weights": [2.0, 3.0, 5.0, 7.0]})
      for mode in ("TF", "IDF", "TFIDF")],
    Case("TfIdfVectorizer", 9, [words("b", "a", "b").reshape(1, 3)],
         {**POOL, "mode": "TFIDF", "pool_int64s": None, "pool_strings": list("ababba")}),
    Case("TfIdfVectorizer", 9, [np.zeros((2, 0), np.int64)], {**POOL, "mode": "TF"}),
]
# fmt: on
for case in CASES:
    case.attributes.pop("pool_int64s", None) if case.attributes.get("pool_strings") else None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


# What RE2 and Python's re read differently, or only one of them reads.
PATTERNS = [
    (r"a$\n", "a\n"),
    (r"(?m)a$\nb", "a\nb"),
    (r"\s*", "\v"),
    (r"\s*", " \t\n\f\r"),
    (r"[\s]", "\v"),
    (r"\S", "\v"),
    (r"[[:space:]]", "\v"),
    (r"a{,2}", "aa"),
    (r"a{,2}", "a{,2}"),
    (r"a{2,}", "aaa"),
    (r"(?i)ABC", "abc"),
    (r"(?i:a)b", "AB"),
    (r"[[:alpha:]_]+", "ab_"),
    (r"[^[:digit:]]", "a"),
    (r"\w", "é"),
    (r"\d", "٣"),
    (r"é+", "éé"),
    (r".", "é"),
    (r".", "\n"),
    (r"(?s).", "\n"),
    (r"[^a]", "\n"),
    (r"(?U)a*b", "aab"),
    (r"(?<n>a)(?P<m>b)", "ab"),
    (r"\Qa.\E+", "a.."),
    (r"\x41\x{e9}\101", "AéA"),
    (r"a|ab", "ab"),
    (r"a*?b??", "aab"),
    (r"[]a]+", "]a"),
    (r"[a&&b~~|||-]+", "&~|-"),
    (r"\Aab\z", "ab"),
    (r"\bab\b", "ab"),
    (r"[\n\]\-]+", "\n]-"),
    (r"x{}", "x{}"),
]


@pytest.mark.parametrize("pattern, text", PATTERNS)
def test_patterns_mean_what_re2_says(pattern, text):
    case = Case("RegexFullMatch", 20, [words(text, text + "x")], {"pattern": pattern})
    assert_same(run_directly(case), run_onnxruntime(one_node_model(case), feeds_of(case)))


@settings(max_examples=60, deadline=None)
@given(st.text("ab.*+?()[]|^$\\dws{}1,-", max_size=8), st.text("ab1 -\n", max_size=4))
def test_a_pattern_means_the_same_or_is_refused(pattern, text):
    case = Case("RegexFullMatch", 20, [words(text)], {"pattern": pattern})
    try:
        found = run_directly(case)
    except (ValueError, NotImplementedError):
        return
    assert_same(found, run_onnxruntime(one_node_model(case), feeds_of(case)))


@pytest.mark.parametrize("pattern", ["a++", "(?=a)", r"(a)\1", "a{1001}", "(?x)a", r"\Z", "[", ")"])
def test_what_is_not_re2_is_refused(pattern):
    with pytest.raises(ValueError, match=re.escape(repr(pattern))):
        run_directly(Case("RegexFullMatch", 20, [words("a")], {"pattern": pattern}))


@pytest.mark.parametrize("pattern", [r"\pL", "(?i)é", r"[\S]", "a(?i)b"])
def test_what_python_has_not_is_refused(pattern):
    with pytest.raises(NotImplementedError, match="not supported"):
        run_directly(Case("RegexFullMatch", 20, [words("a")], {"pattern": pattern}))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_tfidf_like_onnxruntime(data):
    draw = data.draw
    grams = [
        draw(st.lists(st.tuples(*[st.integers(0, 3)] * n), unique=True, min_size=1, max_size=4))
        for n in (1, 2, 3)
    ]
    starts = np.cumsum([0] + [n * len(found) for n, found in enumerate(grams[:-1], 1)])
    total = sum(map(len, grams))
    shortest = draw(st.integers(1, 3))
    attributes = {
        "mode": draw(st.sampled_from(["TF", "IDF", "TFIDF"])),
        "min_gram_length": shortest,
        "max_gram_length": draw(st.integers(shortest, 3)),
        "max_skip_count": draw(st.integers(0, 3)),
        "ngram_counts": starts.tolist(),
        "ngram_indexes": draw(st.permutations(range(total))),
        "pool_int64s": [item for found in grams for gram in found for item in gram],
    }
    if draw(st.booleans()):
        attributes["weights"] = [float(i + 1) for i in range(total)]
    x = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 4, (2, draw(st.integers(1, 9))))
    case = Case("TfIdfVectorizer", 9, [x], attributes)
    assert_same(run_directly(case), run_onnxruntime(one_node_model(case), feeds_of(case)))


@pytest.mark.parametrize(
    "operator, inputs, attributes, message",
    [
        ("StringNormalizer", [words("a", "b").reshape(2, 1)], {}, "should be"),
        ("StringNormalizer", [words("a")], {"case_change_action": "TITLE"}, "TITLE"),
        ("TfIdfVectorizer", [words("a")], {**POOL, "mode": "TF"}, "the pool differ in type"),
        ("TfIdfVectorizer", [ints(1)], {**POOL, "mode": "BM25"}, "BM25"),
        ("TfIdfVectorizer", [ints(1)], {**POOL, "mode": "TF", "weights": [1.0]}, "one value"),
    ],
)
def test_refused(operator, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, 20, inputs, attributes))


def test_turkish_is_refused():
    case = Case("StringNormalizer", 10, [words("i")], {"locale": "tr_TR"})
    with pytest.raises(NotImplementedError, match="tr_TR"):
        run_directly(case)
