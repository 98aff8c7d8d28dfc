"""``inspect --nodes``: the nodes in order, with what they read, compute and are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnxwalk.interpreter.analysis.compare.cause import attribute_text
from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.shapes import infer_output_shapes
from onnxwalk.interpreter.compiler.types import type_problems
from onnxwalk.interpreter.constants import own_tensors
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import Graph, Model, SparseTensor, TensorType, ValueInfo
from onnxwalk.interpreter.names import find_layers, matches
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES

#: texts of types, by the names of values
Types = Mapping[str, str]


def list_nodes(
    model: Model, graph: Graph, context: Context, patterns: Sequence[str], *, infer: bool
) -> list[dict[str, Any]]:
    """The nodes of the graph, each followed by those of its subgraphs, as plain data; of
    ``patterns`` one must match a node's name, operator or Keras layer, or a value that it computes.

    ``infer``: whether the types of values can be found from those of the inputs, which needs
    operators that are supported; otherwise they are those that the file declares.

    Raises InvalidInputError if no node matches.
    """
    layers = find_layers(model)
    rows = [
        {"number": number, **row}
        for number, row in enumerate(_rows(graph, context, layers, {}, "", infer=infer), 1)
        if not patterns or matches(_names(row), patterns)
    ]
    if patterns and not rows:
        raise InvalidInputError(
            f"--select {' '.join(patterns)}: no value, node, operator or Keras layer matches"
        )
    return rows


def _rows(
    graph: Graph,
    context: Context,
    layers: Mapping[str, str],
    outer: Types,
    place: str,
    *,
    infer: bool,
) -> Iterator[dict[str, Any]]:
    types = {**outer, **_types(graph, context, infer=infer and not place)}
    for node in graph.nodes:
        yield {
            "node": node.label,
            "operator": _show.qualified_name(node.domain, node.op_type),
            "layer": next((layers[n] for n in node.outputs if n in layers), None),
            "graph": place or None,
            "inputs": _values(node.inputs, types),
            "outputs": _values([name for name in node.outputs if name], types),
            "attributes": {n: attribute_text(value) for n, value in node.attributes.items()},
        }
        for name, inner in node.graphs:
            within = f"{place}/{node.label}/{name}".lstrip("/")
            yield from _rows(inner, context, layers, types, within, infer=infer)


def _names(row: Mapping[str, Any]) -> list[str]:
    names = [row["node"], row["operator"], row["layer"] or ""]
    return names + [value["name"] for value in row["outputs"]]


def _values(names: Sequence[str], types: Types) -> list[dict[str, Any]]:
    return [{"name": name, "type": types.get(name)} for name in names]


def _types(graph: Graph, context: Context, *, infer: bool) -> dict[str, str]:
    """The types of a graph's values: declared, of constants, and inferred."""
    declared = {v.name: v for v in (*graph.value_info.values(), *graph.inputs, *graph.outputs)}
    types = {name: str(value.type) for name, value in declared.items() if value.type is not None}
    for name, tensor in own_tensors(graph).items():
        stored = tensor.values if isinstance(tensor, SparseTensor) else tensor
        types[name] = str(TensorType(stored.element, tuple(tensor.shape)))
    if not infer:
        return types
    found: dict[str, str] = {}
    for _ in type_problems(graph, context, found):
        pass
    names = [name for node in graph.nodes for name in node.outputs if name]
    values = replace(graph, outputs=tuple(map(ValueInfo, names)))
    codes = {element.name: code for code, element in ELEMENT_TYPES.items()}
    for name, shape in zip(names, infer_output_shapes(values, graph.inputs, context), strict=True):
        if name in types and "[...]" not in types[name]:
            continue
        if found.get(name) in codes:
            types[name] = str(TensorType(codes[found[name]], shape))
    return types


def show_nodes(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the nodes as blocks of lines."""
    for row in rows:
        where = f"  in {row['graph']}" if row["graph"] else ""
        layer = f"  layer {row['layer']}" if row["layer"] else ""
        _show.line()
        _show.line(f"{row['number']}. {row['operator']}  {row['node']}{layer}{where}", style="bold")
        lines = [("in", _text(value)) for value in row["inputs"]]
        lines += [("out", _text(value)) for value in row["outputs"]]
        lines += [("with", f"{name} = {text}") for name, text in row["attributes"].items()]
        previous = ""
        for kind, text in lines:
            _show.line(f"   {'' if kind == previous else kind:<5}{text}")
            previous = kind


def _text(value: Mapping[str, Any]) -> str:
    if not value["name"]:
        return "(left out)"
    return value["name"] + (f": {value['type']}" if value["type"] else "")
