"""The README's lines as they stand."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onnxwalk
from onnxwalk.export import cli as export_cli

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/USING.md", "docs/TRAINING.md", "CONTRIBUTING.md", "SECURITY.md")
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = {"onnxwalk": "interpreter", "onnxwalk-export": "export"}


def blocks(language):
    """(page, number, code) of every block of a language."""
    for page in PAGES:
        found = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S)
        yield from ((page, number, code) for number, code in enumerate(found))


PYTHON = list(blocks("python"))
SHELL = [
    (page, line.partition(" #")[0].strip())
    for page, _, code in blocks("sh")
    for line in code.splitlines()
]


def test_there_is_something_to_test():
    assert len(PYTHON) >= 4 and len(SHELL) >= 25


@pytest.mark.parametrize(("page", "number", "code"), PYTHON, ids=lambda x: str(x)[:20])
def test_python(page, number, code, monkeypatch, tmp_path):
    for folder in ("interpreter", "onnxwalk"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    shutil.copy(ROOT / "interpreter/cli/_demo/digits.onnx", tmp_path / "model.onnx")
    shutil.copy(ROOT / "interpreter/cli/_demo/digits.onnx", tmp_path / "untrusted.onnx")
    monkeypatch.chdir(tmp_path)
    names = {"np": np, "onnxwalk": onnxwalk}
    exec(compile(code, f"{page}, {number}", "exec"), names)
    if page == "README.md":
        assert names["probabilities"].shape == (2, 10)
        assert str(names["session"].inputs[0]) == "image: float32[batch, 8, 8, 1]"
        assert "# image: float32[batch, 8, 8, 1]" in code
    if "slopes" in names:
        assert names["slopes"][2].any() and not names["slopes"][[0, 1, 3]].any()
    if "d_kernel" in names:
        np.testing.assert_allclose(names["d_bias"].shape, names["d_kernel"].shape[1:])
    if "same" in names:
        np.testing.assert_array_equal(names["same"], names["probabilities"])
        assert names["convolution"].shape == (2, 16, 8, 8) and names["cost"].memory > 0


def test_two_commands_set_up_one_runs_and_one_tests():
    """And CI runs them as they stand."""
    setup, install, main, tests = (line for page, line in SHELL if ".venv" in line)
    assert "venv" in setup and "install" in install and "demo" in main and "pytest" in tests
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in ci if line in (setup, install, main, tests)] == [
        setup, install, main, tests,
    ]  # fmt: skip


@pytest.mark.parametrize(("page", "line"), [x for x in SHELL if x[1].startswith("onnxwalk")])
def test_commands_exist_with_these_options(page, line):
    """Every onnxwalk line parses; --help of a subcommand that isn't there exits with 2."""
    program, *arguments = shlex.split(line)
    module = COMMANDS[program]
    is_command = module == "interpreter" or arguments[0] in export_cli.COMMANDS
    shown = subprocess.run(
        [sys.executable, "-m", module, *(arguments[:1] if is_command else []), "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout
    for option in arguments:
        if option.startswith("-"):
            assert option in shown, f"{line}: {option} is not an option"


@pytest.mark.parametrize(("page", "line"), [x for x in SHELL if " -m " in x[1]])
def test_modules_exist(page, line):
    """Every ``python -m NAME`` is a module that can be run."""
    name = shlex.split(line.partition(" -m ")[2])[0]
    if name.partition(".")[0] in ("tests", "tools", "onnxwalk"):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), line


def test_links_lead_to_files():
    for page in [*PAGES, *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]:
        text = (ROOT / page).read_text("utf-8")
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text):
            assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"


def test_paths_in_prose_lead_to_files():
    for page in [*PAGES, *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]:
        text = (ROOT / page).read_text("utf-8")
        for path in re.findall(r"`((?:interpreter|ops|export|tests|tools|docs)/[\w./]+)`", text):
            assert (ROOT / path).exists(), f"{page}: {path}"


def test_what_it_says_of_operators():
    supported = {name for domain, name, _ in onnxwalk.supported_ops() if not domain}
    claimed = re.search(r"(\d+) of the (\d+)\s+operators of `ai\.onnx`", README)
    onnx = pytest.importorskip("onnx")
    every = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}
    assert claimed, "the README says how many operators there are"
    assert int(claimed[1]) == len(supported & every)
    if onnx.__version__.startswith("1.23"):
        assert int(claimed[2]) == len(every)


def test_the_core_needs_numpy_and_nothing_else():
    """Load, run and the command line with everything else out of reach."""
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"onnx", "google", "tensorflow", "keras", "tf2onnx", "scipy",
                                      "onnxruntime", "torch", "ml_dtypes", "PIL", "h5py", "rich",
                                      "threadpoolctl"}:
            raise ImportError(f"{name} is out of reach")
sys.meta_path.insert(0, Refuse())
from onnxwalk.interpreter.cli import main
assert main(["demo", "--samples", "1"]) == 0
assert main(["ops", "LSTM"]) == 0
assert not {"onnx", "tensorflow", "google.protobuf"} & set(sys.modules)
import interpreter, ops
"""
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
