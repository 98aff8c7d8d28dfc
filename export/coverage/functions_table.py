"""The table in docs/FUNCTIONS.md: written from verdicts, read again by the test."""

from __future__ import annotations

from onnxwalk.export.coverage.judge_functions import FunctionVerdict
from onnxwalk.export.coverage.layers_table import group_reasons, split_cells, strip_names

_HEAD = """# Functions of Keras

Written by `python -m onnxwalk.export functions -o docs/FUNCTIONS.md`, with Keras {keras},
TensorFlow {tensorflow}, tf2onnx {tf2onnx} and ONNX Runtime {onnxruntime}. Every public function of
`keras.ops`, `keras.ops.image`, `keras.activations` and `keras.losses`, and every class of a loss,
is called in models of `export/coverage/function_cases`: in each type that Keras takes there
(float16, bfloat16, float32, float64, int8 to int64, uint8 to uint32, bool), at opset 18, and once
at the oldest and at the newest opset (models in bfloat16 at the newest).

Each model is exported, and run by onnxwalk on random values, one row, no row, and special values
where the function takes them: NaN, infinities, both zeros, halves, 100, 1000, 2^24 + 1, 2^53 + 1,
1e25, very small and the largest numbers, both ends of integers. A case is right when every element
is Keras's: integers are equal, NaN and infinities are in the same places, and floats differ by at
most 2e-5 (float64: 1e-9, float16: 1e-2, bfloat16: 5e-2), relative to numbers beyond 1. Where Keras
in one float type gives other numbers than in float64, the file may agree with float64; and with
float32 where only float64 gives NaN.

Not held against Keras, since TensorFlow's answers depend on where in an array a number is or on
the kind of processor: the order of NaN among sorted numbers, NaN in `segment_max` and
`segment_min`, floats out of range that are cast to integers of 8 and 16 bits or to uint32, products
of integer matrices that overflow, and numbers below the smallest normal one, which it takes for
zeros.

"ONNX Runtime" counts the cases that it computes alike too; for the others it lacks the operator in
that type, or has another answer for special values.
{total}
| Function | Right | ONNX Runtime | What can't be exported |
|---|---|---|---|
"""


def format_table(verdicts: dict[str, list[FunctionVerdict]], before: str = "") -> str:
    """Markdown, a row for each function; other rows are kept from ``before``, an existing table."""
    import keras
    import onnxruntime
    import tensorflow
    import tf2onnx

    rows = {name: line for line in before.splitlines() if (name := _function_name(line))}
    rows |= {name: _format_row(name, judged) for name, judged in verdicts.items()}
    modules = (keras, onnxruntime, tensorflow, tf2onnx)
    total = _summarize(list(rows.values()))
    head = _HEAD.format(total=total, **{m.__name__: m.__version__ for m in modules})
    return head + "\n".join(rows[name] for name in sorted(rows)) + "\n"


def read_table(text: str) -> dict[str, list[str]]:
    """Function -> the cells of its row."""
    return {name: split_cells(row) for row in text.splitlines() if (name := _function_name(row))}


def _function_name(line: str) -> str | None:
    cells = split_cells(line)
    return cells[0].strip("`") if len(cells) == 4 and cells[1][:1].isdigit() else None


def _summarize(rows: list[str]) -> str:
    cells = [split_cells(row) for row in rows]
    counts = [[int(n) for n in row[1].split(" of ")] for row in cells]
    right, tried = (sum(count[i] for count in counts) for i in (0, 1))
    wrong = sum(row[3].count("WRONG") for row in cells)
    return (
        f"\n{len(rows)} functions, {tried} cases: {right} right, {tried - right - wrong} refused, "
        f"{wrong} wrong.\n"
    )


def _format_row(name: str, judged: list[FunctionVerdict]) -> str:
    """The cases that Keras itself can't do don't count."""
    tried = [v for v in judged if v.impossible is None]
    right = [v for v in tried if v.is_right]
    alike = sum(v.onnxruntime is None for v in right)
    reasons = [f"{_describe(v)}: {strip_names(v.refused)}" for v in tried if v.refused]
    wrong = [f"{_describe(v)}: WRONG, {v.failures[0]}" for v in tried if v.failures]
    if reasons and not right and not wrong:
        reasons = [strip_names(tried[0].refused)]
    if not tried:
        reasons = ["Keras itself can't run it in `predict`"]
    cells = [
        f"`{name}`",
        f"{len(right)} of {len(tried)}",
        str(alike) if right else "",
        "; ".join(group_reasons(reasons) + wrong).replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"


def _describe(verdict: FunctionVerdict) -> str:
    case = verdict.case
    opset = f"opset {case.opset}" if case.opset else ""
    return ", ".join(filter(None, (case.dtype, case.label.replace(":", ""), opset)))
