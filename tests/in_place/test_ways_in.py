"""Programs that import onnxruntime get ours: as a command, in code, and from an installed wheel."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

import onnxwalk
from onnxwalk.interpreter.cli import main, stand_in
from onnxwalk.onnxruntime import wheel
from tests.support.onnxruntime_programs.models import ADD

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
import importlib.metadata
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from onnxruntime.capi import _pybind_state as state
import onnxruntime.backend
import onnxwalk.onnxruntime

assert __name__ == "__main__"
assert state.InvalidArgument is InvalidArgument
assert ort is onnxwalk.onnxruntime and sys.modules["onnxruntime"] is ort
session = ort.InferenceSession("add.onnx", providers=["CPUExecutionProvider"])
print(sys.argv[1:], ort.__version__, importlib.metadata.version("onnxruntime"))
print(session.run(None, {"a": [[1, 2, 3]], "b": [[1, 1, 1]]})[0].tolist())
try:
    import onnxruntime.quantization
except ModuleNotFoundError as error:
    print(error)
"""

EXPECTED = [
    "['one', '--two'] 1.32.0 1.32.0+onnxwalk",
    "[[2.0, 3.0, 4.0]]",
    "onnxwalk stands in for onnxruntime and has no onnxruntime.quantization: only the inference "
    "API is there, not quantization, training or tools",
]


def run_python(*arguments, folder, path=()):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "add.onnx").write_bytes(ADD)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize("way", [["program.py"], ["-m", "program"]])
def test_a_program_or_module(folder, way):
    command = ["-m", "onnxwalk.as_onnxruntime", *way, "one", "--two"]
    done = run_python(*command, folder=folder)
    assert done.stdout.splitlines() == EXPECTED, done.stderr


def test_without_a_program(tmp_path):
    done = run_python("-m", "onnxwalk.as_onnxruntime", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m onnxwalk.as_onnxruntime")
    done = run_python("-m", "onnxwalk.as_onnxruntime", "--help", folder=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage:")
    done = run_python("-m", "onnxwalk.as_onnxruntime", "missing.py", folder=tmp_path)
    assert done.returncode == 1 and "missing.py" in done.stderr.splitlines()[-1]


def test_in_code(folder):
    code = "import onnxwalk; onnxwalk.install_as_onnxruntime(); onnxwalk.install_as_onnxruntime()"
    done = run_python("-c", f"{code}\n{PROGRAM}", "one", "--two", folder=folder)
    assert done.stdout.splitlines() == EXPECTED, done.stderr


def test_after_the_real_one(folder):
    pytest.importorskip("onnxruntime")
    code = "import onnxruntime, onnxwalk; onnxwalk.install_as_onnxruntime()"
    done = run_python("-c", code, folder=folder)
    message = done.stderr.splitlines()[-1]
    assert message.startswith("RuntimeError: onnxruntime has been imported already, from /")


def test_an_exit_status_is_the_programs(folder):
    (folder / "failing.py").write_text("import sys, onnxruntime; sys.exit(7)")
    done = run_python("-m", "onnxwalk.as_onnxruntime", "failing.py", folder=folder)
    assert done.returncode == 7


def test_the_wheel(folder):
    path = wheel.write_wheel(folder)
    assert path.name == "onnxruntime-1.32.0+onnxwalk-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
        archive.extractall(folder / "site")
    record = next(name for name in files if name.endswith("RECORD"))
    listed = {row[0]: row[1:] for row in csv.reader(io.StringIO(files[record].decode()))}
    assert listed.keys() == files.keys()
    for name, content in files.items():
        if name != record:
            digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert listed[name] == [f"sha256={digest}", str(len(content))]
    done = run_python("program.py", "one", "--two", folder=folder, path=[folder / "site"])
    assert done.stdout.splitlines() == EXPECTED, done.stderr


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stand_in, "installed_original", lambda: None)
    command = ["stand-in", "-o", str(tmp_path / "wheels"), "--also", "onnxruntime-gpu"]
    assert main([*command, "--as-version", "1.20.1"]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == [
        "onnxruntime-1.20.1+onnxwalk-py3-none-any.whl",
        "onnxruntime_gpu-1.20.1+onnxwalk-py3-none-any.whl",
    ]
    with zipfile.ZipFile(tmp_path / "wheels" / names[1]) as archive:
        text = archive.read("onnxruntime_gpu-1.20.1+onnxwalk.dist-info/METADATA").decode()
    assert "Requires-Dist: onnxruntime==1.20.1+onnxwalk" in text.splitlines()
    assert main(["stand-in", "-o", str(tmp_path), "--as-version", "new"]) == 1
    assert "'new' is not a version such as 1.32.0" in capsys.readouterr().err


def test_the_command_beside_the_real_one(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    assert main(["stand-in", "-o", str(tmp_path / "wheels")]) == 1
    assert "is installed here, and installing the wheel would replace it" in capsys.readouterr().err
    assert not (tmp_path / "wheels").exists()
    assert main(["stand-in", "-o", str(tmp_path / "wheels"), "--force"]) == 0


def test_the_name_in_the_package():
    assert "onnxruntime" in onnxwalk.__all__
    assert onnxwalk.onnxruntime.InferenceSession.__module__.startswith("onnxwalk.onnxruntime")
