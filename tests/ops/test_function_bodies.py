"""Operators that the spec also writes as a function of others: our result is that function's.

The function is put into the model under a domain of its own and run by our interpreter.
"""

import importlib.util
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

import onnxwalk
from tests.support.harness import assert_same, feeds_of, one_node_model, run_directly

FAMILIES = ("attention", "image", "loss", "quantize", "sampling", "signal", "text", "vision")

# Where the function is no oracle, by what the case says.
APART = {
    # the function divides 0 by 0 for a single row or a tensor of zeros
    "AffineGrid-20(1x2x3,4)",
    "DynamicQuantizeLinear-11(2x2)",
    "DynamicQuantizeLinear-11(0)",
}


def body_of(case):
    """The FunctionProto that defines this operator for these inputs and attributes, or None."""
    schema = onnx.defs.get_schema(case.operator, case.since)
    opset = max(case.opset, case.since)
    model = one_node_model(case)
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= opset]
        text = schema.get_function_with_opset_version(max(versions)) if versions else None
    elif schema.has_context_dependent_function:
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
        types = {value.name: value.type for value in model.graph.input}
        given = [types[n].SerializeToString() if n else b"" for n in model.graph.node[0].input]
        text = (
            schema.get_context_dependent_function_with_opset_version(
                max(versions), model.graph.node[0].SerializeToString(), given
            )
            if versions
            else None
        )
    else:
        text = None
    if not text:
        return None
    body = onnx.FunctionProto()
    body.ParseFromString(text)
    return body


def in_float32(case):
    """The case with float32 for bfloat16: bodies lean on versions that had no bfloat16 yet."""
    inputs = [
        x.astype(np.float32) if getattr(x, "dtype", None) == ml_dtypes.bfloat16 else x
        for x in case.inputs
    ]
    return replace(case, inputs=inputs)


def cases():
    for family in FAMILIES:
        path = Path(__file__).parent / "ai_onnx" / f"test_{family}.py"
        spec = importlib.util.spec_from_file_location(f"bodies_{family}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for case in module.CASES:
            if case.domain:  # FlexAttention: its modifiers are no graphs here; the suite expands it
                continue
            schema = onnx.defs.get_schema(case.operator, case.since)
            if schema.has_function or schema.has_context_dependent_function:
                yield case


@pytest.mark.parametrize("case", cases(), ids=str)
def test_is_the_function_body(case):
    if str(case).partition(" ")[0] in APART:
        pytest.skip("the function divides 0 by 0")
    ours = run_directly(case)
    wide = in_float32(case)
    body = body_of(wide)
    if body is None:
        pytest.skip("the spec has no function body for this opset")
    # a function built for a node leaves out the outputs that the node doesn't name
    made = {name for inner in body.node for name in inner.output}
    del body.output[len(list(takewhile(made.__contains__, body.output))) :]
    model = one_node_model(wide)
    body.domain, body.name = "spec", case.operator
    node = model.graph.node[0]
    node.domain = "spec"
    given = {attribute.name for attribute in node.attribute}
    schema = onnx.defs.get_schema(case.operator, case.since)
    for name, attribute in schema.attributes.items():  # a body may lean on the schema's defaults
        if name not in given and attribute.default_value.type and name in body.attribute:
            node.attribute.append(attribute.default_value)
    model.functions.append(body)
    del model.opset_import[:]
    model.opset_import.extend([*body.opset_import, helper.make_opsetid("spec", 1)])
    expected = onnxwalk.load(model).run(None, feeds_of(wide))
    expected = [
        y.astype(x.dtype) if getattr(x, "dtype", None) == ml_dtypes.bfloat16 else y
        for x, y in zip(ours, expected, strict=True)
    ]
    rtol = (
        5e-3
        if any(np.asarray(x).dtype.itemsize == 2 for x in case.inputs if x is not None)
        else 1e-4
    )
    assert_same(ours, expected, rtol=max(case.rtol, rtol), atol=max(case.atol, 1e-5))
