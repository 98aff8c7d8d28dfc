"""The interface of ``onnx.backend``: ``prepare``, ``run_model``, ``run_node`` …"""

from onnxwalk.interpreter.backend import (
    PreparedModel,
    is_compatible,
    prepare,
    run_model,
    run_node,
    supports_device,
)

__all__ = [
    "PreparedModel",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
