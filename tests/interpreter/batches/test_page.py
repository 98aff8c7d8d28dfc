"""docs/BATCHES.md as it stands: its Python runs, its commands print what it shows but times."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/BATCHES.md").read_text("utf-8")
BLOCKS = re.findall(r"```(python|console|text)\n(.*?)```", PAGE, re.S)


def without_times(text: str) -> str:
    """The text, where how long something took is "…"."""
    return re.sub(r"in [\d.]+ m?s, [\d,]+ rows/s", "in …", text)


def test_there_is_something_to_test():
    assert [kind for kind, _ in BLOCKS] == ["python", "console", "console", "python", "text"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are bash's")
def test_the_page(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}

    def run(*command):
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ).stdout

    said = ""
    program = f'onnxwalk() {{ {shlex.quote(sys.executable)} -m onnxwalk "$@"; }}; '
    for kind, text in BLOCKS:
        if kind == "python":
            said = run(sys.executable, "-c", text)
        elif kind == "text":
            assert said == text
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
            if kind == "console":
                assert without_times(run("bash", "-c", program + command)) == without_times(shown)
