"""What is sent to workers that may not have onnxwalk: the source itself, by value."""

from __future__ import annotations


def installed(names: list[str]) -> dict[str, str | None]:
    """The versions of packages in this process; ``None`` for those that can't be imported."""
    import importlib

    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = importlib.import_module(name).__version__
        except ImportError:
            found[name] = None
    return found
