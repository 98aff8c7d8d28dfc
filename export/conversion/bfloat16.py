"""bfloat16 on its way through tf2onnx, which takes it for float16 otherwise; and where it stops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from onnxwalk.export.conversion.names import layer_of
from onnxwalk.export.conversion.opsets import newest

_UNSUPPORTED = re.compile(r"op_type:\s*(\w+), node name: ([^)]+)\).*tensor\(bfloat16\)")


def in_bfloat16(graph: Any) -> bool:
    """Whether a TensorFlow graph holds anything in bfloat16."""
    from tensorflow import dtypes

    return any(
        attribute.type == dtypes.bfloat16.as_datatype_enum
        for node in graph.node
        for attribute in node.attr.values()
    )


@contextmanager
def kept_apart() -> Iterator[None]:
    """tf2onnx's tables say bfloat16 where they said float16. Not for two threads at once."""
    import ml_dtypes
    from onnx import TensorProto
    from tensorflow import dtypes
    from tf2onnx import tf_utils, utils

    tables: list[tuple[dict[Any, Any], Any, Any]] = [
        (tf_utils.TF_TO_ONNX_DTYPE, dtypes.bfloat16.as_datatype_enum, TensorProto.BFLOAT16),
        (utils.ONNX_TO_NUMPY_DTYPE, TensorProto.BFLOAT16, ml_dtypes.bfloat16),
        (utils.ONNX_DTYPE_NAMES, TensorProto.BFLOAT16, "bfloat16"),
    ]
    before = [dict(table) for table, _, _ in tables]
    for table, key, value in tables:
        table[key] = value
    try:
        yield
    finally:
        for (table, _, _), original in zip(tables, before, strict=True):
            table.clear()
            table.update(original)


def refusal(detail: str, opset: int, layers: Sequence[str]) -> str | None:
    """What to tell the user when the checker found an operator that takes no bfloat16 at this
    opset; None when it found something else."""
    found = _UNSUPPORTED.search(detail)
    if found is None:
        return None
    operator, name = found[1], found[2]
    layer = layer_of(name, layers)
    since = next((v for v in range(opset + 1, newest() + 1) if _takes_bfloat16(operator, v)), None)
    advice = (
        f"export to opset {since}"
        if since
        else "build the model under the policy float32 (or mixed_float16) and give it these weights"
    )
    where = f"layer {layer}" if layer else name
    return f"{where}: ONNX's {operator} takes no bfloat16 at opset {opset}: {advice}"


def _takes_bfloat16(operator: str, opset: int) -> bool:
    from onnx import defs

    inputs = defs.get_schema(operator, opset).inputs
    return any("tensor(bfloat16)" in parameter.types for parameter in inputs)
