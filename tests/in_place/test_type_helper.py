"""``onnxruntime.transformers.io_binding_helper``, which Optimum imports."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from onnxwalk.onnxruntime import InferenceSession
from onnxwalk.onnxruntime.transformers.io_binding_helper import TypeHelper
from tests.support.onnxruntime_programs.models import ADD


def test_types_of_numpy():
    find = TypeHelper.ort_type_to_numpy_type
    assert (find("tensor(float)"), find("tensor(int64)")) == (np.float32, np.int64)
    assert (find("tensor(bool)"), find("tensor(double)")) == (bool, np.float64)
    for name in ("tensor(string)", "tensor(bfloat16)", "seq(tensor(float))", "tensor(foo)"):
        with pytest.raises(ValueError, match="not found in map"):
            find(name)


def test_types_of_onnx_and_of_a_session():
    assert TypeHelper.ort_type_to_onnx_type("tensor(string)") == 8
    session = InferenceSession(ADD)
    assert TypeHelper.get_io_onnx_type_map(session) == {"a": 1, "b": 1, "y": 1}
    assert TypeHelper.get_input_type(session, "b") == "tensor(float)"
    assert TypeHelper.get_output_type(session, "y") == "tensor(float)"
    with pytest.raises(ValueError, match="output name a not found"):
        TypeHelper.get_output_type(session, "a")


def test_types_of_torch(monkeypatch):
    names = "float32 bfloat16 bool int64 float8_e4m3fn".split()
    torch = SimpleNamespace(**{name: f"torch.{name}" for name in names})
    monkeypatch.setitem(sys.modules, "torch", torch)
    find = TypeHelper.ort_type_to_torch_type
    assert find("tensor(float)") == "torch.float32" and find("tensor(bool)") == "torch.bool"
    assert find("tensor(bfloat16)") == "torch.bfloat16"
    assert find("tensor(float8e4m3fn)") == "torch.float8_e4m3fn"
    assert TypeHelper.numpy_type_to_torch_type(np.int64) == "torch.int64"
    assert TypeHelper.torch_type_to_numpy_type(torch.float32) is np.float32
    assert TypeHelper.torch_type_to_numpy_type(torch.bool) is bool
    for name in ("tensor(string)", "tensor(complex64)"):  # this torch has no complex64
        with pytest.raises(ValueError, match="not found in map"):
            find(name)
