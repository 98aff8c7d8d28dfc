"""A worker: executes mutants of the corpus, one after the other, until it is ended.

    python -m tests.programs.fuzz.worker FOLDER NUMBER SEED

It writes the case that it runs to FOLDER/current-NUMBER.json first, so that whoever supervises it
knows what ended it, and tells what it finds as lines of JSON on stdout.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha1
from pathlib import Path
from typing import Any

import onnx

from tests.programs.fuzz.case import Case
from tests.programs.fuzz.lines import ONE_IN, Lines
from tests.programs.fuzz.mutate import mutant
from tests.programs.fuzz.oracle import Finding, Outcome, judge
from tests.support.supervised import limit_address_space, resident

#: GiB of address space beyond what a worker starts with: for the two plans, several outputs, and
#: NumPy's and BLAS's own
SPACE = 3.0


def main(folder: Path, number: int, seed: int) -> None:
    """Work until it is ended."""
    limit_address_space(SPACE)
    rng = random.Random(seed)
    seeds = [Case.of_text(line) for line in (folder / "seeds.jsonl").open(encoding="utf-8")]
    corpus = _Corpus(folder / "corpus")
    current = os.open(folder / f"current-{number}.json", os.O_RDWR | os.O_CREAT)
    known: set[str] = set()
    lines = Lines()
    counts: Counter[str] = Counter()
    told = time.monotonic()
    executions = 0
    while True:
        kept = corpus.cases
        chosen = rng.choice(kept) if kept and rng.random() < 0.5 else rng.choice(seeds)
        case = mutant(chosen, seeds, rng)
        _write(current, case)
        watching = executions % ONE_IN == 0
        outcome = _watched(case, lines) if watching else judge(case)
        executions += 1
        counts[outcome.ended] += 1
        for finding in outcome.findings:
            if finding.key not in known:
                known.add(finding.key)
                smaller = case if finding.by_limits else smallest(case, finding)
                _tell(finding=_fields(finding), case=json.loads(smaller.text()))
        if not outcome.findings and outcome.seconds < 0.1:
            corpus.consider(case, outcome, watching and lines.new)
        if time.monotonic() - told > 0.5:
            told = time.monotonic()
            _tell(executions=executions, ended=counts, resident=resident(os.getpid()))
            executions, counts = 0, Counter()
            corpus.read()


def _watched(case: Case, lines: Lines) -> Outcome:
    with lines.watched():
        return judge(case)


def _write(file: int, case: Case) -> None:
    data = case.text().encode()
    os.pwrite(file, data, 0)
    os.ftruncate(file, len(data))


def _tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def _fields(finding: Finding) -> dict[str, str]:
    return {"key": finding.key, **vars(finding)}


class _Corpus:
    """The mutants that did something new: a folder that all workers write to and read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases: list[Case] = []
        self._novelties: set[str] = set()
        self._names: set[str] = set()
        self.read()

    def consider(self, case: Case, outcome: Outcome, new_lines: int) -> None:
        """Keep the case if it is new. Mutants of an invalid model are mostly invalid, too."""
        is_new = outcome.novelty not in self._novelties and outcome.ended != "InvalidModelError"
        if len(case.model) > 20_000 or not (is_new or new_lines):
            return
        self._novelties.add(outcome.novelty)
        text = case.text(novelty=outcome.novelty)
        name = f"{sha1(text.encode()).hexdigest()[:16]}.json"
        part = self.folder / f".{name}.{os.getpid()}"
        part.write_text(text, encoding="utf-8")
        part.replace(self.folder / name)
        self._names.add(name)
        self.cases.append(case)

    def read(self) -> None:
        """Take in what the others have kept."""
        for path in sorted(self.folder.glob("*.json")):
            if path.name not in self._names:
                self._names.add(path.name)
                text = path.read_text(encoding="utf-8")
                self._novelties.add(json.loads(text).get("novelty", ""))
                self.cases.append(Case.of_text(text))


# ------------------------------------------------------------------------------------ minimising


def smallest(case: Case, finding: Finding, *, seconds: float = 3.0) -> Case:
    """A smaller case with the same finding, as far as a few seconds of trying lead."""
    end = time.monotonic() + seconds
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(case):
            if time.monotonic() > end:
                return case
            found = judge(candidate).findings
            if any((f.kind, f.where) == (finding.kind, finding.where) for f in found):
                case, smaller = candidate, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """The case without one of its parts each."""
    for name in case.layouts:
        yield replace(case, layouts={n: how for n, how in case.layouts.items() if n != name})
    for name in case.feeds:
        yield replace(case, feeds={n: value for n, value in case.feeds.items() if n != name})
    model = onnx.ModelProto()
    try:
        model.ParseFromString(case.model)
    except Exception:  # only onnxwalk's reader can tell what it is
        step = max(1, len(case.model) // 16)
        for at in range(0, len(case.model), step):
            yield replace(case, model=case.model[:at] + case.model[at + step :])
        return
    graph = model.graph
    parts = [graph.node, graph.output, graph.initializer, graph.value_info, model.functions]
    parts += [part for node in graph.node for part in (node.attribute, node.output, node.input)]
    for part in (*parts, graph.input, model.opset_import):
        for at in range(len(part)):
            kept = part[at]
            del part[at]
            yield replace(case, model=model.SerializeToString())
            part.insert(at, kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
