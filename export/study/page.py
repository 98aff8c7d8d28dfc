"""Render the templates in ``_templates``; values are escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from onnxwalk.export.errors import require
from onnxwalk.export.study import language
from onnxwalk.export.study.by_hand import g, max_difference, n, term, term_g, total
from onnxwalk.export.study.data import EXTRA
from onnxwalk.interpreter.cli import _plot


def render(template: str, **values: Any) -> Any:
    """Render a template; the markup is not escaped again in another template."""
    (markupsafe,) = require("markupsafe", extra=EXTRA)
    return markupsafe.Markup(_environment().get_template(template).render(values))


def _plural(one: str, several: str, count: int) -> str:
    return language.translate(one if count == 1 else several)


@cache
def _environment() -> Any:
    (jinja2,) = require("jinja2", extra=EXTRA)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "_templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        language.translate, _plural, newstyle=True
    )
    environment.filters["fmt"] = language.fmt
    environment.globals.update(n=n, term=term, total=total, differs=max_difference, zip=zip)
    environment.globals.update(g=g, term_g=term_g)
    environment.globals.update(
        language=language.current, separator=language.separator, all_of=language.all_of,
        any_of=language.any_of, _=language.translate,
    )  # fmt: skip
    environment.globals["theme"] = _plot.stylesheet(":root")
    return environment
