"""What is known of sizes at load is true of a run, and hostile graphs don't take long."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnx.backend.test.case.node import collect_testcases
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import onnxwalk

CASES = {case.name: case for case in collect_testcases(None) if case.kind == "node"}


def inferred(case):
    session = onnxwalk.load(case.model)
    return session, session.infer_output_shapes()


def is_right(shape, result):
    if shape is None or not isinstance(result, np.ndarray):
        return True
    sizes = zip(shape, result.shape, strict=True)
    return all(size == actual for size, actual in sizes if isinstance(size, int))


@pytest.mark.filterwarnings("ignore")
def test_shapes_of_onnx_s_cases():
    known = wrong = 0
    for case in CASES.values():
        try:
            _, shapes = inferred(case)
        except onnxwalk.OnnxWalkError:
            continue
        _, results = case.data_sets[0]
        for shape, result in zip(shapes, results, strict=False):
            known += shape is not None
            if not is_right(shape, result):
                wrong += 1
    assert wrong == 0 and known > 1000


def float_info(name, shape):
    return make_tensor_value_info(name, TensorProto.FLOAT, shape)


def load(nodes, inputs, outputs):
    graph = make_graph(nodes, "g", inputs, outputs)
    return onnxwalk.load(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8))


def test_concatenated_sizes_do_not_grow_without_bound():
    nodes = [make_node("Shape", ["x"], ["s0"])]
    nodes += [make_node("Concat", [f"s{i}"] * 2, [f"s{i + 1}"], axis=0) for i in range(40)]
    nodes.append(make_node("ConstantOfShape", ["s40"], ["y"]))
    session = load(nodes, [float_info("x", [1])], [float_info("y", None)])
    assert session.infer_output_shapes() == [None]


def test_a_deep_graph():
    count = 5000
    nodes = [make_node("Relu", [f"x{i}"], [f"x{i + 1}"]) for i in range(count)]
    session = load(nodes, [float_info("x0", ["N", 3])], [float_info(f"x{count}", None)])
    assert session.infer_output_shapes() == [("N", 3)]
