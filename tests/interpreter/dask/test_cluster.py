"""``onnxwalk run --scheduler tcp://…`` with schedulers and workers that others start."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import onnxwalk
from onnxwalk.interpreter.batches.folder import Folder
from tests.programs.cluster_kill import Cluster
from tests.programs.kill import DEMO, ROOT
from tests.support.supervised import kill, start

pytest.importorskip("distributed", reason="Dask isn't installed")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")

from distributed import Client

from onnxwalk.interpreter.dask.parts import Work
from onnxwalk.interpreter.dask.reference import refer

MODEL = DEMO / "digits.onnx"
PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The pattern of parts, and what comes out."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "parts").mkdir()
    session, expected = onnxwalk.load(MODEL), {}
    for number in range(8):
        x = np.random.default_rng(number).random((1000 + number, 8, 8, 1), np.float32)
        np.save(folder / f"parts/{number}.npy", x)
        expected[f"{number}.npy"] = session(x)
    return f"{folder}/parts/*.npy", expected


def of_run(parts, out, address, *options):
    command = [sys.executable, "-m", "onnxwalk", "run", str(MODEL), "--input", parts]
    return [*command, "--output", f"{out}/", "--scheduler", address, *options]


def run(parts, out, address, *options):
    """The command; returns its status, and what it said on stderr."""
    command = of_run(parts[0], out, address, *options)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def check(parts, out):
    found = {path.name: np.load(path) for path in out.glob("*.npy")}
    assert sorted(found) == sorted(parts[1])
    for name, expected in parts[1].items():
        np.testing.assert_allclose(found[name], expected, atol=1e-6)


@pytest.fixture(scope="module")
def cluster():
    """A scheduler with one worker."""
    made = Cluster(workers=1)
    try:
        _wait_for_workers(made, 1)
        yield made
    finally:
        made.close()


def _wait_for_workers(cluster, count):
    with Client(cluster.address, timeout=PATIENCE, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=PATIENCE)
        while len(client.scheduler_info()["workers"]) > count:  # one is ended
            time.sleep(0.05)


#: what a process does before it becomes a worker, and what is said of it
ODD = {
    "numpy": ("import numpy; numpy.__version__ = '1.0'", "has 1.0 of numpy, the client "),
    "onnxwalk": ("import onnxwalk; onnxwalk.__version__ = '0'", "has 0 of onnxwalk, the client "),
    "none": ("import sys; sys.modules['onnxwalk'] = None", "has no onnxwalk, the client "),
}


@pytest.fixture
def odd(cluster):
    """A function that has an odd worker beside the others."""
    begun = []

    def begin(what):
        text = f"{ODD[what][0]}\nfrom distributed.cli.dask_worker import main\nmain()"
        more = ["--no-nanny", "--no-dashboard", "--nthreads", "1"]
        command = [sys.executable, "-c", text, cluster.address, *more]
        quiet = subprocess.DEVNULL
        begun.append(start(command, env=environment(), stdout=quiet, stderr=quiet))

    yield begin
    for process in begun:
        kill(process)
        process.wait()
    _wait_for_workers(cluster, 1)


@pytest.mark.parametrize("what", ODD)
def test_workers_with_another_version(cluster, parts, odd, tmp_path, what):
    odd(what)
    _wait_for_workers(cluster, 2)
    status, errors = run(parts, tmp_path / "out", cluster.address)
    assert status == 1 and errors.count("\n") == 1
    assert errors.startswith("onnxwalk: worker tcp://") and ODD[what][1] in errors
    assert not [*(tmp_path / "out").glob("*.npy")]


def test_a_worker_with_another_version_that_comes_later(cluster, odd, tmp_path):
    """It is refused by the first part that it gets."""
    (tmp_path / "parts").mkdir()
    for number in range(40):  # many seconds, of which few pass
        np.save(tmp_path / f"parts/{number}.npy", np.zeros((5_000, 8, 8, 1), np.float32))
    parts = f"{tmp_path}/parts/*.npy"
    command = of_run(parts, tmp_path / "out", cluster.address, "--batch", "1")
    process = start(command, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and not [*(tmp_path / "out").glob("*.npy")]:
            time.sleep(0.01)
        odd("onnxwalk")
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        kill(process)
    assert process.returncode == 1 and errors.count("\n") == 1
    assert ODD["onnxwalk"][1] in errors and "worker tcp://" in errors


ADAPTIVE = """
    import sys, time
    from distributed import LocalCluster
    if __name__ == "__main__":
        with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0") as cluster:
            cluster.adapt(minimum=0, maximum=2, interval="100ms", wait_count=3)
            print(cluster.scheduler_address, flush=True)
            most, end = 0, time.monotonic() + 120
            while time.monotonic() < end and not (most and not cluster.scheduler.workers):
                most = max(most, len(cluster.scheduler.workers))
                time.sleep(0.02)
            print(most, len(cluster.scheduler.workers))
"""


def test_a_cluster_that_grows_and_shrinks(parts, tmp_path):
    """From no worker, which is said, and back."""
    (tmp_path / "adaptive.py").write_text(textwrap.dedent(ADAPTIVE))
    command = [sys.executable, str(tmp_path / "adaptive.py")]
    program = start(command, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        address = program.stdout.readline().strip()
        status, errors = run(parts, tmp_path / "out", address, "--batch", "8")
        assert status == 0 and errors.count("\n") == 1
        assert f"{address}: it has no workers yet; nothing is done until some come" in errors
        check(parts, tmp_path / "out")
        most, left = map(int, program.communicate(timeout=PATIENCE)[0].split())
        assert 1 <= most <= 2 and left == 0
    finally:
        kill(program)


# --- what a worker finds, which has other files than the client


@pytest.fixture
def work(tmp_path):
    """A task that finds all that it needs."""
    model = tmp_path / "model.onnx"
    model.write_bytes(MODEL.read_bytes())
    np.save(tmp_path / "0.npy", np.zeros((3, 8, 8, 1), np.float32))
    out = tmp_path / "out"
    (out / "mark").mkdir(parents=True)
    return Work(refer(model, {})[0], str(out), {}, None, str(out / "mark"))


def test_a_worker_with_the_same_files(work, tmp_path):
    assert work(str(tmp_path / "0.npy"), "0.npy", "0.npy").rows == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty (at process"),
        (MODEL.read_bytes()[:3_000], "not an ONNX model, or a damaged one"),
        ((DEMO / "lstm.onnx").read_bytes(), "has another file there than the client"),
        (None, "not found by process"),
    ],
)
def test_a_worker_with_another_model(work, tmp_path, content, message):
    path = Path(work.reference.path)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    said = work(str(tmp_path / "0.npy"), "0.npy", "0.npy")
    assert str(path) in said and message in said and "process" in said and "\n" not in said
    assert not (tmp_path / "out/0.npy").exists()


def test_a_worker_that_may_not_read_the_model(work, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("onnxwalk.interpreter.dask.reference.os.stat", refuse)
    said = work(str(tmp_path / "0.npy"), "0.npy", "0.npy")
    assert "model.onnx: Permission denied (at process" in said


def test_a_worker_with_another_folder_of_results(work, tmp_path):
    (tmp_path / "out/mark").rmdir()
    said = work(str(tmp_path / "0.npy"), "0.npy", "0.npy")
    assert f"{tmp_path / 'out'}: process" in said and "has another folder there" in said
    assert not (tmp_path / "out/0.npy").exists() and Folder(tmp_path / "out").facts() is None


def test_a_worker_without_the_part(work, tmp_path):
    said = work(str(tmp_path / "1.npy"), "1.npy", "parts/1.npy")
    assert said.startswith("parts/1.npy: No such file or directory (at process")
