"""NGramRepeatBlock and BifurcationDetector, held against ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import check, run_directly
from tests.support.microsoft import case, f, like_onnxruntime

IDS = np.array([[1, 2, 3, 1, 2], [4, 4, 4, 4, 4]])
SCORES = f([[0, 1, 2, 3, 4], [0, -np.inf, np.nan, np.inf, 4]])
SOURCE, ZERO = np.array([5, 6, 7, 8, 6]), np.array([0])

# fmt: off
CASES = [
    *(case("NGramRepeatBlock", [IDS, SCORES], {"ngram_size": n}) for n in (1, 2, 3, 5, 6, 9)),
    case("NGramRepeatBlock", [IDS, SCORES], {"ngram_size": 3},
         [f([[0, 1, 2, -np.inf, 4], [0, -np.inf, np.nan, np.inf, -np.inf]])]),
    case("NGramRepeatBlock", [IDS[:, :0], SCORES], {"ngram_size": 1}),
    case("NGramRepeatBlock", [IDS[:0], SCORES[:0]], {"ngram_size": 2}),
    case("BifurcationDetector", [SOURCE, np.array([2, 5]), ZERO, np.array([5, 6, 9, 8, 6, 3])],
         outputs=2),
    case("BifurcationDetector", [SOURCE, np.array([2, 5]), ZERO], outputs=2),
    case("BifurcationDetector", [SOURCE, SOURCE[:0], np.array([5]), np.array([7])],
         {"max_ngram_size": 1}, [np.array([7]), np.array([3])], 2),
    case("BifurcationDetector", [SOURCE, np.array([6]), ZERO], {"max_ngram_size": 1},
         [np.array([6]), np.array([-1])], 2, note="twice"),
    case("BifurcationDetector", [SOURCE[:0], np.array([6]), ZERO, np.array([3])], outputs=2),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


TOKENS = st.lists(st.integers(0, 2), max_size=8)


@settings(max_examples=80, deadline=None)
@given(ids=TOKENS, n=st.integers(1, 4))
def test_blocks_like_onnxruntime(ids, n):
    ids = np.array([ids, ids[::-1]], np.int64)
    like_onnxruntime(case("NGramRepeatBlock", [ids, SCORES], {"ngram_size": n}))


@settings(max_examples=120, deadline=None)
@given(
    source=TOKENS,
    now=TOKENS,
    start=st.integers(0, 8),
    wrong=st.integers(0, 12),
    n=st.integers(1, 2),
)
def test_bifurcations_like_onnxruntime(source, now, start, wrong, n):
    source, now = np.array(source, np.int64), np.array(now, np.int64)
    start = min(start, source.size)
    predicted = np.append(source[start:], 1)
    predicted[wrong : wrong + 1] = 9
    inputs = [source, now, np.array([start]), predicted]
    attributes = {"min_ngram_size": n, "max_ngram_size": n + 2}
    like_onnxruntime(case("BifurcationDetector", inputs, attributes, outputs=2))


REFUSED = [
    (case("NGramRepeatBlock", [IDS, SCORES], {"ngram_size": 0}), "at least 1"),
    (case("NGramRepeatBlock", [IDS, SCORES[:1]], {"ngram_size": 1}), "scores"),
    (case("NGramRepeatBlock", [IDS, SCORES[:, :3]], {"ngram_size": 1}), "from 0 to 2"),
    (case("NGramRepeatBlock", [-IDS, SCORES], {"ngram_size": 1}), "from 0 to 4"),
    (case("BifurcationDetector", [SOURCE, IDS[0], ZERO, SOURCE]), "one more"),
    (case("BifurcationDetector", [SOURCE, IDS, ZERO]), "vectors"),
    (case("BifurcationDetector", [SOURCE, IDS[0], ZERO - 1, SOURCE]), "one more"),
    (case("BifurcationDetector", [SOURCE, IDS[0], ZERO], {"min_ngram_size": 4}), "min_ngram_size"),
]


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)
