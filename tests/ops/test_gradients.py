"""Every rule of a gradient, at each version of its operator, against finite differences.

``pytest tests/ops/test_gradients.py -k Conv-`` checks one operator's.
"""

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


def test_every_operator_has_a_rule_or_says_that_it_has_none():
    missing = {o.name for o in registry if not o.domain and "vjp" not in o.facts}
    missing -= {name for domain, name in BODY_RULES if not domain}
    assert not missing


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
