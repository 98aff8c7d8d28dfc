"""Zip files of Python packages: without what nothing needs, and compiled.

Compiled by the Python that runs them, in Pyodide: importing source files is half of the time until
the page is ready. Knows nothing but Python's own library, since ``compile.mjs`` runs it there.
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import zipfile
from collections.abc import Callable, Iterable, Iterator
from types import CodeType

#: a time for all files, so that the same files make the same archive
_TIME = (1980, 1, 1, 0, 0, 0)


def packed(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip file of files by their paths."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name, _TIME)
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, 9)
    return memory.getvalue()


def unpacked(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a zip file."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for info in opened.infolist():
            if not info.is_dir():
                yield info.filename, opened.read(info)


def chosen(archive: bytes, is_needed: Callable[[str], bool]) -> bytes:
    """The files of a zip file whose paths are needed, as a zip file."""
    return packed((name, data) for name, data in unpacked(archive) if is_needed(name))


def compiled(archive: bytes) -> bytes:
    """A zip file with the code of each Python file in place of its source, for this Python."""
    return packed(map(_compiled, unpacked(archive)))


def _compiled(file: tuple[str, bytes]) -> tuple[str, bytes]:
    name, source = file
    if not name.endswith(".py"):
        return file
    code = _without_lines(compile(source, name, "exec", dont_inherit=True))
    # flags: the code counts, whatever the source is; there is none
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    return f"{name}c", head + marshal.dumps(code)


def _without_lines(code: CodeType) -> CodeType:
    """The code without the numbers of its lines, a third of its size, which nobody sees there."""
    inner = [_without_lines(x) if isinstance(x, CodeType) else x for x in code.co_consts]
    return code.replace(co_linetable=b"", co_consts=tuple(inner))
