"""How engines take faulty and hostile model files:

    python -m tests.programs.faults [--mutants N] [--saved DIR] [--engines …] [--output DIR]

Each file is run by each engine in a process of its own, of which time and memory are watched. The
figures of a run of everything are written to docs/FAULTS.md. --output keeps what came of each; the
same command goes on with what is missing. Ctrl-C ends it with what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from hashlib import sha1
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.programs.faults.corpus import faults
from tests.programs.faults.engine import ENGINES
from tests.programs.fuzz.case import Case
from tests.support.supervised import Progress, none_left, start, watch

ROOT = Path(__file__).resolve().parents[3]
#: when a process is ended: seconds, MiB
MOST_SECONDS, MOST_MEMORY = 15.0, 6144
#: what counts as much: seconds, MiB
LONG, LARGE = 5.0, 1024

NAMES = {"onnxwalk": "onnxwalk", "onnxruntime": "ONNX Runtime", "reference": "ReferenceEvaluator"}


@none_left()
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if onnxwalk didn't contain a file."""
    args = _parser().parse_args(argv)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        return _run(args, args.output)
    with TemporaryDirectory(prefix="onnxwalk-faults-") as folder:
        return _run(args, Path(folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--mutants", type=int, default=300, help="beside those made by hand")
    parser.add_argument(
        "--saved", type=Path, metavar="DIR", help="findings of tests.programs.fuzz, too"
    )
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", metavar="TEXT", help="files whose names hold this text")
    parser.add_argument("--output", type=Path, metavar="DIR")
    parser.add_argument("--document", type=Path, metavar="FILE", help="where figures are written")
    return parser


def _run(args: argparse.Namespace, folder: Path) -> int:
    progress = Progress(sys.stderr)
    progress.show("making the files", last=True)
    cases = faults(args.mutants)
    if args.saved:
        cases += [Case.of_file(path) for path in sorted(args.saved.glob("*.json"))]
    cases = [case for case in cases if not args.only or args.only in case.origin]
    done = folder / "results.jsonl"
    lines = done.read_text(encoding="utf-8").splitlines() if done.exists() else []
    rows = {row["key"]: row for row in map(json.loads, lines)}
    wanted = [(case, engine) for case in cases for engine in args.engines]
    keys = []
    try:
        with done.open("a", encoding="utf-8") as file:
            for number, (case, engine) in enumerate(wanted, 1):
                text = case.text()
                key = f"{engine} {sha1(text.encode()).hexdigest()[:16]}"
                keys.append(key)
                if key not in rows:
                    rows[key] = {"key": key, "name": case.origin, **tried(engine, text, folder)}
                    file.write(json.dumps(rows[key]) + "\n")
                    file.flush()
                progress.show(f"{number} of {len(wanted)}: {engine}, {case.origin[:60]}")
    except KeyboardInterrupt:
        print("faults: stopped; what was tried is kept", file=sys.stderr)
    found = [rows[key] for key in keys if key in rows]
    print(table(found))
    if args.document:
        args.document.write_text(document(found), encoding="utf-8")
    ours = [row for row in found if row["engine"] == "onnxwalk"]
    bad = [row for row in ours if not contained(row)]
    for row in bad:
        print(f"not contained: {row['name']}: {row['ended']} {row['error']}")
    return int(bool(bad))


def tried(engine: str, text: str, folder: Path) -> dict[str, Any]:
    """What came of a case in an engine, in a new process."""
    case = folder / f"case-{os.getpid()}.json"
    case.write_text(text, encoding="utf-8")
    process = start(
        [sys.executable, "-W", "ignore", "-m", "tests.programs.faults.engine", engine, str(case)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    ended = watch(process, seconds=MOST_SECONDS, mebibytes=MOST_MEMORY)
    assert process.stdout is not None
    told = [json.loads(line) for line in process.stdout if line.startswith("{")]
    process.stdout.close()
    case.unlink()
    row = {"engine": engine, "seconds": ended.seconds, "mebibytes": ended.mebibytes, "error": ""}
    if not told:
        raise RuntimeError(f"{engine} can't start")
    if len(told) == 2:
        row |= told[1]
        row["mebibytes"] = max(row["mebibytes"], ended.mebibytes)
    elif ended.why:
        row |= {"ended": "killed", "error": f"over {MOST_SECONDS:g} s"}
        if ended.why == "memory":
            row["error"] = f"over {MOST_MEMORY} MiB"
    else:
        row |= {"ended": "crashed", "error": f"status {ended.status}"}
    return row


def contained(row: dict[str, Any]) -> bool:
    """Whether a file was answered or refused within time and memory."""
    told = row["ended"] in ("answered", "refused")
    return told and row["seconds"] <= LONG and row["mebibytes"] <= LARGE + 256


def _figures(rows: list[dict[str, Any]], engine: str) -> dict[str, Any]:
    rows = [row for row in rows if row["engine"] == engine]
    ended = Counter(row["ended"] for row in rows)
    slowest = max(rows, key=lambda row: row["seconds"])
    largest = max(rows, key=lambda row: row["mebibytes"])
    return {
        "tried": len(rows),
        "answered": ended["answered"],
        "refused with an error of its own": ended["refused"],
        "another exception": ended["foreign"],
        "crashed": ended["crashed"],
        f"ended by us after {MOST_SECONDS:g} s or at {MOST_MEMORY >> 10} GiB": ended["killed"],
        "over 1 GiB": sum(row["mebibytes"] > LARGE for row in rows),
        f"over {LONG:g} s": sum(row["seconds"] > LONG for row in rows),
        "longest": f"{slowest['seconds']:.1f} s",
        "most memory": f"{largest['mebibytes']:,.0f} MiB",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The figures of each engine beside those of the others, in Markdown."""
    engines = [engine for engine in ENGINES if any(row["engine"] == engine for row in rows)]
    figures = [_figures(rows, engine) for engine in engines]
    if not figures:
        return "nothing was tried"
    lines = ["| | " + " | ".join(NAMES[engine] for engine in engines) + " |"]
    lines.append("|---|" + "---:|" * len(engines))
    lines += [
        f"| {name} | " + " | ".join(str(found[name]) for found in figures) + " |"
        for name in figures[0]
    ]
    return "\n".join(lines)


def document(rows: list[dict[str, Any]]) -> str:
    """docs/FAULTS.md."""
    groups = Counter(
        row["name"].partition("/")[0] for row in rows if row["engine"] == rows[0]["engine"]
    )
    versions = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "onnx", "numpy"))
    worst = [
        f"- {row['name']} ({NAMES[row['engine']]}): {row['ended']}, {row['seconds']:.1f} s, "
        f"{row['mebibytes']:,.0f} MiB"
        for row in sorted(rows, key=lambda row: row["name"])
        if row["ended"] in ("crashed", "killed") or row["mebibytes"] > LARGE
    ]
    listed = ", ".join(f"{count} {name}" for name, count in groups.items())
    return _DOCUMENT.format(
        table=table(rows),
        groups=listed,
        versions=versions,
        python=platform.python_version(),
        worst="\n".join(worst) or "None.",
    )


_DOCUMENT = """\
# Faulty and hostile files

What comes of model files that are damaged, contradict themselves or ask for too much. Written by
`python -m tests.programs.faults --document docs/FAULTS.md`; the files are made by
`tests/programs/faults/corpus.py`, the same for all engines: {groups}. Each file is run by each
engine in a process of its own.

{table}

What each claims to promise isn't the same. onnxwalk says that a file gets an answer or one of its
own errors within `Limits`, here `Limits(max_memory=1 << 30, max_seconds=4)`. ONNX Runtime has no
such limits; it ran on one thread here, with its defaults. ONNX's ReferenceEvaluator is there to say
what operators mean, not to stand strangers' files. It has few errors of its own, so what NumPy or
Python raise within an operator counts as another exception. ONNX's checker isn't asked before: it
refuses every file that doesn't declare the shapes of its outputs.

A refusal isn't always owed: what one engine answers, another may refuse, since it has limits, holds
files against the spec more or less strictly, or lacks an operator. Memory is the peak of the
process with all that it imports, about 40 MiB (onnxwalk), 70 (ONNX Runtime) and 110
(ReferenceEvaluator); seconds are those of loading and running.

Python {python}, {versions}.

## What crashed, was ended, or took more than 1 GiB

{worst}
"""


if __name__ == "__main__":
    sys.exit(main())
