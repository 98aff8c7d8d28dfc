"""Imports the module of an operator when the operator is first looked up.

Importing all modules takes longer than running a small model. ``index.txt`` says which module
registers an operator; ``python -m tools.operator_index`` writes it. If an operator isn't listed (a
new one, for instance), all modules are imported.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

INDEX = Path(__file__).with_name("index.txt")


def read_index() -> dict[tuple[str, str], str]:
    """The module, below ``onnxwalk.ops``, of each operator (domain, name)."""
    modules = {}
    for line in INDEX.read_text(encoding="utf-8").splitlines():
        domain, module, *names = line.split()
        modules.update({("" if domain == "ai.onnx" else domain, name): module for name in names})
    return modules


_modules = read_index()


def load_operators(domain: str | None = None, name: str = "") -> None:
    """Import the module of an operator, or without arguments all modules."""
    if domain is None:
        _load_all()
    elif (domain, name) in _modules:
        importlib.import_module(f"onnxwalk.ops.{_modules[domain, name]}")
    elif domain.startswith("ai.onnx") or domain in ("", "com.microsoft"):
        _load_all()  # the other domains aren't ours


@functools.cache
def _load_all() -> None:
    import pkgutil  # seldom needed

    package = importlib.import_module("onnxwalk.ops")
    for module in pkgutil.walk_packages(package.__path__, "onnxwalk.ops."):
        importlib.import_module(module.name)
