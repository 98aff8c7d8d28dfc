"""The command line: one model in, one .onnx file out.

``COMMANDS`` are the sub-commands, written in place of the model (``python -m export study …``);
write a model file of such a name as a path, ``./study``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnxwalk
from onnxwalk.export.conversion.draft import all_nodes
from onnxwalk.export.errors import ExportError, one_line, run_command
from onnxwalk.export.pipeline import STAGES, ExportResult, export_model
from onnxwalk.export.progress import progress_bars
from onnxwalk.export.verify import MODES
from onnxwalk.interpreter import interrupts
from onnxwalk.interpreter.cli._parser import Parser, did_you_mean

#: first argument -> module whose ``main`` is called with the others and returns the exit status
COMMANDS = {
    "applications": "onnxwalk.export.coverage.applications",
    "completion": "onnxwalk.export.completion",
    "functions": "onnxwalk.export.coverage.functions",
    "layers": "onnxwalk.export.coverage.layers",
    "operators": "onnxwalk.export.coverage.operators",
    "study": "onnxwalk.export.study",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 for an error, 2 for wrong usage, or 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return interrupts.run(lambda: _main(given), "interrupted")


def _main(arguments_given: list[str]) -> int:
    # whatever backend wrote the file, its graph is traced in TensorFlow
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if arguments_given and arguments_given[0] in COMMANDS:
        return importlib.import_module(COMMANDS[arguments_given[0]]).main(arguments_given[1:])
    parser = build_parser()
    if not arguments_given:
        parser.print_help(sys.stderr)
        return 2
    options = parser.parse_args(arguments_given)
    if not os.path.exists(options.model) and (hint := did_you_mean(options.model, COMMANDS)):
        parser.error(f"no file and no command {options.model!r}{hint}")
    run = _weights_back if options.weights_back else _export
    return run_command(lambda: run(options), debug=options.debug)


def build_parser() -> Parser:
    """The parser of the command line, but for the sub-commands."""
    parser = Parser(
        prog="onnxwalk-export",
        description="Export a Keras 3 model to ONNX, and check that it computes the same.",
        epilog=f"In place of MODEL: {', '.join(sorted(COMMANDS))} (each has its own --help).",
    )
    parser.add_argument("-V", "--version", action="version", version=onnxwalk.__version__)
    parser.add_argument("model", metavar="MODEL", help="a .keras, .h5 or .weights.h5 file")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="output file (default: MODEL with the suffix .onnx)"
    )
    parser.add_argument(
        "--architecture",
        metavar="MODULE:FUNCTION",
        help="function that builds the model; required for .weights.h5",
    )
    parser.add_argument(
        "--text",
        metavar="FILE",
        help="TextVectorization layer to store in the file, so that it can be run on text: a "
        ".keras file that contains one, or its settings or words (.json, .txt)",
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="class names: a text file, one per line, or a JSON list"
    )
    parser.add_argument(
        "--opset", type=int, help="13 or newer (default: 18; for bfloat16 models the newest)"
    )
    parser.add_argument(
        "--trainable",
        action="store_true",
        help="export for training: one initializer for each Keras variable, a record of where each "
        "lies, and nodes for Dropout and BatchNormalization that training can switch on",
    )
    parser.add_argument(
        "--verify",
        choices=MODES,
        default="quick",
        help="how much to compare with Keras: random and special values (quick, the default); also "
        "each special value in each input on its own, other batch sizes and seeds (full); nothing",
    )
    parser.add_argument(
        "--no-verify",
        action="store_const",
        dest="verify",
        const="none",
        help="the same as --verify none",
    )
    parser.add_argument(
        "--weights-back",
        metavar="FILE",
        help="put the weights of this file, which was exported with --trainable and may have been "
        "trained since, into the Keras model, and write that to --output (default: MODEL)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def default_output(model: str) -> Path:
    """folder/name.onnx for folder/name.keras, .h5, .hdf5 and .weights.h5."""
    path = Path(model)
    name = path.name
    for suffix in (".weights.h5", ".keras", ".h5", ".hdf5"):
        if name.endswith(suffix) and name != suffix:
            name = name[: -len(suffix)]
            break
    return path.with_name(name + ".onnx")


def _weights_back(options: argparse.Namespace) -> int:
    from onnxwalk.export.writeback import put_back

    output = _check_output(Path(options.output or options.model))
    given = {
        "--text": options.text, "--labels": options.labels, "--opset": options.opset,
        "--trainable": options.trainable,
    }  # fmt: skip
    if useless := [name for name, value in given.items() if value]:
        raise ExportError(f"{', '.join(useless)} has no effect with --weights-back: leave it out")
    result = put_back(
        options.weights_back,
        options.model,
        output,
        architecture=options.architecture,
        verify=options.verify,
    )
    print(f"{output}  {result.count} variables from {options.weights_back}")
    _print_differences(result.differences)
    for note in result.notes:
        print(note)
    return 0


def _check_output(output: Path) -> Path:
    if output.is_dir():
        raise ExportError(f"{output} is a folder: pass a file name to --output")
    if not output.parent.exists():
        raise ExportError(f"no such folder: {output.parent}")
    return output


def _export(options: argparse.Namespace) -> int:
    output = _check_output(
        Path(options.output) if options.output else default_output(options.model)
    )
    labels = _labels(options.labels) if options.labels else None
    started = time.perf_counter()
    with _show_stages(verify=options.verify != "none") as progress:
        result = export_model(
            options.model,
            output,
            opset=options.opset,
            architecture=options.architecture,
            verify=options.verify,
            text=options.text,
            labels=labels,
            trainable=options.trainable,
            progress=progress,
        )
    seconds = time.perf_counter() - started
    _summary(result, output, seconds)
    return 0


def _summary(result: ExportResult, output: Path, seconds: float) -> None:
    counts = Counter(node.op_type for node in all_nodes(result.draft.graph))
    operators = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    data = output.with_name(output.name + ".data")
    size = output.stat().st_size + (data.stat().st_size if result.has_external_data else 0)
    where = f" (weights in {data.name})" if result.has_external_data else ""
    print(f"{output}  {_size(size)}{where}, in {seconds:.1f} s")
    print(f"{result.layers} layers, {counts.total()} nodes: {operators}")
    _print_differences(result.differences)
    for note in result.notes:
        print(note)


def _print_differences(differences: dict[str, float]) -> None:
    for name, largest in differences.items():
        print(f"largest difference from Keras: {largest:.2g} ({name})")
    if not differences:
        print("not compared with Keras")


def _labels(path: str) -> list[str]:
    from onnxwalk.interpreter.errors import InvalidInputError
    from onnxwalk.interpreter.rows.classes import read_labels

    try:
        return read_labels(Path(path))
    except InvalidInputError as error:
        raise ExportError(one_line(error)) from error


def _size(n: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} GB"


@contextmanager
def _show_stages(*, verify: bool) -> Iterator[Callable[[str], None]]:
    """A progress line on stderr, only on a terminal; yields a function that sets the stage."""
    stages = [stage for stage in STAGES if verify or stage != "check"]
    with progress_bars("TimeElapsedColumn") as bars:
        task = bars.add_task("", total=len(stages))
        yield lambda stage: bars.update(
            task, completed=stages.index(stage), description=STAGES[stage]
        )
