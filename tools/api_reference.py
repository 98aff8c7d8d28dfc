"""The API reference, from the docstrings: ``python -m tools.api_reference [-o site]``.

A folder of HTML pages: what ``import onnxwalk`` has, the export, texts, and the contract that
operators are written to. Open ``site/index.html``.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import pdoc

import onnxwalk

#: the public face, and what a user's own operators are made of; "!" leaves modules out
MODULES = (
    "onnxwalk",
    r"!onnxwalk\..*",
    "onnxwalk.export",
    r"!onnxwalk\.export\..*",
    "onnxwalk.text",
    "onnxwalk.training",
    "onnxwalk.backend",
    "onnxwalk.ops.contract",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.api_reference", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("site"), metavar="FOLDER")
    build(parser.parse_args().output)


def build(folder: Path) -> None:
    """Write the pages."""
    pdoc.render.configure(footer_text="onnxwalk")
    vars(onnxwalk)["train"] = onnxwalk.train  # which is imported on first use
    with warnings.catch_warnings():
        # types that are imported for checkers only, and modules that are imported when first used
        warnings.filterwarnings("ignore", message="Error parsing type annotation")
        warnings.filterwarnings("ignore", message="Found '(backend|text|training)' in onnxw")
        pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    main()
