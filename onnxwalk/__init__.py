"""An ONNX graph interpreter in pure NumPy.

>>> import onnxwalk
>>> session = onnxwalk.load("model.onnx")               # doctest: +SKIP
>>> session.run(None, {"x": x})                         # doctest: +SKIP

This is the public face; ``onnxwalk.interpreter``, ``onnxwalk.ops`` and ``onnxwalk.export`` are the
rooms behind it. ``onnxwalk.export`` is imported when it is first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

#: where the version stands: the package's metadata take it from here
__version__ = "0.2.0.dev0"

# In a checkout the three rooms stand at the top level, beside this folder. Here are links to them
# for type checkers and editors, which don't run this line; where links can't be made (Windows), it
# is what finds the rooms.
__path__ = [*__path__, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from onnxwalk.interpreter.compiler.passes import REWRITES
from onnxwalk.interpreter.errors import (
    InvalidInputError,
    InvalidModelError,
    LimitError,
    OnnxWalkError,
    OperatorError,
    UnsupportedModelError,
)
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.session import Session, load
from onnxwalk.ops import Registry, registry

if TYPE_CHECKING:
    from onnxwalk import export, interpreter, ops

__all__ = [
    "REWRITES",
    "InvalidInputError",
    "InvalidModelError",
    "LimitError",
    "Limits",
    "OnnxWalkError",
    "OperatorError",
    "Registry",
    "Session",
    "TensorInfo",
    "UnsupportedModelError",
    "export",
    "interpreter",
    "load",
    "ops",
    "registry",
    "supported_ops",
]


def supported_ops() -> list[tuple[str, str, int]]:
    """(domain, operator, since) of every implementation, sorted."""
    return [(o.domain, o.name, o.since) for o in registry]


def __getattr__(name: str) -> Any:
    if name == "export":
        return importlib.import_module("onnxwalk.export")
    raise AttributeError(f"module 'onnxwalk' has no attribute {name!r}")
