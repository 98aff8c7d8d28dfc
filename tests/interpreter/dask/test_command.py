"""``onnxwalk run --scheduler local``, as typed."""

import gc
import os
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest

import onnxwalk
from tests.programs.kill import DEMO
from tests.support.supervised import kill, start

pytest.importorskip("distributed", reason="Dask isn't installed")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")

MODEL = DEMO / "digits.onnx"


@pytest.fixture
def command(tmp_path):
    pictures = np.load(DEMO / "samples.npz")["digits_x"].astype(np.float32)
    (tmp_path / "parts").mkdir()
    for number in range(4):
        np.save(tmp_path / f"parts/{number}.npy", np.resize(pictures, (500 + number, 8, 8, 1)))
    run = [sys.executable, "-m", "onnxwalk", "run", str(MODEL), "--input", "parts/*.npy"]
    return [*run, "--output", "out/", "--scheduler", "local", "--workers", "2"]


def begin(command, folder):
    # what a shell has put in the background ignores Ctrl-C, and so would this
    return start(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def check_results(folder):
    session = onnxwalk.load(MODEL)
    assert sorted(p.name for p in (folder / "out").glob("*.npy")) == [f"{i}.npy" for i in range(4)]
    for number in range(4):
        expected = session(np.load(folder / f"parts/{number}.npy"))
        np.testing.assert_allclose(np.load(folder / f"out/{number}.npy"), expected, atol=1e-6)


def test_the_results_are_those_of_one_process(command, tmp_path):
    process = begin(command, tmp_path)
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert "2,006 rows of 4 parts" in out
    check_results(tmp_path)


@pytest.mark.parametrize("moment", [0.0, 0.5])
def test_ctrl_c_is_told_in_one_line(command, tmp_path, moment):
    """Of a terminal: all processes get it. While the cluster begins, too."""
    process = begin(command, tmp_path)
    while process.poll() is None and not (tmp_path / "out").exists():
        time.sleep(0.01)
    time.sleep(moment)
    kill(process, signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 130 or "rows of" in out
    assert errors in ("", "onnxwalk: stopped; what is done is whole, --resume does the rest\n")
    process = begin([*command, "--resume"], tmp_path)
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    check_results(tmp_path)


def test_the_client_keeps_no_weights(tmp_path):
    """While the workers work: theirs are in their own memory."""
    from onnxwalk.interpreter.batches.parts import Parts
    from onnxwalk.interpreter.batches.sessions import cached_session
    from onnxwalk.interpreter.dask.parts import DaskPool

    np.save(tmp_path / "0.npy", np.zeros((1, 8, 8, 1), np.float32))
    session = weakref.ref(cached_session(MODEL).session)
    parts = Parts.of(str(MODEL), [tmp_path / "0.npy"], tmp_path / "out", {})
    assert session() is not None
    DaskPool(parts, "local")
    gc.collect()
    assert session() is None
