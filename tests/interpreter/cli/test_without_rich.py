"""The commands where rich isn't installed: the same text, without styles."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import onnxwalk

ROOT = Path(__file__).parents[3]
DIGITS = str(Path(onnxwalk.__path__[0]) / "interpreter/cli/_demo/digits.onnx")

PICTURE = str([[[[column * row] for column in range(8)] for row in range(8)]])

#: a process in which rich can't be imported, as where it isn't installed
CODE = """
import sys
for name in ("rich", "rich.console", "rich.text"):
    sys.modules[name] = None
from onnxwalk.interpreter.cli import main
for arguments in {commands!r}:
    print("$", *arguments)
    assert main(arguments) == 0
assert not [name for name in sys.modules if name.startswith("rich.") and sys.modules[name]]
"""
#: commands of each kind
COMMANDS = [
    ["inspect", DIGITS],
    ["run", DIGITS, "--random", "--seed", "0"],
    ["ops", "LSTM"],
    ["diff", DIGITS, DIGITS],
    ["saliency", DIGITS, "-i", f"image={PICTURE}"],
]


def without_times(text):
    return re.sub(r"[\d.e-]+ (s|ms|µs)\b", "… s", text)


def start(commands, **streams):
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "40"}
    argv = [sys.executable, "-c", CODE.format(commands=commands)]
    return subprocess.Popen(argv, cwd=ROOT, env=environment, **streams)


@pytest.fixture(scope="module")
def in_a_pipe():
    with start(COMMANDS, stdout=subprocess.PIPE) as process:
        text = process.stdout.read().decode()
    assert process.returncode == 0
    return text


def test_in_a_pipe(in_a_pipe):
    assert all(f"$ {command[0]} " in in_a_pipe for command in COMMANDS)
    assert "float32[batch, 8, 8, 1]" in in_a_pipe and "\x1b" not in in_a_pipe


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_in_a_terminal(in_a_pipe):
    import pty

    ours, theirs = pty.openpty()
    with start(COMMANDS, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    assert without_times(shown.decode().replace("\r\n", "\n")) == without_times(in_a_pipe)


def test_the_demo():
    with start([["demo", "--samples", "1"]], stdout=subprocess.PIPE) as process:
        text = process.stdout.read().decode()
    assert process.returncode == 0 and "digits.onnx" in text


def test_pipes_do_not_wait_for_rich():
    """Where it is installed, it isn't imported unless there is a terminal."""
    code = CODE.format(commands=[["ops", "LSTM"]]).replace("sys.modules[name] = None", "pass")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert done.returncode == 0
