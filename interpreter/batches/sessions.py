"""The sessions of this process, one for each model and its options, and what identifies a model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import as_path
from onnxwalk.interpreter.reader.source import release_pages
from onnxwalk.interpreter.session import Session, load

_MOST = 4  # that are kept


@dataclass(frozen=True)
class Loaded:
    """A session, and the sha256 of the bytes that it was made of: the file's, and those of its
    external data."""

    session: Session
    sha256: str


#: what was asked for, which is kept so that its ``id`` stays its own, and what was loaded
_loaded: dict[tuple[Any, ...], tuple[Any, Loaded]] = {}


def cached_session(model: Any, options: Mapping[str, Any] | None = None) -> Loaded:
    """The session of a path, of bytes, or one that is a session already; loaded by the first call
    in this process, and again when the file has changed.

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
    if key not in _loaded:
        session = model if isinstance(model, Session) else load(model, **(options or {}))
        if len(_loaded) >= _MOST:
            _loaded.pop(next(iter(_loaded)))
        _loaded[key] = model, Loaded(session, _fingerprint(session))
    return _loaded[key][1]


def _fingerprint(session: Session) -> str:
    """Raises InvalidInputError for a session that has been pickled: it has no file any more."""
    maps = session.model.maps
    if not maps:
        raise InvalidInputError(
            f"{session.model.source}: this session was made of no file; pass the model's path, or "
            "its bytes"
        )
    digest = hashlib.sha256()
    for data in maps:
        digest.update(data)
    release_pages(maps)
    return digest.hexdigest()
