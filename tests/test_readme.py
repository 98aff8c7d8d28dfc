"""The README's lines as they stand."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import onnxwalk
from onnxwalk.export import cli as export_cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)
SHELL = re.findall(r"```sh\n(.*?)```", README, re.S)


def test_there_is_something_to_test():
    assert len(PYTHON) == 2 and len(SHELL) >= 4


@pytest.mark.parametrize("code", PYTHON, ids=["use", "add an operator"])
def test_python(code, monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    if "inner" in names:
        assert names["probabilities"].shape == (2, 10)
        assert names["inner"][0].shape == (2, 16, 8, 8)
        assert "image: float32[batch, 8, 8, 1]" in code and str(names["session"].inputs[0]) in code
    else:
        assert names["mine"].lookup("my.domain", "Swirl", 1).attributes == {"strength": 0.5}


def test_ci_runs_the_readmes_test_command():
    (command,) = [line for block in SHELL for line in block.splitlines() if "pytest" in line]
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_commands_exist_with_these_options():
    """Every onnxwalk line parses; --help of a subcommand that isn't there exits with 2."""
    lines = [line.partition("#")[0].strip() for block in SHELL for line in block.splitlines()]
    lines = [line for line in lines if line.startswith("onnxwalk")]
    assert len(lines) >= 6
    for line in lines:
        program, *arguments = shlex.split(line)
        module = {"onnxwalk": "interpreter", "onnxwalk-export": "export"}[program]
        is_command = module == "interpreter" or arguments[0] in export_cli.COMMANDS
        help_of = arguments[:1] if is_command else []
        shown = subprocess.run(
            [sys.executable, "-m", module, *help_of, "--help"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        ).stdout
        for option in arguments:
            if option.startswith("-"):
                assert option in shown, f"{line}: {option} is not an option"


def test_what_it_says_of_operators():
    supported = {name for domain, name, _ in onnxwalk.supported_ops() if not domain}
    claimed = re.search(r"(\d+) of the (\d+) operators of `ai\.onnx`", README)
    onnx = pytest.importorskip("onnx")
    every = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}
    assert claimed, "the README says how many operators there are"
    assert int(claimed[1]) == len(supported & every)
    if onnx.__version__.startswith("1.23"):
        assert int(claimed[2]) == len(every)


def test_the_core_needs_numpy_and_nothing_else():
    """Load, run and the command line with everything else but rich and its parts out of reach."""
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"onnx", "google", "tensorflow", "keras", "tf2onnx", "scipy",
                                      "onnxruntime", "torch", "ml_dtypes", "PIL", "h5py"}:
            raise ImportError(f"{name} is out of reach")
sys.meta_path.insert(0, Refuse())
from onnxwalk.interpreter.cli import main
assert main(["demo", "--samples", "1"]) == 0
assert main(["ops", "LSTM"]) == 0
assert not {"onnx", "tensorflow", "google.protobuf"} & set(sys.modules)
import interpreter, ops
assert "rich" in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
