"""Sessions are pickled, copied and taken along by a fork."""

import copy
import multiprocessing
import os
import pickle
import threading
import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import ops
from onnxwalk.ops.shared.numpy_state import computing

X = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)

mine = ops.Registry(parent=ops.registry)


@mine.op("Twice", since=1, domain="mine")
def twice(x):
    """2·x"""
    return x + x


def model(nodes, initializers=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(initializers),
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def dense():
    weights = numpy_helper.from_array(np.ones((8, 4), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Tanh", ["z"], ["y"])]
    return model(nodes, [weights])


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
@pytest.mark.parametrize("options", [{}, {"optimize": False}, {"threads": 2}], ids=str)
def test_copies_give_the_same(how, options, tmp_path):
    (tmp_path / "model.onnx").write_bytes(dense().SerializeToString())
    session = onnxwalk.load(tmp_path / "model.onnx", **options)
    expected = session(X)
    other = how(session)
    (tmp_path / "model.onnx").unlink()
    np.testing.assert_array_equal(other(X), expected)
    assert other.inputs == session.inputs and other.model.source == session.model.source


def test_random_numbers_go_on_where_they_were():
    session = onnxwalk.load(model([helper.make_node("RandomNormalLike", ["x"], ["y"])]), seed=3)
    session(X)
    other = pickle.loads(pickle.dumps(session))
    np.testing.assert_array_equal(other(X), session(X))
    np.testing.assert_array_equal(copy.copy(session)(X), session(X))


def test_own_operators_are_pickled_by_name(monkeypatch):
    import sys

    proto = model([helper.make_node("Twice", ["x"], ["y"], domain="mine")])
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    session = onnxwalk.load(proto, registry=mine)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(session))(X), X + X)
    nameless = ops.Registry(parent=ops.registry)
    nameless.op("Twice", since=1, domain="mine")(twice)
    session = onnxwalk.load(proto, registry=nameless)
    with pytest.raises(pickle.PicklingError, match="assign it to a variable of a module"):
        pickle.dumps(session)
    np.testing.assert_array_equal(copy.deepcopy(session)(X), X + X)


def _this_module():
    import types

    module = types.ModuleType(__name__)
    vars(module).update(globals())
    return module


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_process_has_threads_of_its_own():
    session = onnxwalk.load(dense(), threads=2)
    expected = session(X)
    np.testing.assert_array_equal(session(X), expected)  # in two threads

    def run(connection):
        connection.send(session(X))

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=run, args=(theirs,))
    process.start()
    try:
        assert ours.poll(30), "it hangs"
        np.testing.assert_array_equal(ours.recv(), expected)
    finally:
        process.kill()
        process.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # which is the point
def test_a_fork_waits_until_nothing_is_computed():
    """OpenBLAS ends its threads before a fork, and the product that they are at with them."""
    begun, ended = threading.Event(), threading.Event()

    def compute():
        with computing(), computing():
            begun.set()
            time.sleep(0.3)
            ended.set()

    thread = threading.Thread(target=compute)
    thread.start()
    begun.wait()
    child = os.fork()
    if not child:
        with computing():  # and it isn't held up in the child
            os._exit(0 if ended.is_set() else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with computing():  # nor in the parent
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_forking_within_a_computation_does_not_wait_for_itself():
    start = time.monotonic()
    with computing():
        child = os.fork()
        if not child:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert time.monotonic() - start < 5
