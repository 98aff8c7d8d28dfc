"""``python -m tools.api_reference``: one page, and everything public is on it."""

import re
from types import ModuleType

import pytest

import onnxwalk

pytest.importorskip("pdoc", reason="writes the API reference")
from tools import api_reference


def test_everything_public_is_there(tmp_path, recwarn):
    api_reference.build(tmp_path)
    page = (tmp_path / "onnxwalk.html").read_text("utf-8")
    documented = set(re.findall(r'id="([\w.]+)"', page))
    names = {n for n in onnxwalk.__all__ if not isinstance(getattr(onnxwalk, n), ModuleType)}
    assert names <= documented
    assert {"Session.run", "Session.trace", "Session.estimate"} <= documented
    assert "to_onnx" in (tmp_path / "onnxwalk" / "export.html").read_text("utf-8")
    assert not [str(w.message) for w in recwarn if "pdoc" in w.filename]
