"""Adds the nodes to a graph that compute the gradient of one of its values.

Each node between the values in question gets a node of ``onnxwalk.gradient`` that computes its
operator's rule (``ops.contract.gradients``), in the opposite order. The gradient of a value "y" is
the value "gradient of y".
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from onnxwalk.interpreter.compiler.context import Context, captured_names, names_used
from onnxwalk.interpreter.compiler.gradients.bodies import BodyCall
from onnxwalk.interpreter.compiler.gradients.control import BODY_RULES
from onnxwalk.interpreter.compiler.types import type_problems
from onnxwalk.interpreter.errors import InvalidInputError, UnsupportedModelError, suggest
from onnxwalk.interpreter.ir.model import (
    Graph,
    Node,
    OptionalType,
    SequenceType,
    TensorType,
    ValueInfo,
    ValueType,
)
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.derived import FORWARD_DOMAIN, GRADIENT_DOMAIN, derived_domain
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES
from onnxwalk.ops.contract.gradients import Read, Vjp
from onnxwalk.ops.contract.records import record

#: element types that have gradients
FLOATS = frozenset({"float", "double", "float16", "bfloat16"})
_MOST_SHOWN = 5


@record(frozen=True)
class Differentiated:
    """A graph with gradients.

    ``gradients``: the names of their values, in the order asked for; ``""``: none flows there.
    ``seeds``: for each differentiated value the name of the input that it is multiplied by.
    """

    graph: Graph
    gradients: tuple[str, ...]
    seeds: tuple[str, ...] = ()


def differentiate(
    graph: Graph,
    context: Context,
    of: Sequence[str],
    with_respect_to: Sequence[str],
    *,
    seeded: bool = False,
    of_sum: bool = False,
    cut: Collection[str] = (),
    outer_types: Mapping[str, str] | None = None,
    source: str = "model",
) -> Differentiated:
    """The graph with nodes that compute the gradient of the values ``of`` (of their sum, if there
    are several) with respect to others: names of inputs, initializers or inner values.

    Each ``of`` must turn out to be a scalar in a run, unless the graph gets an input for each of
    them (``seeded``) or the gradient is that of the sum of its elements (``of_sum``). ``cut``:
    values that count as constants: no gradient flows through the nodes that compute them.
    ``outer_types``: of a subgraph, the types of the values around it, as ``type_problems`` finds
    them; then values that nothing flows to are no error.

    Raises InvalidInputError for unknown names, values that aren't floating-point numbers, and
    values that ``of`` doesn't depend on; UnsupportedModelError naming every operator in between
    that has no rule.
    """
    work = _Differentiation(
        graph, context, tuple(of), with_respect_to, frozenset(cut), outer_types, source
    )
    return work.result(seeded, of_sum)


def flowing_to(graph: Graph, context: Context, of: str) -> set[str]:
    """The names of the values that the gradient of ``of`` flows to, itself among them.

    Raises InvalidInputError for an unknown name, or a value that has no floating-point numbers.
    """
    work = _Differentiation(graph, context, (of,), (), frozenset(), None, "")
    reached = {of}
    for node in reversed(graph.nodes):
        if not reached.isdisjoint(work._made(node)):
            reached.update(name for _, name in work._carriers(node))
    return reached


@dataclass
class _Visit:
    """A node to go back through: the inputs whose gradients are computed, as positions (of captured
    values: ``None``) and names."""

    node: Node
    operator: Operator
    wanted: list[tuple[int | None, str]]
    dys: list[str] = field(default_factory=list)


class _Differentiation:
    def __init__(
        self,
        graph: Graph,
        context: Context,
        of: tuple[str, ...],
        xs: Sequence[str],
        cut: frozenset[str],
        outer_types: Mapping[str, str] | None,
        source: str,
    ) -> None:
        self.graph, self.context, self.of, self.xs, self.cut = graph, context, of, xs, cut
        self.source, self.is_inner = source, outer_types is not None
        self.types: dict[str, str] = dict(outer_types or {})
        for _ in type_problems(graph, context, self.types):
            pass
        inner = [name for node in graph.nodes for name in node.outputs if name]
        outer = [*(value.name for value in graph.inputs), *graph.initializers]
        self.known = {*outer, *inner, *captured_names(graph)}
        self._taken = set(self.known)
        self._check_names()
        self._names: dict[str, str] = {}  # the gradient of each value
        self._parts: dict[str, list[str]] = {}  # what its gradient is the sum of
        self._shapes: dict[str, str] = {}  # the values that have the shape and type of others
        self._forward: dict[Node, Node] = {}  # nodes that are replaced

    def result(self, seeded: bool, of_sum: bool) -> Differentiated:
        visits = self._visits()
        ways = dict.fromkeys(self.of, 1)
        for visit in visits:
            for _, name in visit.wanted:
                ways[name] = ways.get(name, 0) + 1
        seeds = [self._unique(f"seed of {name}") if seeded else "" for name in self.of]
        backward = [
            self._seed(name, seed, of_sum, ways) for name, seed in zip(self.of, seeds, strict=True)
        ]
        for visit in visits:
            backward += self._sums(visit.node.outputs)
            visit.dys = [self._names.get(name, "") for name in visit.node.outputs]
            backward += self._back(visit, ways)
        backward += self._sums(self.xs)
        inputs = self.graph.inputs
        if seeded:
            added = zip(self.of, seeds, strict=True)
            inputs += tuple(ValueInfo(seed, self._type_of(name)) for name, seed in added)
        graph = replace(self.graph, nodes=(*self._with_shapes(), *backward), inputs=inputs)
        gradients = tuple(self._names.get(x, "") for x in self.xs)
        return Differentiated(graph, gradients, tuple(seeds) if seeded else ())

    def _type_of(self, name: str) -> ValueType:
        return _type_named(self.types.get(name, ""))

    # ------------------------------------------------------------------------- what is between

    def _check_names(self) -> None:
        for name in (*self.of, *self.xs):
            if name not in self.known:
                raise InvalidInputError(f"no value is named {name!r}{suggest(name, self.known)}")
            if not self._is_real(name):
                raise InvalidInputError(
                    f"{name!r} is {self.types[name]}: only floating-point numbers have gradients"
                )

    def _is_real(self, name: str) -> bool:
        """Whether a value can have a gradient: it has floating-point numbers, or isn't known."""
        kind = self.types.get(name, "")
        return not kind or kind.rpartition("(")[2].rstrip(")") in FLOATS

    def _visits(self) -> list[_Visit]:
        """The nodes between ``xs`` and ``of``, from back to front."""
        active = set(self.xs)
        for node in self.graph.nodes:
            if any(name in active for _, name in self._carriers(node)):
                active.update(filter(self._is_real, self._made(node)))
        needed = set(self.of)
        visits = []
        for node in reversed(self.graph.nodes):
            if needed.isdisjoint(self._made(node)):
                continue
            wanted = [way for way in self._carriers(node) if way[1] in active]
            if wanted:
                operator = self.context.operator(node)
                assert operator is not None, "resolve() has looked up every operator"
                visits.append(_Visit(node, operator, wanted))
                needed.update(name for _, name in wanted)
        if not self.is_inner:
            self._check_paths(needed)
        self._check_rules(visits, needed)
        return visits

    def _made(self, node: Node) -> list[str]:
        return [name for name in node.outputs if name and name not in self.cut]

    def _carriers(self, node: Node) -> Iterator[tuple[int | None, str]]:
        """The inputs of a node through which gradients flow."""
        operator = self.context.operator(node)
        assert operator is not None, "resolve() has looked up every operator"
        if operator.has_no_gradient:
            return
        formal = operator.inputs
        for position, name in enumerate(node.inputs):
            if not name or not self._is_real(name):
                continue
            expected = formal[min(position, len(formal) - 1)].name if formal else ""
            if expected not in operator.without_gradient:
                yield position, name
        captured = (captured_names(inner) for _, inner in node.graphs)
        for name in sorted(set().union(*captured)):
            if self._is_real(name):
                yield None, name

    def _check_paths(self, reached: set[str]) -> None:
        """Raise InvalidInputError if ``of`` doesn't depend on one of the values."""
        for x in self.xs:
            if x in reached:
                continue
            behind = {x}
            blocked: list[str] = []
            for node in self.graph.nodes:
                if not behind.isdisjoint(names_used(node)):
                    behind.update(self._made(node))
                    operator = self.context.operator(node)
                    if operator is not None and operator.has_no_gradient:
                        blocked.append(f"{node.op_type} '{node.label}'")
            of = " + ".join(map(repr, self.of))
            if behind.isdisjoint(self.of):
                raise InvalidInputError(f"{of} doesn't depend on {x!r}")
            through = f": {', '.join(blocked[:_MOST_SHOWN])}" if blocked else ""
            raise InvalidInputError(
                f"{of} depends on {x!r} only through operators without a gradient{through}"
            )

    def _check_rules(self, visits: Iterable[_Visit], needed: set[str]) -> None:
        """Raise UnsupportedModelError naming every operator that has no rule."""
        missing: dict[str, list[str]] = {}
        for visit in visits:
            node, vjp = visit.node, visit.operator.vjp
            what = node.operator_name
            if (node.domain, node.op_type) in BODY_RULES:
                continue
            if vjp is not None and not node.graphs:
                count = len(node.outputs) if vjp.gradients is None else vjp.gradients
                if needed.isdisjoint(node.outputs[count:]):
                    continue
                what += f" by its output {count + 1}"
            missing.setdefault(what, []).append(f"'{node.label}'")
        if missing:
            listed = "; ".join(
                f"{what} ({', '.join(labels[:_MOST_SHOWN])}{', …' * (len(labels) > _MOST_SHOWN)})"
                for what, labels in sorted(missing.items())
            )
            raise UnsupportedModelError(
                f"{self.source}: no gradient of {' + '.join(map(repr, self.of))}: there is no rule "
                f"for {listed}"
            )

    # -------------------------------------------------------------------------------- the nodes

    def _seed(self, of: str, given: str, of_sum: bool, ways: Mapping[str, int]) -> Node:
        (name,) = self._new_parts([of], ways)
        inputs = (of, given) if given else (of,)
        return _helper("Seed", inputs, name, {"of_sum": 1} if of_sum else {})

    def _new_parts(self, names: Iterable[str], ways: Mapping[str, int]) -> list[str]:
        """For each value the name of one summand of its gradient: the only one, if there is one
        way only."""
        parts = []
        for name in names:
            if ways[name] == 1:
                part = self._names[name] = self._unique(f"gradient of {name}")
            else:
                known = self._parts.setdefault(name, [])
                part = self._unique(f"gradient of {name}, part {len(known) + 1}")
                known.append(part)
            parts.append(part)
        return parts

    def _sums(self, names: Iterable[str]) -> Iterator[Node]:
        """The nodes that add up the gradients of values, which are complete."""
        for name in names:
            if parts := self._parts.pop(name, None):
                self._names[name] = self._unique(f"gradient of {name}")
                yield _helper("SumOfGradients", parts, self._names[name])

    def _back(self, visit: _Visit, ways: Mapping[str, int]) -> list[Node]:
        """The nodes that compute the gradients of a node's inputs."""
        node, vjp = visit.node, visit.operator.vjp
        outputs = self._new_parts((name for _, name in visit.wanted), ways)
        body_rule = BODY_RULES.get((node.domain, node.op_type))
        if body_rule is not None:
            wanted = [(*way, part) for way, part in zip(visit.wanted, outputs, strict=True)]
            call = BodyCall(
                node,
                visit.dys,
                wanted,
                self.context,
                self.types,
                self._unique,
                self._is_real,
                differentiate,
            )
            self._forward[node], added = body_rule(call)
            return added
        assert vjp is not None, "_check_rules has looked"
        forward = self._keeping(visit, vjp)
        groups = [visit.dys[: vjp.gradients]]
        positions = {position for position, _ in visit.wanted}
        for read in vjp.reads:
            is_read = not positions.isdisjoint(vjp.read_for.get(read.parameter, positions))
            groups.append(list(self._read(read, node, forward)) if is_read else [""])
        formal = visit.operator.inputs
        variadic = bool(formal) and formal[-1].variadic
        count = len(node.inputs) if variadic else len(formal)
        attributes = {
            **node.attributes,
            "counts": [len(group) for group in groups],
            "wanted": [int(position in positions) for position in range(count)],
        }
        return [
            Node(
                node.op_type,
                tuple(itertools.chain.from_iterable(groups)),
                tuple(outputs),
                attributes,
                name=f"gradient of {node.label}",
                domain=derived_domain(GRADIENT_DOMAIN, node.domain),
                opset=self.context.opset(node),
            )
        ]

    def _keeping(self, visit: _Visit, vjp: Vjp) -> Node:
        """The node, changed so that it has all outputs that the rule reads."""
        node = visit.node
        forward = visit.operator.facts.of_gradient("forward_keeping")
        outputs = list(node.outputs)
        read = [r.position for r in vjp.reads if r.from_outputs and not r.variadic]
        outputs += [""] * (max(read, default=-1) + 1 - len(outputs))
        for position in read:
            if position >= 0 and not outputs[position]:
                outputs[position] = self._unique(f"{node.label}, output {position + 1}")
        if forward is not None:
            kept = [self._unique(f"{name} of {node.label}") for name in forward.keeps]
            changed = replace(
                node,
                outputs=(*outputs, *kept),
                attributes={**node.attributes, "own_outputs": len(outputs)},
                domain=derived_domain(FORWARD_DOMAIN, node.domain),
                opset=self.context.opset(node),
            )
        else:
            changed = replace(node, outputs=tuple(outputs))
        if changed.outputs != node.outputs:
            self._forward[node] = changed
        return changed

    def _read(self, read: Read, node: Node, forward: Node) -> Iterator[str]:
        """The names of the values that a rule reads."""
        outputs = node.outputs if read.variadic else forward.outputs
        for name in read.names(node.inputs, outputs):
            yield self._shape_of(name) if read.meta and name else name

    def _shape_of(self, name: str) -> str:
        if name not in self._shapes:
            self._shapes[name] = self._unique(f"shape of {name}")
        return self._shapes[name]

    def _with_shapes(self) -> Iterator[Node]:
        """The forward nodes; after each, the nodes that keep shapes of its outputs."""
        made = {name for node in self._forward_nodes() for name in node.outputs}
        yield from (self._shape_node(name) for name in self._shapes if name not in made)
        for node in self._forward_nodes():
            yield node
            yield from (self._shape_node(name) for name in node.outputs if name in self._shapes)

    def _forward_nodes(self) -> Iterator[Node]:
        return (self._forward.get(node, node) for node in self.graph.nodes)

    def _shape_node(self, name: str) -> Node:
        return _helper("ShapeAndType", (name,), self._shapes[name])

    def _unique(self, name: str) -> str:
        """The name, with a number if the graph has it already."""
        numbered = itertools.chain([name], (f"{name} ({n})" for n in itertools.count(2)))
        found = next(n for n in numbered if n not in self._taken)
        self._taken.add(found)
        return found


def _type_named(kind: str) -> ValueType:
    """The type that ``types.type_name`` gives this name."""
    outer, _, inner = kind.partition("(")
    if outer == "seq":
        return SequenceType(_type_named(inner[:-1]))
    if outer == "optional":
        return OptionalType(_type_named(inner[:-1]))
    codes = {element.name: code for code, element in ELEMENT_TYPES.items()}
    return TensorType(codes.get(kind, 0))


def _helper(
    op_type: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Any] | None = None
) -> Node:
    return Node(
        op_type,
        tuple(inputs),
        (output,),
        dict(attributes or {}),
        name=output,
        domain=GRADIENT_DOMAIN,
        opset=1,
    )
