"""Records behave as the frozen dataclasses that they stand for."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest
from onnx import helper

import onnxwalk
from onnxwalk.interpreter.ir.model import Node, SparseTensorType, TensorType
from onnxwalk.ops.contract.records import record
from onnxwalk.ops.contract.records import replace as replace_record


def made_by(decorator):
    @decorator(frozen=True)
    class Sample:
        """Two values that must be given, and two that needn't."""

        first: int
        second: str
        third: float = 0.5
        fourth: dict = field(default_factory=dict, repr=False)

    return Sample


VALUE = helper.make_tensor_value_info
BODY = helper.make_graph(
    [helper.make_node("Identity", ["x"], ["z"])], "b", [], [VALUE("z", 1, [1])]
)
IF = helper.make_model(
    helper.make_graph(
        [helper.make_node("If", ["on"], ["y"], then_branch=BODY, else_branch=BODY)],
        "g", [VALUE("on", 9, []), VALUE("x", 1, [1])], [VALUE("y", 1, [1])],
    )
).SerializeToString()  # fmt: skip

Ours, Theirs = made_by(record), made_by(dataclass)


@pytest.mark.parametrize(
    ("values", "named"),
    [((1, "a"), {}), ((1,), {"second": "a"}), ((), {"second": "a", "first": 1, "third": 2.0}),
     ((1, "a", 2.0, {"x": 1}), {})],
)  # fmt: skip
def test_values_are_those_of_a_dataclass(values, named):
    ours, theirs = Ours(*values, **named), Theirs(*values, **named)
    assert vars(ours) == vars(theirs) and repr(ours) == repr(theirs)
    assert vars(replace(ours, first=7)) == vars(replace(theirs, first=7))
    assert [f.name for f in fields(ours)] == [f.name for f in fields(theirs)]


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1,), {}), ((1, "a", 2.0, {}, 5), {}), ((1, "a"), {"first": 1}),
     ((1, "a"), {"fifth": 1}), ((1,), {"fifth": "a"}), ((1,), {"first": 1, "second": "a"})],
)  # fmt: skip
def test_what_a_dataclass_refuses_is_refused(values, named):
    for kind in (Theirs, Ours):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_replace_is_that_of_dataclasses():
    ours, theirs = (kind(1, "a", 2.0, {"x": 1}) for kind in (Ours, Theirs))
    for changes in ({}, {"first": 7}, {"second": "b", "fourth": {}}):
        assert vars(replace_record(ours, **changes)) == vars(replace(theirs, **changes))
    with pytest.raises(TypeError):
        replace_record(ours, fifth=1)
    node = Node("Relu", ("x",), ("y",))
    assert node.graphs == ()  # which is kept in the node, and found anew in another
    body = onnxwalk.load(IF).graph.nodes[0].attributes
    assert len(replace_record(node, attributes=body).graphs) == 2


def test_records_are_immutable_and_defaults_are_not_shared():
    ours = Ours(1, "a")
    with pytest.raises(FrozenInstanceError, match="first"):
        ours.first = 2
    with pytest.raises(FrozenInstanceError, match="first"):
        del ours.first
    assert ours.fourth is not Ours(1, "a").fourth


def test_records_are_compared_by_kind_and_values_or_by_identity():
    assert TensorType(1, (2,)) == TensorType(1, (2,)) != TensorType(1, (3,))
    assert hash(TensorType(1, (2,))) == hash(TensorType(1, (2,)))
    assert TensorType(1, (2,)) != SparseTensorType(1, (2,))
    node = Node("Relu", ("x",), ("y",))
    assert node == node and node != replace(node)


def test_records_are_copied_pickled_and_matched():
    kind = TensorType(1, ("batch", 3))
    assert copy.deepcopy(kind) == pickle.loads(pickle.dumps(kind)) == kind
    match kind:
        case TensorType(element, shape):
            assert (element, shape) == (1, ("batch", 3))
    assert str(inspect.signature(onnxwalk.TensorInfo)).startswith("(name: 'str', dtype:")
