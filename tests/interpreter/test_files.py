"""Files that take the place of others, also where a file that is open can't be replaced."""

import mmap
import os

import numpy as np
import pytest

import onnxwalk
from onnxwalk.interpreter import files
from onnxwalk.interpreter.files import replace_atomically, write_file
from onnxwalk.interpreter.reader import source
from tests.interpreter.serving.conftest import DEMO


def test_a_file_that_windows_does_not_replace(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_text("old")

    def refuse(*_):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(files, "KEEPS_OPEN_FILES", True)
    message = (
        f"{path}: can't be written: a program has it open, as a model that is loaded; close it"
    )
    with pytest.raises(onnxwalk.InvalidInputError) as caught:
        write_file(path, "new")
    assert str(caught.value).startswith(message)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["model.onnx"]
    with (
        pytest.raises(onnxwalk.InvalidInputError, match="Access is denied"),
        replace_atomically(tmp_path / "new.onnx"),
    ):  # there is nothing that a program could have open
        pass


def test_where_a_map_would_keep_a_file_it_is_read(tmp_path, monkeypatch):
    data = (DEMO / "digits.onnx").read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    x = np.ones((1, 8, 8, 1), np.float32)
    expected = onnxwalk.load(path)(x)
    assert isinstance(onnxwalk.load(path).model.maps[0].obj, mmap.mmap)
    monkeypatch.setattr(source, "KEEPS_OPEN_FILES", True)
    session = onnxwalk.load(path)
    assert isinstance(session.model.maps[0].obj, bytes)
    path.write_bytes(b"another")  # what it has loaded is its own
    np.testing.assert_array_equal(session(x), expected)
    path.write_bytes(data)
    monkeypatch.setattr(source, "_COPIED", len(data) - 1)
    assert isinstance(onnxwalk.load(path).model.maps[0].obj, mmap.mmap)
