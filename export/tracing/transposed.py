"""Transposed convolutions leave a mark in the traced graph, which becomes one ConvTranspose.

TensorFlow's operation takes the size of its output, which tf2onnx can only cut out with a dozen
nodes. Keras's rule says it in advance: the output is as long as (n - 1) * stride + kernel, more or
less a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from onnxwalk.export.tracing.markers import Writer, mark, nodes_under, replace


@contextmanager
def marked_transposed(writers: list[Writer]) -> Iterator[None]:
    """Inside, transposed convolutions leave marks."""
    from keras.src.backend.tensorflow import nn

    original = nn.conv_transpose

    def conv_transpose(inputs, kernel, *args, **options):
        return _mark(writers, inputs, kernel, *args, **options)

    nn.conv_transpose = conv_transpose
    try:
        yield
    finally:
        nn.conv_transpose = original


def _mark(
    writers: list[Writer],
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """As Keras's ``conv_transpose``: x (batch, …, in) or channels first; kernel (…, out, in)."""
    import keras
    from keras.src.backend.common.backend_utils import compute_conv_transpose_output_shape

    x, kernel = (keras.ops.convert_to_tensor(t) for t in (inputs, kernel))
    data_format = data_format or keras.config.image_data_format()
    first = data_format == "channels_first"
    n = len(x.shape) - 2
    sizes, filters = list(kernel.shape[:n]), kernel.shape[n]
    strides, dilations = _each(strides, n), _each(dilation_rate, n)
    shape = [1000 if size is None else size for size in x.shape]  # any size gives the constant
    found = compute_conv_transpose_output_shape(
        shape, tuple(sizes), filters, strides, padding, output_padding, data_format, dilation_rate
    )
    axes = range(2, n + 2) if first else range(1, n + 1)
    begins, ends, extra = [], [], []
    for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        surplus = (shape[axis] - 1) * stride + (size - 1) * dilation + 1 - found[axis]
        begins.append(max(surplus, 0) // 2 if padding == "same" else 0)
        ends.append(max(surplus, 0) - begins[-1])
        extra.append(max(-surplus, 0))
    attributes = {
        "kernel_shape": sizes,
        "strides": strides,
        "dilations": dilations,
        "pads": begins + ends,
    }
    if any(extra):
        attributes["output_padding"] = extra
    result = [None if size is None else found[i] for i, size in enumerate(x.shape)]
    result[1 if first else -1] = filters
    writer = partial(_write, attributes, first)
    return mark(writers, writer, [x, kernel], x.dtype, result)


def _write(attributes: dict[str, Any], first: bool, ctx: Any, node: Any) -> None:
    x, kernel = node.input
    add, n = nodes_under(ctx, node), len(attributes["strides"])
    kernel = add("Transpose", [kernel], perm=[n + 1, n, *range(n)])
    if first:
        replace(ctx, node, "ConvTranspose", [x, kernel], **attributes)
        return
    x = add("Transpose", [x], perm=[0, n + 1, *range(1, n + 1)])
    y = add("ConvTranspose", [x, kernel], **attributes)
    replace(ctx, node, "Transpose", [y], perm=[0, *range(2, n + 2), 1])


def _each(value: int | Sequence[int], n: int) -> list[int]:
    return [value] * n if isinstance(value, int) else list(value)
