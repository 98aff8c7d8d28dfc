"""A graph becomes a Plan: names become slots, attributes are bound, lifetimes are decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import current, tick
from onnxwalk.interpreter.compiler.bodies import with_bodies
from onnxwalk.interpreter.compiler.constants import bound_attributes, constant_arrays, outline
from onnxwalk.interpreter.compiler.context import Context, captured
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.cost import Cost, default_cost, no_cost


def lower(
    graph: Graph,
    context: Context,
    *,
    inputs: Sequence[str],
    outer_constants: Mapping[str, np.ndarray] | None = None,
    bind: bool = True,
) -> Plan:
    """The plan of a checked and resolved graph.

    ``inputs`` names what a run fills. Any other initializer is a constant, and so is what
    ``outer_constants`` holds and the graph doesn't define. ``bind``: whether the plan is to be
    bound to shapes; operators whose constants can be prepared then are.
    """
    return _Lowering(graph, context, inputs, outer_constants or {}, bind).plan()


#: what an operator prepares from its constants takes at most, relative to them (Winograd's weights
#: are 7 times as many, 8 bytes each while they are computed)
_PREPARED = 16


class _Lowering:
    def __init__(
        self,
        graph: Graph,
        context: Context,
        inputs: Sequence[str],
        outer_constants: Mapping[str, np.ndarray],
        bind: bool,
    ) -> None:
        self.graph = graph
        self.context = context
        self.bind = bind
        self.template: list[Any] = [None]
        self.slots: dict[str, int] = {"": NOTHING}
        self.input_slots = tuple(self.define(name) for name in inputs)
        own = {n: a for n, a in constant_arrays(graph).items() if n not in set(inputs)}
        defined = {name for node in graph.nodes for name in node.outputs} | set(inputs)
        outer = {n: a for n, a in outer_constants.items() if n not in defined}
        self.constants: dict[str, np.ndarray] = {**outer, **own}

    def plan(self) -> Plan:
        steps = []
        for node in self.graph.nodes:
            tick()
            steps.append(self.step(node))
        outputs = tuple(self.read(value.name) for value in self.graph.outputs)
        return Plan(
            inputs=self.input_slots,
            outputs=outputs,
            steps=_with_releases(steps, keep={NOTHING, *outputs, *self.constant_slots()}),
            template=self.template,
            names={name: slot for name, slot in self.slots.items() if name},
            output_types=tuple(value.type for value in self.graph.outputs),
        )

    def define(self, name: str) -> int:
        """A new slot for a value."""
        if not name:
            return NOTHING
        self.slots[name] = len(self.template)
        self.template.append(None)
        return self.slots[name]

    def read(self, name: str) -> int:
        """The slot of a value; a constant gets one when it is first read."""
        if name not in self.slots and name in self.constants:
            self.template[self.define(name)] = self.constants[name]
        return self.slots[name]

    def constant_slots(self) -> set[int]:
        return {slot for name, slot in self.slots.items() if name in self.constants}

    def step(self, node: Node) -> Step:
        operator = self.context.operator(node)
        assert operator is not None, "resolve() has looked up every operator"
        graphs = {name: self.body(graph) for name, graph in node.graphs}
        call, bind, names = self.call(node, operator, graphs)
        bodies = {name: (plan, len(captured)) for name, (plan, captured) in graphs.items()}
        inputs = tuple(self.read(name) for name in names)
        outputs = tuple(self.define(name) for name in node.outputs)
        while outputs[1:] and outputs[-1] == NOTHING:  # an operator needn't give what has no name
            outputs = outputs[:-1]
        taken: tuple[Any, ...] = ()
        if len(names) < len(node.inputs):
            taken = tuple(
                (name, array.shape, array.dtype)
                for name in node.inputs
                if name not in names and (array := self.constants.get(name)) is not None
            )
        cost = self.cost(node, operator, names)
        calls = getattr(call, "calls", None)
        return Step(call, inputs, outputs, (), node, operator, bind, bodies, taken, cost, calls)

    def cost(
        self, node: Node, operator: Operator, names: Sequence[str]
    ) -> Callable[..., Cost] | None:
        """What a call takes, of the inputs that it gets. Constants that it has taken in already
        are stood for by zeros of their shape, which take no memory."""
        rule = operator.cost
        if rule is default_cost or rule is no_cost:
            return None if rule is default_cost else rule
        if not node.graphs:
            keywords = bound_attributes(node, operator, self.context)
            rule = partial(rule, **keywords) if keywords else rule
        if len(names) >= len(node.inputs):
            return rule
        taken = [
            outline(self.constants[name]) if name in self.constants else None
            for name in node.inputs
        ]
        kept = [position for position, name in enumerate(node.inputs) if name in set(names)]

        def of_all(*rest: Any) -> Cost:
            inputs = list(taken)
            for position, value in zip(kept, rest, strict=False):
                inputs[position] = value
            return rule(*inputs)

        return of_all

    def call(
        self, node: Node, operator: Operator, bodies: dict[str, tuple[Plan, list[str]]]
    ) -> tuple[Callable[..., Any], Callable[..., Any] | None, Sequence[str]]:
        """The function of a node's values, how it binds to shapes, and the names of the values."""
        keywords = bound_attributes(node, operator, self.context)
        if bodies:
            function = partial(operator.function, **keywords)
            captured_names = [name for _, names in bodies.values() for name in names]
            loops = operator.subgraphs.branch is None
            call = with_bodies(function, len(node.inputs), bodies, self.bind, loops)
            return call, None, [*node.inputs, *captured_names]
        if self.bind and operator.preparation is not None:
            prepared = self.prepare(node, operator, operator.preparation, keywords)
            if prepared is not None:
                return prepared
        binder = operator.binder if self.bind else None
        if keywords:
            bind = partial(binder, **keywords) if binder else None
            return partial(operator.function, **keywords), bind, node.inputs
        return operator.function, binder, node.inputs

    def prepare(
        self, node: Node, operator: Operator, preparation: Any, keywords: dict[str, Any]
    ) -> tuple[Callable[..., Any], Callable[..., Any] | None, Sequence[str]] | None:
        """The prepared function of the inputs that remain, if the others are constants."""
        named = {i.name: n for i, n in zip(operator.inputs, node.inputs, strict=False)}
        wanted = [named.get(name, "") for name in preparation.constants]
        if any(name and name not in self.constants for name in wanted):
            return None
        constants = [self.constants[name] if name else None for name in wanted]
        budget = current()
        try:
            if budget is not None:
                budget.reserve(_PREPARED * sum(x.nbytes for x in constants if x is not None))
            call = preparation.function(*constants, **keywords)
        except Exception:
            return None  # left as it is: if it is ever reached, the run says what is wrong
        if call is None:  # it declines these constants or attributes
            return None
        rest = [n for i, n in named.items() if i not in preparation.constants]
        return call, getattr(call, "bind", None), rest

    def body(self, graph: Graph) -> tuple[Plan, list[str]]:
        """The plan of a subgraph, and the outer names that it takes after its own inputs."""
        names = captured(graph)
        inner_constants = {n: self.constants[n] for n in names if n in self.constants}
        outer = sorted(name for name in names if name not in inner_constants)
        plan = lower(
            graph,
            self.context,
            inputs=[*(value.name for value in graph.inputs), *outer],
            outer_constants=inner_constants,
            bind=self.bind,
        )
        return plan, outer


def _with_releases(steps: list[Step], keep: set[int]) -> tuple[Step, ...]:
    """The steps, each with the slots that nothing after it reads."""
    result, alive = [], set(keep)
    for step in reversed(steps):
        touched = {*step.inputs, *step.outputs}
        result.append(step._replace(release=tuple(sorted(touched - alive))))
        alive |= touched
    return tuple(reversed(result))
