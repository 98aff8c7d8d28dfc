"""The gradient of a Relu before a MaxPool is masked where the pool's results are, which are fewer.

    Relu(x) = r, MaxPool(r) = y:   dx = (r > 0) · back(dy)   becomes   dx = back((y > 0) · dy)

as a value that a window's gradient flows to is the window's maximum. Then nothing on the way back
reads r, which needn't be kept.
"""

from __future__ import annotations

from onnxwalk.interpreter.compiler.context import Context, names_used
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN
from onnxwalk.ops.contract.records import replace


def mask_pooled(graph: Graph, context: Context) -> Graph:
    """Swap the gradients of a Relu and of the MaxPool that reads its result."""
    pools = [n for n in graph.nodes if _is(n, GRADIENT_DOMAIN, "MaxPool", context)]
    if not pools:
        return graph
    made = {name: node for node in graph.nodes for name in node.outputs if name}
    readers: dict[str, int] = dict.fromkeys((value.name for value in graph.outputs), 1)
    for node in graph.nodes:
        for name in names_used(node):
            readers[name] = readers.get(name, 0) + 1
    swapped: dict[Node, Node] = {}
    relus = {n.inputs[0]: n for n in graph.nodes if _is(n, GRADIENT_DOMAIN, "Relu", context)}
    for pool in pools:
        dy, taken, shape = pool.inputs
        (between,) = pool.outputs
        relu, forward = relus.get(between), made[taken]
        if relu is None or readers[between] > 1 or forward.inputs != relu.inputs[1:]:
            continue
        # in the places of the others, so that the order of the nodes stays right
        masked = f"{between}, masked"
        swapped[pool] = replace(relu, inputs=(dy, forward.outputs[0]), outputs=(masked,))
        swapped[relu] = replace(pool, inputs=(masked, taken, shape), outputs=relu.outputs)
    nodes = tuple(swapped.get(node, node) for node in graph.nodes)
    return replace(graph, nodes=nodes) if swapped else graph


def _is(node: Node, domain: str, op_type: str, context: Context) -> bool:
    """Whether it is made of one of ONNX's operators, not of one of a user's registry."""
    is_named = node.domain == domain and node.op_type == op_type
    return is_named and context.is_builtin(replace(node, domain=""))
