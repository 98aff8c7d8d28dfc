"""``run --text`` and class names that are in the file."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxwalk.interpreter.text import LABELS_KEY, TEXT_KEY, Tokenizer

WORDS = ["", "[UNK]", "good", "bad", "so", "a,b"]


@pytest.fixture
def tagged(make):
    """ids (batch, time) int64 -> y: for each text the sum of (good, bad) over its words."""

    def write(text=True, labels=None, inputs=("ids",), **settings):
        table = np.zeros((6, 2), np.float32)
        table[2, 0] = table[3, 1] = 1
        nodes = []
        for name in inputs:
            nodes.append(helper.make_node("Gather", ["table", name], [f"rows_{name}"]))
            nodes.append(
                helper.make_node("ReduceSum", [f"rows_{name}", "one"], [f"y_{name}"], keepdims=0)
            )
        path = make(
            "tagged.onnx",
            nodes,
            [(name, TensorProto.INT64, ["batch", "time"]) for name in inputs],
            [(f"y_{name}", TensorProto.FLOAT, ["batch", 2]) for name in inputs],
            {"table": table, "one": np.array([1], np.int64)},
        )
        model = onnx.load(path)
        tokenizer = Tokenizer(WORDS, **settings).as_json()
        if text:
            stored = json.dumps(dict.fromkeys(inputs, tokenizer))
            helper.set_model_props(model, {TEXT_KEY: stored})
        if labels:
            entry = model.metadata_props.add()
            entry.key, entry.value = LABELS_KEY, json.dumps({"y_ids": labels})
        onnx.save(model, path)
        return path

    return write


def test_texts(tagged, feed):
    outputs, text = feed(tagged(), "--text", "Good. So good!", "--text", "bad x=1")
    assert outputs["y_ids"].tolist() == [[2, 0], [0, 1]]
    assert "2 texts, 1 of 5 words unknown" in text


def test_cut(tagged, cli):
    out = cli("run", tagged(length=2), "--text", "good good good", "--json").out
    assert json.loads(out)["outputs"][0]["values"] == [[2, 0]]
    assert "1 text, 0 of 2 words unknown, 1 truncated to 2" in out


def test_text_file(tagged, feed, tmp_path):
    (tmp_path / "t.txt").write_text("good\n\nbad bad\r\n", encoding="utf-8-sig")
    outputs, _ = feed(tagged(), "--text-file", "t.txt", "--text", "good")
    assert outputs["y_ids"].tolist() == [[1, 0], [1, 0], [0, 0], [0, 2]]
    outputs, _ = feed(tagged(), "--text-file", "t.txt", "--batch", "2")
    assert outputs["y_ids"].tolist() == [[1, 0], [0, 0], [0, 2]]


def test_csv(tagged, feed, cli, tmp_path):
    (tmp_path / "t.csv").write_text('id,text,review\n1,"good, so\ngood",bad\n\n2,,bad bad\n')
    assert feed(tagged(), "--text-file", "t.csv")[0]["y_ids"].tolist() == [[2, 0], [0, 0]]
    outputs, _ = feed(tagged(), "--text-file", "t.csv", "--column", "review")
    assert outputs["y_ids"].tolist() == [[0, 1], [0, 2]]
    (tmp_path / "one.csv").write_text("review\ngood\n")
    assert feed(tagged(), "--text-file", "one.csv")[0]["y_ids"].tolist() == [[1, 0]]
    error = cli("run", tagged(), "--text-file", "t.csv", "--column", "no").error
    assert error == "t.csv: no column 'no'; pass --column, one of: id, text, review"
    (tmp_path / "bad.csv").write_text("a,text\n1\n")
    assert (
        "line 2: expected 2 columns, got 1" in cli("run", tagged(), "--text-file", "bad.csv").error
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "label;text\n1;good, so good\n0;bad, bad\n"),
        ("t.tsv", "label\ttext\n1\tgood, so; good\n0\tbad, bad\n"),
        ("t.csv", 'label|text\n1|"good so\ngood"\n0|bad bad\n'),
        ("t.csv", "text\ngood, so, good\nbad, bad\n"),
        ("t.jsonl", '{"label": 1, "text": "good so good"}\n{"label": 0, "text": "bad bad"}\n'),
    ],
)
def test_tables_of_texts(tagged, feed, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert feed(tagged(), "--text-file", name)[0]["y_ids"].tolist() == [[2, 0], [0, 2]]


def test_texts_of_other_encodings_and_tables_without_a_header(tagged, feed, cli, tmp_path):
    (tmp_path / "t.csv").write_bytes("übel;good\nübel;bad\n".encode("cp1252"))
    assert "--encoding says which it is" in cli("run", tagged(), "--text-file", "t.csv").error
    run = (tagged(), "--text-file", "t.csv", "--encoding", "cp1252", "--header", "no")
    assert feed(*run, "--column", "2")[0]["y_ids"].tolist() == [[1, 0], [0, 1]]
    error = cli("run", *run).error
    assert error == "t.csv: no column 'text'; pass --column, one of: column 1, column 2"


def test_every_command_that_runs_a_model_reads_texts(tagged, cli, tmp_path):
    model = tagged()
    (tmp_path / "t.csv").write_text("id;review\n1;so good\n2;bad\n")
    texts = ("--text-file", "t.csv", "--column", "review", "--delimiter", ";")
    for command in (
        ("profile", model, "--runs", 1, "--json"),
        ("compare", model, "onnxruntime", "--json"),
        ("bench", model, "--against", "none", "--times-only", "--seconds", "0.01", "--json"),
        ("inspect", model, "--deep", "--json"),
        ("explore", model, "--sample", "1"),
        ("saliency", model, "--class", "0", "--json"),
    ):
        result = cli(*command, *texts)
        assert result.status == 0, (command, result.err)
        result = cli(*command, "--column", "review")
        assert "--column requires --text-file" in result.err
    shown = json.loads(cli("inspect", model, "--deep", *texts, "--json").out)["deep"]["values"]
    assert shown[0]["shape"] == [2, 2]
    compared = json.loads(cli("compare", model, "onnxruntime", *texts, "--json").out)
    assert compared["equal"] and compared["samples"] == ["t.csv"]
    result = cli("bench", model, *texts, "--batch", "2")
    assert "can't be combined with --input or --text" in result.err


def test_two_inputs(tagged, feed, cli):
    path = tagged(inputs=("a", "b"))
    outputs, _ = feed(path, "--text", "b=good", "--text", "a=bad")
    assert outputs["y_a"].tolist() == [[0, 1]] and outputs["y_b"].tolist() == [[1, 0]]
    assert (
        "several inputs accept text; pass --text NAME=" in cli("run", path, "--text", "good").error
    )
    assert "or --text" in cli("run", path, "--text", "a=good").error


def test_refused(tagged, cli, tmp_path):
    (tmp_path / "t.txt").write_bytes(b"caf\xe9")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "u.txt").write_text("good")
    np.save(tmp_path / "ids.npy", np.zeros((1, 2), np.int64))
    path = tagged()
    assert "not a text file in UTF-8" in cli("run", path, "--text-file", "t.txt").error
    assert "contains no texts" in cli("run", path, "--text-file", "empty.txt").error
    assert "absent.txt" in cli("run", path, "--text-file", "absent.txt").error
    error = cli("run", path, "--text-file", "u.txt", "--column", "x").error
    assert "--column is for tables only" in error
    assert "--column requires --text-file" in cli("run", path, "--column", "x").error
    assert "was given twice" in cli("run", path, "--text", "a", "-i", "ids.npy").error
    assert "has no vocabulary" in cli("run", tagged(text=False), "--text", "good").error


def test_class_names(tagged, cli, tmp_path):
    path = tagged(labels=["fine", "poor"])
    out = cli("run", path, "--text", "so bad", "--text", "good").out
    assert "so bad  poor: 1" in out and "good    fine: 1" in out
    assert "fine: 0" in cli("run", path, "--text", "so bad", "--top", "2").out
    (tmp_path / "names.txt").write_text("A\nB\n")
    out = cli("run", path, "--text", "so bad", "--top", "1", "--labels", "names.txt").out
    assert "B: 1" in out and "poor" not in out


def test_one_number_has_two_classes(make, cli, tmp_path):
    node = helper.make_node("Sigmoid", ["x"], ["y"])
    path = make(
        "binary.onnx",
        [node],
        [("x", TensorProto.FLOAT, ["batch", 1])],
        [("y", TensorProto.FLOAT, ["batch", 1])],
    )
    model = onnx.load(path)
    helper.set_model_props(model, {LABELS_KEY: '{"y": ["no", "yes"]}'})
    onnx.save(model, path)
    np.save(tmp_path / "x.npy", np.array([[-5.0], [5.0]], np.float32))
    out = cli("run", path, "-i", "x.npy").out
    assert "sample 0  no: 0.993307" in out and "sample 1  yes: 0.993307" in out


def test_inspect(tagged, cli):
    out = cli("inspect", tagged(labels=["fine", "poor"], length=5, ngrams=(1, 2))).out
    assert "lower_and_strip_punctuation, split whitespace, n-grams of 1, 2, 5 ids; 4 words: " in out
    assert "2 classes: fine, poor" in out


def test_inspect_shows_what_it_cannot_read(make, cli):
    path = make(
        "m.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, [1])],
    )
    model = onnx.load(path)
    helper.set_model_props(model, {TEXT_KEY: "{", "long": "x" * 1000})
    onnx.save(model, path)
    out = cli("inspect", path).out
    assert f"{TEXT_KEY}  {{" in out and "x" * 199 + "…" in out
    assert "onnxwalk.text: expected a JSON object" in cli("run", path, "--text", "a").error
