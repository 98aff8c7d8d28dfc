"""What can go wrong, by who must act: the file, this library, the caller, or the data."""

from __future__ import annotations

from collections.abc import Iterable


class OnnxWalkError(Exception):
    """The base of every error of ``load``, ``run`` and the export: one line, whatever names are in
    it."""

    def __init__(self, message: str) -> None:
        super().__init__("\\n".join(message.splitlines()))


class InvalidModelError(OnnxWalkError):
    """The file is not a valid ONNX model; the message gives the byte offset or the name."""


class UnsupportedModelError(OnnxWalkError):
    """A valid model that needs something onnxwalk has not got; all of it is named."""


class InvalidInputError(OnnxWalkError, ValueError):
    """What the caller handed to ``load`` or ``run`` doesn't fit: says what and why."""


class LimitError(OnnxWalkError):
    """A limit on memory, time or size was reached.

    ``is_located``: whether the message says in which node. ``of_memory``: whether it would not have
    been reached if other things were let go first.
    """

    def __init__(self, message: str, *, is_located: bool = False, of_memory: bool = False) -> None:
        super().__init__(message)
        self.is_located = is_located
        self.of_memory = of_memory


def suggest(name: str, known: Iterable[str]) -> str:
    """How a message that a name is unknown ends: what may have been meant, or what there is."""
    import difflib  # for messages only

    names = sorted(known)
    if close := difflib.get_close_matches(name, names, 1):
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(names[:10]) or 'none'}{', …' if len(names) > 10 else ''}"


def wrap_error(error: Exception, where: str) -> OnnxWalkError:
    """One of ours in place of any other error."""
    if isinstance(error, MemoryError):
        return LimitError(f"{where}: the machine has no memory left: {error}".rstrip(": "))
    if isinstance(error, RecursionError):
        return LimitError(f"{where}: nests deeper than Python's stack goes")
    return OnnxWalkError(
        f"{where}: {type(error).__name__}: {error}; this is a defect of onnxwalk, please report it"
    )


class OperatorError(OnnxWalkError):
    """An operator refused its inputs: names the node, operator, version, dtypes and shapes."""
