"""Two families of keras.applications, small; the table is made by the command."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras

import onnxwalk
from onnxwalk.export.coverage.applications import (
    SMALLEST,
    _format_cells,
    _parse_table,
    application_names,
    build_application,
    format_table,
    measure,
)
from onnxwalk.export.errors import ExportError
from onnxwalk.export.pipeline import export_model
from onnxwalk.interpreter.names import LAYERS_KEY
from tests.export.helpers import converted, operators

L = keras.layers


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV2"])
def test_small_applications(tmp_path, name):
    row = measure(name, tmp_path, side=64)
    assert max(row["interpreter"], row["onnxruntime"]) < 1e-4
    assert row["spread"] > 0.01  # the weights are such that pictures matter
    proto = onnx.load(tmp_path / f"{name}.onnx")
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    found = operators(proto)
    assert found["Transpose"] == 1 and not found["BatchNormalization"] and not found["Cast"]
    assert all(node.name.startswith(f"{proto.graph.name}/") for node in proto.graph.node)
    text = format_table({name: _format_cells(row)})
    assert f"| {name} | " in text and _parse_table(text) == {name: _format_cells(row)}


def test_the_table_is_right():
    rows = _parse_table((Path(__file__).parents[2] / "docs" / "APPLICATIONS.md").read_text("utf-8"))
    unjudged = {"ResNet101", "ResNet152", "ResNet152V2", "EfficientNetB6", "EfficientNetB7"}
    assert set(SMALLEST) <= set(rows) and set(application_names()) - set(rows) == unjudged
    assert all(max(float(row[7]), float(row[8])) <= 1e-4 for row in rows.values())


def test_no_such_application():
    with pytest.raises(ExportError, match=r"keras\.applications has no Mobile"):
        build_application("Mobile")


def test_tensors_lead_back_to_layers():
    inner = keras.Sequential([L.Conv2D(4, 3, name="conv"), L.ReLU(name="relu")], name="inner")
    x = keras.Input((8, 8, 3), name="x")
    y = L.GlobalAveragePooling2D(name="pool")(inner(x))
    model = keras.Model(x, L.Dense(2, name="head")(y), name="net")
    proto, _ = converted(model)
    layers = json.loads({p.key: p.value for p in proto.metadata_props}[LAYERS_KEY])
    assert set(layers) == {"inner/conv", "inner/relu", "pool", "head"}
    image = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    expected = inner(image)
    [name] = layers["inner/relu"]
    [actual] = onnxwalk.load(proto).run([name], {"x": image})
    np.testing.assert_allclose(np.transpose(actual, (0, 2, 3, 1)), expected, atol=1e-5)
    assert layers["head"] == [proto.graph.output[0].name]


def test_a_layer_that_is_folded_into_another_has_no_tensors():
    """The convolution's weights have the normalization's in them: its input, turned, is not its."""
    x = keras.Input((8, 8, 3), name="x")
    y = L.BatchNormalization(name="norm")(L.Conv2D(4, 3, name="conv")(x))
    model = keras.Model(x, L.Flatten(name="flat")(L.Permute((3, 1, 2), name="turn")(y)))
    norm = model.get_layer("norm")
    norm.set_weights([w + 0.5 for w in norm.get_weights()])
    proto, _ = converted(model)
    layers = json.loads({p.key: p.value for p in proto.metadata_props}[LAYERS_KEY])
    assert "conv" not in layers and {"norm", "flat"} <= set(layers)
    [name] = layers["norm"]
    image = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    [actual] = onnxwalk.load(proto).run([name], {"x": image})
    expected = norm(model.get_layer("conv")(image))
    np.testing.assert_allclose(np.transpose(actual, (0, 2, 3, 1)), expected, atol=1e-5)


def under(policy):
    keras.config.set_dtype_policy(policy)
    try:
        x = keras.Input((10, 10, 3), name="x")
        y = L.BatchNormalization()(L.Conv2D(8, 3, name="conv")(x))
        y = L.GlobalAveragePooling2D()(L.ReLU()(y))
        y = L.Dense(8, activation="gelu", name="dense")(y)
        return keras.Model(x, L.Dense(4, activation="softmax", name="head")(y))
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "float64"])
def test_other_floats(policy):
    result = export_model(under(policy))
    assert max(result.differences.values()) < (1e-6 if policy == "float64" else 2e-2)
    assert operators(result.model)["Conv"] == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_int8():
    model = under("float32")
    model.quantize("int8")
    result = export_model(model)
    assert max(result.differences.values()) < 2e-2
    assert operators(result.model)["MatMulInteger"] == 2
    kinds = [t.data_type for t in result.model.graph.initializer if len(t.dims) == 2]
    assert kinds == [onnx.TensorProto.INT8] * 2


def test_batch_normalization_is_folded():
    x = keras.Input((10, 10, 3), name="x")
    y = L.BatchNormalization()(L.DepthwiseConv2D(3)(x))
    y = L.BatchNormalization()(L.Conv2DTranspose(4, 3)(y))
    y = L.BatchNormalization()(L.Dense(3)(L.Flatten()(y)))
    from onnxwalk.export.coverage.random_weights import randomize_as_trained

    model = keras.Model(x, y)
    randomize_as_trained(model)
    result = export_model(model)
    assert max(result.differences.values()) < 1e-4
    found = operators(result.model)
    assert found["Mul"] == 0 and found["Add"] == 1
