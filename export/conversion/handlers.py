"""TensorFlow operations that tf2onnx has no mapping for, or a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxwalk.export.conversion import axes, elementwise, integers, mathematics, segments
from onnxwalk.export.conversion.nodes import Nodes
from onnxwalk.export.conversion.pooling import max_pool
from onnxwalk.export.conversion.refused import INEXACT, UNMAPPED
from onnxwalk.export.conversion.resizes import (
    MATRIX_RESIZES,
    bilinear_resize,
    matrix_resize,
    nearest_resize,
)

#: operation that can't be converted -> advice for the error message
_NO_MATRICES = (
    "ONNX has no operator for it: compute it outside of the model, and give it the result"
)
_NO_COMPLEX = "ONNX computes no complex numbers: keep real and imaginary parts in two tensors"
_NO_PATHS = "ONNX can't search paths: compute losses and texts outside of the model"
ADVICE = {
    **INEXACT,
    **UNMAPPED,
    **dict.fromkeys(
        "Cholesky Eig LogMatrixDeterminant Lu MatrixInverse MatrixSolve MatrixSolveLs "
        "MatrixTriangularSolve Qr SelfAdjointEigV2 Svd".split(),
        _NO_MATRICES,
    ),
    **dict.fromkeys("Angle Complex ComplexAbs Conj Imag Real".split(), _NO_COMPLEX),
    **dict.fromkeys("CTCBeamSearchDecoder CTCGreedyDecoder CTCLoss CTCLossV2".split(), _NO_PATHS),
    **dict.fromkeys(
        "BitwiseAnd BitwiseOr BitwiseXor".split(), "ONNX has it from opset 18 on: export to that"
    ),
    "BesselI0": "ONNX has no Bessel functions: compute it outside of the model",
    "ImageProjectiveTransformV3": "ONNX can't move the points of a picture by a matrix: "
    "apply it in the data pipeline",
    **dict.fromkeys(("HSVToRGB", "RGBToHSV"), "convert colours in the data pipeline"),
    "TensorScatterAdd": "export to opset 16 or later",
    "Bitcast": "ONNX doesn't read the bits of a number as another type: compute with the numbers",
    "NextAfter": "ONNX doesn't read the bits of a number: add a small number instead",
    **dict.fromkeys(MATRIX_RESIZES, "give the images a fixed height and width"),
    **dict.fromkeys(
        (f"UnsortedSegment{kind}" for kind in ("Max", "Min", "Prod", "Sum")),
        "export to opset 18 or later, with ids of one axis",
    ),
    "ScatterNd": "export to opset 16 or later",
    "MatrixSetDiagV3": "set one diagonal at a time, of matrices of a fixed size",
    "ShapeN": "tf.image.ssim has it, which rounding alone decides for plain areas: compute it "
    "outside of the model",
}


def operation_handlers(
    *, to_train: bool = False
) -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """TensorFlow operation -> its handler, in the form of tf2onnx's ``custom_op_handlers``.

    ``to_train``: with those of files that are to be trained.
    """

    def handler(write: Callable[[Nodes], None]) -> Callable[..., None]:
        return lambda ctx, node, _name, _args: write(Nodes(ctx, node))

    writers = {**_WRITERS, **(mathematics.WRITERS_TO_TRAIN if to_train else {})}
    return {kind: (handler(write), []) for kind, write in writers.items()}


def _erfc(nodes: Nodes) -> None:
    """erfc(x) = 1 - erf(x), as gelu uses it."""
    nodes.replace("Sub", [_one(nodes), nodes.add("Erf", nodes.inputs)])


def _bias_add(nodes: Nodes) -> None:
    """x plus a number for each channel. tf2onnx forgets where the channels are unless the bias is a
    constant."""
    x, bias = nodes.inputs
    rank = len(nodes.shape(x))
    if nodes.node.get_attr_value("data_format", b"NHWC").startswith(b"NC") and rank > 2:
        bias = nodes.add("Reshape", [bias, nodes.const([-1] + [1] * (rank - 2))])
    nodes.replace("Add", [x, bias])


def _log(nodes: Nodes) -> None:
    """In its own type; tf2onnx casts to float32, and doesn't support float16."""
    nodes.replace("Log", nodes.inputs)


def _bucketize(nodes: Nodes) -> None:
    """How many boundaries are not above x (all of them for NaN): int32, shaped as x."""
    x = nodes.inputs[0]
    rank, dtype = len(nodes.shape(x)), nodes.dtype(x)
    if dtype not in (np.float32, np.float64):
        x, dtype = nodes.cast(x, np.float32), np.dtype(np.float32)
    boundaries = nodes.const(nodes.node.get_attr("boundaries").floats, dtype)
    axis = nodes.const([rank])
    below = nodes.add("Less", [nodes.add("Unsqueeze", [x, axis]), boundaries])
    above = nodes.add("Not", [below])
    nodes.replace("ReduceSum", [nodes.cast(above, np.int32), axis], keepdims=0)


def _one_hot(nodes: Nodes) -> None:
    """Where(index == 0 … depth - 1, on, off): ONNX's OneHot counts negative indices from the end,
    TensorFlow's are off everywhere."""
    indices, _, on, off = nodes.inputs
    rank, axis = len(nodes.shape(indices)), nodes.node.get_attr("axis").i
    axis = rank if axis < 0 else axis
    depth, shape = nodes.constant_input(1), [-1] + [1] * (rank - axis)
    if depth is None:
        count = nodes.cast(nodes.inputs[1], np.int64)
        count = nodes.add("Range", [nodes.const(0), count, nodes.const(1)])
        classes = nodes.cast(count, nodes.dtype(indices))
        classes = nodes.add("Reshape", [classes, nodes.const(shape)])
    else:
        classes = nodes.const(np.arange(int(depth), dtype=nodes.dtype(indices)).reshape(shape))
    same = nodes.add("Equal", [nodes.add("Unsqueeze", [indices, nodes.const([axis])]), classes])
    nodes.replace("Where", [same, on, off])


def _pad(nodes: Nodes) -> None:
    """Of any type, those that ONNX Runtime doesn't pad as int64; tf2onnx casts short floats and
    bytes to float32, but not the constant.

    TensorFlow's paddings are (before, after) by axis, ONNX's all the befores and then the afters.
    """
    x, paddings, *value = nodes.inputs
    amounts = nodes.constant_input(1)
    if amounts is not None:
        pads = nodes.const(amounts.astype(np.int64).T.flatten())
    else:
        pads = nodes.add("Transpose", [nodes.cast(paddings, np.int64)], perm=[1, 0])
        pads = nodes.add("Reshape", [pads, nodes.const([-1])])
    mode = nodes.node.get_attr("mode")
    attributes = {} if mode is None else {"mode": mode.s.decode().lower()}
    dtype = nodes.dtype(x)
    if dtype not in (np.int16, np.uint16):
        return nodes.replace("Pad", [x, pads, *value], **attributes)
    x, *value = nodes.in_longer([x, *value])
    nodes.become([nodes.cast(nodes.add("Pad", [x, pads, *value], **attributes), dtype)])


def _mirror_pad(nodes: Nodes) -> None:
    """By the mirror: REFLECT is a mode of ONNX's Pad; SYMMETRIC, which repeats the edge, isn't, and
    takes elements by their places along each padded axis. Of any type; tf2onnx casts all but four
    types to float32."""
    if nodes.node.get_attr_str("mode") == "REFLECT":
        return _pad(nodes)
    x, amounts = nodes.inputs[0], nodes.constant_input(1)
    if amounts is None:
        raise ValueError("symmetric padding needs fixed amounts")
    for axis, (before, after) in enumerate(amounts.tolist()):
        if before or after:
            x = nodes.add("Gather", [x, _mirrored(nodes, x, axis, before, after)], axis=axis)
    nodes.become([x])


def _mirrored(nodes: Nodes, x: str, axis: int, before: int, after: int) -> str:
    """Which of the n places along an axis is seen from each place i = -before … n + after - 1:
    (2n - |2n - |2i + 1||) // 2."""
    n = nodes.add("Gather", [nodes.add("Shape", [x]), nodes.const(axis)])
    end, one, two = nodes.add("Add", [n, nodes.const(after)]), nodes.const(1), nodes.const(2)
    i = nodes.add("Range", [nodes.const(-before), end, one])
    odd = nodes.add("Abs", [nodes.add("Add", [nodes.add("Mul", [i, two]), one])])
    double = nodes.add("Mul", [n, two])
    beyond = nodes.add("Abs", [nodes.add("Sub", [double, odd])])
    return str(nodes.add("Div", [nodes.add("Sub", [double, beyond]), two]))


def _round(nodes: Nodes) -> None:
    """To the nearest even integer at halves, which tf2onnx's formula doesn't do."""
    nodes.replace("Round" if nodes.is_float(nodes.inputs[0]) else "Identity", nodes.inputs)


def _conv3d(nodes: Nodes) -> None:
    """tf2onnx's handler, and the groups that it ignores: channels of the input / of the kernel."""
    from tf2onnx.onnx_opset.nn import ConvOp

    x, kernel = nodes.inputs
    first = nodes.node.get_attr_str("data_format").startswith("NC")
    groups = nodes.shape(x)[1 if first else -1] // nodes.shape(kernel)[3]
    ConvOp.version_11(nodes.ctx, nodes.node)
    nodes.node.set_attr("group", groups)


def _euclidean_norm(nodes: Nodes) -> None:
    """sqrt(sum of x²) over some axes"""
    x, axes = nodes.inputs
    axes = nodes.add("Reshape", [nodes.cast(axes, np.int64), nodes.const([-1])])
    keeps = nodes.node.get_attr_int("keep_dims")
    sums = nodes.add("ReduceSum", [nodes.add("Mul", [x, x]), axes], keepdims=keeps)
    nodes.replace("Sqrt", [sums])


def _l2_loss(nodes: Nodes) -> None:
    """sum of x² / 2"""
    (x,) = nodes.inputs
    sums = nodes.add("ReduceSum", [nodes.add("Mul", [x, x])], keepdims=0)
    nodes.replace("Mul", [sums, nodes.const(0.5, nodes.dtype(x))])


def _truncate_mod(nodes: Nodes) -> None:
    """The rest of the division towards zero, with the sign of x."""
    nodes.replace("Mod", nodes.inputs, fmod=1)


def _leave(nodes: Nodes) -> None:
    """What is left is refused, with the words of ``ADVICE``."""


def _one(nodes: Nodes) -> str:
    return nodes.const(1, nodes.dtype(nodes.inputs[0]))


_WRITERS: dict[str, Callable[[Nodes], None]] = {
    **dict.fromkeys(INEXACT, _leave),
    **axes.WRITERS,
    **elementwise.WRITERS,
    **integers.WRITERS,
    **mathematics.WRITERS,
    **segments.WRITERS,
    "BiasAdd": _bias_add,
    "Erfc": _erfc,
    "EuclideanNorm": _euclidean_norm,
    "L2Loss": _l2_loss,
    "Log": _log,
    "Bucketize": _bucketize,
    "Conv3D": _conv3d,
    "MaxPool": max_pool,
    "MaxPool3D": max_pool,
    "MirrorPad": _mirror_pad,
    "OneHot": _one_hot,
    "Pad": _pad,
    "PadV2": _pad,
    "Round": _round,
    "ResizeBilinear": bilinear_resize,
    "ResizeNearestNeighbor": nearest_resize,
    "TruncateMod": _truncate_mod,
    **dict.fromkeys(MATRIX_RESIZES, matrix_resize),
}
