"""Every layer configuration that has weights, exported to be trained, and its weights put back.

    python -m tests.programs.trainable [LAYER …] [--part 3/20]

Each file must equal Keras's ``predict`` (which the export checks), have one place for each
variable, and give the first model's weights and answers to a model that was built anew with others.
Prints what is left out for training, and what is wrong; exit status 1 if anything is.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.export.coverage.layer_cases import all_cases
from onnxwalk.export.errors import one_line
from onnxwalk.export.pipeline import export_model
from onnxwalk.export.quiet import quiet
from onnxwalk.export.tracing.variables import Variable, list_variables
from onnxwalk.export.writeback import put_back
from onnxwalk.interpreter.ir.model import Model
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.weights import Weight, read_weights


class Judged(NamedTuple):
    """``wrong``: what is, in one line each. ``notes``: the export's. ``file``: None if the model
    has no weights or wasn't exported."""

    wrong: list[str]
    notes: tuple[str, ...] = ()
    file: Model | None = None


def judge(build: Callable[[], Any], folder: Path) -> Judged:
    """Export a model that ``build`` makes, and put its weights into another one."""
    with quiet():
        model, other = build(), build()
        variables = variables_of(model)
        if not variables:
            return Judged([])
        path = folder / "model.onnx"
        try:
            result = export_model(finished(model), path, trainable=True)
            file = read_model(path)
            weights = read_weights(file) or ()
            wrong = [*places(file, weights, variables)]
            change(other)
            put_back(path, other)  # compares the answers
        except Exception as error:
            return Judged([f"{type(error).__name__}: {one_line(error)}"])
        for weight, first, second in zip(weights, variables, variables_of(other), strict=True):
            if weight.initializer and not same(first, second):
                wrong.append(f"{weight.name} isn't what it was")
    unread = [f"not in the file: {w.name}" for w in weights if not w.initializer]
    return Judged(wrong, (*result.notes, *unread), file)


def places(file: Model, weights: Sequence[Weight], variables: Sequence[Variable]) -> list[str]:
    """What is wrong with the places of the variables: each has one, with its values, and none is
    another's."""
    wrong = [] if [w.name for w in weights] == [v.name for v in variables] else ["other variables"]
    taken = {name: np.zeros(t.array.shape, int) for name, t in file.graph.initializers.items()}
    for weight, v in zip(weights, variables, strict=False):
        if not weight.initializer:
            continue  # inference doesn't read it
        values = weight.read(file.graph.initializers[weight.initializer].array)
        if not np.array_equal(values, v.variable.numpy()):
            wrong.append(f"{weight.name} has other values")
        taken[weight.initializer][weight.part] += 1
    wrong += [f"{name} holds two variables" for name, n in taken.items() if n.max(initial=0) > 1]
    return wrong


def variables_of(model: Any) -> list[Variable]:
    return [v for v in list_variables(model) if not v.is_seed]


def finished(model: Any) -> Any:
    """The model, in which Normalization has noticed that its variables were set."""
    import keras

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()
    return model


def change(model: Any) -> None:
    """Give each variable other values; what was positive stays so."""
    for v in variables_of(model):
        values = np.asarray(v.variable.numpy())
        whole = values.dtype.kind in "biu"
        v.variable.assign(np.ones_like(values) if whole else np.abs(values) * 0.9 + 0.05)


def same(first: Variable, second: Variable) -> bool:
    return np.array_equal(first.variable.numpy(), second.variable.numpy())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs.trainable", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="LAYER", help="only these (default: all)")
    parser.add_argument("--part", default="0/1", help="every n-th case: 3/20 is 3, 23, 43 …")
    options = parser.parse_args(arguments)
    part, parts = map(int, options.part.split("/"))
    cases = [
        case
        for name, found in all_cases().items()
        for case in found
        if case.refused is None and (not options.names or name in options.names)
    ][part::parts]
    gc.collect()
    gc.freeze()
    right = wrong = without = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            judged = judge(case.build, Path(folder))
            right += judged.file is not None and not judged.wrong
            wrong += bool(judged.wrong)
            without += judged.file is None and not judged.wrong
            for kind, lines in (("wrong", judged.wrong), ("note", judged.notes)):
                for line in lines:
                    print(f"{kind}: {case.layer}, {case.label}: {line}", flush=True)
    print(f"{right} right, {wrong} wrong, {without} have no weights")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
