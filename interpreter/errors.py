"""The exceptions, by cause: the file, this library, the caller, or the data."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

#: characters of a message, and of a name in it: files can have names of a megabyte
_LONGEST_MESSAGE, _LONGEST_WORD = 5000, 500
_LONG_WORD = re.compile(rf"\S{{{_LONGEST_WORD + 1},}}")


class OnnxWalkError(Exception):
    """The base of every error of ``load``, ``run`` and the export. The message is always one line
    of sensible length, even if names in it have line breaks or a million characters."""

    def __init__(self, message: str) -> None:
        text = shorten_words("\\n".join(message.splitlines()))
        super().__init__(text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…")


def shorten_words(text: str) -> str:
    """The text with "…" in the middle of words of more than 500 characters."""
    if len(text) <= _LONGEST_WORD:
        return text
    keep = _LONGEST_WORD // 2
    return _LONG_WORD.sub(lambda word: f"{word[0][:keep]}…{word[0][-keep:]}", text)


class InvalidModelError(OnnxWalkError):
    """The file is not a valid ONNX model; the message gives the byte offset or the name."""


class NotOnnxError(InvalidModelError):
    """The file can't be read as an ONNX model at all: another format, or damaged."""


class UnsupportedModelError(OnnxWalkError):
    """The model is valid, but uses something that isn't supported; the message lists all of it."""


class InvalidInputError(OnnxWalkError, ValueError):
    """An argument of ``load`` or ``run`` is invalid; the message says which and why."""


class LimitError(OnnxWalkError):
    """A limit on memory, time or size was reached.

    ``is_located``: whether the message names the node. ``of_memory``: whether freeing other memory
    may help.
    """

    def __init__(self, message: str, *, is_located: bool = False, of_memory: bool = False) -> None:
        super().__init__(message)
        self.is_located = is_located
        self.of_memory = of_memory


class NotFiniteError(OnnxWalkError):
    """In training, the loss or a gradient is NaN or infinite; the message names the step and the
    node where that began. The weights are those before the step."""


class RunStopped(LimitError):
    """The caller asked for the end of a run that had begun.

    ``inside``: operator and name of the nodes whose subgraphs were running, the innermost first.
    """

    def __init__(self, inside: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__("the run was stopped", is_located=True)
        self.inside = inside


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the closest known name, or the first ten."""
    import difflib  # for messages only

    names = sorted(known)
    if close := difflib.get_close_matches(name, names, 1):
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names[:10]) or 'none'}{', …' if len(names) > 10 else ''}"


#: what NumPy and Python say of sizes that no address reaches, some of which need 32 bits
_BEYOND_ADDRESSES = re.compile(
    "array is too big|(iterator is|broadcast dimensions) too large"
    "|Maximum allowed (size|dimension) exceeded"
    "|index-sized integer|too large to convert to C (long|ssize_t)"
)


def refuses_memory(error: BaseException) -> bool:
    """Whether memory isn't to be had: MemoryError, or what NumPy raises for an array of more bytes
    than there are addresses."""
    if isinstance(error, MemoryError):
        return True
    kinds = (ValueError, OverflowError)
    return isinstance(error, kinds) and bool(_BEYOND_ADDRESSES.search(str(error)))


def memory_reason(error: BaseException) -> str:
    """What the message says of an error that ``refuses_memory``: for arrays beyond all addresses
    NumPy has a dozen sentences, here there is one."""
    if not isinstance(error, MemoryError):
        bits = sys.maxsize.bit_length() + 1
        advice = ": split the batch, or run it on 64 bits" if bits == 32 else ""
        return f"an array is larger than {bits} bits can address{advice}"
    return f"the machine is out of memory: {error}".rstrip(": ")


def wrap_error(error: Exception, where: str) -> OnnxWalkError:
    """An OnnxWalkError in place of an unexpected exception."""
    if refuses_memory(error):
        return LimitError(f"{where}: {memory_reason(error)}")
    if isinstance(error, RecursionError):
        return LimitError(f"{where}: nested too deeply for Python's stack")
    return OnnxWalkError(
        f"{where}: {type(error).__name__}: {error}; this is a bug in onnxwalk, please report it"
    )


class OperatorError(OnnxWalkError):
    """An operator rejected its inputs; the message has the node, version, dtypes and shapes.

    ``operator`` and ``node``: the names of both, "" if unknown.
    """

    def __init__(self, message: str, *, operator: str = "", node: str = "") -> None:
        super().__init__(message)
        self.operator, self.node = operator, node
