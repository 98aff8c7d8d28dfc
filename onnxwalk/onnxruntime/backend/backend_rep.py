"""A prepared model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxwalk.onnxruntime.options import RunOptions
from onnxwalk.onnxruntime.session import InferenceSession


class OnnxRuntimeBackendRep:
    """A session that takes its inputs in order."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session

    def run(self, inputs: Any, **kwargs: Any) -> list[Any]:
        """``inputs``: a list of a value for each input, or the value of the only one; ``kwargs``:
        attributes of RunOptions. Raises RuntimeError for another number of inputs."""
        options = RunOptions()
        for name, value in kwargs.items():
            if hasattr(options, name):
                setattr(options, name, value)
        arguments = self._session.get_inputs()
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            values = inputs if isinstance(inputs, list | tuple) else [inputs]
            if len(arguments) != len(values):
                raise RuntimeError(f"Model expect {len(arguments)} inputs")
            feeds = {arg.name: value for arg, value in zip(arguments, values, strict=True)}
        return self._session.run(None, feeds, options)
