"""Models of one operator each, in the shapes that networks have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18


@dataclass(frozen=True)
class Weights:
    """A constant of random float32, scaled to keep the size of what passes."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Ids:
    """An input of int64 below ``most``."""

    shape: tuple[int, ...]
    most: int


@dataclass(frozen=True)
class Case:
    """``inputs``, in the operator's order: a shape is a float32 input, an array a constant, and
    ``None`` left out."""

    name: str
    operator: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[str] = ("y",)

    def build(self, path: Path, cache: Path) -> None:
        rng = np.random.default_rng(0)
        names, inputs, constants = [], {}, {}
        for name, value in zip("abcdefgh", self.inputs, strict=False):
            names.append("" if value is None else name)
            if isinstance(value, Weights):
                scale = np.sqrt(2 / np.prod(value.shape[1:]))
                constants[name] = (rng.normal(0, scale, value.shape)).astype(np.float32)
            elif isinstance(value, Ids):
                inputs[name] = (TensorProto.INT64, value.shape)
            elif isinstance(value, tuple):
                inputs[name] = (TensorProto.FLOAT, value)
            elif value is not None:
                constants[name] = value
        node = helper.make_node(self.operator, names, self.outputs, **self.attributes)
        save(path, [node], inputs, constants, [name for name in self.outputs if name])

    def feeds(self, session: Any, size: int) -> dict[str, Any]:
        rng = np.random.default_rng(1)
        feeds: dict[str, Any] = {}
        for name, value in zip("abcdefgh", self.inputs, strict=False):
            if isinstance(value, Ids):
                feeds[name] = rng.integers(0, value.most, value.shape)
            elif isinstance(value, tuple):
                feeds[name] = rng.normal(0, 1, value).astype(np.float32)
        return feeds


def save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[int, Sequence[Any]]],
    constants: Mapping[str, np.ndarray],
    outputs: Sequence[str],
) -> None:
    """Write a model; the types of its outputs are inferred."""
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def _conv(
    size: int,
    channels: int,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    batch: int = 1,
    dilation: int = 1,
) -> Case:
    pad = dilation * (kernel // 2)
    kind = f"depthwise {filters}" if groups == channels > 1 else f"{channels}-{filters}"
    name = f"Conv {kernel}x{kernel} {kind} at {size}"
    name += f", {groups} groups" if 1 < groups < channels else ""
    name += f", stride {stride}" if stride > 1 else ""
    name += f", dilation {dilation}" if dilation > 1 else ""
    name += f", batch {batch}" if batch > 1 else ""
    attributes = {
        "pads": [pad] * 4,
        "strides": [stride] * 2,
        "group": groups,
        "dilations": [dilation] * 2,
    }
    weights = Weights((filters, channels // groups, kernel, kernel))
    return Case(
        name, "Conv", [(batch, channels, size, size), weights, Weights((filters,))], attributes
    )


def _pool(operator: str, kernel: int, stride: int, shape: tuple[int, ...]) -> Case:
    pad = 1 if kernel == 3 else 0
    attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    return Case(
        f"{operator} {kernel}x{kernel}/{stride} {_by(shape)}", operator, [shape], attributes
    )


def _recurrence(operator: str, gates: int, batch: int, units: int = 64) -> Case:
    length, size = 100, 128
    weights = [Weights((1, gates * units, n)) for n in (size, units)]
    inputs = [(length, batch, size), *weights, Weights((1, 2 * gates * units))]
    attributes = {"hidden_size": units, **({"linear_before_reset": 1} if gates == 3 else {})}
    return Case(f"{operator} {units} units, batch {batch}", operator, inputs, attributes)


def _elementwise(operator: str, shape: tuple[int, ...], *more: Any) -> Case:
    return Case(f"{operator} {_by(shape)}", operator, [shape, *more])


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


_MAPS = (1, 64, 56, 56)
_TOKENS = (8, 128, 768)

CASES = [
    _conv(32, 3, 32, 3, batch=32),
    _conv(224, 3, 64, 7, stride=2),
    _conv(224, 3, 32, 3, stride=2),
    _conv(112, 32, 32, 3),
    _conv(56, 64, 64, 3),
    _conv(28, 128, 128, 3),
    _conv(14, 256, 256, 3),
    _conv(7, 512, 512, 3),
    _conv(28, 128, 256, 3, stride=2),
    _conv(56, 64, 256, 1),
    _conv(14, 256, 1024, 1),
    _conv(7, 960, 320, 1),
    _conv(28, 64, 64, 5),
    _conv(28, 64, 64, 7),
    _conv(32, 32, 64, 15),
    _conv(28, 64, 64, 3, dilation=2),
    _conv(28, 256, 256, 3, groups=32),
    _conv(112, 32, 32, 3, groups=32),
    _conv(56, 144, 144, 3, groups=144),
    _conv(56, 144, 144, 3, groups=144, stride=2),
    _conv(14, 576, 576, 3, groups=576),
    _conv(14, 480, 480, 5, groups=480),
    _conv(56, 96, 96, 7, groups=96),
    Case(
        "Conv 1-D 5 64-64 at 1000",
        "Conv",
        [(1, 64, 1000), Weights((64, 64, 5)), Weights((64,))],
        {"pads": [2, 2]},
    ),
    Case(
        "Conv 3-D 3 16-16 at 24",
        "Conv",
        [(1, 16, 24, 24, 24), Weights((16, 16, 3, 3, 3)), Weights((16,))],
        {"pads": [1] * 6},
    ),
    Case(
        "ConvTranspose 4x4/2 64-32 at 28",
        "ConvTranspose",
        [(1, 64, 28, 28), Weights((64, 32, 4, 4)), Weights((32,))],
        {"strides": [2, 2], "pads": [1] * 4},
    ),
    _pool("MaxPool", 2, 2, (32, 32, 32, 32)),
    _pool("MaxPool", 3, 2, (1, 64, 112, 112)),
    _pool("AveragePool", 2, 2, _MAPS),
    _pool("AveragePool", 3, 1, (1, 192, 28, 28)),
    _elementwise("GlobalAveragePool", (1, 1280, 7, 7)),
    Case("Gemm 1x2048x1000", "Gemm", [(1, 2048), Weights((2048, 1000)), Weights((1000,))]),
    Case("Gemm 256x1024x64", "Gemm", [(256, 1024), Weights((1024, 64)), Weights((64,))]),
    Case("MatMul 8x128x768x768", "MatMul", [_TOKENS, Weights((768, 768))]),
    Case("MatMul 96 of 128x64x128", "MatMul", [(96, 128, 64), (96, 64, 128)]),
    _recurrence("RNN", 1, 1),
    _recurrence("RNN", 1, 32),
    _recurrence("LSTM", 4, 1),
    _recurrence("LSTM", 4, 32),
    _recurrence("GRU", 3, 1),
    _recurrence("GRU", 3, 32),
    Case("Softmax 1x1000", "Softmax", [(1, 1000)]),
    Case("Softmax 96x128x128", "Softmax", [(96, 128, 128)]),
    Case(
        "LayerNormalization 8x128x768",
        "LayerNormalization",
        [_TOKENS, Weights((768,)), Weights((768,))],
    ),
    Case(
        "BatchNormalization 1x64x56x56",
        "BatchNormalization",
        [_MAPS, *(np.linspace(0.5, 1.5, 64, dtype=np.float32) for _ in range(4))],
    ),
    Case(
        "InstanceNormalization 1x64x56x56",
        "InstanceNormalization",
        [_MAPS, *(np.linspace(0.5, 1.5, 64, dtype=np.float32) for _ in range(2))],
    ),
    Case("Transpose to NCHW 1x56x56x64", "Transpose", [(1, 56, 56, 64)], {"perm": [0, 3, 1, 2]}),
    Case("Transpose heads 8x128x12x64", "Transpose", [(8, 128, 12, 64)], {"perm": [0, 2, 1, 3]}),
    Case("Gather 10000x128 of 32x100", "Gather", [Weights((10_000, 128)), Ids((32, 100), 10_000)]),
    Case("TopK 5 of 1x1000", "TopK", [(1, 1000), _integers(5)], {}, ("y", "i")),
    Case("TopK 50 of 64x10000", "TopK", [(64, 10_000), _integers(50)], {}, ("y", "i")),
    Case(
        "Resize linear x2 1x64x56x56",
        "Resize",
        [_MAPS, None, np.array([1, 1, 2, 2], np.float32)],
        {"mode": "linear"},
    ),
    Case(
        "Resize nearest x2 1x64x56x56",
        "Resize",
        [_MAPS, None, np.array([1, 1, 2, 2], np.float32)],
        {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
    ),
    Case("Concat 2 of 1x64x56x56", "Concat", [_MAPS, _MAPS], {"axis": 1}),
    Case("Pad 1x64x56x56", "Pad", [_MAPS, _integers(0, 0, 1, 1, 0, 0, 1, 1)]),
    Case("ReduceMean 8x128x768", "ReduceMean", [_TOKENS, _integers(-1)]),
    _elementwise("Add", _MAPS, _MAPS),
    Case("Mul by channel 1x64x56x56", "Mul", [_MAPS, Weights((64, 1, 1))]),
    Case("Pow 2 8x128x768", "Pow", [_TOKENS, np.float32(2)]),
    *(_elementwise(name, _MAPS) for name in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Erf", "Exp")),
    Case(
        "Clip 0 to 6 1x64x56x56", "Clip", [_MAPS, np.float32(0), np.float32(6)]
    ),
]  # fmt: skip
