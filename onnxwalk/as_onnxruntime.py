"""Runs programs that import ``onnxruntime`` with onnxwalk in its place.

    python -m onnxwalk.as_onnxruntime program.py arguments …
    python -m onnxwalk.as_onnxruntime -m module arguments …

In code: ``onnxwalk.install_as_onnxruntime()``, before anything imports ``onnxruntime``.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import runpy
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

#: the name that programs import, and the package that they get
_ASKED, _GIVEN = "onnxruntime", "onnxwalk.onnxruntime"

_USAGE = "usage: python -m onnxwalk.as_onnxruntime (PROGRAM.py | -m MODULE) [ARGUMENT ...]"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``onnxruntime`` and its modules in ``onnxwalk.onnxruntime``: one object each, whichever
    name it is imported by."""

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _ASKED and not name.startswith(f"{_ASKED}."):
            return None
        given = _GIVEN + name.removeprefix(_ASKED)
        try:
            found = importlib.util.find_spec(given)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise ModuleNotFoundError(
                f"onnxwalk stands in for onnxruntime and has no {name}: only the inference API is "
                "there, not quantization, training or tools",
                name=name,
            )
        return importlib.machinery.ModuleSpec(
            name, self, is_package=found.submodule_search_locations is not None
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(_GIVEN + spec.name.removeprefix(_ASKED))
        self._own = (module, module.__spec__)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It ran when it was created; only its own specification is restored."""
        module.__spec__ = self._own[1]

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        """What ``importlib.metadata.version("onnxruntime")`` looks for."""
        return [_Distribution()] if context is not None and context.name == _ASKED else []


class _Distribution(importlib.metadata.Distribution):
    """The metadata of the stand-in where its wheel isn't installed."""

    def read_text(self, filename: str) -> str | None:
        from onnxwalk.onnxruntime.wheel import metadata

        return metadata() if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        return os.path.join(os.path.dirname(__file__), path)


def install_as_onnxruntime() -> None:
    """Let ``import onnxruntime`` mean ``onnxwalk.onnxruntime`` in this process.

    Raises RuntimeError if another ``onnxruntime`` has been imported already.
    """
    loaded = sys.modules.get(_ASKED)
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if loaded is not None and getattr(loaded, "__name__", "") != _GIVEN:
        where = getattr(loaded, "__file__", None) or "an unknown place"
        raise RuntimeError(
            f"onnxruntime has been imported already, from {where}: call install_as_onnxruntime() "
            "before anything that imports it"
        )
    sys.meta_path.insert(0, _Finder())


def main(arguments: Sequence[str]) -> int:
    """Run a program or a module as Python would, with onnxwalk in place of ONNX Runtime."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        print(_USAGE, file=sys.stdout if arguments[:1] in (["-h"], ["--help"]) else sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    install_as_onnxruntime()
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        sys.path.insert(0, "")
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
        runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
