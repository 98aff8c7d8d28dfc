"""An ONNX graph interpreter in pure NumPy.

>>> import interpreter
>>> session = interpreter.load("model.onnx")            # doctest: +SKIP
>>> session.run(None, {"x": x})                         # doctest: +SKIP
"""

from interpreter.errors import (
    InvalidInputError,
    InvalidModelError,
    LimitError,
    OnnxWalkError,
    OperatorError,
    UnsupportedModelError,
)
from interpreter.limits import Limits
from interpreter.prepare import REWRITES
from interpreter.session import Session, TensorInfo, load
from ops import Registry
from ops import registry as _builtin_operators

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
    "load",
    "supported_ops",
]

__version__ = "0.1.0"


def supported_ops() -> list[tuple[str, str, int]]:
    """(domain, operator, since) of every implementation, sorted."""
    return [(o.domain, o.name, o.since) for o in _builtin_operators]
