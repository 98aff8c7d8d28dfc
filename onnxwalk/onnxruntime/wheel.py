"""Writes a wheel named ``onnxruntime`` whose content is onnxwalk in its place."""

from __future__ import annotations

from pathlib import Path

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import write_file
from onnxwalk.interpreter.wheels import packed_wheel, wheel_name
from onnxwalk.onnxruntime.globals import VERSION

#: distributions that contain the package ``onnxruntime``, and can be stood in for
DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-silicon",
    "onnxruntime-cpu",
)

#: marks a version as ours: "1.32.0+onnxwalk" satisfies "onnxruntime>=1.17" and "==1.32.0"
_LOCAL = "onnxwalk"

_PACKAGE = '''\
"""onnxwalk in place of ONNX Runtime: ``pip uninstall {name}`` removes it."""

import sys

from onnxwalk.as_onnxruntime import install_as_onnxruntime

del sys.modules[__name__]
install_as_onnxruntime()
sys.modules[__name__] = __import__("onnxwalk.onnxruntime").onnxruntime
'''


def metadata(name: str = "onnxruntime", version: str = VERSION) -> str:
    """The METADATA of the stand-in for a distribution."""
    first = "onnxwalk" if name == "onnxruntime" else f"onnxruntime=={version}+{_LOCAL}"
    return (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}+{_LOCAL}\n"
        "Summary: onnxwalk, the ONNX interpreter in pure NumPy, in place of ONNX Runtime\n"
        f"Requires-Dist: {first}\nRequires-Python: >=3.10\n"
    )


def write_wheel(folder: Path, name: str = "onnxruntime", version: str = VERSION) -> Path:
    """Write the wheel into a folder and return its path. The wheel of a name other than
    "onnxruntime" has no files but requires that one.

    Raises InvalidInputError for other names, a version that isn't numbers with dots, and if the
    file can't be written.
    """
    if name not in DISTRIBUTIONS:
        raise InvalidInputError(f"{name!r} can't be stood in for: {', '.join(DISTRIBUTIONS)}")
    if not all(part.isdecimal() for part in version.split(".")):
        raise InvalidInputError(f"{version!r} is not a version such as {VERSION}")
    stem = f"{name.replace('-', '_')}-{version}+{_LOCAL}"
    files = {}
    if name == "onnxruntime":
        files["onnxruntime/__init__.py"] = _PACKAGE.format(name=name).encode()
    target = folder / wheel_name(stem)
    write_file(target, packed_wheel(stem, metadata(name, version), files))
    return target


def installed_original() -> str | None:
    """The name and version of a real ONNX Runtime in this environment, None if there is none."""
    import importlib.metadata  # takes long

    for name in DISTRIBUTIONS:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if not version.endswith(f"+{_LOCAL}"):
            return f"{name} {version}"
    return None
