"""``python -m onnxwalk.export operators``: the TensorFlow operations that models reach.

They are read from the traces of all cases there are: of layers, of Keras's functions, of
TensorFlow's own functions in Lambda layers, and of the smallest applications.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from onnxwalk.export.coverage import function_cases, layer_cases, tensorflow_cases
from onnxwalk.export.coverage.applications import SMALLEST
from onnxwalk.export.coverage.command import has_unknown_names, judge_all, table_parser, write_table
from onnxwalk.export.coverage.layers import judge_or_fail
from onnxwalk.export.coverage.operators_table import Reached, format_table
from onnxwalk.export.quiet import quiet


def main(arguments: Sequence[str]) -> int:
    """Trace every case, judge those of TensorFlow's functions, and write the table; returns 1 if
    one of these is wrong."""
    parser = table_parser(
        "operators", "FUNCTION", "List the TensorFlow operations that Keras models reach."
    )
    options = parser.parse_args(arguments)
    with quiet():
        functions = layer_cases.group_by_layer(tensorflow_cases.cases())
        if has_unknown_names(options.names, functions):
            return 1
        chosen = {n: c for n, c in functions.items() if not options.names or n in options.names}
        reached = {} if options.names else reach_all()
    verdicts, wrong = judge_all(chosen, judge_or_fail)
    write_table(options, verdicts, lambda judged, before: format_table(reached, judged, before))
    return 1 if wrong else 0


def collections() -> dict[str, Iterable[Callable[[], Any]]]:
    """Where models come from -> functions that build them."""

    def builders(cases: dict[str, list[Any]]) -> list[Callable[[], Any]]:
        return [case.build for listed in cases.values() for case in listed]

    return {
        "layers": builders(layer_cases.all_cases()),
        "functions": builders(function_cases.all_cases()),
        "tf": builders(layer_cases.group_by_layer(tensorflow_cases.cases())),
        "applications": [_application(name) for name in SMALLEST],
    }


def reach_all() -> dict[str, Reached]:
    """Operation -> how many models of each collection contain it."""
    found: dict[str, Reached] = {}
    for name, builders in collections().items():
        for count, build in enumerate(builders):
            if count % 200 == 0:
                print(f"{name}: {count} traced", file=sys.stderr)
            for kind in find_operations(build):
                found.setdefault(kind, Counter())[name] += 1
    return found


def find_operations(build: Callable[[], Any]) -> set[str]:
    """The TensorFlow operations in the trace of a model; none if Keras or the trace refuses it."""
    from onnxwalk.export.text import cut_text
    from onnxwalk.export.tracing.trace import all_operations, trace

    try:
        model, _ = cut_text(build())
        graph = trace(model).graph
    except Exception:
        return set()
    return {node.op for node in all_operations(graph)}


def _application(name: str) -> Callable[[], Any]:
    def build() -> Any:
        import keras

        return getattr(keras.applications, name)(weights=None)

    return build
