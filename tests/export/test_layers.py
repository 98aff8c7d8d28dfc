"""Every layer of Keras: a sample of its configurations exports and equals Keras.

The whole list takes long, and writes the table::

    python -m export layers -o docs/LAYERS.md
"""

from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import numpy as np

from onnxwalk.export import ExportError, to_onnx
from onnxwalk.export.coverage import layers
from onnxwalk.export.coverage.judge import find_uncovered_layers, judge_case
from onnxwalk.export.coverage.layer_cases import (
    Case,
    all_cases,
    grid,
    layer_names,
    masks,
    model,
    recurrent,
)
from onnxwalk.export.coverage.layers_table import format_table, read_table
from onnxwalk.export.tracing.refusals import NO_ONNX_FORM
from onnxwalk.export.tracing.trace import trace
from onnxwalk.export.verify import check_output, make_random_inputs
from tests.export.helpers import converted, operators, run_onnxruntime, run_onnxwalk

CASES = all_cases()
TABLE = read_table((Path(__file__).parents[2] / "docs" / "LAYERS.md").read_text("utf-8"))

#: what has tests of its own, in test_recurrent_grid
_ELSEWHERE = {case.layer for case in (*recurrent.cases(), *masks.cases())}
_ELSEWHERE -= {"Embedding", "Masking"}


def sample():
    """The middle one of each layer's cases, and one that is refused."""
    for name, cases in CASES.items():
        if name in _ELSEWHERE:
            continue
        right = [case for case in cases if case.refused is None]
        refused = [case for case in cases if case.refused is not None]
        for case in right[len(right) // 2 :][:1] + refused[:1]:
            yield pytest.param(case, id=f"{name}-{case.label}")


@pytest.mark.parametrize("case", list(sample()))
def test_same_as_keras(case):
    verdict = judge_case(case, special=False)  # which the command does: it takes long
    assert verdict.failures == ()
    assert set(verdict.operators) - {"Identity"} <= TABLE[case.layer]
    if case.refused is None:
        assert max(verdict.onnxwalk, verdict.onnxruntime) < 1e-5
    else:
        assert "\n" not in verdict.refused and "Arguments received" not in verdict.refused


def test_every_layer_has_been_judged():
    """A new Keras brings a new layer: give it cases, or say in NO_ONNX_FORM why it has none."""
    assert find_uncovered_layers(CASES) == []
    assert set(CASES) <= set(layer_names())


def test_the_table_has_every_layer():
    assert set(TABLE) == set(layer_names()), "python -m export layers -o docs/LAYERS.md"


def test_labels_are_unique():
    for name, cases in CASES.items():
        assert len({case.label for case in cases}) == len(cases), name


def test_judge_finds_what_is_wrong():
    shape = (3,)
    wrong = Case("Dense", "refused?", lambda: model(shape, keras.layers.Dense(2)), refused="no")
    assert judge_case(wrong).failures == ("should have been refused",)
    (refused,) = grid("Hashing", shape, {}, num_bins=5, dtype="int64")
    assert judge_case(refused).failures[0].startswith("refused: layer hashing")


def test_table_tells_right_from_wrong():
    (right,) = grid("ReLU", (3,))
    wrong = Case("Dense", "odd", lambda: model((3,), keras.layers.Dense(2)), refused="no")
    text = format_table({"ReLU": [judge_case(right)], "Dense": [judge_case(wrong)]})
    assert "| ReLU | 1 of 1 | Relu | 0 | 0 |  |" in text
    assert "1 right, 0 refused, 1 wrong" in text and "odd: WRONG, should have been refused" in text
    assert set(read_table(text)) == {"ReLU", "Dense", *NO_ONNX_FORM}
    again = format_table({"Dense": []}, text)
    assert "| Dense | 0 of 0 |" in again and "| ReLU | 1 of 1 |" in again


def test_command(tmp_path, capsys):
    target = tmp_path / "table.md"
    assert layers.main(["Permute", "-o", str(target)]) == 0
    assert "| Permute | 4 of 4 | Transpose |" in target.read_text("utf-8")
    assert layers.main(["Nothing"]) == 1
    assert "no cases for Nothing" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(set(NO_ONNX_FORM) & set(CASES)))
def test_a_refusal_names_the_layer_and_says_what_to_do(name):
    built = CASES[name][0].build()
    with pytest.raises(ExportError, match=rf"^layer \w+ \({name}\): .*: ") as caught:
        to_onnx(built)
    assert "\n" not in str(caught.value)


def test_a_lookup_is_one_node():
    (case,) = grid("StringLookup", (2,), vocabulary=["a", "b"], dtype="string")
    proto, _ = converted(case.build())
    assert operators(proto) == {"LabelEncoder": 1}
    assert {o.domain: o.version for o in proto.opset_import}["ai.onnx.ml"] >= 2


def test_unknown_words_fail_where_keras_fails():
    arguments = {"vocabulary": ["a", "b"], "num_oov_indices": 0}
    (case,) = grid("StringLookup", (2,), arguments, dtype="string")
    proto, _ = converted(case.build())
    for run in (run_onnxruntime, run_onnxwalk):
        known = run(proto, {"x": np.array([["b", "a"]], object)})[0]
        assert known.tolist() == [[1, 0]]
        with pytest.raises(Exception, match=r"out of|bounds|indices"):
            run(proto, {"x": np.array([["b", "odd"]], object)})


def test_lookups_are_verified_on_what_they_know():
    (case,) = grid("IntegerLookup", (50,), vocabulary=[7, 8], dtype="int64")
    feeds = make_random_inputs(trace(case.build()))
    assert {7, 8} < set(feeds["x"].ravel().tolist())
    assert to_onnx(case.build())


def test_texts_that_differ_are_found():
    same = np.array(["a", "ß"], object)
    assert check_output("y", same, np.array([b"a", "ß".encode()], object)) == 0
    with pytest.raises(ExportError, match="y differs"):
        check_output("y", same, np.array([b"a", b"b"], object))


def test_a_transposed_convolution_is_one_node():
    for shape, data_format in (((5, 6, 3), "channels_last"), ((3, 5, 6), "channels_first")):
        for strides, kernel in ((2, 3), (3, 2)):
            layer = keras.layers.Conv2DTranspose(
                4, kernel, strides=strides, padding="same", data_format=data_format
            )
            found = operators(converted(model(shape, layer))[0])
            assert found["ConvTranspose"] == 1 and set(found) <= {
                "ConvTranspose",
                "Transpose",
                "Add",
            }


def test_fixed_sizes_take_no_resize():
    for interpolation in ("nearest", "bicubic", "area", "lanczos5"):
        layer = keras.layers.Resizing(5, 6, interpolation=interpolation, crop_to_aspect_ratio=True)
        found = operators(converted(model((9, 7, 3), layer))[0])
        assert set(found) <= {"Gather", "Mul", "ReduceSum", "Slice"}, interpolation


def test_keras_is_left_as_it_was():
    from keras.src.backend.tensorflow import image, nn, numpy
    from keras.src.layers.preprocessing.index_lookup import IndexLookup

    def functions():
        return [image.resize, nn.conv_transpose, numpy.signbit, IndexLookup._lookup_dense]

    before = functions()
    converted(model((4,), keras.layers.Dense(2)))

    def fails(x):
        raise RuntimeError("no")

    built = model((4,), keras.layers.Dense(2))
    built.layers[-1].call = fails
    with pytest.raises(ExportError):
        converted(built)
    assert functions() == before


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_case_can_be_built(name):
    """The table runs all cases, these tests a sample: none of the others may be broken."""
    for case in CASES[name]:
        assert case.build() is not None, case.label
