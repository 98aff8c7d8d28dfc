"""A step of training (forward, backward, Adam) beside Keras and, if it is installed, PyTorch:

    python -m tests.programs.benchmarks.training [--only NAME …] [--batch N,…] [--rounds N]

The models are the assignment's. Each engine does some steps in turn, in one process with one
thread, so that what disturbs the machine disturbs all. Printed is the CPU time of a step, the
median of the rounds, its ratio to the others', and the memory of a step: what the bound plan holds
beyond the weights and the optimizer's state.
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
    args = parser.parse_args(argv)
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ.update(ONE_THREAD)  # before NumPy and TensorFlow are imported
        os.execv(sys.executable, [sys.executable, "-m", __spec__.name, *(argv or sys.argv[1:])])
    print(
        f"{'model':16}{'batch':>6}{'onnxwalk':>10}{'Keras':>9}{'×':>6}{'PyTorch':>9}{'×':>6}{'MB':>8}"
    )
    for name in args.only:
        for size in map(int, args.batch.split(",")):
            _report(name, size, args.rounds)
    return 0


def _report(name: str, size: int, rounds: int) -> None:
    steps, memory = _engines(name, size)
    times = _measure(steps, rounds)
    ours = times["onnxwalk"]
    line = f"{name:16}{size:6}{ours:10.2f}"
    for engine in ("Keras", "PyTorch"):
        line += f"{times[engine]:9.2f}{ours / times[engine]:6.2f}" if engine in times else 15 * " "
    print(line + f"{memory / 1e6:8.1f}", flush=True)


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


def _engines(name: str, size: int) -> tuple[dict[str, Step], int]:
    """A step of each engine on the same batch, and the bytes of onnxwalk's."""
    import keras
    import numpy as np

    import onnxwalk
    from onnxwalk.export.study.assignment import LENGTH, WORDS, cnn, recurrent

    family, settings = MODELS[name]
    keras.utils.set_random_seed(0)
    model = cnn() if family == "cnn" else recurrent(family, **settings)
    rng = np.random.default_rng(0)
    if family == "cnn":
        x = rng.random((size, 32, 32, 3)).astype(np.float32)
    else:
        x = rng.integers(1, WORDS, (size, LENGTH)).astype(np.int32)
        if settings.get("mask_zero"):
            x[np.arange(LENGTH) >= rng.integers(20, LENGTH + 1, size)[:, None]] = 0
    y = rng.integers(0, 10 if family == "cnn" else 3, size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnxwalk.export.to_onnx(model, path, trainable=True, verify=False)
        trainer = onnxwalk.training.Trainer(path, loss="sparse_categorical_crossentropy", seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    steps: dict[str, Step] = {
        "onnxwalk": lambda: trainer.train_on_batch(x, y),
        "Keras": lambda: model.train_on_batch(x, y),
    }
    trainer.train_on_batch(x, y)
    if (other := _pytorch(family, settings, x, y)) is not None:
        steps["PyTorch"] = other
    return steps, trainer.nbytes


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
