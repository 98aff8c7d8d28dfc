"""The notebook of ``onnxwalk playground --notebook``, in Jupyter and in JupyterLite:

    python -m tests.programs.notebook [--environment FOLDER] [--picture FILE.png]

makes an environment with JupyterLite and Jupyter (100 MB; in FOLDER, where it is kept, or a
temporary one), has nbconvert execute the notebook there, builds the site there, runs every cell in
a browser by the menu, and compares what the cells put out, number by number. Exit status 1 if a
cell fails, a number differs, anything comes from another server, or an error is in the console.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from onnxwalk.interpreter.playground.notebook import ADDRESS
from onnxwalk.interpreter.playground.server import serving
from tests.support.devtools import Browser, browser

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "interpreter/playground/_notebook/networks.ipynb"
PACKAGES = (
    "jupyterlite-core[contents]==0.6.4", "jupyterlite-pyodide-kernel==0.6.1", "nbconvert==7.17.2",
    "ipykernel==7.4.0", "numpy==2.4.6", "rich==15.0.0",
)  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e-?\d+)?")
#: of each cell that ran: its number and what it put out, the page of explore as its own text
_OUTPUTS = """[...document.querySelectorAll('.jp-CodeCell')].map(cell => {
  const out = cell.querySelector('.jp-OutputArea');
  const titles = [...out.querySelectorAll('[title]')].map(e => e.title);
  const frame = out.querySelector('iframe') ? ' a frame' : '';
  return [out.innerText, ...titles, frame].join('\\n');
})"""
_RAN = """[...document.querySelectorAll('.jp-CodeCell')].length === %d &&
  [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(
    prompt => /\\[\\d+\\]/.test(prompt.innerText))"""


def native(python: Path, folder: Path) -> list[str]:
    """What each code cell puts out in Jupyter, by nbconvert, which raises if one fails."""
    command = [python, "-m", "nbconvert", "--to", "notebook", "--execute", NOTEBOOK]
    _run(*command, "--output-dir", folder, "--output", "native.ipynb")
    cells = json.loads((folder / "native.ipynb").read_text("utf-8"))["cells"]
    return ["\n".join(map(_text, cell["outputs"])) for cell in cells if "outputs" in cell]


def _text(output: dict[str, Any]) -> str:
    """An output as a page shows it."""
    if output["output_type"] == "stream":
        return "".join(output["text"])
    html = "".join(output["data"].get("text/html", ""))
    if "<iframe" in html:
        return " a frame"
    if not html:
        return "".join(output["data"]["text/plain"])
    return re.sub(r"<[^>]*>", "\n", html) + "\n".join(re.findall(r'title="([^"]*)"', html))


def in_browser(page: Browser, address: str, cells: int) -> tuple[list[str], float, float]:
    """What each code cell puts out in JupyterLite, and the seconds until Python and then all of
    it was there."""
    begun = time.monotonic()
    page.open(address + "notebook/" + ADDRESS)
    page.wait("document.querySelector('.jp-NotebookKernelStatus-fade').innerText === ''", 120)
    ready = time.monotonic() - begun
    page.click(
        "[...document.querySelectorAll('.lm-MenuBar-item')].find(e => e.innerText === 'Run')"
    )
    page.click("document.querySelector('.lm-Menu-item[data-command=\"runmenu:run-all\"]')")
    page.wait(_RAN % cells, 60)
    return page.run(_OUTPUTS), ready, time.monotonic() - begun


def differences(found: list[str], expected: list[str]) -> Iterator[str]:
    """What differs in the outputs of the cells: numbers by more than rounding, or their count."""
    if len(found) != len(expected):
        yield f"{len(found)} cells, not {len(expected)}"
    for number, (one, other) in enumerate(zip(found, expected, strict=False), 1):
        if ("a frame" in one) != ("a frame" in other) or "Error" in one:
            yield f"cell {number}: {one[:300]!r}, not {other[:300]!r}"
            continue
        x, y = (sorted(map(float, _NUMBER.findall(text))) for text in (one, other))
        if len(x) != len(y) or not np.allclose(x, y, rtol=1e-4, atol=2e-4):
            yield f"cell {number}: {len(x)} numbers in the browser, {len(y)} natively, or others"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.notebook",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--environment", type=Path, metavar="FOLDER")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="of the last cells")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="onnxwalk-notebook-")))
        python = _environment((args.environment or folder / "environment").resolve())
        expected = native(python, folder)
        print(f"Jupyter: {len(expected)} cells")
        print(
            _run(
                python, "-m", "onnxwalk", "playground", "-o", folder / "site", "--notebook"
            ).strip()
        )
        server, address = stack.enter_context(serving(folder / "site"))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        page = stack.enter_context(browser(folder / "profile"))
        page.size(1280, 1000)
        found, ready, done = in_browser(page, address, len(expected))
        print(f"JupyterLite: Python after {ready:.1f} s, all cells after {done:.1f} s")
        if args.picture:
            page.screenshot(args.picture)
        count = sum(len(_NUMBER.findall(text)) for text in found)
        version = page.ask("Browser.getVersion")["product"]
        print(f"{count:,} numbers compared, in {version}")
        elsewhere = sorted(
            {url for url in page.requests if not url.startswith((address, "data:", "blob:"))}
        )
        problems = [
            *differences(found, expected),
            *(f"loaded from elsewhere: {url}" for url in elsewhere),
            # which a browser asks every server for
            *(f"console: {line}" for line in page.errors if "/favicon.ico" not in line),
        ]
    print(*problems or ["nothing differs, no errors, nothing from elsewhere"], sep="\n")
    return int(bool(problems))


def _environment(folder: Path) -> Path:
    """The Python of an environment with the packages."""
    python = folder / "bin" / "python"
    if not python.exists():
        _run(sys.executable, "-m", "venv", folder)
        _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES)
    return python


def _run(*command: object) -> str:
    """A command's output, run in the checkout. Raises RuntimeError with what it said."""
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, env=_variables()
    )
    if done.returncode:
        raise RuntimeError(f"{command[:4]}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _variables() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    sys.exit(main())
