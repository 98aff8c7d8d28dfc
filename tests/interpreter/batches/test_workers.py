"""``onnxwalk run`` with workers: all parts, whatever happens to workers; and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import onnxwalk
from onnxwalk.interpreter.batches import workers
from onnxwalk.interpreter.batches.part import Done
from onnxwalk.interpreter.batches.parts import Parts, run_parts
from onnxwalk.interpreter.cli import main

DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo" / "digits.onnx"


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run the command on parts in an empty folder; returns status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    Path("parts").mkdir()
    for number in range(4):
        np.save(f"parts/{number}.npy", np.full((50 + number, 8, 8, 1), number, np.float32))

    def go(*argv: str):
        arguments = ["run", str(DEMO), "--input", "parts/*.npy", "--output", "out/", *argv]
        status = main(arguments)
        return (status, *capfd.readouterr())

    return go


def test_all_parts_are_done(run):
    status, out, err = run("--workers", "2")
    assert (status, err) == (0, "")
    assert "206 rows of 4 parts in " in out and "written to out" in out
    session = onnxwalk.load(DEMO)
    for number in range(4):
        rows = np.load(f"parts/{number}.npy")
        np.testing.assert_allclose(np.load(f"out/{number}.npy"), session(rows), atol=1e-6)


def test_resume_and_restart(run):
    assert run("--workers", "2")[0] == 0
    status, _, err = run()
    assert status == 1 and "has results already; --resume goes on with them, --restart" in err
    Path("out/2.npy").unlink()
    status, out, _ = run("--resume")
    assert status == 0 and "52 rows of 1 part " in out and "3 parts had been done before" in out
    status, _, err = run("--resume", "--format", "csv")
    assert status == 1 and 'made with format "npy" (now "csv")' in err
    assert run("--restart", "--format", "csv")[0] == 0
    names = {path.name for path in Path("out").glob("*")}
    assert names == {".onnxwalk", "0.csv", "1.csv", "2.csv", "3.csv"}


def test_damage_stops_or_is_left_out(run):
    Path("parts/1.npy").write_bytes(b"haha")
    status, _, err = run("--format", "csv")
    assert status == 1 and err.count("\n") == 1 and "parts/1.npy: not an .npy file" in err
    status, out, err = run("--format", "csv", "--restart", "--on-error", "skip", "--json")
    report = json.loads(out)
    assert status == 1 and report["rows"] == 155 and [*report["damaged_parts"]] == ["parts/1.npy"]
    assert err.count("\n") == 1 and err.rstrip().endswith("left out")


def test_names_of_results(run):
    Path("parts/a/b").mkdir(parents=True)
    for place in ("parts/a/0.npy", "parts/a/b/0.npy"):
        np.save(place, np.zeros((2, 8, 8, 1), np.float32))
    assert run("--input", "parts/a/*.npy", "--input", "parts/a/b/*.npy")[0] == 0
    names = {str(p.relative_to("out")) for p in Path("out").rglob("*.npy")}
    assert names == {*(f"{n}.npy" for n in range(4)), "a/0.npy", "a/b/0.npy"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--random",), "--random can't be combined with a folder"),
        (("--resume", "--restart"), "pass one of them"),
        (("--input", "parts/0.txt"), "no such file"),
        (("--input", "parts/0.npz"), "would both have their results in out/0.npz"),
        (("--input", "parts/0.npz"), "several kinds; say what to write: --format"),
        (("--on-error", "skip"), "can't say which rows were left out"),
        (("--input", "x.png"), "a picture is a row, not a part"),
    ],
)
def test_refused(run, argv, message):
    np.savez("parts/0.npz", image=np.zeros((1, 8, 8, 1), np.float32))
    Path("x.png").touch()
    if "both" in message:
        argv = (*argv, "--format", "npz")
    status, out, err = run(*argv)
    assert (status, out, err.count("\n")) == (1, "", 1) and message in err


def test_options_of_parts_need_a_folder(run, capfd):
    assert main(["run", str(DEMO), "--input", "parts/0.npy", "--workers", "2"]) == 1
    assert "--workers is for parts: it requires a folder" in capfd.readouterr().err


def test_a_folder_has_one_run_at_a_time(run):
    from onnxwalk.interpreter.batches.folder import Folder

    code = "import sys, pathlib\nfrom onnxwalk.interpreter.batches.folder import Folder\n"
    code += "with Folder(pathlib.Path('out')).locked():\n print('locked', flush=True)\n input()"
    root = Path(onnxwalk.__file__).parents[1]
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert other.stdout is not None
    other.stdout.readline()
    status, _, err = run()
    other.communicate(b"\n")
    assert status == 1 and "another run writes there" in err
    with Folder(Path("out")).locked():
        pass


# --- what may happen to a worker


def _pid(part, tell):
    return Done(part, None, os.getpid())


def _dies_once(part, tell):
    if part == "b" and not Path("mark").exists():
        Path("mark").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Done(part, None)


def _dies(part, tell):
    if part == "b":
        os._exit(3)
    return Done(part, None)


def _hangs_once(part, tell):
    try:
        Path("mark").touch(exist_ok=False)  # two workers may be here at once
    except FileExistsError:
        return Done(part, None)
    time.sleep(60)


def _raises(part, tell):
    raise ZeroDivisionError("oh")


def events(work, parts="abc", **options):
    with workers.Pool(work, 2, **options) as pool:
        found = [event for event in pool.run([*parts]) if event is not None]
        assert len(pool.processes) <= 2
    assert not pool.processes
    return found


def test_a_worker_does_many_parts():
    found = events(_pid, "abcdefgh")
    assert sorted(done.part for done in found) == [*"abcdefgh"]
    assert len({done.rows for done in found}) == 2


def test_a_dead_worker_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = events(_dies_once)
    lost = [event for event in found if isinstance(event, workers.Lost)]
    assert [(e.part, e.again) for e in lost] == [("b", True)] and "SIGKILL" in lost[0].why
    assert sorted(event.part for event in found if isinstance(event, Done)) == [*"abc"]


class _Tells:
    """Workers of which one died when its part was done, and before it said so."""

    def __init__(self, parts):
        self.parts = parts

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, parts):
        for part in parts:
            self.parts.run(part, lambda done, total: None)
            yield self.parts.run(part, lambda done, total: None)


def test_a_part_that_a_dead_worker_had_done_is_of_this_run(run):
    parts = Parts.of(DEMO, [Path(f"parts/{n}.npy") for n in range(4)], Path("out"), {})
    assert not any(event.was_done for event in run_parts(parts, pool=_Tells))
    assert all(event.was_done for event in run_parts(parts, resume=True, pool=_Tells))


def test_a_part_that_ends_every_worker_is_given_up():
    found = events(_dies, retries=2)
    lost = [event for event in found if isinstance(event, workers.Lost)]
    assert [event.again for event in lost] == [True, True, False] and "status 3" in lost[0].why
    assert sorted(event.part for event in found if isinstance(event, Done)) == ["a", "c"]


def test_a_worker_that_hangs_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = events(_hangs_once, timeout=2.0)
    assert sum(isinstance(event, Done) for event in found) == 3
    assert [e.why for e in found if isinstance(e, workers.Lost)] == ["no batch was finished in 2 s"]


def test_an_unexpected_error_is_told():
    (failed, *_) = events(_raises, "a")
    assert isinstance(failed, workers.Failed) and "ZeroDivisionError: oh" in str(failed.error)


def test_workers_are_spawned_where_they_cant_be_forked(run, monkeypatch):
    monkeypatch.setattr(workers, "can_fork", lambda: False)
    monkeypatch.setenv("PYTHONPATH", str(Path(onnxwalk.__file__).parents[1]))
    status, out, _ = run("--workers", "1")
    assert status == 0 and "206 rows of 4 parts" in out
