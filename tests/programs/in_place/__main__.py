"""The command: see the package."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.programs.in_place.table import PROGRAMS, Program, Row, difference, write_table

ROOT = Path(__file__).parents[3]
REFERENCE = "onnxruntime==1.32.0"
_SECONDS = 900


class Environment:
    """A virtual environment."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self.bin = folder / "bin"

    def pip(self, *arguments: str | Path) -> None:
        quiet = ["-q", "--disable-pip-version-check"]
        command = [self.bin / "pip", *arguments[:1], *quiet, *arguments[1:]]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": ""}, check=True)

    def install(self, program: Program) -> None:
        self.pip("install", program.package, *program.others)
        if program.others_without_dependencies:
            self.pip("install", "--no-deps", *program.others_without_dependencies)

    def run(self, *command: str | Path, folder: Path) -> str:
        """What a command of the environment prints. Raises CalledProcessError."""
        done = subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the programs; returns 1 if an answer differs or a program fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.in_place", description=__doc__)
    names = [program.name for program in PROGRAMS]
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"only these of {', '.join(names)}"
    )
    parser.add_argument("-o", "--output", type=Path, help="the page with the table to write")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"no program is named {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(
            [p for p in PROGRAMS if not options.names or p.name in options.names], Path(folder)
        )
    if options.output:
        write_table(rows, options.output)
    return 0 if all(row.is_right for row in rows) else 1


def compare(programs: Sequence[Program], folder: Path) -> list[Row]:
    """Run each program in both environments, which are made in the folder."""
    ours, theirs = Environment(folder / "without"), Environment(folder / "with")
    theirs.pip("install", REFERENCE)
    install_stand_in(ours, folder)
    rows = []
    for program in programs:
        rows.append(compare_one(program, ours, theirs, folder))
        print(rows[-1], flush=True)
    check_uninstall(ours, folder)
    return rows


def install_stand_in(environment: Environment, folder: Path) -> None:
    """Install onnxwalk and the stand-in, by the commands of docs/IN_PLACE.md."""
    source, wheels = folder / "source", folder / "wheels"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    environment.pip("wheel", "--no-deps", "-w", wheels, source)
    environment.pip("install", *wheels.glob("onnxwalk-*.whl"))
    environment.run("onnxwalk", "stand-in", "-o", wheels, folder=folder)
    environment.pip("install", *wheels.glob("onnxruntime-*.whl"))


def compare_one(program: Program, ours: Environment, theirs: Environment, folder: Path) -> Row:
    """Install and run a program in both environments."""
    answers: list[Any] = []
    for environment in (theirs, ours):
        try:
            environment.install(program)
            where = folder / f"{program.name}-{len(answers)}"
            where.mkdir()
            shutil.copy(program.path, where / "program.py")
            printed = environment.run("python", "program.py", folder=where)
        except subprocess.SubprocessError as error:
            text = getattr(error, "stderr", None) or str(error)
            return Row(program, None, text.strip().splitlines()[-1])
        answers.append(json.loads(printed.splitlines()[-1]))
    assert_stand_in(ours, folder)
    return Row(program, difference(answers[1], answers[0]))


def assert_stand_in(environment: Environment, folder: Path) -> None:
    """That no package has brought the real one along."""
    code = "import onnxruntime; print(onnxruntime.__name__)"
    printed = environment.run("python", "-c", code, folder=folder)
    assert printed.strip() == "onnxwalk.onnxruntime", printed


def check_uninstall(environment: Environment, folder: Path) -> None:
    """That ``pip uninstall onnxruntime`` leaves nothing."""
    environment.pip("uninstall", "-y", "onnxruntime")
    code = "import importlib.util; print(importlib.util.find_spec('onnxruntime'))"
    printed = environment.run("python", "-c", code, folder=folder)
    assert printed.strip() == "None", printed


if __name__ == "__main__":
    sys.exit(main())
