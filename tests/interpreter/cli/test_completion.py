"""Completion in the shells themselves, as far as they are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("shtab")
ROOT = Path(__file__).parents[3]

#: what is typed before the Tab, and what one of the completions is
TYPED = [
    ("onnxwalk expl", "explore"),
    ("onnxwalk run --out", "--output"),
    ("onnxwalk run model.onnx --exec", "--executor"),
    ("onnxwalk run model.onnx --executor w", "walk"),
    ("onnxwalk run digi", "digits.onnx"),
    ("onnxwalk run -o out/", "out/old.npy"),
    ("onnxwalk-export --weig", "--weights-back"),
    ("onnxwalk-export mod", "model.keras"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scripts of both programs for each shell, and some files."""
    folder = tmp_path_factory.mktemp("completion")
    for program, module in (("onnxwalk", "interpreter"), ("onnxwalk-export", "export")):
        for shell in ("bash", "zsh", "fish"):
            argv = [sys.executable, "-m", module, "completion", shell]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=ROOT)
            assert (done.returncode, done.stderr) == (0, "")
            name = f"_{program}" if shell == "zsh" else f"{program}.{shell}"
            (folder / name).write_text(done.stdout, "utf-8")
    (folder / "digits.onnx").touch()
    (folder / "model.keras").touch()
    (folder / "out").mkdir()
    (folder / "out/old.npy").touch()
    return folder


def run(folder, *argv):
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("typed", "expected"), TYPED)
def test_bash(folder, typed, expected):
    words = typed.split(" ")
    code = f"""
        source {words[0]}.bash
        COMP_WORDS=({" ".join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}
        COMP_LINE={shlex.quote(typed)} COMP_POINT={len(typed)} COMP_TYPE=9 COMP_KEY=9
        spec=$(complete -p {words[0]}); name=${{spec##*-F }}; name=${{name%% *}}
        $name {words[0]} {shlex.quote(words[-1])} {words[-2]}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = run(folder, "bash", "-c", code)
    assert expected in done.stdout.split(), done


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize(("typed", "expected"), TYPED)
def test_fish(folder, typed, expected):
    program = typed.split()[0]
    done = run(folder, "fish", "-c", f"source {program}.fish; complete -C {shlex.quote(typed)}")
    assert expected in done.stdout.split(), done


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
@pytest.mark.parametrize(("typed", "expected"), TYPED)
def test_zsh(folder, typed, expected):
    """At a pseudo-terminal: zsh completes nowhere else."""
    import pty

    parent, child = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=child, stdout=child, stderr=child, cwd=folder,
        env={**os.environ, "TERM": "dumb"}, start_new_session=True,
    )  # fmt: skip
    os.close(child)
    setup = f"PS1=; fpath=({shlex.quote(str(folder))} $fpath); autoload -U compinit; compinit -u -D"
    os.write(parent, f"{setup}; echo rea''dy\n".encode())
    _read_until(parent, "ready")
    os.write(parent, f"{typed}\t\t".encode())
    shown = _read_until(parent, expected)
    process.kill()
    process.wait()
    os.close(parent)
    assert expected in shown, shown


def _read_until(terminal, text):
    import select

    shown, deadline = "", time.monotonic() + 20
    while text not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 65536).decode("utf-8", "replace")
    return shown
