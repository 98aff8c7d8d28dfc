"""A Python with NumPy of another architecture, out of Debian's packages, unpacked into a folder:
nothing is installed. Its own loader starts it, in QEMU where the processor doesn't know it.

Needs apt-get and dpkg-deb; Debian's address and keys are the machine's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: the folder of downloads
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "onnxwalk-platforms"


_ADDRESS = re.compile(r"^(?:URIs:|deb(?: \[.*\])?) *(https?://\S+/debian)/?\s", re.M)


class Unavailable(Exception):
    """The platform can't be had here; the message says why."""


@dataclass(frozen=True)
class Debian:
    """A platform out of Debian: its architecture, its folder of libraries, its loader."""

    name: str
    architecture: str
    libraries: str
    loader: str
    suite: str = "trixie"
    emulator: str = ""  # the program of qemu-user-static

    def command(self) -> list[str]:
        """What begins the command line of this Python; the packages are fetched before. Raises
        Unavailable."""
        root = self._unpacked()
        (python,) = sorted((root / "usr/bin").glob("python3.[0-9]*[0-9]"))[-1:]
        libraries = root / "usr/lib" / self.libraries
        paths = [libraries, libraries / "blas", libraries / "lapack"]
        loader = [str(libraries / self.loader), "--library-path", ":".join(map(str, paths))]
        start = ["env", f"PYTHONHOME={root / 'usr'}", "OPENBLAS_NUM_THREADS=1"]
        emulator = [str(_emulator(self.emulator))] if self.emulator else []
        return [*start, *emulator, *loader, str(python)]

    @property
    def packages(self) -> Path:
        """Where Debian's Python packages lie."""
        return CACHE / self.name / "root/usr/lib/python3/dist-packages"

    def _unpacked(self) -> Path:
        folder = CACHE / self.name
        root = folder / "root"
        if (folder / "complete").exists():
            return root
        shutil.rmtree(folder, ignore_errors=True)
        for part in ("state/lists/partial", "cache/archives/partial", "root"):
            (folder / part).mkdir(parents=True)
        (folder / "state/status").touch()
        address, key = _source()
        (folder / "sources.list").write_text(
            f"deb [signed-by={key}] {address} {self.suite} main\n", "utf-8"
        )
        settings = {
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "true",
            "Dir::Cache": folder / "cache",
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State": folder / "state",
            "Dir::State::Status": folder / "state/status",
        }
        lines = [f'{key} "{value}";\n' for key, value in settings.items()]
        (folder / "apt.conf").write_text("".join(lines), "utf-8")
        environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
        _run(["apt-get", "-qq", "update"], environment)
        _run(["apt-get", "-qq", "-y", "--download-only", "install", "python3-numpy"], environment)
        for package in sorted((folder / "cache/archives").glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(root)])
        shutil.rmtree(folder / "cache")
        shutil.rmtree(folder / "state")
        (folder / "complete").touch()
        return root


def _emulator(program: str) -> Path:
    """A program of qemu-user-static, of the machine or fetched."""
    if found := shutil.which(program):
        return Path(found)
    folder = CACHE / "qemu"
    path = folder / "usr/bin" / program
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "-qq", "download", "qemu-user-static"], cwd=folder)
        for package in folder.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(package), str(folder)])
            package.unlink()
    return path


def _source() -> tuple[str, str]:
    """The address of the machine's Debian, and the file of its keys. Raises Unavailable."""
    key = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    has_tools = key.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb")
    for path in Path("/etc/apt").rglob("*") if has_tools else ():
        if path.suffix in (".sources", ".list") and (found := _ADDRESS.search(path.read_text())):
            return found[1], str(key)
    raise Unavailable("it comes out of Debian's packages, and this machine isn't Debian")


def _run(
    command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None
) -> None:
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Unavailable(f"{' '.join(command[:3])}: {reason[-1] if reason else done.returncode}")
