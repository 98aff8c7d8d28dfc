"""Values in between become a folder of .npy files, which is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.cli._show import jsonable, widened
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import replace_atomically, translate_os_errors
from onnxwalk.interpreter.runtime.trace import Event

INDEX = "index.json"


class Dump:
    """A folder with a file for each chosen value, 0001-name.npy and so on in the order in which
    they are computed, and ``index.json``, which tells of each file the value's name, the node and
    operator that made it, its type and shape."""

    def __init__(self, path: Path, patterns: Sequence[str]) -> None:
        """``patterns`` as the shell has them, for the names of values and nodes, and operators.

        Raises InvalidInputError for a folder that couldn't be written, before anything is run.
        """
        self.path, self.patterns = path, patterns or ["*"]
        self._part = path  # within ``writing`` the folder that becomes it
        self._index: list[dict[str, Any]] = []
        #: how often graphs within nodes were run of which only the first iterations are there
        self.cut: dict[str, int] = {}
        if path.is_dir() and any(path.iterdir()):
            raise InvalidInputError(f"{path}: the folder isn't empty")
        if path.exists() and not path.is_dir():
            raise InvalidInputError(f"{path}: not a folder")
        if not path.absolute().parent.is_dir():
            raise InvalidInputError(f"{path}: there is no folder {path.absolute().parent}")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Until its end nothing is there under the name but what was there before."""
        with replace_atomically(self.path, folder=True) as self._part:
            yield
            if not self._index:
                raise InvalidInputError(
                    f"--select {' '.join(self.patterns)}: no value, node or operator is called that"
                )
            with translate_os_errors(self.path):
                text = json.dumps(jsonable(self._index), indent=1, allow_nan=False)
                (self._part / INDEX).write_text(text, encoding="utf-8")

    @property
    def count(self) -> int:
        """How many values have been written."""
        return len(self._index)

    def add(self, name: str, value: Any, event: Event | None = None) -> None:
        """Write a value, if it was chosen; ``event`` is the one that made it."""
        full, names = name, [name]
        if event is not None:
            full = event.named(name)
            names += [full, event.node.name, event.name, event.node.op_type]
        if not any(fnmatch.fnmatchcase(n, p) for n in names for p in self.patterns):
            return
        items = value if isinstance(value, list) else [value]
        for place, item in enumerate(items):
            label = f"{full}.{place}" if isinstance(value, list) else full
            self._write(label, item, event)

    def _write(self, name: str, value: Any, event: Event | None) -> None:
        entry: dict[str, Any] = {
            "file": None,
            "name": name,
            "node": event.node.name and event.named(event.node.name) if event else None,
            "operator": event.node.op_type if event else None,
        }
        if isinstance(value, np.ndarray):
            plain = value.astype(str) if value.dtype == object else widened(value)
            label = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:100]
            entry["file"] = f"{len(self._index) + 1:04d}-{label}.npy"
            entry |= {"dtype": str(value.dtype), "shape": list(value.shape)}
            with translate_os_errors(self.path):
                np.save(self._part / entry["file"], plain, allow_pickle=False)
        else:
            entry["value"] = value  # nothing, or a map
        self._index.append(entry)
