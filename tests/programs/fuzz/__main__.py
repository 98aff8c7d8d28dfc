"""Whether a model file, whatever is in it, gets an answer or an error of onnxwalk's own:

    python -m tests.programs.fuzz [--executions N | --seconds S] [--jobs N] [--seed N] [--output
    DIR] python -m tests.programs.fuzz --replay FILE

Small models over all operators, their mutants, and the mutants' mutants that did something new are
run, optimized and as written; what must hold is in tests/programs/fuzz/oracle.py. --output keeps
the corpus and what was found; the same command goes on with it. Ctrl-C ends it with what there is.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from tests.programs.fuzz.case import Case
from tests.programs.fuzz.oracle import PROPERTIES, SLOW, Finding, judge
from tests.programs.fuzz.seeds import seeds
from tests.support.supervised import Progress, kill, limit_address_space, none_left, resident, start

#: MiB that a worker may have; seconds after which it is taken to hang
MOST_MEMORY, HANGS = 4096, 7 * SLOW
#: seconds after which the results so far are written once more
_WRITTEN_EVERY = 30.0


@none_left()
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if a property didn't hold."""
    args = _parser().parse_args(argv)
    if args.replay:
        return _replay(args.replay)
    if args.output:
        return _fuzz(args, args.output)
    with TemporaryDirectory(prefix="onnxwalk-fuzz-") as folder:
        return _fuzz(args, Path(folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--executions", type=int, help="how many mutants to run")
    parser.add_argument("--seconds", type=float, help="how long (default: 60, or as --executions)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, metavar="DIR", help="keep the corpus and findings")
    parser.add_argument("--small", action="store_true", help="without the cases of ONNX's suite")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one finding again")
    return parser


def _replay(path: Path) -> int:
    limit_address_space(3.0)
    outcome = judge(Case.of_file(path))
    print(f"{outcome.ended}: {outcome.message}" if outcome.message else outcome.ended)
    for finding in outcome.findings:
        print(f"{finding.kind} ({PROPERTIES[finding.kind]}): {finding.message}\n{finding.trace}")
    return int(bool(outcome.findings))


class _Worker:
    """A worker process, the file of its current case, and the lines that it tells."""

    def __init__(self, folder: Path, number: int, seed: int, lines: SimpleQueue[Any]) -> None:
        self.number = number
        self.current = folder / f"current-{number}.json"
        self.current.unlink(missing_ok=True)
        self._errors = (folder / f"stderr-{number}.txt").open("w+", encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "tests.programs.fuzz.worker",
            str(folder),
            str(number),
            str(seed),
        ]
        self.process = start(command, stdout=-1, stderr=self._errors, text=True)
        self.begun = time.time()
        Thread(target=self._read, args=(lines,), daemon=True).start()

    def _read(self, lines: SimpleQueue[Any]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            lines.put(line)

    def problem(self) -> Finding | None:
        """What is wrong with it, if anything is; it is then ended."""
        status = self.process.poll()
        if status is not None:
            self._errors.seek(0)
            trace = self._errors.read()[-3000:]
            return Finding("crashed", f"ended with {status}", trace=trace)
        try:
            still = time.time() - max(self.begun, self.current.stat().st_mtime)
        except FileNotFoundError:  # it is still starting
            still = 0.0
        if still > HANGS:
            self.end()
            return Finding("slow", f"over {HANGS:g} s, in one call of NumPy")
        if resident(self.process.pid) > MOST_MEMORY:
            self.end()
            return Finding("memory", f"over {MOST_MEMORY} MiB")
        return None

    def end(self) -> None:
        """End the process."""
        kill(self.process)
        self.process.wait()
        self._errors.close()


class _Results:
    """What was found so far, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "results.json"
        before = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.runs: int = before.get("runs", 0) + 1
        self.executions: int = before.get("executions", 0)
        self.seconds: float = before.get("seconds", 0.0)
        self.ended: Counter[str] = Counter(before.get("ended", {}))
        self.findings: dict[str, dict[str, Any]] = before.get("findings", {})
        self.most_memory = 0.0

    def add(self, finding: dict[str, str], case: str) -> None:
        """Save a finding of a new kind."""
        key = finding["key"]
        if key in self.findings:
            return
        words = re.sub(r"[^A-Za-z]+", "-", f"{finding['kind']} {finding['where']}").strip("-")
        name = f"{words[:60]}-{sha1(key.encode()).hexdigest()[:8]}.json"
        found = {k: finding[k] for k in ("kind", "message", "where")}
        self.findings[key] = {**found, "file": name}
        text = json.dumps({**finding, **json.loads(case)}, indent=1)
        (self.folder / "findings" / name).write_text(text, encoding="utf-8")

    def write(self) -> None:
        """The results as JSON."""
        part = self.file.with_suffix(".part")
        kept = ("runs", "executions", "seconds", "ended", "findings")
        part.write_text(json.dumps({k: getattr(self, k) for k in kept}, indent=1))
        part.replace(self.file)

    def table(self) -> str:
        """The results in a few lines."""
        rows = [f"{self.executions:,} executions in {self.seconds:.0f} s"]
        rows += [f"  {count:>9,}  {name}" for name, count in self.ended.most_common()]
        kinds = Counter(f["kind"] for f in self.findings.values())
        rows += [f"{len(self.findings)} findings" + (":" if kinds else "")]
        rows += [f"  {n:>9}  {kind}: not so that {PROPERTIES[kind]}" for kind, n in kinds.items()]
        rows += [f"  {f['file']}  {f['message'][:150]}" for f in self.findings.values()]
        return "\n".join(rows)

    @property
    def bad(self) -> bool:
        """Whether anything was found."""
        return bool(self.findings)


def _fuzz(args: argparse.Namespace, folder: Path) -> int:
    progress = Progress(sys.stderr)
    for name in ("corpus", "findings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    results = _Results(folder)
    _write_seeds(folder, small=args.small, progress=progress)
    begun, before, first = time.monotonic(), results.seconds, results.executions
    seconds = args.seconds or (float("inf") if args.executions else 60.0)
    lines: SimpleQueue[Any] = SimpleQueue()
    restarts, written = 0, begun
    corpus = sum(1 for _ in (folder / "corpus").iterdir())

    def worker(number: int) -> _Worker:
        seed = (args.seed << 40) + (results.runs << 24) + (restarts << 8) + number
        return _Worker(folder, number, seed, lines)

    workers = [worker(number) for number in range(args.jobs)]
    try:
        while True:
            results.seconds = before + time.monotonic() - begun
            _take(lines, results)
            done = results.executions - first
            memory = max(resident(w.process.pid) for w in workers)
            results.most_memory = max(results.most_memory, memory)
            found = f"{done:,} executions, {done / (time.monotonic() - begun):.0f}/s"
            found += f", {corpus} in the corpus, {len(results.findings)} findings, {memory:.0f} MiB"
            progress.show(found)
            if time.monotonic() - written > _WRITTEN_EVERY:
                results.write()
                corpus = sum(1 for _ in (folder / "corpus").iterdir())
                written = time.monotonic()
            if done >= (args.executions or float("inf")) or time.monotonic() - begun > seconds:
                break
            for i, one in enumerate(workers):
                if problem := one.problem():
                    _add_current(results, one, problem)
                    restarts += 1
                    workers[i] = worker(one.number)
    except KeyboardInterrupt:
        print("fuzz: stopped; what was found is kept", file=sys.stderr)
    finally:
        for one in workers:
            one.end()
        results.write()
    print(results.table())
    return int(results.bad)


def _write_seeds(folder: Path, *, small: bool, progress: Progress) -> None:
    if (folder / "seeds.jsonl").exists():
        return
    progress.show("making the seeds", last=True)
    part = folder / "seeds.part"
    with part.open("w", encoding="utf-8") as file:
        for case in seeds(backend=not small):
            file.write(case.text() + "\n")
    part.replace(folder / "seeds.jsonl")


def _take(lines: SimpleQueue[Any], results: _Results) -> None:
    """What the workers have told; waits a moment for the first of it."""
    wait = 0.2
    while True:
        try:
            told = json.loads(lines.get(timeout=wait))
        except Empty:
            return
        wait = 0.001
        results.executions += told.get("executions", 0)
        results.ended.update(told.get("ended", {}))
        if "finding" in told:
            results.add(told["finding"], json.dumps(told["case"]))


def _add_current(results: _Results, worker: _Worker, problem: Finding) -> None:
    """What ended a worker, with the case that it was at."""
    try:
        case = Case.of_file(worker.current).text()
    except (OSError, ValueError):  # it never came to one, or was ended while writing it
        raise RuntimeError(f"a worker can't start: {problem.message}\n{problem.trace}") from None
    results.add(
        {"key": f"{problem.key} {sha1(case.encode()).hexdigest()[:6]}", **vars(problem)}, case
    )


if __name__ == "__main__":
    sys.exit(main())
