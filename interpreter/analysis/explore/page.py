"""The page: data, script and style in one file, which asks no network for anything."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.analysis.explore.collect import dumped

_FOLDER = Path(__file__).parent / "_page"
_SCRIPTS = ("dagre.min.js", "util.js", "graph.js", "values.js", "recurrent.js", "app.js")

#: nothing may be loaded from anywhere: all of it is in the file
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)


def overhead() -> int:
    """The bytes of a page without data, about."""
    return len(page({}, "").encode()) + 500


def page(data: Mapping[str, Any], title: str) -> str:
    """The whole HTML document."""
    style = (_FOLDER / "style.css").read_text("utf-8")
    body = (_FOLDER / "body.html").read_text("utf-8")
    scripts = "".join(
        f"<script>{(_FOLDER / name).read_text('utf-8')}</script>\n" for name in _SCRIPTS
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style></head>\n<body>\n{body}"
        f'<script type="application/json" id="data">{dumped(data)}</script>\n'
        f"{scripts}</body></html>\n"
    )
