"""Every dtype that the spec allows goes in, and the dtype that the spec says comes out."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxwalk.ops import registry
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, element_type, numpy_dtype
from tests.support.harness import Case, run_directly

FAMILIES = [
    "activation",
    "arithmetic",
    "logic",
    "mathfunctions",
    "reduce",
    "linear",
    "normalization",
]
VARIADIC = onnx.defs.OpSchema.FormalParameterOption.Variadic
CODES = {f"tensor({element.name})": code for code, element in ELEMENT_TYPES.items()}


def first_cases():
    """The first case of each registered version in the families' files."""
    cases = {}
    for family in FAMILIES:
        path = Path(__file__).parent / "ai_onnx" / f"test_{family}.py"
        spec = importlib.util.spec_from_file_location(f"dtypes_{family}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for case in module.CASES:
            if all(np.size(x) for x in case.inputs):
                cases.setdefault((case.operator, case.since), case)
    return cases


def combinations():
    """(case, version, variable, type): one type variable at a time takes each allowed type."""
    history = onnx.defs.get_all_schemas_with_history()
    for (name, since), case in first_cases().items():
        for schema in (s for s in history if (s.domain, s.name) == ("", name)):
            operator = registry.lookup("", name, schema.since_version)
            if operator is None or operator.since != since:
                continue
            for constraint in schema.type_constraints:
                for allowed in constraint.allowed_type_strs:
                    yield pytest.param(
                        case,
                        schema,
                        constraint.type_param_str,
                        allowed,
                        id=f"{name}-{schema.since_version} {constraint.type_param_str}={allowed}",
                    )


def converted(x, dtype):
    """Whole numbers from 1 to 16, which every dtype holds exactly."""
    if dtype.kind == "O":
        return np.asarray(x).astype(str).astype(object)
    real = np.nan_to_num(np.asarray(x).astype(np.float64), posinf=3, neginf=3)
    return np.asarray(np.clip(np.rint(np.abs(real)), 1, 16)).astype(dtype)


def run_with(case, schema, variable, dtype):
    """The case with the inputs of one type variable in this dtype; also all variables' dtypes."""
    formals = list(schema.inputs)
    if formals[-1].option == VARIADIC:
        formals += [formals[-1]] * len(case.inputs)
    dtypes = {variable: dtype}
    inputs = []
    for x, formal in zip(case.inputs, formals, strict=False):
        if x is not None and formal.type_str == variable:
            x = x.astype(dtype) if formal.name == "axis" else converted(x, dtype)
        elif x is not None:
            dtypes.setdefault(formal.type_str, x.dtype)
        inputs.append(x)
    attributes = dict(case.attributes)
    if case.operator == "Mod" and case.since < 28 and dtype.kind in "fV":
        attributes["fmod"] = 1  # "T is constrained to floating point data types"
    if case.operator == "LayerNormalization" and variable == "U":
        attributes["stash_type"] = element_type(dtype).code
    run = Case(case.operator, case.opset, inputs, attributes, outputs=case.outputs)
    return run_directly(run), dtypes


@pytest.mark.parametrize(("case", "schema", "variable", "allowed"), list(combinations()))
def test_dtype(case, schema, variable, allowed):
    dtype = numpy_dtype(CODES[allowed])
    results, dtypes = run_with(case, schema, variable, dtype)
    types = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    for result, formal in zip(results, schema.outputs, strict=False):
        if formal.type_str in dtypes:
            assert result.dtype == dtypes[formal.type_str]
        else:
            options = types.get(formal.type_str, [formal.type_str])
            assert f"tensor({element_type(result.dtype).name})" in options
    if dtype.kind in "fV" and dtype.itemsize == 2 and "tensor(float)" in types[variable]:
        rounding = 2.0**-7 if dtype.name == "bfloat16" else 2.0**-10
        wide, _ = run_with(case, schema, variable, np.dtype(np.float32))
        with np.errstate(over="ignore"):
            for result, exact in zip(results, wide, strict=True):
                np.testing.assert_allclose(
                    np.asarray(result, np.float64),
                    np.asarray(exact).astype(result.dtype).astype(np.float64),
                    rtol=2 * rounding,
                    atol=1e-3 * rounding,
                )
