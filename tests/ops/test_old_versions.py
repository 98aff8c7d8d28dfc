"""Each version that differs from the one after it has a case that shows it.

Either a case of the older version is wrong or refused under the newer one's meaning, or, where the
newer one only added something, one of its cases is wrong or refused under the older meaning.
"""

import functools
import inspect
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest

import onnxwalk
from onnxwalk.ops import registry
from tests.support.harness import all_cases, assert_same, run_directly, run_onnxwalk
from tools.support_table import differences, schemas_by_name


@functools.cache
def cases():
    """All cases by (domain, operator, version of the spec)."""
    found = defaultdict(list)
    for case in all_cases():
        versions = schemas_by_name().get((case.domain, case.operator), {})
        meant = max((v for v in versions if v <= case.opset), default=case.since)
        found[case.domain, case.operator, meant].append(case)
    return found


def changes(before, after):
    """What a file sees: other types are refused by name, and deprecation changes nothing."""
    for change in differences(before, after):
        mark, _, what = change.partition(" ")
        types = mark in "+−" and what.split()[0] not in ("input", "output", "attribute")
        if not types and change != "deprecated":
            yield change


def pairs():
    """Successive versions that differ, with the changes of their inputs and attributes."""
    for (domain, name), versions in schemas_by_name().items():
        for (old, before), (new, after) in pairwise(versions.items()):
            registered = [registry.lookup(domain, name, version) for version in (old, new)]
            if None in registered:
                continue
            one, other = (inspect.unwrap(operator.function) for operator in registered)
            found = list(changes(before, after))
            if found or one is not other:
                yield pytest.param(domain, name, old, new, found, id=f"{name}-{old}-{new}")


def outcome(case):
    """What comes out, or None where the version refuses the case."""
    bodies = any(callable(value) for value in case.attributes.values())
    try:
        return run_directly(case) if bodies else run_onnxwalk(case)
    # no such attribute or input, or one of another type: not even a model of it can be built
    except (onnxwalk.OnnxWalkError, AssertionError, KeyError, TypeError, ValueError):
        return None


def differs(case, opset):
    """Whether the case would come out otherwise at another opset."""
    here, there = outcome(case), outcome(replace(case, opset=opset))
    if here is None or there is None:
        return (here is None) != (there is None)
    try:
        assert_same(here, there)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize(("domain", "name", "old", "new", "found"), list(pairs()))
def test_a_case_shows_the_difference(domain, name, old, new, found):
    if any(differs(case, new) for case in cases()[domain, name, old]):
        return
    # what was added, or may be left out now, leaves older files as they were
    more = [change[0] == "+" or change.endswith(("optional", "not required")) for change in found]
    assert all(more), "no case of the older version shows it"
    assert any(differs(case, old) for case in cases()[domain, name, new])
