"""Imports the file of a family when one of its operators is first looked up.

Importing all of them takes longer than running a small model. ``_index`` says where an operator is;
one that isn't in there, a new one for instance, is found by importing everything.
"""

from __future__ import annotations

import importlib
import pkgutil

from ops._index import MODULES_OF
from ops.registry import registry

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
            importlib.import_module(f"ops.{module}")
        _loaded.add(key)
    elif not domain.startswith("ai.onnx") and domain not in ("", "com.microsoft"):
        _loaded.add(key)  # somebody else's
    else:
        _load_all()


def _load_all() -> None:
    if ("", "*") in _loaded:
        return
    package = importlib.import_module("ops")
    for module in pkgutil.walk_packages(package.__path__, "ops."):
        importlib.import_module(module.name)
    _loaded.add(("", "*"))


def index() -> dict[tuple[str, str], str]:
    """What ``MODULES_OF`` should be: for each operator the modules that register and bind it."""
    found: dict[tuple[str, str], set[str]] = {}
    for operator in registry:
        modules = found.setdefault((operator.domain, operator.name), set())
        modules.add(operator.module)
        if operator.binder is not None:
            modules.add(operator.binder.__module__)
    return {
        key: " ".join(sorted(m.removeprefix("ops.") for m in modules))
        for key, modules in sorted(found.items())
    }


def main() -> None:
    """Write the index anew: ``python -m ops._families``."""
    import json
    from pathlib import Path

    lines = [
        f"    ({json.dumps(domain)}, {json.dumps(name)}): {json.dumps(modules)},"
        for (domain, name), modules in index().items()
    ]
    text = (
        '"""Which modules register and bind each operator; '
        'written by ``python -m ops._families``."""\n\n'
        "MODULES_OF: dict[tuple[str, str], str] = {\n" + "\n".join(lines) + "\n}\n"
    )
    Path(__file__).with_name("_index.py").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
