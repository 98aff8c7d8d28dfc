"""TensorFlow operations that tf2onnx has no mapping for, in terms of those that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.export.tracing.markers import replace
from onnxwalk.export.tracing.resizing import (
    MATRIX_RESIZES,
    bilinear_resize,
    matrix_resize,
    nearest_resize,
)

#: operation that is left over -> what to do about it
ADVICE = {
    **dict.fromkeys(MATRIX_RESIZES, "give the images a fixed height and width"),
    "ScatterNd": "export to opset 16 or later",
}

Handler = Callable[[Any, Any, str, Any], None]


def handlers() -> dict[str, tuple[Handler, list[Any]]]:
    """TensorFlow operation -> its handler, as tf2onnx's ``custom_op_handlers`` wants it."""
    return {
        "Erfc": (_erfc, []),
        "Expm1": (_expm1, []),
        "Log": (_log, []),
        "Log1p": (_log1p, []),
        "Bucketize": (_bucketize, []),
        "Conv3D": (_conv3d, []),
        "FloorDiv": (_floor_div, []),
        "FloorMod": (_floor_mod, []),
        "Greater": (_compare, []),
        "Less": (_compare, []),
        "OneHot": (_one_hot, []),
        "Pad": (_pad, []),
        "PadV2": (_pad, []),
        "Round": (_round, []),
        "ScatterNd": (_scatter_nd, []),
        "TopKV2": (_top_k, []),
        "ResizeBilinear": (bilinear_resize, []),
        "ResizeNearestNeighbor": (nearest_resize, []),
        **{kind: (matrix_resize, []) for kind in MATRIX_RESIZES},
    }


def _erfc(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """erfc(x) = 1 - erf(x), as gelu uses it."""
    erf = _before(ctx, node, name, "Erf", list(node.input))
    replace(ctx, node, "Sub", [_one(ctx, node, name), erf])


def _expm1(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """expm1(x) = exp(x) - 1"""
    exp = _before(ctx, node, name, "Exp", list(node.input))
    replace(ctx, node, "Sub", [exp, _one(ctx, node, name)])


def _log(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """In its own type; tf2onnx goes by way of float32, and knows no float16."""
    replace(ctx, node, "Log", list(node.input))


def _log1p(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """log1p(x) = log(1 + x)"""
    total = _before(ctx, node, name, "Add", [node.input[0], _one(ctx, node, name)])
    replace(ctx, node, "Log", [total])


def _bucketize(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """How many boundaries are at or below x: int32, shaped as x."""
    from onnx import TensorProto, helper

    x, rank = node.input[0], len(ctx.get_shape(node.input[0]))
    if ctx.get_dtype(x) not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        x = _op(ctx, name, "Cast", [x], to=TensorProto.FLOAT)
    dtype = helper.tensor_dtype_to_np_dtype(ctx.get_dtype(x))
    boundaries = _const(ctx, name, np.array(node.get_attr("boundaries").floats, dtype))
    axis = _const(ctx, name, np.array([rank]))
    x = _op(ctx, name, "Unsqueeze", [x, axis])
    above = _op(ctx, name, "GreaterOrEqual", [x, boundaries])
    above = _op(ctx, name, "Cast", [above], to=TensorProto.INT32)
    replace(ctx, node, "ReduceSum", [above, axis], keepdims=0)


def _one_hot(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """Where(index == 0 … depth - 1, on, off): ONNX's OneHot counts negative indices from the end,
    TensorFlow's are off everywhere."""
    indices, _, on, off = node.input
    rank, axis = len(ctx.get_shape(indices)), node.get_attr("axis").i
    axis = rank if axis < 0 else axis
    if node.inputs[1].is_const():
        from onnx import helper

        dtype = helper.tensor_dtype_to_np_dtype(ctx.get_dtype(indices))
        count = np.arange(int(node.inputs[1].get_tensor_value()), dtype=dtype)
        classes = _const(ctx, name, count.reshape([-1] + [1] * (rank - axis)))
    else:
        raise ValueError("the depth of one_hot must be a constant")
    indices = _op(ctx, name, "Unsqueeze", [indices, _const(ctx, name, np.array([axis]))])
    same = _op(ctx, name, "Equal", [indices, classes])
    replace(ctx, node, "Where", [same, on, off])


def _pad(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """Of any type; tf2onnx takes short floats and bytes to float32 but leaves the constant behind.

    TensorFlow's paddings are (before, after) by axis, ONNX's all the befores and then the afters.
    """
    x, paddings, *value = node.input
    if node.inputs[1].is_const():
        amounts = node.inputs[1].get_tensor_value(as_list=False).astype(np.int64)
        pads = _const(ctx, name, amounts.T.flatten())
    else:
        from onnx import TensorProto

        pads = _op(ctx, name, "Cast", [paddings], to=TensorProto.INT64)
        pads = _op(ctx, name, "Transpose", [pads], perm=[1, 0])
        pads = _op(ctx, name, "Reshape", [pads, _const(ctx, name, np.array([-1]))])
    replace(ctx, node, "Pad", [x, pads, *value])


def _floor_mod(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """x - y * floor(x / y), with the sign of y; tf2onnx's has that of x for integers."""
    x, y = node.input
    if not _is_float(ctx, x):
        replace(ctx, node, "Mod", [x, y])
        return
    rest = _op(ctx, name, "Mod", [x, y], fmod=1)
    dtype = _dtype(ctx, x)
    zero = _const(ctx, name, np.zeros((), dtype))
    other = _op(ctx, name, "Less", [_op(ctx, name, "Mul", [rest, y]), zero])
    replace(ctx, node, "Where", [other, _op(ctx, name, "Add", [rest, y]), rest])


def _floor_div(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """floor(x / y), for integers (x - mod(x, y)) / y; tf2onnx's rounds those towards zero."""
    x, y = node.input
    if _is_float(ctx, x):
        replace(ctx, node, "Floor", [_op(ctx, name, "Div", [x, y])])
        return
    whole = _op(ctx, name, "Sub", [x, _op(ctx, name, "Mod", [x, y])])
    replace(ctx, node, "Div", [whole, y])


def _compare(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """Greater or Less; tf2onnx takes integers to float32, where 2²⁴ and 2²⁴ + 1 are equal."""
    replace(ctx, node, node.type, [_comparable(ctx, name, x) for x in node.input])


def _top_k(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """The k largest and their places; tf2onnx takes integers and float64 to float32."""
    from onnx import TensorProto
    from tf2onnx import utils

    x, k = node.input
    outputs, dtypes, shapes = list(node.output), node.output_dtypes, node.output_shapes
    k = _op(ctx, name, "Cast", [k], to=TensorProto.INT64)
    k = _op(ctx, name, "Unsqueeze", [k, _const(ctx, name, np.array([0]))])
    x = _comparable(ctx, name, x)
    computed = [ctx.get_dtype(x), TensorProto.INT64]
    ctx.remove_node(node.name)
    top = ctx.make_node(
        "TopK",
        [x, k],
        name=utils.make_name(name),
        output_count=2,
        dtypes=computed,
        shapes=shapes,
    )
    for result, had, output, dtype, shape in zip(
        top.output, computed, outputs, dtypes, shapes, strict=True
    ):
        kind, attr = ("Identity", {}) if had == dtype else ("Cast", {"to": dtype})
        ctx.make_node(kind, [result], attr=attr, outputs=[output], dtypes=[dtype], shapes=[shape])


def _scatter_nd(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """Values added up at their indices; tf2onnx's keeps the last of those with the same index."""
    from onnx import TensorProto, helper

    if ctx.opset < 16:
        raise ValueError("scatter adds values up, which ONNX's ScatterND does from opset 16 on")
    indices, values, shape = node.input
    zero = helper.make_tensor("zero", ctx.get_dtype(values), [1], [0])
    shape = _op(ctx, name, "Cast", [shape], to=TensorProto.INT64)
    zeros = _op(ctx, name, "ConstantOfShape", [shape], value=zero)
    indices = _op(ctx, name, "Cast", [indices], to=TensorProto.INT64)
    replace(ctx, node, "ScatterND", [zeros, indices, values], reduction="add")


def _comparable(ctx: Any, name: str, x: str) -> str:
    """x in a type that ONNX Runtime compares and sorts, with the same values: int64 for integers,
    as tf2onnx calls a loop's counter int32 although it is int64. uint64 stays: nothing holds it.
    """
    from onnx import helper

    dtype = _dtype(ctx, x)
    if np.issubdtype(dtype, np.integer):
        wide = dtype if dtype == np.uint64 else np.dtype(np.int64)
    else:
        wide = np.promote_types(dtype, np.float32)
    if wide == dtype:
        return x
    to = helper.np_dtype_to_tensor_dtype(wide)
    cast = _op(ctx, name, "Cast", [x], to=to)
    ctx.set_dtype(cast, to)
    return cast


def _round(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """To the nearest even integer at halves, which tf2onnx's formula doesn't do."""
    x = node.input[0]
    replace(ctx, node, "Round" if _is_float(ctx, x) else "Identity", [x])


def _is_float(ctx: Any, tensor: str) -> bool:
    return np.issubdtype(_dtype(ctx, tensor), np.floating)


def _dtype(ctx: Any, tensor: str) -> Any:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(ctx.get_dtype(tensor))


def _conv3d(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """tf2onnx's own, which forgets the groups: channels of the input / those of the kernel."""
    from tf2onnx.onnx_opset.nn import ConvOp

    first = node.get_attr_str("data_format").startswith("NC")
    channels = ctx.get_shape(node.input[0])[1 if first else -1]
    groups = channels // ctx.get_shape(node.input[1])[3]
    ConvOp.version_11(ctx, node)
    node.set_attr("group", groups)


def _op(ctx: Any, name: str, kind: str, inputs: list[str], **attributes: Any) -> str:
    from tf2onnx import utils

    scoped = utils.make_name(f"{name}/{kind}")
    return ctx.make_node(kind, inputs, attr=attributes, name=scoped).output[0]


def _const(ctx: Any, name: str, array: Any) -> str:
    from tf2onnx import utils

    return ctx.make_const(utils.make_name(f"{name}/const"), array).output[0]


def _one(ctx: Any, node: Any, name: str) -> str:
    from onnx import helper
    from tf2onnx import utils

    dtype = helper.tensor_dtype_to_np_dtype(ctx.get_dtype(node.output[0]))
    return ctx.make_const(utils.make_name(f"{name}/one"), np.array(1, dtype)).output[0]


def _before(ctx: Any, node: Any, name: str, kind: str, inputs: list[str]) -> str:
    from tf2onnx import utils

    output = node.output[0]
    return ctx.make_node(
        kind,
        inputs,
        name=utils.make_name(f"{name}/{kind}"),
        dtypes=[ctx.get_dtype(output)],
        shapes=[ctx.get_shape(output)],
    ).output[0]
