"""Imports the file of a family when one of its operators is first looked up.

Importing all of them takes longer than running a small model. ``_index`` says where an operator is;
one that isn't in there, a new one for instance, is found by importing everything.
"""

from __future__ import annotations

import importlib
import pkgutil

from onnxwalk.ops.schema.index import MODULES_OF

_loaded: set[tuple[str, str]] = set()


def load_operators(domain: str | None = None, name: str = "") -> None:
    """Have an operator registered, or without arguments every operator there is."""
    if domain is None:
        _load_all()
        return
    key = (domain, name)
    if key in _loaded:
        return
    if key in MODULES_OF:
        for module in MODULES_OF[key].split():
            importlib.import_module(f"onnxwalk.ops.{module}")
        _loaded.add(key)
    elif not domain.startswith("ai.onnx") and domain not in ("", "com.microsoft"):
        _loaded.add(key)  # somebody else's
    else:
        _load_all()


def _load_all() -> None:
    if ("", "*") in _loaded:
        return
    package = importlib.import_module("onnxwalk.ops")
    for module in pkgutil.walk_packages(package.__path__, "onnxwalk.ops."):
        importlib.import_module(module.name)
    _loaded.add(("", "*"))
