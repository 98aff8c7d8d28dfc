"""Whether a run of many parts loses, repeats or spoils a row, whatever happens to it:

    python -m tests.programs.broken_batches [--times N] [--only worker hang …] [--seed N] [--json]

``onnxwalk run --workers 2`` works on a few parts, and at random moments something goes wrong: a
worker, the program or all of it is killed or interrupted, a worker hangs, the disk is full, a part
vanishes or changes. Then ``--resume`` has to finish it: every row exactly once, none wrong, and
nothing else in the folder.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import onnxwalk
from tests.support.supervised import Progress, kill, none_left, start

ROOT = Path(__file__).resolve().parents[2]
DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo"

PARTS, ROWS = 6, 1_500
FORMATS = ("npy", "npz", "csv", "jsonl")
SECONDS = 120.0  # that a run may take
_HANG = 1.0  # --part-timeout
_PRESSES = 0.01  # seconds between looks at what runs


@none_left()
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if a row was lost, repeated or wrong, or a run ended as it shouldn't."""
    args = _parser().parse_args(argv)
    rng, progress = random.Random(args.seed), Progress(sys.stderr)
    tally = {name: Tally(name) for name in args.only or FAULTS}
    try:
        with TemporaryDirectory(prefix="onnxwalk-batches-", dir=args.folder) as folder:
            data = Data(Path(folder))
            end = time.monotonic() + 60 * args.minutes
            for number in range(args.times):
                if time.monotonic() > end:
                    break
                name = list(tally)[number % len(tally)]
                Trial(data, rng, tally[name], FAULTS[name]).run()
                problems = sum(len(found.problems) for found in tally.values())
                progress.show(f"{number + 1} of {args.times}, {problems} problems")
    except KeyboardInterrupt:
        print("broken_batches: stopped", file=sys.stderr)
    if args.json:
        print(json.dumps([vars(found) for found in tally.values()], indent=1))
    else:
        print("\n".join(map(str, tally.values())))
    return int(any(found.problems for found in tally.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.broken_batches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=200, help="runs in all (default: 200)")
    parser.add_argument("--only", nargs="+", choices=FAULTS, help="these faults only")
    parser.add_argument("--seed", type=int, default=0)
    text = "begin no run after so many minutes"
    parser.add_argument("--minutes", type=float, default=float("inf"), help=text)
    parser.add_argument("--folder", type=Path, help="where the data lie meanwhile")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


@dataclass
class Tally:
    """What came of a kind of fault."""

    name: str
    runs: int = 0
    faults: int = 0  # that came in time
    rows: int = 0  # that were looked at in the end
    redone: int = 0  # parts that a run did after a fault
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        line = f"{self.name:10} {self.runs:4} runs, {self.faults:4} faults, {self.redone:5} parts "
        line += f"done after them, {self.rows:9,} rows, {len(self.problems)} problems"
        return "\n".join([line, *(f"    {problem}" for problem in self.problems[:20])])


class Data:
    """The parts, and what the model makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / "parts"
        self.parts.mkdir()
        rng = np.random.default_rng(0)
        session = onnxwalk.load(DEMO / "digits.onnx")
        self.expected: dict[str, np.ndarray] = {}
        for number in range(PARTS):
            rows = rng.random((ROWS + number, 8, 8, 1), np.float32) * 16
            np.save(self.parts / f"{number}.npy", rows)
            self.expected[f"{number}"] = session(rows)

    def rows(self, name: str) -> int:
        """How many a part has."""
        return len(self.expected[name])


class Trial:
    """One run, with what goes wrong, and its end."""

    def __init__(
        self, data: Data, rng: random.Random, tally: Tally, fault: Callable[[Trial], None]
    ) -> None:
        self.data, self.rng, self.tally, self.fault = data, rng, tally, fault
        self.format = rng.choice(FORMATS)
        self.out = data.folder / "out"
        self.options: list[str] = []

    def run(self) -> None:
        """Note in the tally what comes of it."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.tally.runs += 1
        self.fault(self)
        before = self.done()
        process = self.start("--resume")
        status, errors = self.wait(process)
        if status:
            self.problem(f"--resume ended with {status}: {errors}")
        self.tally.redone += PARTS - before
        self.check()

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """The command, running."""
        command = [sys.executable, "-m", "onnxwalk", "run", str(DEMO / "digits.onnx")]
        command += ["--input", f"{self.data.parts}/*.npy", "--output", f"{self.out}/"]
        command += ["--workers", "2", "--format", self.format, "--batch", "50"]
        return start(
            [*command, *self.options, *options],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def wait(self, process: subprocess.Popen[bytes]) -> tuple[int, str]:
        """The exit status, and the last line on stderr; a problem if it doesn't end."""
        try:
            _, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            kill(process)
            process.communicate()
            self.problem(f"it wasn't done after {SECONDS:g} s")
            return 0, ""
        return process.returncode, (errors.decode(errors="replace").splitlines() or [""])[-1]

    def until_it_works(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the first worker, and then for a random while."""
        while process.poll() is None and not children(process.pid):
            time.sleep(_PRESSES)
        try:
            process.wait(self.rng.expovariate(6.0))
        except subprocess.TimeoutExpired:
            self.tally.faults += 1

    def done(self) -> int:
        """How many parts are recorded as done."""
        return len(list((self.out / ".onnxwalk" / "parts").glob("*.json")))

    def problem(self, text: str) -> None:
        self.tally.problems.append(f"{self.format}: {text}")

    def check(self) -> None:
        """Every row once, none wrong, nothing else."""
        for name, expected in self.data.expected.items():
            path = self.out / f"{name}.{self.format}"
            try:
                np.testing.assert_allclose(READERS[self.format](path), expected, atol=1e-5)
                self.tally.rows += len(expected)
            except Exception as error:  # whatever reading raises, the file is damaged
                text = " ".join(str(error).split())[:200]
                self.problem(f"{path.name}: {type(error).__name__}: {text}")
        known = {".onnxwalk", *(f"{name}.{self.format}" for name in self.data.expected)}
        for path in self.out.glob("*"):
            if path.name not in known:
                self.problem(f"{path.name} doesn't belong there")
        for path in (self.out / ".onnxwalk" / "work").glob("*"):
            self.problem(f"{path.name} was left")


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


# ------------------------------------------------------------------------------------- the files


def _table(path: Path) -> np.ndarray:
    with path.open(newline="") as file:
        _, *rows = csv.reader(file)
    assert [int(row[0]) for row in rows] == [*range(len(rows))], "the rows aren't in their order"
    return np.array([row[1:] for row in rows], np.float32)


def _lines(path: Path) -> np.ndarray:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["row"] for row in rows] == [*range(len(rows))], "the rows aren't in their order"
    return np.array([row["dense_1"] for row in rows], np.float32)


READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "npy": np.load,
    "npz": lambda path: np.asarray(np.load(path)["dense_1"]),
    "csv": _table,
    "jsonl": _lines,
}


# ------------------------------------------------------------------------------------ the faults


def _kill_workers(trial: Trial) -> None:
    """Workers are killed; the program has to replace them and end well."""
    trial.options = ["--retries", "3"]  # all kills may hit the same part
    process = trial.start()
    for _ in range(trial.rng.randint(1, 3)):
        trial.until_it_works(process)
        for worker in trial.rng.sample(found, 1) if (found := children(process.pid)) else []:
            _send(worker, trial.rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM]))
    status, errors = trial.wait(process)
    if status:
        trial.problem(f"ended with {status} when a worker was killed: {errors}")


def _hang(trial: Trial) -> None:
    """A worker hangs; the program has to replace it and end well."""
    trial.options = ["--part-timeout", str(_HANG)]
    process = trial.start()
    trial.until_it_works(process)
    for worker in children(process.pid)[:1]:
        _send(worker, signal.SIGSTOP)
    status, errors = trial.wait(process)
    if status:
        trial.problem(f"ended with {status} when a worker hung: {errors}")


def _kill_all(trial: Trial) -> None:
    """All processes are killed at once, several times."""
    for number in range(trial.rng.randint(1, 3)):
        process = trial.start(*(["--resume"] if number else []))
        trial.until_it_works(process)
        kill(process)
        trial.wait(process)


def _kill_program(trial: Trial) -> None:
    """The program is killed, its workers aren't: they have to end by themselves."""
    process = trial.start()
    trial.until_it_works(process)
    workers = children(process.pid)
    _send(process.pid, signal.SIGKILL)
    if trial.rng.random() < 0.5:  # else the next run begins beside them
        end = time.monotonic() + 5.0
        while any(map(_is_alive, workers)) and time.monotonic() < end:
            time.sleep(_PRESSES)
        if any(map(_is_alive, workers)):
            trial.problem("workers went on without their program")
    process.wait()


def _interrupt(trial: Trial) -> None:
    """Ctrl-C, as from a terminal: the program ends with status 130, and whole parts only."""
    process = trial.start()
    trial.until_it_works(process)
    kill(process, signal.SIGINT)
    status, errors = trial.wait(process)
    if status not in (0, 130):
        trial.problem(f"ended with {status} at Ctrl-C: {errors}")
    for path in (trial.out / ".onnxwalk" / "work").glob("*"):
        trial.problem(f"{path.name} was left at Ctrl-C")


def _fill_disk(trial: Trial) -> None:
    """No file may be larger than some size: for a program that is a full disk."""
    process = trial.start()
    trial.until_it_works(process)
    size = trial.rng.randint(1, 40_000)
    for victim in (process.pid, *children(process.pid)):
        _limit_files(victim, size)
    status, errors = trial.wait(process)
    if status == 1 and "can't be written" not in errors:
        trial.problem(f"a full disk was called: {errors}")
    if status not in (0, 1):
        trial.problem(f"ended with {status} on a full disk: {errors}")


def _take_part(trial: Trial) -> None:
    """A part vanishes for a while."""
    trial.options = ["--on-error", trial.rng.choice(["stop", "skip"])]
    if trial.format == "npy":
        trial.format = "npz"
    name = trial.rng.choice([*trial.data.expected])
    part, away = trial.data.parts / f"{name}.npy", trial.data.folder / "away"
    process = trial.start()
    trial.until_it_works(process)
    part.rename(away)
    status, errors = trial.wait(process)
    away.rename(part)
    if status not in (0, 1) or (status and f"{name}.npy" not in errors):
        trial.problem(f"ended with {status} when {name}.npy vanished: {errors}")


def _change_part(trial: Trial) -> None:
    """A part has other rows while the program runs, and its own again afterwards."""
    name = trial.rng.choice([*trial.data.expected])
    part, other = trial.data.parts / f"{name}.npy", trial.data.folder / "other"
    shutil.copy2(part, other)
    process = trial.start()
    trial.until_it_works(process)
    rows = np.load(part)[: ROWS // 2] + 1
    np.save(trial.data.folder / "new.npy", rows)
    (trial.data.folder / "new.npy").replace(part)
    status, errors = trial.wait(process)
    other.replace(part)
    if status not in (0, 1) or (status and "changed while it was read" not in errors):
        trial.problem(f"ended with {status} when {name}.npy changed: {errors}")


def _send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _limit_files(process: int, size: int) -> None:
    import resource

    try:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    except (ProcessLookupError, PermissionError):
        return


FAULTS: dict[str, Callable[[Trial], None]] = {
    "worker": _kill_workers,
    "hang": _hang,
    "all": _kill_all,
    "program": _kill_program,
    "interrupt": _interrupt,
    "disk": _fill_disk,
    "vanish": _take_part,
    "change": _change_part,
}

if __name__ == "__main__":
    sys.exit(main())
