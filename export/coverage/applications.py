"""``python -m onnxwalk.export applications``: export and compare all of ``keras.applications``.

Each model gets a process of its own, so that memory can be measured. With names, only their rows
of the table are computed again.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.export.coverage.command import has_unknown_names
from onnxwalk.export.coverage.random_weights import random_images, randomize_as_trained
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.interpreter.cli._parser import Parser
from onnxwalk.interpreter.optional import onnxruntime_session

#: the smallest of each family, whose pictures have Keras's own size
SMALLEST = (
    "MobileNetV3Small MobileNetV2 MobileNet NASNetMobile EfficientNetB0 MobileNetV3Large "
    "EfficientNetV2B0 DenseNet121 Xception InceptionV3 ResNet50 ResNet50V2 ConvNeXtTiny "
    "InceptionResNetV2 VGG16"
).split()

#: side of the pictures for the other models, whose weights don't depend on it
_SMALL_SIDE = 128
#: models at Keras's own side; the weights of VGG19 depend on it
_DEFAULT_SIDE = (*SMALLEST, "VGG19")

_TOLERANCE = 1e-4


def application_names() -> list[str]:
    """All of ``keras.applications``."""
    import keras

    return [name for name in dir(keras.applications) if name[0].isupper()]


def build_application(name: str, *, side: int | None = None, seed: int = 0) -> Any:
    """The application with the weights of ``randomize_as_trained``, and logits.

    ``side``: of the picture, if not Keras's own.
    """
    import keras

    if not hasattr(keras.applications, name):
        raise ExportError(f"keras.applications has no {name}")
    options: dict[str, Any] = {"weights": None, "classifier_activation": None}
    if side is not None:
        options["input_shape"] = (side, side, 3)
    model = getattr(keras.applications, name)(**options)
    randomize_as_trained(model, seed)
    return model


def measure(name: str, folder: Path, *, side: int | None = None) -> dict[str, Any]:
    """Export one application into ``folder`` and run it; the row of the table, as a dict.

    ``memory`` is the peak of the process during the export beyond what it held before, in
    multiples of the weights; TensorFlow has traced and grappler has run once before that.
    """
    import onnxwalk
    from onnxwalk.export.pipeline import export_model
    from onnxwalk.export.quiet import quiet

    with quiet():
        import keras

        tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        export_model(tiny, verify=False)  # the first export loads modules, which is not measured
        model = build_application(name, side=side)
        weights = sum(np.asarray(v.value.read_value()).nbytes for v in model.weights)
        before = _reset_peak_memory()
        started = time.process_time()
        result = export_model(model, folder / f"{name}.onnx", verify=False)
        seconds = time.process_time() - started
        memory = _memory_of_process("VmHWM") - before
        x = random_images(model, np.random.default_rng(1))
        expected = np.asarray(model(x, training=False))
    path = str(folder / f"{name}.onnx")
    session = onnxwalk.load(path)
    ours = session(x)
    theirs = onnxruntime_session(path).run(None, {session.inputs[0].name: x})[0]
    scale = float(np.abs(expected).max())
    return {
        "name": name,
        "parameters": model.count_params(),
        "nodes": len(result.draft.graph.node),
        "transposes": sum(n.op_type == "Transpose" for n in result.draft.graph.node),
        "seconds": seconds,
        "side": x.shape[1],
        "memory": memory / weights,
        "memory_mb": memory / 1e6,
        "interpreter": float(np.abs(ours - expected).max()) / scale,
        "onnxruntime": float(np.abs(theirs - expected).max()) / scale,
        "spread": float((expected.max(0) - expected.min(0)).max()) / scale,
    }


def _memory_of_process(what: str) -> int:
    """Bytes of this process, now (VmRSS) or at most (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{what}:\s+(\d+)", status)
    return int(found[1]) * 1024 if found else 0


def _reset_peak_memory() -> int:
    """Return freed memory to the system, reset the peak, and return the bytes that this process
    uses. Linux with glibc only."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _memory_of_process("VmRSS")


def main(arguments: list[str]) -> int:
    """Run the command; returns 0 if every model is accurate."""
    parser = Parser(prog="onnxwalk-export applications", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these (default: all)")
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="write the table as Markdown; with NAMEs, only their rows change",
    )  # fmt: skip
    parser.add_argument("--side", type=int, help="of the pictures (default: Keras's)")
    parser.add_argument("--one", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        try:
            print(json.dumps(measure(options.names[0], Path(options.one), side=options.side)))
        except Exception as error:
            print(json.dumps({"name": options.names[0], "error": one_line(error)}))
        return 0
    if options.names and has_unknown_names(options.names, application_names()):
        return 1
    target = Path(options.output) if options.output else None
    rows = _parse_table(target.read_text("utf-8")) if target and target.exists() else {}
    if not options.names:
        rows.clear()
    inaccurate = []
    for name in options.names or application_names():
        side = options.side or (None if name in _DEFAULT_SIDE else _SMALL_SIDE)
        row = _measure_in_process(name, side)
        rows[name] = _format_cells(row)
        print("  ".join(rows[name]).rstrip(), flush=True)
        inaccurate += [] if _is_accurate(row) else [name]
        if target:
            target.write_text(format_table(rows), "utf-8")
    if inaccurate:
        print(f"error: not within {_TOLERANCE:g}: {', '.join(inaccurate)}", file=sys.stderr)
    return int(bool(inaccurate))


def _parse_table(text: str) -> dict[str, list[str]]:
    """Name of a model -> the cells of its row in an existing table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return {row[0]: row for row in rows}


def _measure_in_process(name: str, side: int | None) -> dict[str, Any]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "export", "applications", name, "--one", folder]
        if side is not None:
            command += ["--side", str(side)]
        result = subprocess.run(command, capture_output=True, text=True)
    lines = result.stdout.splitlines()
    if result.returncode or not lines:
        last = (result.stderr.splitlines() or [f"exit status {result.returncode}"])[-1]
        return {"name": name, "error": last}
    return json.loads(lines[-1])


def _is_accurate(row: dict[str, Any]) -> bool:
    return "error" not in row and max(row["interpreter"], row["onnxruntime"]) <= _TOLERANCE


def _format_cells(row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["name"], row["error"].replace("|", "\\|"), *[""] * 7]
    return [
        row["name"],
        f"{row['parameters'] / 1e6:.1f} M",
        str(row["side"]),
        str(row["nodes"]),
        str(row["transposes"]),
        f"{row['seconds']:.1f} s",
        f"{row['memory']:.2f} × ({row['memory_mb']:.0f} MB)",
        f"{row['interpreter']:.1e}",
        f"{row['onnxruntime']:.1e}",
    ]


def format_table(rows: dict[str, list[str]]) -> str:
    """The table as Markdown, sorted by parameters, with an explanation of its columns."""
    heads = ["model", "parameters", "side", "nodes", "Transposes", "export", "memory"]
    heads += ["interpreter", "ONNX Runtime"]
    lines = [
        "# keras.applications",
        "",
        "Written by `python -m onnxwalk.export applications -o docs/APPLICATIONS.md`, which fails",
        f"when a difference is above {_TOLERANCE:g}. Logits, two random pictures, random weights",
        "with BatchNormalization's statistics fitted to them.",
        "",
        "*side*: of the pictures; Keras's own for the smallest of each family.",
        "*export*: seconds of CPU time, without the comparison.",
        "*memory*: the peak of the process while exporting to a file, beyond what it held before,",
        "in multiples of the weights. In small models a graph costs more than those: of what",
        "EfficientNetB0 takes a fifth is TensorFlow's trace, half its freezing, the rest tf2onnx.",
        "In large ones it is kernels that BatchNormalization is folded into, which are new arrays.",
        "*interpreter*, *ONNX Runtime*: the largest difference from Keras, relative to the largest",
        "logit.",
        "",
        "Without a row: ResNet101, ResNet152, ResNet152V2, EfficientNetB6 and B7. With random",
        "weights they amplify rounding: a change of the picture's last bit changes Keras's own",
        "logits of the ResNets by 1.3e-04, 5.7e-04 and 1.1e-04, and both runtimes are that far",
        "from Keras; in EfficientNetB6 the difference grows layer by layer, from 1e-06 behind",
        "block 2 to 1e-04 behind block 6.",
        "",
        "| " + " | ".join(heads) + " |",
        "|---|" + "---:|" * (len(heads) - 1),
    ]
    ordered = sorted(rows.values(), key=_parameter_count)
    lines += ["| " + " | ".join(cells) + " |" for cells in ordered]
    return "\n".join([*lines, ""])


def _parameter_count(cells: list[str]) -> float:
    return float(cells[1].split()[0]) if cells[1].endswith(" M") else 0.0
