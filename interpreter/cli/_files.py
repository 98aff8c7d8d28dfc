"""The values of inputs, as commands read them from files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli._rows import Rows
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.tables.options import Options


@dataclass
class Feed:
    """The values of one input; ``origin`` and ``notes`` say in the summary where they come from
    and how they were converted. ``damaged``: files that were left out, and why."""

    info: TensorInfo
    rows: Rows
    origin: str
    notes: list[str] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)

    def read(self) -> Any:
        """All rows at once."""
        return next(iter(self.rows.pieces(sys.maxsize)))

    def describe(self) -> list[str]:
        """The notes, and those that reading the rows has added."""
        return [*self.notes, *getattr(self.rows, "notes", ())]


def read_inputs(
    session: HasInputs,
    texts: Sequence[str],
    scale: float | None,
    *,
    options: Options | None = None,
    skips_damaged: bool = False,
) -> dict[str, Feed]:
    """The feeds of ``--input`` by name: each is NAME=FILE or FILE. Files for the same input are
    joined, in their order.

    ``options``: how files of text are written. ``skips_damaged``: leave out images that can't be
    read, unless none of several can. Raises InvalidInputError.
    """
    from onnxwalk.interpreter.cli._reader import Reader  # and all that reads any kind of file

    return Reader(session, scale, options, skips_damaged).read(texts)
