"""A model that is known to be runnable, and the plans that are made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from onnxwalk.interpreter.compiler.check import check, check_graph
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.inline import inline_functions
from onnxwalk.interpreter.compiler.lower import lower
from onnxwalk.interpreter.compiler.passes import REWRITES, apply_rewrites
from onnxwalk.interpreter.compiler.resolve import resolve
from onnxwalk.interpreter.compiler.types import type_problems
from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.ir.model import Graph, Model, TensorType, ValueInfo
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.ops.shared.numpy_state import computing


class Program:
    """A checked model, free of function calls: ``graph``. Plans are made once for each set of
    inputs and outputs, and used by every run that asks for the same."""

    def __init__(
        self, model: Model, context: Context, rewrites: Collection[str], bind: bool
    ) -> None:
        """``bind``: whether plans are to be bound to shapes (``lower``).

        Raises InvalidModelError or UnsupportedModelError with all that is wrong.
        """
        self.context = context
        self.graph = _checked(model, context)
        self._rewrites, self._bind = tuple(rewrites), bind
        self._plans: dict[tuple[tuple[str, ...], tuple[str, ...] | None, bool], Plan] = {}

    def plan(
        self, inputs: Sequence[str], outputs: Sequence[str] | None, *, as_written: bool = False
    ) -> Plan:
        """The plan that computes ``outputs`` from ``inputs``: names of any values of the graph;
        ``None``: its outputs. ``as_written``: without rewrites, each node by its plain function.

        Raises InvalidInputError for names that there aren't.
        """
        key = (tuple(inputs), None if outputs is None else tuple(outputs), as_written)
        plan = self._plans.get(key)
        if plan is None:
            graph = self._between(inputs, outputs)
            rewrites = () if as_written else self._rewrites
            with computing():  # what is computed here are values too
                *_, (_, graph) = [("", graph), *apply_rewrites(graph, self.context, rewrites)]
                bind = self._bind and not as_written
                plan = lower(graph, self.context, inputs=inputs, bind=bind)
            self._plans[key] = plan
        return plan

    def rewrite_stages(self) -> list[tuple[str, Graph]]:
        """The graph that a run of all outputs begins with (under ""), and what each rewrite makes
        of it, under its name; all rewrites, where the program itself has none."""
        inputs = [v.name for v in self.graph.inputs if v.name not in self.graph.initializers]
        graph = self._between(inputs, None)
        with computing():
            return [("", graph), *apply_rewrites(graph, self.context, self._rewrites or REWRITES)]

    def check_types(self, types: Mapping[str, TensorType]) -> None:
        """Whether operators take inputs of these types. Raises InvalidInputError."""
        inputs = tuple(replace(v, type=types.get(v.name, v.type)) for v in self.graph.inputs)
        problems = type_problems(replace(self.graph, inputs=inputs), self.context)
        if problem := next(problems, None):
            raise InvalidInputError(problem.text)

    def _between(self, inputs: Sequence[str], outputs: Sequence[str] | None) -> Graph:
        """The graph with these inputs and outputs, of the types that the file declares."""
        graph, given = self.graph, set(inputs)
        found = graph.outputs
        if outputs is not None:
            values = (*graph.value_info.values(), *graph.inputs, *graph.outputs)
            declared = {value.name: value for value in values}
            known = {name for node in graph.nodes for name in node.outputs if name}
            known |= {value.name for value in graph.inputs} | set(graph.initializers)
            for name in outputs:
                if name not in known:
                    raise InvalidInputError(f"no value is named {name!r}{suggest(name, known)}")
            found = tuple(declared.get(name, ValueInfo(name)) for name in outputs)
        kept = tuple(value for value in graph.inputs if value.name in given)
        return replace(graph, inputs=kept, outputs=found)


def _checked(model: Model, context: Context) -> Graph:
    """The model's graph, known to be well formed, free of function calls and runnable."""
    check(model)
    graph = inline_functions(model)
    if model.functions:  # what comes out of a body may have a name that is there already
        check_graph(graph, model.source)
    resolve(graph, model, context)
    return graph
