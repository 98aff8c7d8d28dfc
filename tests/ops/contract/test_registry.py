"""Every registered signature is the spec's, and every registered version has a case."""

import numpy as np
import onnx
import pytest

from onnxwalk.ops import registry
from onnxwalk.ops.contract.registry import Registry
from tests.support.harness import all_cases
from tests.support.schemas import all_schemas, default_of, input_kinds, schema_of

OPERATORS = list(registry)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_signature_is_the_schema(operator):
    schema = schema_of(operator.domain, operator.name, operator.since)
    assert schema.since_version == operator.since, "since must be a version of the spec"
    assert [(i.optional, i.variadic) for i in operator.inputs] == input_kinds(schema)
    assert set(operator.attributes) == set(schema.attributes)
    for name, default in operator.attributes.items():
        expected = default_of(schema.attributes[name])
        if isinstance(expected, float):
            assert isinstance(default, float), name
            assert np.float32(default) == np.float32(expected), name
        else:
            assert default == expected and type(default) is type(expected), name
    versions = all_schemas()[operator.domain, operator.name]
    later = [version for version in versions if version > operator.since]
    assert operator.until is None or operator.until in later, "until must be a later version"


def signature_of(schema: onnx.defs.OpSchema):
    """The inputs, and the attributes with their defaults."""
    inputs = [str(i.option) for i in schema.inputs]
    return inputs, {name: default_of(a) for name, a in schema.attributes.items()}


@pytest.mark.parametrize("name", sorted({o.name for o in OPERATORS if not o.domain}))
def test_every_version_is_served(name):
    """Each version in the spec is registered, or served by an earlier one with the same schema."""
    schemas = {
        s.since_version: s
        for s in onnx.defs.get_all_schemas_with_history()
        if (s.domain, s.name) == ("", name)
    }
    for version, schema in schemas.items():
        operator = registry.lookup("", name, version)
        assert operator is not None, f"{name}-{version} is missing"
        # (the test above compares the registered signature with its schema)
        assert signature_of(schemas[operator.since]) == signature_of(schema), (
            f"{name}-{version} is called differently from {operator}, which serves it"
        )


def test_every_version_has_a_case():
    cases = {(c.domain, c.operator, c.since) for c in all_cases()}
    # a Gradient is nothing by itself: tests/interpreter/compiler/test_gradients.py has its graphs
    cases.add(("ai.onnx.preview.training", "Gradient", 1))
    missing = [str(o) for o in OPERATORS if (o.domain, o.name, o.since) not in cases]
    assert not missing


def test_duplicates_are_refused():
    mine = Registry()
    mine.op("Twice", since=1)(lambda x: x)
    with pytest.raises(ValueError, match="already registered"):
        mine.op("Twice", since=1)(lambda x: x)


def test_lookup_is_the_highest_version_not_above_the_opset():
    mine = Registry(parent=registry)
    mine.op("Mine", since=3, until=9)(lambda x: x)
    mine.op("Mine", since=5, until=9)(lambda x: x + 1)
    assert mine.lookup("", "Mine", 2) is None
    assert mine.lookup("", "Mine", 4).since == 3
    assert mine.lookup("", "Mine", 8).since == 5
    assert mine.lookup("", "Mine", 9) is None, "until is exclusive"


def test_without_hides_what_a_version_lacks():
    mine = Registry()

    def pool(x, *, ceil_mode=0, strides=None):
        return x

    mine.op("Pool", since=1, without=["ceil_mode"])(pool)
    assert set(mine.lookup("", "Pool", 1).attributes) == {"strides"}
    with pytest.raises(ValueError, match="no parameter"):
        mine.op("Pool", since=2, without=["dilations"])(pool)


def test_hints_are_accepted_and_dropped():
    mine = Registry()
    mine.op("Twice", since=1, hints={"consumed_inputs": None})(lambda x, *, factor=2.0: factor * x)
    twice = mine.lookup("", "Twice", 1)
    assert twice.attributes == {"factor": 2.0, "consumed_inputs": None}
    assert twice.function(3, factor=4.0, consumed_inputs=[0]) == 12


def test_keywords_with_an_underscore_are_not_attributes():
    mine = Registry()
    mine.op("Twice", since=1)(lambda x, *, factor=2.0, _watch=None: factor * x)
    assert mine.lookup("", "Twice", 1).attributes == {"factor": 2.0}


def test_the_parameters_of_prepare_are_inputs():
    mine = Registry()

    @mine.op("Affine", since=1)
    def affine(x, w, *, alpha=1.0):
        return x * w * alpha

    with pytest.raises(ValueError, match="no input"):

        @affine.prepare
        def wrong(v):
            return None

    @affine.prepare
    def prepared(w, *, alpha):
        scaled = w * alpha
        return lambda x: x * scaled

    assert mine.lookup("", "Affine", 1).preparation.constants == ("w",)


@pytest.mark.parametrize(
    "keywords",
    [
        {"since": 0},
        {"since": -5},
        {"since": 1.5},
        {"since": "1"},
        {"since": 3, "until": 3},
        {"since": 1, "domain": None},
    ],
)
def test_versions_and_domains_are_checked(keywords):
    with pytest.raises(ValueError, match="must be"):
        Registry().op("Swirl", **keywords)(lambda x: x)
    with pytest.raises(ValueError, match="must be strings"):
        Registry().op("", since=1)(lambda x: x)


def test_the_domain_of_onnx_has_two_names():
    mine = Registry()
    mine.op("Relu", since=1, domain="ai.onnx")(lambda x: x + 1)
    assert mine.lookup("", "Relu", 17) is not None
