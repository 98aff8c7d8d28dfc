"""Write the site: static files that any server can give out."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import onnxwalk
from onnxwalk.interpreter.analysis.explore.page import FOLDER as EXPLORER
from onnxwalk.interpreter.analysis.explore.page import SCRIPTS
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import translate_os_errors
from onnxwalk.interpreter.playground.archives import packed
from onnxwalk.interpreter.playground.notebook import ADDRESS as NOTEBOOK
from onnxwalk.interpreter.playground.notebook import notebook_files
from onnxwalk.interpreter.playground.pyodide import LOCK, compiled_by, fetched, files_of

_FOLDER = Path(__file__).parent / "_site"
_PACKAGE = Path(onnxwalk.__file__).parent
_DEMO = _PACKAGE / "interpreter/cli/_demo"
#: parts of the package that the page doesn't need, as paths in it
_LEFT_OUT = (
    "as_onnxruntime.py", "backend.py", "export", "interpreter/backend.py", "interpreter/cli",
    "interpreter/estimators.py", "interpreter/playground/notebook.py",
    "interpreter/playground/pyodide.py", "interpreter/playground/site.py", "interpreter/serving",
    "interpreter/training", "interpreter/wheels.py", "onnxruntime", "sklearn.py", "training.py",
)  # fmt: skip
_NOTEBOOK = "notebook"
_LINK = """\
<p class="note">There is also a <a href="{}">notebook</a> (JupyterLite), in which you run a CNN,
      a SimpleRNN and an LSTM step by step, in Python.</p>
"""
#: marks a folder that this module wrote, and may write again
_LIST = "files.js"


@dataclass(frozen=True)
class Site:
    """What was written: how many files, their bytes, and those of a server that compresses."""

    files: int
    size: int
    compressed: int


def write_site(folder: Path, pyodide: str | None = None, *, notebook: bool = False) -> Site:
    """Write the site into a folder, which is new, empty, or an older site.

    ``pyodide``: the folder of a Pyodide distribution with NumPy, which is copied, or the address of
    one, from which the page then loads it; by default it is fetched. ``notebook``: with a
    JupyterLite beside the page, in which a notebook of three networks runs.

    Raises InvalidInputError.
    """
    address = pyodide if pyodide and urlsplit(pyodide).scheme in ("http", "https") else None
    if notebook and address is not None:
        raise InvalidInputError(
            "the notebook needs a folder of Pyodide's, or none to have it fetched, not an address"
        )
    files = dict(_own_files(address, notebook))
    if address is None:
        source = fetched() if pyodide is None else Path(pyodide)
        files |= {f"pyodide/{name}": data for name, data in files_of(source).items()}
        (files["onnxwalk.zip"],) = compiled_by(source, [package_archive()])
    else:
        files["onnxwalk.zip"] = package_archive()
    version = hashlib.sha256()
    for name, data in sorted(files.items()):
        version.update(f"{name} {len(data)} ".encode() + data)
    listed = {"version": version.hexdigest()[:16], "files": sorted(files)}
    if notebook:  # not in the list: nobody who looks at the page loads it
        source = fetched() if pyodide is None else Path(pyodide)
        files |= {f"{_NOTEBOOK}/{name}": data for name, data in notebook_files(source).items()}
    files[_LIST] = f"self.SITE = {json.dumps(listed, indent=1)};\n".encode()
    _write(folder, files)
    sizes = [(len(data), min(len(zlib.compress(data, 6)), len(data))) for data in files.values()]
    return Site(len(files), sum(size for size, _ in sizes), sum(small for _, small in sizes))


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    with translate_os_errors(folder):
        if folder.exists() and any(folder.iterdir()) and not (folder / _LIST).exists():
            raise InvalidInputError(
                f"{folder} holds other files: pass a new folder, or an older page"
            )
        if (folder / _NOTEBOOK).exists():  # JupyterLite's files have other names in each version
            shutil.rmtree(folder / _NOTEBOOK)
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _own_files(address: str | None, notebook: bool) -> Iterator[tuple[str, bytes]]:
    """The files of the page, without Pyodide's."""
    base = "pyodide/" if address is None else f"{address.rstrip('/')}/"
    host = "" if address is None else " {0.scheme}://{0.netloc}".format(urlsplit(address))
    texts = {
        "@HOST@": host,
        "@PYODIDE@": base,
        "@LOCK@": LOCK,
        "@VERSION@": onnxwalk.__version__,
        "@EXPLORER@": (EXPLORER / "body.html").read_text("utf-8"),
        "@NOTEBOOK@": _LINK.format(f"{_NOTEBOOK}/{NOTEBOOK}") if notebook else "",
        "@SCRIPTS@": " ".join(f"explorer/{name}" for name in SCRIPTS),
    }
    for path in sorted(_FOLDER.iterdir()):
        text = path.read_text("utf-8")
        for mark, value in texts.items():
            text = text.replace(mark, value)
        yield path.name, text.encode()
    for name in (*SCRIPTS, "style.css", "dagre.LICENSE.txt"):
        yield f"explorer/{name}", (EXPLORER / name).read_bytes()
    for path in sorted(_DEMO.iterdir()):
        yield f"demo/{path.name}", path.read_bytes()


def package_archive() -> bytes:
    """A zip file of the package, without what the page doesn't need."""
    paths = {path.relative_to(_PACKAGE).as_posix(): path for path in _files_below(_PACKAGE)}
    return packed(
        (f"onnxwalk/{name}", path.read_bytes())
        for name, path in sorted(paths.items())
        if not any(name == part or name.startswith(f"{part}/") for part in _LEFT_OUT)
    )


def _files_below(folder: Path) -> Iterator[Path]:
    """The Python files and tables of a package; its parts may be links."""
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith("_"):
            yield from _files_below(path)
        elif path.suffix in (".py", ".txt"):
            yield path
