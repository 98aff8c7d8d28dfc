"""Where the packages are, and the README as PyPI shows it; all else stands in pyproject.toml.

What is installed is one package, ``onnxwalk``; in the repository its three parts stand at the top
level. pyproject.toml can't say "onnxwalk.interpreter and all below it is in interpreter/" without
listing each folder, nor that links of the README lead to the repository.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

PARTS = ("interpreter", "ops", "export")
REPOSITORY = "https://github.com/onnxwalk/onnxwalk"


def readme_for_pypi() -> str:
    """README.md with links and pictures that lead to the repository."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    pictures = rf"\1{REPOSITORY}/raw/main/\2"
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)([^)]+)", pictures, text)
    return re.sub(r"((?<!!)\[[^]]*\]\()(?!https?:|#)([^)]+)", rf"\1{REPOSITORY}/blob/main/\2", text)


found = find_packages(include=[pattern for part in PARTS for pattern in (part, f"{part}.*")])
own = find_packages(include=["onnxwalk", "onnxwalk.onnxruntime", "onnxwalk.onnxruntime.*"])
setup(
    packages=[*own, *(f"onnxwalk.{name}" for name in found)],
    package_dir={f"onnxwalk.{part}": part for part in PARTS},
    long_description=readme_for_pypi(),
    long_description_content_type="text/markdown",
    project_urls={
        "Repository": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
        "Documentation": f"{REPOSITORY}/blob/main/docs/ARCHITECTURE.md",
    },
)
