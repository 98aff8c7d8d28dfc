"""Pythons that lack what most have: memory maps, threads, ctypes, fork, a known memory. Each is a
process in which that is taken away before onnxwalk is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onnxwalk
from onnxwalk.interpreter import limits
from onnxwalk.interpreter.budget import Budget
from onnxwalk.interpreter.errors import memory_reason, refuses_memory
from tests.support.harness import Case, feeds_of, one_node_model

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "interpreter/cli/_demo/digits.onnx"
#: shapes that no address reaches, nor with 32 bits
BEYOND = 1 << 62

NO_THREADS = """
import _thread
def refuse(*arguments, **options):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = refuse
if hasattr(_thread, "start_joinable_thread"):  # of 3.13
    _thread.start_joinable_thread = refuse
"""
#: what is taken away, by name
WITHOUT = {
    "mmap": "sys.modules['mmap'] = None",
    "ctypes": "sys.modules['ctypes'] = sys.modules['_ctypes'] = None",
    "sockets": "sys.modules['socket'] = sys.modules['_socket'] = None",
    "processes": "sys.modules['multiprocessing'] = sys.modules['subprocess'] = None",
    "compression but zlib": "sys.modules['lzma'] = sys.modules['bz2'] = None",
    "sysconf": "del os.sysconf",
    "an answer of sysconf": "os.sysconf = lambda name: -1",
    "fork": "del os.fork, os.register_at_fork",
    "the number of cores": "os.cpu_count = lambda: None",
    "threads": NO_THREADS,
    "threadpoolctl": "sys.modules['threadpoolctl'] = None",
    "PyPy's references": "sys.implementation.name = 'pypy'",
}
USE = """
import json
import numpy as np
import onnxwalk
from onnxwalk.interpreter.limits import half_of_memory

session = onnxwalk.load({path!r})
x = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype(np.float32)
results = [session(x), session(x)]
import onnxwalk.onnxruntime
results += onnxwalk.onnxruntime.InferenceSession({path!r}).run(None, {{"image": x}})
assert half_of_memory() > 1 << 20
import onnxwalk.interpreter.cli
with open(os.devnull, "w") as sys.stdout:
    assert onnxwalk.interpreter.cli.main(["run", {path!r}, "--random"]) == 0
sys.stdout = sys.__stdout__
"""
THREADS = """
session = onnxwalk.load({path!r}, threads=3)
results = [session(np.concatenate([x] * 40))[:5] for _ in range(3)]
onnxwalk.load({path!r}, threads=2)(x)
found = []
compatible = onnxwalk.onnxruntime.InferenceSession({path!r})
compatible.run_async(None, {{"image": x}}, lambda *answer: found.append(answer), "mine")
((values, data, error),) = found
assert (data, error) == ("mine", "")
results += values
"""


def run_without(removal, code, *options):
    """What ``results`` are after the code, in a process without something; and its stderr."""
    code = (
        f"import os, sys\n{removal}\n{code}\nprint(json.dumps(results, default=np.ndarray.tolist))"
    )
    done = subprocess.run(
        [sys.executable, *options, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("name", WITHOUT)
def test_models_run_without(name):
    results, said = run_without(WITHOUT[name], USE.format(path=str(DIGITS)), "-W", "error")
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype(np.float32)
    right = onnxwalk.load(DIGITS)(x)
    assert len(results) == 3 and not said
    for result in results:
        np.testing.assert_allclose(result, right, rtol=1e-5, atol=1e-7)


def test_several_threads_where_none_starts():
    """It runs in one, and says so once."""
    code = (USE + THREADS).format(path=str(DIGITS))
    results, said = run_without(NO_THREADS, code)
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-5, atol=1e-7)
    assert said.count("no thread can be started: models run in one") == 1, said


@pytest.mark.parametrize(
    "size, count, total",
    [
        (4096, -1, 4 << 30),
        (-1, 100, 4 << 30),
        (4096, 1 << 18, 1 << 30),
        (1 << 20, 1 << 40, 1 << 60),
    ],
)
@pytest.mark.parametrize("largest", [(1 << 31) - 1, (1 << 63) - 1])
def test_the_default_limit(monkeypatch, size, count, total, largest):
    """Half of what there is, and of what 32 bits can address."""
    answers = {"SC_PAGE_SIZE": size, "SC_PHYS_PAGES": count}
    monkeypatch.setattr(limits.os, "sysconf", answers.__getitem__)
    monkeypatch.setattr(limits.sys, "maxsize", largest)
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    limits.half_of_memory.cache_clear()
    try:
        assert limits.half_of_memory() == min(total, largest + 1) // 2
    finally:
        limits.half_of_memory.cache_clear()


@pytest.mark.parametrize(
    "refused",
    [
        lambda: np.empty(BEYOND),
        lambda: np.empty((1 << 40, 1 << 40)),
        lambda: np.empty(1 << 65),
        lambda: np.broadcast_to(1, (1 << 40,) * 3),
        lambda: np.broadcast_shapes((1 << 40, 1), (1, 1 << 40)),
        lambda: np.arange(0, 1e30),
        lambda: bytearray(1 << 70),
        lambda: np.add.outer(*[np.broadcast_to(1, 1 << 40)] * 2),
        lambda: np.empty(1 << 60, np.int8),
    ],
)
def test_what_is_too_large_for_any_memory(refused):
    with pytest.raises((MemoryError, ValueError, OverflowError)) as error:
        refused()
    assert refuses_memory(error.value)
    assert not refuses_memory(ValueError("operands could not be broadcast together"))


X, IMAGE = np.zeros(2, np.float32), np.zeros((1, 1, 2, 2), np.float32)
#: operators whose results are larger than their inputs say: each in its own words by NumPy
LARGE = [
    Case("Expand", 13, [X[:1], np.array([1 << 40, 1 << 40])]),
    Case("Expand", 13, [X[:1], np.array([1 << 61])], note="bytes"),
    Case("Tile", 13, [X, np.array([1 << 61])]),
    Case("ConstantOfShape", 9, [np.array([1 << 31, 1 << 31])]),
    Case("Resize", 13, [IMAGE, None, None, np.array([1, 1, 1 << 61, 1])]),
    Case("Pad", 13, [X, np.array([0, 1 << 61])]),
    Case("OneHot", 11, [np.zeros(4, np.int64), np.array(1 << 61), X]),
    Case("CenterCropPad", 18, [X, np.array([1 << 61])]),
    Case("MaxUnpool", 11, [IMAGE, IMAGE.astype(np.int64), np.array([1, 1, 1 << 31, 1 << 31])],
         {"kernel_shape": [2, 2]}),
    Case("RandomNormal", 1, [], {"shape": [1 << 61]}),
]  # fmt: skip


@pytest.mark.parametrize("executor", ["bound", "walk"])
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_arrays_beyond_all_addresses_are_limits(case, executor):
    """NumPy has a ValueError for them, which isn't one of the model's or the caller's."""
    session = onnxwalk.load(one_node_model(case), limits=None, executor=executor)
    with pytest.raises(onnxwalk.LimitError) as caught:
        session.run(None, feeds_of(case))
    (line,) = str(caught.value).splitlines()
    assert case.operator in line
    assert line.endswith(": an array is larger than 64 bits can address")


def test_what_32_bits_cannot_address_says_what_to_do(monkeypatch):
    monkeypatch.setattr("sys.maxsize", 2**31 - 1)
    with pytest.raises(ValueError) as caught:
        np.broadcast_to(np.zeros(1), (1 << 40, 1 << 40))
    assert memory_reason(caught.value) == (
        "an array is larger than 32 bits can address: split the batch, or run it on 64 bits"
    )


def test_without_reference_counts_memory_is_asked_for_again(monkeypatch):
    """As PyPy frees arrays when it collects."""
    monkeypatch.setattr("onnxwalk.interpreter.budget._FREES_AT_ONCE", False)
    budget = Budget(onnxwalk.Limits(max_memory=64 << 20))
    for _ in range(20):
        circle = [np.empty(40 << 20, np.int8)]
        circle.append(circle)
        budget.hold(circle[:1])
        del circle
    with pytest.raises(onnxwalk.LimitError):
        budget.reserve(65 << 20)
