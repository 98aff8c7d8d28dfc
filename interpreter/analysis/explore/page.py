"""The page: data, scripts and style in one file that needs no network."""

from __future__ import annotations

import html
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.explore.collect import Progress, collect, to_json
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import write_file
from onnxwalk.interpreter.runtime.trace import ITERATIONS
from onnxwalk.interpreter.session import Session

FOLDER = Path(__file__).parent / "_page"
SCRIPTS = (
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


def explore(
    session: Session,
    feeds: Mapping[str, Any],
    *,
    title: str | None = None,
    labels: list[str] | None = None,
    iterations: int = ITERATIONS,
    saliency: bool = True,
    size: float = 10.0,
    origins: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Page:
    """A page that shows a model and one run of it on ``feeds``, without network or server.

    ``labels``: class names that replace those in the file. Of If, Loop and Scan the first
    ``iterations`` are shown. ``saliency``: also compute what moved the scores (for ten seconds).
    ``size``: the most megabytes; large values are shown smaller to keep to it. ``origins``: where
    the values of the inputs are from, for the page. ``progress`` is called with a title, how much
    of it is done, and of how much.

    Raises InvalidInputError if the graph alone is larger, and what ``Session.run`` raises.
    """
    if not 0 < size < math.inf:
        raise InvalidInputError(f"size={size:g} (--size): expected megabytes, as in 10")
    room = int(size * 1e6) - page_overhead()
    if room < 20_000:
        least = f"{page_overhead():,} bytes"
        raise InvalidInputError(f"size={size:g} (--size): too small; the page itself needs {least}")
    data = collect(
        session,
        {name: np.asarray(v) if np.isscalar(v) else v for name, v in feeds.items()},
        limit=room,
        labels=labels,
        iterations=iterations,
        saliency=saliency,
        progress=progress,
    )
    data["origins"] = dict(origins or {})
    return Page(data, title or f"{Path(session.model.source).name}: explore")


class Page:
    """A page of ``explore``. Notebooks show it; ``html`` is the complete document."""

    def __init__(self, data: Mapping[str, Any], title: str) -> None:
        self.html = build_page(data, title)
        parts = sum("part" in node for node in data["nodes"])
        #: how many nodes it shows, and of these inside of others
        self.nodes, self.parts = sum("seconds" in node for node in data["nodes"]), parts

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, whole or not at all. Raises InvalidInputError."""
        write_file(Path(path), self.html)

    def open(self, path: str | os.PathLike[str] | None = None) -> bool:
        """Show the page in a browser, from ``path``, where it was saved, or a new temporary file;
        ``False`` if there is no browser."""
        import webbrowser  # where it is needed

        if path is None:
            path = Path(tempfile.mkdtemp(prefix="onnxwalk-")) / "explore.html"
            self.save(path)
        return webbrowser.open(Path(path).absolute().as_uri())

    def __repr__(self) -> str:
        return f"Page: {self.nodes:,} nodes, {len(self.html.encode()):,} bytes of HTML"

    def _repr_html_(self) -> str:
        """A frame of its own, so that the notebook's style and the page's don't mix."""
        return (
            '<iframe sandbox="allow-scripts" style="width:100%;height:800px;border:1px solid #8884"'
            f' srcdoc="{html.escape(self.html)}"></iframe>'
        )


def build_page(data: Mapping[str, Any], title: str) -> str:
    """The complete HTML document."""
    style = (FOLDER / "style.css").read_text("utf-8")
    body = (FOLDER / "body.html").read_text("utf-8")
    scripts = "".join(
        f"<script>{(FOLDER / name).read_text('utf-8')}</script>\n" for name in SCRIPTS
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
