"""MurmurHash3, held against ONNX Runtime and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import check, run_directly
from tests.support.microsoft import case, like_onnxruntime

TEXTS = np.array(["", "a", "ab", "abc", "abcd", "abcde", "héß", "漢字" * 9, "a\0b"], object)
KEYS = [
    np.array([0, 1, -1, 2**31 - 1, -(2**31)], np.int32),
    np.array([[0, 2**32 - 1]], np.uint32),
    np.array([0, -1, 2**63 - 1, -(2**63)]),
    np.array([0, 2**64 - 1], np.uint64),
    np.array([0, -0.0, np.nan, np.inf, -np.inf, 1e-45], np.float32),
    np.array([0, -0.0, np.nan, np.inf, 5e-324]),
    TEXTS,
    TEXTS.reshape(3, 3),
    np.zeros((0, 2), np.int32),
    np.array("a", object),
]

# fmt: off
CASES = [
    *(case("MurmurHash3", [x], {"positive": positive, "seed": seed})
      for x in KEYS for positive, seed in ((1, 0), (0, 0), (1, 42))),
    # hashes that its author's program prints
    case("MurmurHash3", [np.array(["test", "Hello, world!"], object)], {},
         [np.array([0xBA6BD213, 0xC0363E43], np.uint32)]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=12), max_size=5), positive=st.integers(0, 1))
def test_texts_like_onnxruntime(texts, positive):
    like_onnxruntime(case("MurmurHash3", [np.array(texts, object)], {"positive": positive}))


def test_texts_like_scikit_learn():
    from sklearn.utils import murmurhash3_32

    (hashes,) = run_directly(case("MurmurHash3", [TEXTS], {"seed": 7}))
    assert hashes.tolist() == [murmurhash3_32(text, seed=7, positive=True) for text in TEXTS]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        run_directly(case("MurmurHash3", KEYS[:1], {"seed": seed}))
