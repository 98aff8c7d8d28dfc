"""Operator schemas: ONNX's own, and those that ONNX Runtime adds (com.microsoft among them)."""

from __future__ import annotations

import functools
from typing import Any

import onnx
from onnx import AttributeProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from onnxwalk.ops.contract.registry import REQUIRED


@functools.cache
def schema_of(domain: str, name: str, opset: int) -> Any:
    """The schema that an operator has at this opset; both kinds have the same fields."""
    if onnx.defs.has(name, domain):
        return onnx.defs.get_schema(name, opset, domain)
    return max(
        (
            schema
            for schema in runtime.get_all_operator_schema()
            if (schema.domain, schema.name) == (domain, name) and schema.since_version <= opset
        ),
        key=lambda schema: schema.since_version,
    )


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
