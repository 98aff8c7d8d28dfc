"""Turns a graph into a Plan: names become slots, attributes are bound, lifetimes determined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import current_budget, tick
from onnxwalk.interpreter.compiler.bodies import add_bodies
from onnxwalk.interpreter.compiler.constants import (
    as_array,
    operator_keywords,
    shape_stand_in,
)
from onnxwalk.interpreter.compiler.context import Context, captured_names
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.runtime import fallback
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

    ``inputs``: the names of the values that a run provides. Initializers not among them are
    constants, and so are ``outer_constants`` unless the graph defines the name itself. ``bind``:
    whether the plan will be bound to shapes; then constants are prepared as well.
    """
    return _Lowering(graph, context, inputs, outer_constants or {}, bind).plan()


#: the most memory that preparing constants uses, relative to their size (Winograd's weights are 7
#: times as many, of 8 bytes each while they are computed)
_PREPARED = 16
#: bytes of constants, of which the file's pages are released when they have been laid out
_LARGE = 1 << 18


class _Constants(dict[str, np.ndarray]):
    """The constants of a graph by name. Those of the file become arrays when first asked for: many
    are unaligned, which makes it a copy, and many aren't read any more."""

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        tensors: Mapping[str, Tensor | SparseTensor],
        context: Context,
    ) -> None:
        super().__init__(arrays)
        self._tensors, self._context = tensors, context

    def __contains__(self, name: object) -> bool:
        return name in self._tensors or super().__contains__(name)

    def __missing__(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        array = self._context.aligned.get(tensor)  # of another plan, which has it still
        if array is None:
            array = self._context.aligned[tensor] = as_array(tensor)
            if array.base is None and array.nbytes >= _LARGE:
                self._context.release()
        self[name] = array
        return array

    def as_stored(self, name: str) -> np.ndarray | None:
        """The constant, unaligned where the file's data is; ``None`` if there is none."""
        tensor = self._tensors.get(name)
        if isinstance(tensor, Tensor):
            array = tensor.array.view()
            array.flags.writeable = False
            return array
        return self.get(name) if tensor is None else self[name]


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
        own = {n: t for n, t in graph.initializers.items() if n not in set(inputs)}
        defined = {name for node in graph.nodes for name in node.outputs}.union(inputs, own)
        outer = {n: a for n, a in outer_constants.items() if n not in defined}
        self.constants = _Constants(outer, own, context)

    def plan(self) -> Plan:
        steps = []
        for node in self.graph.nodes:
            tick()
            steps.append(self.step(node))
        outputs = tuple(self.read(value.name) for value in self.graph.outputs)
        constants = {slot for name, slot in self.slots.items() if name in self.constants}
        return Plan(
            inputs=self.input_slots,
            outputs=outputs,
            steps=_with_releases(steps, keep={NOTHING, *outputs, *constants}),
            template=self.template,
            names={name: slot for name, slot in self.slots.items() if name},
            output_types=tuple(value.type for value in self.graph.outputs),
            declared_inputs=tuple(self.graph.inputs),
        )

    def define(self, name: str) -> int:
        """A new slot for a value."""
        if not name:
            return NOTHING
        self.slots[name] = len(self.template)
        self.template.append(None)
        return self.slots[name]

    def read(self, name: str) -> int:
        """The slot of a value; that of a constant is created on its first use."""
        if name not in self.slots and name in self.constants:
            self.template[self.define(name)] = self.constants[name]
        return self.slots[name]

    def step(self, node: Node) -> Step:
        operator = self.context.operator(node)
        assert operator is not None, "resolve() has looked up every operator"
        graphs = {name: self.body(graph) for name, graph in node.graphs}
        keywords = operator_keywords(node, operator, self.context)
        call, bind, names = self.call(node, operator, keywords, graphs)
        bodies = {name: (plan, len(outer)) for name, (plan, outer) in graphs.items()}
        inputs = tuple(self.read(name) for name in names)
        outputs = tuple(self.define(name) for name in node.outputs)
        while outputs[1:] and outputs[-1] == NOTHING:  # operators may omit unnamed outputs
            outputs = outputs[:-1]
        absorbed: tuple[Any, ...] = ()
        if len(names) < len(node.inputs):
            absorbed = tuple(
                (name, array.shape, array.dtype)
                for name in node.inputs
                if name not in names and (array := self.constants.as_stored(name)) is not None
            )
        cost = self.cost(node, operator, keywords, names)
        calls = getattr(call, "calls", None)
        moving = operator.moving_binder if self.bind and names is node.inputs else None
        if moving is not None:
            moving = partial(moving, **keywords)
        return Step(
            call, inputs, outputs, (), node, operator, bind, bodies, absorbed, cost, calls, moving
        )

    def cost(
        self, node: Node, operator: Operator, keywords: dict[str, Any], names: Sequence[str]
    ) -> Callable[..., Cost] | None:
        """The cost of a call as a function of its inputs. In place of constants that the call has
        absorbed, the operator's rule gets stand-ins."""
        rule = operator.cost
        if rule is default_cost or rule is no_cost:
            return None if rule is default_cost else rule
        if keywords and not node.graphs:
            rule = partial(rule, **keywords)
        if len(names) >= len(node.inputs):
            return rule
        stand_ins = [
            None if (array := self.constants.as_stored(name)) is None else shape_stand_in(array)
            for name in node.inputs
        ]
        positions = [position for position, name in enumerate(node.inputs) if name in set(names)]

        def cost(*values: Any) -> Cost:
            inputs = list(stand_ins)
            for position, value in zip(positions, values, strict=False):
                inputs[position] = value
            return rule(*inputs)

        return cost

    def call(
        self,
        node: Node,
        operator: Operator,
        keywords: dict[str, Any],
        bodies: dict[str, tuple[Plan, list[str]]],
    ) -> tuple[Callable[..., Any], Callable[..., Any] | None, Sequence[str]]:
        """The function of a node's values, its binder, and the names of the values."""
        if bodies:
            function = partial(operator.function, **keywords)
            outer_names = [name for _, names in bodies.values() for name in names]
            call = add_bodies(function, len(node.inputs), bodies, self.bind, operator.subgraphs)
            return call, None, [*node.inputs, *outer_names]
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
        """As ``call``, with the constants prepared; ``None`` if they can't be."""
        named = {i.name: n for i, n in zip(operator.inputs, node.inputs, strict=False)}
        names = [named.get(name, "") for name in preparation.constants]
        if any(name and name not in self.constants for name in names):
            return None
        constants = [
            self.constants.as_stored(name)
            if not name or i in operator.lays_out
            else self.constants[name]
            for i, name in zip(preparation.constants, names, strict=True)
        ]
        nbytes = sum(x.nbytes for x in constants if x is not None)
        budget = current_budget()
        try:
            if budget is not None:
                budget.reserve(_PREPARED * nbytes)
            call = preparation.function(*constants, **keywords)
        except Exception as error:  # a run that reaches the node raises the error, or tells of it
            if (text := fallback.defect(error, f"the preparation of {node.op_type}")) is None:
                return None
            return _unprepared(partial(operator.function, **keywords), text), None, node.inputs
        if call is None:  # the operator declines these constants or attributes
            return None
        rest = [n for i, n in named.items() if i not in preparation.constants]
        bind = getattr(call, "bind", None)
        if bind is not None and operator.lays_out and nbytes >= _LARGE:
            bind = _releasing(bind, self.context.release)
        return call, bind, rest

    def body(self, graph: Graph) -> tuple[Plan, list[str]]:
        """The plan of a subgraph, and the outer names that follow its own inputs."""
        names = captured_names(graph)
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


def _unprepared(function: Callable[..., Any], text: str) -> Callable[..., Any]:
    """The function of a node whose preparation failed, which says so if it doesn't fail itself."""

    def call(*values: Any) -> Any:
        results = function(*values)
        fallback.add(text)
        return results

    return call


def _releasing(bind: Callable[..., Any], release: Callable[[], None]) -> Callable[..., Any]:
    """The binder, and then ``release``: what it laid out anew needn't stay in memory twice."""

    @wraps(bind)
    def bind_and_release(*arguments: Any) -> Any:
        results = bind(*arguments)
        release()
        return results

    return bind_and_release


def _with_releases(steps: list[Step], keep: set[int]) -> tuple[Step, ...]:
    """The steps, each with the slots that no later step reads."""
    result, alive = [], set(keep)
    for step in reversed(steps):
        slots = {*step.inputs, *step.outputs}
        result.append(step._replace(release=tuple(sorted(slots - alive))))
        alive |= slots
    return tuple(reversed(result))
