"""The cases that platforms run, as a file that NumPy alone can read: models as bytes, feeds, and
what comes out here."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import onnxwalk
from tests.support.harness import Case, all_cases, feeds_of, one_node_model

#: name, model, feeds, outputs (or the name of the error), and how near they have to be
Entry = tuple[str, bytes, dict[str, Any], "list[Any] | str", float, float]


def write_cases(path: Path, count: int, *, backend: bool) -> int:
    """Write those of ONNX's suite, if ``backend``, and ``count`` of operators with random shapes
    and values. Returns how many there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entries = [*(_of_backend() if backend else ()), *_random(count), *_refused()]
    path.write_bytes(pickle.dumps(entries, protocol=4))
    return len(entries)


def _is_portable(values: Any) -> bool:
    """Whether NumPy alone has the types, and the values don't depend on the platform."""
    if isinstance(values, (list, tuple)):
        return all(map(_is_portable, values))
    if isinstance(values, np.ndarray | np.generic):
        return values.dtype.isbuiltin == 1 or values.dtype.kind in "OSU"
    return values is None or isinstance(values, str | int | float)


def _of_backend() -> Iterator[Entry]:
    from onnx.backend.test.loader import load_model_tests

    for case in load_model_tests(kind="node"):
        model = case.model
        for inputs, outputs in case.data_sets or ():
            if model is None or "bernoulli" in case.name or not _is_portable([inputs, outputs]):
                continue
            names = [value.name for value in model.graph.input]
            feeds = dict(zip(names, inputs, strict=False))
            if not all(isinstance(x, (np.ndarray, list)) or x is None for x in feeds.values()):
                continue
            expected = [np.asarray(y) if isinstance(y, np.generic) else y for y in outputs]
            near = max(case.atol, _near(expected))
            yield case.name, model.SerializeToString(), feeds, expected, case.rtol, near


def _random(count: int) -> Iterator[Entry]:
    """Operators' cases as they are, then with other sizes and values, in which onnxwalk here says
    what is right."""
    rng = np.random.default_rng(0)
    made = 0
    cases = [case for case in all_cases() if not any(map(callable, case.attributes.values()))]
    for turn in range(1000):
        for case in cases:
            if made >= count:
                return
            if turn and not any(isinstance(x, np.ndarray) and x.ndim for x in case.inputs):
                continue
            entry = _entry(case if not turn else _varied(case, rng), f"{turn} {case}")
            if entry is not None:
                made += 1
                yield entry


def _refused() -> Iterator[Entry]:
    """Indices that would be within the array if they were cut off to 32 bits."""
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    for beyond in (1 << 32, (1 << 32) + 1, -(1 << 32) - 1):
        index = np.array([[beyond, 0]])
        for case in (
            Case("Gather", 13, [x, index]),
            Case("Gather", 13, [x, index[0, 0]]),
            Case("GatherElements", 13, [x, index]),
            Case("GatherND", 13, [x, index]),
            Case("ScatterElements", 13, [x, index, x[:1]]),
            Case("ScatterND", 13, [x, index, x[0, :1]]),
            Case("ArrayFeatureExtractor", 1, [x, index], domain="ai.onnx.ml"),
        ):
            model, feeds = one_node_model(case), feeds_of(case)
            try:
                onnxwalk.load(model).run(None, feeds)
            except onnxwalk.OperatorError as error:
                name = f"{case.operator} of {beyond}, rank {np.ndim(case.inputs[1])}"
                yield name, model.SerializeToString(), feeds, type(error).__name__, 0.0, 0.0
            else:
                raise AssertionError(f"{case} isn't refused here")


def _varied(case: Case, rng: np.random.Generator) -> Case:
    """The same ranks and types with other sizes: one size for all axes, or each axis scaled."""
    size = int(rng.integers(0, 6))
    same = rng.random() < 0.5

    def varied(x: Any) -> Any:
        if not isinstance(x, np.ndarray) or not x.ndim or not x.size or x.dtype.kind not in "iufb":
            return x
        shape = x.shape if not same else (size,) * x.ndim
        return rng.choice(x.reshape(-1), shape)

    return replace(case, inputs=[varied(x) for x in case.inputs])


def _entry(case: Case, name: str) -> Entry | None:
    try:
        model, feeds = one_node_model(case), feeds_of(case)
        session = onnxwalk.load(model, seed=0)
        with np.errstate(all="ignore"):
            outputs = session.run(None, feeds)
            again = session.run(None, feeds)
    except (onnxwalk.OnnxWalkError, ValueError, TypeError):
        return None
    if not _is_portable([*feeds.values(), *outputs]) or not _equal(outputs, again):
        return None  # what is drawn at random is another number each time
    return (
        name,
        model.SerializeToString(),
        feeds,
        outputs,
        max(case.rtol, 1e-5),
        max(case.atol, _near(outputs)),
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if not isinstance(one, np.ndarray) or one.dtype.kind not in "fc":
        return bool(np.all(one == other))
    return np.array_equal(one, other, equal_nan=True)


def _near(outputs: list[Any]) -> float:
    """Sums are added up in another order on another machine."""
    floats = [y for y in outputs if isinstance(y, np.ndarray) and y.dtype.kind == "f"]
    sizes = [np.abs(y[np.isfinite(y)], dtype=np.float64).max(initial=0) for y in floats]
    coarse = any(y.dtype.itemsize == 2 for y in floats)
    return float(max(sizes, default=0)) * (2e-3 if coarse else 1e-6)
