"""What parts, rows, starts and Dask's scheduler cost on this machine, in seconds."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import onnxwalk
from onnxwalk.batches import run_part

DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo"
#: the demo's models and their samples
MODELS = {"digits": "digits_x", "simple_rnn": "texts_x", "lstm": "texts_x"}
_SMALL, _LARGE, _TIMES = 64, 16_384, 5
_FIRST = "import sys, onnxwalk; s = onnxwalk.load(sys.argv[1]); import numpy as np\n"
_FIRST += "s(np.resize(np.load(sys.argv[2]), (256, *s.inputs[0].shape[1:])))"


@dataclass(frozen=True)
class Measured:
    """Of one model: seconds for each row, for each part beside its rows, and to start."""

    row: float
    part: float
    start: float


@dataclass(frozen=True)
class Figures:
    """All that was measured. ``dispatch``: of Dask's scheduler, for a task; ``None`` without it."""

    models: dict[str, Measured]
    dispatch: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Figures:
        models = {name: Measured(**found) for name, found in stored["models"].items()}
        return cls(models, stored["dispatch"])


def measure() -> Figures:
    """Measure it: half a minute."""
    with TemporaryDirectory(prefix="onnxwalk-scaling-") as folder:
        models = {name: _model(name, Path(folder)) for name in MODELS}
    return Figures(models, _dispatch())


def parts_of(name: str, rows: int, size: int, folder: Path) -> list[Path]:
    """Files of so many rows in all, for a model of the demo."""
    samples = np.load(DEMO / "samples.npz")[MODELS[name]]
    found = []
    for number, start in enumerate(range(0, rows, size)):
        path = folder / f"{number:06}.npy"
        shape = (min(size, rows - start), *samples.shape[1:])
        np.save(path, np.resize(samples, shape).astype(_dtype(name)))
        found.append(path)
    return found


def _dtype(name: str) -> np.dtype:
    kind = onnxwalk.load(DEMO / f"{name}.onnx").inputs[0].type
    assert isinstance(kind, onnxwalk.TensorType)
    return kind.dtype


def _model(name: str, folder: Path) -> Measured:
    model = DEMO / f"{name}.onnx"
    times = {}
    for size in (_SMALL, _LARGE):
        (part,) = parts_of(name, size, size, folder)
        out = folder / name

        def once(part: Path = part, out: Path = out) -> None:
            run_part(model, part, out, resume=False, load={"threads": 1})

        once()
        times[size] = _fastest(once)
    row = (times[_LARGE] - times[_SMALL]) / (_LARGE - _SMALL)
    return Measured(row, times[_SMALL] - row * _SMALL, _fastest(lambda: _start(model, part)))


def _start(model: Path, part: Path) -> None:
    subprocess.run([sys.executable, "-c", _FIRST, model, part], check=True, env={**os.environ})


def _fastest(once: Callable[[], object]) -> float:
    found = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        once()
        found.append(time.perf_counter() - begun)
    return min(found)


def _dispatch(tasks: int = 2_000) -> float | None:
    """Seconds of a task that does nothing, with more workers than the scheduler can keep busy."""
    try:
        import distributed
    except ImportError:
        return None
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        client.gather(client.map(abs, range(100), pure=False))
        begun = time.perf_counter()
        client.gather(client.map(abs, range(tasks), pure=False))
        return (time.perf_counter() - begun) / tasks
