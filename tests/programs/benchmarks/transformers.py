"""Encoders with Gelu and generated weights, with products in four bits and with the operators that
ONNX Runtime's transformer optimizer fuses, which needs sympy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: weights in a block of four-bit ones
_BLOCK_SIZE = 32


@dataclass(frozen=True)
class Encoder:
    """``layers`` of self-attention and two products, ``width`` wide, over ``tokens`` vectors."""

    width: int
    tokens: int
    layers: int = 4
    heads: int = 12

    @property
    def name(self) -> str:
        return f"encoder {self.layers}x{self.width}, {self.tokens} tokens"

    def model(self) -> onnx.ModelProto:
        """(n, tokens, width) -> (n, tokens, width) in float32, as PyTorch's exporter writes it."""
        return _Writer(self).model()


class _Writer:
    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def model(self) -> onnx.ModelProto:
        width, tokens = self.encoder.width, self.encoder.tokens
        x = "x"
        for _ in range(self.encoder.layers):
            x = self.normalized(self.node("Add", self.attention(x), x))
            x = self.normalized(self.node("Add", self.feed_forward(x), x))
        self.nodes[-1].output[0] = "y"
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", tokens, width])
            for name in ("x", "y")
        ]
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "encoder", values[:1], values[1:], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], f"n_{name}", **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        weights = self.rng.standard_normal((inputs, outputs), np.float32) / np.sqrt(inputs)
        product = self.node("MatMul", x, self.constant(weights))
        bias = self.rng.standard_normal(outputs, np.float32)
        return self.node("Add", self.constant(0.1 * bias), product)

    def normalized(self, x: str) -> str:
        scale = self.constant(self.rng.uniform(0.5, 1.5, self.encoder.width))
        shift = self.constant(self.rng.uniform(-0.5, 0.5, self.encoder.width))
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)

    def attention(self, x: str) -> str:
        width, heads = self.encoder.width, self.encoder.heads
        size = width // heads

        def split(perm: list[int]) -> str:
            shape = self.constant([0, 0, heads, size], np.int64)
            projected = self.node("Reshape", self.linear(x, width, width), shape)
            return self.node("Transpose", projected, perm=perm)

        queries, keys, values = split([0, 2, 1, 3]), split([0, 2, 3, 1]), split([0, 2, 1, 3])
        scores = self.node("MatMul", queries, keys)
        scores = self.node("Div", scores, self.constant(np.sqrt(size)))
        weighted = self.node("MatMul", self.node("Softmax", scores, axis=-1), values)
        joined = self.node("Transpose", weighted, perm=[0, 2, 1, 3])
        joined = self.node("Reshape", joined, self.constant([0, 0, width], np.int64))
        return self.linear(joined, width, width)

    def feed_forward(self, x: str) -> str:
        width = self.encoder.width
        h = self.linear(x, width, 4 * width)
        erf = self.node("Erf", self.node("Div", h, self.constant(np.sqrt(2))))
        gelu = self.node("Mul", h, self.node("Add", erf, self.constant(1)))
        return self.linear(self.node("Mul", gelu, self.constant(0.5)), 4 * width, width)


ENCODERS = (Encoder(768, 1), Encoder(384, 128))


def to_int4(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each product with constant weights as MatMulNBits, scaled to the largest of each block."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes, kept = [], dict(arrays)
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in arrays:
            nodes.append(node)
            continue
        name = node.input[1]
        depth, columns = arrays[name].shape
        blocks = kept.pop(name).T.reshape(columns, -1, _BLOCK_SIZE)
        scales = np.abs(blocks).max(-1) / 7
        steps = np.rint(blocks / scales[..., None]).astype(np.int8) + 8
        steps = steps.astype(np.uint8)
        kept[f"{name}_q4"] = steps[..., ::2] | steps[..., 1::2] << 4
        kept[f"{name}_scales"] = scales
        sizes = {"K": depth, "N": columns, "bits": 4, "block_size": _BLOCK_SIZE}
        inputs = [node.input[0], f"{name}_q4", f"{name}_scales"]
        nodes.append(
            helper.make_node(
                "MatMulNBits", inputs, node.output, node.name, domain="com.microsoft", **sizes
            )
        )
    constants = [numpy_helper.from_array(array, name) for name, array in kept.items()]
    graph = helper.make_graph(nodes, "int4", model.graph.input, model.graph.output, constants)
    opsets = [*model.opset_import, helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def to_fused(model: onnx.ModelProto, encoder: Encoder) -> onnx.ModelProto:
    """By ONNX Runtime's transformer optimizer."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.onnx_model_bert import BertOnnxModel

    bert = BertOnnxModel(model, encoder.heads, encoder.width)
    bert.optimize(FusionOptions("bert"))
    return bert.model


def forms() -> Iterator[tuple[str, str, Callable[[Path, Path], None]]]:
    """Group, name and builder of each model."""
    for encoder in ENCODERS:
        for group, convert in (
            ("int4", to_int4),
            ("fused", lambda model, encoder=encoder: to_fused(model, encoder)),
        ):

            def build(path: Path, cache: Path, convert=convert, encoder=encoder) -> None:
                onnx.save(convert(encoder.model()), path)

            yield group, encoder.name, build
