"""``train``: what it reads and writes, resuming, Ctrl-C, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import onnxwalk
from onnxwalk import InvalidInputError
from tests.interpreter.training.small import X, Y, network

DATA = ("--data", "x.npy", "--labels", "y.npy", "--seed", 0)


@pytest.fixture
def train(cli):
    """Run ``train small.onnx ARGV…`` in a folder with data."""
    Path("small.onnx").write_bytes(network())
    np.save("x.npy", X)
    np.save("y.npy", Y)

    def run(*argv, data=DATA):
        return cli("train", "small.onnx", *data, "-o", "out.onnx", *argv)

    return run


def weights(path):
    return {n: t.array for n, t in onnxwalk.load(path).model.graph.initializers.items()}


def test_what_it_writes(train):
    pytest.importorskip("matplotlib")
    result = train(
        "--epochs", 3, "--batch", 8, "--validation", 0.2, "--metric", "accuracy",
        "--history", "h.json", "--plot", "loss.svg", "--frozen", "hidden",
    )  # fmt: skip
    assert result.status == 0, result.err
    history = json.loads(Path("h.json").read_text())
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert result.err.splitlines()[2].startswith(f"epoch 3/3  loss {history['loss'][2]:.4f}")
    assert result.out.startswith(f"out.onnx: 15 steps, loss {history['loss'][2]:.4f}")
    picture = Path("loss.svg").read_text()
    assert "val_loss" in picture and "accuracy" not in picture
    before, after = weights("small.onnx"), weights("out.onnx")
    assert [n for n in before if (before[n] != after[n]).any()] == ["last/kernel", "last/bias"]
    engine = onnxruntime.InferenceSession("out.onnx")
    found = engine.run(None, {"x": X})[0]
    np.testing.assert_allclose(found, onnxwalk.load("out.onnx")(X), atol=1e-6)


def test_the_same_as_in_python(train):
    assert train("--epochs", 2, "--optimizer", "SGD", "--lr", 0.5, "--momentum", 0.9).status == 0
    found = onnxwalk.train(
        "small.onnx", (X, Y), loss="sparse_categorical_crossentropy", epochs=2, seed=0,
        optimizer=onnxwalk.training.Momentum(0.5),
    )  # fmt: skip
    for name, weight in weights("out.onnx").items():
        np.testing.assert_array_equal(weight, found.trainer.weights[name])


def test_resume(train):
    options = ("--batch", 8, "--early-stopping", 3)
    assert train("--epochs", 2, *options, "--checkpoint", "c.npz").status == 0
    assert train("--epochs", 4, *options, "--resume", "c.npz").status == 0
    resumed = weights("out.onnx")
    assert train("--epochs", 4, *options).status == 0
    for name, weight in weights("out.onnx").items():
        np.testing.assert_array_equal(weight, resumed[name])


def test_labels_in_files(train):
    names = ["no", "so", "yes"]
    Path("y.csv").write_text("id,label\n" + "".join(f"{i},{names[c]}\n" for i, c in enumerate(Y)))
    Path("y.txt").write_text("".join(f"{c}\n" for c in Y))
    np.savez("y.npz", labels=Y, other=X)
    assert train().status == 0
    expected = weights("out.onnx")
    rows = [";".join(f"{x:.9g}".replace(".", ",") for x in row) for row in X]
    lines = "".join(f"{row};{names[c]}\n" for row, c in zip(rows, Y, strict=True))
    Path("both.csv").write_text(lines)
    told = ("--delimiter", ";", "--decimal", ",", "--header", "no", "--label-column", 5)
    data = ("--data", "both.csv:1,2,3,4", "--labels", "both.csv", *told)
    assert train(data=(*data, "--seed", 0)).status == 0
    for name, weight in weights("out.onnx").items():
        np.testing.assert_array_equal(weight, expected[name])
    for labels in ("y.csv", "y.txt", "y.npz"):
        data = ("--data", "x.npy", "--labels", labels, "--seed", 0)
        assert train(data=data).status == 0
        for name, weight in weights("out.onnx").items():
            np.testing.assert_array_equal(weight, expected[name])
    np.save("v.npy", X)
    result = train("--validation", "v.npy", "--validation-labels", "y.csv")
    assert "val_loss" in result.out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--loss", "mqe"), "loss 'mqe' is neither a known loss nor an output of the model; did"),
        (("--optimizer", "Adem"), "unknown optimizer 'Adem'; did you mean 'adam'?"),
        (("--momentum", 0.5), "--momentum is of SGD and Momentum, not of Adam"),
        (("--validation", 2), "--validation 2: expected a share between 0 and 1"),
        (("--metric", "acc"), "unknown metric 'acc'; known: accuracy, macro_f1"),
        (("--frozen", "*"), "small.onnx: nothing to train: all 4 weights are frozen"),
        (("--resume", "none.npz"), "none.npz: can't be read: No such file or directory"),
        (("--history", "no/h.json"), "folder"),
        (("--history", "out.onnx"), "--output and --history are the same file, out.onnx"),
        (("--checkpoint", "."), ".: can't be written: Is a directory"),
        (("--validation", "x.npy"), "needs labels: pass --validation-labels FILE"),
        (("--validation-labels", "y.npy"), "--validation-labels is for a file of --validation"),
        (("--column", "a"), "--column is of a file of --text-file"),
        (("--loss", "mse"), "labels have shape (50,), but output 'y' has 3 values"),
    ],
)
def test_refused(train, argv, message):
    assert message in train(*argv).error
    assert not Path("out.onnx").exists()


def test_refused_data(train):
    assert "pass --data FILE or --text-file FILE" in train(data=()).error
    assert "needs labels: pass --labels FILE" in train(data=("--data", "x.npy")).error
    Path("y.csv").write_text("a,b\n1,2\n")
    data = ("--data", "x.npy", "--labels", "y.csv")
    assert "no column 'label'; pass --label-column, one of: a, b" in train(data=data).error


def test_nan_leaves_what_was_trained_until_then(train):
    x = X.copy()
    x[40:] = np.nan
    np.save("x.npy", x)
    result = train("--batch", 40, "--no-shuffle")
    assert result.status == 1
    said, error = result.err.splitlines()
    assert said == "onnxwalk: out.onnx has what was trained until then"
    assert error.startswith("onnxwalk: small.onnx: step 2: the loss is nan: input 'x' holds NaN")
    assert (weights("out.onnx")["last/bias"] != 0).any()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_ctrl_c_leaves_a_whole_file(train):
    options = ("--batch", "5", "--checkpoint", "c.npz")
    command = [sys.executable, "-m", "onnxwalk", "train", "small.onnx", *map(str, DATA)]
    process = subprocess.Popen(
        [*command, "-o", "out2.onnx", *options, "--epochs", "1000000"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        # a shell's background jobs ignore Ctrl-C, and what they start would too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not Path("c.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    last = err.splitlines()[-1]
    assert last.startswith("onnxwalk: stopped in epoch") and "out2.onnx has what was" in last
    assert "batchs" not in last
    assert last.endswith("--resume c.npz goes on")
    assert (weights("out2.onnx")["last/bias"] != 0).any()
    epochs = int(last.split()[4])  # the one that wasn't finished
    assert train(*options, "--epochs", epochs, "--resume", "c.npz").status == 0
    resumed = weights("out.onnx")
    assert train(*options, "--epochs", epochs).status == 0
    for name, weight in weights("out.onnx").items():
        np.testing.assert_array_equal(weight, resumed[name])


def test_the_model_is_written_though_another_file_cant_be(train, monkeypatch):
    """The disk is full when the checkpoint of the first epoch is written."""

    def fail(*args):
        raise InvalidInputError("c.npz: can't be written: No space left on device")

    monkeypatch.setattr("onnxwalk.interpreter.training.trainer.write_checkpoint", fail)
    result = train("--checkpoint", "c.npz", "--history", "h.json")
    assert result.status == 1
    assert result.err.splitlines()[-2:] == [
        "onnxwalk: out.onnx has what was trained until then",
        "onnxwalk: c.npz: can't be written: No space left on device",
    ]
    assert (weights("out.onnx")["last/bias"] != 0).any()
    assert json.loads(Path("h.json").read_text())["loss"]


@pytest.mark.filterwarnings("always:nothing was trained")
def test_the_other_files_are_written_though_the_model_cant_be(train, monkeypatch):
    def fail(*args):
        raise InvalidInputError("out.onnx: can't be written: No space left on device")

    with monkeypatch.context() as full:
        full.setattr("onnxwalk.interpreter.training.trainer.write_weights", fail)
        result = train("--checkpoint", "c.npz")
    assert result.status == 1 and "out.onnx: can't be written: No space" in result.err
    result = train("--resume", "c.npz")
    assert result.status == 0 and "nothing was trained: epochs done before: 1" in result.err
    assert (weights("out.onnx")["last/bias"] != 0).any()


def test_weights_that_arent_finite_arent_written(train):
    result = train("--optimizer", "SGD", "--lr", "1e300")
    assert result.status == 1 and not Path("out.onnx").exists()
    assert "onnxwalk: out.onnx isn't written: its weights would be NaN or infinite" in result.err
    assert "holds NaN or infinities by now" in result.err.splitlines()[-1]
