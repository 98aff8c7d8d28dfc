"""Transposed convolutions leave a marker in the traced graph, which becomes one ConvTranspose.

TensorFlow's operation has the size of its output as an input, for which tf2onnx needs a dozen
nodes. By Keras's rule it is known: the output has (n - 1) * stride + kernel elements, plus or minus
a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnxwalk.export.tracing.markers import add_marker
from onnxwalk.export.tracing.record import Record


@dataclass(frozen=True)
class TransposedConvolution:
    """The attributes of ConvTranspose; inputs are x and the kernel (…, out, in)."""

    attributes: dict[str, Any]
    channels_first: bool


def conv_transpose(
    original: Any,
    record: Record,
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Keras's ``conv_transpose``: x (batch, …, in) or channels first; kernel (…, out, in)."""
    import keras
    from keras.src.backend.common.backend_utils import compute_conv_transpose_output_shape

    x, kernel = (keras.ops.convert_to_tensor(t) for t in (inputs, kernel))
    data_format = data_format or keras.config.image_data_format()
    first = data_format == "channels_first"
    n = len(x.shape) - 2
    sizes, filters = list(kernel.shape[:n]), kernel.shape[n]
    strides, dilations = _per_axis(strides, n), _per_axis(dilation_rate, n)
    shape = [1000 if size is None else size for size in x.shape]  # any size gives the constant
    output_shape = compute_conv_transpose_output_shape(
        shape, tuple(sizes), filters, strides, padding, output_padding, data_format, dilation_rate
    )
    axes = range(2, n + 2) if first else range(1, n + 1)
    begins, ends, extra = [], [], []
    for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        surplus = (shape[axis] - 1) * stride + (size - 1) * dilation + 1 - output_shape[axis]
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
    result = [None if size is None else output_shape[i] for i, size in enumerate(x.shape)]
    result[1 if first else -1] = filters
    convolution = TransposedConvolution(attributes, first)
    return add_marker(record.markers, convolution, [x, kernel], x.dtype, result)[0]


def _per_axis(value: int | Sequence[int], n: int) -> list[int]:
    return [value] * n if isinstance(value, int) else list(value)
