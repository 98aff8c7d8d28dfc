"""Cases of com.microsoft, whose only source is ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.support.harness import (
    Case,
    assert_same,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)


def f(values: Any, dtype: Any = np.float32) -> np.ndarray:
    return np.array(values, dtype)


def i32(*values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def case(
    operator: str,
    inputs: Sequence[Any],
    attributes: dict[str, Any] | None = None,
    expected: Sequence[Any] | None = None,
    outputs: int = 1,
    **more: Any,
) -> Case:
    return Case(operator, 1, inputs, attributes or {}, expected, outputs, "com.microsoft", **more)


def like_onnxruntime(case: Case, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """The operator's function gives what ONNX Runtime gives."""
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=rtol, atol=atol)
