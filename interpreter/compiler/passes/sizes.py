"""Sizes of values as far as they are known at load: numbers, or names of dimensions.

Two values have the same size along an axis if ``Sizes`` gives the same ``Size`` for both, as for
the batch of an input and of what is computed from it.
"""

from __future__ import annotations

from typing import TypeAlias

from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.ir.model import Node, TensorType

#: a number, or the axis of a value whose size isn't known at load
Size: TypeAlias = "int | tuple[str, int]"
Shape: TypeAlias = tuple[Size, ...]

#: float, int32, int64 and double: types that a size fits
_HOLD_SIZES = (1, 6, 7, 11)
_SAME_SHAPE = ("Cast", "Identity", "Not", "Tanh", "Sigmoid", "Relu", "ReverseSequence")
_BROADCAST = ("Add", "Sub", "Mul", "Div", "Equal", "Less", "Greater", "And", "Or")


class Sizes:
    """What is known of the shapes of a graph's values; all methods return ``None`` if unknown."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._shapes: dict[str, Shape | None] = {}
        for value in links.graph.inputs:
            if isinstance(value.type, TensorType) and value.type.shape is not None:
                self._shapes[value.name] = tuple(
                    size if isinstance(size, int) else (value.name, axis)
                    for axis, size in enumerate(value.type.shape)
                )

    def note(self, name: str, shape: Shape) -> None:
        """Note the shape of a value."""
        self._shapes[name] = shape

    def shape(self, name: str) -> Shape | None:
        """The shape of a value."""
        if name not in self._shapes:
            self._shapes[name] = None  # while it is being found
            constant, node = self._links.constant(name), self._links.maker.get(name)
            if constant is not None:
                self._shapes[name] = constant.shape
            elif node is not None and self._links.context.is_builtin(node) and not node.domain:
                if node.op_type == "Split":
                    self._split(node)
                else:
                    self._shapes[name] = self._result(node)
        return self._shapes[name]

    def numbers(self, name: str) -> Shape | None:
        """The elements of a tensor of at most one axis, if these are sizes."""
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
        values = self.numbers(node.inputs[0]) if node.inputs else None
        if values is None:
            return None
        if node.op_type == "Cast" and node.attributes["to"] not in _HOLD_SIZES:
            return None
        if node.op_type in ("Cast", "Identity", "Squeeze", "Unsqueeze"):
            return values
        if node.op_type == "Gather":
            indices = self._links.constant(node.inputs[1])
            if indices is None or indices.size != 1:
                return None
            index = int(indices.reshape(-1)[0])
            return (values[index],) if -len(values) <= index < len(values) else None
        if node.op_type == "Slice":
            bounds = self.slices(node)
            return None if bounds is None or set(bounds) != {0} else values[bounds[0]]
        return None

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
        """The axes of a Squeeze or Unsqueeze."""
        if len(node.inputs) > 1:
            constant = self._links.constant(node.inputs[1])
            return None if constant is None else constant.reshape(-1).tolist()
        return node.attributes.get("axes")

    def _result(self, node: Node) -> Shape | None:
        kind = node.op_type
        if kind in _BROADCAST:
            return self._broadcast(node)
        if kind == "ConstantOfShape":
            return self.numbers(node.inputs[0])
        x = self.shape(node.inputs[0]) if node.inputs else None
        if x is None:
            return None
        if kind in _SAME_SHAPE:
            return x
        if kind == "Expand":  # of a scalar: of exactly this shape
            return None if x else self.numbers(node.inputs[1])
        if kind == "Transpose":
            perm = node.attributes.get("perm", range(len(x))[::-1])
            return tuple(x[axis] for axis in perm) if len(perm) == len(x) else None
        if kind == "Gather":
            ids, axis = self.shape(node.inputs[1]), node.attributes.get("axis", 0) % len(x)
            return None if ids is None else (*x[:axis], *ids, *x[axis + 1 :])
        if kind == "MatMul":
            y = self.shape(node.inputs[1])
            return (*x[:-1], y[1]) if y is not None and len(y) == 2 and len(x) > 1 else None
        if kind in ("Squeeze", "Unsqueeze"):
            return self._change_axes(node, x)
        if kind == "Slice":
            return self._sliced(node, x)
        if kind == "Concat":
            return self._joined(node)
        return None

    def _split(self, node: Node) -> None:
        """Note the shapes of the parts, if they are equal ones of a size that is known."""
        x, axis, count = (
            self.shape(node.inputs[0]),
            node.attributes.get("axis", 0),
            len(node.outputs),
        )
        sizes = self._links.constant(node.inputs[1]) if len(node.inputs) > 1 else None
        given = node.attributes.get("split") if sizes is None else sizes.reshape(-1).tolist()
        width = None if x is None else x[axis]
        if x is None or not isinstance(width, int) or len({*(given or ())}) > 1:
            return
        if (len(node.inputs) > 1 and sizes is None) or width % count:
            return
        for name in node.outputs:
            axes = list(x)
            axes[axis] = width // count
            self._shapes[name] = tuple(axes)

    def _change_axes(self, node: Node, x: Shape) -> Shape | None:
        axes = self.axes(node)
        if axes is None:
            return None
        if node.op_type == "Squeeze":
            gone = {axis % len(x) for axis in axes}
            if any(x[axis] != 1 for axis in gone):
                return None
            return tuple(size for axis, size in enumerate(x) if axis not in gone)
        rank, rest = len(x) + len(axes), iter(x)
        new = {axis % rank for axis in axes}
        return tuple(1 if axis in new else next(rest) for axis in range(rank))

    def _sliced(self, node: Node, x: Shape) -> Shape | None:
        bounds = self.slices(node)
        if bounds is None:
            return None
        sizes = list(x)
        for axis, bound in bounds.items():
            size = x[axis]
            if bound in (slice(-1, None, -1), slice(0, None, 1)):
                continue
            if isinstance(size, int):
                sizes[axis] = len(range(*bound.indices(size)))
            elif bound in (slice(0, 1, 1), slice(-1, None, 1)):
                sizes[axis] = 1  # or 0, and what follows fails
            else:
                return None
        return tuple(sizes)

    def _joined(self, node: Node) -> Shape | None:
        shapes = [shape for shape in map(self.shape, node.inputs) if shape is not None]
        if len(shapes) < len(node.inputs) or len({len(shape) for shape in shapes}) > 1:
            return None
        axis = node.attributes["axis"] % len(shapes[0])
        sizes = [shape[axis] for shape in shapes]
        rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        if len(rest) > 1 or not all(isinstance(size, int) for size in sizes):
            return None
        total = sum(size for size in sizes if isinstance(size, int))
        return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])

    def _broadcast(self, node: Node) -> Shape | None:
        shapes = [shape for shape in map(self.shape, node.inputs) if shape is not None]
        if len(shapes) < len(node.inputs):
            return None
        rank = max(map(len, shapes))
        result = []
        for sizes in zip(*(((1,) * (rank - len(s)) + s) for s in shapes), strict=True):
            different = set(sizes) - {1}
            if len(different) > 1:
                return None
            result.append(different.pop() if different else 1)
        return tuple(result)
