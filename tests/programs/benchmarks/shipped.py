"""Models as people ship them: 8-bit and short floats, by ONNX Runtime's own tools.

Weights are generated; what is quantized is calibrated with noise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: names a model's build and feeds: as ``suite.Entry`` takes them
Spec = tuple[str, str, Callable[[Path, Path], None], Callable[[Any, int], dict[str, Any]], tuple]
Build = Callable[[Path, Path], None]

#: encoders: width, heads, and how many tokens at once
ENCODERS = {"one token": (768, 12, 1), "128 tokens": (384, 6, 128)}


def shipped(floats: dict[str, tuple[Build, Any]]) -> Iterator[Spec]:
    """The groups "8 bits" and "16 bits"; ``floats``: networks for pictures by name, with the build
    of their file in float32 and their feeds."""
    for name, (build, feeds) in floats.items():
        for form in ("QDQ", "QOperator"):
            for channels in (False, True):
                title = f"{name} {form}{' per channel' if channels else ''}"
                yield "8 bits", title, _static(build, form, channels), feeds, (1,)
        yield "16 bits", f"{name} float16", _float16(build), feeds, (1,)
    for name, (width, heads, tokens) in ENCODERS.items():
        build = _encoder(width, heads)

        def of_tokens(session: Any, size: int, width: int = width) -> dict[str, Any]:
            kind = np.float16 if session.inputs[0].type == "tensor(float16)" else np.float32
            values = np.random.default_rng(0).standard_normal((1, size, width))
            return {session.inputs[0].name: values.astype(kind)}

        for channels in (False, True):
            title = f"encoder dynamic{' per channel' if channels else ''}, {name}"
            yield "8 bits", title, _dynamic(build, channels), of_tokens, (tokens,)
        yield "16 bits", f"encoder float16, {name}", _float16(build), of_tokens, (tokens,)


def _static(build: Build, form: str, channels: bool) -> Build:
    def quantized(path: Path, cache: Path) -> None:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Noise(quantization.CalibrationDataReader):  # type: ignore[misc]
            def __init__(self, value: onnx.ValueInfoProto) -> None:
                shape = [d.dim_value or 2 for d in value.type.tensor_type.shape.dim]
                most = 255 if 224 in shape else 1
                rng = np.random.default_rng(1)
                self.feeds = iter(
                    [{value.name: most * rng.random(shape, np.float32)} for _ in range(4)]
                )

            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(self.feeds, None)

        with tempfile.TemporaryDirectory() as folder:
            plain, ready = Path(folder, "plain.onnx"), Path(folder, "ready.onnx")
            build(plain, cache)
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(ready),
                str(path),
                Noise(onnx.load(ready).graph.input[0]),
                quant_format=getattr(quantization.QuantFormat, form),
                per_channel=channels,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )

    return quantized


def _dynamic(build: Build, channels: bool) -> Build:
    def quantized(path: Path, cache: Path) -> None:
        from onnxruntime import quantization

        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder, "plain.onnx")
            build(plain, cache)
            quantization.quantize_dynamic(
                str(plain),
                str(path),
                per_channel=channels,
                weight_type=quantization.QuantType.QInt8,
            )

    return quantized


def _float16(build: Build) -> Build:
    def short(path: Path, cache: Path) -> None:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder, "plain.onnx")
            build(plain, cache)
            onnx.save(convert_float_to_float16(onnx.load(plain), keep_io_types=True), path)

    return short


def _encoder(width: int, heads: int, layers: int = 4) -> Build:
    """A transformer's encoder as PyTorch exports it: attention and two dense layers, each added to
    its input and normalized. (1, t, width) to the same."""

    def build(path: Path, cache: Path) -> None:
        rng = np.random.default_rng(0)
        nodes: list[onnx.NodeProto] = []
        constants = {
            "heads": np.array([0, 0, heads, width // heads]),
            "joined": np.array([0, 0, width]),
            "root": np.array(np.sqrt(width / heads), np.float32),
        }

        def weights(*shape: int) -> str:
            name = f"w{len(constants)}"
            scale = 1 / np.sqrt(shape[0])
            constants[name] = (rng.standard_normal(shape) * scale).astype(np.float32)
            return name

        def add(kind: str, *inputs: str, **attributes: Any) -> str:
            output = f"v{len(nodes)}"
            nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
            return output

        def dense(x: str, before: int, after: int) -> str:
            return add("Add", add("MatMul", x, weights(before, after)), weights(after))

        def split(x: str, *order: int) -> str:
            return add("Transpose", add("Reshape", dense(x, width, width), "heads"), perm=order)

        x = "x"
        for _ in range(layers):
            q, k, v = split(x, 0, 2, 1, 3), split(x, 0, 2, 3, 1), split(x, 0, 2, 1, 3)
            scores = add("Softmax", add("Div", add("MatMul", q, k), "root"), axis=-1)
            seen = add("Transpose", add("MatMul", scores, v), perm=[0, 2, 1, 3])
            attended = dense(add("Reshape", seen, "joined"), width, width)
            norm = weights(width), weights(width)
            x = add("LayerNormalization", add("Add", x, attended), *norm)
            inner = add("Relu", dense(x, width, 4 * width))
            norm = weights(width), weights(width)
            x = add("LayerNormalization", add("Add", x, dense(inner, 4 * width, width)), *norm)
        graph = helper.make_graph(
            nodes,
            "encoder",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "t", width])],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, "t", width])],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)

    return build
