"""Every opset that is offered: the model keeps its meaning, and what would lose it is refused."""

import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras

from onnxwalk.export.conversion.opsets import (
    DEFAULT_OPSET,
    OLDEST_OPSET,
    find_changed_version,
    newest_opset,
    raise_opset,
)
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.errors import ExportError
from onnxwalk.export.study.assignment import cnn, recurrent
from tests.export.helpers import assert_same_as_keras, converted

L = keras.layers


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, newest_opset() + 1))
def test_recurrent(opset):
    model = recurrent("GRU", 2, 8, bidirectional=True, mask_zero=True, words=50, length=9)
    proto = assert_same_as_keras(randomize(model), opset)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", opset)]
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version >= helper.find_min_ir_version_for(proto.opset_import)


@pytest.mark.parametrize("opset", [OLDEST_OPSET, DEFAULT_OPSET, 22, newest_opset()])
def test_pictures_attention_and_loops(opset):
    x = keras.Input((8, 12, 3))
    y = L.AveragePooling2D(2, padding="same")(L.Conv2D(4, 3, padding="same")(L.ZeroPadding2D(1)(x)))
    y = L.LayerNormalization()(L.Reshape((-1, 4))(L.Resizing(5, 6)(y)))
    y = L.Dense(4, activation="gelu")(y + L.MultiHeadAttention(2, 4)(y, y))
    looped = L.GRU(3, activation="selu")(y)
    assert_same_as_keras(randomize(keras.Model(x, [y, looped])), opset)


def test_an_opset_that_is_not_offered():
    range_ = f"13 to {newest_opset()}"
    for opset in (12, newest_opset() + 1):
        with pytest.raises(ExportError, match=f"opset {opset} is not supported: use {range_}"):
            converted(cnn((16,), 3), opset)


def test_what_changed_is_known():
    """A new onnx that changes another operator has to be looked at."""
    schemas = onnx.defs.get_all_schemas_with_history()
    names = {s.name for s in schemas if s.domain == "" and onnx.defs.has(s.name, DEFAULT_OPSET)}
    changed = {name: find_changed_version(name, newest_opset()) for name in names}
    assert {name: opset for name, opset in changed.items() if opset} == {
        "DFT": 20,  # its axis became an input
        "GridSample": 20,  # bilinear is called linear
        "ReduceLogSum": 28,  # no integers any more
        "ReduceLogSumExp": 28,
        **dict.fromkeys(("GroupNormalization", "Scatter", "Upsample"), 19),  # deprecated
    }
    assert find_changed_version("DFT", 19) is None


def test_what_would_change_is_refused():
    node = helper.make_node("DFT", ["x"], ["y"], "net/spectrum/DFT", axis=1)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 2])
    graph = helper.make_graph([node], "net", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(ExportError, match="layer spectrum: ONNX changed DFT in opset 20: export"):
        raise_opset(model, 21, ["spectrum"])
    raise_opset(model, 19, ["spectrum"])
    assert model.opset_import[0].version == 19
