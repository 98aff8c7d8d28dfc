"""load(threads=): the batch is cut only where the graph keeps its samples apart."""

import builtins
import os

import numpy as np
import pytest
from onnx import TensorProto

import onnxwalk
from onnxwalk.interpreter.runtime import runner
from onnxwalk.interpreter.runtime.threads import _blas_libraries as blas_libraries
from onnxwalk.interpreter.runtime.threads import free_cores, say_that_no_thread_starts
from tests.interpreter.runtime.test_bound import model as make
from tests.interpreter.runtime.test_bound import network, node, noise, same

pytest.importorskip("threadpoolctl")
F, I64 = TensorProto.FLOAT, TensorProto.INT64
f32 = np.float32


def axes_of(session, feeds):
    """The axes of the samples in the outputs, as the session has found them; None: it isn't cut."""
    for _ in range(3):
        session.run(None, feeds)
    return next(iter(session._runner._bound._axes.values()), None)


def test_parts_of_a_batch_are_as_the_whole():
    two, one = onnxwalk.load(network(), threads=2), onnxwalk.load(network())
    for size in (1, 15, 16, 33, 50):
        x = noise(size, 8, 8, 3)
        for _ in range(3):
            same(two.run(None, {"x": x}), one.run(None, {"x": x}))
    assert [0, 0] in two._runner._bound._axes.values()


def test_where_the_system_has_no_more_threads(monkeypatch):
    """The whole batch is run in one, and that is said once in a process."""
    session, x = onnxwalk.load(network(), threads=2), noise(33, 8, 8, 3)
    right = session.run(None, {"x": x})
    say_that_no_thread_starts.cache_clear()

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as changed:
        changed.setattr("threading.Thread.start", refuse)
        with pytest.warns(RuntimeWarning, match="no thread can be started: models run in one"):
            same(session.run(None, {"x": x}), right)
        same(session.run(None, {"x": x}), right)
    same(session.run(None, {"x": x}), right)
    assert session._runner._pools  # in several again


def test_recurrent_layers_with_lengths():
    rng = np.random.default_rng(0)
    constants = [
        ("table", noise(50, 6)),
        ("w", noise(2, 16, 6) / 3),
        ("r", noise(2, 16, 4) / 3),
        ("b", noise(2, 32)),
        ("axes", np.array([1])),
        ("zero", np.array(0, np.int64)),
        ("shape", np.array([0, -1])),
    ]
    proto = make(
        [
            node("Equal", "ids zero", "blank"),
            node("Not", "blank", "mask"),
            node("Cast", "mask", "ones", to=TensorProto.INT32),
            node("ReduceSum", "ones axes", "lengths", keepdims=0),
            node("Gather", "table ids", "words"),
            node("Transpose", "words", "x", perm=[1, 0, 2]),
            node("LSTM", "x w r b lengths", "all last", hidden_size=4, direction="bidirectional"),
            node("Transpose", "last", "first", perm=[1, 0, 2]),
            node("Reshape", "first shape", "y"),
        ],
        [("ids", I64, ["n", "t"])],
        ["y", "all"],
        constants,
    )
    # Threads share states of 16,384 values and more: 2 directions of 4 units here.
    for batch, expected in ((2048, [0, 2]), (40, None)):
        ids = rng.integers(1, 50, (batch, 9))
        for row, length in zip(ids, rng.integers(0, 10, batch), strict=True):
            row[length:] = 0
        two, one = onnxwalk.load(proto, threads=2), onnxwalk.load(proto)
        assert axes_of(two, {"ids": ids}) == expected
        same(two.run(None, {"ids": ids}), one.run(None, {"ids": ids}))


MIXED = {
    "softmax over the batch": [node("Softmax", "x", "y", axis=0)],
    "mean over the batch": [node("ReduceMean", "x axes", "y")],
    "product of samples": [node("Transpose", "x", "t"), node("MatMul", "x t", "y")],
    "samples in one row": [node("Reshape", "x row", "y")],
    "concatenated": [node("Concat", "x x", "y", axis=0)],
    "reversed": [node("Slice", "x minus far zero minus", "y")],
    "sum so far": [node("CumSum", "x at", "y")],
    "a constant for each sample": [node("Add", "x each", "y")],
    "divided by how many there are": [
        node("Shape", "x", "s"),
        node("ReduceProd", "s", "p", keepdims=0),
        node("Cast", "p", "f", to=TensorProto.FLOAT),
        node("Div", "x f", "y"),
    ],
    "reshaped to rows of another length": [
        node("Relu", "x", "r"),
        node("Reshape", "r rows", "q"),
        node("Relu", "q", "y"),
    ],
}


@pytest.mark.parametrize("nodes", MIXED.values(), ids=MIXED)
def test_graphs_that_mix_samples_are_not_cut(nodes):
    constants = [
        ("axes", np.array([0])),
        ("row", np.array([1, -1])),
        ("minus", np.array([-1])),
        ("far", np.array([-100])),
        ("zero", np.array([0])),
        ("at", np.array(0)),
        ("each", noise(32, 1, seed=5)),
        ("rows", np.array([32, -1])),
    ]
    used = {name for n in nodes for name in n.input}
    proto = make(nodes, [("x", F, ["n", 8])], ["y"], [c for c in constants if c[0] in used])
    x = noise(32, 8)
    two, one = onnxwalk.load(proto, threads=2), onnxwalk.load(proto, optimize=False)
    assert axes_of(two, {"x": x}) is None
    same(two.run(None, {"x": x}), one.run(None, {"x": x}))


def test_a_batch_of_fixed_size_is_not_cut():
    proto = make([node("Relu", "x", "y")], [("x", F, [32, 8])], ["y"])
    session, x = onnxwalk.load(proto, threads=2), noise(32, 8)
    for _ in range(3):
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.maximum(x, 0))


def test_an_error_in_a_part_is_that_of_the_whole():
    proto = make(
        [node("Gather", "table ids", "y")], [("ids", I64, ["n"])], ["y"], [("table", noise(9, 4))]
    )
    session = onnxwalk.load(proto, threads=2)
    for _ in range(3):
        session.run(None, {"ids": np.arange(32) % 9})
    with pytest.raises(onnxwalk.OperatorError, match="Gather"):
        session.run(None, {"ids": np.arange(32) % 10})


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_a_wrong_number_is_refused(threads):
    with pytest.raises(onnxwalk.InvalidInputError, match="positive integer"):
        onnxwalk.load(network(), threads=threads)


def test_what_to_install(monkeypatch):
    from onnxwalk.interpreter.runtime import threads

    real = builtins.__import__

    def missing(name, *rest, **named):
        if name == "threadpoolctl":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    threads._blas_libraries.cache_clear()
    threads.can_set_threads.cache_clear()
    try:
        with pytest.raises(onnxwalk.InvalidInputError, match="onnxwalk\\[threads\\]"):
            onnxwalk.load(network(), threads=2)
        assert onnxwalk.load(network(), threads=1).run(None, {"x": noise(1, 8, 8, 3)})
    finally:
        threads._blas_libraries.cache_clear()
        threads.can_set_threads.cache_clear()


APART = {
    "ArgMax along another axis": (
        [node("ArgMax", "x", "y", axis=1, keepdims=0)],
        [0],
    ),
    "TopK": ([node("TopK", "x k", "y i", axis=1)], [0, 0]),
    "a reduction that drops an axis before the samples": (
        [node("Transpose", "x", "t"), node("ArgMax", "t", "y", axis=0, keepdims=0)],
        [0],
    ),
    "a sum of several": ([node("Sum", "x x x", "y")], [0]),
    "reshaped to as many rows as there are": (
        [
            node("Relu", "x", "r"),
            node("Shape", "x", "s"),
            node("Reshape", "r s", "q"),
            node("Relu", "q", "y"),
        ],
        [0],
    ),
}


@pytest.mark.parametrize(("nodes", "axes"), APART.values(), ids=APART)
def test_graphs_that_keep_samples_apart_are_cut(nodes, axes):
    constants = [("k", np.array([2]))] if "k" in {n for m in nodes for n in m.input} else []
    outputs = list(nodes[-1].output)
    proto = make(nodes, [("x", F, ["n", 8])], outputs, constants)
    x = noise(32, 8)
    two, one = onnxwalk.load(proto, threads=2), onnxwalk.load(proto, optimize=False)
    assert axes_of(two, {"x": x}) == axes
    same(two.run(None, {"x": x}), one.run(None, {"x": x}))


@pytest.mark.parametrize("attributes", [{}, {"keepdims": 0}])
def test_argmax_over_the_samples_is_not_cut(attributes):
    """Without an attribute ``axis`` it is over the first."""
    proto = make([node("ArgMax", "x", "y", **attributes)], [("x", F, ["n", 8])], ["y"], [])
    two, one = onnxwalk.load(proto, threads=2), onnxwalk.load(proto)
    for _ in range(3):
        same(two.run(None, {"x": noise(32, 8)}), one.run(None, {"x": noise(32, 8)}))
    assert axes_of(two, {"x": noise(32, 8)}) is None


def blas_threads_during(session, monkeypatch, free):
    """BLAS's threads in a run of a session while so many cores are free."""
    monkeypatch.setattr(runner, "free_cores", lambda: free)
    monkeypatch.setattr(runner, "cores", lambda: 4)
    seen = []
    monkeypatch.setattr(
        session._runner,
        "run_bound",
        lambda *_: seen.append([library.get_num_threads() for library in blas_libraries()]),
    )
    for library in blas_libraries():
        library.set_num_threads(4)
    try:
        session._runner.run_in_one_thread(None, {})
        after = [library.get_num_threads() for library in blas_libraries()]
    finally:
        for library in blas_libraries():
            library.set_num_threads(1)
    assert after == [4] * len(after)
    return set(seen[0])


@pytest.mark.parametrize(
    ("threads", "free", "expected"), [(None, 4, 4), (None, 1, 1), (None, 3, 3), (1, 4, 1)]
)
def test_blas_has_no_more_threads_than_cores_are_free(threads, free, expected, monkeypatch):
    monkeypatch.setattr(runner, "can_set_threads", lambda: True)
    session = onnxwalk.load(network(), threads=threads)
    assert blas_threads_during(session, monkeypatch, free) == {expected}


def test_free_cores_are_counted():
    assert 1 <= free_cores() <= os.cpu_count()
