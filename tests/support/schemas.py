"""Operator schemas: ONNX's own, and those that ONNX Runtime adds (com.microsoft among them)."""

from __future__ import annotations

import functools
from typing import Any

import onnx
from onnx import AttributeProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from onnxwalk.ops.contract.registry import REQUIRED


@functools.cache
def all_schemas() -> dict[tuple[str, str], dict[int, Any]]:
    """The schemas by (domain, operator) and version: ONNX's own, and of ONNX Runtime those of the
    versions that ONNX hasn't. Both kinds have the same fields."""
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for schema in (*onnx.defs.get_all_schemas_with_history(), *runtime.get_all_operator_schema()):
        versions = found.setdefault((schema.domain, schema.name), {})
        versions.setdefault(schema.since_version, schema)
    return {key: dict(sorted(found[key].items())) for key in sorted(found)}


def schema_of(domain: str, name: str, opset: int) -> Any:
    """The schema that an operator has at this opset."""
    versions = all_schemas()[domain, name]
    return versions[max(version for version in versions if version <= opset)]


def attribute_type(attribute: Any) -> int:
    """Its ``AttributeProto.AttributeType``."""
    return AttributeProto.AttributeType.Value(str(attribute.type).rpartition(".")[2])


def default_of(attribute: Any) -> Any:
    """The default that a schema gives an attribute, as a signature has it."""
    if attribute.required:
        return REQUIRED
    default = getattr(attribute, "default_value", None)
    if default is None:  # ONNX Runtime has it serialized
        default = AttributeProto.FromString(attribute._default_value)
    if default.type == AttributeProto.UNDEFINED:
        return None
    value = helper.get_attribute_value(default)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [v.decode() if isinstance(v, bytes) else v for v in value]
    return value


def input_kinds(schema: Any) -> list[tuple[bool, bool]]:
    """For each input whether it is optional, and whether it is variadic."""
    options = [str(formal.option).rpartition(".")[2] for formal in schema.inputs]
    return [(option == "Optional", option == "Variadic") for option in options]


def has_kernel(domain: str, name: str) -> bool:
    """Whether ONNX Runtime can run the operator on a CPU."""
    return (domain, name) in _kernels()


@functools.cache
def _kernels() -> set[tuple[str, str]]:
    return {
        (kernel.domain, kernel.op_name)
        for kernel in runtime.get_all_opkernel_def()
        if kernel.provider == "CPUExecutionProvider"
    }
