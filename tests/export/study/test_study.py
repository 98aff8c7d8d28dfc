"""The command from end to end: what it writes, how it continues, and what it says of mistakes."""

import csv
import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the study needs TensorFlow")
pytest.importorskip("sklearn", reason="the study needs scikit-learn")

import keras

import onnxwalk
import onnxwalk.export.errors
from onnxwalk.export import cli
from onnxwalk.export.study import main
from onnxwalk.export.study.data import Task
from onnxwalk.export.study.datasets import Split
from onnxwalk.export.study.evaluate import (
    broken_claims,
    compare_with_exact,
    evaluate,
)
from onnxwalk.export.study.progress import show_progress
from onnxwalk.export.study.store import locked_folder
from onnxwalk.export.study.train import make_plan, train
from onnxwalk.export.study.variants import Variant
from tests.export.study.conftest import study

ROOT = Path(__file__).parents[3]


def rows(output):
    with open(output / "results.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_written(trained):
    found = rows(trained)
    assert list(found[0]) == (
        "family,variant,parameters,epochs,f1_keras,f1_onnxwalk,labels_equal,max_abs_diff,"
        "seconds_keras,seconds_onnxwalk,seconds_onnxruntime"
    ).split(",")
    names = [(row["family"], row["variant"]) for row in found]
    assert names == [
        ("CNN", "conv-32"), ("CNN", "average"), ("CNN", "final"),
        ("SimpleRNN", "1x32"), ("SimpleRNN", "2x64"), ("SimpleRNN", "final"),
        ("LSTM", "1x32"), ("LSTM", "2x64"), ("LSTM", "final"),
    ]  # fmt: skip
    for row in found:
        assert row["labels_equal"] == "true" and row["f1_keras"] == row["f1_onnxwalk"]
        assert 0 < float(row["max_abs_diff"]) < 1e-5 and row["epochs"] == "4"
        folder = trained / row["family"].lower() / row["variant"]
        assert sorted(file.name for file in folder.iterdir()) == [
            ".lock", "evaluation.json", "history.json", "model.keras", "model.onnx",
            "model.weights.h5", "predictions.npz",
        ]  # fmt: skip
        history = json.loads((folder / "history.json").read_text())
        assert all(len(values) == 4 for values in history["history"].values())
        assert str(history["parameters"]) == row["parameters"]
        session = onnxwalk.load(folder / "model.onnx")
        assert session.inputs[0].name == ("image" if row["family"] == "CNN" else "ids")
        assert ("onnxwalk.text" in str(session.model.metadata)) == (row["family"] != "CNN")
    page = (trained / "report.html").read_text()
    title = re.search("<title>(.*)</title>", page)[1]
    assert "digits" in title and "a generated corpus" in title
    assert "http" not in page.replace("http://www.w3.org/2000/svg", ""), "it needs the network"


def test_what_is_trained_is_not_trained_again(copy, capsys):
    models = {file: file.stat().st_mtime_ns for file in copy.rglob("model.*")}
    (copy / "results.csv").unlink()
    assert study(copy, "--variant=final", "--variant=1x32") == 0
    said = capsys.readouterr().out
    assert "epoch" not in said and "F1" in said
    assert len(rows(copy)) == 9
    assert {file: file.stat().st_mtime_ns for file in copy.rglob("model.*")} == models


def test_evaluation_is_made_anew_from_a_trained_model(copy, capsys):
    folder = copy / "simplernn" / "1x32"
    for name in ("evaluation.json", "predictions.npz", "model.onnx"):
        (folder / name).unlink()
    before = rows(copy)
    assert study(copy, "--variant=1x32", "--family=SimpleRNN") == 0
    assert "epoch" not in capsys.readouterr().out
    scores = [[row["f1_onnxwalk"], row["max_abs_diff"]] for row in rows(copy)]
    assert scores == [[row["f1_onnxwalk"], row["max_abs_diff"]] for row in before]


def test_an_evaluation_that_float64_has_yet_to_decide_is_made_anew(copy):
    """As an earlier version wrote it, which had no second half of the claim."""
    file = copy / "simplernn" / "1x32" / "evaluation.json"
    before = json.loads(file.read_text())
    far = {**before["max_abs_diff"], "onnxwalk": 2e-5}
    file.write_text(json.dumps({**before, "max_abs_diff": far}))
    assert study(copy, "--variant=1x32", "--family=SimpleRNN") == 0
    assert json.loads(file.read_text())["max_abs_diff"] == before["max_abs_diff"]


TINY = ["--preset=smoke", "--family=SimpleRNN", "--variant=1x32", "--epochs=3"]


def interrupted(output, after, by):
    """Run the command in a process of its own until it has said that, then end it by a signal."""
    command = [sys.executable, "-u", "-m", "export", "study", *TINY, f"--output={output}"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell has put in the background ignore Ctrl-C, and so would this.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stdout:
        if after in line:
            process.send_signal(by)
            break
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_run_that_was_ended_gives_what_one_run_gives(tmp_path, capsys):
    output = tmp_path / "ended"
    status, _ = interrupted(output, "epoch 1/3", signal.SIGKILL)
    assert status == -signal.SIGKILL
    folder = output / "simplernn" / "1x32"
    assert not (folder / "history.json").exists()
    status, errors = interrupted(output, "epoch 2/3", signal.SIGINT)
    assert status == 130 and errors.splitlines()[-1] == "interrupted; the same command continues"
    assert "Traceback" not in errors
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == [".lock"]
    assert main([*TINY, f"--output={output}"]) == 0
    assert not list(folder.glob("epoch-*")) and not (folder / "training.json").exists()
    assert main([*TINY, f"--output={tmp_path / 'one'}"]) == 0
    weights = [
        keras.saving.load_model(o / "simplernn" / "1x32" / "model.keras").get_weights()
        for o in (output, tmp_path / "one")
    ]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    capsys.readouterr()
    assert main([*TINY, f"--output={output}", "--seed=1"]) == 1
    assert "was trained with seed 42, not 1: name another --output" in capsys.readouterr().err
    assert main([*TINY[:-1], "--epochs=5", f"--output={output}"]) == 1
    assert "was trained with epochs 3, not 5" in capsys.readouterr().err


def test_a_file_is_whole_or_not_there(tmp_path):
    from onnxwalk.export.study.store import atomic_path, prepare_folder

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "a.txt").read_text() == "old"
    (tmp_path / ".part-a.txt").write_text("of a process that was killed")
    (tmp_path / ".model.onnx.xy.part").mkdir()
    prepare_folder(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_two_at_once(tmp_path, capsys):
    with locked_folder(tmp_path / "simplernn" / "1x32"):
        error = one_line_error(capsys, *TINY, f"--output={tmp_path}")
    assert error == f"error: another process is using {tmp_path / 'simplernn' / '1x32'}\n"
    with locked_folder(tmp_path / "simplernn" / "1x32"):
        pass


def one_line_error(capsys, *arguments):
    assert cli.main(["study", *map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--family=RNN"], "unknown family 'RNN': choose from CNN, SimpleRNN, LSTM, GRU"),
        (["--variant=huge"], "unknown variant 'huge': choose from 1x128"),
        (["--family=CNN", "--variant=1x32"], "no variant of CNN is 1x32"),
        (["--epochs=0"], "--epochs 0: must be at least 1"),
        (["--seed=-1"], "--seed -1: must be at least 0"),
        (["--report"], "no evaluated variants in"),
        (["--family=CNN", "--data=nowhere"], "no data at nowhere/cifar10"),
        (["--family=LSTM", "--data=nowhere"], "no data at nowhere/nusax-sentiment"),
        (["--family=LSTM", "--nusax=file:///nowhere"], "/train.csv can't be fetched"),
        (["--family=LSTM", "--nusax=nowhere"], "nowhere/train.csv can't be fetched"),
    ],
)
def test_mistakes_in_one_line(tmp_path, capsys, arguments, said):
    assert said in one_line_error(capsys, f"--output={tmp_path / 'out'}", *arguments)


def test_wrong_data_in_one_line(tmp_path, capsys):
    texts, pictures = tmp_path / "nusax-sentiment", tmp_path / "cifar10"
    texts.mkdir()
    (texts / "train.csv").write_text("id,words\n1,baik\n")
    output = f"--output={tmp_path / 'out'}"
    error = one_line_error(capsys, output, "--family=LSTM", f"--data={tmp_path}")
    assert "train.csv has no column label and no text" in error
    (pictures / "train").mkdir(parents=True)
    error = one_line_error(capsys, output, "--family=CNN", f"--data={tmp_path}")
    assert "contains no folders of .jpg or .png images" in error


@pytest.mark.parametrize(
    "module", ["sklearn", "onnxruntime", "threadpoolctl", "jinja2", "matplotlib"]
)
def test_a_missing_package_in_one_line(tmp_path, capsys, monkeypatch, module):
    load = onnxwalk.export.errors.importlib.import_module

    def missing(name, *more):
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, *more)

    monkeypatch.setattr(onnxwalk.export.errors.importlib, "import_module", missing)
    error = one_line_error(capsys, f"--output={tmp_path}")
    assert error == f'error: study needs {module}: pip install "onnxwalk[study]"\n'


def test_an_output_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    error = one_line_error(capsys, f"--output={tmp_path / 'file'}", *TINY)
    assert "can't be created" in error


def test_a_broken_claim_is_exit_status_1(copy, capsys):
    file = copy / "cnn" / "final" / "evaluation.json"
    record = json.loads(file.read_text())
    record["max_abs_diff"]["onnxwalk"] = 2e-5
    record["labels_differ"]["onnxwalk"] = 1
    file.write_text(json.dumps(record))
    assert study(copy, "--report") == 1
    error = capsys.readouterr().err
    said = "1 of 295 labels differ; a probability differs by 2e-05 (tolerance 1e-05)"
    assert error == f"error: cnn/final: {said}\n"
    assert f"<b>cnn/final</b>: {said}" in (copy / "report.html").read_text()
    assert [row["variant"] for row in rows(copy) if row["labels_equal"] == "false"] == ["final"]


def test_claims():
    def record(**more):
        return {
            "f1": {"keras": 0.70004, "onnxwalk": 0.69996},
            "count": 5,
            "labels_differ": {"onnxwalk": 0},
            "max_abs_diff": {"onnxwalk": 9.9e-6},
        } | more

    assert broken_claims(record()) == []
    [said] = broken_claims(record(f1={"keras": 0.70006, "onnxwalk": 0.69996}))
    assert said == "F1 is 0.7000, in Keras 0.7001"
    assert len(broken_claims(record(max_abs_diff={"onnxwalk": float("nan")}))) == 1
    apart = {"keras": 2e-5, "onnxwalk": 1e-6, "onnxruntime": 3e-5}
    beyond = {"max_abs_diff": {"onnxwalk": 2e-5}, "from_float64": apart}
    said = broken_claims(record(**beyond, beyond={"count": 2, "nearer": 1}))
    assert said[1].endswith(
        "Keras 2e-05, the interpreter 1e-06, ONNX Runtime 3e-05; of 2 beyond the tolerance the "
        "interpreter is nearer to it in 1"
    )
    assert broken_claims(record(**beyond, beyond={"count": 2, "nearer": 2})) == []
    # labels are equal or not, whoever is nearer
    record = record(**beyond, beyond={"count": 2, "nearer": 2}, labels_differ={"onnxwalk": 1})
    assert broken_claims(record)[0] == "1 of 5 labels differ"


@pytest.mark.parametrize(
    ("keras", "ours", "beyond", "nearer"),
    [
        (1.5e-5, 0, 1, 1),  # Keras is off
        (1.5e-5, 4e-6, 1, 1),
        (1.5e-5, 6e-6, 0, 0),  # it is, but the two are close
        (0, 1.5e-5, 1, 0),  # the interpreter is off
        (-9e-6, 3e-6, 1, 0),  # neither is by more than 1e-5
        (-2e-5, 2.1e-5, 1, 0),  # both are, the interpreter further
        (-2e-5, 1.9e-5, 1, 1),
        (2e-5, np.nan, 1, 0),
        (np.nan, 0, 1, 0),
    ],
)
def test_which_is_nearer(keras, ours, beyond, nearer):
    """In the second of two probabilities; of the first, both are right."""
    exact = np.full((1, 2), 0.5)
    predictions = {
        name: exact + np.array([0, off])
        for name, off in {"keras": keras, "onnxwalk": ours, "onnxruntime": 0}.items()
    }
    found = compare_with_exact(exact, predictions)
    assert found["beyond"] == {"count": beyond, "nearer": nearer}


def test_the_report_says_where_float64_decided(copy, capsys):
    """An evaluation of which it did: the claims hold, and the exit status is 0."""
    file = copy / "cnn" / "final" / "evaluation.json"
    record = json.loads(file.read_text())
    record["max_abs_diff"]["onnxwalk"] = 2e-5
    record["from_float64"] = {"keras": 1.6e-5, "onnxwalk": 4e-6, "onnxruntime": 2e-5}
    record["beyond"] = {"count": 3, "nearer": 3}
    file.write_text(json.dumps(record))
    assert study(copy, "--report", f"--docs={copy / 'docs'}") == 0
    said = (
        "a probability differs by 2e-05; largest difference from Keras in float64: Keras 1.6e-05, "
        "the interpreter 4e-06, ONNX Runtime 2e-05; of 3 beyond the tolerance the interpreter is "
        "nearer to it in 3"
    )
    page = (copy / "report.html").read_text()
    assert f"<b>cnn/final</b>: {said}" in page and "<b>Yes.</b>" in page
    results = (copy / "docs" / "RESULTS.md").read_text()
    assert f"It does.\n\nKeras in float64 decided for these:\n\n- cnn/final: {said}.\n" in results


def test_a_broken_claim_asks_float64(tmp_path, monkeypatch):
    """A limit that float32 can't meet shows what is said then."""
    monkeypatch.setattr("onnxwalk.export.study.evaluate.MAX_DIFFERENCE", 0.0)
    rng = np.random.default_rng(0)
    x, y = rng.random((90, 8, 8, 1), np.float32), np.arange(90) % 3
    parts = [Split(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
    task = Task(*parts, ["a", "b", "c"], "noise", True)
    variant = Variant("CNN", "tiny", {"filters": (4, 4)})
    with show_progress() as progress, locked_folder(tmp_path / variant.path):
        wanted = make_plan(variant, task, preset="none", seed=0, epochs=1)
        train(variant, task, wanted, tmp_path, progress)
        record = evaluate(variant, task, tmp_path, progress)
    assert all(0 < apart < 1e-6 for apart in record["from_float64"].values())
    assert 0 < record["beyond"]["count"] <= record["count"] * 3
    assert "from Keras in float64" in broken_claims(record)[-1]


def test_the_list(capsys):
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 22
    assert main(["--list", "--variant=kernel-20", "--variant=kernels"]) == 0
    names = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert names == ["conv-32-64", "kernel-7", "kernel-15", "kernel-20"]
