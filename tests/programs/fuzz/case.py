"""A case: the bytes of a model, the files beside it, and what it is fed; and cases as JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.ops.contract.dtypes import element_type, numpy_dtype


def _strided(x: np.ndarray) -> np.ndarray:
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


def _unaligned(x: np.ndarray) -> np.ndarray:
    memory = np.empty(x.nbytes + 1, np.uint8)[1:]
    view = memory.view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def _swapped(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder()) if x.dtype.kind in "iufc" else x


#: how an array can lie in memory: the same values each time
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "strided": _strided,
    "reversed": lambda x: np.flip(np.ascontiguousarray(np.flip(x))),
    "fortran": np.asfortranarray,
    "read-only": _read_only,
    "swapped": _swapped,
    "unaligned": lambda x: x if x.dtype.hasobject or not x.ndim or not x.size else _unaligned(x),
    "list": lambda x: x.tolist(),
}


@dataclass(frozen=True)
class Case:
    """What one execution needs. ``layouts``: how the feeds of these names lie in memory."""

    model: bytes
    feeds: dict[str, Any] = field(default_factory=dict)
    layouts: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    origin: str = ""

    def laid_out(self) -> dict[str, Any]:
        """Copies of the feeds, each in its layout."""
        feeds = {name: copied(value) for name, value in self.feeds.items()}
        for name, layout in self.layouts.items():
            if isinstance(feeds.get(name), np.ndarray):
                feeds[name] = LAYOUTS[layout](feeds[name])
        return feeds

    def text(self, **more: Any) -> str:
        """As JSON, with what more is to be told of it."""
        return json.dumps(
            {
                **more,
                "origin": self.origin,
                "model": _base64(self.model),
                "files": {name: _base64(data) for name, data in self.files.items()},
                "feeds": {name: _written(value) for name, value in self.feeds.items()},
                "layouts": self.layouts,
            }
        )

    @classmethod
    def of_text(cls, text: str) -> Case:
        """The case that ``text`` wrote."""
        found = json.loads(text)
        return cls(
            base64.b64decode(found["model"]),
            {name: _read(value) for name, value in found["feeds"].items()},
            found["layouts"],
            {name: base64.b64decode(data) for name, data in found["files"].items()},
            found["origin"],
        )

    @classmethod
    def of_file(cls, path: Path) -> Case:
        """The case in a file."""
        return cls.of_text(path.read_text(encoding="utf-8"))


def copied(value: Any) -> Any:
    """The value with arrays of its own."""
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _written(value: Any) -> Any:
    """A feed as JSON: nothing that would have to be unpickled."""
    if isinstance(value, (np.ndarray, np.generic)):
        x = np.asarray(value)
        if x.dtype == object:
            return {"shape": x.shape, "items": [_written(item) for item in x.flat]}
        if x.dtype.kind in "UST":
            texts = np.char.decode(x, "latin-1") if x.dtype.kind == "S" else x.astype(str)
            return {"shape": x.shape, "texts": texts.ravel().tolist(), "kind": x.dtype.kind}
        x = x.astype(x.dtype.newbyteorder("="), copy=False)
        code = element_type(x.dtype).code
        return {"shape": x.shape, "type": code, "data": _base64(x.tobytes())}
    if isinstance(value, (list, tuple)):
        return [_written(item) for item in value]
    if isinstance(value, dict):
        return {"map": [[_written(k), _written(v)] for k, v in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": _base64(value)}
    assert value is None or isinstance(value, (str, bool, int, float)), type(value)
    return {"value": value}


def _read(written: Any) -> Any:
    if isinstance(written, list):
        return [_read(item) for item in written]
    if "map" in written:
        return {_read(k): _read(v) for k, v in written["map"]}
    if "bytes" in written:
        return base64.b64decode(written["bytes"])
    if "items" in written:
        x = np.empty(math.prod(written["shape"]), object)
        x[:] = [_read(item) for item in written["items"]]
        return x.reshape(written["shape"])
    if "texts" in written:
        x = np.array(written["texts"], dtype=str).reshape(written["shape"])
        return np.char.encode(x, "latin-1") if written["kind"] == "S" else x
    if "data" in written:
        data = base64.b64decode(written["data"])
        x = np.frombuffer(data, numpy_dtype(written["type"]))
        return x.reshape(written["shape"]).copy()
    return written["value"]
