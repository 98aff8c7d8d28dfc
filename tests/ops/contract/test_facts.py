"""Facts belong to a function, and so to the domain, name and versions it is registered under."""

import functools

import numpy as np
import pytest

from onnxwalk.ops import registry
from onnxwalk.ops.contract.facts import FACTS, MixedSamples, declare
from onnxwalk.ops.contract.registry import Registry
from onnxwalk.ops.shared import batch, flops

X = np.zeros((3, 4), np.float32)


def test_each_version_has_its_own_facts():
    older, newer = (registry.lookup("", "Softmax", opset) for opset in (12, 13))
    x = np.zeros((2, 3, 4), np.float32)
    assert newer.batch_axis([2], [x], [x], {"axis": 1}) == [2]
    with pytest.raises(MixedSamples):  # it is over axis 1 and all behind it
        older.batch_axis([2], [x], [x], {"axis": 1})
    with pytest.raises(MixedSamples):  # its default
        older.batch_axis([1], [x], [x], {})


def test_a_wrapper_does_not_inherit_facts():
    mine = Registry()
    gemm = registry.lookup("", "Gemm", 13)

    @mine.op("Gemm", since=1, domain="my.domain")
    @functools.wraps(gemm.function)
    def twice(a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):
        return 2 * gemm.function(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)

    operator = mine.lookup("my.domain", "Gemm", 1)
    assert gemm.binder is not None and operator.facts == {}
    twice.flops(flops.zero)
    assert operator.flops([X], [X], {}) == 0
    assert gemm.flops([X, X.T], [X @ X.T], {}) == 2 * 3 * 3 * 4


def test_versions_of_one_function_share_facts_but_not_defaults():
    mine = Registry()

    def pool(x, *, size=2, strides=None):
        return x

    mine.op("Pool", since=1, without=["strides"])(pool)
    mine.op("Pool", since=2)(pool).flops(lambda outputs, x, **given: len(given))
    assert [mine.lookup("", "Pool", n).flops([X], [X], {}) for n in (1, 2)] == [1, 2]


def test_versions_with_hints_are_neither_bound_nor_prepared():
    """The binder and the rule of ``prepare`` don't accept the hints."""
    with_hints, without = (registry.lookup("", "Relu", opset) for opset in (1, 6))
    assert with_hints.facts is without.facts
    assert with_hints.binder is None and without.binder is not None


def test_a_fact_is_registered_once():
    mine = Registry()
    one, other = (mine.op(name, since=1)(lambda x: x) for name in ("One", "Other"))
    declare(one, other, batch_axis=batch.elementwise, flops=flops.zero)
    with pytest.raises(ValueError, match="flops is already registered"):
        other.flops(flops.zero)
    assert mine.lookup("", "One", 1).batch_axis([0], [X], [X], {}) == [0]


def test_every_fact_of_the_built_in_operators_is_known():
    assert all(operator.facts.keys() <= set(FACTS) for operator in registry)
