"""The rules of If, Loop, Scan and SequenceMap.

The way back computes a body once more, with the gradients of its values behind it: a branch of an
If from the values that it captures, an iteration of a Loop or Scan from the states before it, which
the loop stacks as further outputs. The iterations follow each other in reverse order in a Scan,
whose states are the gradients of the loop's states, and the sums of those of captured values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from onnxwalk.interpreter.compiler.gradients.bodies import (
    BodyCall,
    BodyRule,
    identity,
    sum_of,
    with_gradients,
    zeros,
)
from onnxwalk.interpreter.compiler.gradients.gathered import hand_out, take_out_lookups
from onnxwalk.interpreter.compiler.gradients.scan_8 import back_of_scan_8
from onnxwalk.interpreter.errors import UnsupportedModelError
from onnxwalk.interpreter.ir.model import Graph, Node, ValueInfo
from onnxwalk.ops.contract.derived import GRADIENT_DOMAIN


def _renamed(call: BodyCall, names: Iterable[str], what: str) -> tuple[list[Node], list[str]]:
    """Names of outer values that no body has, and the nodes that give them."""
    nodes, found = [], []
    for name in names:
        found.append(call.unique(f"{what} {name} of {call.node.label}"))
        nodes.append(identity(name, found[-1]))
    return nodes, found


def back_of_if(call: BodyCall) -> tuple[Node, list[Node]]:
    """An If of the gradients of the values that its branches capture."""
    flowing = [(i, dy) for i, dy in enumerate(call.dys) if dy]
    nodes, aliases = _renamed(call, (dy for _, dy in flowing), "what flows back as")
    seeds = {i: alias for (i, _), alias in zip(flowing, aliases, strict=True)}
    xs = [name for _, name, _ in call.wanted]
    attributes = dict(call.node.attributes)
    for attribute, branch in call.node.graphs:
        inner, gradients = with_gradients(call, branch, seeds, xs)
        results = [call.unique(f"branch's {part}") for _, _, part in call.wanted]
        ends = [
            identity(gradient, result) if gradient else zeros(x, result)
            for x, gradient, result in zip(xs, gradients, results, strict=True)
        ]
        attributes[attribute] = replace(
            branch,
            nodes=(*inner, *ends),
            outputs=tuple(map(ValueInfo, results)),
            value_info={},
        )
    back = replace(
        call.node,
        outputs=tuple(part for _, _, part in call.wanted),
        attributes=attributes,
        name=f"gradient of {call.node.label}",
        opset=call.context.opset(call.node),
    )
    return call.node, [*nodes, back]


def back_of_loop(call: BodyCall) -> tuple[Node, list[Node]]:
    """A Scan over the iterations of a Loop, from the last to the first."""
    (_, body), *_ = call.node.graphs
    states = len(body.inputs) - 2
    return _back_of_iterations(call, body, first=2, states=states, scanned={})


def back_of_scan(call: BodyCall) -> tuple[Node, list[Node]]:
    """A Scan in the other direction."""
    if (call.context.opset(call.node) or 9) < 9:
        return back_of_scan_8(call)
    (_, body), *_ = call.node.graphs
    count = call.node.attributes["num_scan_inputs"]
    states = len(body.inputs) - count
    given = call.node.attributes
    axes = given.get("scan_input_axes") or [0] * count
    backward = given.get("scan_input_directions") or [0] * count
    names = call.node.inputs[states:]
    scanned = {
        body.inputs[states + i].name: (name, axes[i], backward[i]) for i, name in enumerate(names)
    }
    return _back_of_iterations(call, body, first=0, states=states, scanned=scanned)


def _back_of_iterations(
    call: BodyCall,
    body: Graph,
    first: int,
    states: int,
    scanned: Mapping[str, tuple[str, int, int]],
) -> tuple[Node, list[Node]]:
    """``first``: where the states begin among the inputs of node and body (``states``: how many);
    ``scanned``: of each scan input of the body the outer name, its axis and direction."""
    node, context = call.node, call.context
    is_loop = first == 2
    own_outputs = len(body.outputs) - is_loop  # a condition comes first
    for name in node.inputs[first : first + states]:
        kind = call.types.get(name, "")
        if "(" in kind:
            raise UnsupportedModelError(
                f"no gradient of {node}: its state {name!r} is {kind}; only of tensors those of "
                "each iteration are kept"
            )
    outputs = [*node.outputs, *[""] * (own_outputs - len(node.outputs))]
    dys = [*call.dys, *[""] * (own_outputs - len(call.dys))]

    # --- the forward node, which stacks what its body begins with
    starts = [value.name for value in body.inputs[: first + states]]
    inner = [call.unique(f"{name} of {node.label}, kept") for name in starts]
    kept = [call.unique(f"every {name} of {node.label}") for name in starts]
    attributes = dict(node.attributes)
    attributes["body"] = replace(
        body,
        nodes=(*body.nodes, *map(identity, starts, inner)),
        outputs=(*body.outputs, *map(ValueInfo, inner)),
    )
    count_of_stacked = own_outputs - states
    out_axes = list(attributes.get("scan_output_axes") or [0] * count_of_stacked)
    out_backward = list(attributes.get("scan_output_directions") or [0] * count_of_stacked)
    if not is_loop:
        attributes["scan_output_axes"] = [*out_axes, *[0] * len(kept)]
        attributes["scan_output_directions"] = [*out_backward, *[0] * len(kept)]
    for k in range(states):  # the gradients of the last states begin with their shapes
        outputs[k] = outputs[k] or call.unique(f"{starts[first + k]} after {node.label}")
    forward = replace(
        node, outputs=(*outputs, *kept), attributes=attributes, opset=context.opset(node)
    )

    # --- the way back
    wanted_at = {position: part for position, _, part in call.wanted if position is not None}
    captured = [(name, part) for position, name, part in call.wanted if position is None]
    real = [k for k in range(states) if call.is_real(node.inputs[first + k])]
    added: list[Node] = []
    d_states = {k: call.unique(f"gradient of {starts[first + k]} in {node.label}") for k in real}
    initial = []
    for k in real:
        if dys[k]:
            initial.append(dys[k])
        else:
            initial.append(call.unique(f"no gradient of {outputs[k]}"))
            added.append(zeros(outputs[k], initial[-1]))
    slices = {name: (outer, 0, 1) for name, outer in zip(starts, kept, strict=True)}
    slices |= {name: (outer, axis, 1 - way) for name, (outer, axis, way) in scanned.items()}
    seeds = {k + is_loop: name for k, name in d_states.items()}
    for i, (axis, way) in enumerate(zip(out_axes, out_backward, strict=True)):
        if dys[states + i]:
            seeds[states + is_loop + i] = name = call.unique(
                f"gradient of element {i + 1} of {node.label}"
            )
            slices[name] = (dys[states + i], axis, 1 - way)
    by_slice = [
        (name, axis, 1 - way, wanted_at[first + states + i])
        for i, (name, (_, axis, way)) in enumerate(scanned.items())
        if first + states + i in wanted_at
    ]
    xs = [*(starts[first + k] for k in real), *(x for x, _ in captured), *(s[0] for s in by_slice)]
    nodes, gradients = with_gradients(call, body, seeds, xs)
    found = dict(zip(xs[len(real) :], gradients[len(real) :], strict=True))
    lookups: dict[str, list[Node]] = {}
    for name, _ in captured:
        nodes, found[name], lookups[name] = take_out_lookups(nodes, found[name], body, context)
    summed = [name for name, _ in captured if found[name] or not lookups[name]]
    sums = {n: call.unique(f"gradient of {n} in {node.label}, so far") for n in summed}
    for name in summed:
        initial.append(call.unique(f"no gradient yet of {name}"))
        added.append(zeros(name, initial[-1]))
    ends, results, parts = [], [], [wanted_at.get(first + k, "") for k in real]
    for d_state, x, gradient in zip(d_states.values(), xs, gradients, strict=False):
        results.append(call.unique(f"next {d_state}"))
        ends.append(identity(gradient, results[-1]) if gradient else zeros(x, results[-1]))
    for name, so_far in sums.items():
        results.append(call.unique(f"next {so_far}"))
        pair = (so_far, found[name])
        ends.append(
            Node("Add", pair, (results[-1],), name=results[-1], opset=14)
            if found[name]
            else identity(so_far, results[-1])
        )
    for name, *_ in by_slice:
        results.append(call.unique(f"gradient of {name} in {node.label}"))
        gradient = found[name]
        ends.append(identity(gradient, results[-1]) if gradient else zeros(name, results[-1]))
    stacked = [(axis, way) for _, axis, way, _ in by_slice]
    parts += [call.unique(f"{so_far}, at the end") for so_far in sums.values()]
    pieces = {name: [part] for name, part in zip(sums, parts[len(real) :], strict=True)}
    parts += [part for *_, part in by_slice]
    handed_out = hand_out(lookups, call)
    ends += handed_out.nodes
    results += handed_out.inner
    parts += handed_out.outer
    stacked += [(axis, 0) for axis in handed_out.axes]
    behind = handed_out.behind
    for name, found_pieces in handed_out.pieces.items():
        pieces[name] = pieces.get(name, []) + found_pieces
    for name, part in captured:
        behind.append(sum_of(pieces[name], part))
    inputs = (*d_states.values(), *sums.values(), *slices)
    scan_attributes: dict[str, Any] = {
        "body": replace(
            body,
            nodes=(*nodes, *ends),
            inputs=tuple(map(ValueInfo, inputs)),
            outputs=tuple(map(ValueInfo, results)),
            value_info={},
        ),
        "num_scan_inputs": len(slices),
        "scan_input_axes": [axis for _, axis, _ in slices.values()],
        "scan_input_directions": [way for *_, way in slices.values()],
        "scan_output_axes": [axis for axis, _ in stacked],
        "scan_output_directions": [way for _, way in stacked],
    }
    back = Node(
        "Scan",
        (*initial, *(outer for outer, *_ in slices.values())),
        tuple(parts),
        scan_attributes,
        name=f"gradient of {node.label}",
        opset=16,
    )
    return forward, [*added, back, *behind]


def back_of_sequence_map(call: BodyCall) -> tuple[Node, list[Node]]:
    """A SequenceMap of the same sequences and of the gradients of the results."""
    node, ((_, body), *_) = call.node, call.node.graphs
    flowing = [(i, dy) for i, dy in enumerate(call.dys) if dy]
    seeds = {i: call.unique(f"gradient of element {i + 1} of {node.label}") for i, _ in flowing}
    inner = [value.name for value in body.inputs]
    xs = [name if place is None else inner[place] for place, name, _ in call.wanted]
    nodes, gradients = with_gradients(call, body, seeds, xs)
    results = [call.unique(f"gradient of {x} in {node.label}") for x in xs]
    ends = [
        identity(gradient, result) if gradient else zeros(x, result)
        for x, gradient, result in zip(xs, gradients, results, strict=True)
    ]
    back = Node(
        "SequenceMap",
        (*node.inputs, *(dy for _, dy in flowing)),
        tuple(call.unique(f"{part}, of each element") for *_, part in call.wanted),
        {
            "body": replace(
                body,
                nodes=(*nodes, *ends),
                inputs=(*body.inputs, *map(ValueInfo, seeds.values())),
                outputs=tuple(map(ValueInfo, results)),
                value_info={},
            )
        },
        name=f"gradient of {node.label}",
        opset=call.context.opset(node),
    )
    sums = [
        Node("SumOfMapped", (dxs, x), (part,), name=part, domain=GRADIENT_DOMAIN, opset=1)
        for dxs, (_, x, part) in zip(back.outputs, call.wanted, strict=True)
    ]
    return node, [back, *sums]


#: by domain and name of the operator
BODY_RULES: dict[tuple[str, str], BodyRule] = {
    ("", "If"): back_of_if,
    ("", "Loop"): back_of_loop,
    ("", "Scan"): back_of_scan,
    ("", "SequenceMap"): back_of_sequence_map,
}
