"""Brings the catalogues of the study's texts up to date with the code:

    python -m tools.catalogue

Texts that are new in ``export/study`` come in without a translation, changed ones are marked as
"fuzzy", and what is used no more is left out. ``tests/export/study/test_language.py`` fails until
each has a translation. Needs Babel.
"""

from __future__ import annotations

import sys
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

STUDY = Path(__file__).parents[1] / "export" / "study"
_METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]
_OPTIONS = {"**.html": {"trimmed": "true", "silent": "false"}}
_KEYWORDS = {"_": None, "later": None, "translate": None, "gettext": None}


def texts() -> Catalog:
    """Every text of the study that is translated, with where it stands."""
    catalog = Catalog(project="onnxwalk", charset="utf-8")
    found = extract_from_dir(
        STUDY, _METHODS, _OPTIONS, keywords=_KEYWORDS, directory_filter=lambda folder: True
    )
    for file, line, text, comments, context in found:
        catalog.add(text, None, [(file, line)], auto_comments=comments, context=context)
    return catalog


def read(language: str) -> Catalog:
    """The catalogue of a language."""
    with open(STUDY / "_languages" / f"{language}.po", "rb") as file:
        return read_po(file, locale=language)


def main() -> int:
    """The command."""
    template = texts()
    for path in sorted((STUDY / "_languages").glob("*.po")):
        catalog = read(path.stem)
        template.creation_date = catalog.creation_date  # a date that changes tells nothing
        catalog.update(template, update_header_comment=False)
        catalog.obsolete.clear()
        with open(path, "wb") as file:
            write_po(file, catalog, width=100, no_location=False, include_lineno=False)
        missing = sum(1 for message in catalog if message.id and not message.string)
        print(f"{path.name}: {len(catalog)} texts, {missing} without a translation")
    return 0


if __name__ == "__main__":
    sys.exit(main())
