"""ONNX Runtime's form of the interface ``onnx.backend``: ``prepare``, ``run``, …"""

from onnxwalk.onnxruntime.backend.backend import (
    OnnxRuntimeBackend,
    is_compatible,
    prepare,
    run,
    supports_device,
)

__all__ = ["OnnxRuntimeBackend", "is_compatible", "prepare", "run", "supports_device"]
