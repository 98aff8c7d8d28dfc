"""``prepare`` and ``run`` for models of any form."""

from __future__ import annotations

import os
from typing import Any

from onnxwalk.onnxruntime.backend.backend_rep import OnnxRuntimeBackendRep
from onnxwalk.onnxruntime.globals import get_device
from onnxwalk.onnxruntime.options import SessionOptions
from onnxwalk.onnxruntime.session import InferenceSession


class OnnxRuntimeBackend:
    """The interface ``onnx.backend.base.Backend``, without that package."""

    @classmethod
    def is_compatible(cls, model: Any, device: str | None = None, **kwargs: Any) -> bool:
        """Whether the model can be run on the device."""
        return device is None or cls.supports_device(device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether the device is the CPU."""
        return device == get_device()

    @classmethod
    def prepare(cls, model: Any, device: str | None = None, **kwargs: Any) -> OnnxRuntimeBackendRep:
        """``model``: a path, bytes, a ModelProto, a session, or a prepared model. ``kwargs``:
        attributes of SessionOptions. Raises RuntimeError for another device."""
        if isinstance(model, OnnxRuntimeBackendRep):
            return model
        if device is not None and not cls.supports_device(device):
            raise RuntimeError(f"Incompatible device expected '{device}', got '{get_device()}'")
        if isinstance(model, InferenceSession):
            return OnnxRuntimeBackendRep(model)
        options = SessionOptions()
        for name, value in kwargs.items():
            if hasattr(options, name):
                setattr(options, name, value)
        if not isinstance(model, str | bytes | os.PathLike):
            model = model.SerializeToString()
        return OnnxRuntimeBackendRep(InferenceSession(model, sess_options=options))

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str | None = None, **kwargs: Any) -> Any:
        """The outputs of a model on these inputs."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, *args: Any, **kwargs: Any) -> Any:
        """Not offered, as in ONNX Runtime: ``onnxwalk.backend`` does."""
        raise NotImplementedError("run a single node with onnxwalk.backend.run_node")


is_compatible = OnnxRuntimeBackend.is_compatible
prepare = OnnxRuntimeBackend.prepare
run = OnnxRuntimeBackend.run_model
supports_device = OnnxRuntimeBackend.supports_device
