"""A graph becomes a Plan: names become slots, attributes are bound, lifetimes are decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import current, tick
from onnxwalk.interpreter.compiler.context import Context, captured
from onnxwalk.interpreter.ir.model import Graph, Node, SparseTensor, Tensor, ValueInfo
from onnxwalk.interpreter.ir.plan import NOTHING, Plan, Step
from onnxwalk.interpreter.runtime.cache import BoundPlans
from onnxwalk.interpreter.runtime.walk import Walked, execute, walk
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.graphs import Calls
from onnxwalk.ops.contract.needs import Need, nothing, usual


def compile_graph(
    graph: Graph,
    context: Context,
    *,
    inputs: Sequence[str],
    outer_constants: Mapping[str, np.ndarray] | None = None,
    optimize: bool = True,
) -> Plan:
    """The plan of a checked and resolved graph.

    ``inputs`` names what a run fills. Any other initializer is a constant, and so is what
    ``outer_constants`` holds and the graph doesn't define. With ``optimize``, operators whose
    constants can be prepared are.
    """
    return _Compiler(graph, context, inputs, outer_constants or {}, optimize).plan()


def constant_arrays(graph: Graph) -> dict[str, np.ndarray]:
    """The initializers as arrays."""
    return {name: as_array(tensor) for name, tensor in graph.initializers.items()}


def as_array(tensor: Tensor | SparseTensor) -> np.ndarray:
    """A constant as a read-only array that NumPy computes with at full speed."""
    budget = current()
    if isinstance(tensor, SparseTensor):
        if budget is not None:
            budget.take(math.prod(tensor.shape) * tensor.values.array.itemsize)
        array = tensor.to_dense()
    elif tensor.array.flags.aligned:
        array = tensor.array
    else:
        # A file aligns nothing; unaligned operands cost more at every run than one copy does now.
        if budget is not None:
            budget.take(tensor.array.nbytes)
        array = tensor.array.copy()
    array.flags.writeable = False
    return array


#: values of a constant that may say how large a result gets (a shape, pads)
_FEW = 64
#: what an operator prepares from its constants takes at most, relative to them (Winograd's weights
#: are 7 times as many, 8 bytes each while they are computed)
_PREPARED = 16


class _Compiler:
    def __init__(
        self,
        graph: Graph,
        context: Context,
        inputs: Sequence[str],
        outer_constants: Mapping[str, np.ndarray],
        optimize: bool,
    ) -> None:
        self.graph = graph
        self.context = context
        self.optimize = optimize
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
        needs = self.needs(node, operator, names)
        calls = getattr(call, "calls", None)
        return Step(call, inputs, outputs, (), node, operator, bind, bodies, taken, needs, calls)

    def needs(
        self, node: Node, operator: Operator, names: Sequence[str]
    ) -> Callable[..., Need] | None:
        """What a call takes, of the inputs that it gets. Constants that it has taken in already
        are stood for by zeros of their shape, which take no memory."""
        rule = operator.needs
        if rule is usual or rule is nothing:
            return None if rule is usual else rule
        if not node.graphs:
            keywords = bound_attributes(node, operator, self.context)
            rule = partial(rule, **keywords) if keywords else rule
        if len(names) >= len(node.inputs):
            return rule
        taken = [
            _outline(self.constants[name]) if name in self.constants else None
            for name in node.inputs
        ]
        kept = [position for position, name in enumerate(node.inputs) if name in set(names)]

        def of_all(*rest: Any) -> Need:
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
            call = _with_bodies(function, len(node.inputs), bodies, self.optimize, loops)
            return call, None, [*node.inputs, *captured_names]
        if self.optimize and operator.preparation is not None:
            prepared = self.prepare(node, operator, operator.preparation, keywords)
            if prepared is not None:
                return prepared
        binder = operator.binder if self.optimize else None
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
        plan = compile_graph(
            graph,
            self.context,
            inputs=[*(value.name for value in graph.inputs), *outer],
            outer_constants=inner_constants,
            optimize=self.optimize,
        )
        return plan, outer


def bound_attributes(node: Node, operator: Operator, context: Context) -> dict[str, Any]:
    """The keyword arguments of a node's call, but for its subgraphs."""
    graphs = {name for name, _ in node.graphs}
    keywords = {
        name: as_array(value) if isinstance(value, (Tensor, SparseTensor)) else value
        for name, value in node.attributes.items()
        if name not in graphs
    }
    if "n_outputs" in operator.reserved:
        used = [i for i, name in enumerate(node.outputs, 1) if name]
        keywords["n_outputs"] = max(used, default=0)
    if "rng" in operator.reserved:
        keywords["rng"] = context.rng
    return keywords


def _outline(array: np.ndarray) -> np.ndarray:
    """A constant's shape and type, with its values only if they are few."""
    if array.size <= _FEW:
        return array
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


class Body:
    """A subgraph as an operator calls it: positional inputs in, a tuple of outputs out."""

    def __init__(
        self,
        plan: Plan,
        captured_values: Sequence[Any],
        bound: BoundPlans | None = None,
        loops: bool = False,
    ) -> None:
        self._plan = plan
        self._captured = captured_values
        self._bound = bound
        self._loops = loops

    def walk(self, inputs: Sequence[Any], inside: Callable[..., Walked]) -> Walked:
        """As a call, but step by step."""
        budget = current()
        if budget is not None and self._loops:
            budget.iteration()
        results = yield from walk(self._plan, [*inputs, *self._captured], inside)
        if budget is not None:
            budget.hold(results)
        return tuple(results)

    @property
    def output_types(self) -> tuple[Any, ...]:
        """The declared type of each output (``dtype`` and ``shape``), ``None`` if not declared."""
        return self._plan.output_types

    @staticmethod
    def reserve(nbytes: int) -> None:
        """The operator is going to take so much memory for what it collected. Raises LimitError if
        there isn't as much, or not the time to fill it."""
        if (budget := current()) is not None:
            budget.tick(nbytes)
            budget.reserve(nbytes)

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        expected = len(self._plan.inputs) - len(self._captured)
        if len(inputs) != expected:
            raise ValueError(f"the subgraph takes {expected} inputs, not {len(inputs)}")
        arguments = [*inputs, *self._captured]
        budget = current()
        if budget is not None and self._loops:
            budget.iteration()
        if self._bound is None:
            results = execute(self._plan, arguments)
        else:
            results = self._bound.call(self._plan, arguments)
        if budget is not None:
            budget.hold(results)
        return tuple(results)


def _with_bodies(
    function: partial[Any],
    n_inputs: int,
    bodies: dict[str, tuple[Plan, list[str]]],
    optimize: bool,
    loops: bool,
) -> Callable[..., Any]:
    """The function of a node's inputs followed by what its subgraphs take from outside; and, as its
    attribute, what ``Step.calls`` is."""
    parts = []
    position = n_inputs
    for name, (plan, names) in bodies.items():
        outer = slice(position, position + len(names))
        parts.append((name, plan, outer, BoundPlans() if optimize else None))
        position = outer.stop

    def graphs(values: Sequence[Any]) -> dict[str, Body]:
        return {name: Body(plan, values[outer], bound, loops) for name, plan, outer, bound in parts}

    def call(*values: Any) -> Any:
        return function(*values[:n_inputs], **graphs(values))

    generator = getattr(function.func, "calls", None)
    if generator is not None:

        def calls(*values: Any) -> tuple[dict[str, Body], Calls[Any]]:
            found = graphs(values)
            return found, generator(*values[:n_inputs], **function.keywords, **found)

        call.__dict__["calls"] = calls
    return call


def _with_releases(steps: list[Step], keep: set[int]) -> tuple[Step, ...]:
    """The steps, each with the slots that nothing after it reads."""
    result, alive = [], set(keep)
    for step in reversed(steps):
        touched = {*step.inputs, *step.outputs}
        result.append(step._replace(release=tuple(sorted(touched - alive))))
        alive |= touched
    return tuple(reversed(result))


def output_infos(graph: Graph, names: Sequence[str]) -> tuple[ValueInfo, ...]:
    """ValueInfos of any of a graph's values, with the types that the file declares."""
    declared = {v.name: v for v in (*graph.value_info.values(), *graph.inputs, *graph.outputs)}
    return tuple(declared.get(name, ValueInfo(name)) for name in names)
