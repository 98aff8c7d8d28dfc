"""Mutants of what a model says: its nodes, attributes, types, tensors and graphs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import helper, numpy_helper

from onnxwalk.ops import registry
from tests.programs.fuzz.case import Case
from tests.programs.fuzz.mutate_values import (
    CODES,
    FLOATS,
    INTEGERS,
    TEXTS,
    Kind,
    integer,
    other_bytes,
    other_list,
    other_tensor,
)


def other_model(case: Case, other: Case, rng: random.Random) -> Case:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(case.model)
    except Exception:  # an earlier change of its bytes; google.protobuf has several errors
        return replace(case, model=other_bytes(case.model, other.model, rng))
    feeds = dict(case.feeds)
    for _ in range(5):  # not every change fits every model
        change = rng.choice(CHANGES)
        if change is _combine:
            _combine(model, feeds, rng, other)
        elif change(model, feeds, rng) is False:
            continue
        break
    return replace(case, model=model.SerializeToString(), feeds=feeds)


def _graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """The model's graph and those within it."""
    found = [model.graph]
    for graph in found:
        for node in graph.node:
            for attribute in node.attribute:
                found += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
    return found


def _a_node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto | None:
    nodes = [n for g in _graphs(model) for n in g.node]
    nodes += [n for f in model.functions for n in f.node]
    return rng.choice(nodes) if nodes else None


def _operator(model: onnx.ModelProto, node: onnx.NodeProto) -> Any:
    for imported in model.opset_import:
        if imported.domain == node.domain:
            return registry.lookup(node.domain, node.op_type, imported.version)
    return None


def _op_type(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    node = _a_node(model, rng)
    if node is None:
        return False
    operator = rng.choice(EVERY)
    node.op_type, node.domain = operator.name, operator.domain
    if rng.random() < 0.7:
        known = set(operator.attributes)
        kept = [a for a in node.attribute if a.name in known or a.type == Kind.GRAPH]
        del node.attribute[:]
        node.attribute.extend(kept)
    if all(i.domain != operator.domain for i in model.opset_import):
        model.opset_import.add(domain=operator.domain, version=max(1, operator.since))


EVERY = list(registry)


def _attribute(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    """An attribute that is there, or that the operator has, becomes extreme."""
    node = _a_node(model, rng)
    operator = _operator(model, node) if node is not None else None
    if node is None:
        return False
    if operator is not None and operator.attributes and rng.random() < 0.5:
        name = rng.choice(list(operator.attributes))
        if all(a.name != name for a in node.attribute):
            default = operator.attributes[name]
            kinds = {int: Kind.INT, float: Kind.FLOAT, str: Kind.STRING}
            kind = kinds.get(type(default)) or rng.choice((Kind.INT, Kind.INTS, Kind.FLOATS))
            node.attribute.add(name=name, type=kind)
    if not node.attribute:
        return False
    a = rng.choice(node.attribute)
    if a.type == Kind.INT:
        a.i = integer(a.i, rng)
    elif a.type == Kind.FLOAT:
        a.f = rng.choice(FLOATS)
    elif a.type == Kind.STRING:
        known = (operator and operator.choices(a.name, 28)) or ()
        a.s = rng.choice((*TEXTS, *(text.encode() for text in known)))
    elif a.type == Kind.INTS:
        other_list(a.ints, lambda old: integer(old or 0, rng), rng)
    elif a.type == Kind.FLOATS:
        other_list(a.floats, lambda old: rng.choice(FLOATS), rng)
    elif a.type == Kind.STRINGS:
        other_list(a.strings, lambda old: rng.choice(TEXTS), rng)
    elif a.type == Kind.TENSOR:
        other_tensor(a.t, rng)
    else:
        a.type = rng.randrange(16)


def _no_attribute(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    node = _a_node(model, rng)
    if node is None or not node.attribute:
        return False
    del node.attribute[rng.randrange(len(node.attribute))]


def _rewire(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    node = _a_node(model, rng)
    if node is None:
        return False
    names = [v.name for v in model.graph.input] + [t.name for t in model.graph.initializer]
    names += [name for n in model.graph.node for name in n.output] + [""]
    change = rng.randrange(6)
    if change == 0:
        node.input.append(rng.choice(names))
    elif change == 1 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif change == 2:
        node.output.append(rng.choice(("", "extra")))
    elif change == 3 and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(names)
    elif node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)


def _nodes(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    """Drop, repeat or move a node."""
    graph = rng.choice(_graphs(model))
    if not graph.node:
        return False
    at, change = rng.randrange(len(graph.node)), rng.randrange(3)
    node = onnx.NodeProto()
    node.CopyFrom(graph.node[at])
    if change != 1:
        del graph.node[at]
    if change != 0:
        if change == 1 and rng.random() < 0.7:
            for i, name in enumerate(node.output):
                node.output[i] = name and f"{name}{len(graph.node)}"
        graph.node.insert(rng.randrange(len(graph.node) + 1), node)


def _initializer(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    """Change an initializer, or turn a feed into one, or the other way round."""
    tensors = [t for g in _graphs(model) for t in g.initializer]
    change = rng.random()
    arrays = [n for n, value in feeds.items() if isinstance(value, np.ndarray)]
    if change < 0.2 and arrays:
        name = rng.choice(arrays)
        model.graph.initializer.append(numpy_helper.from_array(feeds.pop(name), name))
        kept = [v for v in model.graph.input if v.name != name or rng.random() < 0.1]
        del model.graph.input[:]
        model.graph.input.extend(kept)
    elif not tensors:
        return False
    elif change < 0.4 and len(model.graph.initializer):
        at = rng.randrange(len(model.graph.initializer))
        tensor = model.graph.initializer[at]
        feeds[tensor.name] = numpy_helper.to_array(tensor).copy()
        shape = None if rng.random() < 0.5 else list(tensor.dims)
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, shape)
        model.graph.input.append(info)
        if rng.random() < 0.8:
            del model.graph.initializer[at]
    else:
        other_tensor(rng.choice(tensors), rng)


def _type(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    """What is declared of a value."""
    graph = rng.choice(_graphs(model))
    values = [*graph.input, *graph.output, *graph.value_info]
    if not values:
        return False
    value = rng.choice(values)
    tensor = value.type.tensor_type
    change = rng.randrange(6)
    if change == 0:
        tensor.elem_type = max(-1, rng.choice(CODES))
    elif change == 1:
        tensor.ClearField("shape")
    elif change == 2:
        value.ClearField("type")
    elif change == 3:
        inner = onnx.TypeProto()
        inner.CopyFrom(value.type)
        outer = rng.choice((value.type.sequence_type, value.type.optional_type))
        outer.elem_type.CopyFrom(inner)
    elif len(tensor.shape.dim):
        dim = rng.choice(tensor.shape.dim)
        if rng.random() < 0.6:
            dim.dim_param = rng.choice(("n", "m"))
        else:
            dim.dim_value = rng.choice(INTEGERS)


def _opset(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    if not model.opset_import:
        return False
    rng.choice(model.opset_import).version = rng.choice((*range(1, 29), 0, -1, 2**31))


def _output(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    """An output less, or one more: an inner value, an input, a constant."""
    if len(model.graph.output) > 1 and rng.random() < 0.5:
        del model.graph.output[rng.randrange(len(model.graph.output))]
        return True
    names = [v.name for v in model.graph.input] + [t.name for t in model.graph.initializer]
    names += [name for n in model.graph.node for name in n.output if name]
    if not names:
        return False
    model.graph.output.add(name=rng.choice(names))


def _nest(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    """A node moves into the branches of an If, or the body of a Loop or function."""
    graph = rng.choice(_graphs(model))
    if not graph.node:
        return False
    at = rng.randrange(len(graph.node))
    node = onnx.NodeProto()
    node.CopyFrom(graph.node[at])
    outputs = [name for name in node.output if name]
    if not outputs:
        return False
    tag = f"_{len(model.SerializeToString())}"
    true = numpy_helper.from_array(np.array(True), f"true{tag}")
    model.graph.initializer.append(true)
    kind = rng.choice(("If", "Loop", "function"))
    if kind == "function":
        imports = list(model.opset_import)
        if all(i.domain != "own" for i in imports):
            model.opset_import.add(domain="own", version=1)
        inputs = list(dict.fromkeys(name for name in node.input if name))
        name = f"F{tag}"
        function = helper.make_function("own", name, inputs, outputs, [node], imports, [])
        model.functions.append(function)
        new = helper.make_node(name, inputs, outputs, domain="own")
    else:
        inner = [f"{name}{tag}" for name in outputs]
        renamed = dict(zip(outputs, inner, strict=True))
        for i, name in enumerate(node.output):
            node.output[i] = renamed.get(name, "")
        infos = [onnx.ValueInfoProto(name=name) for name in inner]
        if kind == "If":
            body = helper.make_graph([node], "branch", [], infos)
            new = helper.make_node("If", [true.name], outputs, then_branch=body, else_branch=body)
        else:
            times = numpy_helper.from_array(np.array(rng.choice((0, 1, 3))), f"times{tag}")
            model.graph.initializer.append(times)
            go = onnx.ValueInfoProto(name=f"go{tag}")
            same = helper.make_node("Identity", [true.name], [f"on{tag}"])
            counted = onnx.ValueInfoProto(name=f"i{tag}")
            body = helper.make_graph(
                [node, same], "body", [counted, go], [onnx.ValueInfoProto(name=f"on{tag}"), *infos]
            )
            new = helper.make_node("Loop", [times.name, true.name], outputs, body=body)
    graph.node[at].CopyFrom(new)


def _combine(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random, other: Case) -> Any:
    """Another case's nodes follow, and take what the first ones give."""
    second = onnx.ModelProto()
    second.ParseFromString(other.model)
    if len(model.graph.node) + len(second.graph.node) > 12:
        return False
    tag = f"_{len(model.graph.node)}"
    given = [name for node in model.graph.node for name in node.output if name]
    own = {i.domain for i in model.opset_import}
    model.opset_import.extend(i for i in second.opset_import if i.domain not in own)
    replaced = {}
    for value in second.graph.input:
        if given and rng.random() < 0.5:
            replaced[value.name] = rng.choice(given)
            continue
        replaced[value.name] = value.name + tag
        added = model.graph.input.add()
        added.CopyFrom(value)
        added.name += tag
        if value.name in other.feeds:
            feeds[added.name] = other.feeds[value.name]
    for tensor in second.graph.initializer:
        replaced[tensor.name] = tensor.name + tag
        kept = model.graph.initializer.add()
        kept.CopyFrom(tensor)
        kept.name += tag
    for node in second.graph.node:
        new = model.graph.node.add()
        new.CopyFrom(node)
        for names in (new.input, new.output):
            for i, name in enumerate(names):
                names[i] = name and replaced.get(name, name + tag)
    for value in second.graph.output:
        model.graph.output.add(name=replaced.get(value.name, value.name + tag))


def _any_field(model: onnx.ModelProto, feeds: dict[str, Any], rng: random.Random) -> Any:
    """Any field of any message, down a path taken at random, is cleared or doubled."""
    message: Message = model
    while True:
        fields = message.ListFields()
        if not fields:
            return False
        field, value = rng.choice(fields)
        repeated = hasattr(value, "append") or hasattr(value, "add")
        is_message = field.message_type is not None
        if is_message and rng.random() < 0.85:
            message = rng.choice(value) if repeated else value
            continue
        if repeated and rng.random() < 0.7:
            at = rng.randrange(len(value))
            if rng.random() < 0.5:
                del value[at]
            elif is_message:
                value.add().CopyFrom(value[at])
            else:
                value.append(value[at])
        else:
            message.ClearField(field.name)
        return True


Change = Callable[[onnx.ModelProto, dict[str, Any], random.Random], Any]

#: the more often named the likelier
CHANGES: list[Any] = [
    *[_attribute] * 5,
    *[_initializer] * 4,
    *[_op_type] * 2,
    *[_rewire] * 2,
    *[_type] * 2,
    *[_combine] * 2,
    _nest,
    _no_attribute,
    _nodes,
    _opset,
    *[_output] * 2,
    _any_field,
]
