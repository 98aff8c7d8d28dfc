"""The sessions of this process, one for each model and its options, and what identifies a model."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import as_path
from onnxwalk.interpreter.reader.source import release_pages, stamp
from onnxwalk.interpreter.session import Session, load

_MOST = 4  # that are kept
_LARGE = 1 << 23  # bytes whose hash takes longer than it takes to start a thread


class Loaded:
    """A session, and what identifies the model."""

    def __init__(self, session: Session) -> None:
        """Raises InvalidInputError for a session that has been pickled: it has no file any more."""
        self.session = session
        self._maps: Sequence[memoryview] = session.model.maps
        if not self._maps:
            raise InvalidInputError(
                f"{session.model.source}: this session was made of no file; pass the model's path, "
                "or its bytes"
            )
        self._sha256: str | None = None
        self._thread: threading.Thread | None = None
        if sum(data.nbytes for data in self._maps) > _LARGE:
            try:  # hashing lets other threads run: the model is used meanwhile
                thread = threading.Thread(target=self._hash, daemon=True)
                thread.start()
                self._thread = thread
            except RuntimeError:  # a platform without threads
                return

    @property
    def sha256(self) -> str:
        """Of the bytes that the session was made of: the file's, and those of its external data.
        Waits until it is known. Raises InvalidInputError if a file has changed meanwhile."""
        if (thread := self._thread) is not None:
            thread.join()
            self._thread = None
        if self._sha256 is None:
            self._hash()
        self.check_files()
        assert self._sha256 is not None
        return self._sha256

    def check_files(self) -> None:
        """Raise InvalidInputError if a file of the model has been written to since it was opened:
        weights are read from it when they are used. One that was replaced stays as it was."""
        for path, opened in self.session.model.files:
            try:
                found = stamp(os.stat(path))
            except OSError:
                continue  # it has gone, but what was opened stays
            if found[:2] == opened[:2] and found != opened:
                raise InvalidInputError(
                    f"{path}: the model's file was written to while it was used; once it is whole, "
                    "begin anew, in another folder or with --restart"
                )

    def is_current(self) -> bool:
        """Whether all files of the model are still those that it was loaded from."""
        try:
            return all(stamp(os.stat(path)) == opened for path, opened in self.session.model.files)
        except OSError:
            return False

    def _hash(self) -> None:
        digest = hashlib.sha256()
        for data in self._maps:
            digest.update(data)
        release_pages(self._maps)
        self._sha256 = digest.hexdigest()


#: threads of a worker share what is loaded
_lock = threading.Lock()
#: what was asked for, which is kept so that its ``id`` stays its own, and what was loaded
_loaded: dict[tuple[Any, ...], tuple[Any, Loaded]] = {}


def cached_session(model: Any, options: Mapping[str, Any] | None = None) -> Loaded:
    """The session of a path, of bytes, or one that is a session already; loaded by the first call
    in this process, and again when the file, or one of its external data, has changed.

    ``options``: arguments of ``load``. Raises InvalidInputError for anything else, and what
    ``load`` raises.
    """
    if isinstance(model, Session):
        key: tuple[Any, ...] = ("session", id(model))
    elif isinstance(model, bytes):
        key = ("bytes", id(model), repr(sorted((options or {}).items())))
    else:
        path = as_path(model)
        try:
            status = os.stat(path)
        except OSError as error:
            raise InvalidInputError(
                f"{path}: the model can't be read by this process: {error.strerror}"
            ) from None
        key = (
            os.path.realpath(path),
            status.st_size,
            status.st_mtime_ns,
            repr(sorted((options or {}).items())),
        )
    with _lock:
        if key in _loaded and not isinstance(model, Session) and not _loaded[key][1].is_current():
            del _loaded[key]  # of other external data, perhaps, which the key doesn't tell
        if key not in _loaded:
            session = model if isinstance(model, Session) else load(model, **(options or {}))
            if len(_loaded) >= _MOST:
                _loaded.pop(next(iter(_loaded)))
            _loaded[key] = model, Loaded(session)
        return _loaded[key][1]


def forget_sessions() -> None:
    """Let the memory of all go; what is asked for again is loaded again."""
    _loaded.clear()
