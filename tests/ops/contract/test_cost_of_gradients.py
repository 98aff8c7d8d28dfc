"""The cost of a gradient is at least the memory that the rule uses: that of large calls, and of the
small ones of all cases."""

import numpy as np
import pytest

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.gradients.differentiate import differentiate
from onnxwalk.interpreter.compiler.lower import lower
from onnxwalk.interpreter.ir.model import Graph, Node, SequenceType, Tensor, TensorType, ValueInfo
from onnxwalk.interpreter.runtime.walk import walk
from onnxwalk.ops import registry
from onnxwalk.ops.contract.cost import default_cost
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN
from onnxwalk.ops.contract.dtypes import element_type
from tests.ops.contract.test_cost import BUFFERS, SMALL, peak_of
from tests.support.gradients import cases_with_rules, is_float, smooth_problem
from tests.support.large_cases import large_cases

LARGE = [
    case
    for case in large_cases()
    if case.operator.vjp and not any(word in case.note for word in ("to float8", "to strings"))
]


def gradient_steps(graph, context, of, xs, feeds, **options):
    """The calls of the rules in a run of the gradients, with their costs."""
    found = differentiate(graph, context, [of], xs, **options)
    plan = lower(found.graph, context, inputs=list(feeds), bind=False)
    for step, arguments, _ in walk(plan, list(feeds.values())):
        if step.node.domain.startswith(GRADIENT_DOMAIN) and "counts" in step.node.attributes:
            cost = (step.cost or default_cost)(*arguments)
            peak, _ = peak_of(step.call, arguments, {})
            yield peak, cost.memory


def type_of(x):
    if isinstance(x, list):
        return SequenceType(type_of(x[0]))
    return TensorType(element_type(x.dtype).code)


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_large_calls(case):
    operator, feeds = case.operator, {f"x{i}": x for i, x in enumerate(case.inputs)}
    feeds = {name: x for name, x in feeds.items() if x is not None}
    node = Node(
        operator.name,
        tuple(f"x{i}" if f"x{i}" in feeds else "" for i in range(len(case.inputs))),
        ("y",),
        {
            n: Tensor(n, element_type(v.dtype).code, v) if isinstance(v, np.ndarray) else v
            for n, v in case.keywords.items()
            if n in operator.attributes
        },
        domain=operator.domain,
        opset=operator.since,
    )
    types = {name: type_of(x) for name, x in feeds.items()}
    inputs = tuple(ValueInfo(name, kind) for name, kind in types.items())
    graph = Graph("case", (node,), inputs, (ValueInfo("y"),))
    context = Context(registry, {"": 17, operator.domain: operator.since}, np.random.default_rng(0))
    xs = [
        f"x{i}"
        for i, x in enumerate(case.inputs)
        if all(map(is_float, x if isinstance(x, list) else [x]))
        and operator.inputs[min(i, len(operator.inputs) - 1)].name not in operator.without_gradient
    ]
    if xs:
        for peak, memory in gradient_steps(graph, context, "y", xs, feeds, of_sum=True):
            assert peak <= memory + BUFFERS, f"{peak:,} > {memory:,}"


def test_small_calls():
    too_low = []
    for case in cases_with_rules():
        problem = smooth_problem(case)
        if problem is None:
            continue
        steps = gradient_steps(problem.graph, problem.context, "loss", problem.xs, problem.feeds)
        too_low += [f"{case}: {peak} > {cost}" for peak, cost in steps if peak > cost + 2 * SMALL]
    assert not too_low
