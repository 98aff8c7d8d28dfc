"""An ONNX graph interpreter in pure NumPy.

>>> import onnxwalk
>>> session = onnxwalk.load("model.onnx")               # doctest: +SKIP
>>> session.run(None, {"x": x})                         # doctest: +SKIP

This is the public API. ``onnxwalk.export`` (Keras to ONNX), ``onnxwalk.onnxruntime`` (the API of
ONNX Runtime), ``onnxwalk.sklearn`` (estimators), ``onnxwalk.text`` (tokenizers stored in a
file), ``onnxwalk.batches`` (data in parts) and ``onnxwalk.backend`` (the interface of
``onnx.backend``) are imported on first use.
"""

from __future__ import annotations

import os

#: the one place of the version, from which the package's metadata take it
__version__ = "0.2.0.dev0"

# In a checkout the three sub-packages are at the top level, next to this folder, which has links to
# them for type checkers and editors. Without symbolic links (Windows) this is where they are found.
__path__ = (
    __path__
    if os.path.isdir(os.path.join(__path__[0], "interpreter"))
    else [*__path__, os.path.dirname(__path__[0])]
)

# first of all: from here on Ctrl-C ends a command without a traceback
from onnxwalk.interpreter import interrupts as interrupts

# isort: split
import importlib
from typing import TYPE_CHECKING, Any

from onnxwalk.interpreter.compiler.passes import REWRITES
from onnxwalk.interpreter.errors import (
    InvalidInputError,
    InvalidModelError,
    LimitError,
    NotFiniteError,
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
from onnxwalk.interpreter.session import Executor, Session, load
from onnxwalk.ops import Cost, Operator, Registry, registry

if TYPE_CHECKING:
    from onnxwalk import backend, batches, export, interpreter, onnxruntime, ops, text, training
    from onnxwalk.interpreter.analysis.explore import Page, explore
    from onnxwalk.interpreter.analysis.saliency import Attribution, Saliency, saliency
    from onnxwalk.interpreter.runtime.estimate import Estimate
    from onnxwalk.interpreter.runtime.trace import Event, Place, Trace
    from onnxwalk.interpreter.weights import Weight, trainable_weights, write_weights
    from onnxwalk.training import train

__all__ = [
    "REWRITES",
    "Attribution",
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
    "NotFiniteError",
    "OnnxWalkError",
    "OpaqueType",
    "Operator",
    "OperatorError",
    "OptionalType",
    "Page",
    "Place",
    "Registry",
    "Saliency",
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
    "Weight",
    "backend",
    "batches",
    "explore",
    "export",
    "install_as_onnxruntime",
    "interpreter",
    "load",
    "onnxruntime",
    "ops",
    "registry",
    "saliency",
    "supported_ops",
    "text",
    "train",
    "trainable_weights",
    "training",
    "write_weights",
]

#: modules that are imported on first use
_LATER = ("backend", "batches", "dask", "export", "onnxruntime", "sklearn", "text", "training")
#: names that are imported from a module on first use
_LATER_FROM = {
    "Attribution": "interpreter.analysis.saliency",
    "Estimate": "interpreter.runtime.estimate",
    "Event": "interpreter.runtime.trace",
    "Page": "interpreter.analysis.explore",
    "Place": "interpreter.runtime.trace",
    "Saliency": "interpreter.analysis.saliency",
    "Trace": "interpreter.runtime.trace",
    "Weight": "interpreter.weights",
    "explore": "interpreter.analysis.explore",
    "saliency": "interpreter.analysis.saliency",
    "train": "training",
    "trainable_weights": "interpreter.weights",
    "write_weights": "interpreter.weights",
}


def supported_ops() -> list[tuple[str, str, int]]:
    """(domain, operator, since) of every implementation, sorted."""
    return [(o.domain, o.name, o.since) for o in registry]


def install_as_onnxruntime() -> None:
    """Let ``import onnxruntime`` mean ``onnxwalk.onnxruntime`` in this process.

    Raises RuntimeError if another ``onnxruntime`` has been imported already.
    """
    from onnxwalk.as_onnxruntime import install_as_onnxruntime

    install_as_onnxruntime()


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"onnxwalk.{name}")
    if name in _LATER_FROM:
        module = importlib.import_module(f"onnxwalk.{_LATER_FROM[name]}")
        globals()[name] = getattr(module, name)
        return globals()[name]
    raise AttributeError(f"module 'onnxwalk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
