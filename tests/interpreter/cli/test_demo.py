"""The first command that a newcomer types."""

import json
from pathlib import Path

import numpy as np
import pytest

import onnxwalk
from onnxwalk.interpreter.cli import demo, main
from tests.support.harness import run_onnxruntime

FOLDER = Path(demo.__file__).parent / "_demo"


def test_demo_shows_predictions_labels_f1_and_time(capsys):
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    for expected in ("digits.onnx", "simple_rnn.onnx", "lstm.onnx", "macro F1", " ms", "✓", "@@"):
        assert expected in out
    assert not capsys.readouterr().err


def test_json_says_the_same(capsys):
    from sklearn.metrics import f1_score

    assert main(["demo", "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [r["model"] for r in reports] == ["digits.onnx", "simple_rnn.onnx", "lstm.onnx"]
    for report in reports:
        expected = f1_score(report["labels"], report["predictions"], average="macro")
        assert report["macro_f1"] == pytest.approx(expected, abs=1e-12)
        assert report["macro_f1"] > 0.9 and report["samples"] >= 100


@pytest.mark.parametrize("count", ["0", "1", "3"])
def test_number_of_samples(count, capsys):
    assert main(["demo", "--samples", count]) == 0
    out = capsys.readouterr().out
    assert out.count("✓") + out.count("✗") == 3 * int(count)


@pytest.mark.parametrize(
    ("name", "data"), [("digits", "digits"), ("simple_rnn", "texts"), ("lstm", "texts")]
)
def test_onnxruntime_agrees(name, data):
    import onnx

    samples = np.load(FOLDER / "samples.npz", allow_pickle=False)
    session = onnxwalk.load(FOLDER / f"{name}.onnx")
    x = samples[f"{data}_x"].astype(session.inputs[0].dtype)
    proto = onnx.load(FOLDER / f"{name}.onnx")
    (expected,) = run_onnxruntime(proto, {session.inputs[0].name: x})
    np.testing.assert_allclose(session(x), expected, rtol=1e-5, atol=1e-6)


def test_what_ships_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 500_000


def test_macro_f1_of_a_class_that_is_never_there():
    truth, found = np.array([0, 0, 1]), np.array([0, 1, 1])
    assert demo.macro_f1(truth, found, 3) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
