"""The program's judgement, on a sample of layers and a small image model."""

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
from keras import layers as L

from onnxwalk.export.coverage.layer_cases import Case, all_cases
from onnxwalk.export.coverage.random_weights import randomize_as_trained
from tests.programs.gradients import applications, table
from tests.programs.gradients.judge import Verdict, judge_case
from tests.programs.gradients.page import format_page

#: one of each kind of layer, and float32 where TensorFlow has nothing else
SAMPLE = (
    "Conv2D Conv2DTranspose DepthwiseConv2D MaxPooling2D AveragePooling3D LayerNormalization "
    "GroupNormalization UnitNormalization MultiHeadAttention GRU Bidirectional Embedding Dot"
).split()
CASES = all_cases()


@pytest.mark.parametrize("name", SAMPLE)
def test_a_layer_has_the_gradients_of_keras(name):
    right = [case for case in CASES[name] if case.refused is None]
    verdict = judge_case(right[len(right) // 2])
    assert verdict.kind == "equal", verdict.why


def test_an_image_model_is_as_exact_as_tensorflow():
    def build():
        x = keras.Input((16, 16, 3))
        y = L.Conv2D(8, 3, strides=2, activation="relu6")(L.Rescaling(1 / 255)(x))
        y = L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(y))
        model = keras.Model(x, L.Dense(4)(L.GlobalAveragePooling2D()(L.ReLU(max_value=6)(y))))
        randomize_as_trained(model)
        return model

    measured = applications.measure_model(build)
    assert measured.is_right and measured.onnxwalk < 1e-5


def test_the_judge_tells_who_is_wrong():
    """A gradient of Keras that isn't the slope."""

    def build():
        import tensorflow as tf

        @tf.custom_gradient
        def odd(x):
            return 2 * x, lambda dy: 3 * dy

        x = keras.Input((3,), dtype="float32", name="x")
        return keras.Model(x, L.Lambda(odd)(x))

    verdict = judge_case(Case("Lambda", "odd", build))
    assert verdict.kind == "TensorFlow"  # since the file's is the slope
    assert verdict.why.startswith("x: 3.3e-01 apart")


def test_the_page_keeps_its_rows():
    case = Case("Dense", "wide", lambda: None)
    verdicts = [
        Verdict(case, "equal", dtype="float64", error=2e-16),
        Verdict(case, "wrong", "x: 1"),
    ]
    row = table.format_row("Dense", verdicts)
    assert row == "| Dense | 2 | 1 | 0 | 0 | 0 | 2e-16 | wide: WRONG, x: 1 |"
    model = applications.Measured("ResNet50", 64, 1e-6, 2e-6)
    page = format_page({"Dense": row}, {"ResNet50": model.row()})
    assert "2 configurations of 1 layers: 1 equal" in page and "1 wrong." in page
    again = format_page(table.rows_of(page), applications.rows_of(page))
    assert again == page
