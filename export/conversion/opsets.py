"""A model of opset 18, the newest that tf2onnx writes, becomes one of a newer opset.

Only the number changes: later versions of almost every operator mean the same as version 18 and
allow more, such as bfloat16 from opset 22 on. ONNX's schemas say whether they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxwalk.export.conversion.draft import all_nodes
from onnxwalk.export.conversion.names import describe_place
from onnxwalk.export.errors import ExportError
from onnxwalk.ops.contract.registry import LATEST_OPSET

#: the default, and the newest opset that tf2onnx writes
DEFAULT_OPSET = 18
#: the oldest that the recurrent nodes are written for
OLDEST_OPSET = 13


def newest_opset() -> int:
    """The newest opset that the installed onnx can check and the interpreter can run."""
    from onnx import defs

    return min(defs.onnx_opset_version(), LATEST_OPSET[""])


def raise_opset(model: Any, opset: int, layers: Sequence[str] = ()) -> None:
    """Declare a model of opset ``DEFAULT_OPSET`` to be one of ``opset``, in place.

    Raises ExportError that names the layer for a node that might mean something else.
    """
    from onnx import helper

    for node in all_nodes(model.graph):
        changed = None if node.domain else find_changed_version(node.op_type, opset)
        if changed:
            raise ExportError(
                f"{describe_place(node.name, layers)}: ONNX changed {node.op_type} in "
                f"opset {changed}: export to opset {changed - 1}"
            )
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset
    model.ir_version = max(model.ir_version, helper.find_min_ir_version_for(model.opset_import))


def find_changed_version(operator: str, opset: int) -> int | None:
    """The first opset after ``DEFAULT_OPSET``, up to ``opset``, in which a node of this operator of
    ai.onnx may not mean what it meant; None if there is none.

    A schema keeps the meaning if it has the same inputs, outputs and attributes with the same
    defaults, at least the same types, and only optional additions; and if neither is deprecated,
    as GroupNormalization was until 21, when its scale became one for each channel.
    """
    from onnx import defs

    old = defs.get_schema(operator, DEFAULT_OPSET)
    for version in range(DEFAULT_OPSET + 1, opset + 1):
        new = defs.get_schema(operator, version)
        if not _is_compatible(new, old):
            return version
    return None


def _is_compatible(new: Any, old: Any) -> bool:
    """Whether every node that fits the old schema fits the new one, with the same defaults."""
    if (
        old.deprecated
        or new.deprecated
        or not all(
            _are_parameters_compatible(getattr(new, side), getattr(old, side))
            for side in ("inputs", "outputs")
        )
    ):
        return False
    added = [a for name, a in new.attributes.items() if name not in old.attributes]
    return not any(attribute.required for attribute in added) and all(
        name in new.attributes
        and new.attributes[name].type == attribute.type
        and new.attributes[name].default_value == attribute.default_value
        for name, attribute in old.attributes.items()
    )


def _are_parameters_compatible(new: Any, old: Any) -> bool:
    """Whether the old parameters come first, accept the same types, and all others are optional."""
    from onnx.defs import OpSchema

    optional = OpSchema.FormalParameterOption.Optional
    kept, added = new[: len(old)], new[len(old) :]
    return (
        len(kept) == len(old)
        and all(
            n.name == o.name and n.option == o.option and n.types >= o.types
            for n, o in zip(kept, old, strict=True)
        )
        and all(parameter.option == optional for parameter in added)
    )
