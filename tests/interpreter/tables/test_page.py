"""docs/TABLES.md as it stands: its code runs, its commands print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx isn't installed")

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/TABLES.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)
CONSOLE = "".join(re.findall(r"```console\n(.*?)```", PAGE, re.S))
COMMANDS = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", CONSOLE, re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables")
    before = os.getcwd()
    os.chdir(path)
    try:
        names: dict[str, object] = {}
        exec(compile(PYTHON[0], "TABLES.md, first block", "exec"), names)
        yield path, names
    finally:
        os.chdir(before)


def test_there_is_something_to_test():
    assert len(COMMANDS) >= 7 and len(PYTHON) == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are bash's")
@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_prints_what_is_shown(folder, command, shown):
    program = f'onnxwalk() {{ {shlex.quote(sys.executable)} -m onnxwalk "$@"; }}; {command}'
    result = subprocess.run(
        ["bash", "-c", program],
        cwd=folder[0],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.stdout == shown


def test_the_python_of_the_page(folder, capsys):
    names = dict(folder[1])
    exec(compile(PYTHON[1], "TABLES.md, second block", "exec"), names)
    assert names["labels"].tolist() == ["yes"]
    shown = re.search(r"print\(.*\)  # (.*)", PYTHON[1])
    assert capsys.readouterr().out.strip() == shown[1]
