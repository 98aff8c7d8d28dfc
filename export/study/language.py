"""The language of a study's report: English, or one with a catalogue in ``_languages``.

A text is written once, in English, where it is used: ``_("…")`` in the code, ``{% trans %}`` and
``_("…")`` in the templates; ``later("…")`` where it is only translated when it is used, by
``_(text)``. Inside of ``speaking("id")`` they are those of ``_languages/id.po``, which Babel reads,
and numbers are written as that language does.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Any

from onnxwalk.export.errors import require

#: what is to be installed
EXTRA = "study"

FOLDER = Path(__file__).parent / "_languages"

#: the languages, by their codes
LANGUAGES = ("en", *sorted(file.stem for file in FOLDER.glob("*.po")))

#: those that write 1.234,5
_COMMA = {"id"}


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Texts and numbers in this language, in the block. Raises ExportError without Babel."""
    global _language, _texts
    before = _language, _texts
    _language, _texts = language, catalogue(language)
    try:
        yield
    finally:
        _language, _texts = before


def current() -> str:
    """The code of the language that is spoken."""
    return _language


@cache
def catalogue(language: str) -> NullTranslations:
    """The texts of a language by the English ones. Raises ExportError without Babel."""
    if language == "en":
        return NullTranslations()
    names = ("babel", "babel.messages.pofile", "babel.messages.mofile")
    _, pofile, mofile = require(*names, extra=EXTRA)
    with open(FOLDER / f"{language}.po", "rb") as file:
        read = pofile.read_po(file, locale=language)
    compiled = io.BytesIO()
    mofile.write_mo(compiled, read)
    compiled.seek(0)
    return GNUTranslations(compiled)


_language = "en"
_texts: NullTranslations = NullTranslations()


def translate(text: str) -> str:
    """The text in the language that is spoken; itself where the catalogue lacks it."""
    return _texts.gettext(text)


def later(text: str) -> str:
    """Marks a text that is translated when it is used."""
    return text


def number(text: str) -> str:
    """A number as the language writes it: 1,234.5 or 1.234,5."""
    return text.translate(_SWAPPED) if _language in _COMMA else text


def fmt(value: Any, form: str) -> str:
    """As ``format``, for a number, which is written as the language does."""
    return number(format(value, form))


_SWAPPED = str.maketrans(",.", ".,")


def separator() -> str:
    """What stands between numbers of a list, which may have commas themselves."""
    return "; " if _language in _COMMA else ", "


def all_of(names: Iterable[Any]) -> str:
    """a, b and c"""
    return _joined(names, translate("and"))


def any_of(names: Iterable[Any]) -> str:
    """a, b or c"""
    return _joined(names, translate("or"))


def _joined(names: Iterable[Any], word: str) -> str:
    *first, last = map(str, names)
    return f"{', '.join(first)} {word} {last}" if first else last
