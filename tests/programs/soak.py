"""Whether one session per model holds out: many threads, other processes, mixed shapes, hours.

    python -m tests.programs.soak [--minutes 30] [--threads 8] [--processes 2] [--output DIR]

Several models (a CNN, an LSTM, a Loop, strings, sequences) are run by all threads at once, and by
processes that got the sessions pickled or by a fork; each answer is held against that of a session
that was alone. Meanwhile sessions are copied and pickled, and the process is forked while its
threads run. Resident memory must stay flat and no file may stay open. Ctrl-C ends it with what
there is.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import multiprocessing
import os
import pickle
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from tests.programs.fuzz.seeds import structured
from tests.support.supervised import Progress, open_files, resident

DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo"
#: seconds between two forks or pickles, and between two looks at memory
EVERY, LOOK = 5.0, 1.0
#: growth of memory that is none, KiB a minute: what is left of it halves as a run gets longer
FLAT = 512.0


class Item:
    """A model, a session that all share, and feeds with the answers of a session that was alone."""

    def __init__(self, name: str, model: Any, feeds: list[dict[str, Any]], threads: int) -> None:
        self.name, self.feeds = name, feeds
        self.session = onnxwalk.load(model, threads=threads)
        alone = onnxwalk.load(model)
        self.expected = [alone.run(None, feed) for feed in feeds]

    def wrong(self, session: onnxwalk.Session, number: int) -> str:
        """What is wrong with a session's answer to the feed of this number; "" if nothing is."""
        found = session.run(None, self.feeds[number])
        try:
            _assert_same(found, self.expected[number])
        except AssertionError as error:
            return f"{self.name}, feed {number}: {' '.join(str(error).split())[:200]}"
        return ""


def _assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _assert_same(one, other)
    elif expected.dtype.kind == "f":  # halves of a batch are rounded in another way
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)


def items() -> list[Item]:
    """The models, each with feeds of several shapes."""
    found = []
    for name, file, feed, samples, dtype in (
        ("CNN", "digits.onnx", "image", "digits_x", np.float32),
        ("LSTM", "lstm.onnx", "ids", "texts_x", np.int32),
    ):
        x = np.load(DEMO / "samples.npz")[samples].astype(dtype)
        feeds = [{feed: x[:size]} for size in (1, 2, 7, 32, 64)]
        found.append(Item(name, DEMO / file, feeds, 2))
    for case in structured():
        if case.origin in ("Loop", "strings", "sequences", "If"):
            others = [np.tile(case.feeds["x"], (n, 1)) for n in (1, 2, 9)]
            feeds = [{**case.feeds, "x": x} for x in others]
            found.append(Item(case.origin, case.model, feeds, 1))
    return found


class Soak:
    """What runs, and what was counted."""

    def __init__(self, threads: int, processes: int) -> None:
        self.items = items()
        self.over = threading.Event()
        self.runs: Counter[str] = Counter()
        self.problems: list[str] = []
        self.memory: list[tuple[float, float]] = []  # seconds, MiB
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(threads)]
        self.processes = processes

    def run(self, seconds: float, progress: Progress) -> None:
        """Soak for so long."""
        self._warm_up()
        resource_tracker.ensure_running()  # multiprocessing's own, which has a pipe
        gc.collect()
        files = open_files()
        workers = [self._process(number) for number in range(self.processes)]
        for thread in self.threads:
            thread.start()
        begun = told = time.monotonic()
        try:
            while (passed := time.monotonic() - begun) < seconds and not self.problems:
                time.sleep(min(LOOK, seconds / 10))
                self.memory.append((passed, resident(os.getpid())))
                if time.monotonic() - told > min(EVERY, seconds / 3):
                    told = time.monotonic()
                    self._copy()
                    self._fork()
                progress.show(f"{passed:.0f} s, {self._line()}")
        except KeyboardInterrupt:
            print("soak: stopped", file=sys.stderr)
        finally:
            self.over.set()
            for thread in self.threads:
                thread.join()
            for worker, connection in workers:
                self._end(worker, connection)
        gc.collect()
        left = open_files() - files
        if left > 0:
            self.problems.append(f"{left} files are left open")

    def _work(self, number: int) -> None:
        """A thread: any model with any feed, over and over."""
        rng = random.Random(number)
        try:
            while not self.over.is_set():
                item = rng.choice(self.items)
                self._note(item.wrong(item.session, rng.randrange(len(item.feeds))), item.name)
        except Exception as error:
            self.problems.append(f"in a thread: {type(error).__name__}: {error}")

    def _note(self, wrong: str, name: str) -> None:
        self.runs[name] += 1
        if wrong:
            self.problems.append(wrong)

    def _warm_up(self) -> None:
        """A session keeps a plan for as many runs of a shape as there ever were at once: as many
        are had now as there can be, or they would come to be in the hours that follow."""
        threads = len(self.threads)
        with ThreadPoolExecutor(threads) as pool:
            for item in self.items:
                for feeds in item.feeds:
                    for _ in range(20):
                        list(pool.map(item.session.run, [None] * threads, [feeds] * threads))

    def _run_all(self, runs: Counter[str], sessions: Sequence[Any] = ()) -> list[str]:
        """What is wrong with the answers of all sessions to all feeds."""
        wrong = []
        for i, item in enumerate(self.items):
            for number in range(len(item.feeds)):
                wrong.append(item.wrong(sessions[i] if sessions else item.session, number))
                runs[item.name] += 1
        return [problem for problem in wrong if problem]

    def _copy(self) -> None:
        for how in (copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))):
            sessions = [how(item.session) for item in self.items]
            self.problems += [f"copied, {w}" for w in self._run_all(self.runs, sessions)]
        self.runs["copies"] += 1

    def _fork(self) -> None:
        """A child of a process whose threads are running computes with what it finds."""
        ours, theirs = multiprocessing.Pipe()
        target: Callable[..., None] = lambda: theirs.send(self._run_all(Counter()))  # noqa: E731
        process = multiprocessing.get_context("fork").Process(target=target)
        process.start()
        if not ours.poll(60):
            self.problems.append("a forked process hangs")
            process.kill()
        else:
            self.problems += [f"forked, {wrong}" for wrong in ours.recv()]
        process.join()
        process.close()
        ours.close()
        theirs.close()
        self.runs["forks"] += 1

    def _process(self, number: int) -> tuple[Any, Any]:
        """A process of its own that gets the sessions pickled and runs until it is told to end."""
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        parts = pickle.dumps([(i.name, i.session, i.feeds, i.expected) for i in self.items])
        process = context.Process(target=_elsewhere, args=(number, parts, theirs))
        process.start()
        theirs.close()
        return process, ours

    def _end(self, process: Any, connection: Any) -> None:
        try:
            connection.send("end")
            runs, problems = connection.recv() if connection.poll(60) else (0, ["it hangs"])
        except (EOFError, OSError):
            runs, problems = 0, ["it died"]
        self.runs["other processes"] += runs
        self.problems += [f"in another process: {problem}" for problem in problems]
        process.kill()
        process.join()
        process.close()
        connection.close()

    @property
    def slope(self) -> float:
        """By how many KiB a minute memory grows in the second half: the median of its second half
        less that of its first, which a passing peak doesn't move. Until then it warms up: a session
        keeps the memory of as many runs as there were at once, by shapes."""
        rest = self.memory[len(self.memory) // 2 :]
        if len(rest) < 4:
            return 0.0
        half = len(rest) // 2
        early, late = np.median(rest[:half], axis=0), np.median(rest[half:], axis=0)
        return float((late[1] - early[1]) * 1024 / (late[0] - early[0]) * 60)

    def _line(self) -> str:
        total = sum(self.runs.values())
        memory = self.memory[-1][1] if self.memory else 0.0
        return f"{total:,} runs, {memory:.0f} MiB, {len(self.problems)} problems"

    def figures(self) -> dict[str, Any]:
        """What was counted."""
        return {
            "runs": dict(self.runs),
            "mebibytes": round(self.memory[-1][1], 1) if self.memory else None,
            "kibibytes_a_minute": round(self.slope, 1),
            "problems": self.problems[:50],
        }

    def __str__(self) -> str:
        rows = [f"{count:>12,}  {name}" for name, count in sorted(self.runs.items())]
        rows.append(f"{self.slope:>12,.0f}  KiB a minute: growth of resident memory")
        rows.append(f"{len(self.problems):>12}  problems")
        return "\n".join([*rows, *self.problems[:20]])


def _elsewhere(number: int, parts: bytes, connection: Any) -> None:
    """What another process does with the sessions that it is sent."""
    rng, runs, problems = random.Random(number), 0, []
    loaded = []
    for name, session, feeds, expected in pickle.loads(parts):
        item = Item.__new__(Item)
        item.name, item.session, item.feeds, item.expected = name, session, feeds, expected
        loaded.append(item)
    while not connection.poll():
        item = rng.choice(loaded)
        if wrong := item.wrong(item.session, rng.randrange(len(item.feeds))):
            problems.append(wrong)
        runs += 1
    connection.send((runs, problems[:20]))


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if a result was wrong, a file stayed open, or memory grew."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, metavar="DIR", help="write soak.json there")
    args = parser.parse_args(argv)
    soak = Soak(args.threads, args.processes)
    soak.run(args.minutes * 60, Progress(sys.stderr))
    if args.minutes >= 5 and soak.slope > FLAT:
        soak.problems.append(f"memory grows by {soak.slope:.0f} KiB a minute")
    print(soak)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        found = json.dumps({**soak.figures(), "memory": soak.memory}, indent=1)
        (args.output / "soak.json").write_text(found)
    return int(bool(soak.problems))


if __name__ == "__main__":
    sys.exit(main())
