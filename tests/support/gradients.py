"""Holds the gradients of one-node graphs against finite differences in float64.

``cases_with_rules`` are the ``Case``s of tests/ops whose operator has a rule; ``check_gradients``
checks one. Only the shapes and the kind of its values matter: floating-point numbers become
float64 and are moved a little, away from ties, kinks and the borders of domains.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.gradients.differentiate import FLOATS, differentiate
from onnxwalk.interpreter.compiler.lower import lower
from onnxwalk.interpreter.ir.model import Graph, Node, Tensor, TensorType, ValueInfo
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.interpreter.runtime.walk import execute
from onnxwalk.ops import Operator, registry
from onnxwalk.ops.contract.dtypes import element_type
from tests.support.harness import Case, all_cases, feeds_of

#: how far a gradient may be from the finite difference, relative to the largest, or 1
TOLERANCE = 1e-5
_STEP = 1e-6
#: operators that compute in float32 whatever the type, and their step and tolerance
_IN_FLOAT32 = {
    "ai.onnx.ml.Scaler-1",
    "ai.onnx.ml.LinearClassifier-1",
    "ai.onnx.ml.LinearRegressor-1",
    "ai.onnx.ml.Normalizer-1",
    "ai.onnx.ml.FeatureVectorizer-1",
    "ai.onnx.GroupNormalization-18",
    "com.microsoft.SkipLayerNormalization-1",
    "com.microsoft.EmbedLayerNormalization-1",
}
#: those that refuse float64: their gradients are looked at in float32
_NO_DOUBLE = {
    "ai.onnx.DequantizeLinear-10",
    "ai.onnx.DequantizeLinear-13",
    "ai.onnx.DequantizeLinear-21",
    "ai.onnx.DequantizeLinear-23",
    "com.microsoft.DequantizeLinear-1",
}
_STEP_IN_FLOAT32, _TOLERANCE_IN_FLOAT32 = 5e-3, 1e-3
#: of a larger input, the gradient is checked along this many random directions
_DIRECTIONS = 8
#: what is larger is a constant, as the lowest number where nothing is left of a window
_LARGE = 1e30
#: ``TensorProto.DataType``
_FLOAT, _DOUBLE, _FLOATS = 1, 11, (1, 10, 16)


def operator_of(case: Case) -> Operator:
    found = registry.lookup(case.domain, case.operator, case.opset)
    assert found is not None
    return found


@functools.cache
def cases_with_rules() -> list[Case]:
    """The cases with an input and an output that can have a gradient, of operators with a rule."""
    return [case for case in all_cases() if operator_of(case).vjp and any(differentiable(case))]


def is_float(x: Any) -> bool:
    """Whether a value can have a gradient."""
    return isinstance(x, np.ndarray) and element_type(x.dtype).name in FLOATS


def differentiable(case: Case) -> Iterator[str]:
    """The names of the inputs that have a gradient."""
    operator = operator_of(case)
    if any(callable(value) for value in case.attributes.values()):
        return  # a body that is a Python function has no graph
    for name, x in _tensors_of(case).items():
        position = min(int(name[1:].partition(":")[0]), len(operator.inputs) - 1)
        if is_float(x) and operator.inputs[position].name not in operator.without_gradient:
            yield name


def _tensors_of(case: Case) -> dict[str, Any]:
    """The inputs by name; of sequences of floating-point numbers each tensor, as "x0:1"."""
    found = {}
    for name, x in feeds_of(case).items():
        if isinstance(x, list) and x and all(map(is_float, x)):
            found.update((f"{name}:{i}", item) for i, item in enumerate(x))
        else:
            found[name] = x
    return found


@dataclass
class Problem:
    """A node with a loss after it: the sum of products of its outputs with constants."""

    case: Case
    graph: Graph
    context: Context
    feeds: dict[str, np.ndarray]
    xs: list[str]

    def loss_plan(self) -> Plan:
        return lower(self.graph, self.context, inputs=list(self.feeds), bind=False)

    def run(self, plan: Plan, feeds: dict[str, Any]) -> list[Any]:
        self.context.rng.bit_generator.state = np.random.default_rng(0).bit_generator.state
        with np.errstate(all="ignore"):
            return execute(plan, [feeds[name] for name in self.feeds])

    def loss(self, plan: Plan, feeds: dict[str, Any]) -> float:
        return float(self.run(plan, feeds)[0])

    def gradients(self, xs: Sequence[str], feeds: dict[str, Any]) -> list[np.ndarray]:
        """By the walk."""
        return self.run(self._gradient_plan(xs, bind=False), feeds)

    def gradients_bound(self, xs: Sequence[str], feeds: dict[str, Any]) -> list[np.ndarray]:
        """By a bound plan, that is bound on other values."""
        others = {n: v[::-1].copy() if n in xs and v.ndim else v for n, v in feeds.items()}
        self.context.rng.bit_generator.state = np.random.default_rng(0).bit_generator.state
        with np.errstate(all="ignore"):
            plan = self._gradient_plan(xs, bind=True)
            bound = Bound(plan, [others[name] for name in self.feeds])
            bound.run([feeds[name] for name in self.feeds])
            return [np.array(y) for y in bound.outputs()]

    def _gradient_plan(self, xs: Sequence[str], *, bind: bool) -> Plan:
        found = differentiate(self.graph, self.context, ["loss"], xs)
        outputs = tuple(ValueInfo(name) for name in found.gradients)
        graph = replace(found.graph, outputs=outputs)
        return lower(graph, self.context, inputs=list(self.feeds), bind=bind)


def check_gradients(case: Case) -> None:
    """The gradients are those of finite differences, however many of them are asked for."""
    problem = smooth_problem(case)
    if problem is None:
        return
    plan, feeds = problem.loss_plan(), problem.feeds
    kept = {name: np.array(x) for name, x in feeds.items()}
    found = problem.gradients(problem.xs, feeds)
    size, tolerance = _STEP, TOLERANCE
    if (name := str(operator_of(case))) in _IN_FLOAT32 | _NO_DOUBLE:
        # near its kink at 0 a norm is bent too much for large steps
        size = _STEP_IN_FLOAT32 / (20 if name == "ai.onnx.ml.Normalizer-1" else 1)
        tolerance = _TOLERANCE_IN_FLOAT32
    for name, gradient in zip(problem.xs, found, strict=True):
        x = feeds[name]
        assert (gradient.shape, gradient.dtype) == (x.shape, x.dtype), name
        for direction in _directions(x):
            ends = [
                {**feeds, name: (x + step * direction).astype(x.dtype)} for step in (size, -size)
            ]
            above, below = (problem.loss(plan, end) for end in ends)
            slope = (above - below) / (2 * size)
            expected = float((gradient * direction).sum())
            # what the difference of two large losses cannot show
            rounding = np.finfo(float).eps * max(abs(above), abs(below)) / size
            assert abs(slope - expected) <= tolerance * max(1, abs(slope)) + rounding, (
                f"{name}: the rule's {expected:.9g}, the finite difference {slope:.9g} "
                f"along {direction.tolist() if direction.size < 30 else 'random numbers'}"
            )
    if len(problem.xs) > 1:
        for name, gradient in zip(problem.xs, found, strict=True):
            (alone,) = problem.gradients([name], feeds)
            np.testing.assert_allclose(alone, gradient, rtol=1e-12, atol=1e-12)
    for name, x in feeds.items():
        np.testing.assert_array_equal(x, kept[name], err_msg="a rule changed its input")


def check_in_its_own_types(case: Case) -> None:
    """In the types of the case the gradients have these types, and are near those in float64, by
    the walk and bound."""
    problem = smooth_problem(case)
    if problem is None:
        return
    given = _tensors_of(case)
    feeds = {
        name: x.astype(given[name].dtype) if is_float(given.get(name)) else x
        for name, x in problem.feeds.items()
    }
    exact_dtype = _exact_dtype(case)
    rounded = {n: x.astype(exact_dtype) if is_float(x) else x for n, x in feeds.items()}
    there = _problem(case, rounded, problem.xs)
    assert there is not None
    exact = there.gradients(there.xs, rounded)
    own = _problem(case, feeds, problem.xs, double=False)
    coarsest = min(x.dtype.itemsize for x in feeds.values() if is_float(x))
    bits = {4: 1e-3, 8: 1e-9}.get(coarsest, 0.2)
    results = own.gradients(own.xs, feeds), own.gradients_bound(own.xs, feeds)
    for gradients in results:
        for name, gradient, truth in zip(own.xs, gradients, exact, strict=True):
            assert gradient.dtype == feeds[name].dtype, name
            scale = max(1.0, np.abs(truth).max(initial=0))
            shown = np.isfinite(truth.astype(gradient.dtype))  # not too large for the type
            difference = np.abs(gradient.astype(np.float64) - truth)[shown].max(initial=0)
            assert difference <= bits * scale, (name, difference, scale)


def smooth_problem(case: Case) -> Problem | None:
    """The case in float64, at a place where its outputs are finite; ``None`` if none of its outputs
    can have a gradient."""
    xs = list(differentiable(case))
    for feeds in _candidates(case, xs):
        problem = _problem(case, feeds, xs)
        if problem is None:
            return None
        nothing = all(feeds[name].size == 0 for name in xs)  # an empty maximum is infinite
        if nothing or np.isfinite(problem.loss(problem.loss_plan(), feeds)):
            return problem
    raise AssertionError("no place was found where the outputs are finite")


def _candidates(case: Case, xs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Values near those of the case; then others."""
    given = _tensors_of(case)
    for sign, low in ((1, 0.1), (-1, 0.1), (0, 0.1), (0, 1.1)):
        rng = np.random.default_rng(7)
        feeds = {}
        for name, x in given.items():
            if not is_float(x):
                feeds[name] = x
                continue
            x = x.astype(_exact_dtype(case))
            if name in xs:
                moved = x + sign * rng.uniform(0.003, 0.03, x.shape)
                other = rng.uniform(low, low + 0.8, x.shape)
                ordinary = np.isfinite(x) & (np.abs(x) <= 100) & (sign != 0)
                x = np.where(ordinary, moved, other)
            feeds[name] = np.asarray(x, _exact_dtype(case))
        yield feeds


def _exact_dtype(case: Case) -> type[np.floating]:
    return np.float32 if str(operator_of(case)) in _NO_DOUBLE else np.float64


def _problem(
    case: Case, feeds: dict[str, Any], xs: list[str], *, double: bool = True
) -> Problem | None:
    operator = operator_of(case)
    known = {name.partition(":")[0] for name in feeds}
    node = Node(
        case.operator,
        tuple(name if name in known else "" for name in map("x{}".format, range(len(case.inputs)))),
        tuple(f"y{i}" for i in range(case.outputs)),
        _attributes(case, double),
        domain=case.domain,
        opset=case.opset,
    )
    opsets = {"": 18, case.domain: case.opset} if case.domain else {"": case.opset}
    context = Context(registry, opsets, np.random.default_rng(0))
    inputs = tuple(ValueInfo(name, _type(x)) for name, x in feeds.items())
    before = tuple(_construct(feeds))
    one = Graph("case", (*before, node), inputs, tuple(ValueInfo(name) for name in node.outputs))
    problem = Problem(case, one, context, feeds, xs)
    results = problem.run(problem.loss_plan(), feeds)
    vjp = operator.vjp
    count = len(results) if vjp is None or vjp.gradients is None else vjp.gradients
    nodes, constants, terms = [*before, node], {}, []
    rng = np.random.default_rng(3)
    ends = list(zip(node.outputs, results, strict=False))[:count]
    for name, y in [*ends]:
        if isinstance(y, list):
            for i, item in enumerate(y):
                nodes += _at(name, i)
                ends.append((f"{name}:{i}", item))
    for name, y in ends:
        if not is_float(y):
            continue
        seed = rng.uniform(0.5, 1.5, y.shape)
        seed = np.where(np.abs(y) > _LARGE, 0, seed).astype(y.dtype)
        constants[f"c_{name}"] = Tensor(f"c_{name}", element_type(y.dtype).code, seed)
        nodes.append(Node("Mul", (name, f"c_{name}"), (f"p_{name}",), opset=14))
        nodes.append(Node("ReduceSum", (f"p_{name}",), (f"s_{name}",), {"keepdims": 0}, opset=13))
        nodes.append(Node("Cast", (f"s_{name}",), (f"t_{name}",), {"to": _DOUBLE}, opset=13))
        terms.append(f"t_{name}")
    if not terms:
        return None
    nodes.append(Node("Sum", tuple(terms), ("loss",), opset=13))
    problem.graph = replace(
        one, nodes=tuple(nodes), outputs=(ValueInfo("loss"),), initializers=constants
    )
    return problem


def _construct(feeds: dict[str, Any]) -> Iterator[Node]:
    """The nodes that make sequences of their tensors."""
    for name in dict.fromkeys(name.partition(":")[0] for name in feeds if ":" in name):
        items = tuple(item for item in feeds if item.startswith(f"{name}:"))
        yield Node("SequenceConstruct", items, (name,), opset=11)


def _at(sequence: str, place: int) -> Iterator[Node]:
    """The nodes that take one tensor of a sequence."""
    value = Tensor("place", 7, np.array(place, np.int64))
    yield Node("Constant", (), (f"{sequence}@{place}",), {"value": value}, opset=13)
    yield Node("SequenceAt", (sequence, f"{sequence}@{place}"), (f"{sequence}:{place}",), opset=11)


def _attributes(case: Case, double: bool) -> dict[str, Any]:
    given = {name: _attribute(name, value, double) for name, value in case.attributes.items()}
    takes_double = case.operator != "SimplifiedLayerNormalization"
    if double and takes_double and "stash_type" in operator_of(case).attributes:
        given["stash_type"] = _DOUBLE  # float by default
    return given


def _attribute(name: str, value: Any, double: bool) -> Any:
    if double and name in ("to", "dtype", "stash_type", "softmax_precision") and value in _FLOATS:
        return _DOUBLE
    if double and name == "output_dtype" and value in _FLOATS:
        return _FLOAT  # of those that refuse float64
    if isinstance(value, np.ndarray):
        return Tensor(name, element_type(value.dtype).code, value)
    return value


def _type(x: Any) -> TensorType | None:
    if not isinstance(x, np.ndarray):
        return None
    return TensorType(element_type(x.dtype).code, x.shape)


def _directions(x: np.ndarray) -> Iterator[np.ndarray]:
    """Each axis of a small input's space, random directions of a large one's."""
    if x.size <= 2 * _DIRECTIONS:
        for i in range(x.size):
            direction = np.zeros(x.size)
            direction[i] = 1
            yield direction.reshape(x.shape)
        return
    rng = np.random.default_rng(5)
    for _ in range(_DIRECTIONS):
        yield rng.uniform(-1, 1, x.shape)
