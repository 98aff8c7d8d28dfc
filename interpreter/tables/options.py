"""What the caller says of text files of rows, apart from what reads them: a command's parser needs
no more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What the caller says of text files; ``None``: to be found out.

    ``header``: whether the first line is one.
    """

    delimiter: str | None = None
    decimal: str | None = None
    header: bool | None = None
    encoding: str | None = None
