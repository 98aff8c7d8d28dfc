"""Whether the first Ctrl-C ends each command that takes long, whatever it is doing:

    python -m tests.programs.interrupts [--times N] [--only run train study …] [--seed N] [--json]

Each command gets SIGINT at a random moment of its usual duration, from its first millisecond on, as
from a terminal (its processes too) or alone. It must end within ``SECONDS`` with status 130, no
traceback, and one line on stderr at most; its files must be whole, and no other left. Every so
often it may finish: then its files must be what they would have been without interrupts. A signal
that comes before the first line of the project, while Python starts, ends the process as Python
has it, and is counted on its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import numpy as np

import onnxwalk
from tests.programs.kill import DEMO, ROOT, VICTIMS, Victim
from tests.support.supervised import Progress, kill, none_left, start

#: of 200 interrupts, how many each command gets
SHARES = {
    "run": 40, "compare": 20, "explore": 20, "demo": 20, "bench": 25, "train": 25, "export": 15,
    "study": 20, "scratch": 15,
}  # fmt: skip

#: that a process may take to end: the ten of ``interrupts.SECONDS``, and a call into C before
SECONDS = 30.0

#: what is imported before the handler is there
_FIRST = ("onnxwalk/__init__.py", "interpreter/__init__.py", "interpreter/interrupts.py")


@dataclass
class Command(Victim):
    """A command that is interrupted; ``figures`` has what was seen."""

    #: what must be the same whenever it has finished
    result: Callable[[Path], Any] = lambda folder: None
    #: files that it leaves when it is interrupted, and which the next run takes away
    state: str = ""
    #: further arguments, by what is there
    more: Callable[[Path], Sequence[str]] = lambda folder: ()
    #: what may be said when it is interrupted
    says: str = ""
    interrupted: int = 0
    in_python: int = 0  # before the first line of the project
    slowest: float = 0.0  # seconds until it had ended
    expected: Any = field(default=None, repr=False)

    @property
    def figures(self) -> dict[str, Any]:
        keys = ("name", "seconds", "interrupted", "in_python", "finished", "slowest", "problems")
        return {key: getattr(self, key) for key in keys}

    def __str__(self) -> str:
        line = f"{self.name:8} takes {self.seconds:.1f} s: {self.interrupted} interrupted, "
        line += f"{self.in_python} while Python began, {self.finished} were done before; "
        line += f"the slowest ended after {self.slowest:.1f} s; {len(self.problems)} problems"
        return "\n".join([line, *(f"    {problem}" for problem in self.problems[:20])])

    def start(self, out: int | IO[bytes] = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        # what a shell has put in the background ignores Ctrl-C, and so would this
        ready = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return start(
            [*self.command, *self.more(self.folder)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            preexec_fn=ready,
        )

    def interrupt(self, moment: float, *, alone: bool) -> None:
        """Run it, and interrupt it after so many seconds."""
        with TemporaryFile() as out:  # not a pipe: how much was said is known at every moment
            process = self.start(out)
            try:
                process.communicate(timeout=moment)
                self.finished += 1
            except subprocess.TimeoutExpired:
                # it stands still meanwhile, or it might end between the look and the signal
                kill(process, signal.SIGSTOP)
                if process.poll() is None:
                    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                said = os.fstat(out.fileno()).st_size
                process.send_signal(signal.SIGINT) if alone else kill(process, signal.SIGINT)
                kill(process, signal.SIGCONT)
                errors = self._wait(process)
                # what has said and written all is done: Python's own end may take seconds
                done = process.returncode == 0 and os.fstat(out.fileno()).st_size == said
                self._judge(process.returncode, errors, moment, done)
            finally:
                kill(process)
        self.check()
        if process.returncode == 0:
            self._finish()

    def _wait(self, process: subprocess.Popen[bytes]) -> str:
        """What it says on stderr until it has ended, or is ended after ``SECONDS``."""
        begun = time.monotonic()
        try:
            _, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            kill(process)
            _, errors = process.communicate()
        self.slowest = max(self.slowest, time.monotonic() - begun)
        return errors.decode(errors="replace")

    def _judge(self, status: int, said: str, moment: float, done: bool) -> None:
        files = [Path(name).as_posix() for name in re.findall(r'File "([^"]+)"', said)]
        ours = [file for file in files if _is_ours(file)]
        if status in (-signal.SIGINT, 1) and not ours and (said.count("Interrupt") or not said):
            self.in_python += 1
            return
        self.finished += done
        self.interrupted += not done
        lines = [line for line in said.splitlines() if not re.match(r"epoch \d+/", line)]
        if status != 130 and not done:
            self.problems.append(f"at {moment:.3f} s it ended with {status}: {lines[-1:]}")
        if len(lines) > 1 or (lines and not re.fullmatch(self.says, lines[0])):
            self.problems.append(f"at {moment:.3f} s it said {said[-600:]!r}")

    def _finish(self) -> None:
        """It is done: what is there must be what it always is."""
        found = self.result(self.folder)
        self.expected = found if self.expected is None else self.expected
        if found != self.expected:
            self.problems.append("interrupted and resumed, it gave another result")
        for path in self.folder.glob(self.state) if self.state else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def run_to_the_end(self) -> None:
        """Run it without an interrupt: it must work."""
        process = self.start()
        try:
            _, errors = process.communicate()
        finally:
            kill(process)
        if process.returncode:
            last = (errors.decode(errors="replace").splitlines() or ["?"])[-1]
            self.problems.append(f"the next run ended with {process.returncode}: {last}")
        self.check()
        self._finish()

    def check(self) -> None:
        super().check()
        if self.left:
            self.problems.append(f"{self.left} temporary files were left")
            self.left = 0


def _is_ours(file: str) -> bool:
    """Whether a file of a traceback is the project's, past what is imported before the handler: an
    environment inside of its folder, whose packages start before, isn't."""
    in_project = file.startswith(ROOT.as_posix()) and not file.startswith(sys.prefix)
    return in_project and not file.endswith(_FIRST)


def interrupt_over_and_over(
    command: Command, times: int, rng: random.Random, progress: Progress, *, every: int = 5
) -> None:
    """Interrupt the command so many times; every so often, and at the end, it may finish."""
    begun = time.monotonic()
    command.run_to_the_end()
    command.seconds = time.monotonic() - begun
    for number in range(1, times + 1):
        latest = 0.3 if rng.random() < 0.15 else 1.02 * command.seconds  # some while it begins
        command.interrupt(rng.uniform(0, latest), alone=rng.random() < 0.5)
        if number % every == 0 or number == times:
            command.run_to_the_end()
        progress.show(f"{command.name}: {number} of {times}, {len(command.problems)} problems")
    progress.show(str(command).splitlines()[0], last=True)


# ---------------------------------------------------------------------------------- the commands

_CLI = [sys.executable, "-m", "onnxwalk"]
_EXPORT = [sys.executable, "-m", "onnxwalk.export"]
_STUDY_SAYS = "interrupted(; the same command continues)?"


def _from_kill(name: str, says: str = "", **options: Any) -> Callable[[Path], Command]:
    """A command of ``tests.programs.kill``, by the name of the package."""

    def make(folder: Path) -> Command:
        victim = VICTIMS[name](folder)
        module = {"interpreter": "onnxwalk", "export": "onnxwalk.export"}[victim.command[2]]
        command = [sys.executable, "-m", module, *victim.command[3:]]
        state = victim.fresh
        return Command(
            name, folder, command, victim.files, victim.given, says=says, state=state, **options
        )

    return make


def _compare(folder: Path) -> Command:
    command = [*_CLI, "compare", str(DEMO / "lstm.onnx"), "plain", "--samples", "20"]
    return Command("compare", folder, command, {})


def _demo(folder: Path) -> Command:
    return Command("demo", folder, [*_CLI, "demo"], {})


def _explore(folder: Path) -> Command:
    def whole(path: Path) -> None:
        assert path.read_text("utf-8").rstrip().endswith("</html>"), "cut off"

    command = [*_CLI, "explore", str(DEMO / "digits.onnx"), "-o", "page.html"]
    return Command("explore", folder, command, {r"page\.html": whole})


def _train(folder: Path) -> Command:
    """Trains the digits, and goes on from the checkpoint that it left."""
    samples = np.load(DEMO / "samples.npz")
    np.save(folder / "x.npy", samples["digits_x"].astype(np.float32))
    np.save(folder / "y.npy", samples["digits_y"].astype(np.int64))

    def weights(folder: Path) -> dict[str, bytes]:
        graph = onnxwalk.load(folder / "out.onnx").model.graph
        return {name: tensor.array.tobytes() for name, tensor in graph.initializers.items()}

    def resume(folder: Path) -> list[str]:
        return ["--resume", "state.npz"] if (folder / "state.npz").exists() else []

    command = [*_CLI, "train", str(DEMO / "digits.onnx"), "--data", "x.npy", "--labels", "y.npy"]
    command += ["--epochs", "20", "--batch", "16", "--seed", "0", "--validation", "0.2"]
    command += ["--checkpoint", "state.npz", "--output", "out.onnx"]
    files = {r"out\.onnx": onnxwalk.load, r"state\.npz": lambda path: dict(np.load(path))}
    said = r"onnxwalk: stopped .* --resume state\.npz goes on"
    return Command(
        "train", folder, command, files, {"x.npy", "y.npy"},
        result=weights, more=resume, says=said, state="state.npz",
    )  # fmt: skip


def _scores(folder: Path) -> Any:
    """What a study found, but for what took how long."""
    found = {}
    for path in sorted((folder / "study").rglob("evaluation.json")):
        record = json.loads(path.read_text("utf-8"))
        found[path.parent.name] = record["f1"], record["labels_differ"], record["max_abs_diff"]
    for path in sorted((folder / "study").rglob("scratch.json")):
        runs = json.loads(path.read_text("utf-8"))["runs"]
        found[path.parent.parent.name, "scratch"] = {
            name: (run["f1"], run["history"]["loss"]) for name, run in runs.items()
        }
    return found


def _study(folder: Path) -> Command:
    made = _from_kill("study", _STUDY_SAYS, result=_scores)(folder)
    made.command += ["--epochs", "3"]
    return made


def _scratch(folder: Path) -> Command:
    made = _study(folder)
    made.name = "scratch"
    made.files = {r".*\.npy": np.load, **made.files}
    made.command.append("--from-scratch")
    return made


COMMANDS: dict[str, Callable[[Path], Command]] = {
    "run": _from_kill("run", result=lambda folder: (folder / "y.npy").read_bytes()),
    "compare": _compare,
    "explore": _explore,
    "demo": _demo,
    "bench": _from_kill("bench"),
    "train": _train,
    "export": _from_kill(
        "export", "interrupted", result=lambda folder: (folder / "model.onnx").read_bytes()
    ),
    "study": _study,
    "scratch": _scratch,
}


@none_left()
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if a command didn't end as it should."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.interrupts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=200, help="interrupts in all (default: 200)")
    parser.add_argument("--only", nargs="+", choices=SHARES, help="these commands only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(argv)
    rng, progress = random.Random(args.seed), Progress(sys.stderr)
    names = args.only or list(SHARES)
    commands = []
    try:
        for name in names:
            times = round(args.times * SHARES[name] / sum(SHARES[n] for n in names))
            with TemporaryDirectory(prefix="onnxwalk-interrupts-") as folder:
                commands.append(COMMANDS[name](Path(folder)))
                interrupt_over_and_over(commands[-1], times, rng, progress)
    except KeyboardInterrupt:
        print("interrupts: stopped", file=sys.stderr)
    if args.json:
        print(json.dumps([command.figures for command in commands], indent=1))
    else:
        print("\n".join(map(str, commands)))
    return int(any(command.problems for command in commands))


if __name__ == "__main__":
    sys.exit(main())
