"""Two sides give their values in turn, in any order, and no more are held than may be."""

import numpy as np
import pytest

from onnxwalk.interpreter.analysis.compare.lockstep import Pair, lockstep
from onnxwalk.interpreter.analysis.compare.sides import chunks


def test_chunks():
    sizes = {"a": 3, "b": 3, "c": 9, "d": 1}
    assert chunks("abcd", sizes, 6) == [["a", "b"], ["c"], ["d"]]
    assert chunks("abcd", sizes, 100) == [["a", "b", "c", "d"]]
    assert chunks("", sizes, 1) == []


@pytest.mark.parametrize(("memory", "passes"), [(10_000, 1), (2_000, 2), (0, 5)])
def test_streams_in_different_orders_stay_within_memory(memory, passes):
    """Each value takes 800 bytes; b gives them the other way round."""
    alive, most, begun = 0, 0, 0

    class Value(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def stream(order):
        def run(names):
            nonlocal alive, most, begun
            begun += 1
            for name in order:
                if name in names:
                    alive += 1
                    value = np.full(100, ord(name), float).view(Value)
                    most = max(most, alive)
                    yield name, value
                    del value

        return run

    pairs = [Pair(name, name) for name in "abcde"]
    seen = []
    for pair, x, y in lockstep(stream("abcde"), stream("edcba"), pairs, memory):
        seen.append(pair.a)
        assert x[0] == y[0] == ord(pair.a)
        del x, y
    assert sorted(seen) == list("abcde")
    assert begun == 2 * passes
    assert most <= memory // 800 + 3


def test_what_one_side_never_gives_is_left_out():
    def stream(names_given):
        return lambda names: ((n, np.zeros(1)) for n in names_given if n in names)

    pairs = [Pair(name, name) for name in "abc"]
    assert [p.a for p, *_ in lockstep(stream("abc"), stream("ca"), pairs, 0)] == ["a", "c"]
    assert list(lockstep(stream(""), stream("ca"), pairs, 0)) == []
