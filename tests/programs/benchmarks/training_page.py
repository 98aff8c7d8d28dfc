"""The page docs/STEPS.md: a step of training beside Keras and PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TIMES, MEMORY = "## Time", "## Memory"

_HEAD = """# A step of training

Written by `python -m tests.programs.benchmarks.training -o docs/STEPS.md`, with one thread. A step
is forward, backward and Adam, of the assignment's models.
"""

_SECTIONS = {
    TIMES: """
CPU milliseconds, the median of rounds in which each engine does some steps in turn. *PyTorch*:
where it is installed. A ratio is that of onnxwalk to the other; the goal beside Keras is 1.3 for
the CNN and 0.7 for the others, and 1 beside PyTorch.

| Model | Batch | onnxwalk | Keras | Ratio | PyTorch | Ratio |
|---|---:|---:|---:|---:|---:|---:|
""",
    MEMORY: """
Megabytes. *Step*: the peak of three steps beyond what a process has after a step of one sample, so
beyond weights and optimizer. *Kept*: what the rules read of the values computed on the way forward.
*Alive*: the most bytes of values that are needed at once, gradients of weights among them: in this
order of the nodes none can do with less. *Process*: the peak of the whole process. The goals: a
step of 1.5 times what is kept, and a quarter of Keras's process.

| Model | Batch | Step | Kept | Ratio | Alive | Ratio | Step of Keras | Process | Keras | Ratio |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
""",
}


def times_row(name: str, size: int, times: Mapping[str, float]) -> str:
    ours = times["onnxwalk"]
    cells = [f"{ours:.2f}"]
    for engine in ("Keras", "PyTorch"):
        found = times.get(engine)
        cells += ["", ""] if found is None else [f"{found:.2f}", f"{ours / found:.2f}"]
    return _row(name, size, cells)


def memory_row(name: str, size: int, ours: Mapping[str, int], keras: Mapping[str, int]) -> str:
    step, kept, alive, process = (ours[key] for key in ("step", "kept", "alive", "process"))
    cells = [_megabytes(step), _megabytes(kept), f"{step / kept:.2f}"]
    cells += [_megabytes(alive), f"{step / alive:.2f}", _megabytes(keras["step"])]
    cells += [_megabytes(process), _megabytes(keras["process"])]
    return _row(name, size, [*cells, f"{process / keras['process']:.2f}"])


def put(path: Path, rows: Mapping[str, str]) -> None:
    """Write the page with these rows, by section, and the others that it has."""
    known = _rows_of(path.read_text()) if path.exists() else {}
    text = _HEAD
    for section, head in _SECTIONS.items():
        found = known.get(section, {})
        if section in rows:
            found[_key(rows[section])] = rows[section]
        lines = sorted(found.values(), key=lambda row: (_ORDER.index(_key(row)[0]), _key(row)[1]))
        text += f"\n{section}\n{head}" + "".join(f"{line}\n" for line in lines)
    path.write_text(text)


_ORDER = ("CNN", "SimpleRNN", "masked LSTM", "masked BiLSTM", "masked GRU")


def _rows_of(text: str) -> dict[str, dict[tuple[str, int], str]]:
    rows: dict[str, dict[tuple[str, int], str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line
        elif line.startswith(tuple(f"| {name} |" for name in _ORDER)):
            rows.setdefault(section, {})[_key(line)] = line
    return rows


def _key(row: str) -> tuple[str, int]:
    _, name, size, *_ = row.split("|")
    return name.strip(), int(size)


def _row(name: str, size: int, cells: list[str]) -> str:
    return f"| {name} | {size} | {' | '.join(cells)} |"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}"
