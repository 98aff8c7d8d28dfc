"""The value of an input, as commands read it from files."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.rows.arrays import Rows


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
