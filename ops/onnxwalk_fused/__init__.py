"""The domain onnxwalk.fused: what the compiler's rewrites make of several nodes. No file may have
nodes of this domain. Each operator takes what its base in ai.onnx takes, and more."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from onnxwalk.ops.contract.facts import Function


def extending(
    base: Function, inputs: tuple[str, ...] = (), **attributes: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give the decorated function the signature of ``base`` and, behind it, more optional inputs
    and more attributes with their defaults."""
    positional, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = [
        *inspect.signature(base).parameters.values(),
        *(inspect.Parameter(name, positional, default=None) for name in inputs),
        *(inspect.Parameter(name, keyword, default=value) for name, value in attributes.items()),
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.Signature(sorted(parameters, key=lambda p: p.kind))
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return decorate
