"""Whether kills of Dask's workers, of its scheduler and of the command lose or double a row:

    python -m tests.programs.cluster_kill [--times N] [--minutes M] [--seed N] [--json]

``onnxwalk run --scheduler`` works on files with a scheduler and two workers of its own. At a random
moment of its usual duration a worker, the scheduler or the command is killed (SIGKILL). Afterwards
the command runs once more with ``--resume``, and then each part must have its results, each row
once and right, and the folder nothing else. Needs ``onnxwalk[dask]``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import onnxwalk
from tests.support.supervised import Progress, kill, none_left, start

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "interpreter" / "cli" / "_demo" / "digits.onnx"
_PARTS, _ROWS = 24, 1_000
_VICTIMS = ("worker", "worker", "scheduler", "command")
_PATIENCE = 120  # seconds for a run


@none_left()
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if a row was lost, doubled or wrong, or if a run ended otherwise than it
    should."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.cluster_kill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=20, help="kills (default: 20)")
    text = "begin no run after so many minutes"
    parser.add_argument("--minutes", type=float, default=float("inf"), help=text)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    figures: dict[str, Any] = {"seconds": 0.0, "kills": Counter[str](), "problems": []}
    try:
        with TemporaryDirectory(prefix="onnxwalk-cluster-") as name:
            _kill_over_and_over(args, Data(Path(name)), figures)
    except KeyboardInterrupt:
        print("cluster_kill: stopped", file=sys.stderr)
    print(json.dumps(figures, indent=1) if args.json else _as_text(figures))
    return int(bool(figures["problems"]))


def _kill_over_and_over(args: argparse.Namespace, data: Data, figures: dict[str, Any]) -> None:
    """Note in the figures what comes of it."""
    rng, progress = random.Random(args.seed), Progress(sys.stderr)
    end = time.monotonic() + 60 * args.minutes
    problems = figures["problems"]
    for number in range(args.times + 1):
        if time.monotonic() > end:
            break
        victim = "nobody" if number == 0 else rng.choice(_VICTIMS)
        moment = rng.uniform(0, 1.1 * figures["seconds"])
        seconds, found = once(data, victim, moment, figures["kills"])
        figures["seconds"] = figures["seconds"] or round(seconds, 1)
        problems += [f"kill {number}, {victim} after {moment:.2f} s: {what}" for what in found]
        progress.show(f"{number} of {args.times} kills, {len(problems)} problems")


def _as_text(figures: dict[str, Any]) -> str:
    kills = ", ".join(f"{count} of {name}" for name, count in sorted(figures["kills"].items()))
    line = f"a run takes {figures['seconds']} s; {kills}; {len(figures['problems'])} problems"
    return "\n".join([line, *(f"    {problem}" for problem in figures["problems"][:20])])


class Data:
    """Parts, and the results that they must have."""

    def __init__(self, folder: Path) -> None:
        self.parts, self.out = folder / "parts", folder / "out"
        self.parts.mkdir()
        x = np.random.default_rng(0).random((_PARTS * _ROWS, 8, 8, 1), np.float32)
        for number, piece in enumerate(np.array_split(x, _PARTS)):
            np.save(self.parts / f"{number:03}.npy", piece)
        session = onnxwalk.load(MODEL)
        self.expected = [session(piece) for piece in np.array_split(x, _PARTS)]

    def problems(self) -> list[str]:
        """What is wrong with the results."""
        if not self.out.is_dir():
            return ["there are no results"]
        names = {path.name for path in self.out.iterdir()} - {".onnxwalk"}
        expected = {f"{number:03}.npy" for number in range(_PARTS)}
        found = [f"{name} is missing" for name in sorted(expected - names)]
        found += [f"{name} doesn't belong there" for name in sorted(names - expected)]
        for name in sorted(names & expected):
            y, right = np.load(self.out / name), self.expected[int(name[:3])]
            if y.shape != right.shape or not np.allclose(y, right, atol=1e-5):
                found.append(f"{name} is wrong")
        if left := list((self.out / ".onnxwalk" / "work").glob("*")):
            found.append(f"{len(left)} folders of unfinished work were left")
        return found


class Cluster:
    """A scheduler and workers with their nannies, each a process group of its own."""

    def __init__(self, workers: int = 2) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        common = ["--no-dashboard"]
        self.scheduler = _dask("scheduler", "--host", "127.0.0.1", "--port", str(port), *common)
        each = ["--nthreads", "1", *common]
        self.workers = [_dask("worker", self.address, *each) for _ in range(workers)]

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            kill(process)
            process.wait()


def _dask(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return start(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def once(data: Data, victim: str, moment: float, counts: Counter[str]) -> tuple[float, list[str]]:
    """A run in which the victim is killed, and one that goes on; its seconds, and the problems."""
    shutil.rmtree(data.out, ignore_errors=True)
    cluster = Cluster()
    try:
        begun = time.monotonic()
        process = _command(data, cluster, "--restart")
        found = []
        try:
            if victim == "nobody":
                process.wait(_PATIENCE)
            else:
                process.wait(moment)
                counts["runs that were done before"] += 1
        except subprocess.TimeoutExpired:
            counts[victim] += 1
            killed = {"scheduler": cluster.scheduler, "command": process}
            kill(killed.get(victim, cluster.workers[0]))
        errors = _ended(process)
        seconds = time.monotonic() - begun
        if victim in ("worker", "nobody") and process.returncode:
            found.append(f"the run ended with {process.returncode}: {errors}")
        if victim == "scheduler" and process.returncode and len(errors.splitlines()) != 1:
            found.append(f"not one line was said, but {errors!r}")
        if victim == "scheduler":
            cluster.close()
            cluster = Cluster()
        again = _command(data, cluster, "--resume")
        errors = _ended(again)
        if again.returncode:
            found.append(f"the next run ended with {again.returncode}: {errors}")
        return seconds, found + data.problems()
    finally:
        cluster.close()


def _command(data: Data, cluster: Cluster, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "onnxwalk", "run", str(MODEL)]
    command += ["--input", f"{data.parts}/*.npy", "--output", f"{data.out}/", *options]
    command += ["--scheduler", cluster.address]
    _wait_for(cluster.address)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return start(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _wait_for(address: str) -> None:
    host, port = address.removeprefix("tcp://").split(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.1)


def _ended(process: subprocess.Popen[bytes]) -> str:
    """What a run said on stderr; killed if it doesn't end."""
    try:
        _, errors = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        kill(process)
        process.communicate()
        return f"it hung for {_PATIENCE} s"
    return errors.decode(errors="replace").strip()


if __name__ == "__main__":
    sys.exit(main())
