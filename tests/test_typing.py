"""A user's script passes ``mypy --strict``, and the public face has all that it returns."""

import subprocess
import sys
from pathlib import Path

import onnxwalk

ROOT = Path(__file__).parents[1]


def test_strict_types_for_a_user(tmp_path):
    """Errors within the package are not the user's: they aren't shown for what is installed."""
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--config-file", ""),
        *("--follow-imports", "silent", "--cache-dir", tmp_path, "tests/typed_user.py"),
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_everything_public_is_there():
    for name in onnxwalk.__all__:
        assert getattr(onnxwalk, name) is not None
