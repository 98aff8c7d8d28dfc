"""An exporter: a program of ``programs``, and the environment that it runs in.

A program states at its top, as literals:

REQUIREMENTS   the packages it needs, with versions; the first is the exporter
REFUSED        of how many models the exporter writes no file; none if it isn't stated
TOLERANCE      how far numbers may be apart, of the largest in an answer; 1e-4 if it isn't stated
KNOWN          pattern of files' names -> why the framework answers otherwise than the file, if
               that isn't for us to mend. "onnxruntime:PATTERN" is for files of which ONNX Runtime
               alone says otherwise; "specification:PATTERN" where it and the framework agree with
               each other, but not with the ONNX specification, which we follow
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
_SECONDS = 3600


@dataclass(frozen=True)
class Exporter:
    """A program, by its path."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @cached_property
    def _stated(self) -> dict[str, Any]:
        stated = {}
        for line in self._tree.body:
            if isinstance(line, ast.Assign) and isinstance(target := line.targets[0], ast.Name):
                stated[target.id] = line.value
        names = {"REQUIREMENTS", "REFUSED", "TOLERANCE", "KNOWN"} & set(stated)
        return {name: ast.literal_eval(stated[name]) for name in names}

    @property
    def says(self) -> str:
        """The first line of the program: what is exported."""
        return (ast.get_docstring(self._tree) or "").splitlines()[0].rstrip(".")

    @property
    def requirements(self) -> list[str]:
        return self._stated["REQUIREMENTS"]

    @property
    def refused(self) -> int:
        return self._stated.get("REFUSED", 0)

    @property
    def tolerance(self) -> float:
        return self._stated.get("TOLERANCE", 1e-4)

    @property
    def known(self) -> dict[str, str]:
        return self._stated.get("KNOWN", {})

    def write_files(self, cache: Path) -> Path:
        """Run the program in its environment, made in the cache folder; the folder of its files.

        Programs with the same requirements share an environment. Raises CalledProcessError, and
        TimeoutExpired after an hour.
        """
        python = _environment(self.requirements, cache)
        folder = cache / "files" / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(self.path, folder / "program.py")
        shutil.copy(HERE / "writing.py", folder)
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ""}
        subprocess.run(
            [python, "program.py"],
            cwd=folder,
            env={**os.environ, **quiet, "HOME": str(folder), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        return folder


def _environment(requirements: list[str], cache: Path) -> Path:
    """The interpreter of an environment with the packages."""
    key = hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()[:12]
    folder = cache / "environments" / key
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True, capture_output=True, text=True)
        complete.touch()
    return python


def exporters() -> list[Exporter]:
    """All of them, by name."""
    return [Exporter(path) for path in sorted(PROGRAMS.glob("*.py"))]
