"""docs/COOKBOOK.md as it stands: each task's Python runs, its commands print what it shows."""

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
PAGE = (ROOT / "docs/COOKBOOK.md").read_text("utf-8")
TASKS = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", PAGE, re.M))
BLOCK = re.compile(r"```(python|console|text)\n(.*?)```", re.S)
#: what a task needs beside what every test has
NEEDS = {
    "A scikit-learn pipeline over a CSV file": ("skl2onnx",),
    "Photos": ("keras", "PIL"),
    "Reviews": ("keras",),
    "A served model": ("starlette", "uvicorn"),
    "A fine-tuned model": ("keras",),
}


def test_there_are_ten():
    assert len(TASKS) == 10 and NEEDS.keys() <= TASKS.keys()
    assert all("```python" in text for text in TASKS.values())


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are bash's")
@pytest.mark.parametrize("task", TASKS)
def test_a_task(task, tmp_path):
    for name in NEEDS.get(task, ()):
        pytest.importorskip(name)
    if "curl" in TASKS[task] and not shutil.which("curl"):
        pytest.skip("curl isn't installed")
    python = shlex.quote(sys.executable)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}

    def run(*command, **more):
        return subprocess.run(
            command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, **more
        )

    said = ""
    for kind, text in BLOCK.findall(TASKS[task]):
        if kind == "python":
            result = run(sys.executable, "-c", text, stderr=subprocess.PIPE)
            assert result.returncode == 0, result.stderr
            said = result.stdout
        elif kind == "text":
            assert said == text
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
            if kind == "console":
                programs = f'onnxwalk() {{ {python} -m onnxwalk "$@"; }}; '
                result = run("bash", "-c", programs + command, stderr=subprocess.STDOUT)
                assert result.stdout == shown, command
