"""Which models compute in bfloat16, and which operators don't accept it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from onnxwalk.export.conversion.names import describe_place
from onnxwalk.export.conversion.opsets import newest_opset

_UNSUPPORTED = re.compile(r"op_type:\s*(\w+), node name: ([^)]+)\).*tensor\(bfloat16\)")


def has_bfloat16(graph: Any) -> bool:
    """Whether a TensorFlow graph holds anything in bfloat16."""
    from tensorflow import dtypes

    return any(
        attribute.type == dtypes.bfloat16.as_datatype_enum
        for node in graph.node
        for attribute in node.attr.values()
    )


def explain_refusal(detail: str, opset: int, layers: Sequence[str]) -> str | None:
    """An error message when the checker found an operator that doesn't accept bfloat16 at this
    opset; None when it found something else."""
    found = _UNSUPPORTED.search(detail)
    if found is None:
        return None
    operator, name = found[1], found[2]
    since = next(
        (v for v in range(opset + 1, newest_opset() + 1) if _accepts_bfloat16(operator, v)), None
    )
    advice = "build the model under the policy float32 (or mixed_float16) and load these weights"
    if since:
        advice = f"export to opset {since}"
    where = describe_place(name, layers)
    return f"{where}: ONNX's {operator} doesn't accept bfloat16 at opset {opset}: {advice}"


def _accepts_bfloat16(operator: str, opset: int) -> bool:
    from onnx import defs

    inputs = defs.get_schema(operator, opset).inputs
    return any("tensor(bfloat16)" in parameter.types for parameter in inputs)
