"""What is served: models by name and version."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError, UnsupportedModelError, suggest
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.serving.datatypes import datatype_of, shape_of
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.text import class_names

#: a name is a part of an address
_NAME = re.compile(r"[^/\s?#%]+")
_VERSION = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True)
class Source:
    """A file, and the name and version under which it is served."""

    name: str
    version: str
    path: Path


def find_sources(texts: Iterable[str]) -> list[Source]:
    """The files that are meant by ``[NAME[:VERSION]=]FILE``, or by a folder with a folder for each
    version, as in ``digits/2/model.onnx``. Raises InvalidInputError."""
    found: dict[tuple[str, str], Source] = {}
    for text in texts:
        for source in _sources_of(text):
            key = source.name, source.version
            if key in found:
                raise InvalidInputError(
                    f"{found[key].path} and {source.path} would both be model '{source.name}', "
                    f"version {source.version}: write NAME:VERSION=FILE"
                )
            found[key] = source
    return list(found.values())


def _sources_of(text: str) -> list[Source]:
    name, separator, rest = text.partition("=")
    if not separator or Path(text).exists():
        name, rest = "", text
    path = Path(rest)
    name, _, version = name.partition(":")
    if path.is_dir():
        if version:
            raise InvalidInputError(f"{path} is a folder, whose folders are the versions")
        return _versions_in(path, name or path.resolve().name)
    return [_source(name or path.stem, version or "1", path)]


def _versions_in(folder: Path, name: str) -> list[Source]:
    found = []
    for version in sorted(p for p in folder.iterdir() if _VERSION.fullmatch(p.name)):
        files = sorted(version.glob("*.onnx"))
        if len(files) != 1:
            raise InvalidInputError(f"{version}: expected one .onnx file, found {len(files)}")
        found.append(_source(name, version.name, files[0]))
    if not found:
        raise InvalidInputError(
            f"{folder}: a folder of a model has a folder for each version, as in 1/model.onnx"
        )
    return found


def _source(name: str, version: str, path: Path) -> Source:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} can't be the name of a model in an address: write NAME={path}"
        )
    if not _VERSION.fullmatch(version):
        raise InvalidInputError(f"{version!r}: a version is a number from 1 on")
    return Source(name, version, path)


@dataclass
class ServedModel:
    """A model as the protocol sees it. Raises UnsupportedModelError for inputs that the protocol
    has no type for."""

    name: str
    version: str
    session: Session
    #: datatypes of what may be fed, and of what is returned, by name
    feedable: dict[str, str] = field(init=False)
    outputs: dict[str, str] = field(init=False)
    #: outputs that the protocol has no type for, and why
    not_served: dict[str, str] = field(init=False)
    #: class names of outputs
    labels: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        session = self.session
        self.feedable = {}
        for info in (*session.inputs, *session.overridable_initializers):
            try:
                self.feedable[info.name] = datatype_of(info.type)
            except (UnsupportedModelError, NotImplementedError) as error:
                if info in session.inputs:
                    raise UnsupportedModelError(
                        f"{session.model.source} can't be served: input '{info.name}': {error}"
                    ) from None
        self.outputs, self.not_served = {}, {}
        for info in session.outputs:
            try:
                self.outputs[info.name] = datatype_of(info.type)
            except (UnsupportedModelError, NotImplementedError) as error:
                self.not_served[info.name] = str(error)
        if not self.outputs:
            name, reason = next(iter(self.not_served.items()))
            raise UnsupportedModelError(
                f"{session.model.source} can't be served: output '{name}': {reason}"
            )
        self.labels = class_names(session.model.metadata)

    def describe(self, versions: list[str]) -> dict[str, Any]:
        """The metadata of the model."""
        session = self.session
        return {
            "name": self.name,
            "versions": versions,
            "platform": "onnxwalk_onnx",
            "inputs": [self._describe(info, self.feedable) for info in session.inputs],
            "outputs": [
                self._describe(info, self.outputs)
                for info in session.outputs
                if info.name in self.outputs
            ],
        }

    @staticmethod
    def _describe(info: TensorInfo, datatypes: dict[str, str]) -> dict[str, Any]:
        return {
            "name": info.name,
            "datatype": datatypes[info.name],
            "shape": shape_of(info.type),
        }


class UnknownModelError(InvalidInputError):
    """There is no model of this name or version."""


class Models:
    """The models by name and version. Without a version, the newest is meant."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self._models: dict[str, dict[str, ServedModel]] = {}
        for model in models:
            self._models.setdefault(model.name, {})[model.version] = model

    def find(self, name: str, version: str | None) -> ServedModel:
        """One of the models. Raises UnknownModelError."""
        versions = self._models.get(name)
        if versions is None:
            raise UnknownModelError(f"no model is named {name!r}{suggest(name, self._models)}")
        wanted = self.versions(name)[-1] if version is None else version
        if wanted not in versions:
            raise UnknownModelError(
                f"model '{name}' has no version {wanted!r}; it has {', '.join(self.versions(name))}"
            )
        return versions[wanted]

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the oldest first."""
        return sorted(self._models[name], key=int)

    def __iter__(self):
        return (model for versions in self._models.values() for model in versions.values())
