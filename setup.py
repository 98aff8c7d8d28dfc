"""Where the packages are: all else about the project stands in pyproject.toml.

What is installed is one package, ``onnxwalk``; in the repository its three parts stand at the top
level. pyproject.toml can't say "onnxwalk.interpreter and all below it is in interpreter/" without
listing each folder.
"""

from setuptools import find_packages, setup

PARTS = ("interpreter", "ops", "export")

found = find_packages(include=[pattern for part in PARTS for pattern in (part, f"{part}.*")])
setup(
    packages=["onnxwalk", *(f"onnxwalk.{name}" for name in found)],
    package_dir={f"onnxwalk.{part}": part for part in PARTS},
)
