"""What gradients are where they aren't defined: at kinks, ties and jumps they are TensorFlow's."""

import numpy as np
import pytest

from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.gradients.differentiate import differentiate
from onnxwalk.interpreter.compiler.lower import lower
from onnxwalk.interpreter.ir.model import Graph, Node, TensorType, ValueInfo
from onnxwalk.interpreter.runtime.walk import execute
from onnxwalk.ops import registry
from onnxwalk.ops.ai_onnx.mathfunctions import vjp_of_reciprocal, vjp_of_sqrt


def gradients(operator, opset, *inputs, by=None, **attributes):
    """The gradients of the sum of the output by all inputs, or by those at these positions."""
    names = [f"x{i}" for i in range(len(inputs))]
    node = Node(operator, tuple(names), ("y",), attributes, opset=opset)
    values = tuple(ValueInfo(name, TensorType(1)) for name in names)
    context = Context(registry, {"": opset}, np.random.default_rng(0))
    graph = Graph("g", (node,), values, (ValueInfo("y"),))
    xs = [names[i] for i in (range(len(inputs)) if by is None else by)]
    found = differentiate(graph, context, ["y"], xs, of_sum=True)
    plan_graph = Graph(
        "g", found.graph.nodes, values, tuple(ValueInfo(name) for name in found.gradients)
    )
    plan = lower(plan_graph, context, inputs=names, bind=False)
    with np.errstate(all="ignore"):
        return [y.tolist() for y in execute(plan, [np.asarray(x, np.float32) for x in inputs])]


@pytest.mark.parametrize(
    ("operator", "opset", "x", "attributes", "expected"),
    [
        ("Relu", 14, [-1, 0, 1], {}, [0, 0, 1]),
        ("Abs", 13, [-1, 0, 1], {}, [-1, 0, 1]),
        ("LeakyRelu", 16, [0], {"alpha": 0.25}, [0.25]),
        ("Elu", 6, [0], {"alpha": 0.5}, [1]),
        ("Selu", 6, [0], {"gamma": 2.0}, [2]),
        ("HardSigmoid", 6, [-2, 2], {"alpha": 0.25}, [0, 0]),
        ("HardSwish", 14, [-3, 3], {}, [0, 1]),
        ("ThresholdedRelu", 10, [1], {}, [0]),
        ("Clip", 6, [0, 0.5, 1, 2], {"min": 0.0, "max": 1.0}, [1, 1, 1, 0]),
        ("ReduceL2", 13, [0, 0], {}, [0, 0]),
        ("ReduceL1", 13, [0, 2], {}, [0, 1]),
        ("ReduceProd", 13, [0, 3, 2], {}, [6, 0, 0]),
        ("ReduceProd", 13, [0, 0, 2], {}, [0, 0, 0]),
        ("ReduceMax", 13, [5, 1, 5], {}, [0.5, 0, 0.5]),
        ("ReduceMin", 13, [5, 1, 1], {}, [0, 0.5, 0.5]),
    ],
)
def test_one_input(operator, opset, x, attributes, expected):
    assert gradients(operator, opset, x, **attributes) == [expected]


def test_several_inputs():
    assert gradients("Max", 13, [1, 2], [1, 3], [1, 3]) == [[1, 0], [0, 1], [0, 0]]
    assert gradients("Min", 13, [1, 2], [1, 3], [1, 1]) == [[1, 0], [0, 0], [0, 1]]
    # a limit has the gradient of what it replaces; at it, the input has
    assert gradients("Clip", 13, [-1, 0, 1, 7], 0, 1) == [[0, 1, 1, 0], 1, 1]
    assert gradients("Clip", 13, [-1, 0, 7], 5, 1) == [[0, 0, 0], 0, 3]
    assert gradients("Pow", 15, [0, 0, 2], [0, 2, 3], by=[0]) == [[0, 0, 12]]
    assert gradients("Pow", 15, [0, -1], [2, 2], by=[1]) == [[0, 0]]
    assert gradients("PRelu", 16, [-2, 0], [3]) == [[3, 3], [-2]]


def test_no_gradient_times_an_infinite_slope_is_none():
    dy = np.array([0, 1, 2], np.float32)
    with np.errstate(all="ignore"):
        assert vjp_of_sqrt(dy, y=np.float32([0, 0, 2])).tolist() == [0, np.inf, 0.5]
        assert vjp_of_reciprocal(dy, z=np.float32([np.inf, np.inf, 2])).tolist() == [0, -np.inf, -8]
