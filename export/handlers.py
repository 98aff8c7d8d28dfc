"""TensorFlow operations that tf2onnx has no mapping for, in terms of those that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Handler = Callable[[Any, Any, str, Any], None]


def handlers() -> dict[str, tuple[Handler, list[Any]]]:
    """TensorFlow operation -> its handler, as tf2onnx's ``custom_op_handlers`` wants it."""
    return {
        "Erfc": (_erfc, []),
        "Expm1": (_expm1, []),
        "Log1p": (_log1p, []),
    }


def _erfc(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """erfc(x) = 1 - erf(x), as gelu uses it."""
    erf = _before(ctx, node, name, "Erf", list(node.input))
    _becomes(ctx, node, "Sub", [_one(ctx, node, name), erf])


def _expm1(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """expm1(x) = exp(x) - 1"""
    exp = _before(ctx, node, name, "Exp", list(node.input))
    _becomes(ctx, node, "Sub", [exp, _one(ctx, node, name)])


def _log1p(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """log1p(x) = log(1 + x)"""
    total = _before(ctx, node, name, "Add", [node.input[0], _one(ctx, node, name)])
    _becomes(ctx, node, "Log", [total])


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


def _becomes(ctx: Any, node: Any, kind: str, inputs: list[str]) -> None:
    outputs, name = list(node.output), node.name
    dtypes, shapes = [ctx.get_dtype(o) for o in outputs], [ctx.get_shape(o) for o in outputs]
    ctx.remove_node(name)
    ctx.make_node(kind, inputs, name=name, outputs=outputs, dtypes=dtypes, shapes=shapes)
