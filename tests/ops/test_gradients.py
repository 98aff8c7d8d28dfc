"""Every rule of a gradient, at each version of its operator, against finite differences.

``pytest tests/ops/test_gradients.py -k Conv-`` checks one operator's.
"""

import re
from pathlib import Path

import pytest

from onnxwalk.interpreter.compiler.gradients.control import BODY_RULES
from onnxwalk.ops import registry
from tests.support.gradients import (
    cases_with_rules,
    check_gradients,
    check_in_its_own_types,
    operator_of,
)


@pytest.mark.parametrize("case", cases_with_rules(), ids=str)
def test_the_gradient_is_that_of_finite_differences(case):
    check_gradients(case)


@pytest.mark.parametrize("case", cases_with_rules(), ids=str)
def test_the_gradient_in_the_types_of_the_case(case):
    check_in_its_own_types(case)


def test_every_version_with_a_rule_has_a_case():
    tested = {operator_of(case) for case in cases_with_rules()}
    assert not [str(o) for o in registry if o.vjp and o not in tested]


def test_operators_without_a_rule_are_those_of_the_table():
    bodies = {f"{domain or 'ai.onnx'}.{name}" for domain, name in BODY_RULES}
    named = {f"{o.domain or 'ai.onnx'}.{o.name}" for o in registry if "vjp" not in o.facts}
    table = (Path(__file__).parents[2] / "docs" / "RULES.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| ([\w.]+\.\w+) \|", table, re.MULTILINE) == sorted(named - bodies)


def test_attributes_have_one_default():
    """A rule gives a default only where a version lacks the attribute, and then no other one."""
    for operator in registry:
        if operator.vjp is None:
            continue
        for name, parameter in operator.vjp._parameters.items():
            if name in operator.attributes and parameter.default is not parameter.empty:
                assert parameter.default == operator.attributes[name], f"{operator}: {name}"


def test_inputs_without_gradient_are_inputs():
    for operator in registry:
        assert operator.without_gradient <= {i.name for i in operator.inputs}, str(operator)
