"""Whether a command that is killed leaves anything damaged:

    python -m tests.programs.kill [--times N] [--only run bench export study] [--seed N] [--json]

Each command is killed (mostly by SIGKILL, now and then by SIGINT or SIGTERM) at a random moment of
its usual duration, over and over in one folder. Afterwards each of its files must be whole, absent,
or what it was before; nothing else may lie there but temporary files, of which a killed process
may leave one, named after the file; and the command must work when it is run again. Ctrl-C ends it
with what there is.
"""

from __future__ import annotations

import argparse
import csv
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
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import onnxwalk
from tests.support.supervised import Progress, kill, none_left, start

#: of 200 kills, how many each command gets: TensorFlow takes ten seconds to start
SHARES = {"run": 120, "bench": 55, "export": 20, "study": 5}
SIGNALS = [signal.SIGKILL] * 6 + [signal.SIGINT, signal.SIGTERM]

#: what a killed process may leave: the name says whose it is
TEMPORARY = re.compile(r"\.(part-\d+-.+|.+\.(\d+\.(tmp|part)|\w+\.part))")

ROOT = Path(__file__).resolve().parents[2]
DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo"


@none_left()
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if something was damaged."""
    args = _parser().parse_args(argv)
    rng, progress = random.Random(args.seed), Progress(sys.stderr)
    victims = []
    try:
        for name in args.only or SHARES:
            share = sum(SHARES[n] for n in args.only or SHARES)
            with TemporaryDirectory(prefix="onnxwalk-kill-") as folder:
                victim = VICTIMS[name](Path(folder))
                victims.append(victim)
                kill_over_and_over(victim, round(args.times * SHARES[name] / share), rng, progress)
    except KeyboardInterrupt:
        print("kill: stopped", file=sys.stderr)
    if args.json:
        print(json.dumps([victim.figures for victim in victims], indent=1))
    else:
        print("\n".join(map(str, victims)))
    return int(any(victim.problems for victim in victims))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.kill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=200, help="kills in all (default: 200)")
    parser.add_argument("--only", nargs="+", choices=SHARES, help="these commands only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


@dataclass
class Victim:
    """A command that writes files, and what is known of being killed."""

    name: str
    folder: Path
    command: list[str]
    #: each file that it writes, and what raises an error for one that is damaged
    files: dict[str, Callable[[Path], Any]]
    given: set[str] = field(default_factory=set)  # what was there before it
    fresh: str = (
        ""  # a folder that is taken away once it is finished, or nothing would be left to do
    )
    seconds: float = 0.0  # that it usually takes
    kills: dict[str, int] = field(default_factory=dict)
    finished: int = 0  # ended before it was killed
    left: int = 0  # temporary files that were left
    problems: list[str] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, Any]:
        """What was counted."""
        keys = ("name", "seconds", "kills", "finished", "left", "problems")
        return {key: getattr(self, key) for key in keys}

    def __str__(self) -> str:
        signals = ", ".join(f"{n} {name}" for name, n in sorted(self.kills.items())) or "no kills"
        line = f"{self.name:7} takes {self.seconds:.1f} s: {signals}; {self.finished} were done "
        line += f"before; {self.left} temporary files; {len(self.problems)} problems"
        return "\n".join([line, *(f"    {problem}" for problem in self.problems[:20])])

    def start(self) -> subprocess.Popen[bytes]:
        """The command, running."""
        return start(
            self.command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def check(self) -> None:
        """Note what is damaged or doesn't belong, and take temporary files away."""
        stray = []
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            name = path.relative_to(self.folder).as_posix()
            parts = path.relative_to(self.folder).parts
            if any(TEMPORARY.fullmatch(part) for part in parts):
                stray.append(name)
                path.unlink()
            elif name not in self.given:
                self._check_file(path, name)
        self.left += len(stray)
        if len(stray) > 1:
            self.problems.append(f"{len(stray)} temporary files: {', '.join(stray)}")

    def _check_file(self, path: Path, name: str) -> None:
        for pattern, read in self.files.items():
            if re.fullmatch(pattern, name):
                try:
                    read(path)
                except Exception as error:  # whatever reading raises, the file is damaged
                    self.problems.append(f"{name} is damaged: {type(error).__name__}: {error}")
                return
        self.problems.append(f"{name} doesn't belong here")

    def run_to_the_end(self) -> None:
        """Run the command unharmed: it must work."""
        process = self.start()
        _, errors = process.communicate()
        if process.returncode:
            last = (errors.decode(errors="replace").splitlines() or ["?"])[-1]
            self.problems.append(f"the next run ended with {process.returncode}: {last}")
        self.check()
        if self.fresh:
            shutil.rmtree(self.folder / self.fresh)


def kill_over_and_over(
    victim: Victim, times: int, rng: random.Random, progress: Progress, *, every: int = 5
) -> None:
    """Kill the command so many times; every so often, and at the end, it may finish."""
    begun = time.monotonic()
    victim.run_to_the_end()
    victim.seconds = time.monotonic() - begun
    for number in range(1, times + 1):
        process = victim.start()
        try:
            process.wait(rng.uniform(0, 1.05 * victim.seconds))
            victim.finished += 1
        except subprocess.TimeoutExpired:
            chosen = rng.choice(SIGNALS)
            kill(process, chosen)
            victim.kills[chosen.name] = victim.kills.get(chosen.name, 0) + 1
        process.communicate()
        victim.check()
        if number % every == 0 or number == times:
            victim.run_to_the_end()
        progress.show(f"{victim.name}: {number} of {times}, {len(victim.problems)} problems")
    progress.show(str(victim).splitlines()[0], last=True)


# ---------------------------------------------------------------------------------- the commands


def _run(folder: Path) -> Victim:
    """Reads 4,000 pictures in pieces and writes an .npy file."""
    samples = np.load(DEMO / "samples.npz")["digits_x"]
    pictures = np.resize(samples, (4_000, 8, 8, 1)).astype(np.float32)
    np.save(folder / "x.npy", pictures)
    expected = onnxwalk.load(DEMO / "digits.onnx")(pictures)

    def whole(path: Path) -> None:
        np.testing.assert_allclose(np.load(path), expected, atol=1e-5)

    command = [sys.executable, "-m", "interpreter", "run", str(DEMO / "digits.onnx")]
    command += ["--input", "x.npy", "--batch", "100", "--output", "y.npy"]
    return Victim("run", folder, command, {r"y\.npy": whole}, {"x.npy"})


def _bench(folder: Path) -> Victim:
    """Measures a model and draws."""

    def whole(path: Path) -> None:
        text = path.read_text("utf-8")
        assert text.startswith("<?xml") and text.rstrip().endswith("</svg>"), "cut off"

    command = [sys.executable, "-m", "interpreter", "bench", str(DEMO / "digits.onnx")]
    command += ["--seconds", "0.1", "--times-only", "--plot", "out.svg"]
    return Victim("bench", folder, command, {r"out\.svg": whole})


_EXPORTED = """
import keras
layers = [keras.Input((8,)), keras.layers.Dense(256, activation="relu"), keras.layers.Dense(4)]
keras.Sequential(layers).save("model.keras")
"""


def _export(folder: Path) -> Victim:
    """Exports a Keras model."""
    subprocess.run(
        [sys.executable, "-c", _EXPORTED], cwd=folder, check=True, stderr=subprocess.DEVNULL
    )
    command = [sys.executable, "-m", "export", "model.keras", "-o", "model.onnx"]
    return Victim("export", folder, command, {r"model\.onnx": onnxwalk.load}, {"model.keras"})


def _study(folder: Path) -> Victim:
    """Trains, exports and evaluates one variant with the built-in data."""

    def rows(path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            head, *lines = csv.reader(file)
        assert all(len(line) == len(head) for line in lines), "a line is cut off"

    def html(path: Path) -> None:
        assert path.read_text("utf-8").rstrip().endswith("</html>"), "cut off"

    def archive(path: Path) -> None:
        with np.load(path) as found:
            assert all(found[name] is not None for name in found.files)

    def keras_file(path: Path) -> None:
        import zipfile

        with zipfile.ZipFile(path) as found:
            assert found.testzip() is None, "damaged"

    files: dict[str, Callable[[Path], Any]] = {
        r".*\.csv": rows,
        r".*\.html": html,
        r".*\.json": lambda path: json.loads(path.read_text("utf-8")),
        r".*\.onnx": onnxwalk.load,
        r".*\.npz": archive,
        r".*\.keras": keras_file,
        r".*\.h5": lambda path: _hdf5(path),
        r".*\.lock": lambda path: None,
    }
    command = [sys.executable, "-m", "export", "study", "--preset", "smoke"]
    command += ["--family", "CNN", "--variant", "final", "--output", "study"]
    return Victim("study", folder, command, files, fresh="study")


def _hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path) as file:
        file.visititems(lambda name, item: None)


VICTIMS: dict[str, Callable[[Path], Victim]] = {
    "run": _run,
    "bench": _bench,
    "export": _export,
    "study": _study,
}

if __name__ == "__main__":
    sys.exit(main())
