"""A page in a real browser, headless Chromium: what it finds out about itself, and its console."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


def opened(
    page: str,
    folder: Path,
    script: str,
    *,
    width: int = 1100,
    height: int = 900,
    dark: bool = False,
    fragment: str = "",
) -> tuple[Any, list[str]]:
    """What ``script``, the body of an async function, returns on the page once it is loaded, and
    every line of the console.

    A window is never as narrow as a phone: the page is in a frame of that width.
    """
    inner, outer = folder / "inner.html", folder / "outer.html"
    asking = (
        "<script>addEventListener('load', async () => {let found; try {"
        f"found = await (async () => {{{script}}})();"
        "} catch (error) { found = {error: String(error.stack)}; }"
        "console.log('FOUND ' + JSON.stringify(found)); });</script>"
    )
    inner.write_text(page.replace("</body>", f"{asking}</body>"), "utf-8")
    frame = f"border:0;width:{width}px;height:{height}px"
    outer.write_text(
        '<!doctype html><body style="margin:0">'
        f'<iframe src="inner.html{fragment}" style="{frame}"></iframe>',
        "utf-8",
    )
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr",
        "--window-size=1200,1000", "--virtual-time-budget=20000", "--dump-dom",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []), outer.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = re.findall(r'CONSOLE[^"]*"(.*)", source', done.stderr)
    found = [line.removeprefix("FOUND ") for line in console if line.startswith("FOUND ")]
    assert len(found) == 1, done.stderr[-2000:]
    return json.loads(found[0]), [line for line in console if not line.startswith("FOUND ")]
