"""Text at the front of a model, a TextVectorization beside it, and class names."""

import itertools
import json
import warnings

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import onnxwalk
from onnxwalk import export
from onnxwalk.export.cli import main
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.errors import ExportError
from onnxwalk.export.text import build_tokenizer
from onnxwalk.interpreter.text import STANDARDIZE, class_names, tokenizers

L = keras.layers
WORDS = [
    "a",
    "b",
    "é",
    "É",
    "it's",
    "its",
    "a b",
    "b a",
    "日",
    "日本",
    "[unk]",
    "c\u00a0d",
    "ß",
    "a é b",
]
TEXTS = ["a b, É", "日本 a", "", "Its it's", "x a b x a b x a b"]


def vectorizer(**options):
    return L.TextVectorization(vocabulary=WORDS, **options)


# --- the tokenizer is Keras's

_PARTS = st.sampled_from(
    [
        *WORDS,
        " ",
        " ",
        "\t",
        "\n",
        "\x0b",
        "\x1c",
        "\u00a0",
        "\u2028",
        "\x85",
        "\0",
        "A",
        "İ",
        ".",
        "_",
    ]
)
_TEXT = st.one_of(
    st.lists(_PARTS, max_size=12).map("".join),
    st.text(max_size=20),
    st.text(st.characters(max_codepoint=127), max_size=20),
)
_SETTINGS = list(
    itertools.product(
        STANDARDIZE, (None, "whitespace", "character"), (None, 2, (3, 1), (2, 2)), (None, 1, 6)
    )
)
# Keras fails where it has no n-gram of a text that isn't split, and a length to pad it to
_SETTINGS = [c for c in _SETTINGS if c[1] is not None or c[2] != (2, 2) or c[3] is None]
_LAYERS: dict = {}


def _pair(choice, ragged):
    if (choice, ragged) not in _LAYERS:
        standardize, split, ngrams, length = choice
        layer = vectorizer(
            standardize=standardize,
            split=split,
            ngrams=ngrams,
            output_sequence_length=length,
            ragged=ragged,
        )
        _LAYERS[choice, ragged] = layer, build_tokenizer(layer)
    return _LAYERS[choice, ragged]


@settings(max_examples=200, deadline=None, database=None)
@given(st.sampled_from(_SETTINGS), st.booleans(), st.lists(_TEXT, min_size=1, max_size=6))
def test_ids_are_those_of_keras(choice, ragged, texts):
    layer, tokenizer = _pair(choice, ragged)
    expected = layer(tf.constant([[text] for text in texts]))
    if isinstance(expected, tf.RaggedTensor):
        expected = expected.to_tensor()
    np.testing.assert_array_equal(tokenizer(texts), expected.numpy())


# --- models that begin with text


def classifier(layer, text=None):
    text = keras.Input((1,), dtype="string", name="review") if text is None else text
    x = L.Embedding(layer.vocabulary_size(), 5, mask_zero=True)(layer(text))
    return randomize(keras.Model(text, L.Dense(3, activation="softmax", name="mood")(L.GRU(4)(x))))


def same_as_keras(proto, model, texts=TEXTS):
    session = onnxwalk.load(proto)
    feeds = {name: made(texts) for name, made in tokenizers(session.model.metadata).items()}
    expected = model(tf.constant([[text] for text in texts])).numpy()
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"output_sequence_length": 5}, {}, {"split": "character"}, {"ngrams": 2, "standardize": None}],
    ids=str,
)
def test_text_at_the_front(options):
    model = classifier(vectorizer(**options))
    with pytest.warns(
        UserWarning, match="input review expects the ids of layer text_vectorization"
    ):
        proto = export.to_onnx(model)
    assert [i.name for i in proto.graph.input] == ["review"]
    assert [o.name for o in proto.graph.output] == ["mood"]
    same_as_keras(proto, model)


@pytest.mark.filterwarnings("ignore:input .* expects the ids")
def test_around_a_trained_model():
    """The last step of many tutorials: text before the model that was trained on ids."""
    ids = keras.Input((6,), dtype="int64")
    inner = keras.Model(ids, L.LSTM(3)(L.Embedding(16, 4)(ids)))
    layer = vectorizer(output_sequence_length=6)
    model = randomize(keras.Sequential([keras.Input((1,), dtype="string"), layer, inner]))
    same_as_keras(export.to_onnx(model), model)
    built_by_call = keras.Sequential([vectorizer(output_sequence_length=6), inner])
    built_by_call(tf.constant([["a"]]))
    same_as_keras(export.to_onnx(built_by_call), built_by_call)


@pytest.mark.filterwarnings("ignore:input .* expects the ids")
def test_two_layers_on_one_text_and_another_input():
    text, n = keras.Input((1,), dtype="string", name="text"), keras.Input((2,), name="n")
    words, letters = vectorizer(name="words"), vectorizer(split="character", name="letters")
    parts = [
        L.GRU(2)(L.Embedding(16, 3, mask_zero=True)(layer(text))) for layer in (words, letters)
    ]
    proto = export.to_onnx(keras.Model([text, n], L.Concatenate()([*parts, n])))
    assert {i.name for i in proto.graph.input} == {"words", "letters", "n"}


def test_the_model_is_left_as_it_was():
    model = classifier(vectorizer())
    before = model(tf.constant([["a b"]])).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export.to_onnx(model, verify=False)
    np.testing.assert_array_equal(model(tf.constant([["a b"]])).numpy(), before)
    assert model.inputs[0].dtype == "string" and model.inputs[0].name == "review"


def middle():
    text = keras.Input((1,), dtype="string")
    return keras.Model(text, L.Embedding(20, 3)(vectorizer()(L.Reshape((1,))(text))))


def nested():
    text = keras.Input((1,), dtype="string")
    return keras.Model(text, classifier(vectorizer())(text))


def subclassed():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.words, self.table = vectorizer(), L.Embedding(20, 3)

        def call(self, x):
            return self.table(self.words(x))

    model = Own()
    model(tf.constant([["a"]]))
    return model


@pytest.mark.parametrize(
    "build, message",
    [
        (middle, "in the middle of the model"),
        (nested, "in a model within the model"),
        (subclassed, "in the subclassed model"),
        (lambda: classifier(vectorizer(ragged=True)), "ragged ids have no ONNX form"),
        (lambda: classifier(vectorizer(split=tf.strings.split)), "split is a function"),
        (lambda: classifier(vectorizer(standardize=tf.strings.lower)), "standardize is a function"),
        (lambda: classifier(L.TextVectorization()), "has no vocabulary: adapt"),
    ],
)
def test_refused(build, message):
    with pytest.raises(ExportError, match=message) as error:
        export.to_onnx(build())
    assert "\n" not in str(error.value)


# --- a layer outside of the model


def reader(time=None, dtype="int32", size=20):
    ids = keras.Input((time,), dtype=dtype, name="ids")
    x = L.GRU(3)(L.Embedding(size, 4, mask_zero=True)(ids))
    return randomize(keras.Model(ids, L.Dense(2, name="mood")(x)))


def settings_of(proto):
    return tokenizers({entry.key: entry.value for entry in proto.metadata_props})


def test_layer_outside():
    layer = vectorizer(output_sequence_length=7)
    for model in (reader(), reader(7), reader(7, "float32")):
        made = settings_of(export.to_onnx(model, text=layer, verify=False))["ids"]
        assert made == build_tokenizer(layer)
        assert settings_of(export.to_onnx(model, text={"ids": layer}, verify=False))["ids"] == made
    assert (
        settings_of(export.to_onnx(reader(7), text=vectorizer(), verify=False))["ids"].length == 7
    )


def test_layer_in_a_file(tmp_path):
    layer = vectorizer(output_sequence_length=7, ngrams=2, standardize="lower")
    keras.Sequential([keras.Input((1,), dtype="string"), layer]).save(tmp_path / "l.keras")
    config = {**layer.get_config(), "vocabulary": layer.get_vocabulary()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "words.json").write_text(json.dumps(layer.get_vocabulary()))
    (tmp_path / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
    model = reader(7)
    for name in ("l.keras", "config.json"):
        made = settings_of(export.to_onnx(model, text=tmp_path / name, verify=False))["ids"]
        assert made == build_tokenizer(layer)
    for name in ("words.json", "words.txt"):
        made = settings_of(export.to_onnx(model, text=str(tmp_path / name), verify=False))["ids"]
        assert made == build_tokenizer(vectorizer(output_sequence_length=7))


def test_layer_that_does_not_fit(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "none.json").write_text("{}")
    (tmp_path / "kind.json").write_text('{"vocabulary": ["a"], "split": "words"}')
    reader().save(tmp_path / "m.keras")
    model = reader(7)
    for text, message in [
        (vectorizer(output_sequence_length=5), "5 ids per text, but the model expects 7"),
        (vectorizer(output_mode="count"), "output_mode 'count'"),
        ({"no": vectorizer()}, "the model's inputs are ids"),
        (3, "got int"),
        (tmp_path / "absent.json", "no such file"),
        (tmp_path / "bad.json", "can't be read"),
        (tmp_path / "none.json", "neither a list of words nor settings"),
        (tmp_path / "kind.json", "no TextVectorization"),
        (tmp_path / "m.keras", "expected one TextVectorization layer, found 0"),
        (L.TextVectorization(vocabulary=[f"w{i}" for i in range(30)]), "32 words, but the Emb"),
    ]:
        with pytest.raises(ExportError, match=message) as error:
            export.to_onnx(model, text=text)
        assert "\n" not in str(error.value)


def test_layer_inside_and_outside():
    with pytest.raises(ExportError, match="given twice"):
        export.to_onnx(classifier(vectorizer()), text=vectorizer())


# --- class names


def test_labels():
    for labels in (["no", "yes"], {"mood": ("no", "yes")}):
        proto = export.to_onnx(reader(7), labels=labels, verify=False)
        stored = {entry.key: entry.value for entry in proto.metadata_props}
        assert class_names(stored) == {"mood": ["no", "yes"]}
    for labels, message in [
        (["a"], "1 labels fit no output: mood is"),
        ("ab", "a list of class names"),
        ([1, 2], "a list of class names"),
        ({"no": ["a", "b"]}, "the outputs are mood"),
        ({"mood": ["a"]}, "1 labels for output mood"),
    ]:
        with pytest.raises(ExportError, match=message):
            export.to_onnx(reader(7), labels=labels)


def test_command_line(tmp_path, capsys):
    classifier(vectorizer()).save(tmp_path / "m.keras")
    (tmp_path / "names.txt").write_text("good\nbad\nneither\n")
    assert main([str(tmp_path / "m.keras"), "--labels", str(tmp_path / "names.txt")]) == 0
    assert "expects the ids of layer text_vectorization" in capsys.readouterr().out
    from onnxwalk.interpreter.cli import main as onnxwalk

    assert onnxwalk(["run", str(tmp_path / "m.onnx"), "--text", "a b É", "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert any(name in out for name in ("good: 0.", "bad: 0.", "neither: 0."))
    assert main([str(tmp_path / "m.keras"), "--labels", "no.txt"]) == 1
    assert capsys.readouterr().err == "error: no.txt: no such file\n"


def test_command_line_with_a_layer_outside(tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
    reader().save(tmp_path / "m.keras")
    assert main([str(tmp_path / "m.keras"), "--text", str(tmp_path / "words.txt")]) == 0
    session = onnxwalk.load(tmp_path / "m.onnx")
    assert list(tokenizers(session.model.metadata)) == ["ids"]
