"""The rule of Scan-8, which scans each sample of a batch by itself, from axis 1 on.

As that of Scan since 9, but that all values have an axis of samples: what a body captures gets a
sum for each sample. Its outputs have no directions, so that gradients of slices that were read
forwards are turned around afterwards.
"""

from __future__ import annotations

from dataclasses import replace

from onnxwalk.interpreter.compiler.gradients.bodies import (
    BodyCall,
    identity,
    with_gradients,
    zeros,
)
from onnxwalk.interpreter.ir.model import Node, ValueInfo
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN

_OPSET = 8


def back_of_scan_8(call: BodyCall) -> tuple[Node, list[Node]]:
    """A Scan-8 in the other direction, of the states before each iteration."""
    node, ((_, body), *_) = call.node, call.node.graphs
    count = node.attributes["num_scan_inputs"]
    lengths, *given = node.inputs
    n = len(body.inputs) - count  # states
    starts = [value.name for value in body.inputs]
    directions = list(node.attributes.get("directions") or [0] * count)
    outputs = [*node.outputs, *[""] * (len(body.outputs) - len(node.outputs))]
    dys = [*call.dys, *[""] * (len(body.outputs) - len(call.dys))]

    # --- the forward node, which stacks the states
    inner = [call.unique(f"{name} of {node.label}, kept") for name in starts[:n]]
    kept = [call.unique(f"every {name} of {node.label}") for name in starts[:n]]
    stacking = replace(
        body,
        nodes=(*body.nodes, *map(identity, starts, inner)),
        outputs=(*body.outputs, *map(ValueInfo, inner)),
    )
    for k in range(n):
        outputs[k] = outputs[k] or call.unique(f"{starts[k]} after {node.label}")
    attributes = {**node.attributes, "body": stacking}
    forward = replace(node, outputs=(*outputs, *kept), attributes=attributes, opset=_OPSET)

    # --- the way back
    wanted_at = {place: part for place, _, part in call.wanted if place is not None}
    captured = [(name, part) for place, name, part in call.wanted if place is None]
    real = [k for k in range(n) if call.is_real(given[k])]
    added: list[Node] = []
    d_states = [call.unique(f"gradient of {starts[k]} in {node.label}") for k in real]
    sums = [call.unique(f"gradient of {name} in {node.label}, so far") for name, _ in captured]
    initial = [dys[k] or call.unique(f"no gradient of {outputs[k]}") for k in real]
    added += [zeros(outputs[k], x) for k, x in zip(real, initial, strict=True) if not dys[k]]
    for name, _ in captured:
        initial.append(call.unique(f"no gradient yet of {name}"))
        added.append(_own("ZerosForEach", (name, given[n]), initial[-1]))
    seeds = dict(zip(real, d_states, strict=True))
    slices = [(name, outer, 1) for name, outer in zip(starts[:n], kept, strict=True)]
    slices += [(starts[n + i], given[n + i], 1 - backward) for i, backward in enumerate(directions)]
    for i in range(n, len(body.outputs)):
        if dys[i]:
            seeds[i] = call.unique(f"gradient of element {i - n + 1} of {node.label}")
            slices.append((seeds[i], dys[i], 1))
    by_slice = [i for i in range(count) if 1 + n + i in wanted_at]
    xs = [*(starts[k] for k in real), *(x for x, _ in captured), *(starts[n + i] for i in by_slice)]
    nodes, gradients = with_gradients(call, body, seeds, xs)
    results = [call.unique(f"next {name}") for name in (*d_states, *sums)]
    results += [call.unique(f"gradient of {starts[n + i]} in {node.label}") for i in by_slice]
    ends = []
    for i, (x, gradient, result) in enumerate(zip(xs, gradients, results, strict=True)):
        so_far = sums[i - len(real)] if len(real) <= i < len(real) + len(captured) else ""
        if so_far and gradient:
            ends.append(Node("Add", (so_far, gradient), (result,), name=result, opset=14))
        elif gradient or so_far:
            ends.append(identity(gradient or so_far, result))
        else:
            ends.append(zeros(x, result))
    parts = [wanted_at.get(1 + k, "") for k in real]
    for name, part in captured:
        parts.append(call.unique(f"gradient of {name} by each sample"))
        reduced = {"axes": [0], "keepdims": 0}
        added.append(Node("ReduceSum", (parts[-1],), (part,), reduced, name=part, opset=11))
    for i in by_slice:
        part = wanted_at[1 + n + i]
        parts.append(part if directions[i] else call.unique(f"{part}, turned around"))
        if not directions[i]:
            added.append(_own("ReverseEach", (lengths, parts[-1]), part))
    body_of_back = replace(
        body,
        nodes=(*nodes, *ends),
        inputs=tuple(map(ValueInfo, (*d_states, *sums, *(name for name, *_ in slices)))),
        outputs=tuple(map(ValueInfo, results)),
        value_info={},
    )
    back = Node(
        "Scan",
        (lengths, *initial, *(outer for _, outer, _ in slices)),
        tuple(parts),
        {
            "body": body_of_back,
            "num_scan_inputs": len(slices),
            "directions": [way for *_, way in slices],
        },
        name=f"gradient of {node.label}",
        opset=_OPSET,
    )
    before = [added_node for added_node in added if not set(added_node.inputs) & set(parts)]
    after = [added_node for added_node in added if set(added_node.inputs) & set(parts)]
    return forward, [*before, back, *after]


def _own(op_type: str, inputs: tuple[str, ...], output: str) -> Node:
    return Node(op_type, inputs, (output,), name=output, domain=GRADIENT_DOMAIN, opset=1)
