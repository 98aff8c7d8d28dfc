"""A step of training (forward, backward, Adam) beside Keras and, if it is installed, PyTorch:

    python -m tests.programs.benchmarks.training [--only NAME …] [--batch N,…] [-o PAGE]

The models are the assignment's. Each engine does some steps in turn, in one process with one
thread, so that what disturbs the machine disturbs all. Printed is the CPU time of a step, the
median of the rounds, and its ratio to the others'; then the memory of a step, onnxwalk's and
Keras's each in a process of its own (``training_memory``). ``-o`` puts these rows into the page
docs/STEPS.md, in place of those that it has of the same models and batches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.programs.benchmarks.training_memory import measured

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}
#: by name the family and its settings
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "CNN": ("cnn", {}),
    "SimpleRNN": ("SimpleRNN", {}),
    "masked LSTM": ("LSTM", {"mask_zero": True}),
    "masked BiLSTM": ("LSTM", {"mask_zero": True, "bidirectional": True}),
    "masked GRU": ("GRU", {"mask_zero": True}),
}
#: seconds that the steps of one engine in one round should take
_SECONDS = 0.25

Step = Callable[[], Any]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--batch", default="32,128")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-only", action="store_true", help="no times")
    parser.add_argument("--times-only", action="store_true", help="no memory")
    parser.add_argument("-o", "--output", type=Path, metavar="PAGE", help="the page to write")
    args = parser.parse_args(argv)
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ.update(ONE_THREAD)  # before NumPy and TensorFlow are imported
        os.execv(sys.executable, [sys.executable, "-m", __spec__.name, *(argv or sys.argv[1:])])
    for name in args.only:
        for size in map(int, args.batch.split(",")):
            _report(name, size, args)
    return 0


def _report(name: str, size: int, args: argparse.Namespace) -> None:
    from tests.programs.benchmarks import training_page as page

    with tempfile.TemporaryDirectory() as folder:
        job = Job(name, size, Path(folder))
        rows = {}
        if not args.memory_only:
            rows[page.TIMES] = page.times_row(name, size, _measure(_engines(job), args.rounds))
        if not args.times_only:
            ours, keras = (measured(e, *job.files(e)) for e in ("onnxwalk", "keras"))
            rows[page.MEMORY] = page.memory_row(name, size, ours, keras)
    for row in rows.values():
        print(row, flush=True)
    if args.output is not None:
        page.put(args.output, rows)


def _measure(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """CPU milliseconds of a step of each engine: the median of rounds in turn."""
    counts, found = {}, {engine: [] for engine in steps}
    for engine, step in steps.items():
        for _ in range(3):
            step()
        counts[engine] = max(2, int(_SECONDS / _seconds(step, 1)))
    for _ in range(rounds):
        for engine, step in steps.items():
            found[engine].append(_seconds(step, counts[engine]))
    return {engine: 1e3 * statistics.median(seconds) for engine, seconds in found.items()}


def _seconds(step: Step, count: int) -> float:
    begun = time.process_time()
    for _ in range(count):
        step()
    return (time.process_time() - begun) / count


class Job:
    """A model and a batch, in a folder."""

    def __init__(self, name: str, size: int, folder: Path) -> None:
        import keras
        import numpy as np

        from onnxwalk.export import to_onnx
        from onnxwalk.export.study.assignment import LENGTH, WORDS, cnn, recurrent

        self.family, self.settings = MODELS[name]
        keras.utils.set_random_seed(0)
        is_cnn = self.family == "cnn"
        self.model = cnn() if is_cnn else recurrent(self.family, **self.settings)
        rng = np.random.default_rng(0)
        if is_cnn:
            self.x = rng.random((size, 32, 32, 3)).astype(np.float32)
        else:
            self.x = rng.integers(1, WORDS, (size, LENGTH)).astype(np.int32)
            if self.settings.get("mask_zero"):
                self.x[np.arange(LENGTH) >= rng.integers(20, LENGTH + 1, size)[:, None]] = 0
        self.y = rng.integers(0, 10 if is_cnn else 3, size)
        self._folder = folder
        to_onnx(self.model, folder / "model.onnx", trainable=True, verify=False)
        self.model.save(folder / "model.keras")
        np.savez(folder / "batch.npz", x=self.x, y=self.y)

    def files(self, engine: str) -> tuple[Path, Path]:
        """The model of an engine, and the batch."""
        end = "keras" if engine == "keras" else "onnx"
        return self._folder / f"model.{end}", self._folder / "batch.npz"


def _engines(job: Job) -> dict[str, Step]:
    """A step of each engine on the same batch."""
    import onnxwalk

    x, y, model = job.x, job.y, job.model
    file, _ = job.files("onnxwalk")
    trainer = onnxwalk.training.Trainer(file, loss="sparse_categorical_crossentropy", seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    steps: dict[str, Step] = {
        "onnxwalk": lambda: trainer.train_on_batch(x, y),
        "Keras": lambda: model.train_on_batch(x, y),
    }
    if (other := _pytorch(job.family, job.settings, x, y)) is not None:
        steps["PyTorch"] = other
    return steps


def _pytorch(family: str, settings: dict[str, Any], x: Any, y: Any) -> Step | None:
    """A step of the same network in PyTorch; ``None`` if it isn't installed."""
    try:
        import torch
    except ImportError:
        return None
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence

    torch.set_num_threads(1)
    labels = torch.from_numpy(y)
    if family == "cnn":
        inputs = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        network: Any = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
    else:
        inputs = torch.from_numpy(x.astype("int64"))
        lengths = (inputs != 0).sum(1)
        masked = settings.get("mask_zero", False)
        both = settings.get("bidirectional", False)
        kind = {"SimpleRNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}[family]

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = nn.Embedding(10_000, 128)
                self.layer = kind(128, 64, batch_first=True, bidirectional=both)
                self.last = nn.Linear(128 if both else 64, 3)

            def forward(self, ids: Any) -> Any:
                given = self.embedding(ids)
                if masked:
                    given = pack_padded_sequence(
                        given, lengths, batch_first=True, enforce_sorted=False
                    )
                _, state = self.layer(given)
                state = state[0] if family == "LSTM" else state
                state = torch.cat(tuple(state), 1) if both else state[0]
                return self.last(nn.functional.dropout(state, 0.5))

        network = Network()
    optimizer = torch.optim.Adam(network.parameters(), eps=1e-7)
    loss = nn.CrossEntropyLoss()

    def step() -> Any:
        optimizer.zero_grad()
        value = loss(network(inputs), labels)
        value.backward()
        optimizer.step()
        return value.item()

    return step


if __name__ == "__main__":
    raise SystemExit(main())
