"""The graphs that compute the gradients of a session's values, and their runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxwalk.interpreter.compiler.program import Program
from onnxwalk.interpreter.errors import InvalidInputError, OperatorError
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.feeds import Inputs, check_feed
from onnxwalk.interpreter.runtime.runner import Runner
from onnxwalk.ops.shared.numpy_state import computing

#: how many graphs are kept
_MOST_KEPT = 16


class Gradients:
    """The gradients of one model's values; several threads may ask for them at once."""

    def __init__(
        self, program: Program, *, source: str, executor: str, threads: int, limits: Limits | None
    ) -> None:
        self._program = program
        self._options: dict[str, Any] = {
            "source": source, "executor": executor, "threads": threads, "limits": limits
        }  # fmt: skip
        self._kept: dict[tuple[str, tuple[str, ...], bool], _Runs] = {}
        self._lock = threading.Lock()

    def run(
        self, of: str, xs: tuple[str, ...], feeds: Mapping[str, Any], seed: Any
    ) -> list[np.ndarray]:
        """The gradient of ``of`` with respect to each of ``xs``: see ``Session.gradients``."""
        key = of, xs, seed is not None
        with self._lock:
            runs = self._kept.pop(key, None) or _Runs(self._program, *key, self._options)
            self._kept[key] = runs  # the one that was used last is the last
            if len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return runs(feeds, seed)


class _Runs:
    """The graph of a value's gradients, and its runs."""

    def __init__(
        self,
        program: Program,
        of: str,
        xs: tuple[str, ...],
        seeded: bool,
        options: Mapping[str, Any],
    ) -> None:
        self._of = of
        with computing():
            program, found = program.gradients(of, xs, seeded=seeded)
        self._names, self._seed = list(found.gradients), "".join(found.seeds)
        self._inputs = Inputs(program.graph, program.check_types)
        self._run = Runner(program, self._inputs, **options).choose_method()

    def __call__(self, feeds: Mapping[str, Any], seed: Any) -> list[np.ndarray]:
        if self._seed and isinstance(feeds, Mapping):
            feeds = {**feeds, self._seed: self._checked(seed)}
        try:
            return self._run(self._names, feeds)
        except OperatorError as error:
            if error.operator != "Seed" or error.__cause__ is None:
                raise
            raise InvalidInputError(f"{self._of!r}: {error.__cause__}") from None

    def _checked(self, seed: Any) -> Any:
        """The seed as an array of the dtype of the value. Raises InvalidInputError."""
        (declared,) = (info.type for info in self._inputs.required if info.name == self._seed)
        try:
            return check_feed(self._seed, declared, seed, {})
        except InvalidInputError as error:
            text = str(error).replace(f"input '{self._seed}", f"the seed of '{self._of}", 1)
            raise InvalidInputError(text) from None
