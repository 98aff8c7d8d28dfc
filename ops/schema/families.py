"""Imports the file of a family when one of its operators is first looked up.

Importing all of them takes longer than running a small model. ``index`` says where an operator is;
one that isn't in there, a new one for instance, is found by importing everything.
"""

from __future__ import annotations

import importlib
import pkgutil

from onnxwalk.ops.schema.index import OPERATORS

_module_of = {
    (domain, name): module
    for (domain, module), names in OPERATORS.items()
    for name in names.split()
}
_everything_is_loaded = False


def load_operators(domain: str | None = None, name: str = "") -> None:
    """Have an operator registered, or without arguments every operator there is."""
    if domain is None:
        _load_all()
    elif (domain, name) in _module_of:
        importlib.import_module(f"onnxwalk.ops.{_module_of[domain, name]}")
    elif domain.startswith("ai.onnx") or domain in ("", "com.microsoft"):
        _load_all()  # the other domains are somebody else's


def _load_all() -> None:
    global _everything_is_loaded
    if not _everything_is_loaded:
        package = importlib.import_module("onnxwalk.ops")
        for module in pkgutil.walk_packages(package.__path__, "onnxwalk.ops."):
            importlib.import_module(module.name)
        _everything_is_loaded = True
