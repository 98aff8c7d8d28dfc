"""Many rows in several processes beside plain loops in one: throughput, memory, start.

    python -m tests.programs.benchmarks.batches [--rows N] [--workers N] [--without NAME …]
        [--only NAME …]

Pictures (32 × 32 × 3 bytes, a CNN) and sentences (50 words, an LSTM) lie in 20 .npy files. Taken in
turn, so that what disturbs the machine disturbs all: a loop over the files with one BLAS thread,
as many such loops at once, each with its share of the files (what the machine can do at most), the
same loop with ONNX Runtime with one thread, ``onnxwalk run --workers``, ``--scheduler local``, and
``--scheduler`` with a Dask cluster that is running already and has run the model. Each is timed
from its start to its end, from bytecode files, as an installed package has them; ratios are medians
over the rounds. Of networks like ResNet50 and VGG16, random weights in their shapes, the memory of
each worker is read in /proc: what it has to itself, and its share of all (Pss); and of all models
the time until the first worker is there.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.programs.cluster_kill import Cluster
from tests.support.supervised import none_left, start

PARTS = 20
ROOT = Path(__file__).resolve().parents[3]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
#: rows that the loop runs at once; the command has its own
_BATCH = 256
_LOOK = 0.005  # seconds between looks at what runs
_PICTURES = 48  # that the large networks get


@none_left()
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.benchmarks.batches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    text = "leave these out"
    parser.add_argument("--without", nargs="+", choices=RUNS, default=[], help=text)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*THROUGHPUT, *MEMORY])
    parser.add_argument("--folder", type=Path, help="where the data lie meanwhile")
    args = parser.parse_args(argv)
    chosen = args.only or [*THROUGHPUT, *MEMORY]
    with tempfile.TemporaryDirectory(prefix="onnxwalk-batches-", dir=args.folder) as name:
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(name) / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for title in chosen:
            folder = Path(name) / title
            folder.mkdir()
            if title in THROUGHPUT:
                _compare(title, folder, args)
            else:
                _weigh(title, folder)
            shutil.rmtree(folder)
    return 0


# ---------------------------------------------------------------------------------- throughput


def _compare(title: str, folder: Path, args: argparse.Namespace) -> None:
    """Print how long loops and the command take."""
    build, rows_of = THROUGHPUT[title]
    build(folder / "model.onnx")
    (folder / "parts").mkdir()
    rng = np.random.default_rng(0)
    for number in range(PARTS):
        rows = args.rows * (number + 1) // PARTS - args.rows * number // PARTS
        np.save(folder / "parts" / f"{number:02}.npy", rows_of(rng, rows))
    names = [name for name in RUNS if name not in args.without]
    times: dict[str, list[float]] = {name: [] for name in names}
    starts = []
    os.environ.update(ONE_THREAD)
    with contextlib.ExitStack() as exits:
        cluster = None
        if "cluster" in names:
            cluster = exits.enter_context(contextlib.closing(Cluster()))
        commands = {name: RUNS[name](args.workers, cluster) for name in names}
        for name, found in commands.items():  # bytecode; and the cluster's workers load the model
            if name not in ("loop", "loops"):
                _timed([*found, "--restart"] if "onnxwalk" in found else found, folder)
        for _ in range(args.rounds):
            for name, found in commands.items():
                seconds, first = _timed(found, folder)
                times[name].append(seconds)
                if name == "workers":
                    starts.append(first)
                if name in ("workers", "local", "cluster"):
                    _check(folder)
    print(f"{title}: {args.rows:,} rows, {args.workers} workers")
    for name in names:
        seconds = statistics.median(times[name])
        line = f"  {name}: {seconds:.2f} s, {args.rows / seconds:,.0f} rows/s"
        for other in ("loop", "loops", "onnxruntime"):
            if other in names and other != name:
                ratios = [a / b for a, b in zip(times[other], times[name], strict=True)]
                line += f", {statistics.median(ratios):.2f} times {other}'s"
                line += f" ({min(ratios):.2f} to {max(ratios):.2f}; of the fastest runs "
                line += f"{min(times[other]) / min(times[name]):.2f})"
        print(line)
    if starts:
        print(f"  the first worker after {statistics.median(starts):.2f} s")
    sys.stdout.flush()


#: what anybody would write
_LOOP = """
import pathlib, sys
import numpy as np
import onnxwalk

session, size, first, step = onnxwalk.load("model.onnx"), *map(int, sys.argv[1:])
out = pathlib.Path("loop")
out.mkdir(exist_ok=True)
dtype = {"float32": np.float32, "int64": np.int64}[session.inputs[0].dtype.name]
for path in sorted(pathlib.Path("parts").glob("*.npy"))[first::step]:
    rows = np.load(path, mmap_mode="r")
    pieces = [rows[i : i + size].astype(dtype) for i in range(0, len(rows), size)]
    np.save(out / path.name, np.concatenate([session(piece) for piece in pieces]))
"""

#: so many of them at once, each with its share of the files: what the machine itself can do
_LOOPS = """
import subprocess, sys

loop, size, count = sys.argv[1:]
shares = [[sys.executable, "-c", loop, size, str(n), count] for n in range(int(count))]
sys.exit(any([process.wait() for process in [subprocess.Popen(share) for share in shares]]))
"""

_RUNTIME_LOOP = """
import pathlib, sys
import numpy as np
import onnxruntime

options, size = onnxruntime.SessionOptions(), int(sys.argv[1])
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession("model.onnx", options, ["CPUExecutionProvider"])
(feed,) = session.get_inputs()
dtype = {"tensor(float)": np.float32, "tensor(int64)": np.int64}[feed.type]
out = pathlib.Path("runtime")
out.mkdir(exist_ok=True)
for path in sorted(pathlib.Path("parts").glob("*.npy")):
    rows = np.load(path, mmap_mode="r")
    pieces = [rows[i : i + size].astype(dtype) for i in range(0, len(rows), size)]
    results = [session.run(None, {feed.name: piece})[0] for piece in pieces]
    np.save(out / path.name, np.concatenate(results))
"""


def command(*options: str) -> list[str]:
    """``onnxwalk run`` on the parts."""
    return [
        *(sys.executable, "-m", "onnxwalk", "run", "model.onnx", "--input", "parts/*.npy"),
        *("--output", "out/", *options),
    ]


#: what is compared: the command of each, by the number of workers and a running cluster
RUNS: dict[str, Callable[[int, Cluster | None], list[str]]] = {
    "loop": lambda workers, cluster: [sys.executable, "-c", _LOOP, str(_BATCH), "0", "1"],
    "loops": lambda workers, cluster: [
        *(sys.executable, "-c", _LOOPS, _LOOP, str(_BATCH), str(workers)),
    ],
    "onnxruntime": lambda workers, cluster: [sys.executable, "-c", _RUNTIME_LOOP, str(_BATCH)],
    "workers": lambda workers, cluster: command("--workers", str(workers)),
    "local": lambda workers, cluster: command("--workers", str(workers), "--scheduler", "local"),
    "cluster": lambda workers, cluster: command("--scheduler", cluster.address if cluster else ""),
}


def _timed(arguments: list[str], folder: Path) -> tuple[float, float]:
    """The seconds that a command takes, and those until it has a worker."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    begun, first = time.monotonic(), math.nan
    process = _start(arguments, folder)
    while process.poll() is None:
        if math.isnan(first) and children(process.pid):
            first = time.monotonic() - begun
        time.sleep(_LOOK)
    if process.returncode:
        raise RuntimeError(process.communicate()[1].decode())
    return time.monotonic() - begun, first


def _start(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    return start(
        arguments,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _check(folder: Path) -> None:
    """The command must have computed what the loop has."""
    for path in sorted((folder / "loop").glob("*.npy")):
        np.testing.assert_allclose(np.load(folder / "out" / path.name), np.load(path), atol=1e-4)


# -------------------------------------------------------------------------------------- memory


def _weigh(title: str, folder: Path) -> None:
    """Print what a second worker adds, beside the weights, and when the first one is there."""
    MEMORY[title](folder / "model.onnx")
    weights = (folder / "model.onnx").stat().st_size / (1 << 20)
    (folder / "parts").mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        rows = rng.random((_PICTURES // 2, 3, 224, 224), np.float32)
        np.save(folder / "parts" / f"{number}.npy", rows)
    os.sync()  # pages of a file that aren't on the disk yet would count as the worker's own
    _timed(command("--workers", "2", "--outputs", "y"), folder)  # leaves bytecode files
    shutil.rmtree(folder / "out")
    begun, first = time.monotonic(), math.nan
    process = _start(command("--workers", "2", "--outputs", "y"), folder)
    own: dict[int, float] = {}
    share: dict[int, float] = {}
    while process.poll() is None:
        workers = children(process.pid)
        if workers and math.isnan(first):
            first = time.monotonic() - begun
        for worker in workers:
            private, shared = memory(worker)
            own[worker] = max(own.get(worker, 0.0), private)
            share[worker] = max(share.get(worker, 0.0), shared)
        time.sleep(4 * _LOOK)
    if process.returncode:
        raise RuntimeError(process.communicate()[1].decode())
    listed = " and ".join(f"{mib:.0f}" for mib in own.values())
    shares = " and ".join(f"{mib:.0f}" for mib in share.values())
    print(
        f"{title}: {weights:.0f} MiB of weights; a worker has {listed} MiB to itself at most, "
        f"{max(own.values()) / weights:.0%} of them (Pss {shares}); the first worker after "
        f"{first:.2f} s",
        flush=True,
    )


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(number) for number in text.split()]


def memory(process: int) -> tuple[float, float]:
    """What a process has to itself, without the pages of files (which the system can drop), and its
    share of all that it uses, in MiB; 0 once it has gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    found = {words[0]: int(words[1]) for words in map(str.split, lines[1:])}
    return found.get("Private_Dirty:", 0) / 1024, found.get("Pss:", 0) / 1024


# -------------------------------------------------------------------------------------- models


class Network:
    """A chain of nodes with random weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        """A node; the name of its result."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def weight(self, *shape: int) -> str:
        """The name of random numbers."""
        name = f"w{len(self.weights)}"
        scale = 1 / math.sqrt(max(math.prod(shape[1:]), 1))
        array = (self._rng.random(shape, np.float32) - np.float32(0.5)) * np.float32(scale)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x: str, before: int, after: int, kernel: int, stride: int = 1) -> str:
        """A convolution with bias."""
        pads = [kernel // 2] * 4
        weights = self.weight(after, before, kernel, kernel), self.weight(after)
        return self.add("Conv", x, *weights, pads=pads, strides=[stride] * 2)

    def dense(self, x: str, before: int, after: int) -> str:
        """A product with bias."""
        return self.add("Gemm", x, self.weight(before, after), self.weight(after))

    def save(self, path: Path, y: str, x: onnx.ValueInfoProto, classes: int) -> None:
        """Write it, with ``y`` as the output."""
        self.nodes.append(helper.make_node("Softmax", [y], ["y"]))
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])
        graph = helper.make_graph(self.nodes, "g", [x], [out], self.weights)
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def cnn(path: Path) -> None:
    """Three convolutions with pools."""
    net, before = Network(), 3
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    y = net.add("Mul", "x", _scalar(net, 1 / 255))
    for after in (16, 32, 64):
        y, before = net.add("Relu", net.conv(y, before, after, 3)), after
        y = net.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = net.add("Flatten", net.add("GlobalAveragePool", y))
    net.save(path, net.dense(y, before, 10), x, 10)


def lstm(path: Path) -> None:
    """An embedding of 5,000 words and an LSTM of 64 units."""
    net, words, size, units = Network(), 5_000, 64, 64
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 50])
    vectors = net.add("Gather", net.weight(words, size), "x")
    steps = net.add("Transpose", vectors, perm=[1, 0, 2])
    weights = net.weight(1, 4 * units, size), net.weight(1, 4 * units, units)
    net.nodes.append(helper.make_node("LSTM", [steps, *weights], ["", "last"], hidden_size=units))
    y = net.add("Flatten", net.add("Transpose", "last", perm=[1, 0, 2]))
    net.save(path, net.dense(y, units, 3), x, 3)


def resnet(path: Path) -> None:
    """The convolutions of ResNet50."""
    net, before = Network(), 64
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224])
    y = net.add("Relu", net.conv("x", 3, before, 7, 2))
    y = net.add("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            z = net.add("Relu", net.conv(y, before, width, 1))
            z = net.add("Relu", net.conv(z, width, width, 3, stride))
            z = net.conv(z, width, 4 * width, 1)
            y = y if block else net.conv(y, before, 4 * width, 1, stride)
            y, before = net.add("Relu", net.add("Add", z, y)), 4 * width
    y = net.add("Flatten", net.add("GlobalAveragePool", y))
    net.save(path, net.dense(y, before, 1_000), x, 1_000)


def vgg(path: Path) -> None:
    """The convolutions and dense layers of VGG16."""
    net, y, before = Network(), "x", 3
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224])
    for after, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            y, before = net.add("Relu", net.conv(y, before, after, 3)), after
        y = net.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = net.add("Flatten", y)
    y = net.add("Relu", net.dense(y, 7 * 7 * 512, 4_096))
    y = net.add("Relu", net.dense(y, 4_096, 4_096))
    net.save(path, net.dense(y, 4_096, 1_000), x, 1_000)


def _scalar(net: Network, value: float) -> str:
    net.weights.append(numpy_helper.from_array(np.float32(value), name := f"w{len(net.weights)}"))
    return name


def _pictures(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, 256, (rows, 3, 32, 32), np.uint8)


def _sentences(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, 5_000, (rows, 50), np.int32)


THROUGHPUT: dict[
    str,
    tuple[Callable[[Path], None], Callable[[np.random.Generator, int], np.ndarray]],
] = {"pictures": (cnn, _pictures), "sentences": (lstm, _sentences)}
MEMORY: dict[str, Callable[[Path], None]] = {"ResNet50": resnet, "VGG16": vgg}

if __name__ == "__main__":
    sys.exit(main())
