"""NaN, infinities, halves, ends of types, nothing: what is right, and what ONNX Runtime gives."""

import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests.support.harness import (
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_onnxruntime,
)
from tests.support.special_values import SPECIAL_VALUES

SHOWN = [shown for value in SPECIAL_VALUES for shown in value.shown]
CASES = [case for case, _ in SHOWN]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize(("case", "theirs"), SHOWN, ids=[str(case) for case in CASES])
def test_onnxruntime(case, theirs):
    if onnxruntime.__version__.split(".")[:2] != ["1", "32"]:
        pytest.skip("looked at in ONNX Runtime 1.32")
    model = in_float32(one_node_model(case), case.expected)
    if isinstance(theirs, str):
        with pytest.raises(Exception, match=theirs):
            run_onnxruntime(model, feeds_of(case))
    else:
        assert_same(run_onnxruntime(model, feeds_of(case)), theirs, rtol=1e-6, atol=0)


def in_float32(model, expected):
    """The model with outputs of 8 bits or fewer, which NumPy doesn't have, cast to float32."""
    for output, y in zip(model.graph.output, expected, strict=True):
        if y.dtype.kind == "V":
            name, output.name = output.name, f"{output.name}_wide"
            node = helper.make_node("Cast", [name], [output.name], to=TensorProto.FLOAT)
            model.graph.node.append(node)
    return model


@pytest.mark.parametrize("value", SPECIAL_VALUES, ids=lambda value: str(value.case))
def test_a_row_tells_a_difference(value):
    """One that was mended must go."""
    for case, theirs in value.shown:
        if isinstance(theirs, str):
            return
        try:
            assert_same([y.astype(x.dtype) for y, x in zip(case.expected, theirs, strict=True)],
                        theirs, rtol=0, atol=0)  # fmt: skip
        except AssertionError:
            return
    pytest.fail("both sides are the same")
