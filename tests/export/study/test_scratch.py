"""The study from scratch: beside Keras, without a framework; each network one step backwards."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the study needs TensorFlow")
pytest.importorskip("sklearn", reason="the study needs scikit-learn")

from onnxwalk.export.study import by_hand, by_hand_backwards, in_numpy
from onnxwalk.export.study.by_hand import SampleRun
from onnxwalk.export.study.by_hand_layer import RecurrentLayer
from onnxwalk.export.study.findings import read_results
from onnxwalk.interpreter.training.data import ArrayBatches
from tests.export.study.conftest import study

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("family", "runs"),
    [("lstm", ["keras", "keras_dense", "onnxwalk"]), ("cnn", ["keras", "onnxwalk"])],
)
def test_beside_keras(copy, capsys, family, runs):
    chosen = ("--from-scratch", f"--family={family}")
    assert study(copy, *chosen, f"--docs={copy / 'docs'}") == 0
    folder = copy / family / "final" / "scratch"
    record = json.loads((folder / "scratch.json").read_text())
    assert list(record["runs"]) == runs
    assert record["plan"]["settings"].get("dropout", 0.0) == 0.0
    theirs, ours = (record["runs"][name] for name in runs[-2:])
    # 5e-6 and 5e-5 were seen: a CNN's ReLUs and maxima flip on rounding, and Adam carries that on
    nearness = {"lstm": 5e-5, "cnn": 5e-4}[family]
    np.testing.assert_allclose(ours["history"]["loss"], theirs["history"]["loss"], atol=nearness)
    assert ours["f1"] == pytest.approx(theirs["f1"], abs=0.01)
    assert len(ours["history"]["cpu_seconds"]) == 4
    assert "numpy" in record["packages"]
    assert not {"tensorflow", "keras", "torch", "onnx", "onnxruntime"} & {*record["packages"]}
    for optimizer, furthest in (("sgd", 1e-6), ("adam_rounded", 2e-5)):
        last = record["steps"][optimizer][-1]
        assert last["step"] == 100 and last["here keras"]["loss"] < furthest
        assert last["here keras"]["weights"] < 1e-5
    page = (copy / "report.html").read_text()
    assert 'id="scratch"' in page
    assert ("Dropout is off on both sides" in page) == (family == "lstm")
    results = (copy / "docs" / "RESULTS.md").read_text()
    assert (
        "## Trained from scratch, in NumPy alone" in results and f"| {family}/final | " in results
    )
    assert not list((folder / "here").glob("*.npz")) and not list((folder / "here").glob("*_x.npy"))
    capsys.readouterr()
    assert study(copy, *chosen) == 0
    assert "epoch" not in capsys.readouterr().out, "what is trained isn't trained again"


def test_a_framework_cannot_be_imported():
    with pytest.raises(RuntimeError, match=r"tensorflow, keras.* was imported before"):
        in_numpy.forbid_frameworks()
    program = "from onnxwalk.export.study import in_numpy as i; i.forbid_frameworks(); import keras"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "import of keras halted" in done.stderr


def test_the_batches_are_those_of_train():
    x, y = np.arange(10), np.arange(10) + 100
    batches = ArrayBatches({"x": x}, y, 4, seed=7)
    expected = [*batches.epoch(0, 0), *batches.epoch(1, 0)][:5]
    for found, batch in zip(in_numpy.first_batches(x, y, 7, 4, 5), expected, strict=True):
        np.testing.assert_array_equal(found, (batch.feeds["x"], batch.labels))


def test_training_here_goes_on_after_an_epoch(tmp_path):
    rng = np.random.default_rng(0)
    shutil.copy(ROOT / "interpreter/cli/_demo/digits.onnx", tmp_path / "start.onnx")
    for name in ("train", "valid", "test"):
        np.save(tmp_path / f"{name}_x.npy", rng.random((20, 8, 8, 1), np.float32))
        np.save(tmp_path / f"{name}_y.npy", rng.integers(0, 10, 20))
    whole = shutil.copytree(tmp_path, tmp_path.with_name("whole"))
    for folder, counts in ((whole, (3,)), (tmp_path, (1, 3))):
        for epochs in counts:
            job = {"seed": 3, "batch": 8, "epochs": epochs, "shown": [1, 2]}
            (folder / "job.json").write_text(json.dumps(job))
            in_numpy.run(folder)
    one, other = (json.loads((f / "result.json").read_text())["history"] for f in (whole, tmp_path))
    assert one["loss"] == other["loss"] and len(other["cpu_seconds"]) == 3
    np.testing.assert_array_equal(*(np.load(f / "predictions.npy") for f in (whole, tmp_path)))


def close(hand, found):
    """Up to the rounding of float32 in the interpreter."""
    np.testing.assert_allclose(hand, found, rtol=0, atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize("name", ["final", "average", "conv-32"])
def test_a_cnn_backwards_by_hand(trained, name):
    [result] = [r for r in read_results(trained) if r.variant.path == f"cnn/{name}"]
    run = SampleRun(result)
    conv, relu = run.node("Conv"), run.node("Relu")
    pool = run.node("MaxPool", "AveragePool")
    dense = by_hand_backwards.through_dense(run)
    for what in ("z", "taken", "weights"):
        close(dense[what], dense["found"][what])
    window = by_hand_backwards.through_pooling(run, relu, pool)
    close(window["hand"], window["found"])
    assert (np.count_nonzero(window["hand"]) == 1) == window["is_max"]
    [before_relu] = run.loss_gradients([conv.outputs[0]])
    m, y, x = (window[place] for place in ("number", "row", "column"))
    close(window["after_relu"], before_relu[0, m, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2])
    kernel = by_hand_backwards.through_convolution(run, conv, m)
    close(kernel["kernel"], kernel["found"])
    close(kernel["bias"], kernel["found_bias"])


@pytest.mark.parametrize("family", ["simplernn", "lstm"])
@pytest.mark.parametrize("name", ["final", "1x32", "2x64"])
def test_a_recurrent_layer_backwards_by_hand(trained, family, name):
    [result] = [r for r in read_results(trained) if r.variant.path == f"{family}/{name}"]
    run = SampleRun(result)
    dense = by_hand_backwards.through_dense(run)
    for what in ("z", "taken", "weights"):
        close(dense[what], dense["found"][what])
    layer = RecurrentLayer(run, run.node("RNN", "LSTM"))
    back = by_hand_backwards.BackwardsThroughTime(layer)
    for hand, found in zip((back.w, back.r, back.b), back.found, strict=True):
        close(hand, found)
    step = back.one_step(0)
    gate = next(iter(back.sums))
    assert step["weight"] == pytest.approx(step["x"] * step["sums"][gate])
    together = np.concatenate([values[0, step["step"]] for values in back.sums.values()])
    given = layer.r[0][:, 0] @ together
    if name != "2x64":  # whose second layer reads every h of the first
        assert back.h[0, step["step"], 0] == pytest.approx(given)
    assert step["before"].rsplit(" = ", 1)[1] == by_hand.g(given)
