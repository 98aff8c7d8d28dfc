"""The table in docs/TF_OPERATORS.md: written by the command, read again by the test."""

from __future__ import annotations

from collections import Counter
from typing import Any

from onnxwalk.export.conversion.handlers import ADVICE, operation_handlers
from onnxwalk.export.conversion.opsets import DEFAULT_OPSET
from onnxwalk.export.conversion.refused import INEXACT
from onnxwalk.export.coverage.judge import Verdict

#: collection -> the number of its models that contain an operation
Reached = Counter[str]

_COLLECTIONS = ("layers", "functions", "tf", "applications")

_HEAD = """# TensorFlow operations

Written by `python -m onnxwalk.export operators -o docs/TF_OPERATORS.md`, with Keras {keras},
TensorFlow {tensorflow} and tf2onnx {tf2onnx}. Keras builds a model of TensorFlow's operations, and
each operation becomes ONNX nodes: by a handler of ours, or by one of tf2onnx's. Here are those that
are in the traces of all configurations of layers ([LAYERS.md](LAYERS.md)), of all calls of Keras's
functions ([FUNCTIONS.md](FUNCTIONS.md)), of TensorFlow's own functions in a Lambda layer (below),
and of `keras.applications` (the smallest of each family), with the number of models that contain
them. Each of these models is exported and held against Keras, all but the applications on special
values, too.

Denormal numbers, those below 1.2e-38 in float32, are not among these values. TensorFlow takes them
for 0 (for 1e-40 `x > 0` is False, `x == 0` is True, `1 / x` is infinite; in `predict` and in XLA
alike), while NumPy and ONNX Runtime compute with them: ONNX doesn't say which, and no node that a
file could hold would change it.

"""

_FUNCTIONS = """
## TensorFlow's own functions

In a Lambda layer, held against Keras on random and on special values.

"""


def find_origin(kind: str) -> str:
    """Whose handler an operation has, "ours" or "tf2onnx"; or "refused" (with advice), "none"."""
    from tf2onnx.tfonnx import handler  # which has registered all of them

    if kind in INEXACT:
        return "refused"
    if kind in operation_handlers() or kind == "PyFunc":  # our markers
        return "ours"
    if kind in handler.tf_op.create_mapping(DEFAULT_OPSET, []) or kind in _BUILT_IN:
        return "tf2onnx"
    return "refused" if kind in ADVICE else "none"


#: what tf2onnx's graph holds itself, without a handler
_BUILT_IN = ("Const", "Identity", "NoOp", "Placeholder")


def format_table(
    reached: dict[str, Reached], verdicts: dict[str, list[Verdict]], before: str = ""
) -> str:
    """Markdown: a row for each operation, and one for each function of TensorFlow.

    Rows that aren't given are kept from ``before``, an existing table.
    """
    import keras
    import tensorflow
    import tf2onnx

    old_kinds, old_functions = _split(before)
    kinds = old_kinds | {kind: _operation_row(kind, counts) for kind, counts in reached.items()}
    functions = old_functions | {name: _function_row(name, v) for name, v in verdicts.items()}
    versions = {m.__name__: m.__version__ for m in (keras, tensorflow, tf2onnx)}
    origins = Counter(row.split("|")[2].strip() for row in kinds.values())
    summary = (
        f"{len(kinds)} operations: {origins['ours']} by our handlers, {origins['tf2onnx']} by "
        f"tf2onnx's, {origins['refused']} refused with advice, {origins['none']} without a "
        "handler: the clean-up before the conversion removes them, or the model is refused.\n\n"
    )
    lines = [
        "| operation | handler | layers | functions | TensorFlow's | applications | instead |",
        "|---|---|---|---|---|---|---|",
        *(kinds[kind] for kind in sorted(kinds)),
    ]
    rows = ["| function | result |", "|---|---|", *(functions[n] for n in sorted(functions))]
    text = _HEAD.format(**versions) + summary + "\n".join(lines) + "\n"
    return text + _FUNCTIONS + "\n".join(rows) + "\n"


def read_table(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """(operation -> whose handler it has, function of TensorFlow -> its result)."""
    kinds, functions = _split(text)
    return (
        {kind: row.split("|")[2].strip() for kind, row in kinds.items()},
        {name: row.split("|", 2)[2].rstrip("| ").strip() for name, row in functions.items()},
    )


def _split(text: str) -> tuple[dict[str, str], dict[str, str]]:
    kinds: dict[str, str] = {}
    functions: dict[str, str] = {}
    for line in text.splitlines():
        name = line.split("|")[1].strip() if line.startswith("| ") else ""
        if name and name not in ("operation", "function"):
            (functions if name.startswith("tf.") else kinds)[name] = line
    return kinds, functions


def _operation_row(kind: str, counts: Reached) -> str:
    origin = find_origin(kind)
    numbers = [str(counts[name] or "") for name in _COLLECTIONS]
    advice = ADVICE.get(kind, "") if origin == "refused" else ""
    return f"| {' | '.join([kind, origin, *numbers, advice])} |"


def _function_row(name: str, verdicts: list[Any]) -> str:
    parts = []
    for verdict in verdicts:
        result = "right"
        if verdict.failures and verdict.refused is None:
            result = f"WRONG, {verdict.failures[0]}"
        elif verdict.refused is not None:
            result = f"refused: {verdict.refused}"
        parts.append(f"{verdict.case.label}: {result}".replace("|", "\\|"))
    return f"| {name} | {'; '.join(parts)} |"
