"""Operations along an axis: extremes' places, running sums and products, searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.export.conversion.nodes import Nodes


def _reducing(kind: str) -> Callable[[Nodes], None]:
    """In a type that ONNX reduces; what is more than the type holds is cut off at the end."""

    def write(nodes: Nodes) -> None:
        x = nodes.inputs[0]
        axes, dtype = nodes.constant_input(1), nodes.dtype(x)
        if axes is None:
            raise ValueError(f"the axes of {kind} must be constants")
        wide = nodes.cast(x, np.int64) if dtype.kind in "iu" and dtype != np.int32 else x
        rest = [int(axis) for axis in axes.flatten()]
        keep = int(nodes.flags("keep_dims").get("keep_dims", False))
        if kind == "ReduceMean" and _has_open_batch(nodes, x, rest):
            result = _mean_of_rows(nodes, x, rest, keep)
        else:
            result = _reduce(nodes, kind, wide, rest, keep)
        if wide != x and kind in ("ReduceMax", "ReduceMin"):  # of nothing it is int64's
            result = nodes.clip(result, nodes.limits(x).min, nodes.limits(x).max)
        nodes.become([result if wide == x else nodes.cast(result, dtype)])

    return write


def _reduce(nodes: Nodes, kind: str, x: str, axes: list[int], keep: int) -> str:
    """``axes`` are an attribute until opset 18 (of ReduceSum until 13); none of them means none."""
    if not axes:
        return x
    if kind == "ReduceSum" or nodes.ctx.opset >= 18:
        return nodes.add(kind, [x, nodes.const(axes)], keepdims=keep)
    return nodes.add(kind, [x], axes=axes, keepdims=keep)


def _has_open_batch(nodes: Nodes, x: str, axes: list[int]) -> bool:
    shape = nodes.shape(x)
    return bool(shape) and shape[0] < 0 and any(axis % len(shape) == 0 for axis in axes)


def _mean_of_rows(nodes: Nodes, x: str, axes: list[int], keep: int) -> str:
    """The sum divided by the count, NaN for no rows: what ONNX's mean of nothing is isn't said."""
    total = _reduce(nodes, "ReduceSum", x, axes, keep)
    sizes = nodes.add("Gather", [nodes.add("Shape", [x]), nodes.const(axes)])
    count = nodes.cast(_reduce(nodes, "ReduceProd", sizes, [0], 0), nodes.dtype(x))
    return nodes.add("Div", [total, count])


def _arg_extreme(kind: str) -> Callable[[Nodes], None]:
    """The place of the first extreme. TensorFlow starts from the type's lowest (or largest) finite
    number at place 0 and passes over what isn't beyond it, such as NaN."""

    def write(nodes: Nodes) -> None:
        x, _ = nodes.inputs
        axis = nodes.constant_input(1)
        if axis is None:
            raise ValueError(f"the axis of {kind} must be a constant")
        if nodes.is_float(x):
            start, beyond = (
                (nodes.limits(x).min, "Greater")
                if kind == "ArgMax"
                else (nodes.limits(x).max, "Less")
            )
            limit = nodes.const(start, nodes.dtype(x))
            x = nodes.add("Where", [nodes.add(beyond, [x, limit]), x, limit])
        x = nodes.in_longer([x])[0]
        place = nodes.add(kind, [x], axis=int(axis), keepdims=0)
        nodes.become([nodes.cast(place, nodes.dtype(nodes.node.output[0]))])

    return write


def _cumsum(nodes: Nodes) -> None:
    """In a type that ONNX adds up; what is more than the type holds is cut off at the end."""
    x, axis = nodes.inputs
    dtype = nodes.dtype(x)
    if dtype.kind in "iu":
        x = nodes.cast(x, np.int64)
    flags: dict[str, Any] = {
        name: int(on) for name, on in nodes.flags("exclusive", "reverse").items()
    }
    total = nodes.add("CumSum", [x, axis], **flags)
    nodes.become([nodes.cast(total, dtype) if dtype.kind in "iu" else total])


def _in_top_k(nodes: Nodes) -> None:
    """Whether fewer than k scores of a row are above that of its target; never if the row has a
    NaN or an infinity, or if the target is no class."""
    scores, targets, k = nodes.inputs
    classes = nodes.shape(scores)[1]
    if classes < 0:
        raise ValueError("in_top_k needs a fixed number of classes")
    places = nodes.const(np.arange(classes, dtype=np.int64))
    column = nodes.add("Unsqueeze", [nodes.cast(targets, np.int64), nodes.const([1])])
    is_target = nodes.add("Equal", [column, places])
    zero, axis = nodes.const(0.0, nodes.dtype(scores)), nodes.const([1])
    own = nodes.add("ReduceSum", [nodes.add("Where", [is_target, scores, zero]), axis], keepdims=1)
    above = nodes.cast(nodes.add("Greater", [scores, own]), np.int64)
    count = nodes.add("ReduceSum", [above, axis], keepdims=0)
    nothing = nodes.add("Sub", [scores, scores])  # NaN where a score is not finite
    odd = nodes.cast(nodes.add("IsNaN", [nothing]), np.int64)
    found = nodes.add("ReduceSum", [nodes.cast(is_target, np.int64), axis], keepdims=0)
    valid = nodes.add("Sub", [found, nodes.add("ReduceSum", [odd, axis], keepdims=0)])
    valid = nodes.add("Greater", [valid, nodes.const(0)])
    nodes.replace("And", [valid, nodes.add("Less", [count, nodes.cast(k, np.int64)])])


def _dense_bincount(nodes: Nodes) -> None:
    """(…, numbers) -> (…, size): how many are 0 … size - 1, or the sum of their weights."""
    x, size, weights = nodes.inputs
    if nodes.flags("binary_output").get("binary_output"):
        raise ValueError("counts only")
    dtype = nodes.dtype(nodes.node.output[0])
    ends = [nodes.const(0), nodes.cast(size, np.int64), nodes.const(1)]
    last = nodes.const([len(nodes.shape(x))])
    column = nodes.add("Unsqueeze", [nodes.cast(x, np.int64), last])
    same = nodes.add("Equal", [column, nodes.add("Range", ends)])
    if nodes.shape(weights) == [0]:
        counted = nodes.cast(same, dtype)
    else:
        each = nodes.add("Unsqueeze", [weights, last])
        counted = nodes.add("Where", [same, each, nodes.const(0, dtype)])
    nodes.replace("ReduceSum", [counted, nodes.const([-2])], keepdims=0)


def _band_part(nodes: Nodes) -> None:
    """Zeros outside of the band of matrices: where a row is more than ``lower`` below the diagonal,
    or ``upper`` above it; -1 means no limit. tf2onnx multiplies by 0, which keeps NaN."""
    x = nodes.inputs[0]
    low, high = nodes.constant_input(1), nodes.constant_input(2)
    if low is None or high is None:
        raise ValueError("the band of band_part must be constant")
    rank = len(nodes.shape(x))
    sizes = nodes.add("Shape", [x])
    rows, columns = (
        nodes.add("Range", [nodes.const(0), nodes.add("Gather", [sizes, nodes.const(axis)]),
                            nodes.const(1)])
        for axis in (rank - 2, rank - 1)
    )  # fmt: skip
    below = nodes.add("Sub", [nodes.add("Unsqueeze", [rows, nodes.const([1])]), columns])
    lower, upper = int(low), int(high)
    outside = []
    if lower >= 0:
        outside.append(nodes.add("Greater", [below, nodes.const(lower)]))
    if upper >= 0:
        outside.append(nodes.add("Less", [below, nodes.const(-upper)]))
    if not outside:
        nodes.replace("Identity", [x])
        return
    dtype = nodes.dtype(x)
    (wide,) = nodes.in_longer([x]) if dtype != np.uint8 else (x,)
    zero = nodes.const(0, nodes.dtype(wide))
    any_outside = outside[0] if len(outside) == 1 else nodes.add("Or", outside)
    nodes.become([nodes.cast(nodes.add("Where", [any_outside, zero, wide]), dtype)])


def _diag_part(nodes: Nodes) -> None:
    """(…, rows, columns) -> (…, length): the elements of one diagonal, by their places in a row of
    all; by tf2onnx's formula where sizes are open or several diagonals are asked for."""
    from tf2onnx.onnx_opset.tensor import MatrixDiagPart, MatrixDiagPartV2V3

    x, simple = nodes.inputs[0], nodes.node.type == "MatrixDiagPart"
    rows, columns = nodes.shape(x)[-2:]
    offsets = np.array([0]) if simple else nodes.constant_input(1)
    if min(rows, columns) < 0 or offsets is None or len(set(offsets.flatten())) > 1:
        if simple:
            MatrixDiagPart.version_13(nodes.ctx, nodes.node)
        else:
            MatrixDiagPartV2V3.version_11(nodes.ctx, nodes.node)
        return
    offset = int(offsets.flatten()[0])
    length = min(rows + min(offset, 0), columns - max(offset, 0))
    first = offset if offset > 0 else -offset * columns
    places = nodes.const(first + np.arange(length, dtype=np.int64) * (columns + 1))
    bounds = [nodes.const([bound]) for bound in (0, -2)]
    others = nodes.add("Slice", [nodes.add("Shape", [x]), *bounds])
    flat = nodes.add("Concat", [others, nodes.const([rows * columns])], axis=0)
    nodes.replace("Gather", [nodes.add("Reshape", [x, flat]), places], axis=-1)


def _diag(nodes: Nodes) -> None:
    """(…, n) -> (…, n, n): the values on the diagonal of zeros; by tf2onnx's formula for others, or
    an open n."""
    from tf2onnx.onnx_opset.tensor import MatrixDiag

    x, size = nodes.inputs[0], nodes.shape(nodes.inputs[0])[-1]
    wanted = (0, -1, -1, 0)  # the diagonal, rows, columns and what else is there
    given = [nodes.constant_input(i) for i in range(1, len(nodes.inputs))]
    usual = all(
        g is not None and set(g.flatten()) == {w} for g, w in zip(given, wanted, strict=False)
    )
    if size < 0 or not usual:
        MatrixDiag.version_12(nodes.ctx, nodes.node)
        return
    dtype = nodes.dtype(x)
    (wide,) = nodes.in_longer([x])
    zero = nodes.const(0, nodes.dtype(wide))
    columns = nodes.add("Unsqueeze", [wide, nodes.const([-1])])
    result = nodes.add("Where", [nodes.const(np.eye(size, dtype=bool)), columns, zero])
    nodes.become([nodes.cast(result, dtype)])


def _set_diag(nodes: Nodes) -> None:
    """(…, rows, columns) with one diagonal replaced: each row has one place of it at most. By
    tf2onnx's formula where sizes are open or several diagonals are given."""
    from tf2onnx.onnx_opset.tensor import MatrixSetDiagV3

    x, values = nodes.inputs[:2]
    rows, columns = nodes.shape(x)[-2:]
    offsets = nodes.constant_input(2)
    if min(rows, columns) < 0 or offsets is None or len(set(offsets.flatten())) > 1:
        MatrixSetDiagV3.version_12(nodes.ctx, nodes.node)
        return
    offset = int(offsets.flatten()[0])
    length = min(rows + min(offset, 0), columns - max(offset, 0))
    places = np.clip(np.arange(rows) + min(offset, 0), 0, length - 1)
    by_row = nodes.add("Gather", [values, nodes.const(places, np.int64)], axis=-1)
    dtype = nodes.dtype(x)
    x, by_row = nodes.in_longer([x, nodes.add("Unsqueeze", [by_row, nodes.const([-1])])])
    chosen = nodes.const(np.eye(rows, columns, offset, dtype=bool))
    nodes.become([nodes.cast(nodes.add("Where", [chosen, by_row, x]), dtype)])


def _reverse(nodes: Nodes) -> None:
    """Slices that go backwards."""
    axes = nodes.constant_input(1)
    if axes is None:
        raise ValueError("the axes of reverse must be constants")
    backwards = [nodes.const([value] * axes.size) for value in (-1, np.iinfo(np.int64).min)]
    steps = [nodes.const(axes.flatten(), np.int64), nodes.const([-1] * axes.size)]
    nodes.replace("Slice", [nodes.inputs[0], *backwards, *steps])


def _roll(nodes: Nodes) -> None:
    """What leaves an axis at its end comes in at its start: the last part before the first."""
    x = nodes.inputs[0]
    shifts, axes = nodes.constant_input(1), nodes.constant_input(2)
    if shifts is None or axes is None:
        raise ValueError("the shifts of roll must be constants")
    end = nodes.const([np.iinfo(np.int64).max])
    for shift, axis in zip(shifts.flatten(), axes.flatten(), strict=True):
        size = nodes.shape(nodes.inputs[0])[axis]
        where = nodes.const([int(axis)])
        if size >= 0:
            start = nodes.const([size - int(shift) % max(size, 1)])
        else:
            count = nodes.add("Gather", [nodes.add("Shape", [x]), where])
            some = nodes.add("Max", [count, nodes.const([1])])
            moved = nodes.add("Mod", [nodes.const([int(shift)]), some])
            start = nodes.add("Sub", [count, moved])
        last = nodes.add("Slice", [x, start, end, where])
        first = nodes.add("Slice", [x, nodes.const([0]), start, where])
        x = nodes.add("Concat", [last, first], axis=int(axis))
    nodes.become([x])


def _update_slice(nodes: Nodes) -> None:
    """x with a block of it replaced, from ``start``, which moves so that the block fits."""
    x, block, start = nodes.inputs
    sizes, block_sizes = (nodes.add("Shape", [tensor]) for tensor in (x, block))
    room = nodes.add("Sub", [sizes, block_sizes])
    start = nodes.add("Max", [nodes.cast(start, np.int64), nodes.const(0)])
    start = nodes.add("Min", [start, room])
    pads = nodes.add("Concat", [start, nodes.add("Sub", [room, start])], axis=0)
    dtype = nodes.dtype(x)
    x, block = nodes.in_longer([x, block])
    inside = nodes.add("Expand", [nodes.const(1), block_sizes])
    inside = nodes.cast(nodes.add("Pad", [inside, pads]), np.bool_)
    updated = nodes.add("Where", [inside, nodes.add("Pad", [block, pads]), x])
    nodes.become([nodes.cast(updated, dtype)])


def _cumprod(nodes: Nodes) -> None:
    """A Scan that multiplies what it has by the next slice, over a slice of ones and x: so that
    it has a step even if x is empty.

    The axis comes first: ONNX Runtime can't scan nothing along another one.
    """
    x = nodes.inputs[0]
    rank, dtype = len(nodes.shape(x)), nodes.dtype(x)
    axis = nodes.constant_input(1)
    if axis is None:
        raise ValueError("the axis of cumprod must be a constant")
    first = [int(axis) % rank, *(i for i in range(rank) if i != int(axis) % rank)]
    x = nodes.add("Transpose", [nodes.cast(x, np.int64) if dtype.kind in "iu" else x], perm=first)
    shape = nodes.add("Slice", [nodes.add("Shape", [x]), nodes.const([1]), nodes.const([rank])])
    ones = nodes.add("Expand", [nodes.const(1, nodes.dtype(x)), shape])
    row = nodes.add("Unsqueeze", [ones, nodes.const([0])])
    flags = nodes.flags("exclusive", "reverse")
    reverse, exclusive = flags.get("reverse", False), flags.get("exclusive", False)
    steps = nodes.add("Concat", [x, row] if reverse else [row, x], axis=0)
    _, products = nodes.add(
        "Scan", [ones, steps], outputs=2, branches={"body": _product_step(nodes, x, rank - 1)},
        num_scan_inputs=1, scan_input_directions=[int(reverse)],
        scan_output_directions=[int(reverse)],
    )  # fmt: skip
    start, end = (0, -1) if reverse != exclusive else (1, np.iinfo(np.int64).max)
    bounds = [nodes.const([bound]) for bound in (start, end, 0)]
    products = nodes.add("Slice", [products, *bounds])
    products = nodes.add("Transpose", [products], perm=[first.index(i) for i in range(rank)])
    nodes.become([nodes.cast(products, dtype)])


def _product_step(nodes: Nodes, x: str, rank: int) -> object:
    """The body of the Scan: (product, slice) -> (product · slice, the same for the output)."""
    graph = nodes.ctx.create_new_graph_with_same_config()
    graph.parent_graph = nodes.ctx
    dtype, shape = nodes.ctx.get_dtype(x), [-1] * rank
    product, row = f"{nodes.scope}/product", f"{nodes.scope}/slice"
    for name in (product, row):
        graph.add_graph_input(name, dtype, shape)
    following = graph.make_node("Mul", [product, row], dtypes=[dtype], shapes=[shape]).output[0]
    result = graph.make_node("Identity", [following], dtypes=[dtype], shapes=[shape]).output[0]
    graph.add_graph_output(following)
    graph.add_graph_output(result)
    return graph


WRITERS: dict[str, Callable[[Nodes], None]] = {
    **{kind: _reducing(f"Reduce{kind}") for kind in ("Max", "Mean", "Min", "Prod", "Sum")},
    "ArgMax": _arg_extreme("ArgMax"),
    "ArgMin": _arg_extreme("ArgMin"),
    "Cumsum": _cumsum,
    "Cumprod": _cumprod,
    "DenseBincount": _dense_bincount,
    **dict.fromkeys(("MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3"), _diag_part),
    "MatrixBandPart": _band_part,
    **dict.fromkeys(("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3"), _diag),
    "MatrixSetDiagV3": _set_diag,
    "XlaDynamicUpdateSlice": _update_slice,
    "ReverseV2": _reverse,
    "Roll": _roll,
    "InTopKV2": _in_top_k,
}
