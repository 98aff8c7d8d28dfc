"""What a task has of a model: where it lies and what it must be, but not the weights."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk.interpreter.batches import cached_session
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.session import Session, load

#: sessions that a worker keeps of models that are no files
_KEPT = 4
_sessions: OrderedDict[Reference, Session] = OrderedDict()
_lock = threading.Lock()


def versions() -> dict[str, str]:
    """What must be the same on all machines, so that results don't depend on which one computed."""
    return {"onnxwalk": onnxwalk.__version__, "numpy": np.__version__}


@dataclass(frozen=True)
class Reference:
    """A model as a task knows it: a few hundred bytes.

    ``path``: the file, which each worker reads itself; ``None``: the content travels once to each
    worker, beside the tasks. ``digest``: SHA-256 of the content. ``options``: of ``load``.
    """

    path: str | None
    digest: str
    options: tuple[tuple[str, Any], ...]
    versions: tuple[tuple[str, str], ...]

    def session(self, content: bytes | None = None) -> Session:
        """The model in this process, loaded once and kept.

        Raises InvalidInputError where the file can't be read or is another one, or if this process
        has other versions; and what ``load`` raises.
        """
        with _lock:  # threads of one worker share the session
            self._check_versions()
            if self.path is not None:
                return self._from_file(self.path)
            if self not in _sessions:
                source = pickle.loads(content or b"")
                is_session = isinstance(source, Session)
                _sessions[self] = source if is_session else load(source, **dict(self.options))
                while len(_sessions) > _KEPT:
                    _sessions.popitem(last=False)
            _sessions.move_to_end(self)
            return _sessions[self]

    def _from_file(self, path: str) -> Session:
        try:
            os.stat(path)
            loaded = cached_session(path, dict(self.options))
        except FileNotFoundError:
            raise InvalidInputError(
                f"{path}: not found by {here()}; put the model where every worker can read it, or "
                "pass its content"
            ) from None
        except (OnnxWalkError, OSError) as error:
            reason = f"{path}: {error.strerror or error}" if isinstance(error, OSError) else error
            raise InvalidInputError(f"{reason} (at {here()})") from None
        if loaded.sha256 != self.digest:
            raise InvalidInputError(
                f"{path}: {here()} has another file there than the client; copy the client's"
            )
        return loaded.session

    def _check_versions(self) -> None:
        found = versions()
        for name, expected in self.versions:
            if found[name] != expected:
                raise InvalidInputError(differing(name, here(), found[name], expected))


def differing(name: str, where: str, found: str | None, expected: str) -> str:
    """What is said of a worker that has another version of a package than the client."""
    has = "no" if found is None else f"{found} of"
    return f"{where} has {has} {name}, the client {expected}: install {name}=={expected} there"


def here() -> str:
    """This process, for messages."""
    try:
        from distributed import get_worker

        return f"worker {get_worker().address}"
    except (ImportError, ValueError):
        return f"process {os.getpid()}"


def refer(model: Any, options: Mapping[str, Any]) -> tuple[Reference, bytes | None]:
    """A reference to a model, and the content that has to travel if it isn't a file.

    ``model``: a path, bytes, an ``onnx.ModelProto``, or a ``Session``, which keeps its own options.

    Raises InvalidInputError for a file that can't be read.
    """
    chosen = tuple(sorted(options.items()))
    stamp = tuple(sorted(versions().items()))
    if isinstance(model, str | os.PathLike):
        path = str(Path(model).absolute())
        return Reference(path, cached_session(path, options).sha256, chosen, stamp), None
    if hasattr(model, "SerializeToString"):
        model = model.SerializeToString()
    if isinstance(model, Session) and options:
        raise InvalidInputError(f"a Session has its options already: {', '.join(options)}")
    if not isinstance(model, bytes | Session):
        raise InvalidInputError(
            f"model must be a path, bytes, a ModelProto or a Session: {model!r}"
        )
    content = pickle.dumps(model, protocol=5)
    return Reference(None, hashlib.sha256(content).hexdigest(), chosen, stamp), content
