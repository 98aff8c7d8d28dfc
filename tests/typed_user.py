"""What a user may write, for ``mypy --strict`` (``test_typing.py``): nothing runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxwalk
import onnxwalk.export

Array = NDArray[np.float32]

mine = onnxwalk.Registry(parent=onnxwalk.registry)


@mine.op("Swirl", since=1, domain="my.domain")
def swirl(x: Array, w: Array | None = None, *, strength: float = 0.5) -> Array:
    """sin(w·x + strength·x²), elementwise."""
    scaled = x if w is None else w * x
    y: Array = np.sin(scaled + np.float32(strength) * x * x)
    return y


@swirl.cost
def cost_of_swirl(x: Array, w: Array | None = None, **_: Any) -> onnxwalk.Cost:
    return onnxwalk.Cost(memory=4 * x.nbytes, work=50 * x.size)


@swirl.prepare
def prepare_swirl(w: Array, *, strength: float = 0.5) -> Callable[[Array], Array]:
    return lambda x: swirl_prepared(x, w, strength)


def swirl_prepared(x: Array, w: Array, strength: float) -> Array:
    y: Array = np.sin(w * x + np.float32(strength) * x * x)
    return y


def load(path: str | Path | bytes) -> onnxwalk.Session:
    limits = onnxwalk.Limits(max_memory=1 << 30, max_seconds=2.5)
    try:
        return onnxwalk.load(path, registry=mine, seed=1, limits=limits, rewrites=["recognize"])
    except onnxwalk.UnsupportedModelError as error:
        raise SystemExit(str(error)) from error
    except ValueError:  # what can't be read
        return onnxwalk.load(path, executor="walk", rewrites=list(onnxwalk.REWRITES))


def run(session: onnxwalk.Session, x: Array) -> list[str]:
    info: onnxwalk.TensorInfo = session.inputs[0]
    feeds = {info.name: x}
    results: list[Any] = session.run(None, feeds)
    results += session.run(["y", "z"], feeds) + session.run("y", feeds) + session.run(feeds)
    results += [session(x), session(x=x), session(x, scale=np.float32(2))]
    return [str(result.dtype) for result in results]


def look_inside(session: onnxwalk.Session, x: Array) -> dict[str, float]:
    seconds: dict[str, float] = {}
    trace: onnxwalk.Trace = session.trace({"x": x}, optimized=True, iterations=3)
    for event in trace:
        place: onnxwalk.Place | None = event.path[-1] if event.path else None
        node: onnxwalk.Node = event.node
        operator: onnxwalk.Operator = event.operator
        seconds[f"{place}: {node.op_type} {operator.since} {event.name}"] = event.seconds
    return seconds


def cost(session: onnxwalk.Session) -> tuple[int, float]:
    estimate: onnxwalk.Estimate = session.estimate({"x": (64, 224, 224, 3)})
    return estimate.memory, estimate.seconds


def describe(session: onnxwalk.Session) -> list[str]:
    model: onnxwalk.Model = session.model
    graph: onnxwalk.Graph = session.graph
    tokenizers = onnxwalk.text.tokenizers(model.metadata)
    return [*tokenizers, *graph.initializers, *(node.op_type for node in model.graph.nodes)]


def export(path: Path) -> int:
    try:
        proto = onnxwalk.export.to_onnx(path, path.with_suffix(".onnx"), opset=18)
    except onnxwalk.export.ExportError as error:
        raise SystemExit(str(error)) from error
    return len(proto.graph.node)


supported: list[tuple[str, str, int]] = onnxwalk.supported_ops()
