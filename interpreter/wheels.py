"""Wheels: archives from which pip, or Pyodide, installs a package."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping

import onnxwalk

#: a time for all files, so that the same files make the same wheel
_TIME = (1980, 1, 1, 0, 0, 0)
_WHEEL = (
    "Wheel-Version: 1.0\nGenerator: onnxwalk {version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
)


def wheel_name(stem: str) -> str:
    """The file name of a wheel for every Python; ``stem``: "name-version"."""
    return f"{stem}-py3-none-any.whl"


def packed_wheel(stem: str, metadata: str, files: Mapping[str, bytes]) -> bytes:
    """The bytes of a wheel of pure Python.

    ``stem``: "name-version"; ``metadata``: the text of METADATA; ``files`` by their paths.
    """
    folder = f"{stem}.dist-info"
    content = dict(files)
    content[f"{folder}/METADATA"] = metadata.encode()
    content[f"{folder}/WHEEL"] = _WHEEL.format(version=onnxwalk.__version__).encode()
    record = f"{folder}/RECORD"
    content[record] = ("".join(map(_record_line, content.items())) + f"{record},,\n").encode()
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path, _TIME), data, zipfile.ZIP_DEFLATED)
    return memory.getvalue()


def _record_line(file: tuple[str, bytes]) -> str:
    path, content = file
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"
