"""The page: data, scripts and style in one file that needs no network."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.analysis.explore.collect import to_json

_FOLDER = Path(__file__).parent / "_page"
_SCRIPTS = (
    "dagre.min.js",
    "util.js",
    "graph.js",
    "values.js",
    "recurrent.js",
    "saliency.js",
    "app.js",
)

#: the browser must not load anything: all is in the file
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)


def page_overhead() -> int:
    """The approximate bytes of a page without data."""
    return len(build_page({}, "").encode()) + 500


def build_page(data: Mapping[str, Any], title: str) -> str:
    """The complete HTML document."""
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
        f'<script type="application/json" id="data">{to_json(data)}</script>\n'
        f"{scripts}</body></html>\n"
    )
