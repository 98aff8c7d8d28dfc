"""Build wheel and sdist, and test them in fresh environments:

    python -m tools.release_check [--python PYTHON …] [--keep DIR]

* `check-wheel-contents` and `twine check` report no problem;
* the wheel, built from the sdist, contains only ``onnxwalk/`` and its dist-info;
* it works together with PyPI's ``ops`` and ``open-interpreter``, in both orders of installation,
  and changes none of their files;
* a user's own ``ops.py``, ``interpreter.py`` and ``export.py`` next to their script don't conflict;
* the README has no relative links, which wouldn't work on PyPI;
* on each Python (default: all on this machine, from 3.10 on) it installs and runs ``demo`` with the
  oldest and the newest NumPy.

Needs a package index. Takes about a minute, and another for each Python.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEIGHBOURS = ("ops", "open-interpreter")
#: the oldest NumPy with wheels for a Python; for the others the oldest that pyproject.toml allows
LOWEST_NUMPY = {"3.13": "2.1", "3.14": "2.3.2"}
LOWEST = "2.0"

USERS_SCRIPT = """
import ops, interpreter, export
assert ops.MINE and interpreter.MINE and export.MINE
import onnxwalk, numpy as np
assert "Conv" in {name for _, name, _ in onnxwalk.supported_ops()}
(folder,) = onnxwalk.__path__
session = onnxwalk.load(f"{folder}/interpreter/cli/_demo/digits.onnx")
assert session(np.zeros((2, 8, 8, 1), np.float32)).shape == (2, 10)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.release_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", nargs="+", default=None, help="interpreters to try")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy wheel and sdist to DIR")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="onnxwalk-release-") as folder:
        work = Path(folder)
        wheel, sdist = build(work)
        check_contents(work, wheel, sdist)
        for order in ((wheel, *NEIGHBOURS), (*NEIGHBOURS, wheel)):
            check_neighbours(work, order)
        check_users_modules(work, wheel)
        for python in args.python or pythons():
            check_python(work, wheel, python)
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            for path in (wheel, sdist):
                shutil.copy(path, args.keep)
    print("all checks passed")
    return 0


def build(work: Path) -> tuple[Path, Path]:
    """The wheel, built from the sdist, and the sdist, built from a clean clone."""
    source = work / "source"
    subprocess.run(["git", "clone", "-q", "--no-local", ROOT, source], check=True)
    python = environment(work / "tools", "build", "check-wheel-contents", "twine")
    run(python, "-m", "build", "--outdir", work / "dist", source)
    (wheel,) = (work / "dist").glob("*.whl")
    (sdist,) = (work / "dist").glob("*.tar.gz")
    return wheel, sdist


def check_contents(work: Path, wheel: Path, sdist: Path) -> None:
    python = work / "tools" / "bin" / "python"
    run(python, "-m", "check_wheel_contents", wheel)
    run(python, "-m", "twine", "check", "--strict", wheel, sdist)
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    dist_info = {top for top in tops if re.fullmatch(r"onnxwalk-[^/]+\.dist-info", top)}
    assert tops == {"onnxwalk", *dist_info} and len(dist_info) == 1, f"the wheel contains {tops}"
    tracked = subprocess.run(
        ["git", "ls-files", "interpreter", "ops", "export", "onnxwalk/*.py", "onnxwalk/py.typed"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    expected = {name if name.startswith("onnxwalk/") else f"onnxwalk/{name}" for name in tracked}
    actual = {name for name in names if name.startswith("onnxwalk/")}
    assert actual == expected, f"only in wheel or repository: {sorted(actual ^ expected)}"
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode("utf-8")
    relative = re.findall(r"\]\((?!https?://|#)([^)]+)\)", text)
    assert "# onnxwalk" in text and not relative, f"links that don't work on PyPI: {relative}"
    print(f"{wheel.name}: {len(actual)} files, {wheel.stat().st_size / 1e6:.2f} MB; {sdist.name}")


def check_neighbours(work: Path, order: tuple[object, ...]) -> None:
    name = "neighbours-" + ("first" if isinstance(order[0], Path) else "last")
    python = environment(work / name)
    for package in order:
        # open-interpreter needs hundreds of megabytes that don't matter here
        extra = ["--no-deps"] if package == "open-interpreter" else []
        run(python, "-m", "pip", "install", "-q", *extra, package)
    run(python, "-c", "import ops; assert ops.CharmBase")
    spec = "import importlib.util as u; print(u.find_spec('interpreter').origin)"
    assert "site-packages" in run(python, "-c", spec)
    site = Path(
        run(python, "-c", "import ops, os; print(os.path.dirname(ops.__path__[0]))").strip()
    )
    for dist in NEIGHBOURS:
        check_record(site, dist)
    run(python, "-m", "onnxwalk", "demo", "--samples", "1")
    print(f"installed {name.removeprefix('neighbours-')}: works with {' and '.join(NEIGHBOURS)}")


def check_record(site: Path, dist: str) -> None:
    """Check that the files of an installed distribution match its RECORD."""
    (record,) = site.glob(f"{dist.replace('-', '_')}-*.dist-info/RECORD")
    for line in record.read_text("utf-8").splitlines():
        name, _, rest = line.partition(",sha256=")
        if rest and not name.startswith(".."):
            digest = hashlib.sha256((site / name).read_bytes()).digest()
            stated = rest.partition(",")[0]
            same = base64.urlsafe_b64encode(digest).decode().rstrip("=") == stated
            assert same, f"{dist}: {name} was overwritten"


def check_users_modules(work: Path, wheel: Path) -> None:
    python = environment(work / "users", wheel)
    folder = work / "script"
    folder.mkdir()
    for name in ("ops", "interpreter", "export"):
        (folder / f"{name}.py").write_text("MINE = True\n")
    (folder / "script.py").write_text(USERS_SCRIPT)
    run(python, "script.py", cwd=folder)
    print("a user's own ops.py, interpreter.py and export.py don't conflict")


def check_python(work: Path, wheel: Path, interpreter: str) -> None:
    version = run(interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    lowest = LOWEST_NUMPY.get(version, LOWEST)
    for pin in (f"numpy=={lowest}.*" if lowest.count(".") == 1 else f"numpy=={lowest}", "numpy<3"):
        folder = work / f"python{version}-{pin.strip('*')}"
        python = environment(folder, wheel, pin, base=interpreter)
        used = run(python, "-c", "import numpy; print(numpy.__version__)").strip()
        out = run(folder / "bin" / "onnxwalk", "demo", "--samples", "20")
        assert out.count(".onnx") >= 3, out
        print(f"Python {version}, NumPy {used}: demo runs")
        shutil.rmtree(folder)


def pythons() -> list[str]:
    """All Pythons from 3.10 on, on the path or in pyenv; the newest of each minor version."""
    found: dict[tuple[int, int], str] = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(10, 30):
        name = f"python3.{minor}"
        for path in [shutil.which(name), *sorted(map(str, pyenv.glob(f"*/bin/{name}")))]:
            works = path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0
            if path and works:
                found[3, minor] = path
    return list(found.values()) or [sys.executable]


def environment(folder: Path, *packages: object, base: str | None = None) -> Path:
    """The Python of a fresh virtual environment with these packages."""
    if base is None:
        venv.create(folder, with_pip=True)
    else:
        run(base, "-m", "venv", folder)
    python = folder / "bin" / "python"
    if packages:
        run(python, "-m", "pip", "install", "-q", *packages)
    return python


def run(*command: object, cwd: Path | None = None) -> str:
    """The output of a command, run where nothing of the checkout can be imported by accident."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd or tempfile.gettempdir(),
        env=environ,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        text = " ".join(str(part) for part in command)
        raise SystemExit(f"{text}\n{result.stdout}{result.stderr}failed with {result.returncode}")
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
