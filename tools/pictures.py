"""Write the README's pictures of a page and of a terminal: ``python -m tools.pictures``.

Needs Chromium for the page. (The study writes docs/study/f1.svg.)
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
DEMO = ROOT / "interpreter" / "cli" / "_demo"
WIDTH, HEIGHT = 1200, 760


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onnxwalk-pictures-") as folder:
        picture_explore(Path(folder))
        picture_compare(Path(folder))
        picture_saliency(Path(folder))


def run_onnxwalk(*argv: object, cwd: Path) -> str:
    """The output of a command; a comparison that finds a difference exits with 1."""
    command = [sys.executable, "-m", "onnxwalk", *map(str, argv)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert result.returncode in (0, 1) and not result.stderr, result.stderr
    return result.stdout


def picture_explore(folder: Path) -> None:
    """The page of a CNN, opened at its first convolution."""
    with np.load(DEMO / "samples.npz") as samples:
        np.save(folder / "digit.npy", samples["digits_x"][:1])
    run_onnxwalk("explore", DEMO / "digits.onnx", "-i", "digit.npy", "-o", "page.html", cwd=folder)
    page = folder / "page.html"
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "install Chromium"
    options = (
        "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync"
    ).split()
    command = [
        chromium,
        *options,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={WIDTH},{HEIGHT}",
        "--virtual-time-budget=5000",
        f"--screenshot={IMAGES / 'explore.png'}",
        f"{page.as_uri()}#node=digits%2Fconv2d%2FBiasAdd",
    ]
    subprocess.run(command, check=True, capture_output=True)


def picture_compare(folder: Path) -> None:
    """A terminal with a comparison that finds a wrong weight of the CNN."""
    model = onnx.load(DEMO / "digits.onnx")
    weights = next(t for t in model.graph.initializer if "conv2d_1" in t.name and len(t.dims) == 4)
    array = numpy_helper.to_array(weights).copy()
    array[3, 2, 1, 1] += 0.5
    weights.CopyFrom(numpy_helper.from_array(array, weights.name))
    onnx.save(model, folder / "wrong.onnx")
    shutil.copy(DEMO / "digits.onnx", folder)
    command = "compare wrong.onnx digits.onnx --top 3"
    console = Console(record=True, width=138, file=(folder / "out.txt").open("w"))
    console.print(Text(f"$ onnxwalk {command}", style="bold"))
    console.print(Text(run_onnxwalk(*command.split(), cwd=folder).rstrip()))
    svg = console.export_svg(title="onnxwalk compare")
    # Name the font, but don't load it: a picture shouldn't contact other servers.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S)
    (IMAGES / "compare.svg").write_text(svg, encoding="utf-8")


def picture_saliency(folder: Path) -> None:
    """A digit, and the pixels that made the CNN read it."""
    with np.load(DEMO / "samples.npz") as samples:
        np.save(folder / "digit.npy", samples["digits_x"][3:4])
    command = ("saliency", DEMO / "digits.onnx", "-i", "digit.npy", "-o", IMAGES / "saliency.png")
    run_onnxwalk(*command, cwd=folder)


if __name__ == "__main__":
    main()
