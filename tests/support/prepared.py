"""Run a case through what ``@function.prepare`` added: some inputs known before the others."""

from __future__ import annotations

import inspect
from typing import Any

from onnxwalk.ops import registry
from tests.support.harness import Case


def run_prepared(case: Case) -> list[Any] | None:
    """The case with its constants given first and the rest after; ``None`` if it takes none."""
    operator = registry.lookup(case.domain, case.operator, case.opset)
    assert operator is not None
    if operator.preparation is None:
        return None
    names = [
        parameter.name
        for parameter in inspect.signature(operator.function).parameters.values()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]
    inputs = dict.fromkeys(names) | dict(zip(names, case.inputs, strict=False))
    preparation = operator.preparation
    constants = [inputs.pop(name) for name in preparation.constants]
    attributes = {
        name: case.attributes.get(name, default)
        for name, default in operator.attributes.items()
        if name in case.attributes or default is not inspect.Parameter.empty
    }
    apply = preparation.function(*constants, **attributes)
    results = [apply(*inputs.values()) for _ in range(2)]  # it may keep nothing between calls
    result = results[1]
    return (list(result) if isinstance(result, tuple) else [result])[: case.outputs]
