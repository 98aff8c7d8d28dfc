"""Constants of a file, whose data lies anywhere, in memory."""

import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 64, 9, 9)).astype(np.float32)
WEIGHTS = {
    "Conv": (96, 64, 3, 3),
    "Conv of one tap": (96, 64, 1, 1),
    "Conv of groups": (96, 16, 3, 3),
    "ConvTranspose": (64, 96, 3, 3),
}


def write(path, operator, w, padding, **attributes) -> str:
    """A file of one convolution, whose weights lie by ``padding`` bytes further in it."""
    node = helper.make_node(operator, ["x", "w"], ["y"], **attributes)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy")
    graph = helper.make_graph([node], "g" * padding, [x], [y], [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("executor", ["bound", "walk"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_at_any_place_of_a_file(tmp_path, name, executor):
    w = RNG.standard_normal(WEIGHTS[name]).astype(np.float32)
    aligned = set()
    for padding in range(1, 5):
        group = 4 if name.endswith("groups") else 1
        operator = name.split(" ")[0]
        file = write(tmp_path / f"{padding}.onnx", operator, w, padding, group=group)
        session = onnxwalk.load(file, executor=executor)
        (weights,) = session.model.graph.initializers.values()
        aligned.add(weights.array.flags.aligned)
        (expected,) = onnxruntime.InferenceSession(file).run(None, {"x": X})
        for _ in range(2):
            (y,) = session.run(None, {"x": X})
            np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert aligned == {False, True}


@pytest.mark.parametrize("padding", range(1, 5))
def test_weights_of_a_convolution_are_only_copied_into_their_layout(tmp_path, monkeypatch, padding):
    """And the pages of the file are released then."""
    released = []
    monkeypatch.setattr("onnxwalk.interpreter.session.release_pages", released.append)
    w = RNG.standard_normal((128, 64, 3, 3)).astype(np.float32)
    file = write(tmp_path / "conv.onnx", "Conv", w, padding)
    onnxwalk.load(file)  # what the first load imports
    released.clear()
    tracemalloc.start()
    try:
        session = onnxwalk.load(file)
        after_load, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after_load < peak < w.nbytes / 2
    assert len(released) == 1
    session.run(None, {"x": X})
    assert len(released) == 2
    session.run(None, {"x": X})
    assert len(released) == 2, "only when a plan is bound"


@pytest.mark.parametrize("padding", range(1, 5))
@pytest.mark.parametrize("asked", [["y"], ["h"], ["y", "h"]], ids=" ".join)
def test_weights_are_in_memory_once_whatever_outputs_are_asked_for(tmp_path, padding, asked):
    w = RNG.standard_normal((512, 512)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Abs", ["h"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy")
    graph = helper.make_graph(nodes, "g" * padding, [x], [y], [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, file := tmp_path / "product.onnx")
    feeds = {"x": np.ones((2, 512), np.float32)}
    onnxwalk.load(file).run(asked, feeds)  # what the first run imports
    session = onnxwalk.load(file)
    expected = session.run(None, feeds)
    tracemalloc.start()
    try:
        found = session.run(asked, feeds)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < w.nbytes / 2
    np.testing.assert_array_equal(np.abs(found[0]), expected[0])


def test_all_outputs_by_name_are_no_plan_of_their_own(tmp_path):
    w = RNG.standard_normal((8, 4, 3, 3)).astype(np.float32)
    program = onnxwalk.load(write(tmp_path / "conv.onnx", "Conv", w, 1))._program
    assert program.plan(["x"], ["y"]) is program.plan(["x"], None)
    assert program.plan(["x"], ["x"]) is not program.plan(["x"], None)
