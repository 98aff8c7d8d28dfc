"""``onnxwalk run --scheduler local``, as typed."""

import gc
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import weakref

import numpy as np
import pytest

import onnxwalk
from tests.programs.broken_batches import children
from tests.programs.kill import DEMO, ROOT
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
        env={**os.environ, "PYTHONPATH": str(ROOT), "OF_THE_SHELL": "yes"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def workers_of(process):
    """The processes of its Dask workers, once there are any: those that its fork server made."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if found := [worker for child in children(process.pid) for worker in children(child)]:
            return found
        time.sleep(0.01)
    raise AssertionError("no workers")


def check_results(folder, batch=2_000):
    session = onnxwalk.load(MODEL)
    assert sorted(p.name for p in (folder / "out").glob("*.npy")) == [f"{i}.npy" for i in range(4)]
    for number in range(4):
        x = np.load(folder / f"parts/{number}.npy")
        expected = np.concatenate([session(x[n : n + batch]) for n in range(0, len(x), batch)])
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


@pytest.mark.skipif(sys.platform != "linux", reason="the worker is found in /proc, which Linux has")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_hangs_is_replaced(command, tmp_path, number):
    """There is one worker only: another one does the rest."""
    slow = [*command, "--workers", "1", "--batch", "1", "--part-timeout", "3"]
    process = begin(slow, tmp_path)
    try:
        victim = workers_of(process)[0]
        while process.poll() is None and not [*(tmp_path / "out").glob("*.npy")]:
            time.sleep(0.01)
        os.kill(victim, number)
        out, errors = process.communicate(timeout=120)
    finally:
        kill(process)
    assert (process.returncode, errors) == (0, "")
    assert "2,006 rows of 4 parts" in out
    check_results(tmp_path, batch=1)


@pytest.fixture
def endless(command, tmp_path):
    """A part of a table that nobody writes: it is never read to its end."""
    for number in range(6):
        np.savetxt(tmp_path / f"parts/{number}.csv", np.ones((20, 64)), delimiter=",", fmt="%g")
    os.mkfifo(tmp_path / "parts/1x.csv")
    command[command.index("parts/*.npy")] = "parts/*.csv"
    return [*command, "--workers", "1", "--part-timeout", "0.5", "--header", "no"]


def test_a_part_that_never_ends(endless, tmp_path):
    """It alone is left out, also where others wait at the workers that it costs."""
    process = begin([*endless, "--on-error", "skip"], tmp_path)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "120 rows of 7 parts" in out and "left out: 0 rows, 1 part" in out
    assert errors.count("\n") == 1 and errors.endswith("; left out\n")
    assert "parts/1x.csv: its worker died, or finished no batch in time" in errors


def test_a_part_that_never_ends_stops_the_run(endless, tmp_path):
    process = begin(endless, tmp_path)
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out, errors.count("\n")) == (1, "", 1)
    assert "parts/1x.csv: " in errors and "4 times" in errors and "--part-timeout" in errors
    # what is done stays; one that waited at the same worker may be left for --resume
    assert len([*(tmp_path / "out").glob("*.csv")]) >= 5


SCRIPT = """
import os
print("begun")
from onnxwalk.interpreter.cli import main
from onnxwalk.interpreter.dask.connection import connect
for number in "12":
    os.environ["OF_MINE"] = number
    with connect("local", 1) as client:
        (found,) = client.run(lambda: (os.environ["OF_MINE"], os.environ["OF_THE_SHELL"])).values()
        print(*found)
print(main(["run", *ARGUMENTS]))
"""


def test_a_program_runs_once_and_its_environment_reaches_the_workers(command, tmp_path):
    """It calls the command and has no ``if __name__ == "__main__"``."""
    text = f"ARGUMENTS = {command[command.index('run') + 1 :]}" + SCRIPT
    (tmp_path / "program.py").write_text(text)
    process = begin([sys.executable, "program.py"], tmp_path)
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert out.splitlines()[:3] == ["begun", "1 yes", "2 yes"] and out.endswith("\n0\n")
    check_results(tmp_path)


def test_results_and_damage_are_those_of_a_run_without_a_scheduler(tmp_path):
    """Byte for byte, with the names that the parts were given by."""
    image = pytest.importorskip("PIL.Image")
    table = np.random.default_rng(0).random((30, 64)).round(3)
    for number in range(3):
        folder = tmp_path / f"parts/{number}"
        folder.mkdir(parents=True)
        for row in range(5):
            pixels = (table[row + number].reshape(8, 8) * 255).astype(np.uint8)
            image.fromarray(pixels).save(folder / f"{row}.png")
        with tarfile.open(tmp_path / f"parts/{number}.tar", "w") as archive:
            archive.add(folder, arcname=".")
        rows = "".join(json.dumps({"image": row.reshape(8, 8, 1).tolist()}) + "\n" for row in table)
        (tmp_path / f"parts/{number}.jsonl").write_text(rows)
        np.savetxt(tmp_path / f"parts/{number}.csv", table, delimiter=",", fmt="%g")
    (tmp_path / "parts/1/3.png").write_bytes(b"damaged")
    (tmp_path / "parts/2.tar").write_bytes(b"damaged")
    (tmp_path / "parts/0.jsonl").write_text("{}\n" + rows)
    for kind in ("/", ".tar", ".jsonl", ".csv"):
        found = []
        for more in ([], ["--scheduler", "local", "--workers", "2"]):
            command = [sys.executable, "-m", "onnxwalk", "run", str(MODEL), "--restart"]
            command += ["--input", f"parts/?{kind.rstrip('/')}", "--output", "out/", *more]
            process = begin([*command, "--on-error", "skip"], tmp_path)
            _, errors = process.communicate(timeout=120)
            made = {p.name: p.read_bytes() for p in (tmp_path / "out").glob("[0-9]*")}
            found.append((process.returncode, sorted(errors.splitlines()), made))
        (status, errors, made), other = found
        assert other == (status, errors, made) and len(made) >= 2
        assert (status, len(errors)) == ((0, 0) if kind == ".csv" else (1, 1))
        assert all(line.startswith("onnxwalk: parts/") for line in errors)
