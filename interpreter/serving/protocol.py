"""Requests for inference, read, and their answers, written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.serving import tensors
from onnxwalk.interpreter.serving.models import ServedModel

#: parameters of a request, of its inputs and of its outputs
_OF_REQUEST = {"binary_data_output", "timeout"}
_OF_INPUT = {"binary_data_size"}
_OF_OUTPUT = {"binary_data", "classification"}


class Requested(NamedTuple):
    """An output that a request asks for: in binary or JSON, as ``classes`` labels if not 0."""

    name: str
    binary: bool
    classes: int = 0


@dataclass
class Inference:
    """A request for inference. ``seconds``: how long it may wait before it begins."""

    id: str | None
    feeds: dict[str, np.ndarray]
    outputs: list[Requested]
    seconds: float | None


def read_inference(model: ServedModel, body: bytes, header_length: str | None) -> Inference:
    """The request in a body whose first ``header_length`` bytes (``None``: all) are JSON; the
    tensors in binary follow. Raises InvalidInputError."""
    header, rest = _split(body, header_length)
    try:
        request = json.loads(header.decode())
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInputError(f"the request is not JSON in UTF-8: {reason}") from None
    _check_keys(request, "the request", {"id", "parameters", "inputs", "outputs"})
    parameters = _parameters(request, "the request", _OF_REQUEST)
    binary = _boolean(parameters, "binary_data_output")
    return Inference(
        _id(request),
        _feeds(model, request.get("inputs"), rest),
        _outputs(model, request.get("outputs"), binary),
        _seconds(parameters.get("timeout")),
    )


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not (header_length.isascii() and header_length.isdecimal()) or (
        len(header_length) > 18 or int(header_length) > len(body)
    ):
        raise InvalidInputError(
            f"Inference-Header-Content-Length is {header_length[:40]!r}, but must be a number up "
            f"to {len(body)}, the length of the body"
        )
    return body[: int(header_length)], body[int(header_length) :]


def _check_keys(value: Any, what: str, known: set[str]) -> None:
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what} must be a JSON object")
    if unknown := [key for key in value if key not in known]:
        raise InvalidInputError(f"{what}: unknown field {unknown[0]!r}{suggest(unknown[0], known)}")


def _parameters(value: Mapping[str, Any], what: str, known: set[str]) -> dict[str, Any]:
    found = value.get("parameters", {})
    if not isinstance(found, dict):
        raise InvalidInputError(f"{what}: parameters must be a JSON object")
    if unknown := [key for key in found if key not in known]:
        raise InvalidInputError(
            f"{what}: this server has no parameter {unknown[0]!r}; it knows "
            f"{', '.join(sorted(known))}"
        )
    return found


def _boolean(parameters: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be true or false")
    return value


def _integer(parameters: Mapping[str, Any], name: str) -> int:
    value = parameters[name]
    if type(value) is not int or value < 0:
        raise InvalidInputError(f"{name} must be an integer from 0 on")
    return value


def _id(request: Mapping[str, Any]) -> str | None:
    value = request.get("id")
    if not isinstance(value, str | None):
        raise InvalidInputError("id must be a string")
    return value


def _seconds(microseconds: Any) -> float | None:
    if microseconds is None:
        return None
    return _integer({"timeout": microseconds}, "timeout") / 1e6 or None


def _feeds(model: ServedModel, inputs: Any, rest: bytes) -> dict[str, np.ndarray]:
    if not isinstance(inputs, list):
        raise InvalidInputError("the request: inputs must be a list of tensors")
    feeds: dict[str, np.ndarray] = {}
    place = 0
    for entry in inputs:
        _check_keys(entry, "an input", {"name", "shape", "datatype", "parameters", "data"})
        name = entry.get("name")
        if not isinstance(name, str) or name not in model.feedable:
            raise InvalidInputError(
                f"no input is named {name!r}{suggest(str(name), model.feedable)}"
            )
        if name in feeds:
            raise InvalidInputError(f"input '{name}' was given twice")
        declared = model.feedable[name]
        if entry.get("datatype") != declared:
            raise InvalidInputError(
                f"input '{name}' is {declared}, got {str(entry.get('datatype'))[:40]}"
            )
        shape = tensors.check_shape(name, entry.get("shape"))
        parameters = _parameters(entry, f"input '{name}'", _OF_INPUT)
        if "binary_data_size" not in parameters:
            feeds[name] = tensors.from_json(name, declared, shape, entry.get("data"))
            continue
        if "data" in entry:
            raise InvalidInputError(f"input '{name}' has both data and binary_data_size")
        size = _integer(parameters, "binary_data_size")
        if place + size > len(rest):
            raise InvalidInputError(
                f"input '{name}': binary_data_size is {size}, but {len(rest) - place} bytes are "
                "left; is Inference-Header-Content-Length set?"
            )
        feeds[name] = tensors.from_bytes(name, declared, shape, rest[place : place + size])
        place += size
    if place != len(rest):
        raise InvalidInputError(f"{len(rest) - place} bytes of the body belong to no input")
    return feeds


def _outputs(model: ServedModel, outputs: Any, binary: bool) -> list[Requested]:
    if outputs is None or outputs == []:
        return [Requested(name, binary) for name in model.outputs]
    if not isinstance(outputs, list):
        raise InvalidInputError("the request: outputs must be a list")
    found: dict[str, Requested] = {}
    for entry in outputs:
        _check_keys(entry, "an output", {"name", "parameters"})
        name = entry.get("name")
        if not isinstance(name, str) or name not in model.outputs:
            reason = model.not_served.get(str(name))
            raise InvalidInputError(
                f"output '{name}' can't be served: {reason}"
                if reason
                else f"no output is named {name!r}{suggest(str(name), model.outputs)}"
            )
        if name in found:
            raise InvalidInputError(f"output '{name}' was requested twice")
        parameters = _parameters(entry, f"output '{name}'", _OF_OUTPUT)
        classes = _integer(parameters, "classification") if "classification" in parameters else 0
        found[name] = Requested(name, _boolean(parameters, "binary_data", binary), classes)
    return list(found.values())


def write_inference(
    model: ServedModel, request: Inference, values: Sequence[Any]
) -> tuple[bytes, int | None]:
    """The body of the answer, and the length of its JSON if tensors in binary follow. ``values``:
    those of ``request.outputs``. Raises InvalidInputError for outputs that can't be written so."""
    outputs = []
    parts: list[bytes] = []
    for requested, value in zip(request.outputs, values, strict=True):
        array, labels = value, model.labels.get(requested.name, ())
        if isinstance(value, list):
            array, labels = tensors.rows_of_maps(value)
        datatype = model.outputs[requested.name]
        if requested.classes:
            array, datatype = tensors.classify(array, requested.classes, labels), "BYTES"
        entry: dict[str, Any] = {
            "name": requested.name,
            "datatype": datatype,
            "shape": list(array.shape),
        }
        if requested.binary:
            parts.append(tensors.to_bytes(array))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = tensors.to_json(array)
        outputs.append(entry)
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        answer["id"] = request.id
    text = json.dumps({**answer, "outputs": outputs}, allow_nan=False, separators=(",", ":"))
    header = text.encode()
    return b"".join([header, *parts]), len(header) if parts else None
