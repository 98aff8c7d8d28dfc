"""Each type that a version of an operator takes is computed, or refused at load by name."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import onnxwalk
from onnxwalk import InvalidModelError, UnsupportedModelError
from onnxwalk.ops import registry
from onnxwalk.ops.schema.types import TABLE, formal_at, signature
from tests.support.disagreements import DISAGREEMENTS, ORT
from tests.support.every_type import (
    CODES,
    cases_of,
    demands,
    recast,
    recast_case,
    type_of,
    with_input,
)
from tests.support.harness import (
    assert_same,
    feeds_of,
    one_node_model,
    run_onnxruntime,
    run_onnxwalk,
)
from tools import operator_types as types

#: every version of every operator, and those that have bodies (run by graphs, further below)
VERSIONS = [(s.domain, s.name, s.since_version) for s in types.schemas()]
WITH_BODIES = {"If", "Loop", "Scan", "SequenceMap"}

#: inputs of the type of a body, which isn't changed here: each type is tried in
#: ``tests/ops/com_microsoft/test_search.py``
READ_BY_BODIES = {("BeamSearch", "F"), ("WhisperBeamSearch", "F")}


def named(version):
    domain, name, since = version
    return f"{domain or 'ai.onnx'}.{name}-{since}"


def test_the_table_is_up_to_date():
    same = TABLE.read_text(encoding="utf-8") == types.generate()
    assert same, "run: python -m tools.operator_types"


def misfits(spec, formal, kind, outputs):
    """The outputs whose type isn't the one that the spec gives."""
    for position, y in enumerate(outputs):
        other, found = formal_at(spec.outputs, position), type_of(y)
        if other is None or not found or (isinstance(y, list) and not y):
            continue
        shared = formal.variable and other.variable == formal.variable
        allowed = {kind} if shared else other.allowed
        if found not in allowed and f"optional({found})" not in allowed:
            yield f"output {position} is {found}"


def computed(version, formal, kind):
    """A case of this type and what comes out; or None if it is refused at load by name.

    Fails with what went wrong in each case that has such an input.
    """
    spec, wrong = signature(*version), []
    cases = cases_of(*version)
    if kind in registry.lookup(*version).not_computed.get(formal.variable, "").split():
        cases = [with_input(cases[0], spec.inputs.index(formal), kind)]
    for case in cases:
        try:
            case = recast_case(case, spec, formal, kind)
        except ValueError:  # a tensor where a sequence is needed, or the other way round
            continue
        if case is None:
            continue
        try:
            outputs = run_onnxwalk(case)
        except (InvalidModelError, UnsupportedModelError) as error:
            if version[1] in str(error) and kind in str(error):
                return None
            wrong.append(str(error))
            continue
        # TypeError: a case of another version whose attribute has another type
        except (onnxwalk.OnnxWalkError, TypeError) as error:
            wrong.append(str(error))
            continue
        problems = list(misfits(spec, formal, kind, outputs))
        if not problems:
            return case, outputs
        wrong += problems
    pytest.fail(f"{formal.variable or formal} as {kind}: {wrong[:2] or 'no case has it'}")


@pytest.mark.parametrize(
    "version",
    # (Gradient is computed by other operators)
    [v for v in VERSIONS if registry.lookup(*v) and v[1] not in {*WITH_BODIES, "Gradient"}],
    ids=named,
)
def test_every_type_is_computed_or_refused(version):
    for formal, kind in demands(signature(*version)):
        if (version[1], formal.variable) not in READ_BY_BODIES:
            computed(version, formal, kind)


# ------------------------------------------------------------------------ held against ONNX Runtime

#: how far a result may be from ONNX Runtime's, by the type of the inputs: a few of its steps
TOLERANCES = {"float16": 2e-3, "bfloat16": 1.6e-2}

#: where ONNX Runtime is no oracle for all types
APART = {
    "Attention": "its integer masks are not what the spec's function body makes of them",
    "Bernoulli": "random numbers",
    "CastLike": "it writes 0.4 as 0.40000001, as Cast does",
    "Shrink": "it compares uint32 as something else: 4294967293 gives 0",
    "SplitToSequence": "it drops an axis for keepdims=0 although split is given",
    **{d.operator: d.what for d in DISAGREEMENTS if d.who == ORT},
}
LATEST = {version[:2]: version for version in VERSIONS if version[0] in ("", "ai.onnx.ml")}


@pytest.mark.parametrize(
    "version",
    [v for v in LATEST.values() if registry.lookup(*v) and v[1] not in {*WITH_BODIES, *APART}],
    ids=named,
)
def test_every_type_as_onnxruntime(version):
    """The newest version that ONNX Runtime has; it lacks kernels for many types."""
    for formal, kind in demands(signature(*version)):
        found = computed(version, formal, kind)
        if found is None:
            continue
        case, outputs = found
        try:
            expected = run_onnxruntime(one_node_model(case), feeds_of(case))
        except (RuntimeError, ValueError, *ORT_ERRORS):
            continue
        near = TOLERANCES.get(kind, 0)
        assert_same(outputs, expected, rtol=max(case.rtol, near), atol=max(case.atol, near))


ORT_ERRORS = tuple(
    value
    for value in vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
    if isinstance(value, type) and issubclass(value, Exception)
)


# ------------------------------------------------------------------------- operators with bodies


def proto(kind):
    """The TypeProto of a type as ``ops.schema.types`` writes it."""
    inner = kind.partition("(")[2][:-1]
    if kind.startswith("seq("):
        return helper.make_sequence_type_proto(proto(inner))
    if kind.startswith("optional("):
        return helper.make_optional_type_proto(proto(inner))
    return helper.make_tensor_type_proto(CODES[kind], None)


def info(name, kind):
    return helper.make_value_info(name, proto(kind))


def through(operator, opset, kind):
    """A model that hands x of this type through a body, and how often y then has it."""
    x, inner = info("x", kind), info("inner", kind)
    extra, feeds = [], {}
    if operator == "If":
        body = helper.make_graph([], "body", [], [x])
        node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
        extra, feeds = [info("c", "bool")], {"c": np.array(True)}
    elif operator == "Loop":
        inputs = [info("i", "int64"), info("go", "bool"), inner]
        body = helper.make_graph([], "body", inputs, inputs[1:])
        node = helper.make_node("Loop", ["n", "c", "x"], ["y"], body=body)
        extra = [info("n", "int64"), info("c", "bool")]
        feeds = {"n": np.array(2), "c": np.array(True)}
    elif operator == "Scan":
        body = helper.make_graph([], "body", [inner], [inner])
        inputs = ["lengths", "x"] if opset < 9 else ["x"]
        node = helper.make_node("Scan", inputs, ["y"], body=body, num_scan_inputs=1)
        if opset < 9:
            extra, feeds = [info("lengths", "int64")], {"lengths": np.array([2])}
    else:
        body = helper.make_graph([], "body", [info("inner", kind[4:-1])], [info("inner", "float")])
        body.output[0].CopyFrom(body.input[0])
        node = helper.make_node("SequenceMap", ["x"], ["y"], body=body)
    y = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([node], "g", [x, *extra], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), feeds


@pytest.mark.parametrize("version", [v for v in VERSIONS if v[1] in WITH_BODIES], ids=named)
def test_every_type_goes_through_bodies(version):
    _, name, opset = version
    spec = signature(*version)
    # what goes through: the outputs of an If, and the last input of the others
    formal = spec.outputs[0] if name == "If" else spec.inputs[0 if name == "SequenceMap" else -1]
    for kind in sorted(formal.allowed):
        value = np.array([[0, 1]])  # for Scan before 9, a batch of one
        x = recast([value] if "seq(" in kind else value, kind)
        model, feeds = through(name, opset, kind)
        (y,) = onnxwalk.load(model).run(None, {"x": x, **feeds})
        assert_same(y, x)


def test_the_versions_are_those_of_the_spec():
    known = {(s.domain, s.name, s.since_version) for s in onnx.defs.get_all_schemas_with_history()}
    assert known <= set(VERSIONS)
