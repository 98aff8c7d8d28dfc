"""Receives the bodies of requests within limits: of one, of all together, and of time."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request

from onnxwalk.interpreter.limits import format_bytes

#: the bodies of all requests together, in bodies of the largest size
_BODIES = 8
#: zlib: a zlib or gzip header, whichever there is
_ANY_HEADER = 47
_CLOSE = {"Connection": "close"}
#: shorter answers aren't compressed
_WORTH_COMPRESSING = 1024


@dataclass
class Intake:
    """What may be in the server at once. The methods raise HTTPException.

    ``most``: requests that are received, wait or run. ``max_body``: bytes of one body,
    decompressed. ``seconds``: in which a body has to be there.
    """

    most: int
    max_body: int
    seconds: float
    count: int = 0
    nbytes: int = 0

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request until the end of the ``with`` block."""
        if self.count >= self.most:
            raise _busy(f"{self.most} requests are waiting already; try again later")
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, decompressed; it counts until the end of the ``with`` block."""
        taken = 0
        try:
            parts = []
            decompressor = _decompressor(request.headers.get("content-encoding", "identity"))
            self._check_size(int(request.headers.get("content-length", "0")))
            try:
                with anyio.fail_after(self.seconds):
                    async for part in request.stream():
                        if decompressor is not None:
                            part = decompressor.decompress(part, self.max_body - taken + 1)
                        self._check_size(taken + len(part))
                        self._check_room(len(part))
                        self.nbytes += len(part)
                        taken += len(part)
                        parts.append(part)
            except TimeoutError:
                message = f"the body wasn't there within {self.seconds:g} s"
                raise HTTPException(408, message, _CLOSE) from None
            except zlib.error as error:
                raise HTTPException(400, f"the body can't be decompressed: {error}") from None
            if decompressor is not None and not decompressor.eof:
                raise HTTPException(400, "the compressed body is cut off")
            yield b"".join(parts)
        finally:
            self.nbytes -= taken

    def _check_size(self, nbytes: int) -> None:
        if nbytes > self.max_body:
            message = f"the body is larger than {format_bytes(self.max_body)} (--max-body)"
            raise HTTPException(413, message, _CLOSE)

    def _check_room(self, nbytes: int) -> None:
        if self.nbytes + nbytes > _BODIES * self.max_body:
            raise _busy("the requests that are waiting fill the memory for them; try again later")


def _busy(message: str) -> HTTPException:
    return HTTPException(503, message, {"Retry-After": "1"})


def _decompressor(encoding: str) -> zlib._Decompress | None:
    """What decompresses a body, ``None`` if it isn't compressed. Raises HTTPException."""
    if encoding.lower() in ("", "identity"):
        return None
    if encoding.lower() in ("gzip", "deflate"):
        return zlib.decompressobj(_ANY_HEADER)
    raise HTTPException(415, f"Content-Encoding {encoding[:40]!r}: only gzip and deflate are known")


def compress(body: bytes, accepted: str) -> tuple[bytes, dict[str, str]]:
    """A body, compressed if ``accepted`` (Accept-Encoding) allows and it pays, and its headers."""
    encodings = {part.strip().lower() for part in accepted.split(",")}
    if len(body) >= _WORTH_COMPRESSING:
        if "gzip" in encodings:
            return gzip.compress(body, 1), {"Content-Encoding": "gzip"}
        if "deflate" in encodings:
            return zlib.compress(body, 1), {"Content-Encoding": "deflate"}
    return body, {}
