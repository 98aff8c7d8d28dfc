"""Pictures in a tar archive, which are read without being unpacked."""

from __future__ import annotations

import contextlib
import functools
import io
import tarfile
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from onnxwalk.interpreter.errors import InvalidInputError

try:
    from lzma import LZMAError
except ImportError:  # Pyodide, and a Python that was built without it
    LZMAError = tarfile.CompressionError  # type: ignore[assignment, misc]

#: the endings of archives
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, by its ending."""
    return path.name.lower().endswith(SUFFIXES)


#: the handle is open as long as an archive is read, picture by picture
_open = functools.partial(tarfile.open, mode="r:*")


class Archive:
    """The files in an archive, in its order. Raises InvalidInputError, also where it is read."""

    def __init__(self, path: Path, suffixes: frozenset[str]) -> None:
        """``suffixes``: the endings of the files that count; hidden ones don't."""
        self.path = path
        with self._naming_errors():
            # where two have the same name, the later one replaces the first, as tar unpacks it
            self._file = _open(path)
            weakref.finalize(self, self._file.close)
            found = {m.name: m for m in self._file.getmembers() if m.isfile()}
        self._members = {
            path / name.lstrip("/"): member
            for name, member in found.items()
            if PurePosixPath(name).suffix.lower() in suffixes
            and not any(part.startswith(".") for part in PurePosixPath(name).parts)
        }
        if not self._members:
            listed = " ".join(sorted(suffixes))
            raise InvalidInputError(f"{path}: the archive contains no images ({listed})")

    @property
    def paths(self) -> list[Path]:
        """The files, each as if the archive was a folder."""
        return [*self._members]

    def open(self, path: Path) -> io.BytesIO:
        """One of the files."""
        with self._naming_errors():
            data = self._file.extractfile(self._members[path])
            return io.BytesIO(b"" if data is None else data.read())

    @contextlib.contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise InvalidInputError(f"{self.path}: no such file") from None
        except (tarfile.TarError, EOFError, OSError, zlib.error, LZMAError) as error:
            reason = str(error).partition(":\n")[0]  # tarfile lists each way that it tried
            message = f"{self.path}: not a tar archive, or damaged: {reason}"
            raise InvalidInputError(message) from error
