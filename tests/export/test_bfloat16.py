"""bfloat16 goes out as bfloat16 wherever ONNX takes it; ONNX Runtime has no kernels for most of
it, so that Keras alone is the judge."""

import logging

import numpy as np
import onnx
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras

from onnxwalk import export
from onnxwalk.export.conversion.opsets import newest_opset
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.errors import ExportError
from onnxwalk.export.pipeline import export_model
from tests.export.helpers import converted, operators

L = keras.layers
POLICIES = pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])


@pytest.fixture(autouse=True)
def float32_again():
    yield
    keras.config.set_dtype_policy("float32")


def pictures():
    x = keras.Input((10, 10, 3), name="x")
    y = L.MaxPooling2D()(L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, name="conv")(x))))
    y = L.Dense(8, activation="gelu", name="dense")(L.GlobalAveragePooling2D()(y))
    return keras.Model(x, L.Dense(4, activation="softmax", name="head")(y))


def recurrent(kind):
    ids = keras.Input((9,), dtype="int32", name="ids")
    options = {"recurrent_initializer": "glorot_uniform"}  # TensorFlow has no QR in bfloat16
    y = L.Embedding(20, 6, mask_zero=True)(ids)
    y = L.Bidirectional(getattr(L, kind)(5, return_sequences=True, **options))(y)
    return keras.Model(ids, L.Dense(3)(getattr(L, kind)(4, **options)(y)))


def attention():
    x = keras.Input((7, 8), name="x")
    y = L.LayerNormalization()(x + L.MultiHeadAttention(2, 4, name="attention")(x, x))
    return keras.Model(x, L.Dense(3, activation="silu")(L.SeparableConv1D(4, 2)(y)))


def kinds_of_products(proto):
    """The types of the weights of convolutions, matrix products and recurrences."""
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    products = ("Conv", "MatMul", "RNN", "LSTM", "GRU")
    nodes = [node for node in proto.graph.node if node.op_type in products]
    return {kinds[node.input[1]] for node in nodes if node.input[1] in kinds}


@POLICIES
@pytest.mark.parametrize(
    "build",
    [pictures, attention, *(lambda k=k: recurrent(k) for k in ("SimpleRNN", "LSTM", "GRU"))],
    ids=["pictures", "attention", "SimpleRNN", "LSTM", "GRU"],
)
def test_same_as_keras(policy, build, caplog):
    keras.config.set_dtype_policy(policy)
    result = export_model(randomize(build(), scale=0.4))
    assert max(result.differences.values()) < 2e-2
    assert kinds_of_products(result.model) == {onnx.TensorProto.BFLOAT16}
    assert result.model.opset_import[0].version == newest_opset()
    assert not operators(result.model)["Loop"]
    assert not caplog.records


@POLICIES
def test_an_opset_without_it_is_refused(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    message = "layer conv: ONNX's Conv doesn't accept bfloat16 at opset 18: export to opset 22"
    with pytest.raises(ExportError, match=message) as caught:
        export.to_onnx(pictures(), tmp_path / "m.onnx", opset=18)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
    assert export_model(pictures(), opset=22).model.opset_import[0].version == 22
    with pytest.raises(ExportError, match=r"layer attention: .*Einsum .* export to opset 28"):
        export_model(attention(), opset=22)


def test_what_no_opset_takes_is_refused():
    from onnxwalk.export.conversion.bfloat16 import explain_refusal

    detail = "(op_type:Shrink, node name: net/cut/Shrink): X has unsupported type tensor(bfloat16)"
    assert explain_refusal(detail, 28, ["cut"]).endswith(
        "under the policy float32 (or mixed_float16) and load these weights"
    )
    assert explain_refusal(detail.replace("bfloat16", "float"), 28, ["cut"]) is None


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", *("bfloat16", "mixed_bfloat16")])
def test_padding_with_a_constant(policy):
    """tf2onnx leaves the constant in its own type and takes the rest to float32."""
    keras.config.set_dtype_policy(policy)
    x = keras.Input((8, 10, 3))
    y = L.Resizing(17, 9, interpolation="bicubic", pad_to_aspect_ratio=True, fill_value=2.0)(x)
    assert max(export_model(keras.Model(x, L.ZeroPadding2D(1)(y))).differences.values()) < 1e-2


@pytest.mark.parametrize("policy", ["float64", "float16", "bfloat16"])
def test_log_stays_in_its_type(policy):
    keras.config.set_dtype_policy(policy)
    x = keras.Input((5,), dtype=policy)
    result = export_model(keras.Model(x, keras.ops.log(1 + keras.ops.square(x))))
    assert max(result.differences.values()) < (1e-12 if policy == "float64" else 1e-2)
    assert not operators(result.model)["Cast"]


def test_padding_of_integers():
    x = keras.Input((8, 10), dtype="uint8")
    result = export_model(
        keras.Model(x, keras.ops.pad(x, [[0, 0], [1, 2], [0, 3]], constant_values=7))
    )
    assert set(result.differences.values()) == {0.0} and not operators(result.model)["Cast"]


def test_deep_networks_are_known_to_their_rounding(monkeypatch):
    """A last bit of the weights moves this one's outputs by more than 2e-2 in Keras itself. How far
    Keras is from the interpreter is a matter of the processor (one that computes in float16 rounds
    otherwise): the tolerance is set to where it is exceeded, and the rounding has to explain it."""
    from onnxwalk.export.coverage.applications import build_application
    from onnxwalk.export.verify import TOLERANCES, verify_model

    keras.config.set_dtype_policy("mixed_float16")
    model = build_application("MobileNetV2", side=64)
    proto, traced = converted(model)
    found = max(verify_model(model, proto, traced).values())
    assert 1e-3 < found < 0.2
    monkeypatch.setitem(TOLERANCES, "float16", found / 2)
    assert max(verify_model(model, proto, traced).values()) == found
    head = next(t for t in proto.graph.initializer if list(t.dims) == [1000])
    values = onnx.numpy_helper.to_array(head)
    head.CopyFrom(onnx.numpy_helper.from_array(values + values.dtype.type(4), head.name))
    with pytest.raises(ExportError, match=r"differs from Keras by 0\.\d+ \(tolerance 0\.[01]\d*\)"):
        verify_model(model, proto, traced)


def test_nothing_stays_changed():
    from tf2onnx import tf_utils, utils

    tables = (tf_utils.TF_TO_ONNX_DTYPE, utils.ONNX_TO_NUMPY_DTYPE, utils.ONNX_DTYPE_NAMES)
    before = [dict(table) for table in tables]
    handlers = logging.getLogger().handlers[:]
    keras.config.set_dtype_policy("bfloat16")
    export_model(pictures())
    assert [dict(table) for table in tables] == before
    assert logging.getLogger().handlers == handlers
    assert onnx.TensorProto.BFLOAT16 not in utils.ONNX_TO_NUMPY_DTYPE
    assert np.float16 in utils.ONNX_TO_NUMPY_DTYPE.values()
