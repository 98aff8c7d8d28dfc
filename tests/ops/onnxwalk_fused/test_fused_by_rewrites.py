"""Fused operators, which only rewrites create, compute the same as the nodes they replace."""

import numpy as np
import pytest
from onnx import helper

import onnxwalk
from onnxwalk.ops import fused, registry
from onnxwalk.ops.contract.registry import FUSED_DOMAIN
from tests.support.harness import assert_same


def noise(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def operator(name):
    found = fused.lookup(FUSED_DOMAIN, name, 1)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "z", [None, noise(2, 6, 4, 4), noise(6, 1, 1)], ids=["", "sum", "broadcast"]
)
@pytest.mark.parametrize("pool", [0, 1])
def test_conv(z, pool):
    x, w, b = noise(2, 3, 6, 6), noise(6, 3, 3, 3), noise(6)
    expected = registry.lookup("", "Conv", 22).function(x, w, b)
    expected = np.maximum(expected if z is None else expected + z, 0)
    if pool:
        expected = registry.lookup("", "MaxPool", 22).function(
            expected, kernel_shape=[2, 2], strides=[2, 2]
        )
    conv, attributes = operator("FusedConv"), {"activation": "Relu", "pool": pool}
    prepared = conv.preparation.function(w, b, **attributes)
    assert_same([conv.function(x, w, b, z, **attributes)], [expected], rtol=1e-5, atol=1e-5)
    assert_same([prepared(x, z)], [expected], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "gates"), [("RNN", 1), ("LSTM", 4), ("GRU", 3)])
def test_layers_of_ids(name, gates):
    ids = np.random.default_rng(0).integers(-20, 20, (5, 3))
    table, w, r = noise(20, 5), noise(1, gates * 4, 5), noise(1, gates * 4, 4)
    layer = operator(name)
    expected = registry.lookup("", name, 22).function(table[ids], w, r)
    assert_same(layer.function(ids, w, r, table=table), expected)
    assert_same(layer.preparation.function(w, r, table=table)(ids), expected, rtol=1e-5, atol=1e-6)
    assert layer.cost(ids, w, r, table=table).memory > expected[0].nbytes


def test_no_file_may_use_the_domain():
    node = helper.make_node("FusedConv", ["x", "w"], ["y"], domain=FUSED_DOMAIN)
    values = [helper.make_tensor_value_info(n, 1, [1, 1, 3, 3]) for n in "xwy"]
    graph = helper.make_graph([node], "g", values[:2], values[2:])
    opsets = [helper.make_opsetid(FUSED_DOMAIN, 1), helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets)
    with pytest.raises(onnxwalk.UnsupportedModelError, match=r"onnxwalk\.fused\.FusedConv"):
        onnxwalk.load(model)
    mine = onnxwalk.Registry(parent=registry)
    mine.op("FusedConv", since=1, domain=FUSED_DOMAIN)(lambda x, w: x)
    with pytest.raises(onnxwalk.UnsupportedModelError, match=r"onnxwalk\.fused\.FusedConv"):
        onnxwalk.load(model, registry=mine)


def test_they_are_not_among_the_operators_of_files():
    assert not any(o.domain == FUSED_DOMAIN for o in registry)
    steps = {"Steps", "DynamicSteps", "Requantize", "StepsTable"}
    # gradients have domains of their own
    names = {o.name for o in fused if o.domain == FUSED_DOMAIN}
    assert names == {"FusedConv", "RNN", "LSTM", "GRU"} | steps
