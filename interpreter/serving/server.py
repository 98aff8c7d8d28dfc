"""Runs the application until a signal tells it to stop."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.serving.app import build_app
from onnxwalk.interpreter.serving.batching import Batcher
from onnxwalk.interpreter.serving.intake import Intake
from onnxwalk.interpreter.serving.models import Models, ServedModel

#: connections that wait to be accepted
_BACKLOG = 2048


@dataclass(frozen=True)
class Settings:
    """How requests are taken and run. ``queue``: how many at once; ``max_body``: bytes of one;
    ``body_seconds``: in which its body has to be there; the others as for ``Batcher``."""

    queue: int
    max_body: int
    body_seconds: float
    batch_size: int
    delay: float
    workers: int


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InvalidInputError."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", "not a host's name")).partition(" (")[0]
        raise InvalidInputError(f"can't listen at {host}, port {port}: {reason}") from None


def serve(
    models: Sequence[ServedModel],
    listening: socket.socket,
    settings: Settings,
    *,
    version: str,
    on_start: Callable[[], None],
) -> None:
    """Answer requests until SIGINT or SIGTERM, and then those that were there before. After another
    SIGINT it ends at once. ``on_start`` is called when requests are answered."""
    batchers = {
        (model.name, model.version): Batcher(
            model.session,
            batch_size=settings.batch_size,
            delay=settings.delay,
            workers=settings.workers,
        )
        for model in models
    }
    server: _Server
    app = build_app(
        Models(models),
        batchers,
        Intake(settings.queue, settings.max_body, settings.body_seconds),
        version=version,
        is_ready=lambda: server.started and not server.should_exit,
    )
    config = uvicorn.Config(  # h11 limits the size of a head, which httptools doesn't
        app,
        http="h11",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        ws="none",
    )
    server = _Server(config, on_start)
    try:
        with _told_to_stop(server):
            server.run([listening])
    finally:
        for batcher in batchers.values():
            batcher.close(stop=True)  # every answer is given, or nobody waits any more


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        if self.force_exit:  # no traceback for each request that isn't answered
            logging.getLogger("uvicorn.error").disabled = True


@contextlib.contextmanager
def _told_to_stop(server: uvicorn.Server) -> Iterator[None]:
    """Stop the server on a signal before it listens to signals itself; and don't end the process by
    the signal afterwards, as uvicorn would have it."""

    def stop(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
