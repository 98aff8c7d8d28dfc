"""How numbers are written in text: with a decimal point or comma, with thousands set apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: cells that hold no value; in columns of strings they are text like any other
MISSING = frozenset(
    "|NA|N/A|n/a|NaN|nan|-nan|NAN|<NA>|#N/A|#NA|NULL|Null|null|None|none|NONE|NaT|?|.".split("|")
)
_WORDS = {"true": 1, "false": 0, "yes": 1, "no": 0}

_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")  # 1,234,567.8
_GROUPED_BY_POINT = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?")  # 1.234.567,8
_GROUPED_BY_BLANK = re.compile(r"[+-]?[1-9]\d{0,2}(?:[ \u00a0\u202f]\d{3})+(?:[.,]\d+)?")
_WITH_COMMA = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?")
_WITH_POINT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?")
_BLANKS = str.maketrans("", "", " \u00a0\u202f")


@dataclass(frozen=True)
class Numbers:
    """The decimal sign, "." or ","; ``None`` while nothing says whether 1,234 is 1.234 or 1234."""

    decimal: str | None = "."

    def parse(self, cell: str) -> int | float | None:
        """The number of a cell; ``None``: there is none. Raises ValueError, with the reason."""
        cell = cell.strip()
        if cell in MISSING:
            return None
        if (word := _WORDS.get(cell.lower())) is not None:
            return word
        text = cell.translate(_BLANKS) if _GROUPED_BY_BLANK.fullmatch(cell) else cell
        if "," in text and self.decimal is None:
            raise ValueError(
                f"{cell!r} may be read in two ways; pass --decimal , or --decimal . (then the "
                "comma sets thousands apart)"
            )
        if self.decimal == ",":
            if _GROUPED_BY_POINT.fullmatch(text):
                text = text.replace(".", "")
            elif "." in text:
                raise ValueError(f"{cell!r} has a point in a file of decimal commas")
            text = text.replace(",", ".")
        elif _GROUPED.fullmatch(text):
            text = text.replace(",", "")
        try:
            if "_" in text:
                raise ValueError
            return int(text) if text.lstrip("+-").isdecimal() else float(text)
        except ValueError:
            hint = "; for decimal commas pass --decimal ," if _WITH_COMMA.fullmatch(text) else ""
            raise ValueError(f"{cell!r} is not a number{hint}") from None

    def is_number(self, cell: str) -> bool:
        """Whether a cell is a number; an empty one and words like "NA" or "true" are none."""
        if cell.strip() in MISSING or cell.strip().lower() in _WORDS:
            return False
        try:
            self.parse(cell)
        except ValueError:
            return False
        return True


def find_decimal(cells: list[str]) -> str | None:
    """The decimal sign that cells of a file have; "." where none has one; ``None``: doubtful."""
    comma = point = doubtful = False
    for cell in map(str.strip, cells):
        if _GROUPED.fullmatch(cell):
            point = point or "." in cell or cell.count(",") > 1
            doubtful = True
        elif _GROUPED_BY_POINT.fullmatch(cell):
            comma = comma or "," in cell
        elif _WITH_COMMA.fullmatch(cell):
            comma = True
        elif _GROUPED_BY_BLANK.fullmatch(cell):
            comma, point = comma or "," in cell, point or "." in cell
        elif _WITH_POINT.fullmatch(cell):
            point = True
    if comma and not point:
        return ","
    return None if doubtful and not point else "."
