"""ONNX Runtime's exceptions, and which of them each of our errors becomes."""

from __future__ import annotations

from onnxwalk.interpreter.errors import (
    LimitError,
    OnnxWalkError,
    OperatorError,
    RunStopped,
    UnsupportedModelError,
)


class _Status(OnnxWalkError):
    """A status of ONNX Runtime as an exception: ``except OnnxWalkError`` catches it too.

    The message is kept as it is: some of ONNX Runtime's have several lines, which programs parse.
    """

    code = 0

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)

    @classmethod
    def of(cls, text: str) -> _Status:
        """The exception with ONNX Runtime's prefix: "[ONNXRuntimeError] : 1 : FAIL : text"."""
        return cls(f"[ONNXRuntimeError] : {cls.code} : {_NAMES[cls]} : {text}")


class Fail(_Status):
    code = 1


class InvalidArgument(_Status):
    code = 2


class NoSuchFile(_Status):
    code = 3


class NoModel(_Status):
    code = 4


class EngineError(_Status):
    code = 5


class RuntimeException(_Status):
    code = 6


class InvalidProtobuf(_Status):
    code = 7


class ModelLoaded(_Status):
    code = 8


class NotImplemented(_Status):
    code = 9


class InvalidGraph(_Status):
    code = 10


class EPFail(_Status):
    code = 11


class ModelLoadCanceled(_Status):
    code = 12


class ModelRequiresCompilation(_Status):
    code = 13


class NotFound(_Status):
    code = 14


class DeviceReset(_Status):
    code = 15


_NAMES: dict[type[_Status], str] = {
    Fail: "FAIL",
    InvalidArgument: "INVALID_ARGUMENT",
    NoSuchFile: "NO_SUCHFILE",
    NoModel: "NO_MODEL",
    EngineError: "ENGINE_ERROR",
    RuntimeException: "RUNTIME_EXCEPTION",
    InvalidProtobuf: "INVALID_PROTOBUF",
    ModelLoaded: "MODEL_LOADED",
    NotImplemented: "NOT_IMPLEMENTED",
    InvalidGraph: "INVALID_GRAPH",
    EPFail: "EP_FAIL",
    ModelLoadCanceled: "MODEL_LOAD_CANCELED",
    ModelRequiresCompilation: "MODEL_REQUIRES_COMPILATION",
    NotFound: "NOT_FOUND",
    DeviceReset: "DEVICE_RESET",
}

#: operators whose kernels report bad inputs with another status than Fail
_OF_OPERATOR: dict[str, type[_Status]] = {
    **dict.fromkeys(
        ["Gather", "GatherElements", "GatherND", "Expand", "ScatterElements", "ScatterND"],
        InvalidArgument,
    ),
    "Cast": RuntimeException,
}


def without_prefix(error: Exception) -> str:
    """The text of an error without the "[ONNXRuntimeError] : 1 : FAIL : " that ``run`` has."""
    return str(error).split(" : ", 3)[-1] if isinstance(error, _Status) else str(error)


def of_run(error: OnnxWalkError) -> _Status:
    """The exception for an error of a run."""
    if isinstance(error, RunStopped):
        text = "Exiting due to terminate flag being set to true."
        for operator, node in error.inside:
            text = _of_node(operator, node, text)
        return Fail.of(text)
    if not isinstance(error, OperatorError) or not error.operator:
        return Fail.of(str(error))
    return _OF_OPERATOR.get(error.operator, Fail).of(
        _of_node(error.operator, error.node, str(error))
    )


def _of_node(operator: str, node: str, text: str) -> str:
    return (
        f"Non-zero status code returned while running {operator} node. Name:'{node}' "
        f"Status Message: {text}"
    )


def of_graph(error: OnnxWalkError) -> _Status:
    """The exception for an error in a model that could be read."""
    if isinstance(error, LimitError):
        return Fail.of(str(error))
    kind = NotImplemented if isinstance(error, UnsupportedModelError) else InvalidGraph
    return kind.of(f"This is an invalid model. {error}" if kind is InvalidGraph else str(error))
