"""Merge nodes that compute the same from the same tensors."""

from __future__ import annotations

from onnxwalk.export.conversion.draft import Draft

_RANDOM = ("RandomNormal", "RandomUniform", "Multinomial", "Bernoulli", "Dropout")


def share_nodes(draft: Draft) -> None:
    """Replace nodes with the same operator, inputs and attributes by the first of them."""
    outputs = {value.name for value in draft.graph.output}
    seen: dict[tuple, list[str]] = {}
    names: dict[str, str] = {}
    for node in draft.graph.node:
        if node.op_type.startswith(_RANDOM) or outputs & set(node.output):
            continue
        inputs = tuple(names.get(name, name) for name in node.input)
        key = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
        identity = (node.domain, node.op_type, inputs, tuple(key), len(node.output))
        first = seen.setdefault(identity, list(node.output))
        if first != list(node.output):
            names |= dict(zip(node.output, first, strict=True))
    names = {name: first for name, first in names.items() if name and first}
    draft.rename_tensors(names)
    draft.remove_unused()
