"""A server for the page on this machine alone, to look at it; any other serves it as well."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError

#: the types by which browsers accept scripts and compile WebAssembly, whatever the system says
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",
}


class _Handler(SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        """The type that a file is said to have."""
        return _TYPES.get(Path(path).suffix) or super().guess_type(path)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing, since every file would be a line."""


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[tuple[ThreadingHTTPServer, str]]:
    """A server of a folder's files, and its address; 0: a free port. The caller runs it.

    Raises InvalidInputError if the port can't be used.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no such port"
        raise InvalidInputError(f"port {port} can't be used: {reason}") from None
    with server:
        yield server, f"http://127.0.0.1:{server.server_address[1]}/"
