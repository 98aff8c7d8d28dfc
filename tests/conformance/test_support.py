"""SUPPORT.md says what is so."""

import onnx
import pytest

from tools.support_table import FILE, generate


def test_support_is_up_to_date():
    if not onnx.__version__.startswith("1.23"):
        pytest.skip("SUPPORT.md counts the cases of onnx 1.23")
    # not compared by pytest: its account of the difference would take longer than the test
    same = FILE.read_text(encoding="utf-8") == generate()
    assert same, "run: python -m tools.support_table"
