"""Packages of Debian, PyPI and npm, fetched by the machine's own clients and unpacked into folders:
nothing is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: the folder of downloads
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "onnxwalk-platforms"

_ADDRESS = re.compile(r"^(?:URIs:|deb(?: \[.*\])?) *(https?://\S+/debian)/?\s", re.M)
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """The platform can't be had here; the message says why."""


def prepared(name: str, version: str, fill: Callable[[Path], None]) -> Path:
    """A folder of this name that ``fill`` has filled: now, or when this version was asked for
    before. Raises Unavailable."""
    folder = CACHE / name
    mark = folder / "complete"
    if not mark.exists() or mark.read_text("utf-8") != version:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fill(folder)
        mark.write_text(version, "utf-8")
    return folder


def run(
    command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    """What a command prints. Raises Unavailable with the last line that it says, if it fails."""
    if shutil.which(command[0]) is None:
        raise Unavailable(f"there is no {command[0]}")
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Unavailable(f"{' '.join(command[:3])}: {reason[-1] if reason else done.returncode}")
    return done.stdout


# --- PyPI, npm


def wheel(folder: Path, requirement: str, **tags: str) -> None:
    """Unpack a wheel of PyPI; ``tags``: pip's options ``--platform``, ``--abi`` …, for another
    Python than this one. Raises Unavailable."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in tags.items()]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    downloads = folder / "download"
    run([*pip, *options, "-d", str(downloads), requirement])
    for path in downloads.glob("*.whl"):
        zipfile.ZipFile(path).extractall(folder)
    shutil.rmtree(downloads)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a tar archive, which can't leave the folder."""
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")


# --- Debian


def debian_packages(folder: Path, suite: str, architecture: str, *packages: str) -> None:
    """Unpack packages and what they depend on into ``folder/root``. Raises Unavailable."""
    root = folder / "root"
    root.mkdir()
    environment = _lists(folder, suite, architecture, "deb")
    install = ["apt-get", "-qq", "-y", "--download-only", "install", *packages]
    run(install, environment)
    for package in sorted((folder / "cache/archives").glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(root)])
    shutil.rmtree(folder / "cache")
    shutil.rmtree(folder / "state")


def debian_source(folder: Path, suite: str, package: str) -> None:
    """Unpack the source of a package, as its authors published it. Raises Unavailable."""
    environment = _lists(folder, suite, _native(), "deb-src")
    run(["apt-get", "-qq", "source", "--download-only", package], environment, folder)
    for path in folder.glob("*.orig.tar.*"):
        if path.suffix != ".asc":
            unpack(path, folder)
    shutil.rmtree(folder / "cache")
    shutil.rmtree(folder / "state")


def emulator(program: str) -> Path:
    """A program of qemu-user-static, of the machine or fetched. Raises Unavailable."""
    if found := shutil.which(program):
        return Path(found)
    folder = CACHE / "qemu"
    path = folder / "usr/bin" / program
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run(["apt-get", "-qq", "download", "qemu-user-static"], cwd=folder)
        for package in folder.glob("*.deb"):
            run(["dpkg-deb", "-x", str(package), str(folder)])
            package.unlink()
    return path


def _native() -> str:
    return run(["dpkg", "--print-architecture"]).strip()


def _lists(folder: Path, suite: str, architecture: str, kind: str) -> dict[str, str]:
    """The environment in which apt-get knows the packages of a suite, and none that is installed.
    Debian's address and keys are the machine's own."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "state/status").touch()
    source = f"{kind} [signed-by={_KEYS}] {_address()} {suite} main\n"
    (folder / "sources.list").write_text(source, "utf-8")
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
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
    run(["apt-get", "-qq", "update"], environment)
    return environment


def _address() -> str:
    """The address of the machine's Debian. Raises Unavailable."""
    has_tools = _KEYS.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb")
    for path in Path("/etc/apt").rglob("*") if has_tools else ():
        if path.suffix in (".sources", ".list") and (found := _ADDRESS.search(path.read_text())):
            return found[1]
    raise Unavailable("it comes out of Debian's packages, and this machine isn't Debian")
