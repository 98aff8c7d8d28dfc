"""Sizes of values as far as they are known at load: numbers, or names of dimensions.

Two values have the same size along an axis if ``Sizes`` gives the same ``Size`` for both, as for
the batch of an input and of what is computed from it.
"""

from __future__ import annotations

from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.compiler.passes.size_rules import RULES, Shape
from onnxwalk.interpreter.ir.model import Node, TensorType

#: float, int32, int64 and double: types that a size fits
_HOLD_SIZES = (1, 6, 7, 11)
#: the most axes that a shape is taken to have
_MOST_AXES = 64


class Sizes:
    """What is known of the shapes of a graph's values; all methods return ``None`` if unknown."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._shapes: dict[str, Shape | None] = {}
        self._numbers: dict[str, Shape | None] = {}
        self._nodes = iter(links.graph.nodes)  # whose shapes haven't been asked for
        for value in links.graph.inputs:
            if isinstance(value.type, TensorType) and value.type.shape is not None:
                self._shapes[value.name] = tuple(
                    size if isinstance(size, int) else (value.name, axis)
                    for axis, size in enumerate(value.type.shape)
                )

    def note(self, name: str, shape: Shape) -> None:
        """Note the shape of a value."""
        self._shapes[name] = shape
        self._numbers.clear()

    def shape(self, name: str) -> Shape | None:
        """The shape of a value."""
        if name not in self._shapes:
            constant = self._links.constant(name)
            if constant is not None:
                self._shapes[name] = constant.shape
            elif name in self._links.maker:
                for node in self._nodes:
                    self._find(node)
                    if name in node.outputs:
                        break
            self._shapes.setdefault(name, None)
        return self._shapes[name]

    def numbers(self, name: str) -> Shape | None:
        """The elements of a tensor of at most one axis, if these are sizes."""
        if name not in self._numbers:
            found = self._find_numbers(name)
            self._numbers[name] = found if found is None or len(found) <= _MOST_AXES else None
        return self._numbers[name]

    def _find_numbers(self, name: str) -> Shape | None:
        constant, node = self._links.constant(name), self._links.maker.get(name)
        if constant is not None:
            small = constant.ndim < 2 and constant.size <= 8 and constant.dtype.kind in "iuf"
            values = constant.reshape(-1).tolist() if small else []
            return tuple(map(int, values)) if small and values == [*map(int, values)] else None
        if node is None or not self._links.is_operator(node, node.op_type):
            return None
        if node.op_type == "Shape":
            return None if node.attributes else self.shape(node.inputs[0])
        if node.op_type == "Concat":
            parts = [self.numbers(part) for part in node.inputs]
            known = [part for part in parts if part is not None]
            return sum(known, ()) if len(known) == len(parts) else None
        if node.op_type not in ("Cast", "Gather", "Identity", "Slice", "Squeeze", "Unsqueeze"):
            return None
        values = self.numbers(node.inputs[0]) if node.inputs else None
        if values is None:
            return None
        if node.op_type == "Cast" and node.attributes["to"] not in _HOLD_SIZES:
            return None
        if node.op_type == "Gather":
            indices = self._links.constant(node.inputs[1])
            if indices is None or indices.size != 1:
                return None
            index = int(indices.reshape(-1)[0])
            return (values[index],) if -len(values) <= index < len(values) else None
        if node.op_type == "Slice":
            bounds = self.slices(node)
            return None if bounds is None or set(bounds) != {0} else values[bounds[0]]
        return values

    def slices(self, node: Node) -> dict[int, slice] | None:
        """The constant slices that a Slice takes, by axis."""
        if len(node.inputs) > 1:
            found = [self._links.constant(name) if name else None for name in node.inputs[1:]]
            if any(f is None for f, name in zip(found, node.inputs[1:], strict=True) if name):
                return None
            starts, ends, axes, steps = [
                None if f is None else f.reshape(-1).tolist() for f in (*found, None, None)[:4]
            ]
        else:
            starts, ends = node.attributes.get("starts"), node.attributes.get("ends")
            axes, steps = node.attributes.get("axes"), None
        if starts is None or ends is None:
            return None
        axes, steps = axes or range(len(starts)), steps or [1] * len(starts)
        bounds = {}
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            stop = None if abs(end) >= 2**31 - 1 and (end > 0) == (step > 0) else end
            bounds[axis] = slice(start, stop, step)
        return bounds

    def axes(self, node: Node) -> list[int] | None:
        """The axes of a Squeeze, Unsqueeze or reduction."""
        if len(node.inputs) > 1:
            constant = self._links.constant(node.inputs[1])
            return None if constant is None else constant.reshape(-1).tolist()
        return node.attributes.get("axes")

    def unknown_of_length(self, node: Node, name: str) -> Shape | None:
        """Unknown sizes of a node's result, as many as a tensor of one axis has elements."""
        length = self.shape(name)
        if not length or not isinstance(length[0], int) or length[0] > _MOST_AXES:
            return None
        return tuple((node.outputs[0], axis) for axis in range(length[0]))

    def _find(self, node: Node) -> None:
        """Note the shapes of a node's outputs."""
        rule = RULES.get(node.op_type)
        if rule is None or not node.inputs or not self._links.is_operator(node, node.op_type):
            return
        x = self.shape(node.inputs[0])
        if x is None:
            return
        try:
            shapes = rule(self, node, x)
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError):
            return  # attributes that don't fit, which the operator reports when it is run
        for name, shape in zip(node.outputs, shapes, strict=False):
            if shape is not None and not any(isinstance(size, int) and size < 0 for size in shape):
                self._shapes.setdefault(name, shape)
        self.numbers(node.outputs[0])
