"""Intermediate values in a folder of .npy files, which is there complete or not at all."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import check_folder, replace_atomically, translate_os_errors
from onnxwalk.interpreter.ir.model import Model
from onnxwalk.interpreter.names import find_layers, matches
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.runs import Result, record_inputs, with_columns
from onnxwalk.interpreter.rows.values import storable, to_jsonable
from onnxwalk.interpreter.runtime.trace import Event
from onnxwalk.interpreter.session import Session

INDEX = "index.json"


class Dump:
    """A folder with a file for each selected value, 0001-name.npy and so on in the order of
    computation, and ``index.json`` with the name, node, operator, dtype and shape of each."""

    def __init__(self, path: Path, patterns: Sequence[str], model: Model) -> None:
        """``patterns``: shell patterns of names of values, nodes, operators and Keras layers of the
        model.

        Raises InvalidInputError for a folder that can't be written, before anything is run.
        """
        self.path, self.patterns = path, patterns or ["*"]
        self._layers = find_layers(model)
        self._temporary = path  # while ``writing``: the folder that becomes ``path``
        self._index: list[dict[str, Any]] = []
        #: the number of runs of each subgraph of which only the first iterations are dumped
        self.omitted: dict[str, int] = {}
        if path.is_dir() and any(path.iterdir()):
            raise InvalidInputError(f"{path}: the folder isn't empty")
        if path.exists() and not path.is_dir():
            raise InvalidInputError(f"{path}: not a folder")
        check_folder(path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """The folder at ``path`` is created when this context ends without an error."""
        with replace_atomically(self.path, folder=True) as self._temporary:
            yield
            if not self._index:
                raise InvalidInputError(
                    f"--select {' '.join(self.patterns)}: no value, node, operator or Keras "
                    "layer matches"
                )
            with translate_os_errors(self.path):
                text = json.dumps(to_jsonable(self._index), indent=1, allow_nan=False)
                (self._temporary / INDEX).write_text(text, encoding="utf-8")

    @property
    def count(self) -> int:
        """The number of values written."""
        return len(self._index)

    def add(self, name: str, value: Any, event: Event | None = None) -> None:
        """Write a value if it is selected; ``event``: the step that computed it."""
        path, names = name, [name]
        if event is not None:
            path = event.named(name)
            names += [path, event.node.name, event.name, event.node.op_type]
        names.append(self._layers.get(name, ""))
        if not matches(names, self.patterns):
            return
        items = value if isinstance(value, list) else [value]
        for index, item in enumerate(items):
            self._write(f"{path}.{index}" if isinstance(value, list) else path, item, event)

    def _write(self, name: str, value: Any, event: Event | None) -> None:
        entry: dict[str, Any] = {
            "file": None,
            "name": name,
            "node": event.node.name and event.named(event.node.name) if event else None,
            "operator": event.node.op_type if event else None,
        }
        if isinstance(value, np.ndarray):
            label = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:100]
            entry["file"] = f"{len(self._index) + 1:04d}-{label}.npy"
            entry |= {"dtype": str(value.dtype), "shape": list(value.shape)}
            with translate_os_errors(self.path):
                np.save(self._temporary / entry["file"], storable(value), allow_pickle=False)
        else:
            entry["value"] = value  # None, or a map
        self._index.append(entry)


def run_dumping(
    session: Session,
    names: Sequence[str],
    feeds: Mapping[str, Feed],
    dump: Dump,
    iterations: int,
) -> Result:
    """Run all rows at once, node by node as in the file, and dump the values; of the subgraphs of
    If, Loop and Scan only the first ``iterations``."""
    result = Result({}, runs=1)
    values = {name: feed.read() for name, feed in feeds.items()}
    record_inputs(values, result)
    for name, value in values.items():
        dump.add(name, value)
    start = time.perf_counter()
    result.values = dict(values)
    for event in session.trace(values, iterations=iterations):
        for name, value in event.outputs.items():
            dump.add(name, value, event)
        if not event.path:
            result.values |= {name: v for name, v in event.outputs.items() if name in names}
        dump.omitted |= event.cut(iterations)
    result.seconds = time.perf_counter() - start
    # An initializer may be an output as well.
    if missing := [name for name in names if name not in result.values]:
        result.values |= zip(missing, session.run(missing, values), strict=True)
    result.values = with_columns({name: result.values[name] for name in names}, result)
    return result
