"""A checked model and the plans that are compiled from it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from onnxwalk.interpreter.compiler.check import check
from onnxwalk.interpreter.compiler.context import Context, every_node
from onnxwalk.interpreter.compiler.inline import inline_functions
from onnxwalk.interpreter.compiler.lower import lower
from onnxwalk.interpreter.compiler.passes import (
    NOT_WALKED,
    REWRITES,
    WITH_GRADIENTS,
    apply_rewrites,
)
from onnxwalk.interpreter.compiler.resolve import resolve
from onnxwalk.interpreter.compiler.types import type_problems
from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.ir.model import Graph, Model, Shape, TensorType, ValueInfo
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.interpreter.names import outputs_of_layers
from onnxwalk.ops.contract.records import replace
from onnxwalk.ops.shared.numpy_state import computing

if TYPE_CHECKING:
    from onnxwalk.interpreter.compiler.gradients.differentiate import Differentiated


class Program:
    """A checked model without function calls: ``graph``. A plan is compiled once for each set of
    inputs and outputs."""

    def __init__(
        self, model: Model, context: Context, rewrites: Collection[str], bind: bool
    ) -> None:
        """``bind``: whether plans will be bound to shapes (``lower``).

        Raises InvalidModelError or UnsupportedModelError with all problems.
        """
        self.context = context
        self.source, self._model = model.source, model
        self.graph = _inline_and_check(model, context)
        self._bind = bind
        self._rewrites = tuple(r for r in rewrites if bind or r not in NOT_WALKED)
        self._plans: dict[tuple[tuple[str, ...], tuple[str, ...] | None, bool], Plan] = {}

    def plan(
        self, inputs: Sequence[str], outputs: Sequence[str] | None, *, as_written: bool = False
    ) -> Plan:
        """The plan that computes ``outputs`` from ``inputs``: names of any values of the graph;
        ``None``: its outputs. ``as_written``: without rewrites, each node by its plain function.

        Raises InvalidInputError for unknown names.
        """
        if outputs is not None and list(outputs) == [value.name for value in self.graph.outputs]:
            outputs = None  # a plan of their own would have its own copy of large weights
        key = (tuple(inputs), None if outputs is None else tuple(outputs), as_written)
        plan = self._plans.get(key)
        if plan is None:
            graph = self._between(inputs, outputs)
            rewrites = () if as_written else self._rewrites
            with computing():  # folding and preparing constants compute as well
                *_, (_, graph) = [("", graph), *apply_rewrites(graph, self.context, rewrites)]
                bind = self._bind and not as_written
                plan = lower(graph, self.context, inputs=inputs, bind=bind)
            self._plans[key] = plan
        return plan

    def gradients(
        self, of: str, with_respect_to: Sequence[str], *, seeded: bool
    ) -> tuple[Program, Differentiated]:
        """A program whose graph also computes gradients, and their names: see ``differentiate``."""
        source = self.source
        # imported where it is needed: most sessions never ask for a gradient
        from onnxwalk.interpreter.compiler.gradients.differentiate import differentiate

        of, *names = self.value_names([of, *with_respect_to])
        found = differentiate(self.graph, self.context, [of], names, seeded=seeded, source=source)
        return self.with_graph(found.graph, has_gradients=True), found

    def with_graph(
        self, graph: Graph, context: Context | None = None, *, has_gradients: bool = False
    ) -> Program:
        """The program of a graph that was made from this one's, which is checked."""
        program = copy.copy(self)
        program.graph, program._plans = graph, {}
        program.context = context or self.context
        if has_gradients:
            program._rewrites = tuple(r for r in self._rewrites if r in WITH_GRADIENTS)
        return program

    def rewrite_stages(self) -> list[tuple[str, Graph]]:
        """The graph of a run of all outputs, named "", and after each rewrite, by the rewrite's
        name. If the program applies no rewrites: after all there are."""
        inputs = [v.name for v in self.graph.inputs if v.name not in self.graph.initializers]
        graph = self._between(inputs, None)
        with computing():
            return [("", graph), *apply_rewrites(graph, self.context, self._rewrites or REWRITES)]

    def output_shapes(self, inputs: Sequence[ValueInfo]) -> list[Shape | None]:
        """As ``infer_output_shapes``, of the program's graph."""
        from onnxwalk.interpreter.compiler.shapes import infer_output_shapes  # seldom needed

        return infer_output_shapes(self.graph, inputs, self.context)

    def check_types(self, types: Mapping[str, TensorType]) -> None:
        """Check that operators accept inputs of these types. Raises InvalidInputError."""
        inputs = tuple(replace(v, type=types.get(v.name, v.type)) for v in self.graph.inputs)
        problems = type_problems(replace(self.graph, inputs=inputs), self.context)
        if problem := next(problems, None):
            raise InvalidInputError(problem.text)

    def value_names(self, names: Sequence[str]) -> list[str]:
        """Names of values; a Keras layer's stands for that of its output, unless a value has it.

        Raises InvalidInputError for a name of neither.
        """
        graph = self.graph
        known = {name for node in graph.nodes for name in node.outputs if name}
        known |= {value.name for value in graph.inputs} | set(graph.initializers)
        if known.issuperset(names):
            return list(names)
        layers = outputs_of_layers(self._model, graph)
        if unknown := [name for name in names if name not in known and name not in layers]:
            hint = suggest(unknown[0], known | layers.keys())
            raise InvalidInputError(f"no value is named {unknown[0]!r}{hint}")
        return [name if name in known else layers[name] for name in names]

    def _between(self, inputs: Sequence[str], outputs: Sequence[str] | None) -> Graph:
        """The graph with these inputs and outputs, of the types that the file declares."""
        graph = self.graph
        output_infos = graph.outputs
        if outputs is not None:
            values = (*graph.value_info.values(), *graph.inputs, *graph.outputs)
            declared = {value.name: value for value in values}
            names = self.value_names(outputs)
            output_infos = tuple(declared.get(name, ValueInfo(name)) for name in names)
        input_infos = tuple(value for value in graph.inputs if value.name in set(inputs))
        return replace(graph, inputs=input_infos, outputs=output_infos)


def _inline_and_check(model: Model, context: Context) -> Graph:
    """The model's graph without function calls. Raises if it isn't valid and supported."""
    check(model)
    graph = inline_functions(model)
    if model.functions:  # names from a function's body may exist already
        check(replace(model, graph=graph, functions={}))
    resolve(graph, model, context)
    if not any(node.op_type == "Gradient" for node in every_node(graph)):
        return graph
    from onnxwalk.interpreter.compiler.gradients.splice import splice_gradients  # seldom needed

    return splice_gradients(graph, context, model.source)
