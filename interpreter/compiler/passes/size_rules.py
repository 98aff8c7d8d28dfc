"""The sizes of operators' results, as far as they follow from sizes at load: rules for ``Sizes``.

A rule gets the node and the shape of its first input, and returns the shapes of the node's outputs:
``None`` for one whose rank isn't known. An axis whose size depends on more than sizes is
``unknown``, which no other axis equals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from onnxwalk.interpreter.ir.model import Node
from onnxwalk.ops.shared.windows import window_axes

#: a number, or the axis of a value whose size isn't known at load
Size: TypeAlias = "int | tuple[str, int]"
Shape: TypeAlias = tuple[Size, ...]


class Sizes(Protocol):
    """What rules ask for: ``passes.sizes.Sizes``."""

    def shape(self, name: str) -> Shape | None: ...

    def numbers(self, name: str) -> Shape | None: ...

    def axes(self, node: Node) -> list[int] | None: ...

    def slices(self, node: Node) -> dict[int, slice] | None: ...

    def unknown_of_length(self, node: Node, name: str) -> Shape | None: ...


#: (sizes, node, shape of the first input) -> the shape of each output
Rule: TypeAlias = "Callable[[Sizes, Node, Shape], Sequence[Shape | None]]"

SAME_SHAPE = """
Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization BitwiseNot Cast CastLike Ceil Celu Clip Cos
Cosh CumSum DequantizeLinear Dropout Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid
HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log
LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg Not PRelu QuantizeLinear
RMSNormalization Reciprocal Relu ReverseSequence Round Scatter ScatterElements ScatterND Selu
Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu
""".split()
BROADCAST = """
Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual
Max Mean Min Mod Mul Or Pow Sub Sum Where Xor
""".split()
_REDUCE = "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd"
REDUCE = [*_REDUCE.split(), "ReduceSum", "ReduceSumSquare"]


def unknown(node: Node, axis: int, output: int = 0) -> Size:
    """A size that isn't known."""
    return (node.outputs[output], axis)


def integers(sizes: Sequence[Size] | None) -> list[int] | None:
    """The sizes if all are known."""
    found = [size for size in sizes or () if isinstance(size, int)]
    return None if sizes is None or len(found) < len(sizes) else found


def same_shape(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    return [x]


def broadcast(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    return [broadcast_shapes(node, [sizes.shape(name) for name in node.inputs])]


def broadcast_shapes(node: Node, shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape that these broadcast to; axes are unknown where two unknown sizes meet."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    rank = max(map(len, known))
    result: list[Size] = []
    for axis, found in enumerate(zip(*(((1,) * (rank - len(s)) + s) for s in known), strict=True)):
        different = set(found) - {1}
        numbers = {size for size in different if isinstance(size, int)}
        if len(different) <= 1:
            result.append(different.pop() if different else 1)
        elif len(numbers) == 1:  # an unknown size is 1 here, or the same
            result.append(numbers.pop())
        else:
            result.append(unknown(node, axis))
    return tuple(result)


def matmul(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    y = sizes.shape(node.inputs[1])
    if y is None or not x or not y:
        return [None]
    batch = broadcast_shapes(node, [x[:-2], y[:-2]])
    if batch is None:
        return [None]
    return [(*batch, *x[-2:-1], *(y[-1:] if len(y) > 1 else ()))]


def gemm(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    y = sizes.shape(node.inputs[1])
    if y is None or len(x) != 2 or len(y) != 2:
        return [None]
    rows, columns = node.attributes.get("transA", 0), node.attributes.get("transB", 0)
    return [(x[1 if rows else 0], y[0 if columns else 1])]


def windows(node: Node, x: Shape, channels: Size, kernel: Sequence[int]) -> Shape:
    """The shape of a convolution's or a pool's result."""
    result: list[Size] = [x[0], channels]
    rank = len(x) - 2
    how = {k: node.attributes[k] for k in ("auto_pad", "ceil_mode") if k in node.attributes}
    for axis, (size, taps) in enumerate(zip(x[2:], kernel, strict=True)):
        own: dict[str, Any] = {
            name: node.attributes[name][axis::rank]
            for name in ("strides", "dilations", "pads")
            if node.attributes.get(name)
        }
        result.append(
            window_axes([size], [taps], **own, **how)[0].windows
            if isinstance(size, int)
            else unknown(node, axis + 2)
        )
    return tuple(result)


def conv(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    weights = sizes.shape(node.inputs[1])
    if weights is None:
        return [None]
    kernel = integers(node.attributes.get("kernel_shape") or weights[2:])
    if kernel is None:
        return [None]
    return [windows(node, x, weights[0], kernel)]


def pool(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    shape = windows(node, x, x[1], node.attributes["kernel_shape"])
    return [shape] * len(node.outputs)


def global_pool(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    return [(*x[:2], *[1] * (len(x) - 2))]


def product(node: Node, axis: int, sizes: Shape) -> Size:
    """The number of elements of these axes together, as the size of a result's axis."""
    others = [size for size in sizes if not isinstance(size, int)]
    count = math.prod(size for size in sizes if isinstance(size, int))
    if not others or count == 0:
        return count
    return others[0] if len(others) == count == 1 else unknown(node, axis)


def flatten(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    axis = node.attributes.get("axis", 1)
    axis += len(x) if axis < 0 else 0
    return [(product(node, 0, x[:axis]), product(node, 1, x[axis:]))]


def reshape(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    given = node.attributes.get("shape") if len(node.inputs) < 2 else sizes.numbers(node.inputs[1])
    if given is None:
        return [sizes.unknown_of_length(node, node.inputs[1]) if len(node.inputs) > 1 else None]
    copied = not node.attributes.get("allowzero", 0)
    target: list[Size] = [
        x[i] if size == 0 and copied and i < len(x) else size for i, size in enumerate(given)
    ]
    if -1 in target:
        at, rest = target.index(-1), list(x)
        others = [size for size in target if size != -1]
        for size in [size for size in others if not isinstance(size, int)]:
            if size in rest:  # on both sides
                rest.remove(size)
                others.remove(size)
        fixed = math.prod(size for size in others if isinstance(size, int))
        left: Size = unknown(node, at)
        if all(isinstance(size, int) for size in (*rest, *others)) and fixed:
            left = math.prod(size for size in rest if isinstance(size, int)) // fixed
        elif all(isinstance(size, int) for size in others):
            numbers = math.prod(size for size in rest if isinstance(size, int))
            names = [size for size in rest if not isinstance(size, int)]
            left = names[0] if len(names) == 1 and numbers == fixed else left
        target[at] = left
    return [tuple(target)]


def reduced(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    keep = node.attributes.get("keepdims", 1)
    if len(node.inputs) > 1 and node.inputs[1] and sizes.axes(node) is None:
        return [tuple(unknown(node, axis) for axis in range(len(x))) if keep else None]
    axes = sizes.axes(node) if "axes" in node.attributes or len(node.inputs) > 1 else None
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        return [x]
    gone = {axis % len(x) for axis in axes or range(len(x))}
    return [tuple(1 if i in gone else size for i, size in enumerate(x) if keep or i not in gone)]


def arg_reduced(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    axis = node.attributes.get("axis", 0) % len(x)
    return [(*x[:axis], *([1] if node.attributes.get("keepdims", 1) else []), *x[axis + 1 :])]


def top_k(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    count = [node.attributes["k"]] if "k" in node.attributes else sizes.numbers(node.inputs[1])
    axis = node.attributes.get("axis", -1) % len(x)
    size = count[0] if count else unknown(node, axis)
    return [(*x[:axis], size, *x[axis + 1 :])] * 2


def recurrent(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    weights = sizes.shape(node.inputs[2])
    hidden = node.attributes.get("hidden_size", None if weights is None else weights[2])
    if hidden is None or len(x) != 3:
        return [None] * len(node.outputs)
    directions = 2 if node.attributes.get("direction") == "bidirectional" else 1
    if node.attributes.get("layout", 0):
        return [(x[0], x[1], directions, hidden)] + [(x[0], directions, hidden)] * 2
    return [(x[0], directions, x[1], hidden)] + [(directions, x[1], hidden)] * 2


def pad(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    inputs = (*node.inputs, "", "", "")[:4]
    given = node.attributes.get("pads", node.attributes.get("paddings"))
    pads = integers(sizes.numbers(inputs[1]) if inputs[1] else given)
    axes = integers(sizes.numbers(inputs[3])) if inputs[3] else list(range(len(x)))
    if pads is None or axes is None:
        return [tuple(unknown(node, axis) for axis in range(len(x)))]
    result = list(x)
    for position, axis in enumerate(axes):
        more, size = pads[position] + pads[position + len(axes)], x[axis]
        if more:
            result[axis] = size + more if isinstance(size, int) else unknown(node, axis)
    return [tuple(result)]


def tile(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    times = sizes.numbers(node.inputs[1])
    if times is None or len(times) != len(x):
        return [tuple(unknown(node, axis) for axis in range(len(x)))]
    return [tuple(product(node, i, pair) for i, pair in enumerate(zip(x, times, strict=True)))]


def expand(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    numbers = sizes.numbers(node.inputs[1])
    shape = numbers or sizes.unknown_of_length(node, node.inputs[1])
    return [None if shape is None else broadcast_shapes(node, [x, shape])]


def gather(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    ids, axis = sizes.shape(node.inputs[1]), node.attributes.get("axis", 0) % len(x)
    return [None if ids is None else (*x[:axis], *ids, *x[axis + 1 :])]


def gather_elements(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    return [sizes.shape(node.inputs[1])]


def gather_nd(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    ids = sizes.shape(node.inputs[1])
    if not ids or not isinstance(ids[-1], int):
        return [None]
    return [(*ids[:-1], *x[node.attributes.get("batch_dims", 0) + ids[-1] :])]


def transpose(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    perm = node.attributes.get("perm", range(len(x))[::-1])
    return [tuple(x[axis] for axis in perm) if len(perm) == len(x) else None]


def concat(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    shapes = [shape for shape in map(sizes.shape, node.inputs) if shape is not None]
    if len(shapes) < len(node.inputs) or len({len(shape) for shape in shapes}) > 1:
        return [None]
    axis = node.attributes["axis"] % len(x)
    result: list[Size] = []
    for i, found in enumerate(zip(*shapes, strict=True)):
        numbers = [size for size in found if isinstance(size, int)]
        if i == axis:
            result.append(sum(numbers) if len(numbers) == len(found) else unknown(node, i))
        elif len(set(found)) == 1:
            result.append(found[0])
        else:  # they are equal, or there is no result
            result.append(numbers[0] if numbers else unknown(node, i))
    return [tuple(result)]


def split(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    axis, count = node.attributes.get("axis", 0) % len(x), len(node.outputs)
    named = len(node.inputs) > 1 and node.inputs[1]
    given = sizes.numbers(node.inputs[1]) if named else node.attributes.get("split")
    width = x[axis]
    if given is None and not named and isinstance(width, int):
        each = -(-width // count)
        given = [min(each, width - each * i) for i in range(count)]
    if given is None or len(given) != count:
        given = [unknown(node, axis, i) for i in range(count)]
    return [(*x[:axis], size, *x[axis + 1 :]) for size in given]


def sliced(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    bounds = sizes.slices(node)
    if bounds is None:
        return [tuple(unknown(node, axis) for axis in range(len(x)))]
    result = list(x)
    for axis, bound in bounds.items():
        size = x[axis]
        if bound in (slice(-1, None, -1), slice(0, None, 1)):
            continue
        if isinstance(size, int):
            result[axis] = len(range(*bound.indices(size)))
        elif bound in (slice(0, 1, 1), slice(-1, None, 1)):
            result[axis] = 1  # or 0, and what follows fails
        else:
            result[axis] = unknown(node, axis % len(x))
    return [tuple(result)]


def squeeze(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    axes = sizes.axes(node)
    if axes is None:
        if not all(isinstance(size, int) for size in x) or len(node.inputs) > 1:
            return [None]
        axes = [axis for axis, size in enumerate(x) if size == 1]
    gone = {axis % len(x) for axis in axes}
    if any(x[axis] != 1 and isinstance(x[axis], int) for axis in gone):
        return [None]
    return [tuple(size for axis, size in enumerate(x) if axis not in gone)]


def unsqueeze(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    axes = sizes.axes(node)
    if axes is None:
        return [None]
    rank, rest = len(x) + len(axes), iter(x)
    new = {axis % rank for axis in axes}
    return [tuple(1 if axis in new else next(rest) for axis in range(rank))]


def constant_of_shape(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    return [sizes.numbers(node.inputs[0]) or sizes.unknown_of_length(node, node.inputs[0])]


def shape_of(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return [(len(x[start:end]),)]


def resize(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    return [tuple(unknown(node, axis) for axis in range(len(x)))]


def depth_to_space(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    block = node.attributes["blocksize"]
    moved = block if node.op_type == "DepthToSpace" else -block
    result = [x[0]]
    for axis, (size, by) in enumerate(zip(x[1:], (-moved * block, moved, moved), strict=True)):
        if not isinstance(size, int):
            result.append(unknown(node, axis + 1))
        else:
            result.append(size * by if by > 0 else size // -by)
    return [tuple(result)]


def one_hot(sizes: Sizes, node: Node, x: Shape) -> Sequence[Shape | None]:
    depth, axis = sizes.numbers(node.inputs[1]), node.attributes.get("axis", -1) % (len(x) + 1)
    return [(*x[:axis], depth[0] if depth else unknown(node, axis), *x[axis:])]


RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME_SHAPE, same_shape),
    **dict.fromkeys(BROADCAST, broadcast),
    **dict.fromkeys(REDUCE, reduced),
    **dict.fromkeys(["ArgMax", "ArgMin"], arg_reduced),
    **dict.fromkeys(["AveragePool", "LpPool", "MaxPool"], pool),
    **dict.fromkeys(["GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"], global_pool),
    **dict.fromkeys(["GRU", "LSTM", "RNN"], recurrent),
    **dict.fromkeys(["DepthToSpace", "SpaceToDepth"], depth_to_space),
    **dict.fromkeys(["Resize", "Upsample"], resize),
    "Concat": concat,
    "ConstantOfShape": constant_of_shape,
    "Conv": conv,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Gemm": gemm,
    "MatMul": matmul,
    "NonMaxSuppression": lambda sizes, node, x: [(unknown(node, 0), 3)],
    "NonZero": lambda sizes, node, x: [(len(x), unknown(node, 1))],
    "OneHot": one_hot,
    "Pad": pad,
    "Range": lambda sizes, node, x: [(unknown(node, 0),)],
    "Reshape": reshape,
    "Shape": shape_of,
    "Size": lambda sizes, node, x: [()],
    "Slice": sliced,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "TopK": top_k,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
