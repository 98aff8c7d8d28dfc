"""The ASGI application: the addresses of the Open Inference Protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from onnxwalk.interpreter.errors import (
    InvalidInputError,
    LimitError,
    OnnxWalkError,
    OperatorError,
    RunStopped,
)
from onnxwalk.interpreter.serving.batching import Batcher, Job, WaitedTooLongError
from onnxwalk.interpreter.serving.intake import Intake, compress
from onnxwalk.interpreter.serving.models import Models, ServedModel, UnknownModelError
from onnxwalk.interpreter.serving.protocol import read_inference, write_inference

T = TypeVar("T")

#: extensions of the protocol, by the names that Triton gives them
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository"]
#: larger bodies are read and written in a thread, so that others needn't wait for that
_LARGE = 1 << 15
#: characters of an address in a message
_LONGEST_PATH = 200
_LENGTH = "Inference-Header-Content-Length"
#: the status of an error, by its class; others are defects
_STATUS: dict[type[OnnxWalkError], int] = {
    UnknownModelError: 404,
    WaitedTooLongError: 504,
    RunStopped: 503,
    InvalidInputError: 400,
    OperatorError: 400,
    LimitError: 400,
}


def build_app(
    models: Models,
    batchers: Mapping[tuple[str, str], Batcher],
    intake: Intake,
    *,
    version: str,
    is_ready: Callable[[], bool],
) -> Starlette:
    """The application. ``batchers``: by name and version of the models. ``version``: of onnxwalk.
    ``is_ready``: whether new requests are welcome."""

    def find(request: Request) -> ServedModel:
        return models.find(request.path_params["model"], request.path_params.get("version"))

    async def server_live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def server_ready(request: Request) -> Response:
        ready = is_ready()
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def server_metadata(request: Request) -> Response:
        return JSONResponse({"name": "onnxwalk", "version": version, "extensions": EXTENSIONS})

    async def index(request: Request) -> Response:
        return JSONResponse(
            [
                {"name": model.name, "version": model.version, "state": "READY", "reason": ""}
                for model in models
            ]
        )

    async def load_or_unload(request: Request) -> Response:
        raise HTTPException(400, "the models are those that the server was started with")

    async def model_metadata(request: Request) -> Response:
        model = find(request)
        return JSONResponse(model.describe(models.versions(model.name)))

    async def model_ready(request: Request) -> Response:
        model, ready = find(request), is_ready()
        return JSONResponse({"name": model.name, "ready": ready}, 200 if ready else 503)

    async def infer(request: Request) -> Response:
        model = find(request)
        with intake.enter():
            async with intake.body(request) as body:
                length = request.headers.get(_LENGTH)
                inference = await _aside(len(body), read_inference, model, body, length)
                names = [output.name for output in inference.outputs]
                batcher = batchers[model.name, model.version]
                job = batcher.submit(names, inference.feeds, inference.seconds)
                values = await _results(job, request)
                size = sum(getattr(value, "nbytes", _LARGE) for value in values)
                content, header_length = await _aside(
                    size, write_inference, model, inference, values
                )
                accepted = request.headers.get("accept-encoding", "")
                content, headers = await _aside(len(content), compress, content, accepted)
        if header_length is None:
            return Response(content, 200, headers, "application/json")
        headers[_LENGTH] = str(header_length)
        return Response(content, 200, headers, "application/octet-stream")

    model = "/v2/models/{model}"
    routes = [
        Route("/v2", server_metadata),
        Route("/v2/health/live", server_live),
        Route("/v2/health/ready", server_ready),
        Route("/v2/repository/index", index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", load_or_unload, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", load_or_unload, methods=["POST"]),
    ]
    for place in (model, f"{model}/versions/{{version}}"):
        routes += [
            Route(place, model_metadata),
            Route(f"{place}/ready", model_ready),
            Route(f"{place}/infer", infer, methods=["POST"]),
        ]
    return Starlette(
        routes=routes,
        exception_handlers={
            OnnxWalkError: _on_error,
            HTTPException: _on_refusal,
            ClientDisconnect: _on_leaving,
            Exception: _on_defect,
        },
    )


async def _aside(size: int, function: Callable[..., T], *args: Any) -> T:
    """Call a function that takes long for what is large."""
    return function(*args) if size < _LARGE else await run_in_threadpool(function, *args)


async def _results(job: Job, request: Request) -> list[Any]:
    """What a job returns. Raises ClientDisconnect if the client leaves, and then no more time is
    spent on the job."""
    answer = asyncio.ensure_future(asyncio.wrap_future(job.future))
    leaving = asyncio.ensure_future(_until_left(request))
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ClientDisconnect
    finally:
        job.abandoned = not answer.done()
        leaving.cancel()
        if not answer.done():
            answer.cancel()


async def _until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers)


async def _on_error(request: Request, error: Exception) -> Response:
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return _error(status, str(error))
    return _error(500, str(error))


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, message = request.url.path[:_LONGEST_PATH], error.detail
    if error.status_code == 404:
        message = f"this server has no address {path}"
    elif error.status_code == 405:
        message = f"{path} doesn't take {request.method}"
    return _error(error.status_code, message, error.headers)


async def _on_leaving(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _on_defect(request: Request, error: Exception) -> Response:
    return _error(500, f"{type(error).__name__}: this is a bug in onnxwalk, please report it")
