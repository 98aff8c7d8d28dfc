"""A server for the page on this machine alone, to look at it; any other serves it as well."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from onnxwalk.interpreter.errors import InvalidInputError


class _Handler(SimpleHTTPRequestHandler):
    #: by which browsers accept scripts and compile WebAssembly, whatever the system says
    extensions_map: ClassVar[dict[str, str]] = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".json": "application/json",
        ".wasm": "application/wasm",
    }

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
