"""An ONNX graph interpreter in pure NumPy.

>>> import onnxwalk
>>> session = onnxwalk.load("model.onnx")               # doctest: +SKIP
>>> session.run(None, {"x": x})                         # doctest: +SKIP

All that is public is here. ``onnxwalk.export`` (Keras models become files), ``onnxwalk.text``
(tokenizers that a file keeps) and ``onnxwalk.backend`` (the interface of ``onnx.backend``) are
imported when they are first used.
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
from onnxwalk.interpreter.ir.model import (
    Function,
    Graph,
    MapType,
    Model,
    Node,
    OpaqueType,
    OptionalType,
    SequenceType,
    SparseTensor,
    SparseTensorType,
    Tensor,
    TensorInfo,
    TensorType,
    Training,
    ValueInfo,
    ValueType,
)
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.estimate import Estimate
from onnxwalk.interpreter.runtime.trace import Event, Place, Trace
from onnxwalk.interpreter.session import Executor, Session, load
from onnxwalk.ops import Cost, Operator, Registry, registry

if TYPE_CHECKING:
    from onnxwalk import export, interpreter, ops
    from onnxwalk.interpreter import backend, text

__all__ = [
    "REWRITES",
    "Cost",
    "Estimate",
    "Event",
    "Executor",
    "Function",
    "Graph",
    "InvalidInputError",
    "InvalidModelError",
    "LimitError",
    "Limits",
    "MapType",
    "Model",
    "Node",
    "OnnxWalkError",
    "OpaqueType",
    "Operator",
    "OperatorError",
    "OptionalType",
    "Place",
    "Registry",
    "SequenceType",
    "Session",
    "SparseTensor",
    "SparseTensorType",
    "Tensor",
    "TensorInfo",
    "TensorType",
    "Trace",
    "Training",
    "UnsupportedModelError",
    "ValueInfo",
    "ValueType",
    "backend",
    "export",
    "interpreter",
    "load",
    "ops",
    "registry",
    "supported_ops",
    "text",
]

#: what is imported when it is first used
_LATER = {
    "backend": "onnxwalk.interpreter.backend",
    "export": "onnxwalk.export",
    "text": "onnxwalk.interpreter.text",
}


def supported_ops() -> list[tuple[str, str, int]]:
    """(domain, operator, since) of every implementation, sorted."""
    return [(o.domain, o.name, o.since) for o in registry]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(_LATER[name])
    raise AttributeError(f"module 'onnxwalk' has no attribute {name!r}")
