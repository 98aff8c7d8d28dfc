"""What ONNX Runtime's CPU provider runs and this package doesn't, from the list of its kernels.

    python -m tools.kernel_gaps

Each kernel names an operator, versions, and the types of its type variables. A version counts as
taken if the operator is registered for it with these types. Types that a kernel has beyond the
schema of a version don't count: ONNX Runtime itself refuses files that use them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from onnxwalk.ops import registry
from onnxwalk.ops.schema.types import Signature, format_types, signature
from tests.support.schemas import all_schemas

PROVIDER = "CPUExecutionProvider"

#: nodes that ONNX Runtime puts into a graph while it runs it
NOT_IN_FILES = frozenset({"MemcpyFromHost", "MemcpyToHost"})


class Gap(NamedTuple):
    """A version of an operator of which something isn't taken."""

    domain: str
    operator: str
    version: int
    what: str


def gaps() -> list[Gap]:
    """All differences, sorted."""
    return sorted({gap for kernel in kernels() for gap in gaps_of(kernel)})


def kernels() -> list[Any]:
    """The kernels of the CPU provider for operators that files may hold."""
    return [
        kernel
        for kernel in runtime.get_all_opkernel_def()
        if kernel.provider == PROVIDER and kernel.op_name not in NOT_IN_FILES
    ]


def gaps_of(kernel: Any) -> Iterator[Gap]:
    """What isn't taken of each version that a kernel serves."""
    key, (first, last) = (kernel.domain, kernel.op_name), kernel.version_range
    schemas = all_schemas().get(key, {})
    for version in sorted({first, *(v for v in schemas if first <= v <= last)}):
        schema = schemas.get(version)
        if schema is not None and schema.deprecated:
            continue
        operator, spec = registry.lookup(*key, version), signature(*key, version)
        if operator is None or spec is None:
            yield Gap(*key, version, "missing")
            continue
        for variable, types in kernel.type_constraints.items():
            kinds = {re.sub(r"tensor\((\w+)\)", r"\1", kind).replace(" ", "") for kind in types}
            taken = allowed_types(spec, variable)
            lacking = kinds & set(operator.not_computed.get(variable, "").split())
            if taken is not None and schema is not None:
                lacking |= (kinds & types_of(schema, variable)) - taken
            if lacking:
                yield Gap(*key, version, f"{variable} of {format_types(lacking)}")


def types_of(schema: Any, variable: str) -> set[str]:
    """The types that a schema allows for one of its variables."""
    return {
        re.sub(r"tensor\((\w+)\)", r"\1", kind).replace(" ", "")
        for constraint in schema.type_constraints
        if constraint.type_param_str == variable
        for kind in constraint.allowed_type_strs
    }


def allowed_types(spec: Signature, variable: str) -> frozenset[str] | None:
    """The types that are taken for a variable; ``None`` if it is none: some kernels name an input,
    or a variable that only occurs in variadic ones."""
    for formal in (*spec.inputs, *spec.outputs):
        if formal.variable == variable:
            return formal.allowed
    return None


def lines() -> Iterator[str]:
    """The differences as the rows of a table, one for each operator and what it lacks."""
    merged: dict[tuple[str, str, str], list[int]] = {}
    for gap in gaps():
        merged.setdefault((gap.domain, gap.operator, gap.what), []).append(gap.version)
    for (domain, operator, what), versions in sorted(merged.items()):
        listed = ", ".join(map(str, versions))
        yield f"| {domain or 'ai.onnx'} | {operator} | {listed} | {what} |"


if __name__ == "__main__":
    for line in lines():
        print(line)
