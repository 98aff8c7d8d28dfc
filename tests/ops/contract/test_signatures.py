"""``attributes_of``: the signature of an operator that passes its attributes on."""

from __future__ import annotations

import inspect

from onnxwalk.ops.contract.signatures import attributes_of


def base(x, y=None, z=None, *, alpha, mode="a", beta=2):
    return x, y, z, alpha, mode, beta


def test_attributes_stand_for_those_of_the_base():
    @attributes_of(base, without=["beta"])
    def function(first, second=None, *, mode="b", **attributes):
        return base(first, second, mode=mode, **attributes)

    assert str(inspect.signature(function)) == "(first, second=None, *, mode='b', alpha)"
    assert function(1, alpha=3) == (1, None, None, 3, "b", 2)


def test_inputs_stand_for_those_after_its_own():
    @attributes_of(base)
    def function(ids, *inputs, table, **attributes):
        return base(table[ids], *inputs, **attributes)

    signature = "(ids, y=None, z=None, *, table, alpha, mode='a', beta=2)"
    assert str(inspect.signature(function)) == signature
    assert function(0, 5, table=[7], alpha=3) == (7, 5, None, 3, "a", 2)
