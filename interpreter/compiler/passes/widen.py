"""Keeps float16 and bfloat16 values as float32 between operators, as ONNX Runtime does on a CPU.

NumPy has no arithmetic of short floats: an operator would widen its inputs, weights too, and round
its result in every call. Here the weights are widened once, and a value is rounded only where the
file casts to a short type, where an operator needs one, and at the outputs of the graph.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TypeGuard

from onnxwalk.interpreter.budget import current_budget, take, tick
from onnxwalk.interpreter.compiler.context import Context, captured_names
from onnxwalk.interpreter.compiler.types import signature_of, type_problems
from onnxwalk.interpreter.errors import LimitError
from onnxwalk.interpreter.ir.model import Graph, Node, Tensor, TensorType
from onnxwalk.ops.schema.types import formal_at
from onnxwalk.ops.shared.numeric import wide

#: the short types by the name that the specification has for them, with their codes
_CODES = {"float16": 10, "bfloat16": 16}
_FLOAT = 1

#: operators whose result depends on the type of an input beyond the values in it
_TYPED = ("CastLike", "QuantizeLinear")

#: operators that only move values: on an input that is short already they cost half as much
_MOVES = (
    "Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Reshape Shape Size "
    "Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"
).split()

#: the float32 form of each constant, as each plan of a model asks for it
_widened: weakref.WeakKeyDictionary[Tensor, Tensor] = weakref.WeakKeyDictionary()


def widen(graph: Graph, context: Context) -> Graph:
    """Compute in float32 what the file computes in float16 or bfloat16. Subgraphs stay as they are,
    and so does a graph whose weights in float32 don't fit the memory limit."""
    if not _has_short_floats(graph) or not context.is_builtin(_cast("", "", _FLOAT)):
        return graph
    variable = {value.name for value in graph.inputs}
    weights = [t for n, t in graph.initializers.items() if n not in variable]
    nbytes = sum(2 * t.array.nbytes for t in weights if _is_short_tensor(t) and t not in _widened)
    budget = current_budget()
    try:
        if budget is not None:
            budget.reserve(nbytes)
    except LimitError:
        return graph
    return _Widening(graph, context).graph()


def _cast(source: str, result: str, to: int) -> Node:
    return Node("Cast", (source,), (result,), {"to": to}, opset=13)  # before 6, ``to`` was a word


def _is_short_tensor(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.element in _CODES.values()


def _is_short(value: object) -> bool:
    return isinstance(value, (Tensor, TensorType)) and value.element in _CODES.values()


def _has_short_floats(graph: Graph) -> bool:
    """Whether anything in the graph can be a source of short floats."""
    return (
        any(_is_short(value.type) for value in graph.inputs)
        or any(map(_is_short, graph.initializers.values()))
        or any(
            _is_short(attribute) or (name in ("to", "dtype") and attribute in _CODES.values())
            for node in graph.nodes
            for name, attribute in node.attributes.items()
        )
    )


class _Widening:
    """One pass over the nodes. A value keeps its name for its short form; the wide one has a name
    of its own. Where a form is needed that isn't there, a Cast makes it."""

    def __init__(self, graph: Graph, context: Context) -> None:
        self.source, self.context = graph, context
        self.types: dict[str, str] = {}
        for _ in type_problems(graph, context, self.types):
            pass  # resolve() has reported them
        variable = {value.name for value in graph.inputs}
        self.constants = {n: t for n, t in graph.initializers.items() if n not in variable}
        self.added: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.wide: dict[str, str] = {}  # the names of wide forms that have been computed
        self.only_wide: set[str] = set()  # values whose short form hasn't been computed

    def graph(self) -> Graph:
        for node in self.source.nodes:
            tick()
            self.add(node)
        for value in self.source.outputs:
            self.as_short(value.name)
        initializers = {**self.source.initializers, **self.added}
        return replace(self.source, nodes=tuple(self.nodes), initializers=initializers)

    def add(self, node: Node) -> None:
        if self.context.is_operator(node, "Cast"):
            self.add_cast(node)
        elif self.is_widened(node):
            inputs = tuple(self.as_wide(n) if self.is_short(n) else n for n in node.inputs)
            outputs = tuple(self.new_wide(n) if self.is_short(n) else n for n in node.outputs)
            self.nodes.append(replace(node, inputs=inputs, outputs=outputs))
        else:
            for name in node.inputs:
                self.as_short(name)
            for _, body in node.graphs:
                for name in captured_names(body):
                    self.as_short(name)
            self.nodes.append(node)

    def add_cast(self, node: Node) -> None:
        """A Cast of a short value reads the wide one, if there is one; to float32 it is that."""
        x = node.inputs[0]
        to = node.attributes.get("to")
        if x not in self.wide and not (to == _FLOAT and self.is_short_constant(x)):
            self.nodes.append(node)
        elif to == _FLOAT:
            identity = replace(node, op_type="Identity", inputs=(self.as_wide(x),), attributes={})
            self.nodes.append(identity)
        else:
            self.nodes.append(replace(node, inputs=(self.wide[x],)))

    def is_short(self, name: str) -> bool:
        return self.types.get(name, "") in _CODES

    def is_short_constant(self, name: str) -> bool:
        return _is_short_tensor(self.constants.get(name))

    def is_widened(self, node: Node) -> bool:
        """Whether a node takes and returns float32 in place of its short floats."""
        values = [name for name in (*node.inputs, *node.outputs) if name]
        kinds = [self.types.get(name, "") for name in values]
        if not any(kind in _CODES for kind in kinds) or node.graphs or node.op_type in _TYPED:
            return False
        if any(not kind or (kind not in _CODES and "float16" in kind) for kind in kinds):
            return False
        if node.is_one_of(*_MOVES):
            inputs = [n for n in node.inputs if self.is_short(n) and not self.is_short_constant(n)]
            if inputs and not any(name in self.wide for name in inputs):
                return False
        return self.follows_inputs(node)

    def follows_inputs(self, node: Node) -> bool:
        """Whether all short inputs may be float32, and the short outputs then are it as well."""
        spec = signature_of(node, self.context)
        if spec is None:
            return False
        variables = set()
        for formals, names in ((spec.inputs, node.inputs), (spec.outputs, node.outputs)):
            for position, name in enumerate(names):
                if not self.is_short(name):
                    continue
                formal = formal_at(formals, position)
                if formal is None or not formal.variable or "float" not in formal.allowed:
                    return False
                if formals is spec.inputs:
                    variables.add(formal.variable)
                elif formal.variable not in variables:
                    return False
        return True

    # ---------------------------------------------------------------------------- the two forms

    def as_short(self, name: str) -> None:
        """Compute the short form of a value, which has the name of the file."""
        if name in self.only_wide:
            self.nodes.append(_cast(self.wide[name], name, _CODES[self.types[name]]))
            self.only_wide.remove(name)

    def as_wide(self, name: str) -> str:
        """The name of the wide form of a value, which is computed if it hasn't been."""
        if name in self.wide:
            return self.wide[name]
        result = self.name_wide(name)
        constant = self.constants.get(name)
        if _is_short_tensor(constant):
            self.added[result] = _widen_constant(constant)
        else:
            self.nodes.append(_cast(name, result, _FLOAT))
        return result

    def new_wide(self, name: str) -> str:
        self.only_wide.add(name)
        return self.name_wide(name)

    def name_wide(self, name: str) -> str:
        result = f"{name}/float32"
        while result in self.types:
            result += "'"
        self.types[result] = "float"
        self.wide[name] = result
        return result


def _widen_constant(tensor: Tensor) -> Tensor:
    if tensor not in _widened:
        take(2 * tensor.array.nbytes)
        array = wide(tensor.array)
        array.flags.writeable = False
        _widened[tensor] = Tensor(tensor.name, _FLOAT, array)
    return _widened[tensor]
