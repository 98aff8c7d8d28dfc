"""The two families that are exported most: convolutional for images, recurrent for texts."""

import re

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

from onnxwalk.export import ExportError
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.study.assignment import cnn, recurrent
from tests.export.helpers import RECURRENT, assert_same_as_keras, converted, operators

CNNS = [
    {"filters": (16,), "kernels": 3, "head": "flatten"},
    {"filters": (16, 32), "kernels": (5, 3), "pooling": "average"},
    {"filters": (16, 32, 64), "kernels": 3, "pooling": "max", "head": "gap"},
    {"filters": (16,), "kernels": 20, "pooling": "average", "head": "flatten"},
    {"filters": (16,), "kernels": 4, "shape": (28, 28, 1)},  # an even kernel pads one side more
]


@pytest.mark.parametrize("options", CNNS, ids=str)
def test_cnn(options):
    model = randomize(cnn(**options, activation=None))
    found = operators(assert_same_as_keras(model))
    assert found["Conv"] == len(options["filters"])
    pool = "AveragePool" if options.get("pooling") == "average" else "MaxPool"
    assert found[pool] == len(options["filters"])


def test_probabilities():
    proto = assert_same_as_keras(randomize(cnn((16,), 3), scale=3))
    assert operators(proto)["Softmax"] == 1


def test_many_filters():
    assert_same_as_keras(randomize(cnn((128,), 3, shape=(16, 16, 3), activation=None)))


@pytest.mark.parametrize("mask_zero", [False, True], ids=["unmasked", "masked"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_recurrent(kind, layers, bidirectional, mask_zero):
    model = recurrent(
        kind,
        layers,
        32,
        bidirectional=bidirectional,
        mask_zero=mask_zero,
        words=500,
        length=12,
        activation=None,
    )
    found = operators(assert_same_as_keras(randomize(model)))
    name = "RNN" if kind == "SimpleRNN" else kind
    assert {key: found[key] for key in (*RECURRENT, "Loop", "Scan", "If") if found[key]} == {
        name: layers
    }
    assert found["TopK"] == int(mask_zero)  # stacked layers share what they know of the mask


def test_full_size():
    model = recurrent("LSTM", 1, 128, mask_zero=True, bidirectional=True, activation=None)
    assert_same_as_keras(randomize(model))


def test_names_and_shapes():
    proto, _ = converted(randomize(cnn((16,), 3)))
    graph = proto.graph
    (image,), (scores,) = graph.input, graph.output
    assert image.name == "image"
    assert scores.name.startswith("dense")
    dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert dims == ["batch", 32, 32, 3]
    dims = [d.dim_param or d.dim_value for d in scores.type.tensor_type.shape.dim]
    assert dims == ["batch", 10]
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 18)]
    assert proto.producer_name == "onnxwalk"
    assert {"keras", "tensorflow"} <= {p.key for p in proto.metadata_props}
    assert any(n.op_type == "Conv" and "/conv2d" in n.name for n in graph.node)
    weights = {tensor.name.split("/", 1)[-1] for tensor in graph.initializer}
    assert {"conv2d/kernel", "conv2d/bias", "dense/kernel", "dense/bias"} <= {
        re.sub(r"_\d+/", "/", name) for name in weights
    }


def test_weights_are_not_rearranged_on_every_run():
    proto, _ = converted(randomize(cnn((16, 32), 3)))
    weights = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        assert not set(node.input) <= weights, f"{node.name} has nothing but constants"


def test_wrong_parameters():
    with pytest.raises(ExportError, match="unknown pooling 'min': choose from max, average"):
        cnn(pooling="min")
    with pytest.raises(ExportError, match="got 1 kernel sizes for 2 convolutions"):
        cnn((16, 32), (3,))
    with pytest.raises(ExportError, match="unknown kind 'RNN': choose from SimpleRNN, LSTM, GRU"):
        recurrent("RNN")
    assert np.ptp(randomize(cnn((16,), 3)).get_weights()[1]) > 0
