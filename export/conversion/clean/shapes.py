"""Remove Reshape, Identity and arithmetic of shapes where they have no effect."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.export.conversion.draft import (
    Draft,
    add_ints,
    attributes,
    set_attribute,
)

Shape = tuple[int | str | None, ...]


def drop_identities(draft: Draft) -> None:
    """Remove Identity nodes."""
    producers = draft.producers()
    ports = {value.name for value in (*draft.graph.input, *draft.graph.output)}
    names: dict[str, str] = {}
    for node in draft.graph.node:
        if node.op_type == "Identity" and not node.domain:
            source, result = node.input[0], node.output[0]
            if result not in ports:
                names[result] = source
            elif source in producers and source not in ports and source not in names:
                # the tensor takes the name of the output
                producer = producers[source]
                index = list(producer.output).index(source)
                if producer.op_type != "Identity" and source not in names.values():
                    producer.output[index] = result
                    names[source] = result
                    node.op_type = ""  # now it would read itself
    draft.keep_nodes(
        lambda node: node.op_type and node.output[0] not in names if node.output else True
    )
    draft.rename_tensors(names)


def make_reshapes_static(draft: Draft) -> None:
    """A Reshape to a computed shape with one open dimension becomes a Reshape to constants and -1.

    Keras's Flatten and Reshape compute the batch size, which needs half a dozen nodes. Next to a
    size that is copied, -1 becomes a number: it can't be inferred from an empty batch.
    """
    shapes = draft.shapes()
    for node in draft.graph.node:
        if node.op_type != "Reshape" or attributes(node).get("allowzero"):
            continue
        given = draft.weights.get(node.input[1])
        if given is None:
            target = _reshape_target(shapes.get(node.output[0]))
        else:
            target = _without_inference(given, shapes.get(node.input[0]))
        if target is not None:
            node.input[1] = add_ints(draft, target, f"{node.name}/shape")
    draft.remove_unused()


def merge_reshapes(draft: Draft) -> None:
    """Merge consecutive Reshapes, and remove those without effect; a Transpose that moves only axes
    of size 1 becomes a Reshape."""
    shapes = draft.shapes()
    producers, outputs = draft.producers(), {value.name for value in draft.graph.output}
    names: dict[str, str] = {}
    for node in draft.graph.node:
        if node.op_type == "Transpose":
            _transpose_to_reshape(draft, node, shapes)
        if node.op_type != "Reshape" or attributes(node).get("allowzero"):
            continue
        given = draft.weights.get(node.input[1])
        before = producers.get(node.input[0])
        if given is not None and before is not None and before.op_type == "Reshape":
            known = shapes.get(node.output[0])
            target = _reshape_target(known) if (given == 0).any() else given
            if target is not None:
                node.input[0] = before.input[0]
                node.input[1] = add_ints(draft, target, f"{node.name}/shape")
        now, then = shapes.get(node.output[0]), shapes.get(node.input[0])
        if _are_equal(now, then) and node.output[0] not in outputs:
            names[node.output[0]] = node.input[0]
    draft.rename_tensors(names)
    draft.remove_unused()


def keep_reduced_axes(draft: Draft) -> None:
    """Replace a Reduce that drops axes and a Reshape that restores them by one with keepdims."""
    shapes, producers, reads = draft.shapes(), draft.producers(), draft.count_reads()
    names: dict[str, str] = {}
    for node in draft.graph.node:
        before = producers.get(node.input[0]) if node.op_type == "Reshape" else None
        if before is None or reads[node.input[0]] > 1 or node.output[0] not in shapes:
            continue
        axes = find_reduced_axes(draft, before)
        source = shapes.get(before.input[0])
        if axes is None or source is None or attributes(before).get("keepdims", 1):
            continue
        reduced = {axis % len(source) for axis in axes}
        kept = tuple(1 if i in reduced else size for i, size in enumerate(source))
        if _are_equal(kept, shapes[node.output[0]]):
            set_attribute(before, "keepdims", 1)
            names[node.output[0]] = before.output[0]
    outputs = {value.name for value in draft.graph.output}
    for result, reduction in list(names.items()):
        if result in outputs:  # the tensor takes the name of the output
            producers[reduction].output[0] = result
            producers[result].op_type = ""
            del names[result]
    draft.keep_nodes(lambda node: node.op_type and node.output[0] not in names)
    draft.rename_tensors(names)


def find_reduced_axes(draft: Draft, node: Any) -> list[int] | None:
    """The axes of a Reduce operator, or None if they aren't constants."""
    if not node.op_type.startswith("Reduce"):
        return None
    given = attributes(node).get("axes")
    if given is None and len(node.input) > 1:
        given = draft.weights.get(node.input[1])
    return None if given is None or not len(given) else [int(axis) for axis in given]


def _transpose_to_reshape(draft: Draft, node: Any, shapes: dict[str, Shape]) -> None:
    source, perm = shapes.get(node.input[0]), attributes(node).get("perm")
    if source is None or perm is None:
        return
    moved = [axis for axis in perm if source[axis] != 1]
    target = _reshape_target(tuple(source[axis] for axis in perm))
    if moved == sorted(moved) and target is not None:
        del node.attribute[:]
        node.op_type = "Reshape"
        node.input.append(add_ints(draft, target, f"{node.name}/shape"))


def _reshape_target(shape: Shape | None) -> Any:
    """The shape input of a Reshape to this shape, or None if more than one size is open."""
    if shape is None or sum(not isinstance(size, int) for size in shape) > 1:
        return None
    if 0 in shape:
        return None
    return np.array([size if isinstance(size, int) else -1 for size in shape], np.int64)


def _without_inference(target: Any, source: Shape | None) -> Any:
    """The target of a Reshape with a number in the place of -1, or None if that isn't known: where
    sizes are copied (0), and the others of the source are known."""
    if source is None or not (target == 0).any() or not (target == -1).any():
        return None
    rest = [size for i, size in enumerate(source) if i >= len(target) or target[i] != 0]
    known = [size for size in rest if isinstance(size, int)]
    if len(known) < len(rest):
        return None
    missing = int(np.prod(known)) // int(np.prod(target[target > 0]))
    return np.where(target == -1, missing, target)


def _are_equal(a: Shape | None, b: Shape | None) -> bool:
    """Whether known shapes of as many elements are equal; one open size may differ."""
    if a is None or b is None or len(a) != len(b):
        return False
    open_sizes = 0
    for left, right in zip(a, b, strict=True):
        if isinstance(left, int) and isinstance(right, int):
            if left != right:
                return False
        elif left != right or left is None:
            open_sizes += 1
    return open_sizes <= 1
