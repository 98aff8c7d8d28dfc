"""A JupyterLite with the notebook of three networks, which runs in the browser as the page does.

Built by JupyterLite's own command. Python and its packages are those of a Pyodide distribution, and
onnxwalk is one of them, so that ``import onnxwalk`` is all that a notebook needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnxwalk
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.playground.pyodide import (
    FILES,
    LOCK,
    NOTEBOOK,
    SCRIPT,
    closure,
    fetched_comm,
    read_files,
    read_lock,
)
from onnxwalk.interpreter.wheels import packed_wheel, wheel_name

#: the address of the notebook, from the folder into which ``notebook_files`` go
ADDRESS = "notebooks/index.html?path=networks.ipynb"

_FOLDER = Path(__file__).parent / "_notebook"
_PACKAGE = Path(onnxwalk.__file__).parent
_KERNEL = "@jupyterlite/pyodide-kernel-extension"
#: where JupyterLite's build puts wheels that its Python imports, and those
_WHEELS = f"extensions/{_KERNEL}/static/pypi"
_KERNELS = ("ipykernel", "piplite", "pyodide_kernel")
#: the parts of the package that need TensorFlow, or a system with processes
_LEFT_OUT = ("export", "interpreter/playground")


def notebook_files(distribution: Path) -> dict[str, bytes]:
    """The files of the JupyterLite by their paths; ``distribution``: a folder of Pyodide's.

    Raises InvalidInputError if JupyterLite isn't installed, or a package is missing.
    """
    for module in ("jupyterlite_core", "jupyterlite_pyodide_kernel", "jupyter_server"):
        if importlib.util.find_spec(module) is None:
            raise InvalidInputError(
                f"the notebook needs JupyterLite ({module} is missing): "
                'pip install "onnxwalk[notebook]"'
            )
    files = _built()
    lock = read_lock(distribution)
    wheels = {
        name: data for path, data in files.items() if (name := _wheel_of_kernel(path)) is not None
    }
    wheels |= fetched_comm() | _onnxwalk()
    try:
        needed = closure(lock["packages"], ("numpy", *NOTEBOOK))
    except KeyError as error:
        raise InvalidInputError(f"{distribution / LOCK}: no package {error}") from None
    lock["packages"] = {name: lock["packages"][name] for name in needed}
    packages = [package["file_name"] for package in lock["packages"].values()]
    found = read_files(distribution, [SCRIPT, *FILES[1:], *packages])
    lock["packages"] |= {entry["name"]: entry for entry in map(_entry, wheels.items())}
    found |= wheels | {LOCK: json.dumps(lock).encode()}
    return files | {f"pyodide/{name}": data for name, data in found.items()}


def _settings() -> dict[str, Any]:
    """JupyterLite's: Python from the site itself, with all packages, and none from elsewhere."""
    kernel = {
        "pyodideUrl": f"./pyodide/{SCRIPT}",
        "disablePyPIFallback": True,
        # JupyterLite installs what it doesn't find here, by these names
        "loadPyodideOptions": {"packages": [*NOTEBOOK, "comm", *_KERNELS, "onnxwalk"]},
    }
    config = {
        "appUrl": "./notebooks",
        "litePluginSettings": {f"{_KERNEL}:kernel": kernel},
        # all cells are in the page, so that the browser's search finds what is in them
        "settingsOverrides": {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}},
    }
    return {"jupyter-lite-schema-version": 0, "jupyter-config-data": config}


def _built() -> dict[str, bytes]:
    """What JupyterLite's own command writes. Raises InvalidInputError."""
    with tempfile.TemporaryDirectory(prefix="onnxwalk-") as temporary:
        folder = Path(temporary)
        (folder / "jupyter-lite.json").write_text(json.dumps(_settings()), "utf-8")
        command = [
            sys.executable, "-m", "jupyterlite_core", "build", "--contents", str(_FOLDER),
            "--output-dir", "site", "--apps", "notebooks", "--apps", "tree", "--no-sourcemaps",
            "--no-unused-shared-packages",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
            raise InvalidInputError(f"JupyterLite can't be built: {lines[-1][:300]}")
        site = folder / "site"
        paths = (path for path in site.rglob("*") if path.is_file())
        return {path.relative_to(site).as_posix(): path.read_bytes() for path in paths}


def _wheel_of_kernel(path: str) -> str | None:
    """The file name of a wheel that JupyterLite's Python needs; ``None`` for other files."""
    folder, _, name = path.rpartition("/")
    return name if folder == _WHEELS and name.split("-")[0] in _KERNELS else None


def _onnxwalk() -> dict[str, bytes]:
    """onnxwalk's wheel by its name, of the package that runs."""
    stem = f"onnxwalk-{onnxwalk.__version__}"
    metadata = f"Metadata-Version: 2.1\nName: onnxwalk\nVersion: {onnxwalk.__version__}\n"
    return {wheel_name(stem): packed_wheel(stem, metadata, dict(_package_files(_PACKAGE)))}


def _package_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The package's files by their paths in a wheel; its parts may be links."""
    for path in sorted(folder.iterdir()):
        name = path.relative_to(_PACKAGE).as_posix()
        if name in _LEFT_OUT or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from _package_files(path)
        else:
            yield f"onnxwalk/{name}", path.read_bytes()


def _entry(wheel: tuple[str, bytes]) -> Mapping[str, Any]:
    """What Pyodide's lock file says of a package."""
    file, data = wheel
    name, version = file.split("-")[:2]
    depends = {"onnxwalk": ["numpy"], "pyodide_kernel": ["comm", "ipykernel", "ipython"]}
    return {
        "name": name.replace("_", "-"),
        "version": version,
        "file_name": file,
        "install_dir": "site",
        "sha256": hashlib.sha256(data).hexdigest(),
        "package_type": "package",
        "imports": [name],
        "depends": depends.get(name, []),
        "unvendored_tests": False,
    }
